//! One job: a drive from erased to committed, and many at a time from one master.
//!
//! - Owns the order of a job ([`engine`]: erase, write, read back, commit), the verdict on it ([`job`]), and what all drives
//!   share: the reader of a master ([`source`]), the memory ceiling ([`pool`]), the threads that hash ([`hash`]).
//! - May touch a drive that is held ([`Medium`](drives::medium::Medium)), and read masters that were found whole.
//! - May never open a drive, know the ledger or a socket, or end a job in `passed` unless every byte was right when it was
//!   last read: the property test `no_false_pass` holds that against drives that misbehave in every way that we can think of.
//!
//! A [`Replicator`] is shared by all drives of the station. It hands out [`source::Source`]s, which read a master
//! once for all drives that overlap in time.

#![forbid(unsafe_code)]

pub mod batch;
mod blank;
pub mod bottleneck;
mod commit;
pub mod engine;
mod erase;
pub mod error;
pub mod hash;
pub mod job;
#[cfg(test)]
mod no_false_pass;
pub mod pool;
pub mod progress;
mod rate_monitor;
mod recheck;
mod rest;
mod sample;
pub mod source;
mod transfer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use masters::store::Master;
use model::digest::{Digest, HashPaths};
use model::ranges::CHUNK;
use model::units::Bytes;
use parking_lot::Mutex;

use batch::Batches;
use hash::HashPool;
use pool::Pool;
use source::Source;

/// Requests that each drive has in flight while bytes move: enough that the drive never waits for the next one, few
/// enough that it is not made to seek between them.
pub const QUEUE_DEPTH: usize = 2;

/// What all drives share.
#[derive(Debug)]
pub struct Replicator {
    /// Chunks that drives are written from.
    window: Arc<Pool>,
    /// Chunks that are stamped or read back.
    own: Arc<Pool>,
    hashing: HashPool,
    batches: Batches,
    sources: Mutex<HashMap<Digest, Weak<Source>>>,
    sharers: Arc<AtomicUsize>,
    /// Bytes read from the store by sources that are gone.
    read: Arc<AtomicU64>,
}

impl Replicator {
    /// A replicator that holds at most about `memory` bytes of chunks for all drives together, however many there are,
    /// and hashes on these paths.
    pub fn new(memory: Bytes, paths: HashPaths) -> Self {
        let half = Bytes(memory.0 / CHUNK.0 / 2).as_usize();
        Self {
            window: Pool::new(half),
            own: Pool::new(half),
            hashing: HashPool::new(paths),
            batches: Batches::default(),
            sources: Mutex::default(),
            sharers: Arc::default(),
            read: Arc::default(),
        }
    }

    /// The pool that hashes.
    pub fn hashing(&self) -> &HashPool {
        &self.hashing
    }

    /// Buffers for chunks that are one drive's own.
    pub fn own(&self) -> &Arc<Pool> {
        &self.own
    }

    /// What drives that run beside each other are compared by.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// A drive does not answer: what it holds is replaced, so that the others have as much as before.
    pub fn write_off(&self) {
        self.window.write_off(QUEUE_DEPTH);
        self.own.write_off(QUEUE_DEPTH);
    }

    /// It has answered after all.
    pub fn recover(&self) {
        self.window.recover(QUEUE_DEPTH);
        self.own.recover(QUEUE_DEPTH);
    }

    /// Bytes read from the store since the station started.
    pub fn bytes_read(&self) -> Bytes {
        Bytes(self.read.load(Ordering::Relaxed))
    }

    /// What is in memory of a master may be wrong: drives that come from now on get a reader of their own.
    pub fn distrust(&self, master: &Master) {
        self.sources.lock().remove(&master.manifest.seal_sha256);
    }

    /// The shared reader of a master; made when the first drive asks, gone when the last one is done.
    pub fn source(&self, master: &Arc<Master>) -> Arc<Source> {
        let mut sources = self.sources.lock();
        sources.retain(|_, source| source.strong_count() > 0);
        // Not by name: a master that was pressed anew has other chunks.
        let key = master.manifest.seal_sha256;
        let known = sources.get(&key).and_then(Weak::upgrade);
        if let Some(source) = known.filter(|source| !source.has_failed()) {
            return source;
        }
        let (window, sharers) = (Arc::clone(&self.window), Arc::clone(&self.sharers));
        let source = Source::new(Arc::clone(master), window, sharers, Arc::clone(&self.read));
        sources.insert(key, Arc::downgrade(&source));
        source
    }
}
