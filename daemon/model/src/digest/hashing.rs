//! SHA-256 of messages that are hashed piece by piece, one alone or several at a time.

use sha2::block_api::compress256;

use super::lanes::{self, Blocks, HashPath, State};
use super::{BLOCK, Digest};
use crate::units::Bytes;

/// FIPS 180-4, 5.3.3: the state before the first block.
const START: State = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// A message of which a part has been hashed.
#[derive(Debug)]
pub struct Hashing<M> {
    message: M,
    /// Number of blocks that have been hashed into `state`.
    done: usize,
    state: State,
}

impl<M: AsRef<[u8]>> Hashing<M> {
    /// A message of which nothing has been hashed yet.
    pub fn new(message: M) -> Self {
        Self { message, done: 0, state: START }
    }

    /// The whole blocks that have not been hashed.
    fn blocks(&self) -> &[[u8; BLOCK]] {
        &self.message.as_ref().as_chunks().0[self.done..]
    }

    /// The message, such as it was given.
    pub fn message_mut(&mut self) -> &mut M {
        &mut self.message
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

    /// Hashes the next whole blocks of several messages on `path`: of the first [`HashPath::lanes`] of them, of each as
    /// many as the one with the fewest has left, `at_most` this many bytes. On a processor without the instructions, one
    /// after the other.
    pub fn together(path: HashPath, messages: &mut [Self], at_most: Bytes) {
        let count = messages.len().min(path.lanes());
        let messages = &mut messages[..count];
        let fewest = messages.iter().map(|message| message.blocks().len()).min();
        let length = fewest.unwrap_or(0).min(at_most.as_usize() / BLOCK);
        let mut states: Vec<_> = messages.iter().map(|message| message.state).collect();
        let blocks: Vec<Blocks<'_>> =
            messages.iter().map(|message| &message.blocks()[..length]).collect();
        if lanes::compress(path, &mut states, &blocks) {
            for (message, state) in messages.iter_mut().zip(states) {
                (message.state, message.done) = (state, message.done + length);
            }
        } else {
            messages.iter_mut().for_each(|message| message.alone(Bytes::of(length * BLOCK)));
        }
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
    use crate::digest::{HashPaths, Lanes};

    /// The digests of messages that are hashed on one path, each followed by the next one in its lane.
    fn digests(path: HashPath, messages: &[&[u8]]) -> Vec<Digest> {
        let mut lanes = Lanes::new(HashPaths::only(path));
        let mut next = (0..).zip(messages.iter().copied());
        let mut found = vec![None; messages.len()];
        loop {
            while !lanes.is_full()
                && let Some((number, message)) = next.next()
            {
                lanes.add(Numbered { number, message });
            }
            if lanes.is_empty() {
                return found.into_iter().map(Option::unwrap).collect();
            }
            for (message, digest) in lanes.advance(Bytes::mib(1)) {
                assert!(found[message.number].replace(digest).is_none(), "once");
            }
        }
    }

    struct Numbered<'a> {
        number: usize,
        message: &'a [u8],
    }

    impl AsRef<[u8]> for Numbered<'_> {
        fn as_ref(&self) -> &[u8] {
            self.message
        }
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
        for (message, text) in examples {
            assert_eq!(Digest::of(message).to_string(), text);
        }
        for path in HashPath::available() {
            // In every lane, beside every other.
            for turn in 0..examples.len() {
                let messages = examples.iter().cycle().skip(turn).take(2 * path.lanes() + 1);
                let (messages, texts): (Vec<_>, Vec<_>) = messages.copied().unzip();
                let found = digests(path, &messages);
                assert_eq!(
                    found.iter().map(Digest::to_string).collect::<Vec<_>>(),
                    texts,
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn every_length_around_block_ends() {
        let data = noise(17 * 260);
        for path in HashPath::available() {
            for length in 0..=260 {
                // Beside others that end elsewhere, in every lane.
                for lane in 0..path.lanes() {
                    let messages: Vec<&[u8]> = (0..path.lanes())
                        .map(|n| {
                            let part = &data[n * 260..][..260];
                            if n == lane { &part[..length] } else { &part[..260 - length] }
                        })
                        .collect();
                    let expected: Vec<Digest> = messages.iter().map(|m| Digest::of(m)).collect();
                    assert_eq!(digests(path, &messages), expected, "{path}, {length}, {lane}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_messages(
            messages in vec((vec(any::<u8>(), 0..3000), 0_usize..64), 1..40),
            at_most in 0_u64..5000,
        ) {
            // Away from the aligned address that the allocator chose.
            let messages: Vec<&[u8]> =
                messages.iter().map(|(data, skip)| data.get(*skip..).unwrap_or(&[])).collect();
            let expected: Vec<Digest> = messages.iter().map(|message| Digest::of(message)).collect();
            for path in HashPath::available() {
                prop_assert_eq!(&digests(path, &messages), &expected);
                // Piece by piece, each with another number of lanes and on another path than the last.
                let mut begun: Vec<_> = messages.iter().map(Hashing::new).collect();
                for (count, path) in (1..=begun.len()).zip(HashPath::available().collect::<Vec<_>>().into_iter().cycle()) {
                    Hashing::together(path, &mut begun[..count], Bytes(at_most));
                }
                let found: Vec<Digest> = begun.into_iter().map(|message| message.finish().1).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
