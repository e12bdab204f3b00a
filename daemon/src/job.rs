//! One drive's job: its states, how it can end, and the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::identity::Identity;
use crate::master::store::Master;
use crate::record::{Mismatch, Reason};
use crate::replicate::Replicator;
use crate::replicate::engine::{self, Limits};
use crate::replicate::fault::Fault;
use crate::replicate::progress::Progress;
use crate::target::Claim;
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
        };
        let _ = self.0.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The reason to stop, if there is one.
    pub fn reason(&self) -> Option<StopReason> {
        match self.0.load(Ordering::Relaxed) {
            1 => Some(StopReason::Operator),
            2 => Some(StopReason::Unplugged),
            3 => Some(StopReason::Shutdown),
            _ => None,
        }
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
}

/// Images one claimed drive. Blocks until it is done; run it on a thread of its own.
pub fn run(
    claim: &mut Claim,
    master: &Arc<Master>,
    identity: &Identity,
    replicator: &Replicator,
    limits: &Limits,
    stop: &Stop,
    progress: &Progress,
) -> Outcome {
    let mut tally = engine::Tally::default();
    if !claim.reads_the_medium() {
        tally.warnings.push(
            "cached_read_back: the loop device has no direct I/O, so reads may come from memory"
                .into(),
        );
    }
    let work = engine::Work { master, identity, replicator, limits, stop, progress };
    let result = work.replicate(claim, &mut tally);
    let (verdict, reason) = match result {
        Ok(()) => (Verdict::Passed, None),
        Err(fault) => {
            let (verdict, code) = judge(&fault, stop);
            (verdict, Some(Reason { code: code.into(), detail: crate::worker::chain(&fault) }))
        }
    };
    Outcome {
        verdict,
        reason,
        warnings: tally.warnings,
        written: tally.written,
        verified: tally.verified,
        readback: tally.readback,
        mismatches: tally.mismatches,
        write_rate: tally.write_rate,
        verify_rate: tally.verify_rate,
    }
}

fn judge(fault: &Fault, stop: &Stop) -> (Verdict, &'static str) {
    // A pulled drive shows itself as an I/O error or as a stop request, whichever comes first.
    if stop.reason() == Some(StopReason::Unplugged) {
        return (Verdict::Failed, "unplugged");
    }
    match fault {
        Fault::Gone(_) => (Verdict::Failed, "unplugged"),
        Fault::Write(_) => (Verdict::Failed, "write_error"),
        Fault::Read(_) => (Verdict::Failed, "read_error"),
        Fault::Mismatch { .. } => (Verdict::Failed, "mismatch"),
        Fault::TooSlow { .. } => (Verdict::Failed, "too_slow"),
        Fault::Store(_) => (Verdict::Failed, "store_error"),
        Fault::Internal(_) => (Verdict::Failed, "internal_error"),
        Fault::Stopped(StopReason::Operator) => (Verdict::Stopped, "operator_stop"),
        Fault::Stopped(StopReason::Shutdown) => (Verdict::Stopped, "station_shutdown"),
        Fault::Stopped(StopReason::Unplugged) => (Verdict::Failed, "unplugged"),
    }
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
