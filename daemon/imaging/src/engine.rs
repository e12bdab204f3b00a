//! One drive from erased to committed.
//!
//! The order is the point: old signatures go first, then everything that is not needed to recognise a finished
//! drive is written and read back, and only when all of that is right are boot sectors and partition
//! tables written and read back in turn. A drive that was interrupted never boots and never looks done.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use drives::buffer::Buffer;
use drives::medium::Medium;
use masters::layers::ReadAt as _;
use masters::store::Master;
use model::code::ReasonCode;
use model::digest::{Digest, Root};
use model::identity::{Identity, stamp};
use model::job::{Bottleneck, JobReport, Limits, Mismatch, State, Stop};
use model::manifest::{Chunk, Stage};
use model::old_data::{OldData, OldDataPolicy};
use model::ranges::{Range, RangeSet};
use model::units::{ByteRate, Bytes, SectorSize};
use uuid::Uuid;

use crate::Replicator;
use crate::batch::Key;
use crate::bottleneck::TimeSpent;
use crate::error::{JobError, read_error, write_error};
use crate::progress::Progress;
use crate::source::SourceError;

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
        let start = Instant::now();
        let spent = self.write_body(medium, report, &mut expected)?;
        medium.flush().map_err(write_error)?;
        let rate = ByteRate::mean(report.written, start.elapsed());
        report.write_rate = Some(rate);
        report.write_bottleneck = Some(self.bottleneck(medium, State::Writing, &spent, rate));
        if self.old_data == OldDataPolicy::Overwrite {
            self.overwrite(medium, report, &rest)?;
        }

        self.progress.enter(State::ReadingBack)?;
        let start = Instant::now();
        let read = self.read_back(medium, report, &expected, &mut actual);
        if read.as_ref().is_err_and(|error| error.verdict().1 == ReasonCode::StoreError) {
            self.withdraw(medium, &expected, &actual);
        }
        let spent = read?;
        let unread =
            |i: &usize| chunks[*i].stage == Stage::Body && actual[*i] != Some(expected[*i]);
        if let Some(index) = (0..chunks.len()).find(unread) {
            let what = format!("chunk at {} was not compared", chunks[index].offset.0);
            return Err(JobError::Internal(what));
        }
        let rate = ByteRate::mean(report.verified, start.elapsed());
        report.verify_rate = Some(rate);
        report.verify_bottleneck = Some(self.bottleneck(medium, State::ReadingBack, &spent, rate));
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
    ) -> Bottleneck {
        let shared = self.replicator.batches().is_shared(&self.key(medium, state), self.job, rate);
        spent.bottleneck(shared)
    }

    pub(super) fn key(&self, medium: &impl Medium, state: State) -> Key {
        let (master, model) = (self.master.manifest.id.clone(), medium.drive().model.clone());
        Key { master, model, state }
    }

    pub(super) fn check_stop(&self) -> Result<(), JobError> {
        self.stop.reason().map_or(Ok(()), |reason| Err(JobError::Stopped(reason)))
    }

    /// A chunk as this drive must hold it, from the store.
    ///
    /// # Errors
    /// [`JobError::Master`] if the store does not hold any more what was pressed.
    pub(super) fn chunk_for_drive(&self, chunk: &Chunk) -> Result<Buffer, JobError> {
        let mut data = Buffer::try_zeroed(chunk.length)?;
        let store = |error: io::Error| JobError::Store(SourceError::from(error));
        self.master.image.fill(&mut data, chunk.offset).map_err(store)?;
        if Digest::of(&data) != chunk.sha256 {
            return Err(JobError::Master(chunk.offset));
        }
        stamp(&mut data, chunk.offset, &self.master.manifest.sites, self.identity)?;
        Ok(data)
    }

    /// Which sectors of a body chunk differ. The body is written as it comes from the store, unhashed, so a chunk that
    /// reads back wrong may have been given to the drive like that.
    ///
    /// # Errors
    /// [`JobError::Master`] or another error of the store if that may be so: then the drive is not blamed.
    pub(super) fn mismatches(
        &self,
        chunk: &Chunk,
        expected: Digest,
        data: &[u8],
    ) -> Result<Vec<Mismatch>, JobError> {
        let good = self.chunk_for_drive(chunk)?;
        let store = |error: io::Error| JobError::Store(SourceError::from(error));
        if !self.master.is_unwritten().map_err(store)? {
            return Err(JobError::MasterWritten);
        }
        Ok(self.listed(chunk, expected, &good, data))
    }

    /// Which sectors of a chunk differ from what was written.
    pub(super) fn listed(
        &self,
        chunk: &Chunk,
        expected: Digest,
        good: &[u8],
        data: &[u8],
    ) -> Vec<Mismatch> {
        let listed = differences(chunk.offset, good, data, self.sector());
        if !listed.is_empty() {
            return listed;
        }
        // It was the hashing that went wrong: the whole chunk.
        let actual = Digest::of(data);
        vec![Mismatch { offset: chunk.offset, length: chunk.length, expected, actual }]
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
