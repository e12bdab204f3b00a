//! What makes a drive look finished: written last, read back, and then read as firmware and Windows will.

use std::cell::OnceCell;
use std::io::{self, Read as _};

use drives::buffer::Buffer;
use drives::direct::DirectReader;
use drives::medium::{Foreign, Medium};
use formats::bcd;
use formats::gpt::{self, Tables};
use model::code::WarningCode;
use model::digest::Digest;
use model::job::{JobReport, Mismatch};
use model::layout::{Boot, Role};
use model::manifest::{Chunk, Stage};
use model::ranges::{CHUNK, Range};
use model::units::Bytes;

use crate::engine::{JobContext, differences};
use crate::error::{JobError, mismatch_error, read_error, write_error};

/// What a chunk of the commit makes the drive look like; written in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    BootSector,
    BackupTable,
    PrimaryTable,
}

impl JobContext<'_> {
    /// Writes and verifies what makes the drive look finished: boot sectors, then the backup table, then the primary
    /// one with the protective MBR.
    pub(super) fn commit(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        actual: &mut [Option<Digest>],
    ) -> Result<(), JobError> {
        // Before anything can look finished.
        self.check_sole_writer(medium, report)?;
        let written = self.write_commit(medium, report)?;
        let tables = self.read_back_commit(medium, report, &written, actual)?;
        gpt::check(&self.master.manifest.plan, self.identity, &tables)?;
        self.check_boot(medium, report)
    }

    /// Checks that nobody else has written to the drive since it is held. What another program has left in the page cache
    /// would be written after the verdict; the flush writes it now, and it is counted.
    pub(super) fn check_sole_writer(
        &self,
        medium: &impl Medium,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        medium.flush().map_err(write_error)?;
        match medium.foreign_writes() {
            Foreign::Nothing => Ok(()),
            Foreign::Bytes(bytes) => Err(JobError::Foreign(bytes)),
            Foreign::Unknown => {
                let warning = WarningCode::WritersNotCounted.says(
                    "the kernel does not count what is written to this drive, so another writer \
                     would not be noticed",
                );
                if !report.warnings.contains(&warning) {
                    report.warnings.push(warning);
                }
                Ok(())
            }
        }
    }

    fn rank(&self, chunk: &Chunk) -> Rank {
        let Range { start, end } = chunk.range();
        match start {
            Bytes(0) => Rank::PrimaryTable,
            _ if end == self.master.manifest.plan.geometry.size => Rank::BackupTable,
            _ => Rank::BootSector,
        }
    }

    /// Writes every chunk of the commit; returns them with their indexes, in the order in which they were written.
    fn write_commit(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
    ) -> Result<Vec<(usize, Buffer)>, JobError> {
        let chunks = &self.master.manifest.chunks;
        let mut order: Vec<usize> =
            (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Commit).collect();
        order.sort_by_key(|index| (self.rank(&chunks[*index]), chunks[*index].offset));
        let mut written = Vec::with_capacity(order.len());
        for index in order {
            self.check_stop()?;
            let chunk = &chunks[index];
            let data = self.chunk_for_drive(chunk)?;
            if self.rank(chunk) > Rank::BootSector {
                // Tables go only onto a drive whose boot sectors are on the medium.
                medium.flush().map_err(write_error)?;
            }
            medium.write(chunk.offset, &data).map_err(write_error)?;
            report.written += chunk.length;
            self.progress.add(chunk.length);
            written.push((index, data));
        }
        medium.flush().map_err(write_error)?;
        Ok(written)
    }

    /// Reads every chunk of the commit back and compares it; returns the tables as they were read.
    fn read_back_commit(
        &self,
        medium: &impl Medium,
        report: &mut JobReport,
        written: &[(usize, Buffer)],
        actual: &mut [Option<Digest>],
    ) -> Result<Tables, JobError> {
        let plan = &self.master.manifest.plan;
        let (head, tail) = (plan.primary_range().length(), plan.backup_range().length());
        let mut tables = Tables { primary: Vec::new(), backup: Vec::new() };
        let mut back = Buffer::try_zeroed(CHUNK)?;
        for (index, good) in written {
            let chunk = &self.master.manifest.chunks[*index];
            back.resize(chunk.length);
            medium.read(chunk.offset, &mut back).map_err(read_error)?;
            let digest = Digest::of(&back);
            actual[*index] = Some(digest);
            if digest == Digest::of(good) {
                report.verified += chunk.length;
            } else {
                let differing = self.listed(chunk, Digest::of(good), good, &back);
                report.mismatches.extend(differing);
            }
            // Not read once more for the parser: what it sees shall be what was compared.
            match self.rank(chunk) {
                Rank::PrimaryTable => tables.primary = back[..head.as_usize()].to_vec(),
                Rank::BackupTable => {
                    let start = chunk.length - tail;
                    tables.backup = back[start.as_usize()..].to_vec();
                }
                Rank::BootSector => {}
            }
            self.progress.add(chunk.length);
        }
        mismatch_error(&report.mismatches)?;
        Ok(tables)
    }

    /// Reads the BCD from the drive's ESP, as firmware's boot manager will, and checks that it names this drive's
    /// partitions. What is read on the way is compared once more.
    fn check_boot(&self, medium: &impl Medium, report: &mut JobReport) -> Result<(), JobError> {
        let manifest = &self.master.manifest;
        let plan = &manifest.plan;
        if manifest.recipe.layout.boot != Boot::Prestaged {
            return Ok(());
        }
        let (Some((_, esp)), Some(places)) = (plan.find(Role::Esp), plan.places(self.identity))
        else {
            return Ok(());
        };
        let sector = plan.geometry.sector;
        // An error of the drive and one of what stands on it come out of the reader alike.
        let failed = OnceCell::new();
        let reader = DirectReader::new(plan.geometry.size, |buffer, offset| {
            self.read_compared(medium, buffer, offset).map_err(|error| {
                let text = error.to_string();
                let _ = failed.set(error);
                io::Error::other(text)
            })
        });
        let read = read_bcd(reader.slice(esp.offset(sector), esp.size(sector)));
        match failed.into_inner() {
            Some(Compared::Failed(error)) => return Err(error),
            Some(Compared::Differs(mismatches)) => {
                report.mismatches.extend(mismatches);
                mismatch_error(&report.mismatches)?;
            }
            None => {}
        }
        let wrong = |what: String| JobError::Boot(what);
        let bcd = read.map_err(|error| wrong(format!("read it from the ESP: {error}")))?;
        bcd::check(&bcd, &places).map_err(|error| wrong(error.to_string()))
    }

    /// Reads a range of the drive, and compares whatever chunks of the master lie in it.
    fn read_compared(
        &self,
        medium: &impl Medium,
        buffer: &mut Buffer,
        offset: Bytes,
    ) -> Result<(), Compared> {
        medium.read(offset, buffer).map_err(|error| Compared::Failed(read_error(error)))?;
        let range = Range::at(offset, Bytes::of(buffer.len()));
        let within = |chunk: &&Chunk| chunk.range().overlaps(range);
        for chunk in self.master.manifest.chunks.iter().filter(within) {
            let good = self.chunk_for_drive(chunk).map_err(Compared::Failed)?;
            let start = chunk.offset.max(offset);
            let end = chunk.range().end.min(range.end);
            let good = &good[(start - chunk.offset).as_usize()..(end - chunk.offset).as_usize()];
            let found = &buffer[(start - offset).as_usize()..(end - offset).as_usize()];
            let mismatches = differences(start, good, found, self.sector());
            if !mismatches.is_empty() {
                return Err(Compared::Differs(mismatches));
            }
        }
        Ok(())
    }
}

