//! SHA-256 of read-back chunks on every core, two at a time where chunks would wait.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::bound::cpu_time;
use super::pool::Pooled;
use crate::digest::Digest;

/// How long a chunk waits for a partner: less than half of what it takes to hash it alone. Where chunks come slower than
/// that, no time is short.
const PATIENCE: Duration = Duration::from_micros(200);

/// A chunk to be hashed, and where the result goes.
#[derive(Debug)]
pub struct Order {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes; they come back with the digest.
    pub data: Pooled,
    /// Where to.
    pub reply: Sender<Hashed>,
}

impl Order {
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
    orders: Sender<Order>,
}

impl HashPool {
    /// Starts the threads.
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // Room for the partner of every chunk that is being hashed.
        let (orders, inbox): (Sender<Order>, Receiver<Order>) = bounded(2 * cores);
        for number in 0..cores {
            let inbox = inbox.clone();
            let work = move || hash(&inbox);
            if let Err(error) = thread::Builder::new().name(format!("hash/{number}")).spawn(work) {
                tracing::error!(%error, "cannot start a hashing thread");
            }
        }
        Self { orders }
    }

    /// Queues a chunk; waits while every thread is busy and the queue is full.
    pub fn submit(&self, order: Order) {
        // The threads run as long as the pool; they cannot all be gone while it is borrowed.
        let _ = self.orders.send(order);
    }
}

/// Hashes until nobody can order any more.
fn hash(inbox: &Receiver<Order>) {
    for first in inbox {
        // Two on one core take far less time than one after the other.
        let second = inbox.recv_timeout(PATIENCE).ok();
        let before = cpu_time();
        let took = || cpu_time().saturating_sub(before);
        match second {
            Some(second) => {
                let [a, b] = Digest::pair(&first.data, &second.data);
                let each = took() / 2;
                first.answer(a, each);
                second.answer(b, each);
            }
            None => {
                let digest = Digest::of(&first.data);
                first.answer(digest, took());
            }
        }
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
    use crate::replicate::pool::Pool;
    use crate::units::Bytes;

    #[test]
    fn every_chunk_comes_back_with_its_own_digest() {
        const ORDERS: u8 = 200;
        let (pool, buffers) = (HashPool::new(), Pool::new(ORDERS.into()));
        let (reply, hashed) = unbounded();
        for number in 0..ORDERS {
            // Lengths differ, as the last chunk of a range is shorter.
            let mut data = buffers.take(&|| false).unwrap();
            data.resize(Bytes(4096 * (1 + u64::from(number % 3))));
            data.fill(number);
            pool.submit(Order { index: number.into(), data, reply: reply.clone() });
        }
        drop(reply);
        let mut seen = vec![false; ORDERS.into()];
        for Hashed { index, data, digest, .. } in hashed {
            assert!(data.iter().all(|byte| usize::from(*byte) == index));
            assert_eq!(digest, Digest::of(&data));
            assert!(!std::mem::replace(&mut seen[index], true), "{index} came back once");
        }
        assert!(seen.into_iter().all(|seen| seen), "all came back");
    }
}
