//! SHA-256 digests, and the root digest over the chunks of a drive.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::units::Bytes;

mod hashing;
mod lanes;
mod paths;

pub use hashing::Hashing;
pub use lanes::HashPath;
pub use paths::{HashPaths, Lanes};

/// Size in bytes of the blocks in which SHA-256 takes a message.
const BLOCK: usize = 64;

/// A SHA-256 digest; written as text of 64 lower-case hexadecimal digits.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// The digest of these, one behind the other.
    pub fn of_all(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a SHA-256 digest.
#[derive(Debug, thiserror::Error)]
#[error("not a SHA-256 digest of 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0_u8; 32];
        let (pairs, []) = text.as_bytes().as_chunks() else { return Err(NotADigest) };
        if pairs.len() != bytes.len() {
            return Err(NotADigest);
        }
        let mut wrong = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
            wrong |= high | low;
            *byte = high << 4 | low;
        }
        if wrong & NO_DIGIT == 0 { Ok(Self(bytes)) } else { Err(NotADigest) }
    }
}

const NO_DIGIT: u8 = 0x80;
/// The values of hexadecimal digits, by their characters: whether one is a number or a letter is anybody's guess, and
/// branches that are guessed wrong would take longer than all else. (`from_str_radix` also takes signs.)
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Computes the root digest of a set of chunks. It is SHA-256 over the following for each chunk, in order of offset:
/// the offset and the length as little-endian 64-bit numbers, and the chunk's digest. As the offsets are part of it,
/// chunks cannot be exchanged unnoticed.
#[derive(Debug, Default)]
pub struct Root {
    hash: Sha256,
    end: Bytes,
}

impl Root {
    /// Adds the next chunk. Chunks come in ascending order and do not overlap.
    pub fn add(&mut self, offset: Bytes, length: Bytes, digest: &Digest) {
        debug_assert!(offset >= self.end, "chunks in order");
        self.end = Bytes(offset.0 + length.0);
        self.hash.update(offset.0.to_le_bytes());
        self.hash.update(length.0.to_le_bytes());
        self.hash.update(digest.0);
    }

    /// The root digest of the chunks added.
    pub fn finish(self) -> Digest {
        Digest(self.hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b"abc"));
        assert_eq!(text.to_uppercase().parse::<Digest>().unwrap(), Digest::of(b"abc"));
        assert_eq!(Digest::of_all(&[b"a", b"", b"bc"]), Digest::of(b"abc"));
        // A sign, another letter, too few, too many, one of two bytes.
        for first in ["+a", "g0", "a", "aaa", "\u{e9}"] {
            let wrong = format!("{first}{}", &text[2..]);
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
        assert!("xy".parse::<Digest>().is_err());
    }

    #[test]
    fn the_root_depends_on_place() {
        let root = |offset| {
            let mut root = Root::default();
            root.add(Bytes(offset), Bytes(4), &Digest::of(b"abcd"));
            root.finish()
        };
        assert_ne!(root(0), root(4));
    }
}
