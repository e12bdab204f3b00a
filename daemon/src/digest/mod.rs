//! SHA-256 digests, and the root digest over many chunks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::units::Bytes;

#[cfg(target_arch = "x86_64")]
mod lanes;

/// A SHA-256 digest, in text as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// The digests of two messages, on CPUs with SHA extensions in less time than one after the other.
    pub fn pair(a: &[u8], b: &[u8]) -> [Self; 2] {
        #[cfg(target_arch = "x86_64")]
        if let Some(digests) = lanes::pair(a, b) {
            return digests;
        }
        Self::one_by_one(a, b)
    }

    fn one_by_one(a: &[u8], b: &[u8]) -> [Self; 2] {
        [Self::of(a), Self::of(b)]
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
        if text.len() != 64 || !text.is_ascii() {
            return Err(NotADigest);
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(bytes))
    }
}

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

/// The digest of a set of chunks: SHA-256 over, for each chunk in order of offset, the offset and the
/// length as little-endian 64-bit numbers and the chunk's digest. It says what stands where, so
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

    /// The root.
    pub fn finish(self) -> Digest {
        Digest(self.hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Way = fn(&[u8], &[u8]) -> [Digest; 2];

    /// What hashes two messages, the way for CPUs without the instructions included.
    const WAYS: [Way; 2] = [Digest::pair, Digest::one_by_one];

    /// Bytes without a pattern that a wrong word order could hide in.
    fn noise(length: usize) -> Vec<u8> {
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        std::iter::successors(Some(1), next)
            .map(|state| state.to_be_bytes()[0])
            .take(length)
            .collect()
    }

    /// NIST's examples for FIPS 180-4, and the empty message of CAVP.
    #[test]
    fn published_examples() {
        let million = vec![b'a'; 1_000_000];
        let examples: [(&[u8], &str); 5] = [
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
                  hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ];
        for way in WAYS {
            for (a, a_text) in examples {
                assert_eq!(Digest::of(a).to_string(), a_text);
                for (b, b_text) in examples {
                    assert_eq!(way(a, b).map(String::from), [a_text, b_text]);
                }
            }
        }
    }

    #[test]
    fn every_length_around_block_ends() {
        let data = noise(2 * 260);
        for way in WAYS {
            for length in 0..=260 {
                let (a, b) = (&data[..length], &data[260..][..length]);
                assert_eq!(way(a, b), [Digest::of(a), Digest::of(b)], "{length}");
                // Beside one that ends elsewhere, in either lane.
                let other = &data[..260 - length];
                assert_eq!(way(b, other), [Digest::of(b), Digest::of(other)], "{length}");
                assert_eq!(way(other, b), [Digest::of(other), Digest::of(b)], "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_two_messages(
            a in vec(any::<u8>(), 0..5000),
            b in vec(any::<u8>(), 0..5000),
            skip in (0_usize..64, 0_usize..64),
        ) {
            // Away from where the allocator put them.
            let (a, b) = (a.get(skip.0..).unwrap_or(&[]), b.get(skip.1..).unwrap_or(&[]));
            for way in WAYS {
                prop_assert_eq!(way(a, b), [Digest::of(a), Digest::of(b)]);
            }
        }
    }

    #[test]
    fn text_and_bytes_agree() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b"abc"));
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
