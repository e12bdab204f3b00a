//! Why a drive did not pass.

use super::source::SourceError;
use crate::gpt_table::TableError;
use crate::identity::MisplacedSite;
use crate::job::{Mismatch, StopReason};
use crate::target::AccessError;
use crate::units::ByteRate;

/// Why a drive did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not there any more.
    #[error("{0}")]
    Gone(String),
    /// Writing failed.
    #[error("write to the drive")]
    Write(#[source] AccessError),
    /// Reading back failed.
    #[error("read back from the drive")]
    Read(#[source] AccessError),
    /// The medium does not hold what was written.
    #[error(
        "the drive does not hold what was written: {count} ranges differ, the first at byte {first} for {length} bytes"
    )]
    Mismatch {
        /// How many ranges.
        count: usize,
        /// Offset of the first.
        first: u64,
        /// Length of the first.
        length: u64,
    },
    /// The drive is below a configured floor.
    #[error("{rate} over the last {seconds} s, the floor is {floor} ({configured})")]
    TooSlow {
        /// Measured.
        rate: ByteRate,
        /// Over how long.
        seconds: u64,
        /// Least rate allowed.
        floor: ByteRate,
        /// By which key.
        configured: &'static str,
    },
    /// The drive's boot configuration does not name the drive's partitions.
    #[error("boot configuration: {0}")]
    Boot(String),
    /// The master is not what was pressed any more.
    #[error("the stored master has changed at byte {0}; nothing wrong with the drive is known")]
    Master(u64),
    /// The master cannot be read.
    #[error(transparent)]
    Store(#[from] SourceError),
    /// It was told to stop.
    #[error("{}", match .0 {
        StopReason::Operator => "stopped by the operator",
        StopReason::Unplugged => "the drive was detached",
        StopReason::Shutdown => "stopped because the station ends",
        StopReason::Stalled => "the drive did not answer",
    })]
    Stopped(StopReason),
    /// Something that cannot be.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<MisplacedSite> for Fault {
    fn from(error: MisplacedSite) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Self::Internal(crate::worker::chain(&error))
    }
}

pub(super) fn write_fault(error: AccessError) -> Fault {
    match error {
        AccessError::Gone(what) => Fault::Gone(what),
        other @ AccessError::Io { .. } => Fault::Write(other),
    }
}

pub(super) fn read_fault(error: AccessError) -> Fault {
    match error {
        AccessError::Gone(what) => Fault::Gone(what),
        other @ AccessError::Io { .. } => Fault::Read(other),
    }
}

/// A fault if anything differs.
pub(super) fn mismatch_fault(mismatches: &[Mismatch]) -> Result<(), Fault> {
    match mismatches.first() {
        None => Ok(()),
        Some(first) => Err(Fault::Mismatch {
            count: mismatches.len(),
            first: first.offset.0,
            length: first.length.0,
        }),
    }
}
