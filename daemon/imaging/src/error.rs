//! Why a drive did not pass.

use drives::medium::AccessError;
use formats::gpt::TableError;
use model::code::ReasonCode;
use model::failure::chain;
use model::hint::Hint;
use model::identity::MisplacedSite;
use model::job::{IllegalTransition, Mismatch, StopReason};
use model::ranges::Range;
use model::units::{ByteRate, Bytes};
use model::verdict::Verdict;

use crate::source::SourceError;

/// Why a drive did not pass.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It is not there any more.
    #[error("the drive is gone")]
    Gone,
    /// Writing failed.
    #[error("write to the drive")]
    Write(#[source] AccessError),
    /// Reading back failed.
    #[error("read back from the drive")]
    Read(#[source] AccessError),
    /// The medium does not hold what was written.
    #[error(
        "the drive does not hold what was written: {count} ranges differ, the first at byte {} for {} bytes",
        first.start.0,
        first.length().0
    )]
    Mismatch {
        /// How many ranges.
        count: usize,
        /// The first of them.
        first: Range,
    },
    /// Something else has written to the drive since it is held.
    #[error("{}", match .0 {
        Bytes(0) => "something else is writing to the drive".to_owned(),
        bytes => format!("something else wrote {} bytes to the drive while it was imaged", bytes.0),
    })]
    Foreign(Bytes),
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
    #[error("the stored master has changed at byte {}; nothing wrong with the drive is known", .0.0)]
    Master(Bytes),
    /// Somebody has written to the master while a drive was written from it; what the drive was given is not known.
    #[error(
        "the stored master was written to while it was in use; nothing wrong with the drive is known"
    )]
    MasterWritten,
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

impl JobError {
    /// The verdict on a drive whose job ended so, and its code.
    pub fn verdict(&self) -> (Verdict, ReasonCode) {
        use ReasonCode as C;
        match self {
            Self::Gone => (Verdict::Failed, C::Unplugged),
            Self::Write(_) => (Verdict::Failed, C::WriteError),
            Self::Read(_) => (Verdict::Failed, C::ReadError),
            Self::Mismatch { .. } => (Verdict::Failed, C::Mismatch),
            Self::Foreign(_) => (Verdict::Failed, C::ForeignWrite),
            Self::Boot(_) => (Verdict::Failed, C::BootConfiguration),
            Self::TooSlow { .. } => (Verdict::Failed, C::TooSlow),
            Self::Store(_) | Self::Master(_) | Self::MasterWritten => {
                (Verdict::Failed, C::StoreError)
            }
            Self::Internal(_) => (Verdict::Failed, C::InternalError),
            Self::Stopped(StopReason::Operator) => (Verdict::Stopped, C::OperatorStop),
            Self::Stopped(StopReason::Shutdown) => (Verdict::Stopped, C::StationShutdown),
            Self::Stopped(StopReason::Stalled) => (Verdict::Failed, C::Stalled),
            Self::Stopped(StopReason::Unplugged) => (Verdict::Failed, C::Unplugged),
        }
    }
}

impl Hint for JobError {
    fn hint(&self) -> Option<String> {
        let text = "the station checks the master, presses it anew if it is damaged, and images the drive once more; if \
                    that fails as well, check the disk of the store (store.path)";
        matches!(self.verdict(), (_, ReasonCode::StoreError)).then(|| text.into())
    }
}

impl From<IllegalTransition> for JobError {
    fn from(error: IllegalTransition) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<MisplacedSite> for JobError {
    fn from(error: MisplacedSite) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<TableError> for JobError {
    fn from(error: TableError) -> Self {
        Self::Internal(chain(&error))
    }
}

pub(super) fn write_error(error: AccessError) -> JobError {
    match error {
        AccessError::Gone(_) => JobError::Gone,
        other @ AccessError::Io { .. } => JobError::Write(other),
    }
}

pub(super) fn read_error(error: AccessError) -> JobError {
    match error {
        AccessError::Gone(_) => JobError::Gone,
        other @ AccessError::Io { .. } => JobError::Read(other),
    }
}

/// An error if anything differs.
pub(super) fn mismatch_error(mismatches: &[Mismatch]) -> Result<(), JobError> {
    match mismatches.first() {
        None => Ok(()),
        Some(first) => Err(JobError::Mismatch {
            count: mismatches.len(),
            first: Range::at(first.offset, first.length),
        }),
    }
}
