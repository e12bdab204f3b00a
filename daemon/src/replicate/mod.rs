//! The replication engine: one master onto many drives, each at its own pace.
//!
//! A [`Replicator`] is shared by all drives of the station. It hands out [`source::Source`]s, which read a master
//! once for all drives that overlap in time, and owns the pool that hashes what is read back.

pub mod batch;
mod commit;
pub mod engine;
mod erase;
pub mod fault;
pub mod hash;
pub mod image;
pub mod progress;
pub mod source;
pub mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::digest::Digest;
use crate::master::runs::CHUNK;
use crate::master::store::Master;
use crate::units::Bytes;
use batch::Batches;
use hash::HashPool;
use source::Source;

/// Buffers that each drive owns for reading back and for stamped chunks.
pub const DRIVE_BUFFERS: u64 = 4;

/// What all drives share.
#[derive(Debug)]
pub struct Replicator {
    memory: Bytes,
    hashing: HashPool,
    batches: Batches,
    sources: Mutex<HashMap<Digest, Weak<Source>>>,
}

impl Replicator {
    /// A replicator that keeps at most about `memory` bytes of chunks for all drives together.
    pub fn new(memory: Bytes) -> Self {
        Self {
            memory,
            hashing: HashPool::new(),
            batches: Batches::default(),
            sources: Mutex::default(),
        }
    }

    /// The pool that hashes.
    pub fn hashing(&self) -> &HashPool {
        &self.hashing
    }

    /// What drives that run beside each other are compared by.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The shared reader of a master; made when the first drive asks, gone when the last one is done.
    pub fn source(&self, master: &Arc<Master>) -> Arc<Source> {
        // A panic elsewhere cannot leave the map half changed.
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|_, source| source.strong_count() > 0);
        // Not by name: a master that was pressed anew has other chunks.
        let key = master.manifest.seal_sha256;
        if let Some(source) = sources.get(&key).and_then(Weak::upgrade) {
            return source;
        }
        let active = Bytes::of(sources.len()).0 + 1;
        let slots = Bytes(self.memory.0 / CHUNK.0 / active).as_usize();
        let source = Source::new(Arc::clone(master), slots);
        sources.insert(key, Arc::downgrade(&source));
        source
    }
}
