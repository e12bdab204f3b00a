//! One drive from erased to committed.
//!
//! The order is the point: old signatures go first, then everything that is not needed to recognise a finished
//! drive is written and read back, and only when all of that is right are boot sectors and partition
//! tables written and read back in turn. A drive that was interrupted never boots and never looks done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Replicator;
use super::batch::Key;
use super::bound::{Load, Spent};
use super::fault::{Fault, write_fault};
use super::progress::Progress;
use crate::buffer::Buffer;
use crate::digest::{Digest, Root};
use crate::identity::{Identity, stamp};
use crate::job::{Bound, Mismatch, State, Stop};
use crate::master::Stage;
use crate::master::runs::{CHUNK, Runs};
use crate::master::store::Master;
use crate::target::Claim;
use crate::units::{ByteRate, Bytes, SectorSize, Share};

/// Configured limits of a job.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A drive that stays below this for `window` fails.
    pub min_rate: Option<ByteRate>,
    /// So does one that stays below this share of the median of its [batch](super::batch).
    pub min_batch_share: Option<Share>,
    /// Over how long a rate is taken.
    pub window: Duration,
    /// A drive that is at one request for longer than this has failed.
    pub stall: Duration,
    /// How often a range that reads back wrong may be written again.
    pub rewrites: u32,
}

/// More differing ranges than this are not listed: the drive is bad enough.
pub(super) const LISTED_MISMATCHES: usize = 32;

/// What was done to a drive so far; complete even if the job fails.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes written, commit included, erasing not.
    pub written: Bytes,
    /// Bytes read back and found right.
    pub verified: Bytes,
    /// Root over what was read back, once all was.
    pub readback: Option<Digest>,
    /// Differing ranges.
    pub mismatches: Vec<Mismatch>,
    /// Write phase.
    pub write_rate: Option<ByteRate>,
    /// Read-back phase.
    pub verify_rate: Option<ByteRate>,
    /// What limited the write phase.
    pub write_bound: Option<Bound>,
    /// What limited the read-back phase.
    pub verify_bound: Option<Bound>,
    /// Time on a processor, for this drive.
    pub cpu: Duration,
    /// For the record.
    pub warnings: Vec<String>,
}

/// What a drive's job works with.
#[derive(Debug)]
pub struct Work<'a> {
    /// What to write.
    pub master: &'a Arc<Master>,
    /// Name of the job.
    pub job: Uuid,
    /// Whose bytes to stamp.
    pub identity: &'a Identity,
    /// Shared parts.
    pub replicator: &'a Replicator,
    /// Limits.
    pub limits: &'a Limits,
    /// Stop request.
    pub stop: &'a Stop,
    /// Where to count.
    pub progress: &'a Progress,
}

