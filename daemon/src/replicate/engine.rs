//! One drive from erased to committed.
//!
//! The order is the point: old signatures go first, then everything that is not needed to recognise a finished
//! drive is written and read back, and only when all of that is right are boot sectors and partition
//! tables written and read back in turn. A drive that was interrupted never boots and never looks done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use uuid::Uuid;

use super::batch::Key;
use super::fault::{Fault, mismatch_fault, read_fault, write_fault};
use super::hash::{Hashed, Order};
use super::progress::Progress;
use super::watch::Watch;
use super::{DRIVE_BUFFERS, Replicator};
use crate::buffer::Buffer;
use crate::digest::{Digest, Root};
use crate::identity::{Identity, stamp};
use crate::job::{Mismatch, State, Stop};
use crate::master::runs::{CHUNK, Runs};
use crate::master::store::Master;
use crate::master::{Chunk, Stage};
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
const LISTED_MISMATCHES: usize = 32;

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
    /// A [`Fault`]. In the state `Committing` the drive may hold tables then; the caller takes them away.
    pub fn replicate(&self, claim: &mut Claim, tally: &mut Tally) -> Result<(), Fault> {
        let chunks = &self.master.manifest.chunks;
        // What each chunk must read back as. Chunks with fix-ups get their own digest when they are stamped.
        let mut expected: Vec<Digest> = chunks.iter().map(|chunk| chunk.sha256).collect();
        let mut actual: Vec<Option<Digest>> = vec![None; chunks.len()];

        self.progress.enter(State::Erasing);
        self.erase(claim)?;

        self.progress.enter(State::Writing);
        let start = Instant::now();
        self.write_body(claim, tally, &mut expected)?;
        claim.flush().map_err(write_fault)?;
        tally.write_rate = Some(ByteRate::mean(tally.written, start.elapsed()));

        self.progress.enter(State::ReadingBack);
        let start = Instant::now();
        self.read_back(claim, tally, &expected, &mut actual)?;
        tally.verify_rate = Some(ByteRate::mean(tally.verified, start.elapsed()));

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

    pub(super) fn check_stop(&self) -> Result<(), Fault> {
        self.stop.reason().map_or(Ok(()), |reason| Err(Fault::Stopped(reason)))
    }

    /// Stamps a copy of a chunk if it holds fix-up sites.
    fn stamped(&self, chunk: &Chunk, data: &[u8], copy: &mut Buffer) -> Result<bool, Fault> {
        let end = chunk.offset.0 + chunk.length.0;
        let sites = &self.master.manifest.sites;
        let touched = |s: &crate::identity::Site| {
            s.offset.0 < end && s.offset.0 + s.length.0 > chunk.offset.0
        };
        if !sites.iter().any(touched) {
            return Ok(false);
        }
        // Its digest is about to become that of the stamped bytes, so what is stamped must be right.
        if Digest::of(data) != chunk.sha256 {
            return Err(Fault::Master(chunk.offset.0));
        }
        copy.resize(chunk.length);
        copy.copy_from_slice(data);
        Ok(stamp(copy, chunk.offset, sites, self.identity)?)
    }

    fn write_body(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &mut [Digest],
    ) -> Result<(), Fault> {
        let source = self.replicator.source(self.master);
        let mut subscription = source.subscribe()?;
        let mut own = Buffer::zeroed(CHUNK);
        let mut watch = self.watch(claim, State::Writing);
        let stopping = || self.stop.reason().is_some();
        while let Some((index, data)) = subscription.next(&stopping)? {
            let chunk = &self.master.manifest.chunks[index];
            let data = if self.stamped(chunk, &data, &mut own)? {
                expected[index] = Digest::of(&own);
                &own
            } else {
                &*data
            };
            watch.during(claim, chunk.length, |claim| {
                claim.write(chunk.offset, data).map_err(write_fault)
            })?;
            tally.written.0 += chunk.length.0;
            self.progress.add(chunk.length);
        }
        tally.warnings.extend(watch.warning());
        self.check_stop()
    }

    fn read_back(
        &self,
        claim: &mut Claim,
        tally: &mut Tally,
        expected: &[Digest],
        actual: &mut [Option<Digest>],
    ) -> Result<(), Fault> {
        let chunks = &self.master.manifest.chunks;
        let (reply, hashed): (Sender<Hashed>, Receiver<Hashed>) = unbounded();
        let mut spare: Vec<Buffer> = (0..DRIVE_BUFFERS).map(|_| Buffer::zeroed(CHUNK)).collect();
        let buffers = spare.len();
        let mut watch = self.watch(claim, State::ReadingBack);
        let mut todo = (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Body);
        let mut next = todo.next();
        while next.is_some() || spare.len() < buffers {
            self.check_stop()?;
            // Read while there are buffers; else take in a result, which frees one.
            if let Some(index) = next
                && let Some(mut data) = spare.pop()
            {
                data.resize(chunks[index].length);
                watch.during(claim, chunks[index].length, |claim| {
                    claim.read(chunks[index].offset, &mut data).map_err(read_fault)
                })?;
                self.replicator.hashing().submit(Order { index, data, reply: reply.clone() });
                next = todo.next();
                continue;
            }
            let Ok(Hashed { index, mut data, mut digest }) = hashed.recv() else {
                return Err(Fault::Internal("the hashing threads are gone".into()));
            };
            if digest != expected[index] {
                self.rewrite(claim, index, expected[index], &mut data, &mut digest, tally)?;
            }
            if digest == expected[index] {
                tally.verified.0 += chunks[index].length.0;
            } else {
                self.note_mismatch(index, expected[index], &data, tally);
            }
            actual[index] = Some(digest);
            self.progress.add(chunks[index].length);
            spare.push(data);
            if tally.mismatches.len() >= LISTED_MISMATCHES {
                break;
            }
        }
        tally.warnings.extend(watch.warning());
        mismatch_fault(&tally.mismatches)?;
        self.check_markers(claim, tally)
    }

    fn watch(&self, claim: &Claim, state: State) -> Watch<'_> {
        let (master, model) = (self.master.manifest.id.clone(), claim.drive().model.clone());
        let key = Key { master, model, state };
        Watch::new(self.limits, self.replicator.batches(), key, self.job)
    }

    /// Writes a chunk that read back wrong again, as often as configured, and reads it again.
    fn rewrite(
        &self,
        claim: &mut Claim,
        index: usize,
        expected: Digest,
        data: &mut Buffer,
        digest: &mut Digest,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let chunk = &self.master.manifest.chunks[index];
        for attempt in 1..=self.limits.rewrites {
            let Some(good) = self.master_bytes(index, expected) else { return Ok(()) };
            claim.write(chunk.offset, &good).map_err(write_fault)?;
            claim.flush().map_err(write_fault)?;
            claim.read(chunk.offset, data).map_err(read_fault)?;
            *digest = Digest::of(data);
            if *digest == expected {
                tally.warnings.push(format!(
                    "rewritten: {} bytes at {} read back wrong and were written again, {attempt} times",
                    chunk.length.0, chunk.offset.0
                ));
                return Ok(());
            }
        }
        Ok(())
    }

    /// What should stand on the drive, if the store still holds it unharmed.
    fn master_bytes(&self, index: usize, expected: Digest) -> Option<Buffer> {
        use std::os::unix::fs::FileExt as _;
        let chunk = &self.master.manifest.chunks[index];
        let mut good = Buffer::zeroed(CHUNK);
        good.resize(chunk.length);
        self.master.image.read_exact_at(&mut good, chunk.offset.0).ok()?;
        stamp(&mut good, chunk.offset, &self.master.manifest.sites, self.identity).ok()?;
        (Digest::of(&good) == expected).then_some(good)
    }

    /// Records which sectors of a chunk differ.
    pub(super) fn note_mismatch(
        &self,
        index: usize,
        expected: Digest,
        data: &[u8],
        tally: &mut Tally,
    ) {
        let chunk = &self.master.manifest.chunks[index];
        let Some(good) = self.master_bytes(index, expected) else {
            // Nothing to compare with byte by byte: the whole chunk.
            tally.mismatches.push(Mismatch {
                offset: chunk.offset,
                length: chunk.length,
                expected,
                actual: Digest::of(data),
            });
            return;
        };
        tally.mismatches.extend(differences(chunk.offset, &good, data, self.sector()));
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
