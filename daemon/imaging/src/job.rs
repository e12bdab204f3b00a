//! A whole job on one drive that is held, and the verdict on it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use drives::medium::{Foreign, Medium};
use model::code::{ReasonCode, WarningCode};
use model::failure::Reason;
use model::job::{JobReport, Outcome, State, StopReason};
use model::manifest::Manifest;
use model::old_data::OldDataPolicy;
use model::units::Bytes;
use model::verdict::Verdict;

use crate::bottleneck::cpu_time;
use crate::engine::JobContext;
use crate::error::JobError;

/// How many bytes a job moves in all, to the drive and back.
pub fn bytes_to_move(manifest: &Manifest, old_data: OldDataPolicy) -> Bytes {
    match old_data {
        OldDataPolicy::Overwrite => manifest.plan.geometry.size * 2,
        OldDataPolicy::Discard | OldDataPolicy::Leave => manifest.payload() * 2,
    }
}

/// The error of a job, unless what reads back wrong was written by somebody else: then the drive is not to blame. What
/// waits in the page cache comes to light by a flush.
fn not_the_drive(medium: &impl Medium, error: JobError) -> JobError {
    if !matches!(error, JobError::Mismatch { .. }) || medium.flush().is_err() {
        return error;
    }
    match medium.foreign_writes() {
        Foreign::Bytes(bytes) => JobError::Foreign(bytes),
        Foreign::Nothing | Foreign::Unknown => error,
    }
}

/// Images one drive. Blocks until it is done; run it on a thread of its own.
pub fn run_job(medium: &mut impl Medium, context: &JobContext<'_>) -> Outcome {
    let mut report = JobReport::default();
    let before = cpu_time();
    context.replicator.batches().attend(context.job, &medium.drive().path);
    if !medium.reads_the_medium() {
        let why = "the loop device has no direct I/O, so reads may come from memory";
        report.warnings.push(WarningCode::CachedReadBack.says(why));
    }
    // A panic must not leave tables on a drive that did not pass.
    let replicated = catch_unwind(AssertUnwindSafe(|| {
        context.replicate(medium, &mut report)?;
        // Not entered: views must not show it before the record is durable.
        context.progress.state().advance(State::Passed)?;
        Ok(())
    }));
    let result =
        replicated.unwrap_or_else(|_| Err(JobError::Internal("panic; see the log".into())));
    let result = result.map_err(|error| not_the_drive(medium, error));
    // Markers and tables go: a drive that did not pass must look neither finished nor like anything else.
    let touched = context.progress.state().has_written();
    let given_up = context.stop.reason() == Some(StopReason::Stalled);
    if result.is_err() && touched && !given_up && medium.check_present().is_ok() {
        context.unfinish(medium);
    }
    context.replicator.batches().leave(context.job);
    report.cpu += cpu_time().saturating_sub(before);
    let Err(error) = result else {
        return Outcome { verdict: Verdict::Passed, reason: None, report };
    };
    // A pulled drive shows itself as an I/O error or as a stop request, whichever comes first.
    let (verdict, code) = match context.stop.reason() {
        Some(reason @ StopReason::Unplugged) => JobError::Stopped(reason).verdict(),
        _ => error.verdict(),
    };
    let reason = Reason::of(code, &error).with_hint_of(&error);
    let reason = match code {
        ReasonCode::ForeignWrite => {
            let node = medium.drive().node.display();
            reason.with_hint(format!("end what writes to it (`fuser -v {node}`), and retry it"))
        }
        _ => reason,
    };
    Outcome { verdict, reason: Some(reason), report }
}
