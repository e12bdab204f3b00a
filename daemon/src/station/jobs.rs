//! Running jobs: one thread per drive, and an eye on threads that are stuck in the kernel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::mpsc;

use super::message::{Event, JobOrder, Ticket};
use super::runner::Means;
use crate::admission::{Code, Refusal};
use crate::hotplug::probe;
use crate::identity::Identity;
use crate::job::{Stop, StopReason, Verdict};
use crate::record::Record;
use crate::record::desk::Desk;
use crate::record::scribe::keep;
use crate::replicate::engine::Work;
use crate::replicate::image::image;
use crate::target::{Claim, ClaimError, IoClock};

/// A running job, as far as it can be watched from outside.
#[derive(Debug)]
struct Running {
    ticket: Ticket,
    desk: Desk,
    stop: Stop,
    clock: IoClock,
}

/// All running jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs(Vec<Running>);

impl Jobs {
    /// Starts a job on a thread of its own. It ends in [`Event::JobEnded`]; or, if the drive got its verdict without it
    /// meanwhile, in [`Event::DriveAnswered`].
    pub(super) fn start(&mut self, means: &Means, sender: &mpsc::Sender<Event>, order: JobOrder) {
        let ticket = order.ticket.clone();
        let (desk, clock) = (Desk::new(order.record.clone()), IoClock::default());
        let (stop, serial) = (order.stop.clone(), order.admitted.drive().label());
        let work = {
            let (ticket, desk, clock) = (ticket.clone(), desk.clone(), clock.clone());
            let (means, sender) = (means.clone(), sender.clone());
            move || {
                let ended = catch_unwind(AssertUnwindSafe(|| run(&means, order, &desk, &clock)));
                let record = ended.unwrap_or_else(|_| {
                    let detail = "the station's own error; see the log";
                    let record = desk.take()?;
                    Some(record.closed_with(Verdict::Failed, "internal_error", detail))
                });
                let event = match record {
                    Some(record) => {
                        if record.verdict == Some(Verdict::Refused) {
                            // Nothing has been done that would have to be on record first.
                            means.scribe.write(record.clone());
                        } else {
                            keep(&means.ledger, &record);
                        }
                        Event::JobEnded(ticket, Box::new(record))
                    }
                    None => {
                        means.replicator.recover();
                        Event::DriveAnswered(ticket)
                    }
                };
                // Nobody listens any more only when the station has ended.
                let _ = sender.blocking_send(event);
            }
        };
        let thread = thread::Builder::new().name(format!("drive/{serial}")).spawn(work);
        if let Err(error) = thread
            && let Some(record) = desk.take()
        {
            let detail = format!("cannot start a thread for the drive: {error}");
            let record = record.closed_with(Verdict::Refused, "internal_error", &detail);
            means.scribe.write(record.clone());
            let (sender, ended) = (sender.clone(), Event::JobEnded(ticket, Box::new(record)));
            tokio::spawn(async move { sender.send(ended).await });
            return;
        }
        self.0.push(Running { ticket, desk, stop, clock });
    }

    /// Gives one drive that does not answer its verdict, without its thread.
    pub(super) fn stuck(&mut self, means: &Means) -> Option<Event> {
        self.0.retain(|job| !job.desk.is_empty());
        let patience = means.limits.stall;
        let stuck = |job: &&Running| job.clock.waiting().is_some_and(|time| time > patience);
        let job = self.0.iter().find(stuck)?;
        let record = job.desk.take()?;
        // Should it answer after all, it finds that it has been stopped.
        job.stop.request(StopReason::Stalled);
        means.replicator.write_off();
        let detail = format!(
            "the drive has not answered a request for {} s (replicate.stall_timeout)",
            patience.as_secs()
        );
        let record = record.closed_with(Verdict::Failed, "stalled", &detail);
        means.scribe.write(record.clone());
        Some(Event::JobStuck(job.ticket.clone(), Box::new(record)))
    }
}

/// One drive, on its own thread: claim, put on record, image. Returns the closed record, unless it was taken from the
/// desk meanwhile.
fn run(means: &Means, order: JobOrder, desk: &Desk, clock: &IoClock) -> Option<Record> {
    let JobOrder { admitted, master, stop, progress, .. } = order;
    let refused =
        |code: &str, detail: &str| Some(desk.take()?.closed_with(Verdict::Refused, code, detail));
    let mut claim = match Claim::take(admitted, clock) {
        Ok(claim) => claim,
        Err(error) => {
            let code = match error {
                ClaimError::Open { .. } => Code::InUse,
                ClaimError::Changed { .. } => Code::DriveChanged,
                ClaimError::ReadOnly(_) => Code::ReadOnly,
            };
            return refused(&code.to_string(), &crate::worker::chain(&error));
        }
    };
    // Once more, now that nobody else can take it: what the claim does not exclude may have come since the decision.
    let usage = claim.during(|| means.host.usage(&claim.drive().name, &probe::is_in_pool));
    let usage = usage.map_err(|e| Refusal::new(Code::InUse, format!("who uses it? {e}")));
    if let Some(Refusal { code, detail }) = usage.map_or_else(Some, |usage| usage.objection()) {
        return refused(&code.to_string(), &detail);
    }
    let manifest = &master.manifest;
    let identity = Identity::random(manifest.plan.partitions.len());
    let record = desk.amend(|record| {
        Record { opened: jiff::Timestamp::now(), ..record }
            .with_master(manifest)
            .with_identity(&manifest.plan, &identity)
    })?;
    // Durable before the first destructive byte; without a place for its record no drive is touched.
    if let Err(error) = means.ledger.put(&record) {
        let detail = crate::worker::chain(&error);
        tracing::error!(serial = %claim.drive().label(), "not touched: {detail}");
        return refused("ledger_unavailable", &detail);
    }
    if let Err(error) = means.ledger.note_geometry(claim.geometry()) {
        // Only pressing ahead rests on it.
        tracing::warn!("{}", crate::worker::chain(&error));
    }
    let work = Work {
        master: &master,
        job: record.job,
        identity: &identity,
        replicator: &means.replicator,
        limits: &means.limits,
        stop: &stop,
        progress: &progress,
    };
    let outcome = image(&mut claim, &work);
    let Some(record) = desk.take() else {
        // Given up as stalled: whatever has come of it, it must not look finished.
        work.unfinish(&mut claim);
        return None;
    };
    Some(record.closed_by(outcome))
}
