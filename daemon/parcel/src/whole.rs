//! The digest of a whole file, computed by a thread of its own while its pieces pass by.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

use model::digest::Digest;

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
