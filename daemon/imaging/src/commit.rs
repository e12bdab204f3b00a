//! What makes a drive look finished: written last, read back, and then read as firmware and Windows will.

use std::cell::OnceCell;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use drives::buffer::Buffer;
use drives::direct::DirectReader;
use drives::medium::Medium;
use formats::bcd;
use formats::gpt::{self, Tables};
use model::digest::Digest;
use model::identity::stamp;
use model::job::JobReport;
use model::layout::{Boot, Role};
use model::manifest::{Chunk, Stage};
use model::ranges::{CHUNK, Range};
use model::units::Bytes;

use crate::engine::JobContext;
use crate::error::{JobError, mismatch_error, read_error, write_error};
use crate::source::SourceError;

impl JobContext<'_> {
    /// Writes and verifies what makes the drive look finished: boot sectors, then the backup table, then the primary
    /// one with the protective MBR.
    pub(super) fn commit(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        actual: &mut [Option<Digest>],
    ) -> Result<(), JobError> {
        let manifest = &self.master.manifest;
        let chunks = &manifest.chunks;
        let mut order: Vec<usize> =
            (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Commit).collect();
        let plan = &manifest.plan;
        // 2 for the primary table, 1 for the backup table, 0 for everything else.
        let rank = |chunk: &Chunk| match chunk.range() {
            Range { start: Bytes(0), .. } => 2,
            Range { end, .. } if end == plan.geometry.size => 1,
            _ => 0,
        };
        order.sort_by_key(|index| (rank(&chunks[*index]), chunks[*index].offset));
        let mut written: Vec<(usize, Buffer)> = Vec::with_capacity(order.len());
        for index in order {
            self.check_stop()?;
            let chunk = &chunks[index];
            let mut data = Buffer::zeroed(chunk.length);
            let store = |e: io::Error| JobError::Store(SourceError::from(e));
            self.master.image.read_exact_at(&mut data, chunk.offset.0).map_err(store)?;
            if Digest::of(&data) != chunk.sha256 {
                return Err(JobError::Master(chunk.offset));
            }
            stamp(&mut data, chunk.offset, &manifest.sites, self.identity)?;
            if rank(chunk) > 0 {
                // Tables go only onto a drive whose boot sectors are on the medium.
                medium.flush().map_err(write_error)?;
            }
            medium.write(chunk.offset, &data).map_err(write_error)?;
            report.written += chunk.length;
            self.progress.add(chunk.length);
            written.push((index, data));
        }
        medium.flush().map_err(write_error)?;
        let mut back = Buffer::zeroed(CHUNK);
        for (index, good) in &written {
            let chunk = &chunks[*index];
            back.resize(chunk.length);
            medium.read(chunk.offset, &mut back).map_err(read_error)?;
            let digest = Digest::of(&back);
            actual[*index] = Some(digest);
            if digest == Digest::of(good) {
                report.verified += chunk.length;
            } else {
                let differing = self.mismatches(*index, Digest::of(good), &back);
                report.mismatches.extend(differing);
            }
            self.progress.add(chunk.length);
        }
        mismatch_error(&report.mismatches)?;
        self.check_tables(medium)?;
        self.check_boot(medium)?;
        // Pulled at the last moment, it is not the drive in the bay that was found right.
        medium.check_present().map_err(read_error)
    }

    /// Parses the tables as they stand on the drive with another reader than the code that stamped them.
    fn check_tables(&self, medium: &impl Medium) -> Result<(), JobError> {
        let plan = &self.master.manifest.plan;
        let read = |range: Range| {
            let mut data = Buffer::zeroed(range.length());
            medium.read(range.start, &mut data).map_err(read_error).map(|()| data.to_vec())
        };
        let tables =
            Tables { primary: read(plan.primary_range())?, backup: read(plan.backup_range())? };
        Ok(gpt::check(plan, self.identity, &tables)?)
    }

    /// Reads the BCD from the drive's ESP, as firmware's boot manager will, and checks that it names this drive's
    /// partitions.
    fn check_boot(&self, medium: &impl Medium) -> Result<(), JobError> {
        let manifest = &self.master.manifest;
        let plan = &manifest.plan;
        if manifest.recipe.layout.boot != Boot::Prestaged {
            return Ok(());
        }
        let (Some((_, esp)), Some(places)) = (plan.find(Role::Esp), plan.places(self.identity))
        else {
            return Ok(());
        };
        let wrong = |what: String| JobError::Boot(what);
        let sector = plan.geometry.sector;
        // An error of the drive and one of what stands on it come out of the reader alike.
        let failed = OnceCell::new();
        let reader = DirectReader::new(plan.geometry.size, |buffer, offset| {
            medium.read(offset, buffer).map_err(|error| {
                let text = error.to_string();
                let _ = failed.set(error);
                io::Error::other(text)
            })
        });
        let read = read_bcd(reader.slice(esp.offset(sector), esp.size(sector)));
        if let Some(error) = failed.into_inner() {
            return Err(read_error(error));
        }
        let bcd = read.map_err(|e| wrong(format!("read it from the ESP: {e}")))?;
        bcd::check(&bcd, &places).map_err(|e| wrong(e.to_string()))
    }
}

fn read_bcd(volume: DirectReader<'_>) -> io::Result<Vec<u8>> {
    let fat = fatfs::FileSystem::new(volume, fatfs::FsOptions::new())?;
    let mut data = Vec::new();
    fat.root_dir().open_file("EFI/Microsoft/Boot/BCD")?.read_to_end(&mut data)?;
    Ok(data)
}
