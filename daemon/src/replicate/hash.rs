//! SHA-256 of read-back chunks on every core.

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
        let (orders, inbox): (Sender<Order>, Receiver<Order>) = bounded(cores);
        for number in 0..cores {
            let inbox = inbox.clone();
            let work = move || {
                for Order { index, data, reply } in inbox {
                    let digest = Digest::of(&data);
                    // The drive that asked may have been stopped meanwhile.
                    let _ = reply.send(Hashed { index, data, digest });
                }
            };
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

impl Default for HashPool {
    fn default() -> Self {
        Self::new()
    }
}
