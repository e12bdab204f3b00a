//! SHA-256 of messages that are hashed piece by piece, one alone or two at a time.

use sha2::block_api::compress256;

use super::{BLOCK, Digest};
use crate::units::Bytes;

/// FIPS 180-4, 5.3.3: the state before the first block.
const START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// A message of which a part has been hashed.
#[derive(Debug)]
pub struct Hashing<M> {
    message: M,
    /// Number of blocks that have been hashed into `state`.
    done: usize,
    state: [u32; 8],
}

impl<M: AsRef<[u8]>> Hashing<M> {
    /// A message of which nothing has been hashed.
    pub fn new(message: M) -> Self {
        Self { message, done: 0, state: START }
    }

    /// The whole blocks that have not been hashed.
    fn blocks(&self) -> &[[u8; BLOCK]] {
        &self.message.as_ref().as_chunks().0[self.done..]
    }

    /// Whether no whole block is left; [`Hashing::finish`] hashes the rest.
    pub fn is_done(&self) -> bool {
        self.blocks().is_empty()
    }

    /// Hashes the next whole blocks of the message, `at_most` this many bytes.
    pub fn alone(&mut self, at_most: Bytes) {
        let mut state = self.state;
        let blocks = self.blocks();
        let count = blocks.len().min(at_most.as_usize() / BLOCK);
        compress256(&mut state, &blocks[..count]);
        (self.state, self.done) = (state, self.done + count);
    }

    /// Hashes as many whole blocks of both messages as the one with fewer has left. On CPUs with SHA extensions this
    /// takes less time than hashing one after the other.
    pub fn together(a: &mut Self, b: &mut Self) {
        let count = a.blocks().len().min(b.blocks().len());
        #[cfg(target_arch = "x86_64")]
        if let Some(states) =
            super::lanes::compress([a.state, b.state], &a.blocks()[..count], &b.blocks()[..count])
        {
            [a.state, b.state] = states;
            a.done += count;
            b.done += count;
            return;
        }
        let length = Bytes::of(count * BLOCK);
        a.alone(length);
        b.alone(length);
    }

    /// Hashes the rest of the message, and returns it with its digest.
    pub fn finish(mut self) -> (M, Digest) {
        self.alone(Bytes::of(self.message.as_ref().len()));
        let (message, mut state) = (self.message, self.state);
        let bytes = message.as_ref();
        let rest = bytes.as_chunks::<BLOCK>().1;
        // FIPS 180-4, 5.1.1: a one bit, zeros, and the length in bits at the end of this block or of one more.
        let mut last = [0; 2 * BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        let end = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        last[end - 8..end].copy_from_slice(&(Bytes::of(bytes.len()).0 * 8).to_be_bytes());
        compress256(&mut state, last[..end].as_chunks().0);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        (message, Digest(digest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Way = fn(&[u8], &[u8]) -> [Digest; 2];

    /// The ways in which two messages can be hashed.
    const WAYS: [Way; 2] = [side_by_side, by_turns];

    fn side_by_side(a: &[u8], b: &[u8]) -> [Digest; 2] {
        let (mut a, mut b) = (Hashing::new(a), Hashing::new(b));
        Hashing::together(&mut a, &mut b);
        assert!(a.is_done() || b.is_done());
        [a.finish().1, b.finish().1]
    }

    /// The second message comes when the first is half done.
    fn by_turns(a: &[u8], b: &[u8]) -> [Digest; 2] {
        let (mut first, mut second) = (Hashing::new(a), Hashing::new(b));
        first.alone(Bytes(3 * 64));
        let mut third = Hashing::new(b);
        Hashing::together(&mut first, &mut second);
        second.alone(Bytes(64));
        Hashing::together(&mut second, &mut third);
        let digest = third.finish().1;
        assert_eq!(second.finish().1, digest);
        [first.finish().1, digest]
    }

    /// Bytes without a pattern, which could hide a wrong order of words.
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
            // Away from the aligned address that the allocator chose.
            let (a, b) = (a.get(skip.0..).unwrap_or(&[]), b.get(skip.1..).unwrap_or(&[]));
            for way in WAYS {
                prop_assert_eq!(way(a, b), [Digest::of(a), Digest::of(b)]);
            }
        }
    }
}
