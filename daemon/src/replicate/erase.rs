//! Before the first byte of a master: what stood on the drive goes, and markers are set where the commit will write.

use super::engine::{Tally, Work, differences};
use super::fault::{Fault, mismatch_fault, read_fault, write_fault};
use crate::buffer::Buffer;
use crate::layout::Plan;
use crate::master::runs::{CHUNK, Runs};
use crate::master::{Chunk, Stage, map};
use crate::target::Claim;
use crate::units::Bytes;

/// How much is discarded with one request, so that a drive which is slow at it can be told to stop in between.
const DISCARD: Bytes = Bytes(8 << 30);

impl Work<'_> {
    /// Removes what could look like an old partition table, file system or RAID member: zeros at both ends of the
    /// drive first, so that an interruption leaves no table at all, then a discard, then zeros at both
    /// ends of every partition to be. Where the commit will write there are markers until then.
    pub(super) fn erase(&self, claim: &mut Claim) -> Result<(), Fault> {
        let plan = &self.master.manifest.plan;
        let size = plan.geometry.size;
        self.zero(claim, &table_ranges(plan))?;
        claim.flush().map_err(write_fault)?;
        for start in (0..size.0).step_by(DISCARD.as_usize()) {
            self.check_stop()?;
            if !claim.discard(Bytes(start), Bytes(DISCARD.0.min(size.0 - start))) {
                break;
            }
        }
        self.zero(claim, &Runs::from_ranges(map::guards(plan)).aligned(size.0))?;
        for chunk in self.commit_chunks() {
            claim.write(chunk.offset, &self.marker(chunk)).map_err(write_fault)?;
        }
        claim.flush().map_err(write_fault)
    }

    fn commit_chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.master.manifest.chunks.iter().filter(|chunk| chunk.stage == Stage::Commit)
    }

    /// What stands in the place of a commit chunk until the commit. A drive that is smaller than it claims writes two
    /// places onto one: the later write, of the body, then shows here. Without this a commit could destroy
    /// what has been read back already.
    fn marker(&self, chunk: &Chunk) -> Buffer {
        let mut data = Buffer::zeroed(chunk.length);
        let own =
            [*self.identity.disk.as_bytes(), u128::from(chunk.offset.0).to_le_bytes()].concat();
        for part in data.chunks_mut(own.len()) {
            part.copy_from_slice(&own[..part.len()]);
        }
        data
    }

    /// Checks that nothing that was written since has hit the places of the commit.
    pub(super) fn check_markers(&self, claim: &Claim, tally: &mut Tally) -> Result<(), Fault> {
        for chunk in self.commit_chunks() {
            let marker = self.marker(chunk);
            let mut found = Buffer::zeroed(chunk.length);
            claim.read(chunk.offset, &mut found).map_err(read_fault)?;
            let differing = differences(chunk.offset, &marker, &found, self.sector());
            tally.mismatches.extend(differing);
        }
        mismatch_fault(&tally.mismatches)
    }

    fn zero(&self, claim: &mut Claim, runs: &Runs) -> Result<(), Fault> {
        write_zeros(claim, runs, || self.check_stop())
    }

    /// Takes tables or markers away again: a drive that did not pass must not look finished. Told to stop or not; if it
    /// fails, the drive is gone or dead.
    pub fn unfinish(&self, claim: &mut Claim) {
        let plan = &self.master.manifest.plan;
        let (head, tail) =
            (Bytes(0), Bytes(plan.geometry.size.0 - Plan::backup_table(plan.geometry).0));
        let tables =
            [(head, Plan::primary_table(plan.geometry)), (tail, Plan::backup_table(plan.geometry))];
        let mut failed = None;
        // The tables sector by sector, because one that cannot be written must not save the others; then all of both ends.
        let sectors = tables.iter().flat_map(|(start, length)| {
            let sector = self.sector().bytes();
            (0..length.0 / sector).map(move |n| (Bytes(start.0 + n * sector), Bytes(sector)))
        });
        let mut zeros = Buffer::zeroed(CHUNK);
        for (offset, length) in sectors.chain(table_ranges(plan).pieces()) {
            zeros.resize(length);
            if let Err(error) = claim.write(offset, &zeros) {
                failed = Some(error);
            }
        }
        if let Some(error) = failed.or(claim.flush().err()) {
            tracing::warn!(%error, "cannot take all of the tables from a drive that did not pass");
        }
    }
}

fn write_zeros(
    claim: &mut Claim,
    runs: &Runs,
    go_on: impl Fn() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut zeros = Buffer::zeroed(CHUNK);
    for (offset, length) in runs.pieces() {
        go_on()?;
        zeros.resize(length);
        claim.write(offset, &zeros).map_err(write_fault)?;
    }
    Ok(())
}

fn table_ranges(plan: &Plan) -> Runs {
    let size = plan.geometry.size.0;
    let end = crate::units::MIB.0.min(size);
    Runs::from_ranges(vec![(0, end), (size - end, size)]).aligned(size)
}
