//! SHA-256 (FIPS 180-4) of two messages at once with the x86 SHA extensions.
//!
//! Each pair of rounds needs the result of the pair before, so one message leaves the unit that computes rounds idle
//! for part of the time. The rounds of a second, independent message fill these gaps.

#![expect(unsafe_code, reason = "calls a function that needs a CPU with the SHA extensions")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_setr_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::rounds::K;
use super::{BLOCK, Blocks, State};

/// The constants of four rounds each.
const FOURS: &[[u32; 4]] = K.as_chunks().0;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
}

/// Hashes as many blocks of both messages as both have. `None` if this CPU lacks the instructions.
pub(super) fn compress(states: [State; 2], blocks: [Blocks<'_>; 2]) -> Option<[State; 2]> {
    // SAFETY: every x86-64 CPU has SSE2, and the other features have just been detected.
    is_available().then(|| unsafe { hash_blocks(states, blocks) })
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn hash_blocks([a_state, b_state]: [State; 2], [a, b]: [Blocks<'_>; 2]) -> [State; 2] {
    let mut lanes = [pack(a_state), pack(b_state)];
    for (a, b) in a.iter().zip(b) {
        let before = lanes;
        let mut words = [load(a), load(b)];
        // A loop unrolled by hand: the constants become immediate values, the words stay in registers, and the compiler
        // drops the words that the last groups compute for groups that do not come.
        macro_rules! groups {
            ($($group:literal)*) => { $(
                for (lane, words) in lanes.iter_mut().zip(&mut words) {
                    four_rounds(lane, words, FOURS[$group]);
                }
            )* };
        }
        groups!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for (lane, before) in lanes.iter_mut().zip(before) {
            *lane = [_mm_add_epi32(lane[0], before[0]), _mm_add_epi32(lane[1], before[1])];
        }
    }
    let [a, b] = lanes;
    [unpack(a), unpack(b)]
}

/// Four rounds of one lane. `words` are the next sixteen words of its message schedule; they move on by four.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
#[inline]
fn four_rounds([abef, cdgh]: &mut [__m128i; 2], words: &mut [__m128i; 4], k: [u32; 4]) {
    let [w0, w1, w2, w3] = *words;
    let [k0, k1, k2, k3] = k.map(u32::cast_signed);
    let sum = _mm_add_epi32(w0, _mm_setr_epi32(k0, k1, k2, k3));
    // Two rounds make a new (a, b, e, f) out of (a, b, e, f) and (c, d, g, h); the old (a, b, e, f) is the new
    // (c, d, g, h).
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sum, 0b1110));
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    *words = [w1, w2, w3, _mm_sha256msg2_epu32(sum, w3)];
}

/// A block as sixteen big-endian words.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
#[inline]
fn load(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    // The compiler merges the two halves into one load; a load through a pointer would need `unsafe`.
    let four = |quarter: usize| {
        let halves = block.as_chunks::<16>().0[quarter].as_chunks().0;
        let [low, high] = [halves[0], halves[1]].map(i64::from_le_bytes);
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap)
    };
    [four(0), four(1), four(2), four(3)]
}

/// A state in the order that the instructions expect.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn pack(state: State) -> [__m128i; 2] {
    let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
    [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn unpack([abef, cdgh]: [__m128i; 2]) -> State {
    let [a, b] = [_mm_extract_epi32(abef, 3), _mm_extract_epi32(abef, 2)];
    let [c, d] = [_mm_extract_epi32(cdgh, 3), _mm_extract_epi32(cdgh, 2)];
    let [e, f] = [_mm_extract_epi32(abef, 1), _mm_extract_epi32(abef, 0)];
    let [g, h] = [_mm_extract_epi32(cdgh, 1), _mm_extract_epi32(cdgh, 0)];
    [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
}
