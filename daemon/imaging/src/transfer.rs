//! The two long phases: a master's body onto the drive, and back for comparison.
//!
//! [`QUEUE_DEPTH`] threads have one request each at the drive, so that the drive never waits for the next one. What they
//! share stands under locks that none holds during a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use drives::medium::Medium;
use model::code::WarningCode;
use model::digest::Digest;
use model::identity::{Site, stamp};
use model::job::{JobReport, Mismatch, State};
use model::manifest::{Chunk, Stage};
use model::units::Bytes;
use parking_lot::Mutex;

use crate::QUEUE_DEPTH;
use crate::bottleneck::{TimeSpent, timed};
use crate::engine::{JobContext, LISTED_MISMATCHES};
use crate::error::{JobError, mismatch_error, read_error, write_error};
use crate::hash::{HashRequest, Hashed};
use crate::pool::Pooled;
use crate::rate_monitor::RateMonitor;
use crate::source::Subscription;

/// What the threads of one drive share.
pub(super) struct Shared<'a, T> {
    pub(super) state: Mutex<T>,
    /// The first error; the other threads end then.
    error: Mutex<Option<JobError>>,
    /// So much is wrong that no more need be read; the threads end then.
    enough: AtomicBool,
    pub(super) monitor: Mutex<RateMonitor<'a>>,
    spent: Mutex<TimeSpent>,
}

impl<'a, T: Send> Shared<'a, T> {
    pub(super) fn new(state: T, monitor: RateMonitor<'a>) -> Self {
        Self {
            state: Mutex::new(state),
            error: Mutex::new(None),
            enough: AtomicBool::new(false),
            monitor: Mutex::new(monitor),
            spent: Mutex::default(),
        }
    }

    /// So much is wrong that the rest does not matter.
    pub(super) fn call_off(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.enough.load(Ordering::Relaxed) || self.error.lock().is_some()
    }

    /// Starts a thread; its error is kept if it is the first. It has the drive's name, as the thread that starts it.
    pub(super) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce(&mut TimeSpent) -> Result<(), JobError> + Send + 'scope,
    ) {
        let work = move || {
            let mut spent = TimeSpent::default();
            if let Err(error) = work(&mut spent) {
                self.error.lock().get_or_insert(error);
            }
            spent.settle();
            self.spent.lock().add(spent);
        };
        let name = thread::current().name().unwrap_or("drive").to_owned();
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, work) {
            let error = JobError::Internal(format!("start a thread: {error}"));
            self.error.lock().get_or_insert(error);
        }
    }

    /// The end of all threads: what they share, or their error.
    pub(super) fn finish(self, report: &mut JobReport) -> (T, TimeSpent, Result<(), JobError>) {
        report.warnings.extend(self.monitor.into_inner().warning());
        let spent = self.spent.into_inner();
        report.cpu += spent.cpu;
        (self.state.into_inner(), spent, self.error.into_inner().map_or(Ok(()), Err))
    }
}

/// A chunk that read back wrong.
struct Wrong {
    index: usize,
    mismatches: Vec<Mismatch>,
}

/// Whether so much is wrong that no more need be looked at.
fn too_many(wrong: &[Wrong]) -> bool {
    wrong.iter().map(|wrong| wrong.mismatches.len()).sum::<usize>() >= LISTED_MISMATCHES
}