impl Work<'_> {
    /// Does everything. What `tally` says is right whether or not it succeeds.
    ///
    /// # Errors
    /// A [`Fault`]. From the state `Erasing` on the drive may hold markers or tables then; the caller takes them away.
    pub fn replicate(&self, claim: &mut Claim, tally: &mut Tally) -> Result<(), Fault> {
        let chunks = &self.master.manifest.chunks;
        // What each chunk must read back as. Chunks with fix-ups get their own digest when they are stamped.
        let mut expected: Vec<Digest> = chunks.iter().map(|chunk| chunk.sha256).collect();
        let mut actual: Vec<Option<Digest>> = vec![None; chunks.len()];

        // Told to stop by now, nothing has been done to the drive.
        self.check_stop()?;
        self.progress.enter(State::Erasing);
        self.erase(claim)?;

        self.progress.enter(State::Writing);
        let (start, load) = (Instant::now(), Load::now());
        let spent = self.write_body(claim, tally, &mut expected)?;
        claim.flush().map_err(write_fault)?;
        let rate = ByteRate::mean(tally.written, start.elapsed());
        tally.write_rate = Some(rate);
        tally.write_bound = Some(self.bound(claim, State::Writing, &spent, rate, load));

        self.progress.enter(State::ReadingBack);
        let (start, load) = (Instant::now(), Load::now());
        let spent = self.read_back(claim, tally, &expected, &mut actual)?;
        let unread =
            |i: &usize| chunks[*i].stage == Stage::Body && actual[*i] != Some(expected[*i]);
        if let Some(index) = (0..chunks.len()).find(unread) {
            let what = format!("chunk at {} was not compared", chunks[index].offset.0);
            return Err(Fault::Internal(what));
        }
        let rate = ByteRate::mean(tally.verified, start.elapsed());
        tally.verify_rate = Some(rate);
        tally.verify_bound = Some(self.bound(claim, State::ReadingBack, &spent, rate, load));

        self.progress.enter(State::Committing);
        self.commit(claim, tally, &mut actual)?;
        claim.drop_cache();

        let mut root = Root::default();
        for (chunk, digest) in chunks.iter().zip(&actual) {
            let Some(digest) = digest else {
                return Err(Fault::Internal(format!("chunk at {} was never read", chunk.offset.0)));
            };
            root.add(chunk.offset, chunk.length, digest);
        }
        tally.readback = Some(root.finish());
        Ok(())
    }

    /// What a phase that has just ended was limited by.
    fn bound(
        &self,
        claim: &Claim,
        state: State,
        spent: &Spent,
        rate: ByteRate,
        load: Option<Load>,
    ) -> Bound {
        let busy = load.and_then(|before| Load::now()?.since(&before));
        let shared = self.replicator.batches().is_shared(&self.key(claim, state), self.job, rate);
        spent.bound(busy, shared)
    }

    pub(super) fn key(&self, claim: &Claim, state: State) -> Key {
        let (master, model) = (self.master.manifest.id.clone(), claim.drive().model.clone());
        Key { master, model, state }
    }

    pub(super) fn check_stop(&self) -> Result<(), Fault> {
        self.stop.reason().map_or(Ok(()), |reason| Err(Fault::Stopped(reason)))
    }

    /// What should stand on the drive, if the store still holds it unharmed.
    pub(super) fn master_bytes(&self, index: usize, expected: Digest) -> Option<Buffer> {
        use std::os::unix::fs::FileExt as _;
        let chunk = &self.master.manifest.chunks[index];
        let mut good = Buffer::zeroed(CHUNK);
        good.resize(chunk.length);
        self.master.image.read_exact_at(&mut good, chunk.offset.0).ok()?;
        stamp(&mut good, chunk.offset, &self.master.manifest.sites, self.identity).ok()?;
        (Digest::of(&good) == expected).then_some(good)
    }

    /// Which sectors of a chunk differ.
    pub(super) fn mismatches(&self, index: usize, expected: Digest, data: &[u8]) -> Vec<Mismatch> {
        let chunk = &self.master.manifest.chunks[index];
        let good = self.master_bytes(index, expected);
        let listed = good.map(|good| differences(chunk.offset, &good, data, self.sector()));
        // Nothing to compare with byte by byte, or it was the hashing that went wrong: the whole chunk.
        listed.filter(|listed| !listed.is_empty()).unwrap_or_else(|| {
            let actual = Digest::of(data);
            vec![Mismatch { offset: chunk.offset, length: chunk.length, expected, actual }]
        })
    }

    pub(super) fn sector(&self) -> SectorSize {
        self.master.manifest.plan.geometry.sector
    }
}

/// The runs of sectors in which what was found differs from what should be there.
pub(super) fn differences(
    offset: Bytes,
    expected: &[u8],
    found: &[u8],
    sector: SectorSize,
) -> Vec<Mismatch> {
    let step = Bytes(sector.bytes()).as_usize();
    let differing = (0_u64..)
        .zip(expected.chunks(step).zip(found.chunks(step)))
        .filter(|(_, (expected, found))| expected != found)
        .map(|(n, _)| (n * sector.bytes(), (n + 1) * sector.bytes()))
        .collect();
    let runs = Runs::from_ranges(differing);
    let mismatch = |(start, end): &(u64, u64)| {
        let part = Bytes(*start).as_usize()..Bytes(*end).as_usize().min(expected.len());
        Mismatch {
            offset: Bytes(offset.0 + start),
            length: Bytes(end - start),
            expected: Digest::of(&expected[part.clone()]),
            actual: Digest::of(&found[part]),
        }
    };
    runs.ranges().iter().map(mismatch).collect()
}
