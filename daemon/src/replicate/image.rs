//! A whole job on one claimed drive, and the verdict on it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::bound::cpu_time;
use super::engine::{Tally, Work};
use super::fault::Fault;
use crate::job::{Outcome, Reason, State, Stop, StopReason, Verdict};
use crate::target::Claim;

/// Images one claimed drive. Blocks until it is done; run it on a thread of its own.
pub fn image(claim: &mut Claim, work: &Work<'_>) -> Outcome {
    let mut tally = Tally::default();
    let before = cpu_time();
    work.replicator.batches().attend(work.job, &claim.drive().path);
    if !claim.reads_the_medium() {
        tally.warnings.push(
            "cached_read_back: the loop device has no direct I/O, so reads may come from memory"
                .into(),
        );
    }
    // A panic must not leave tables on a drive that did not pass.
    let replicated = catch_unwind(AssertUnwindSafe(|| work.replicate(claim, &mut tally)));
    let result = replicated.unwrap_or_else(|_| Err(Fault::Internal("panic; see the log".into())));
    // Markers and tables go: a drive that did not pass must look neither finished nor like anything else.
    let touched = !matches!(work.progress.read().state, State::Claiming);
    let given_up = work.stop.reason() == Some(StopReason::Stalled);
    if result.is_err() && touched && !given_up && claim.check_present().is_ok() {
        work.unfinish(claim);
    }
    work.replicator.batches().leave(work.job);
    let (verdict, reason) = match result {
        Ok(()) => (Verdict::Passed, None),
        Err(fault) => {
            let (verdict, code) = judge(&fault, work.stop);
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
        write_bound: tally.write_bound,
        verify_bound: tally.verify_bound,
        cpu: tally.cpu + cpu_time().saturating_sub(before),
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
        Fault::Boot(_) => (Verdict::Failed, "boot_configuration"),
        Fault::TooSlow { .. } => (Verdict::Failed, "too_slow"),
        Fault::Store(_) | Fault::Master(_) => (Verdict::Failed, "store_error"),
        Fault::Internal(_) => (Verdict::Failed, "internal_error"),
        Fault::Stopped(StopReason::Operator) => (Verdict::Stopped, "operator_stop"),
        Fault::Stopped(StopReason::Shutdown) => (Verdict::Stopped, "station_shutdown"),
        Fault::Stopped(StopReason::Stalled) => (Verdict::Failed, "stalled"),
        Fault::Stopped(StopReason::Unplugged) => (Verdict::Failed, "unplugged"),
    }
}
