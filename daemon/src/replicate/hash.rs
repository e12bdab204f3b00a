//! SHA-256 of read-back chunks on every core, two at a time where chunks would wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::buffer::Buffer;
use crate::digest::Digest;

/// A chunk to be hashed, and where the result goes.
#[derive(Debug)]
pub struct Order {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes; they come back with the digest.
    pub data: Buffer,
    /// Where to.
    pub reply: Sender<Hashed>,
}

impl Order {
    fn answer(self, digest: Digest) {
        // The drive that asked may have been stopped meanwhile.
        let _ = self.reply.send(Hashed { index: self.index, data: self.data, digest });
    }
}

/// A hashed chunk.
#[derive(Debug)]
pub struct Hashed {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes.
    pub data: Buffer,
    /// Their digest.
    pub digest: Digest,
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
        let idle = Arc::new(AtomicUsize::new(0));
        for number in 0..cores {
            let (inbox, idle) = (inbox.clone(), Arc::clone(&idle));
            let work = move || hash(&inbox, &idle);
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
fn hash(inbox: &Receiver<Order>, idle: &AtomicUsize) {
    loop {
        idle.fetch_add(1, Ordering::Relaxed);
        let received = inbox.recv();
        idle.fetch_sub(1, Ordering::Relaxed);
        let Ok(first) = received else { return };
        // Two on one core take less time than one after the other, but more than two on two cores: a second chunk
        // is taken only if no other thread is free for it.
        let busy = inbox.len() > idle.load(Ordering::Relaxed);
        match busy.then(|| inbox.try_recv()) {
            Some(Ok(second)) => {
                let [a, b] = Digest::pair(&first.data, &second.data);
                first.answer(a);
                second.answer(b);
            }
            _ => {
                let digest = Digest::of(&first.data);
                first.answer(digest);
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
    use crate::units::Bytes;

    #[test]
    fn every_chunk_comes_back_with_its_own_digest() {
        const ORDERS: u8 = 200;
        let pool = HashPool::new();
        let (reply, hashed) = unbounded();
        for number in 0..ORDERS {
            // Lengths differ, as the last chunk of a range is shorter.
            let mut data = Buffer::zeroed(Bytes(4096 * (1 + u64::from(number % 3))));
            data.fill(number);
            pool.submit(Order { index: number.into(), data, reply: reply.clone() });
        }
        drop(reply);
        let mut seen = vec![false; ORDERS.into()];
        for Hashed { index, data, digest } in hashed {
            assert!(data.iter().all(|byte| usize::from(*byte) == index));
            assert_eq!(digest, Digest::of(&data));
            assert!(!std::mem::replace(&mut seen[index], true), "{index} came back once");
        }
        assert!(seen.into_iter().all(|seen| seen), "all came back");
    }
}
