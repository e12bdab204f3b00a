//! One drive's job in words: its states, how it can be stopped, and how it ends. Pure; [`crate::replicate`] does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::units::{ByteRate, Bytes};

/// Where a drive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// The legal transitions.
    pub fn may_become(self, next: Self) -> bool {
        use State as S;
        matches!(
            (self, next),
            (S::Judging, S::WaitingForMedia | S::Refused | S::WaitingForMaster | S::Claiming)
                | (S::WaitingForMedia, S::Judging)
                | (S::Refused, S::Judging)
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

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        })
    }
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

/// Tells a running job to stop; it looks between chunks. The first reason counts.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Asks the job to stop.
    pub fn request(&self, reason: StopReason) {
        let code = match reason {
            StopReason::Operator => 1,
            StopReason::Unplugged => 2,
            StopReason::Shutdown => 3,
            StopReason::Stalled => 4,
        };
        let _ = self.0.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The reason to stop, if there is one.
    pub fn reason(&self) -> Option<StopReason> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(StopReason::Operator),
            2 => Some(StopReason::Unplugged),
            3 => Some(StopReason::Shutdown),
            4 => Some(StopReason::Stalled),
            _ => None,
        }
    }
}

/// Why a drive did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable snake_case code.
    pub code: String,
    /// For a person.
    pub detail: String,
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

/// What a phase was limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The drive itself.
    Drive,
    /// The controller or hub that it shares with others.
    Bus,
    /// Reading the master from the store.
    Store,
    /// The machine's processors.
    Cpu,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Drive => "drive",
            Self::Bus => "bus",
            Self::Store => "store",
            Self::Cpu => "cpu",
        })
    }
}

/// How a job went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Verdict: passed, failed or stopped.
    pub verdict: Verdict,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// What an operator should know although it passed.
    pub warnings: Vec<String>,
    /// Bytes written.
    pub written: Bytes,
    /// Bytes read back and found right.
    pub verified: Bytes,
    /// Root digest over what was read back, if all was.
    pub readback: Option<Digest>,
    /// Where the medium differs from what was written.
    pub mismatches: Vec<Mismatch>,
    /// Mean rate of the write phase.
    pub write_rate: Option<ByteRate>,
    /// Mean rate of the read-back phase.
    pub verify_rate: Option<ByteRate>,
    /// What limited the write phase.
    pub write_bound: Option<Bound>,
    /// What limited the read-back phase.
    pub verify_bound: Option<Bound>,
    /// Time on a processor.
    pub cpu: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_states_stay_unless_retried() {
        let all = [
            State::Judging,
            State::WaitingForMedia,
            State::Refused,
            State::WaitingForMaster,
            State::Claiming,
            State::Erasing,
            State::Writing,
            State::ReadingBack,
            State::Committing,
            State::Passed,
            State::Failed,
            State::Stopped,
        ];
        for from in [State::Passed, State::Failed, State::Stopped] {
            assert!(all.iter().all(|to| !from.may_become(*to)), "{from:?}");
        }
        // Nothing passes without having been written, read back and committed, in this order.
        let before = |to: State| all.into_iter().filter(|f| f.may_become(to)).collect::<Vec<_>>();
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