/// What is wrong with a range that was read to be parsed.
#[derive(Debug)]
enum Compared {
    Failed(JobError),
    Differs(Vec<Mismatch>),
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Differs(_) => f.write_str("the drive does not hold what was written"),
        }
    }
}

/// The largest BCD that is read. Real ones have some dozens of kibibytes.
const BCD_MAX: Bytes = Bytes::mib(16);

/// How much is read of an ESP to find the BCD in it. Its structures are the drive's own word: a chain of clusters can be a
/// ring, and a folder have no end.
const ESP_BUDGET: Bytes = Bytes::mib(64);

fn read_bcd(volume: DirectReader<'_>) -> io::Result<Vec<u8>> {
    let fat = fatfs::FileSystem::new(volume.within(ESP_BUDGET), fatfs::FsOptions::new())?;
    let mut data = Vec::new();
    let mut file = fat.root_dir().open_file("EFI/Microsoft/Boot/BCD")?;
    file.by_ref().take(BCD_MAX.0 + 1).read_to_end(&mut data)?;
    if Bytes::of(data.len()) > BCD_MAX {
        return Err(io::Error::other(format!("it has more than {BCD_MAX}")));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use fatfs::{FatType, FormatVolumeOptions, FsOptions};

    use super::*;

    /// An ESP of a drive that means no good: `spoil` may change its bytes.
    fn read(spoil: impl FnOnce(&mut Vec<u8>)) -> io::Result<Vec<u8>> {
        let mut volume = Cursor::new(vec![0; Bytes::mib(40).as_usize()]);
        let options = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(512);
        fatfs::format_volume(&mut volume, options).unwrap();
        {
            let fat = fatfs::FileSystem::new(&mut volume, FsOptions::new()).unwrap();
            let folder = fat.root_dir().create_dir("EFI").unwrap();
            let folder = folder.create_dir("Microsoft").unwrap().create_dir("Boot").unwrap();
            let mut bcd = folder.create_file("BCD").unwrap();
            io::Write::write_all(&mut bcd, b"regf").unwrap();
        }
        let mut volume = volume.into_inner();
        spoil(&mut volume);
        let reader = DirectReader::new(Bytes::of(volume.len()), |buffer, offset| {
            let (start, length) = (offset.as_usize(), buffer.len());
            buffer.copy_from_slice(&volume[start..start + length]);
            Ok(())
        });
        read_bcd(reader)
    }

    #[test]
    fn a_drive_cannot_lead_the_reader_in_a_circle() {
        assert_eq!(read(|_| ()).unwrap(), b"regf");
        let error = read(|volume| {
            let number = |at: usize| usize::from(u16::from_le_bytes([volume[at], volume[at + 1]]));
            let (reserved, sectors) = (number(14), number(36));
            let (fat, data) =
                (reserved * 512, (reserved + usize::from(volume[16]) * sectors) * 512);
            // The root folder: cluster 2, followed by itself, full of entries that were deleted.
            volume[fat + 8..fat + 12].copy_from_slice(&2_u32.to_le_bytes());
            for entry in volume[data..data + 512].chunks_mut(32) {
                entry.fill(0xe5);
            }
        })
        .unwrap_err();
        assert!(error.to_string().contains("no end"), "{error}");
        let error = read(|volume| {
            // What the folder says is the file's size.
            let entry = volume.windows(11).position(|name| name == b"BCD        ").unwrap();
            volume[entry + 28..entry + 32].copy_from_slice(&u32::MAX.to_le_bytes());
        });
        assert!(error.is_err() || error.is_ok_and(|data| data.len() <= BCD_MAX.as_usize()));
    }
}
