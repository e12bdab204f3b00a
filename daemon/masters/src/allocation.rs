//! Finds the bytes of a master that must be written to a drive.
//!
//! The written extents of the image file alone are not enough: a store that turns zeros into holes (ZFS, btrfs with
//! compression, `fallocate --dig-holes`) would leave a drive's old bytes inside a file, and the read-back would pass.
//! So three sets are united: the clusters that the file systems in the image have allocated, whatever the store's own
//! file system says; the written extents; and the guard ranges, where a stale signature could be found.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ntfs::{KnownNtfsFileRecordNumber, Ntfs, NtfsReadSeek};

use formats::fat32::{Fat32, FatError};
use model::identity::Site;
use model::layout::{Plan, PlannedPartition, Role};
use model::ranges::{GRAIN, Range, RangeSet};
use model::units::{Bytes, MIB};

use crate::layers::ReadAt;
use crate::signatures;

/// An image whose bytes cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MapError {
    #[error("cannot read the master's image")]
    Read(#[from] io::Error),
    #[error("cannot read the NTFS volume in the {role} partition")]
    Ntfs {
        role: Role,
        #[source]
        source: ntfs::NtfsError,
    },
    #[error(
        "the allocation bitmap of the {role} partition is missing, too short or for another size"
    )]
    Bitmap { role: Role },
    #[error("{0}, which are to be written, do not lie in the image")]
    Outside(Range),
    /// The base of a derived master is not what was pressed.
    #[error("{0} of the base are not what was pressed")]
    Base(Range),
    #[error("it is not known which places change when the {role} partition is used")]
    Telltales { role: Role },
    /// A place where drives differ lies across the edge of two chunks.
    #[error("the fix-up site at byte {} does not lie within one chunk", .0.offset.0)]
    Site(Site),
    /// The EFI system partition is not FAT32.
    #[error("cannot read the EFI system partition")]
    Fat(#[from] FatError),
}

/// Every byte of the image that must be written to a drive, in whole grains ([`GRAIN`]).
///
/// # Errors
/// [`MapError`] if the image or a file system in it cannot be read.
pub fn needed(image: &File, plan: &Plan) -> Result<RangeSet, MapError> {
    let size = plan.geometry.size;
    let mut ranges = written(image, size)?;
    for partition in &plan.partitions {
        allocated(image, plan, partition, &mut ranges)?;
    }
    ranges.extend(guards(plan));
    Ok(ranges.into_iter().collect::<RangeSet>().aligned(size))
}

/// The ranges that make a drive look finished, and so are written and verified last: partition tables and boot sectors.
pub fn commit(plan: &Plan) -> RangeSet {
    let sector = plan.geometry.sector;
    let primary = plan.primary_range().end.align_up(GRAIN);
    let backup = plan.backup_range().start.align_down(GRAIN);
    let mut ranges = vec![Range::new(Bytes(0), primary), Range::new(backup, plan.geometry.size)];
    for partition in &plan.partitions {
        let Range { start, end } = partition.range(sector);
        match partition.role {
            // Boot sector, FSInfo, and the backup boot sector in sector 6.
            Role::Esp => ranges.push(Range::at(start, Bytes(8 * sector.bytes()))),
            Role::Msr => {}
            // Boot sector and its copy in the last sector.
            Role::Windows | Role::Recovery => {
                ranges.push(Range::at(start, Bytes(GRAIN)));
                ranges.push(Range::new(end - Bytes(GRAIN), end));
            }
        }
    }
    ranges.into_iter().collect()
}

/// The ranges in which other programs look for a partition table, a file system or a RAID ([`signatures::places`] of the
/// drive and of each partition), and all of the MSR, which nothing else fills. The master holds zeros there, or the data
/// of the new file systems, so writing them removes every old signature.
pub fn guards(plan: &Plan) -> Vec<Range> {
    let mut ranges = signatures::places(Range::new(Bytes(0), plan.geometry.size));
    for partition in &plan.partitions {
        let own = partition.range(plan.geometry.sector);
        match partition.role {
            Role::Msr => ranges.push(own),
            Role::Esp | Role::Windows | Role::Recovery => ranges.extend(signatures::places(own)),
        }
    }
    ranges
}

/// The first and the last mebibyte of a range; both are the whole range if it is shorter.
pub fn ends(range: Range) -> [Range; 2] {
    let length = MIB.min(range.length());
    [Range::at(range.start, length), Range::new(range.end - length, range.end)]
}

/// The extents of the image file that are not holes.
fn written(image: &File, size: Bytes) -> Result<Vec<Range>, MapError> {
    use rustix::fs::{SeekFrom as At, seek};
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size.0 {
        let start = match seek(image, At::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(MapError::Read(error.into())),
        };
        let end = seek(image, At::Hole(start)).map_err(io::Error::from)?;
        ranges.push(Range::new(Bytes(start), Bytes(end).min(size)));
        at = end;
    }
    Ok(ranges)
}

/// Adds the allocated bytes of one partition.
///
/// # Errors
/// [`MapError`] if its file system cannot be read.
pub fn allocated(
    image: &dyn ReadAt,
    plan: &Plan,
    partition: &PlannedPartition,
    into: &mut Vec<Range>,
) -> Result<(), MapError> {
    let sector = plan.geometry.sector;
    let mut slice = Slice::new(image, partition.offset(sector), partition.size(sector));
    match partition.role {
        Role::Msr => Ok(()),
        Role::Esp => fat_allocated(&mut slice, into),
        Role::Windows | Role::Recovery => ntfs_allocated(&mut slice, partition.role, into),
    }
}

