//! The replication engine: one master onto many drives, each at its own pace.
//!
//! A [`Replicator`] is shared by all drives of the station. It hands out [`source::Source`]s, which read a master
//! once for all drives that overlap in time, and owns the pool that hashes what is read back.

pub mod batch;
pub mod bound;
mod commit;
pub mod engine;
mod erase;
pub mod fault;
mod flow;
pub mod hash;
pub mod image;
pub mod pool;
pub mod progress;
pub mod source;
pub mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::digest::Digest;
use crate::master::runs::CHUNK;
use crate::master::store::Master;
use crate::units::Bytes;
use batch::Batches;
use hash::HashPool;
use pool::Pool;
use source::Source;

/// Requests that each drive has in flight while bytes move: enough that the drive never waits for the next one, few
/// enough that it is not made to seek between them.
pub const LANES: usize = 2;

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
    /// A replicator that holds at most about `memory` bytes of chunks for all drives together, however many there are.
    pub fn new(memory: Bytes) -> Self {
        let half = Bytes(memory.0 / CHUNK.0 / 2).as_usize();
        Self {
            window: Pool::new(half),
            own: Pool::new(half),
            hashing: HashPool::new(),
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
        self.window.write_off(LANES);
        self.own.write_off(LANES);
    }

    /// It has answered after all.
    pub fn recover(&self) {
        self.window.recover(LANES);
        self.own.recover(LANES);
    }

    /// Bytes read from the store since the station started.
    pub fn bytes_read(&self) -> Bytes {
        Bytes(self.read.load(Ordering::Relaxed))
    }

    /// The shared reader of a master; made when the first drive asks, gone when the last one is done.
    pub fn source(&self, master: &Arc<Master>) -> Arc<Source> {
        // A panic elsewhere cannot leave the map half changed.
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
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
