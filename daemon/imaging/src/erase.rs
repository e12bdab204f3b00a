//! Before the first byte of a master: what stood on the drive goes, and markers are set where the commit will write.

use std::time::{Duration, Instant};

use drives::buffer::Buffer;
use drives::medium::Medium;
use masters::allocation::{ends, guards};
use model::digest::Digest;
use model::identity::mark;
use model::job::JobReport;
use model::layout::Plan;
use model::manifest::{Chunk, Stage};
use model::old_data::{Discard, OldDataPolicy};
use model::ranges::{CHUNK, Range, RangeSet};
use model::units::Bytes;

use crate::engine::{JobContext, differences};
use crate::error::{JobError, mismatch_error, read_error, write_error};

/// How long it may take to clean a drive that refuses writes.
const CLEANING: Duration = Duration::from_secs(10);

/// How much is discarded with one request, so that a drive which is slow at it can be told to stop in between.
const DISCARD: Bytes = Bytes(8 << 30);

impl JobContext<'_> {
    /// Removes what could look like an old partition table, file system or RAID member: zeros at both ends of the
    /// drive first, so that an interruption leaves no table at all, then a discard if old data shall go, then zeros
    /// wherever anybody looks for signatures. Where the commit will write there are markers until then.
    pub(super) fn erase(&self, medium: &mut impl Medium) -> Result<Discard, JobError> {
        let plan = &self.master.manifest.plan;
        let size = plan.geometry.size;
        self.zero(medium, &table_ranges(plan))?;
        medium.flush().map_err(write_error)?;
        let discarded = match self.old_data {
            OldDataPolicy::Discard => self.discard(medium, size)?,
            OldDataPolicy::Overwrite | OldDataPolicy::Leave => Discard::NotAsked,
        };
        self.zero(medium, &guards(plan).into_iter().collect::<RangeSet>().aligned(size))?;
        for chunk in self.commit_chunks() {
            medium.write(chunk.offset, &self.marker(chunk)).map_err(write_error)?;
        }
        medium.flush().map_err(write_error)?;
        Ok(discarded)
    }

    fn discard(&self, medium: &mut impl Medium, size: Bytes) -> Result<Discard, JobError> {
        for start in (0..size.0).step_by(DISCARD.as_usize()) {
            self.check_stop()?;
            let range = Range::new(Bytes(start), (Bytes(start) + DISCARD).min(size));
            if !medium.discard(range) {
                return Ok(Discard::Refused);
            }
        }
        Ok(Discard::Taken)
    }

    fn commit_chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.master.manifest.chunks.iter().filter(|chunk| chunk.stage == Stage::Commit)
    }

    /// What stands in the place of a commit chunk until the commit. A drive that is smaller than it claims writes two
    /// places onto one: the later write, of the body, then shows here. Without this a commit could destroy
    /// what has been read back already.
    fn marker(&self, chunk: &Chunk) -> Buffer {
        let mut data = Buffer::zeroed(chunk.length);
        mark(&mut data, chunk.offset, self.identity);
        data
    }

    /// Checks that nothing that was written since has hit the places of the commit.
    pub(super) fn check_markers(
        &self,
        medium: &impl Medium,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        for chunk in self.commit_chunks() {
            let marker = self.marker(chunk);
            let mut found = Buffer::try_zeroed(chunk.length)?;
            medium.read(chunk.offset, &mut found).map_err(read_error)?;
            let differing = differences(chunk.offset, &marker, &found, self.sector());
            report.mismatches.extend(differing);
        }
        mismatch_error(&report.mismatches)
    }

    fn zero(&self, medium: &mut impl Medium, ranges: &RangeSet) -> Result<(), JobError> {
        write_zeros(medium, ranges, || self.check_stop())
    }

    /// Takes tables or markers away again: a drive that did not pass must not look finished. Told to stop or not; if it
    /// fails, the drive is gone or dead. What refuses all writes may hold its bay for [`CLEANING`], and for no more than the
    /// first of them once an operator says `stop`.
    pub fn unfinish(&self, medium: &mut impl Medium) {
        let plan = &self.master.manifest.plan;
        let sector = Bytes(self.sector().bytes());
        let (start, told) = (Instant::now(), self.stop.reason());
        let mut failed = None;
        // The tables at once, then sector by sector, because one that cannot be written must not save the others; then
        // all of both ends.
        let tables = [plan.primary_range(), plan.backup_range()];
        let sectors = tables.into_iter().flat_map(|table| {
            let count = table.length().0 / sector.0;
            (0..count).map(move |n| Range::at(table.start + sector * n, sector))
        });
        let ends = table_ranges(plan);
        let further = sectors.chain(ends.pieces());
        let mut zeros = Buffer::zeroed(CHUNK);
        for (turn, range) in tables.into_iter().chain(further).enumerate() {
            let given_up = start.elapsed() >= CLEANING || self.stop.reason() != told;
            if turn >= tables.len() && failed.is_some() && given_up {
                break;
            }
            zeros.resize(range.length());
            if let Err(error) = medium.write(range.start, &zeros) {
                failed = Some(error);
            }
        }
        if let Some(error) = failed.or(medium.flush().err()) {
            tracing::warn!(%error, "cannot take all of the tables from a drive that did not pass");
        }
    }

    /// Takes off the drive what has read back wrong in a job that the store has failed: it may be what the store had then, and
    /// nobody has its digests. What stays is what the manifest says, or blank, so the drive is known as this job's, and the
    /// next one may have it where nothing else may be overwritten. What cannot be taken off is not known later, and refused.
    pub(super) fn withdraw(
        &self,
        medium: &mut impl Medium,
        expected: &[Digest],
        actual: &[Option<Digest>],
    ) {
        let mut zeros = Buffer::zeroed(CHUNK);
        let read = expected.iter().zip(actual);
        for (chunk, (expected, actual)) in self.master.manifest.chunks.iter().zip(read) {
            if chunk.stage != Stage::Body || actual.is_none_or(|actual| actual == *expected) {
                continue;
            }
            zeros.resize(chunk.length);
            if let Err(error) = medium.write(chunk.offset, &zeros) {
                tracing::warn!(%error, "cannot take off a drive what its store has spoilt");
                return;
            }
        }
    }
}

fn write_zeros(
    medium: &mut impl Medium,
    ranges: &RangeSet,
    go_on: impl Fn() -> Result<(), JobError>,
) -> Result<(), JobError> {
    let mut zeros = Buffer::try_zeroed(CHUNK)?;
    for piece in ranges.pieces() {
        go_on()?;
        zeros.resize(piece.length());
        medium.write(piece.start, &zeros).map_err(write_error)?;
    }
    Ok(())
}

fn table_ranges(plan: &Plan) -> RangeSet {
    let size = plan.geometry.size;
    ends(Range::new(Bytes(0), size)).into_iter().collect::<RangeSet>().aligned(size)
}