/// Adds the clusters that an NTFS volume's bitmap marks as used, and the copy of the volume's boot sector.
///
/// # Errors
/// [`MapError`] if the bitmap cannot be read or does not fit the volume.
pub fn ntfs_allocated(
    slice: &mut Slice<'_>,
    role: Role,
    into: &mut Vec<Range>,
) -> Result<(), MapError> {
    let failed = |source| MapError::Ntfs { role, source };
    let ntfs = Ntfs::new(slice).map_err(failed)?;
    let file = ntfs.file(slice, KnownNtfsFileRecordNumber::Bitmap as u64).map_err(failed)?;
    let item = file.data(slice, "").ok_or(MapError::Bitmap { role })?.map_err(failed)?;
    let attribute = item.to_attribute().map_err(failed)?;
    let mut value = attribute.value(slice).map_err(failed)?;
    let cluster = u64::from(ntfs.cluster_size());
    if cluster == 0 || ntfs.size() > slice.size.0 {
        return Err(MapError::Bitmap { role });
    }
    let clusters = ntfs.size() / cluster;
    let mut buffer = vec![0_u8; 64 << 10];
    let mut first = 0;
    while first < clusters {
        let count = value.read(slice, &mut buffer).map_err(failed)?;
        if count == 0 {
            return Err(MapError::Bitmap { role });
        }
        // Almost all of a large volume is free.
        let used = (0_u64..).zip(&buffer[..count]).filter(|(_, byte)| **byte != 0);
        for (index, byte) in used {
            // NTFS sets the bits behind the last cluster as well; no cluster belongs to them.
            let valid = (clusters.saturating_sub(first + index * 8)).min(8);
            let base = slice.offset + Bytes((first + index * 8) * cluster);
            let clusters = |first: u64, count| {
                Range::at(base + Bytes(first * cluster), Bytes(count * cluster))
            };
            if *byte == 0xff {
                into.push(clusters(0, valid));
                continue;
            }
            into.extend(
                (0..valid).filter(|bit| byte & (1 << bit) != 0).map(|bit| clusters(bit, 1)),
            );
        }
        first += Bytes::of(count).0 * 8;
    }
    let end = slice.offset + slice.size;
    // The copy of the boot sector lies behind the last cluster, so the bitmap does not cover it.
    into.push(Range::new(end - Bytes(GRAIN), end));
    Ok(())
}

/// Adds everything before the data area of a FAT32 volume, and the clusters that its table marks as used.
///
/// # Errors
/// [`MapError`] if the volume is not FAT32 or cannot be read.
pub fn fat_allocated(slice: &mut Slice<'_>, into: &mut Vec<Range>) -> Result<(), MapError> {
    let mut boot = [0_u8; 512];
    slice.read_exact(&mut boot)?;
    let fat = Fat32::parse(&boot, slice.size)?;
    let base = slice.offset;
    // Boot sectors and tables lie before the data area.
    into.push(Range::at(base, Bytes(fat.data)));
    slice.seek(SeekFrom::Start(fat.table + 8))?;
    let mut table = vec![0_u8; Bytes(fat.clusters * 4).as_usize()];
    slice.read_exact(&mut table)?;
    for (cluster, entry) in (0_u64..).zip(table.as_chunks::<4>().0) {
        // The upper four bits of an entry are reserved.
        if u32::from_le_bytes(*entry) & 0x0fff_ffff != 0 {
            let start = base + Bytes(fat.data + cluster * fat.cluster);
            into.push(Range::at(start, Bytes(fat.cluster)));
        }
    }
    Ok(())
}

/// A reader of one partition in an image file; offset 0 is the partition's first byte.
#[derive(Debug)]
pub struct Slice<'a> {
    file: &'a dyn ReadAt,
    offset: Bytes,
    size: Bytes,
    at: u64,
}

impl<'a> Slice<'a> {
    /// The `size` bytes of `file` from `offset`.
    pub fn new(file: &'a dyn ReadAt, offset: Bytes, size: Bytes) -> Self {
        Self { file, offset, size, at: 0 }
    }
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = Bytes(self.size.0.saturating_sub(self.at)).as_usize();
        let count = buffer.len().min(left);
        if count == 0 {
            return Ok(0);
        }
        self.file.fill(&mut buffer[..count], self.offset + Bytes(self.at))?;
        self.at += Bytes::of(count).0;
        Ok(count)
    }
}

impl Seek for Slice<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.size.seek(self.at, to)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::gpt;
    use model::drive::Geometry;
    use model::layout::Layout;
    use model::units::SectorSize;

    /// Drives come in every size; on all of them each table must be stamped in one piece.
    #[test]
    fn tables_of_drives_of_odd_sizes_are_committed_whole() {
        for sector in [SectorSize::B512, SectorSize::B4096] {
            for odd in 0..80 {
                let size = Bytes((8 << 30) + odd * sector.bytes());
                let plan = Layout::default().plan(Geometry { size, sector }).unwrap();
                let commit = commit(&plan);
                for site in gpt::sites(&plan) {
                    assert!(commit.covers(site.reach()), "{size:?} {sector:?} {site:?}");
                }
                for range in commit.ranges() {
                    let small = range.length() <= Bytes(64 << 10) && range.end <= size;
                    assert!(small, "{size:?} {sector:?} {range}");
                }
            }
        }
    }
}
