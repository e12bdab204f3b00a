//! The two long phases: a master's body onto the drive, and back for comparison.
//!
//! Each drive has a few lanes, threads that each have one request at the drive, so that the drive never waits for the
//! next one. Lanes share what is written down under a lock that none holds during a request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::LANES;
use super::bound::{Spent, cpu_time, timed};
use super::engine::{LISTED_MISMATCHES, Tally, Work};
use super::fault::{Fault, mismatch_fault, read_fault, write_fault};
use super::hash::{Hashed, Order};
use super::pool::Pooled;
use super::source::Subscription;
use super::watch::Watch;
use crate::digest::Digest;
use crate::identity::{Site, stamp};
use crate::job::{Mismatch, State};
use crate::master::{Chunk, Stage};
use crate::target::{Claim, Lane};
use crate::units::Bytes;

/// What the lanes of a drive share.
struct Shared<'a, T> {
    state: Mutex<T>,
    /// The first fault; the other lanes end then.
    fault: Mutex<Option<Fault>>,
    watch: Mutex<Watch<'a>>,
    spent: Mutex<Spent>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is numbers and lists that are changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn whole<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl<'a, T> Shared<'a, T> {
    fn new(state: T, watch: Watch<'a>) -> Self {
        let (spent, fault) = (Mutex::default(), Mutex::new(None));
        Self { state: Mutex::new(state), fault, watch: Mutex::new(watch), spent }
    }

    fn has_failed(&self) -> bool {
        lock(&self.fault).is_some()
    }

    /// Starts one lane; its fault is kept if it is the first. It has the drive's name, as the thread that starts it.
    fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        lane: impl FnOnce(&mut Spent) -> Result<(), Fault> + Send + 'scope,
    ) where
        T: Send,
    {
        let work = move || {
            let mut spent = Spent::default();
            if let Err(fault) = lane(&mut spent) {
                lock(&self.fault).get_or_insert(fault);
            }
            spent.cpu = cpu_time();
            lock(&self.spent).add(spent);
        };
        let name = thread::current().name().unwrap_or("drive").to_owned();
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, work) {
            lock(&self.fault).get_or_insert(Fault::Internal(format!("start a thread: {error}")));
        }
    }

    /// The end of all lanes: what they share, or their fault.
    fn finish(self, tally: &mut Tally) -> (T, Spent, Result<(), Fault>) {
        let Self { state, fault, watch, spent } = self;
        tally.warnings.extend(whole(watch).warning());
        let spent = whole(spent);
        tally.cpu += spent.cpu;
        (whole(state), spent, whole(fault).map_or(Ok(()), Err))
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

impl Work<'_> {
    fn watch(&self, claim: &Claim, state: State) -> Watch<'_> {
        let key = self.key(claim, state);
        Watch::new(self.limits, self.replicator.batches(), key, self.job)
    }

    fn is_stopped(&self) -> bool {
        self.stop.reason().is_some()
    }

    /// Stamps a copy of a chunk if it holds fix-up sites.
    fn stamped(&self, chunk: &Chunk, data: &[u8]) -> Result<Option<Pooled>, Fault> {
        let end = chunk.offset.0 + chunk.length.0;
        let sites = &self.master.manifest.sites;
        let touched = |s: &Site| s.offset.0 < end && s.offset.0 + s.length.0 > chunk.offset.0;
        if !sites.iter().any(touched) {
            return Ok(None);
        }
        // Its digest is about to become that of the stamped bytes, so what is stamped must be right.
        if Digest::of(data) != chunk.sha256 {
            return Err(Fault::Master(chunk.offset.0));
        }
        let Some(mut copy) = self.replicator.own().take(&|| self.is_stopped()) else {
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
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &mut [Digest],
    ) -> Result<Spent, Fault> {
        let source = self.replicator.source(self.master);
        let subscription = source.subscribe()?;
        let state = (&mut *expected, Bytes(0));
        let shared = Shared::new(state, self.watch(claim, State::Writing));
        let subscription = Mutex::new(subscription);
        let lane = claim.lane();
        thread::scope(|scope| {
            for _ in 0..LANES {
                shared.start(scope, |spent| self.write_lane(lane, &subscription, &shared, spent));
            }
        });
        let ((_, written), spent, result) = shared.finish(tally);
        tally.written.0 += written.0;
        result?;
        self.check_stop()?;
        Ok(spent)
    }

    fn write_lane(
        &self,
        mut lane: Lane<'_>,
        subscription: &Mutex<Subscription>,
        shared: &Shared<'_, (&mut [Digest], Bytes)>,
        spent: &mut Spent,
    ) -> Result<(), Fault> {
        let stopping = || self.is_stopped() || shared.has_failed();
        loop {
            let next = timed(&mut spent.store, || lock(subscription).next(&stopping))?;
            let Some((index, data)) = next else { return Ok(()) };
            let chunk = &self.master.manifest.chunks[index];
            let own = self.stamped(chunk, &data)?;
            if let Some(own) = &own {
                lock(&shared.state).0[index] = Digest::of(own);
            }
            let data = own.as_ref().unwrap_or(&data);
            let mut took = Duration::ZERO;
            timed(&mut took, || lane.write(chunk.offset, data)).map_err(write_fault)?;
            spent.drive += took;
            lock(&shared.state).1.0 += chunk.length.0;
            self.progress.add(chunk.length);
            self.progress.spent(*spent);
            lock(&shared.watch).moved(chunk.length, took, &lane)?;
        }
    }

    /// Reads every body chunk back and compares. If chunks are wrong that may be written again, they are, and then
    /// everything is read once more: on a drive that is smaller than it claims, mending one place breaks another.
    pub(super) fn read_back(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
    ) -> Result<Spent, Fault> {
        let mut spent = Spent::default();
        let mut rewrites = 0..self.limits.rewrites;
        loop {
            let (took, wrong) = self.read_all(claim, tally, expected, actual)?;
            spent.add(took);
            let mend = !wrong.is_empty() && !too_many(&wrong) && rewrites.next().is_some();
            if !mend {
                tally.mismatches.extend(wrong.into_iter().flat_map(|wrong| wrong.mismatches));
                mismatch_fault(&tally.mismatches)?;
                self.check_markers(claim, tally)?;
                return Ok(spent);
            }
            for Wrong { index, mismatches } in wrong {
                if !self.rewrite(claim, index, expected[index], tally)? {
                    tally.mismatches.extend(mismatches);
                    mismatch_fault(&tally.mismatches)?;
                }
            }
            claim.flush().map_err(write_fault)?;
        }
    }

    /// One pass over all body chunks; returns those that are wrong.
    fn read_all(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
    ) -> Result<(Spent, Vec<Wrong>), Fault> {
        let chunks = &self.master.manifest.chunks;
        let todo = (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Body);
        actual.fill(None);
        tally.verified = Bytes(0);
        let shared = Shared::new(todo, self.watch(claim, State::ReadingBack));
        let lane = claim.lane();
        let (reply, hashed) = unbounded();
        let mut wrong = Vec::new();
        thread::scope(|scope| {
            for _ in 0..LANES {
                let (reply, own) = (reply.clone(), &shared);
                shared.start(scope, move |spent| self.read_lane(lane, own, &reply, spent));
            }
            // What comes in ends when the last lane and the last hash have.
            drop(reply);
            wrong = self.compare(&hashed, expected, actual, tally, &|| {
                lock(&shared.fault).get_or_insert(Fault::Internal("too many differences".into()));
            });
        });
        let (_, spent, result) = shared.finish(tally);
        if let Err(fault) = result
            && !too_many(&wrong)
        {
            tally.mismatches.extend(wrong.into_iter().flat_map(|wrong| wrong.mismatches));
            return Err(fault);
        }
        Ok((spent, wrong))
    }

    fn read_lane(
        &self,
        lane: Lane<'_>,
        shared: &Shared<'_, impl Iterator<Item = usize>>,
        reply: &Sender<Hashed>,
        spent: &mut Spent,
    ) -> Result<(), Fault> {
        let stopping = || self.is_stopped() || shared.has_failed();
        loop {
            // The buffer first: a lane that has to wait for one must not hold a chunk back.
            let buffer = timed(&mut spent.hashes, || self.replicator.own().take(&stopping));
            self.check_stop()?;
            let Some(mut data) = buffer else { return Ok(()) };
            let next = lock(&shared.state).next();
            let Some(index) = next else { return Ok(()) };
            let chunk = &self.master.manifest.chunks[index];
            data.resize(chunk.length);
            let mut took = Duration::ZERO;
            timed(&mut took, || lane.read(chunk.offset, &mut data)).map_err(read_fault)?;
            spent.drive += took;
            lock(&shared.watch).moved(chunk.length, took, &lane)?;
            let order = Order { index, data, reply: reply.clone() };
            timed(&mut spent.hashes, || self.replicator.hashing().submit(order));
            self.progress.spent(*spent);
        }
    }

    /// Takes in digests as they come. `enough` is called when so much is wrong that the rest does not matter.
    fn compare(
        &self,
        hashed: &Receiver<Hashed>,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
        tally: &mut Tally,
        enough: &dyn Fn(),
    ) -> Vec<Wrong> {
        let mut wrong: Vec<Wrong> = Vec::new();
        for Hashed { index, data, digest, cpu } in hashed {
            tally.cpu += cpu;
            let chunk = &self.master.manifest.chunks[index];
            actual[index] = Some(digest);
            self.progress.add(chunk.length);
            if digest == expected[index] {
                tally.verified.0 += chunk.length.0;
                continue;
            }
            let mismatches = self.mismatches(index, expected[index], &data);
            wrong.push(Wrong { index, mismatches });
            if too_many(&wrong) {
                enough();
            }
        }
        wrong
    }

    /// Writes a chunk that read back wrong once more. Whether it could be: the store may not hold it unharmed any more.
    fn rewrite(
        &self,
        claim: &mut Claim,
        index: usize,
        expected: Digest,
        tally: &mut Tally,
    ) -> Result<bool, Fault> {
        self.check_stop()?;
        let chunk = &self.master.manifest.chunks[index];
        let Some(data) = self.master_bytes(index, expected) else { return Ok(false) };
        claim.write(chunk.offset, &data).map_err(write_fault)?;
        tally.warnings.push(format!(
            "rewritten: {} bytes at {} read back wrong and were written again",
            chunk.length.0, chunk.offset.0
        ));
        Ok(true)
    }
}
