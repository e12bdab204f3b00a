//! Which path hashes the messages at hand, and the lanes that it keeps filled.

use std::fmt;
use std::mem;

use super::{Digest, HashPath, Hashing};
use crate::units::{ByteRate, Bytes};

/// The paths that may be used, with the rate of each while all of its lanes have a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPaths(Vec<(HashPath, ByteRate)>);

/// The rates, each behind its path.
impl fmt::Display for HashPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (path, rate)) in self.0.iter().enumerate() {
            write!(f, "{}{path} {rate}", if number > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl HashPaths {
    /// Paths whose rates were measured.
    pub fn measured(rates: impl IntoIterator<Item = (HashPath, ByteRate)>) -> Self {
        Self(rates.into_iter().collect())
    }

    /// One path for everything, however few messages there are.
    pub fn only(path: HashPath) -> Self {
        Self(vec![(path, ByteRate(1))])
    }

    /// What hashes so many messages fastest. A path with lanes that stay empty counts for as much less.
    pub fn best(&self, messages: usize) -> HashPath {
        let gain = |(path, rate): &&(HashPath, ByteRate)| {
            let filled = Bytes::of(messages.min(path.lanes())).0;
            u128::from(rate.0) * u128::from(filled) / u128::from(Bytes::of(path.lanes()).0)
        };
        self.0.iter().max_by_key(gain).map_or(HashPath::Single, |(path, _)| *path)
    }

    /// The path that is fastest with all the messages that it can take, and its rate.
    pub fn fastest(&self) -> (HashPath, ByteRate) {
        let most = self.0.iter().max_by_key(|(_, rate)| *rate);
        most.copied().unwrap_or((HashPath::Single, ByteRate(0)))
    }
}

/// Messages that are being hashed beside each other. As soon as one is done, another can take its place, so short
/// messages leave no lane empty.
#[derive(Debug)]
pub struct Lanes<M> {
    paths: HashPaths,
    /// Those that came first stand first.
    begun: Vec<Hashing<M>>,
}

impl<M: AsRef<[u8]>> Lanes<M> {
    /// No messages yet.
    pub fn new(paths: HashPaths) -> Self {
        Self { paths, begun: Vec::new() }
    }

    /// Whether there are no messages.
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Whether there are as many messages as the fastest path takes.
    pub fn is_full(&self) -> bool {
        self.begun.len() >= self.paths.fastest().0.lanes()
    }

    /// Puts a message into an empty lane.
    pub fn add(&mut self, message: M) {
        self.begun.push(Hashing::new(message));
    }

    /// How many messages [`Lanes::advance`] hashes next: those that came first.
    pub fn width(&self) -> usize {
        self.paths.best(self.begun.len()).lanes().min(self.begun.len())
    }

    /// The messages, in the order in which they came.
    pub fn messages(&mut self) -> impl Iterator<Item = &mut M> {
        self.begun.iter_mut().map(Hashing::message_mut)
    }

    /// Hashes until at least one message is done, or of each `at_most` so many bytes. Returns those that are done.
    pub fn advance(&mut self, at_most: Bytes) -> Vec<(M, Digest)> {
        let path = self.paths.best(self.begun.len());
        Hashing::together(path, &mut self.begun, at_most);
        let (done, begun) = mem::take(&mut self.begun).into_iter().partition(Hashing::is_done);
        self.begun = begun;
        done.into_iter().map(Hashing::finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(rates: &[(HashPath, u64)]) -> HashPaths {
        HashPaths::measured(rates.iter().map(|(path, rate)| (*path, ByteRate(*rate))))
    }

    /// In megabytes a second, as processors of each kind have been seen to be.
    #[test]
    fn the_best_path_depends_on_how_many_messages_there_are() {
        use HashPath::{Avx2, Avx512, Pair, Single};
        let old = paths(&[(Single, 320), (Avx2, 1650)]);
        let best = [1, 2, 8, 100].map(|messages| old.best(messages));
        assert_eq!(best, [Single, Avx2, Avx2, Avx2]);
        let new = paths(&[(Single, 1800), (Pair, 2400), (Avx2, 1650), (Avx512, 3000)]);
        let best = [1, 2, 8, 12, 13, 16].map(|messages| new.best(messages));
        assert_eq!(best, [Single, Pair, Pair, Pair, Avx512, Avx512]);
        assert_eq!(new.fastest(), (Avx512, ByteRate(3000)));
        assert_eq!(paths(&[]).best(3), Single);
        assert_eq!(HashPaths::only(Avx2).best(1), Avx2);
    }

    /// A long message among short ones: lanes are filled as they become empty, and the long one stays in its own.
    #[test]
    fn short_messages_leave_no_lane_empty() {
        let (long, short) = (vec![1; 64 * 100], vec![2; 64]);
        let mut lanes = Lanes::new(HashPaths::only(HashPath::Avx2));
        lanes.add(&long);
        let mut rounds = 0;
        loop {
            while !lanes.is_full() {
                lanes.add(&short);
            }
            assert_eq!(lanes.width(), 8);
            rounds += 1;
            let done = lanes.advance(Bytes::mib(1));
            assert!(done.iter().all(|(message, digest)| *digest == Digest::of(message)));
            if done.iter().any(|(message, _)| message.len() == long.len()) {
                break;
            }
            assert_eq!(done.len(), 7, "each short one takes one round");
        }
        assert_eq!(rounds, 100);
    }
}