impl JobContext<'_> {
    pub(super) fn monitor(&self, medium: &impl Medium, state: State) -> RateMonitor<'_> {
        let key = self.key(medium, state);
        RateMonitor::new(self.limits, self.replicator.batches(), key, self.job)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.reason().is_some()
    }

    /// Stamps a copy of a chunk if it holds fix-up sites.
    fn stamped(&self, chunk: &Chunk, data: &[u8]) -> Result<Option<Pooled>, JobError> {
        let sites = &self.master.manifest.sites;
        let touched = |site: &Site| site.range().overlaps(chunk.range());
        if !sites.iter().any(touched) {
            return Ok(None);
        }
        // Its digest is about to become that of the stamped bytes, so what is stamped must be right.
        if Digest::of(data) != chunk.sha256 {
            return Err(JobError::Master(chunk.offset));
        }
        let Some(mut copy) = self.replicator.own().take(&|| self.is_stopped())? else {
            return self.check_stop().map(|()| None);
        };
        copy.resize(chunk.length);
        copy.copy_from_slice(data);
        stamp(&mut copy, chunk.offset, sites, self.identity)?;
        Ok(Some(copy))
    }

    /// Writes every body chunk. `expected` becomes what each must read back as.
    pub(super) fn write_body(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        expected: &mut [Digest],
    ) -> Result<TimeSpent, JobError> {
        let source = self.replicator.source(self.master);
        let subscription = Mutex::new(source.subscribe()?);
        let state = (&mut *expected, Bytes(0));
        let medium = &*medium;
        let shared = Shared::new(state, self.monitor(medium, State::Writing));
        thread::scope(|scope| {
            for _ in 0..QUEUE_DEPTH {
                let write = |spent: &mut TimeSpent| {
                    self.write_chunks(medium, &subscription, &shared, spent)
                };
                shared.start(scope, write);
            }
        });
        let ((_, written), spent, result) = shared.finish(report);
        report.written += written;
        result?;
        self.check_stop()?;
        Ok(spent)
    }

    /// One of several threads that write, until nothing is left.
    fn write_chunks(
        &self,
        medium: &impl Medium,
        subscription: &Mutex<Subscription>,
        shared: &Shared<'_, (&mut [Digest], Bytes)>,
        spent: &mut TimeSpent,
    ) -> Result<(), JobError> {
        let stopping = || self.is_stopped() || shared.is_over();
        loop {
            let next = timed(&mut spent.store, || subscription.lock().next(&stopping))?;
            let Some((index, data)) = next else { return Ok(()) };
            let chunk = &self.master.manifest.chunks[index];
            let own = self.stamped(chunk, &data)?;
            if let Some(own) = &own {
                let digest = Digest::of(own);
                shared.state.lock().0[index] = digest;
            }
            let data = own.as_ref().unwrap_or(&data);
            let mut took = Duration::ZERO;
            timed(&mut took, || medium.write(chunk.offset, data)).map_err(write_error)?;
            spent.drive += took;
            shared.state.lock().1 += chunk.length;
            self.progress.add(chunk.length);
            spent.look();
            self.progress.spent(*spent);
            shared.monitor.lock().moved(chunk.length, took, medium)?;
        }
    }

    /// Reads every body chunk back and compares. If chunks are wrong that may be written again, they are, and then
    /// everything is read once more: on a drive that is smaller than it claims, mending one place breaks another.
    pub(super) fn read_back(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
    ) -> Result<TimeSpent, JobError> {
        let mut spent = TimeSpent::default();
        let mut rewrites = 0..self.limits.rewrites;
        loop {
            let (took, wrong) = self.read_all(medium, report, expected, actual)?;
            spent.add(took);
            let mend = !wrong.is_empty() && !too_many(&wrong) && rewrites.next().is_some();
            if !mend {
                report.mismatches.extend(wrong.into_iter().flat_map(|wrong| wrong.mismatches));
                mismatch_error(&report.mismatches)?;
                self.check_markers(medium, report)?;
                return Ok(spent);
            }
            for Wrong { index, .. } in wrong {
                self.rewrite(medium, index, report)?;
            }
            medium.flush().map_err(write_error)?;
        }
    }

    /// One pass over all body chunks; returns those that are wrong.
    fn read_all(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
    ) -> Result<(TimeSpent, Vec<Wrong>), JobError> {
        let chunks = &self.master.manifest.chunks;
        let todo = (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Body);
        actual.fill(None);
        report.verified = Bytes(0);
        let medium = &*medium;
        let shared = Shared::new(todo, self.monitor(medium, State::ReadingBack));
        let (reply, hashed) = unbounded();
        let mut compared = Ok(Vec::new());
        thread::scope(|scope| {
            for _ in 0..QUEUE_DEPTH {
                let (reply, own) = (reply.clone(), &shared);
                shared.start(scope, move |spent| self.read_chunks(medium, own, &reply, spent));
            }
            // What comes in ends when the last thread and the last hash have.
            drop(reply);
            compared = self.compare(&hashed, expected, actual, report, &shared.enough);
        });
        let (_, spent, result) = shared.finish(report);
        let wrong = match compared {
            Ok(wrong) => wrong,
            // What the drive itself has reported counts first.
            Err(fault) => return result.and(Err(fault)),
        };
        if let Err(error) = result
            && !too_many(&wrong)
        {
            report.mismatches.extend(wrong.into_iter().flat_map(|wrong| wrong.mismatches));
            return Err(error);
        }
        Ok((spent, wrong))
    }

    /// One of several threads that read back, until nothing is left or enough is wrong.
    fn read_chunks(
        &self,
        medium: &impl Medium,
        shared: &Shared<'_, impl Iterator<Item = usize> + Send>,
        reply: &Sender<Hashed>,
        spent: &mut TimeSpent,
    ) -> Result<(), JobError> {
        let stopping = || self.is_stopped() || shared.is_over();
        loop {
            // The buffer first: a thread that has to wait for one must not hold a chunk back.
            let buffer = timed(&mut spent.hashes, || self.replicator.own().take(&stopping));
            self.check_stop()?;
            let Some(mut data) = buffer? else { return Ok(()) };
            let next = shared.state.lock().next();
            let Some(index) = next else { return Ok(()) };
            let chunk = &self.master.manifest.chunks[index];
            data.resize(chunk.length);
            let mut took = Duration::ZERO;
            timed(&mut took, || medium.read(chunk.offset, &mut data)).map_err(read_error)?;
            spent.drive += took;
            shared.monitor.lock().moved(chunk.length, took, medium)?;
            let request = HashRequest { index, data, reply: reply.clone() };
            timed(&mut spent.hashes, || self.replicator.hashing().submit(request));
            spent.look();
            self.progress.spent(*spent);
        }
    }

    /// Takes in digests as they come. Sets `enough` when so much is wrong that the rest does not matter.
    ///
    /// # Errors
    /// If a chunk is wrong and the store may be the reason, whatever else is wrong.
    fn compare(
        &self,
        hashed: &Receiver<Hashed>,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
        report: &mut JobReport,
        enough: &AtomicBool,
    ) -> Result<Vec<Wrong>, JobError> {
        let mut wrong: Vec<Wrong> = Vec::new();
        let mut fault = None;
        for Hashed { index, data, digest, cpu } in hashed {
            report.cpu += cpu;
            let chunk = &self.master.manifest.chunks[index];
            actual[index] = Some(digest);
            self.progress.add(chunk.length);
            if digest == expected[index] {
                report.verified += chunk.length;
                continue;
            }
            if fault.is_some() {
                continue;
            }
            match self.mismatches(chunk, expected[index], &data) {
                Ok(mismatches) => wrong.push(Wrong { index, mismatches }),
                Err(error) => fault = Some(error),
            }
            if fault.is_some() || too_many(&wrong) {
                enough.store(true, Ordering::Relaxed);
            }
        }
        fault.map_or(Ok(wrong), Err)
    }

    /// Writes a chunk that read back wrong once more.
    fn rewrite(
        &self,
        medium: &mut impl Medium,
        index: usize,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        self.check_stop()?;
        let chunk = &self.master.manifest.chunks[index];
        let data = self.chunk_for_drive(chunk)?;
        medium.write(chunk.offset, &data).map_err(write_error)?;
        report.warnings.push(WarningCode::Rewritten.says(format_args!(
            "{} bytes at {} read back wrong and were written again",
            chunk.length.0, chunk.offset.0
        )));
        Ok(())
    }
}
