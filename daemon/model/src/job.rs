//! The job of imaging one drive: its states, how it is stopped, and how it ends. The crate `imaging` does the work.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Reason;
use crate::old_data::OldData;
use crate::units::{ByteRate, Bytes, Share};
use crate::verdict::Verdict;

/// The state of a drive, from its insertion to its verdict.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::VariantArray,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// The station finds out whether the drive may be written.
    Judging,
    /// Nothing speaks against the drive, but the media is still being verified.
    WaitingForMedia,
    /// The drive is not admitted.
    Refused,
    /// The drive is admitted; its master is being looked for or pressed.
    WaitingForMaster,
    /// The drive is opened exclusively, and its record is opened.
    Claiming,
    /// All of a drive that seems blank is read (`admission.blank_check`).
    Checking,
    /// Old partition tables and signatures are removed.
    Erasing,
    /// Everything but boot sectors and partition tables is written.
    Writing,
    /// What was written is read back and hashed.
    ReadingBack,
    /// Boot sectors and partition tables are written and read back.
    Committing,
    /// Every byte is right.
    Passed,
    /// Something is wrong with the drive, the media or the store.
    Failed,
    /// The operator or the station has ended the job.
    Stopped,
}

impl State {
    /// Whether the drive has its verdict.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Passed | Self::Failed | Self::Stopped)
    }

    /// Whether a drive in this state may have been written to.
    pub fn has_written(self) -> bool {
        matches!(self, Self::Erasing | Self::Writing | Self::ReadingBack | Self::Committing)
    }

    /// Goes on to `next`.
    ///
    /// # Errors
    /// [`IllegalTransition`] if `next` may not follow this state.
    pub fn advance(self, next: Self) -> Result<Self, IllegalTransition> {
        if self.may_become(next) { Ok(next) } else { Err(IllegalTransition(self, next)) }
    }

    /// The table of transitions: whether `next` may follow this state.
    pub fn may_become(self, next: Self) -> bool {
        use State as S;
        matches!(
            (self, next),
            (S::Judging, S::WaitingForMedia | S::Refused | S::WaitingForMaster | S::Claiming)
                | (S::WaitingForMedia, S::Judging)
                | (S::Refused, S::Judging)
                // The media has changed or gone: which one the drive gets is decided anew.
                | (S::WaitingForMaster, S::Judging | S::WaitingForMedia)
                | (S::WaitingForMaster, S::Claiming)
                | (S::Claiming, S::Checking | S::Erasing)
                | (S::Checking, S::Erasing)
                | (S::Erasing, S::Writing)
                | (S::Writing, S::ReadingBack)
                | (S::ReadingBack, S::Committing)
                | (S::Committing, S::Passed)
                | (S::WaitingForMaster | S::Claiming | S::Checking, S::Refused)
                | (
                    S::WaitingForMaster
                        | S::Claiming
                        | S::Checking
                        | S::Erasing
                        | S::Writing
                        | S::ReadingBack
                        | S::Committing,
                    S::Failed | S::Stopped
                )
        )
    }
}

/// A drive would have gone from the first state to the second, which may not follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a drive that is {0} cannot become {1}")]
pub struct IllegalTransition(pub State, pub State);

/// Why a running job is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// An operator has asked for it.
    Operator,
    /// The drive was detached.
    Unplugged,
    /// The station ends.
    Shutdown,
    /// The drive has not answered a request for too long; it has its verdict already.
    Stalled,
}

/// Tells a running job to stop. The job looks between chunks. Clones share the request; its first reason counts.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<OnceLock<StopReason>>);

impl Stop {
    /// Asks the job to stop.
    pub fn request(&self, reason: StopReason) {
        let _ = self.0.set(reason);
    }

    /// Why the job is to stop; `None` if it is not.
    pub fn reason(&self) -> Option<StopReason> {
        self.0.get().copied()
    }
}

/// A range of the drive that does not hold what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Mismatch {
    /// Counted from the start of the drive.
    pub offset: Bytes,
    pub length: Bytes,
    /// Digest of the bytes that were written.
    pub expected: Digest,
    /// Digest of the bytes that were read back.
    pub actual: Digest,
}

/// The part that keeps a drive from going faster.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Bottleneck {
    /// The drive itself.
    Drive,
    /// The controller or hub that the drive shares with others.
    Bus,
    /// The store that the master is read from.
    Store,
    /// The processors of the machine.
    Cpu,
}

/// The limits of a job, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A drive fails if its rate stays below this for `window`.
    pub min_rate: Option<ByteRate>,
    /// A drive fails if its rate stays below this share of its batch's median for `window`.
    pub min_batch_share: Option<Share>,
    /// The time over which a rate is measured.
    pub window: Duration,
    /// A drive fails if it takes longer than this to answer one request.
    pub stall: Duration,
    /// How many times a range that reads back wrong is written again.
    pub rewrites: u32,
}

/// What a job has done to its drive so far; filled in also if the job fails.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct JobReport {
    /// Bytes of the master written, those of the commit included, those of erasing not.
    pub written: Bytes,
    /// Bytes read back and found right.
    pub verified: Bytes,
    /// Root digest over all bytes read back; absent until all are.
    pub readback: Option<Digest>,
    pub mismatches: Vec<Mismatch>,
    /// Mean rate of the write phase.
    pub write_rate: Option<ByteRate>,
    /// Mean rate of the read-back phase.
    pub verify_rate: Option<ByteRate>,
    pub write_bottleneck: Option<Bottleneck>,
    pub verify_bottleneck: Option<Bottleneck>,
    /// What became of what the drive held where the master writes nothing; absent until the drive is touched.
    pub old_data: Option<OldData>,
    /// Processor time spent on this drive.
    pub cpu: Duration,
    /// What an operator should know even if the drive passed.
    pub warnings: Vec<String>,
}

/// The end of a job.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Outcome {
    /// Passed, failed or stopped.
    pub verdict: Verdict,
    /// Absent if the drive passed.
    pub reason: Option<Reason>,
    pub report: JobReport,
}

/// How far a job has come, as the station shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Reading {
    pub state: State,
    /// How much of the whole job is done, 0 to 100.
    pub percent: f64,
    /// Mean rate in the current state.
    pub rate: ByteRate,
    /// Estimated time until the job ends, at that rate.
    pub left: Option<Duration>,
    /// What limits the rate in the current state; absent if no bytes are moved.
    pub bottleneck: Option<Bottleneck>,
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn final_states_stay_unless_retried() {
        let all = State::VARIANTS;
        for from in [State::Passed, State::Failed, State::Stopped] {
            assert!(all.iter().all(|to| !from.may_become(*to)), "{from:?}");
        }
        // Nothing passes without having been written, read back and committed, in this order.
        let before =
            |to| all.iter().copied().filter(|from: &State| from.may_become(to)).collect::<Vec<_>>();
        assert_eq!(before(State::Passed), [State::Committing]);
        assert_eq!(before(State::Committing), [State::ReadingBack]);
        assert_eq!(before(State::ReadingBack), [State::Writing]);
        // A refusal means that no byte was written.
        for state in [State::Erasing, State::Writing, State::ReadingBack, State::Committing] {
            assert!(!state.may_become(State::Refused));
        }
    }

    #[test]
    fn the_first_reason_to_stop_counts() {
        let stop = Stop::default();
        assert_eq!(stop.reason(), None);
        stop.request(StopReason::Unplugged);
        stop.request(StopReason::Operator);
        assert_eq!(stop.reason(), Some(StopReason::Unplugged));
    }
}
