//! Where a running job's record lies until somebody closes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Record;

/// A job's open record. The drive's thread closes it, or the station if that thread is stuck in the kernel: whoever
/// takes it first. Clones share it.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Mutex<Option<Record>>>);

impl Desk {
    /// A desk with an open record on it.
    pub fn new(record: Record) -> Self {
        Self(Arc::new(Mutex::new(Some(record))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Record>> {
        // A record is replaced as a whole or not at all.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fuller record in place of the one that lies there; returns a copy of it. `None` if it has been taken.
    pub fn amend(&self, amend: impl FnOnce(Record) -> Record) -> Option<Record> {
        let mut place = self.lock();
        let record = amend(place.clone()?);
        Some(place.insert(record).clone())
    }

    /// Takes the record, to close it. `None` if somebody else has.
    pub fn take(&self) -> Option<Record> {
        self.lock().take()
    }

    /// Whether the record has been taken.
    pub fn is_empty(&self) -> bool {
        self.lock().is_none()
    }
}
