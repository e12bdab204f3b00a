//! Running jobs: one thread per drive, and the watch for threads that hang in the kernel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use drives::claim::{Claim, ClaimError, IoClock};
use drives::content;
use drives::medium::Medium as _;
use drives::usage;
use imaging::engine::JobContext;
use imaging::error::JobError;
use imaging::job::{bytes_to_move, run_job};
use imaging::progress::Progress;
use jiff::Timestamp;
use model::admission::{BlankCheck, Content};
use model::code::ReasonCode;
use model::failure::{Reason, Refusal, chain};
use model::identity::Identity;
use model::job::{Reading, State, Stop, StopReason};
use model::record::Record;
use model::verdict::Verdict;
use record::ledger::LedgerError;
use record::open::OpenRecord;
use station::{Event, JobOrder, Ticket};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::survey::{deep_objection, last_look, unknown_users};
use super::{OpenMaster, Services};

/// The parts of a running job that can be reached from outside its thread.
#[derive(Debug)]
struct Running {
    job: Uuid,
    ticket: Ticket,
    open: OpenRecord,
    stop: Stop,
    clock: IoClock,
    progress: Arc<Progress>,
}

/// All jobs of which the station does not know that they have ended.
#[derive(Debug)]
pub(super) struct Jobs {
    running: Vec<Running>,
    /// When the station has last looked whether one is stuck.
    looked: Instant,
    /// Since when it has looked again and again.
    watching: Instant,
}

/// If the station has not looked for so long, it did not run: it was stopped, or its machine was. Then no drive's request
/// had its time.
const BLINK: Duration = Duration::from_secs(3);

impl Jobs {
    /// No jobs.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { running: Vec::new(), looked: now, watching: now }
    }

    /// Starts a job on a thread of its own. The thread ends with [`Event::JobEnded`], or with [`Event::DriveAnswered`]
    /// if the drive has been given its verdict meanwhile, because it did not answer.
    pub(super) fn start(
        &mut self,
        services: &Services,
        sender: &mpsc::Sender<Event<OpenMaster>>,
        order: JobOrder<OpenMaster>,
    ) {
        let total = bytes_to_move(&order.master.manifest, services.old_data);
        let running = Running {
            job: order.record.job,
            ticket: order.ticket.clone(),
            open: OpenRecord::new(order.record.clone()),
            stop: order.stop.clone(),
            clock: IoClock::default(),
            progress: Arc::new(Progress::new(State::Claiming, total)),
        };
        let serial = order.admitted.drive().label();
        let work = {
            let (ticket, open) = (running.ticket.clone(), running.open.clone());
            let (clock, progress) = (running.clock.clone(), Arc::clone(&running.progress));
            let (services, sender) = (services.clone(), sender.clone());
            move || {
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    run(&services, order, &open, &clock, &progress)
                }));
                let record = ended.unwrap_or_else(|_| {
                    let detail = "the station made a mistake while it imaged the drive";
                    let reason = Reason::new(ReasonCode::InternalError, detail);
                    let reason = reason.with_hint("the station's log has more");
                    Some(open.take()?.closed_with(Verdict::Failed, reason, Timestamp::now()))
                });
                let (event, refused) = match record {
                    // Nothing was written, so nothing has to wait until this record is durable. If the ledger was not
                    // there, its being back must be the later event.
                    Some(record) if record.verdict == Some(Verdict::Refused) => {
                        (Event::JobEnded(ticket, Box::new(record.clone())), Some(record))
                    }
                    Some(record) => {
                        let record = services.writer.keep(record);
                        (Event::JobEnded(ticket, Box::new(record)), None)
                    }
                    None => {
                        services.replicator.recover();
                        (Event::DriveAnswered(ticket), None)
                    }
                };
                // Fails only if the station has ended.
                let _ = sender.blocking_send(event);
                if let Some(record) = refused {
                    services.writer.write(record);
                }
            }
        };
        let thread = thread::Builder::new().name(format!("drive/{serial}")).spawn(work);
        if let Err(error) = thread
            && let Some(record) = running.open.take()
        {
            let detail = format!("cannot start a thread for the drive: {error}");
            let refusal = Refusal::new(ReasonCode::OutOfMemory, detail);
            let record = record.refused(refusal, Timestamp::now());
            services.writer.write(record.clone());
            let ended = Event::JobEnded(running.ticket, Box::new(record));
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(ended).await });
            return;
        }
        self.running.push(running);
    }

    /// How far a job has come; `None` if it does not run.
    pub(super) fn reading(&self, job: Uuid) -> Option<Reading> {
        self.running
            .iter()
            .find(|running| running.job == job)
            .map(|running| running.progress.read())
    }

    /// Forgets a job, because the station now knows that it has ended.
    pub(super) fn forget(&mut self, job: Uuid) {
        self.running.retain(|running| running.job != job);
    }

    /// Closes the record of a drive that does not answer, without waiting for the job's thread. Each call closes one
    /// record at most.
    pub(super) fn stuck(&mut self, services: &Services) -> Option<Event<OpenMaster>> {
        let patience = services.limits.stall;
        let now = Instant::now();
        if now - self.looked > BLINK {
            tracing::warn!(
                "the station did not run for {} s; drives get their time anew",
                (now - self.looked).as_secs()
            );
            self.watching = now;
        }
        self.looked = now;
        let watched = self.watching.elapsed();
        if watched <= patience {
            return None;
        }
        let stuck = |job: &&Running| {
            !job.open.is_closed() && job.clock.waiting().is_some_and(|time| time > patience)
        };
        let job = self.running.iter().find(stuck)?;
        let record = job.open.take()?;
        // If the drive answers after all, the job's thread finds this request and ends.
        job.stop.request(StopReason::Stalled);
        services.replicator.write_off();
        let detail = format!(
            "the drive has not answered a request for {} s (replicate.stall_timeout)",
            patience.as_secs()
        );
        let reason = Reason::new(ReasonCode::Stalled, detail);
        let record = record.closed_with(Verdict::Failed, reason, Timestamp::now());
        services.writer.write(record.clone());
        Some(Event::JobStuck(job.ticket.clone(), Box::new(record)))
    }
}

