//! The open record of a job, closed exactly once.

use std::sync::Arc;

use model::record::Record;
use parking_lot::Mutex;

/// A job's open record. The thread that images the drive closes it, or the station does if that thread is stuck in the
/// kernel: whoever takes the record first. Clones share it.
#[derive(Clone, Debug)]
pub struct OpenRecord(Arc<Mutex<Option<Record>>>);

impl OpenRecord {
    /// Holds a record that has been opened.
    pub fn new(record: Record) -> Self {
        Self(Arc::new(Mutex::new(Some(record))))
    }

    /// Replaces the record by one that says more, and returns a copy of that; `None` if the record has been taken.
    pub fn amend(&self, amend: impl FnOnce(Record) -> Record) -> Option<Record> {
        let mut place = self.0.lock();
        let record = amend(place.clone()?);
        Some(place.insert(record).clone())
    }

    /// Takes the record in order to close it; `None` if somebody else has taken it.
    pub fn take(&self) -> Option<Record> {
        self.0.lock().take()
    }

    /// Whether somebody has taken the record in order to close it.
    pub fn is_closed(&self) -> bool {
        self.0.lock().is_none()
    }
}
