//! One drive's job in words: its states, how it can be stopped, and how it ends. The crate `imaging` does it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Reason;
use crate::units::{ByteRate, Bytes, Share};

/// Where a drive stands.
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
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Its facts are being read.
    Judging,
    /// Nothing speaks against it, but the media is still being verified.
    WaitingForMedia,
    /// Not admitted.
    Refused,
    /// Admitted; its master is being pressed or checked.
    WaitingForMaster,
    /// Being opened exclusively and put on record.
    Claiming,
    /// Old signatures are being removed.
    Erasing,
    /// Being written.
    Writing,
    /// Being read back and hashed.
    ReadingBack,
    /// Boot sectors and partition tables are being written and read back.
    Committing,
    /// Every byte is right.
    Passed,
    /// Something is wrong with the drive, the media or the store.
    Failed,
    /// Ended by the operator or the station.
    Stopped,
}

impl State {
    /// Whether nothing more happens to the drive by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Refused | Self::Passed | Self::Failed | Self::Stopped)
    }

    /// The state that follows.
    ///
    /// # Errors
    /// [`IllegalTransition`] if `next` may not follow.
    pub fn advance(self, next: Self) -> Result<Self, IllegalTransition> {
        if self.may_become(next) { Ok(next) } else { Err(IllegalTransition(self, next)) }
    }

    /// The legal transitions.
    pub fn may_become(self, next: Self) -> bool {
        use State as S;
        matches!(
            (self, next),
            (S::Judging, S::WaitingForMedia | S::Refused | S::WaitingForMaster | S::Claiming)
                | (S::WaitingForMedia, S::Judging)
                | (S::Refused, S::Judging)
                // Its media has changed or gone, so what it gets is decided anew.
                | (S::WaitingForMaster, S::Judging)
                | (S::WaitingForMaster, S::Claiming)
                | (S::Claiming, S::Erasing)
                | (S::Erasing, S::Writing)
                | (S::Writing, S::ReadingBack)
                | (S::ReadingBack, S::Committing)
                | (S::Committing, S::Passed)
                | (S::WaitingForMaster | S::Claiming, S::Refused)
                | (
                    S::WaitingForMaster
                        | S::Claiming
                        | S::Erasing
                        | S::Writing
                        | S::ReadingBack
                        | S::Committing,
                    S::Failed | S::Stopped
                )
        )
    }
}

/// A drive would have gone from one state to another that may not follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a drive that is {0} cannot become {1}")]
pub struct IllegalTransition(pub State, pub State);

/// How a job ended.
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
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// Every byte written was read back from the medium and is right.
    Passed,
    /// The drive is not good.
    Failed,
    /// No byte was written.
    Refused,
    /// Ended early; the drive is neither good nor bad.
    Stopped,
}

/// Why a running job is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The operator said so.
    Operator,
    /// The drive was detached.
    Unplugged,
    /// The station shuts down.
    Shutdown,
    /// The drive has not answered for too long, and has its verdict.
    Stalled,
}

/// Tells a running job to stop; it looks between chunks. The first reason counts. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<OnceLock<StopReason>>);

impl Stop {
    /// Asks the job to stop.
    pub fn request(&self, reason: StopReason) {
        let _ = self.0.set(reason);
    }

    /// The reason to stop, if there is one.
    pub fn reason(&self) -> Option<StopReason> {
        self.0.get().copied()
    }
}

/// A range of the drive that does not hold what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Byte offset.
    pub offset: Bytes,
    /// Bytes.
    pub length: Bytes,
    /// SHA-256 of what should be there.
    pub expected: Digest,
    /// SHA-256 of what is there.
    pub actual: Digest,
}

/// What kept a drive from going faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Bottleneck {
    /// The drive itself.
    Drive,
    /// The controller or hub that it shares with others.
    Bus,
    /// Reading the master from the store.
    Store,
    /// The machine's processors.
    Cpu,
}

/// Configured limits of a job.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A drive that stays below this for `window` fails.
    pub min_rate: Option<ByteRate>,
    /// So does one that stays below this share of the median of its batch.
    pub min_batch_share: Option<Share>,
    /// Over how long a rate is taken.
    pub window: Duration,
    /// A drive that is at one request for longer than this has failed.
    pub stall: Duration,
    /// How often a range that reads back wrong may be written again.
    pub rewrites: u32,
}

/// What was done to a drive so far; complete even if the job fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobReport {
    /// Bytes written, commit included, erasing not.
    pub written: Bytes,
    /// Bytes read back and found right.
    pub verified: Bytes,
    /// Root digest over what was read back, once all was.
    pub readback: Option<Digest>,
    /// Where the medium differs from what was written.
    pub mismatches: Vec<Mismatch>,
    /// Mean rate of the write phase.
    pub write_rate: Option<ByteRate>,
    /// Mean rate of the read-back phase.
    pub verify_rate: Option<ByteRate>,
    /// What limited the write phase.
    pub write_bottleneck: Option<Bottleneck>,
    /// What limited the read-back phase.
    pub verify_bottleneck: Option<Bottleneck>,
    /// Time on a processor, for this drive.
    pub cpu: Duration,
    /// What an operator should know although the drive passed.
    pub warnings: Vec<String>,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Passed, failed or stopped.
    pub verdict: Verdict,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// What was done.
    pub report: JobReport,
}

/// How far a job has come, as the station shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// State of the job.
    pub state: State,
    /// Share of the whole job, 0 to 100.
    pub percent: f64,
    /// Mean rate in the current state.
    pub rate: ByteRate,
    /// Estimated time left, at that rate.
    pub left: Option<Duration>,
    /// What limits the drive in the current state, if bytes move.
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