/// The job of one drive, on its own thread: claims the drive, puts the job on record, images the drive. Returns the
/// closed record, or `None` if the station has closed it meanwhile.
fn run(
    services: &Services,
    order: JobOrder<OpenMaster>,
    open: &OpenRecord,
    clock: &IoClock,
    progress: &Progress,
) -> Option<Record> {
    let JobOrder { admitted, master, stop, record, place, .. } = order;
    let refused = |refusal: Refusal| Some(open.take()?.refused(refusal, Timestamp::now()));
    let go_on = || stop.reason().is_none();
    let ended = |error: &JobError| {
        let (verdict, code) = error.verdict();
        Some(open.take()?.closed_with(verdict, Reason::of(code, error), Timestamp::now()))
    };
    let stopped = || ended(&JobError::Stopped(stop.reason()?));
    let mut claim = match Claim::take(admitted, clock, &go_on) {
        Ok(claim) => claim,
        Err(ClaimError::Stopped(_)) => return stopped(),
        Err(error) => {
            let code = match &error {
                ClaimError::Held(_)
                | ClaimError::Locked(_)
                | ClaimError::Open { .. }
                | ClaimError::Stopped(_) => ReasonCode::InUse,
                ClaimError::Changed { .. } => ReasonCode::DriveChanged,
                ClaimError::ReadOnly(_) => ReasonCode::ReadOnly,
            };
            return refused(Refusal::of(code, &error).with_hint_of(&error));
        }
    };
    // Who uses the drive is looked up once more. Uses that the claim does not exclude may have begun since the
    // decision.
    let look = || claim.during(|| services.host.usage(&claim.drive().name, &content::is_in_pool));
    let usage = usage::settled(look, &go_on);
    if !go_on() {
        return stopped();
    }
    let objection = match usage {
        Ok(usage) => usage.objection(claim.drive()),
        Err(error) => Some(unknown_users(claim.drive(), &error)),
    };
    if let Some(refusal) = objection {
        return refused(refusal);
    }
    let looked = last_look(services, &claim, record.consent.as_ref());
    if !go_on() {
        return stopped();
    }
    let content = match looked {
        Ok(content) => content,
        Err(refusal) => return refused(refusal),
    };
    let manifest = &master.manifest;
    let identity = Identity::random(manifest.plan.partitions.len());
    let context = JobContext {
        master: &master,
        job: record.job,
        identity: &identity,
        replicator: &services.replicator,
        limits: &services.limits,
        old_data: services.old_data,
        stop: &stop,
        progress,
    };
    // Whoever has consented to lose what the drive holds need not know whether it holds anything.
    let deep = services.blank_check == BlankCheck::Deep && record.consent.is_none();
    if content == Content::Blank && deep {
        match deep_objection(services, &claim, &context) {
            Ok(None) => {}
            Ok(Some(refusal)) => return refused(refusal),
            Err(error) => return ended(&error),
        }
    }
    let is_asked = record.health.is_some();
    let record = open.amend(|record| {
        Record { opened: Timestamp::now(), ..record }
            .with_consent_to(&content)
            .with_master(manifest)
            .with_identity(&manifest.plan, &identity)
    })?;
    // The record must be durable before the first byte of the drive is destroyed. If it cannot be written, the drive is
    // not touched.
    let opened = match &place {
        Some(place) => services.ledger.open_job(record, place).map(|record| {
            // Whoever closes it closes it with the number of its attempt.
            open.amend(|_| record)
        }),
        None => services.ledger.put(&record).map(|()| None),
    };
    if let Err(LedgerError::Order { refusal }) = opened {
        return refused(*refusal);
    }
    if let Err(error) = opened {
        let code = match error {
            LedgerError::Closed { .. } => ReasonCode::InternalError,
            _ => error.code(),
        };
        let refusal = Refusal::of(code, &error).with_hint_of(&error);
        let serial = claim.drive().label();
        tracing::error!(serial, "drive {serial} is not touched: {}", refusal.detail);
        return refused(refusal);
    }
    if let Err(error) = services.ledger.note_geometry(claim.geometry()) {
        // Needed only to press masters ahead.
        tracing::warn!("cannot note the geometry of {}: {}", claim.drive().label(), chain(&error));
    }
    let outcome = run_job(&mut claim, &context);
    if outcome.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::StoreError) {
        services.store.doubt(&master);
        services.replicator.distrust(&master);
    }
    // A drive that does not answer is waited for once, and for a few seconds. The claim keeps others off it meanwhile.
    let after = match is_asked && !open.is_closed() {
        true => services.health.of(claim.drive()),
        false => None,
    };
    let Some(record) = open.take() else {
        // The drive's verdict is `failed`, because it did not answer. Whatever is on it now, it must not look finished.
        context.unfinish(&mut claim);
        return None;
    };
    if outcome.verdict == Verdict::Passed {
        services.store.remember(manifest);
    }
    Some(record.closed_by(outcome, Timestamp::now()).with_health_after(after))
}
