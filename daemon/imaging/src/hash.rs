//! SHA-256 of read-back chunks on every core, two at a time.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::bottleneck::cpu_time;
use crate::pool::Pooled;
use model::digest::{Digest, Hashing};
use model::units::Bytes;

/// How long a chunk waits for a partner before a piece of it is hashed alone. Where chunks come slower than that, no time
/// is short.
const PATIENCE: Duration = Duration::from_micros(200);

/// So much of a chunk is hashed before it is seen whether there is a partner now.
const PIECE: Bytes = Bytes(256 << 10);

/// A chunk to be hashed, and where the result goes.
#[derive(Debug)]
pub struct HashRequest {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes; they come back with the digest.
    pub data: Pooled,
    /// Where to.
    pub reply: Sender<Hashed>,
}

impl AsRef<[u8]> for HashRequest {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl HashRequest {
    fn answer(self, digest: Digest, cpu: Duration) {
        // The drive that asked may have been stopped meanwhile.
        let _ = self.reply.send(Hashed { index: self.index, data: self.data, digest, cpu });
    }
}

/// A hashed chunk.
#[derive(Debug)]
pub struct Hashed {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes.
    pub data: Pooled,
    /// Their digest.
    pub digest: Digest,
    /// What it took.
    pub cpu: Duration,
}

/// Threads that hash, one per core. They end when the pool is dropped.
#[derive(Debug)]
pub struct HashPool {
    requests: Sender<HashRequest>,
}

impl HashPool {
    /// Starts the threads.
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // Room for the partner of every chunk that is being hashed.
        let (requests, inbox): (Sender<HashRequest>, Receiver<HashRequest>) = bounded(2 * cores);
        for number in 0..cores {
            let inbox = inbox.clone();
            let work = move || hash(&inbox);
            if let Err(error) = thread::Builder::new().name(format!("hash/{number}")).spawn(work) {
                tracing::error!(%error, "cannot start a hashing thread");
            }
        }
        Self { requests }
    }

    /// Queues a chunk; waits while every thread is busy and the queue is full.
    pub fn submit(&self, request: HashRequest) {
        // The threads run as long as the pool; they cannot all be gone while it is borrowed.
        let _ = self.requests.send(request);
    }
}

/// A chunk that is being hashed, and what it has taken so far.
struct Begun {
    hashing: Hashing<HashRequest>,
    cpu: Duration,
}

impl Begun {
    fn new(request: HashRequest) -> Self {
        Self { hashing: Hashing::new(request), cpu: Duration::ZERO }
    }

    /// Answers if it is done.
    fn next(self) -> Option<Self> {
        if !self.hashing.is_done() {
            return Some(self);
        }
        let (request, digest) = self.hashing.finish();
        request.answer(digest, self.cpu);
        None
    }
}

/// Hashes until nobody can request any more. Two chunks on one core take far less time than one after the other, so
/// whenever one is done the next one takes its place beside the other.
fn hash(inbox: &Receiver<HashRequest>) {
    let (mut one, mut other): (Option<Begun>, Option<Begun>) = (None, None);
    loop {
        let Some(mut first) = one.or_else(|| inbox.recv().ok().map(Begun::new)) else { return };
        let second = other.or_else(|| inbox.recv_timeout(PATIENCE).ok().map(Begun::new));
        let before = cpu_time();
        let took = || cpu_time().saturating_sub(before);
        if let Some(mut second) = second {
            Hashing::together(&mut first.hashing, &mut second.hashing);
            let each = took() / 2;
            first.cpu += each;
            second.cpu += each;
            other = second.next();
        } else {
            first.hashing.alone(PIECE);
            first.cpu += took();
            other = None;
        }
        one = first.next().or_else(|| other.take());
    }
}

impl Default for HashPool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::pool::Pool;

    #[test]
    fn every_chunk_comes_back_with_its_own_digest() {
        const REQUESTS: u8 = 200;
        let (pool, buffers) = (HashPool::new(), Pool::new(REQUESTS.into()));
        let (reply, hashed) = unbounded();
        for number in 0..REQUESTS {
            // Lengths differ, as the last chunk of a range is shorter.
            let mut data = buffers.take(&|| false).unwrap().unwrap();
            data.resize(Bytes(4096 * (1 + u64::from(number % 3))));
            data.fill(number);
            pool.submit(HashRequest { index: number.into(), data, reply: reply.clone() });
        }
        drop(reply);
        let mut seen = vec![false; REQUESTS.into()];
        for Hashed { index, data, digest, .. } in hashed {
            assert!(data.iter().all(|byte| usize::from(*byte) == index));
            assert_eq!(digest, Digest::of(&data));
            assert!(!std::mem::replace(&mut seen[index], true), "{index} came back once");
        }
        assert!(seen.into_iter().all(|seen| seen), "all came back");
    }
}
