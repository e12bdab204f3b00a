//! Block functions that hash several messages at once, one in each lane.
//!
//! The rounds of one message wait for each other, so most of what a processor could do meanwhile is left undone.
//! Chunks are independent of each other, and there is nearly always another one to be hashed.

use std::array;

use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator as _;

use super::BLOCK;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod pair;
#[cfg(target_arch = "x86_64")]
mod rounds;

/// The state of a message, FIPS 180-4, 6.2.
pub(super) type State = [u32; 8];

/// The blocks of a message that are to be hashed.
pub(super) type Blocks<'a> = &'a [[u8; BLOCK]];

/// A way to hash messages. All of them make the same digests.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    strum::Display,
    strum::EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HashPath {
    /// One message after the other, by the `sha2` crate: with the SHA instructions of x86 or ARM where there are any.
    Single,
    /// Two messages by the SHA extensions of x86.
    Pair,
    /// Eight messages, one in each 32-bit part of AVX2's registers.
    Avx2,
    /// Sixteen messages in the registers of AVX-512.
    Avx512,
}

impl HashPath {
    /// The number of messages that are hashed at once.
    pub fn lanes(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Pair => 2,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// The paths that this processor has the instructions for.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::iter().filter(|path| path.is_available())
    }

    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::Single => true,
            #[cfg(target_arch = "x86_64")]
            Self::Pair => pair::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Pair | Self::Avx2 | Self::Avx512 => false,
        }
    }
}

/// Hashes blocks of up to [`HashPath::lanes`] messages into their states, of each the same number. Returns whether it was
/// done: not by a processor that lacks the instructions, nor by [`HashPath::Single`].
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "there are no lanes"))]
pub(super) fn compress(path: HashPath, states: &mut [State], blocks: &[Blocks<'_>]) -> bool {
    match path {
        #[cfg(target_arch = "x86_64")]
        HashPath::Pair => in_lanes(states, blocks, pair::compress),
        #[cfg(target_arch = "x86_64")]
        HashPath::Avx2 => in_lanes(states, blocks, avx2::compress),
        #[cfg(target_arch = "x86_64")]
        HashPath::Avx512 => in_lanes(states, blocks, avx512::compress),
        _ => false,
    }
}

/// Lanes without a message hash the first one's blocks once more, for nobody.
fn in_lanes<const LANES: usize>(
    states: &mut [State],
    blocks: &[Blocks<'_>],
    compress: fn([State; LANES], [Blocks<'_>; LANES]) -> Option<[State; LANES]>,
) -> bool {
    let Some(first) = blocks.first() else { return true };
    let before = array::from_fn(|lane| states.get(lane).copied().unwrap_or_default());
    let blocks = array::from_fn(|lane| *blocks.get(lane).unwrap_or(first));
    let Some(after) = compress(before, blocks) else { return false };
    for (state, after) in states.iter_mut().zip(after) {
        *state = after;
    }
    true
}
