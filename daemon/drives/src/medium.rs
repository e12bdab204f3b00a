//! What a job needs of a drive, so that the same job can run on a drive in memory that misbehaves.

use std::io;

use model::drive::{Drive, Geometry};
use model::ranges::Range;
use model::units::Bytes;

use crate::buffer::Buffer;

/// Why an access to a drive failed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The drive was pulled or replaced, or its capacity has dropped. The text says how the device differs from the
    /// drive: for the log, because to an operator all of these are one.
    #[error("the drive is gone")]
    Gone(String),
    /// The medium or the bus failed.
    #[error("{} bytes at byte {}", range.length().0, range.start.0)]
    #[expect(missing_docs, reason = "the names say it")]
    Io {
        range: Range,
        #[source]
        source: io::Error,
    },
}

/// What others have written to a drive since it is held. Holding it exclusively keeps off only who asks for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Nothing.
    Nothing,
    /// So many bytes, or 0 if it is still being written.
    Bytes(Bytes),
    /// The kernel does not count what is written to this drive.
    Unknown,
}

/// A drive that is held exclusively. Several threads may read and write at the same time; offsets and lengths are
/// multiples of the drive's logical sector size.
pub trait Medium: Sync {
    /// What is known of the drive.
    fn drive(&self) -> &Drive;

    /// The size of the drive and of its sectors, which do not change while it is held.
    fn geometry(&self) -> Geometry;

    /// Whether reads certainly come from the medium and not from memory.
    fn reads_the_medium(&self) -> bool;

    /// Writes all of `data` at a byte offset. It may stand in the drive's cache until [`Medium::flush`] returns.
    ///
    /// # Errors
    /// [`AccessError`] with the range.
    fn write(&self, offset: Bytes, data: &Buffer) -> Result<(), AccessError>;

    /// Fills `data` from a byte offset.
    ///
    /// # Errors
    /// [`AccessError`] with the range.
    fn read(&self, offset: Bytes, data: &mut Buffer) -> Result<(), AccessError>;

    /// Makes the drive write its cache to the medium.
    ///
    /// # Errors
    /// [`AccessError`] for the whole drive.
    fn flush(&self) -> Result<(), AccessError>;

    /// Tells the drive that a range holds nothing worth keeping. Returns whether the drive took notice; many cannot.
    fn discard(&self, range: Range) -> bool;

    /// What others have written to the drive since it is held. Asked while nothing is being written to it. What waits in
    /// the page cache is not written yet; [`Medium::flush`] writes it.
    fn foreign_writes(&self) -> Foreign;

    /// Checks that the same drive is still attached with its full capacity.
    ///
    /// # Errors
    /// [`AccessError::Gone`] says how it differs.
    fn check_present(&self) -> Result<(), AccessError>;

    /// Drops what the kernel's page cache holds of the drive, so that other readers see what was written around it.
    fn drop_cache(&self);
}
