//! Watching a drive while bytes move: is it there, is it fast enough?

use std::time::{Duration, Instant};

use drives::medium::Medium;
use model::code::WarningCode;
use model::job::{Limits, State};
use model::units::{ByteRate, Bytes, Share};
use uuid::Uuid;

use crate::QUEUE_DEPTH;
use crate::batch::{Batches, Key};
use crate::error::{JobError, read_error};

/// How often it is checked that the drive is still there.
const PRESENCE: Duration = Duration::from_millis(200);

/// Below this share of its batch's median a drive's record carries a warning.
const OUTLIER: Share = Share::percent(50);

/// Watches one drive in one state.
pub(super) struct RateMonitor<'a> {
    limits: &'a Limits,
    batches: &'a Batches,
    key: Key,
    drive: Uuid,
    moved: Bytes,
    /// How long the drive itself has been at it: waiting for the store or for hashes is not its fault.
    busy: Duration,
    looked: Instant,
    outlier: Option<String>,
}

impl<'a> RateMonitor<'a> {
    pub(super) fn new(limits: &'a Limits, batches: &'a Batches, key: Key, drive: Uuid) -> Self {
        let looked = Instant::now();
        let (moved, busy) = (Bytes(0), Duration::ZERO);
        Self { limits, batches, key, drive, moved, busy, looked, outlier: None }
    }

    /// Counts the bytes of a request that took so long.
    pub(super) fn moved(
        &mut self,
        bytes: Bytes,
        took: Duration,
        medium: &impl Medium,
    ) -> Result<(), JobError> {
        // Several threads share the drive's time.
        self.busy += took / u32::try_from(QUEUE_DEPTH).unwrap_or(1);
        self.moved += bytes;
        let now = Instant::now();
        if now - self.looked >= PRESENCE {
            self.looked = now;
            medium.check_present().map_err(read_error)?;
        }
        if self.busy >= self.limits.window {
            self.judge()?;
            (self.moved, self.busy) = (Bytes(0), Duration::ZERO);
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), JobError> {
        let rate = ByteRate::mean(self.moved, self.busy);
        let below = |floor: ByteRate, configured| {
            let seconds = self.busy.as_secs();
            let slow = JobError::TooSlow { rate, seconds, floor, configured };
            if rate < floor { Err(slow) } else { Ok(()) }
        };
        if let Some(floor) = self.limits.min_rate {
            below(floor, "replicate.min_write_rate")?;
        }
        let Some(median) = self.batches.compare(&self.key, self.drive, rate) else { return Ok(()) };
        let share = |share: Share| ByteRate(share.of(Bytes(median.0)).0);
        if let Some(least) = self.limits.min_batch_share {
            below(share(least), "replicate.min_batch_share of its batch's median")?;
        }
        if rate < share(OUTLIER) {
            let doing = match self.key.state {
                State::ReadingBack => "reading back",
                _ => "writing",
            };
            self.outlier = Some(
                WarningCode::SlowForItsBatch
                    .says(format_args!("{doing} at {rate}, the median of the others is {median}")),
            );
        }
        Ok(())
    }

    /// What an operator should know about the drive's rate.
    pub(super) fn warning(&mut self) -> Option<String> {
        self.outlier.take()
    }
}

impl Drop for RateMonitor<'_> {
    fn drop(&mut self) {
        self.batches.finish(&self.key, self.drive);
    }
}
