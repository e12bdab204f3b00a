//! The digest of a whole file, computed by a thread of its own while its pieces pass by.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

use model::digest::Digest;
use model::parcel::FileClaim;
use model::units::Bytes;

/// So many pieces may wait for the thread.
const WAITING: usize = 8;

/// A file that passes by, from its first byte to its last.
#[derive(Debug)]
pub(crate) struct Whole {
    pieces: SyncSender<Vec<u8>>,
    thread: JoinHandle<Digest>,
}

impl Whole {
    pub(crate) fn start() -> Self {
        let (pieces, receiver) = sync_channel::<Vec<u8>>(WAITING);
        let thread = thread::spawn(move || {
            let mut hash = Sha256::new();
            receiver.into_iter().for_each(|piece| hash.update(piece));
            Digest(hash.finalize().into())
        });
        Self { pieces, thread }
    }

    /// The next bytes of the file.
    pub(crate) fn add(&self, piece: Vec<u8>) {
        // Fails only if the thread has panicked, which `finish` tells.
        let _ = self.pieces.send(piece);
    }

    /// The digest of all that was added.
    pub(crate) fn finish(self) -> Digest {
        drop(self.pieces);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Whether a file is as claimed, to its last byte.
pub(crate) fn is_same(file: &File, claim: &FileClaim) -> bool {
    if !file.metadata().is_ok_and(|meta| meta.len() == claim.size_bytes.0) {
        return false;
    }
    let (whole, mut at) = (Whole::start(), Bytes(0));
    while at < claim.size_bytes {
        let mut part = vec![0; (claim.size_bytes - at).min(Bytes::mib(1)).as_usize()];
        if file.read_exact_at(&mut part, at.0).is_err() {
            return false;
        }
        at += Bytes::of(part.len());
        whole.add(part);
    }
    whole.finish() == claim.sha256
}
