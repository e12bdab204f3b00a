//! One drive from erased to committed.
//!
//! The order is the point: old signatures go first, then everything that is not needed to recognise a finished
//! drive is written and read back, and only when all of that is right are boot sectors and partition
//! tables written and read back in turn. A drive that was interrupted never boots and never looks done.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Instant;

use drives::buffer::Buffer;
use drives::medium::Medium;
use masters::store::Master;
use model::digest::{Digest, Root};
use model::identity::{Identity, stamp};
use model::job::{Bottleneck, JobReport, Limits, Mismatch, State, Stop};
use model::manifest::{Chunk, Stage};
use model::old_data::{OldData, OldDataPolicy};
use model::ranges::{CHUNK, Range, RangeSet};
use model::units::{ByteRate, Bytes, SectorSize};
use uuid::Uuid;

use crate::Replicator;
use crate::batch::Key;
use crate::bottleneck::{Load, TimeSpent};
use crate::error::{JobError, read_error, write_error};
use crate::progress::Progress;

/// More differing ranges than this are not listed: the drive is bad enough.
pub(super) const LISTED_MISMATCHES: usize = 32;

/// What a drive's job works with.
#[derive(Debug)]
pub struct JobContext<'a> {
    /// What to write.
    pub master: &'a Arc<Master>,
    /// Name of the job.
    pub job: Uuid,
    /// What is unique on this drive; stamped into its chunks.
    pub identity: &'a Identity,
    /// Reads the master once for all drives, and lends its buffers and hash threads.
    pub replicator: &'a Replicator,
    /// From which rate, and after which time without an answer, a drive has failed.
    pub limits: &'a Limits,
    /// What is done about the space that the master leaves free.
    pub old_data: OldDataPolicy,
    /// Asked again and again whether the job must stop.
    pub stop: &'a Stop,
    /// Where the job's state and its bytes are counted for views.
    pub progress: &'a Progress,
}

impl JobContext<'_> {
    /// Does everything. What `report` says is right whether or not it succeeds.
    ///
    /// # Errors
    /// [`JobError`]. From the state `Erasing` on the drive may hold markers or tables then; the caller takes them away.
    pub fn replicate(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        let chunks = &self.master.manifest.chunks;
        // What each chunk must read back as. Chunks with fix-ups get their own digest when they are stamped.
        let mut expected: Vec<Digest> = chunks.iter().map(|chunk| chunk.sha256).collect();
        let mut actual: Vec<Option<Digest>> = vec![None; chunks.len()];

        // If the job is stopped here, the drive is untouched.
        self.check_stop()?;
        self.progress.enter(State::Erasing)?;
        let rest = self.rest();
        report.old_data = Some(OldData::new(self.old_data, rest.total()));
        let discarded = self.erase(medium)?;

        self.progress.enter(State::Writing)?;
        let (start, load) = (Instant::now(), Load::now());
        let spent = self.write_body(medium, report, &mut expected)?;
        medium.flush().map_err(write_error)?;
        let rate = ByteRate::mean(report.written, start.elapsed());
        report.write_rate = Some(rate);
        report.write_bottleneck = Some(self.bottleneck(medium, State::Writing, &spent, rate, load));
        if self.old_data == OldDataPolicy::Overwrite {
            self.overwrite(medium, report, &rest)?;
        }

        self.progress.enter(State::ReadingBack)?;
        let (start, load) = (Instant::now(), Load::now());
        let spent = self.read_back(medium, report, &expected, &mut actual)?;
        let unread =
            |i: &usize| chunks[*i].stage == Stage::Body && actual[*i] != Some(expected[*i]);
        if let Some(index) = (0..chunks.len()).find(unread) {
            let what = format!("chunk at {} was not compared", chunks[index].offset.0);
            return Err(JobError::Internal(what));
        }
        let rate = ByteRate::mean(report.verified, start.elapsed());
        report.verify_rate = Some(rate);
        report.verify_bottleneck =
            Some(self.bottleneck(medium, State::ReadingBack, &spent, rate, load));
        match self.old_data {
            OldDataPolicy::Overwrite => self.read_back_rest(medium, report, &rest)?,
            OldDataPolicy::Discard | OldDataPolicy::Leave => {
                self.look_at_rest(medium, report, &rest, discarded)?;
            }
        }

        self.progress.enter(State::Committing)?;
        self.commit(medium, report, &mut actual)?;
        self.recheck(medium, report, &actual, &rest)?;
        self.check_sole_writer(medium, report)?;
        // If the drive was pulled meanwhile, the one in the bay now is not the one that was checked.
        medium.check_present().map_err(read_error)?;
        medium.drop_cache();

        let mut root = Root::default();
        for (chunk, digest) in chunks.iter().zip(&actual) {
            let Some(digest) = digest else {
                return Err(JobError::Internal(format!(
                    "chunk at {} was never read",
                    chunk.offset.0
                )));
            };
            root.add(chunk.offset, chunk.length, digest);
        }
        report.readback = Some(root.finish());
        Ok(())
    }

    /// The space that no chunk of the master covers.
    fn rest(&self) -> RangeSet {
        let manifest = &self.master.manifest;
        let whole = Range::new(Bytes(0), manifest.plan.geometry.size);
        let covered = manifest.chunks.iter().map(Chunk::range).collect();
        [whole].into_iter().collect::<RangeSet>().without(&covered)
    }

    /// What a phase that has just ended was limited by.
    fn bottleneck(
        &self,
        medium: &impl Medium,
        state: State,
        spent: &TimeSpent,
        rate: ByteRate,
        load: Option<Load>,
    ) -> Bottleneck {
        let busy = load.and_then(|before| Load::now()?.since(&before));
        let shared = self.replicator.batches().is_shared(&self.key(medium, state), self.job, rate);
        spent.bottleneck(busy, shared)
    }

    pub(super) fn key(&self, medium: &impl Medium, state: State) -> Key {
        let (master, model) = (self.master.manifest.id.clone(), medium.drive().model.clone());
        Key { master, model, state }
    }

    pub(super) fn check_stop(&self) -> Result<(), JobError> {
        self.stop.reason().map_or(Ok(()), |reason| Err(JobError::Stopped(reason)))
    }

    /// What should stand on the drive, if the store still holds it unharmed.
    pub(super) fn master_bytes(&self, index: usize, expected: Digest) -> Option<Buffer> {
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

/// The ranges of sectors in which what was found differs from what should be there.
pub(super) fn differences(
    offset: Bytes,
    expected: &[u8],
    found: &[u8],
    sector: SectorSize,
) -> Vec<Mismatch> {
    let step = sector.bytes();
    let size = Bytes(step).as_usize();
    let differing: RangeSet = (0_u64..)
        .zip(expected.chunks(size).zip(found.chunks(size)))
        .filter(|(_, (expected, found))| expected != found)
        .map(|(n, _)| Range::at(Bytes(n * step), Bytes(step)))
        .collect();
    let mismatch = |range: &Range| {
        let part = range.start.as_usize()..range.end.as_usize().min(expected.len());
        Mismatch {
            offset: offset + range.start,
            length: range.length(),
            expected: Digest::of(&expected[part.clone()]),
            actual: Digest::of(&found[part]),
        }
    };
    differing.ranges().iter().map(mismatch).collect()
}
