//! Which bytes of a master must be written to a drive.
//!
//! The written extents of the image file are not enough: a store that turns zeros into holes (ZFS, btrfs
//! with compression, `fallocate --dig-holes`) would leave a drive's old bytes inside a file, and
//! the read-back would pass. So every allocated cluster of every file system counts, whatever the
//! file system of the store says, united with the written extents, united with the guard ranges
//! where a stale signature could be found.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use ntfs::{KnownNtfsFileRecordNumber, Ntfs, NtfsReadSeek};

use super::runs::{GRAIN, Runs};
use crate::identity::Site;
use crate::layout::{FAT32_MIN_CLUSTERS, Plan, PlannedPartition, Role};
use crate::units::{Bytes, MIB};

/// A file system in the image that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The image file could not be read.
    #[error("read the master image")]
    Read(#[from] io::Error),
    /// The NTFS volume is not readable.
    #[error("read the NTFS volume in the {role} partition")]
    Ntfs {
        /// The partition.
        role: Role,
        /// The reader's complaint.
        #[source]
        source: ntfs::NtfsError,
    },
    /// The NTFS allocation bitmap is missing, too short, or that of a larger volume.
    #[error(
        "the allocation bitmap of the {role} partition is missing, too short or for another size"
    )]
    Bitmap {
        /// The partition.
        role: Role,
    },
    /// A place where drives differ lies across the edge of two chunks.
    #[error("fix-up site {0:?} does not lie within one chunk")]
    Site(Site),
    /// The ESP is not FAT32.
    #[error("the EFI system partition is not FAT32: {0}")]
    Fat(String),
}

/// Every byte of the image that a drive must get.
///
/// # Errors
/// [`MapError`] if a file system in the image cannot be read.
pub fn needed(image: &File, plan: &Plan) -> Result<Runs, MapError> {
    let mut ranges = written(image, plan.geometry.size)?;
    for partition in &plan.partitions {
        allocated(image, plan, partition, &mut ranges)?;
    }
    ranges.extend(guards(plan));
    Ok(Runs::from_ranges(ranges).aligned(plan.geometry.size.0))
}

/// The ranges that make a drive look finished: written and verified last.
pub fn commit(plan: &Plan) -> Runs {
    let geometry = plan.geometry;
    let (size, sector) = (geometry.size.0, geometry.sector);
    let primary = Plan::primary_table(geometry).align_up(GRAIN).0;
    let backup = Bytes(size - Plan::backup_table(geometry).0).align_down(GRAIN).0;
    let mut ranges = vec![(0, primary), (backup, size)];
    for partition in &plan.partitions {
        let start = partition.offset(sector).0;
        let end = start + partition.size(sector).0;
        match partition.role {
            // Boot sector, FSInfo and the backup boot sector in sector 6.
            Role::Esp => ranges.push((start, start + 8 * sector.bytes())),
            Role::Msr => {}
            // Boot sector, and its copy in the last sector.
            Role::Windows | Role::Recovery => {
                ranges.push((start, start + GRAIN));
                ranges.push((end - GRAIN, end));
            }
        }
    }
    Runs::from_ranges(ranges)
}

/// Where an old partition table, file system or RAID signature would be looked for: a mebibyte at both ends
/// of the drive and of each partition, and all of the MSR, which nothing else fills. The master
/// holds zeros there, or what the new file systems put there.
pub fn guards(plan: &Plan) -> Vec<(u64, u64)> {
    let size = plan.geometry.size.0;
    let mut ranges = vec![(0, MIB.0.min(size)), (size.saturating_sub(MIB.0), size)];
    for partition in &plan.partitions {
        let start = partition.offset(plan.geometry.sector).0;
        let end = start + partition.size(plan.geometry.sector).0;
        if partition.role == Role::Msr {
            ranges.push((start, end));
        } else {
            ranges.push((start, start + MIB.0));
            ranges.push((end - MIB.0, end));
        }
    }
    ranges
}

/// The extents of the image file that are not holes.
fn written(image: &File, size: Bytes) -> Result<Vec<(u64, u64)>, MapError> {
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
        ranges.push((start, end.min(size.0)));
        at = end;
    }
    Ok(ranges)
}

fn allocated(
    image: &File,
    plan: &Plan,
    partition: &PlannedPartition,
    into: &mut Vec<(u64, u64)>,
) -> Result<(), MapError> {
    let sector = plan.geometry.sector;
    let mut slice = Slice::new(image, partition.offset(sector), partition.size(sector));
    match partition.role {
        Role::Msr => Ok(()),
        Role::Esp => fat_allocated(&mut slice, into),
        Role::Windows | Role::Recovery => ntfs_allocated(&mut slice, partition.role, into),
    }
}

pub(crate) fn ntfs_allocated(
    slice: &mut Slice<'_>,
    role: Role,
    into: &mut Vec<(u64, u64)>,
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
        for (index, byte) in (0_u64..).zip(&buffer[..count]) {
            // The bits behind the last cluster are set as well; they mean nothing.
            let valid = (clusters.saturating_sub(first + index * 8)).min(8);
            let base = slice.offset.0 + (first + index * 8) * cluster;
            if *byte == 0xff {
                into.push((base, base + valid * cluster));
                continue;
            }
            for bit in (0..valid).filter(|bit| byte & (1 << bit) != 0) {
                into.push((base + bit * cluster, base + (bit + 1) * cluster));
            }
        }
        first += Bytes::of(count).0 * 8;
    }
    let end = slice.offset.0 + slice.size.0;
    // The copy of the boot sector, which no bitmap covers.
    into.push((end - GRAIN, end));
    Ok(())
}

/// What a FAT32 boot sector says (Microsoft FAT specification 1.03, pages 9 to 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fat32 {
    /// Bytes per sector.
    pub sector: u64,
    /// Bytes per cluster.
    pub cluster: u64,
    /// Byte offset of the first table.
    pub table: u64,
    /// Byte offset of cluster 2.
    pub data: u64,
    /// Number of clusters.
    pub clusters: u64,
}

impl Fat32 {
    /// Reads a boot sector.
    ///
    /// # Errors
    /// [`MapError::Fat`] if it is not that of a valid FAT32 volume of at most `size` bytes.
    pub fn parse(boot: &[u8; 512], size: Bytes) -> Result<Self, MapError> {
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| short(at) | short(at + 2) << 16;
        let bad = |text: String| Err(MapError::Fat(text));
        let (sector, per_cluster) = (short(11), u64::from(boot[13]));
        if boot[510..] != [0x55, 0xaa] || !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return bad("no boot sector".into());
        }
        if !per_cluster.is_power_of_two() || short(22) != 0 {
            return bad("not a FAT32 boot sector".into());
        }
        let (reserved, tables, table_sectors) = (short(14), u64::from(boot[16]), long(36));
        let data = reserved + tables * table_sectors;
        let total = long(32);
        let Some(data_sectors) = total.checked_sub(data) else {
            return bad(format!("{total} sectors cannot hold {data} of tables"));
        };
        let clusters = data_sectors / per_cluster;
        if clusters < FAT32_MIN_CLUSTERS {
            return bad(format!("{clusters} clusters, {FAT32_MIN_CLUSTERS} are the least"));
        }
        if total * sector > size.0 || table_sectors * sector < (clusters + 2) * 4 {
            return bad("its sizes contradict each other".into());
        }
        Ok(Self {
            sector,
            cluster: per_cluster * sector,
            table: reserved * sector,
            data: data * sector,
            clusters,
        })
    }
}

pub(crate) fn fat_allocated(
    slice: &mut Slice<'_>,
    into: &mut Vec<(u64, u64)>,
) -> Result<(), MapError> {
    let mut boot = [0_u8; 512];
    slice.read_exact(&mut boot)?;
    let fat = Fat32::parse(&boot, slice.size)?;
    let base = slice.offset.0;
    // Everything before the data area: boot sectors and tables.
    into.push((base, base + fat.data));
    slice.seek(SeekFrom::Start(fat.table + 8))?;
    let mut table = vec![0_u8; Bytes(fat.clusters * 4).as_usize()];
    slice.read_exact(&mut table)?;
    for (cluster, entry) in (0_u64..).zip(table.as_chunks::<4>().0) {
        // The upper four bits are reserved.
        if u32::from_le_bytes(*entry) & 0x0fff_ffff != 0 {
            let start = base + fat.data + cluster * fat.cluster;
            into.push((start, start + fat.cluster));
        }
    }
    Ok(())
}

/// One partition of an image file as a reader of its own.
#[derive(Debug)]
pub struct Slice<'a> {
    file: &'a File,
    offset: Bytes,
    size: Bytes,
    at: u64,
}

impl<'a> Slice<'a> {
    /// The `size` bytes of `file` from `offset`.
    pub fn new(file: &'a File, offset: Bytes, size: Bytes) -> Self {
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
        let count = self.file.read_at(&mut buffer[..count], self.offset.0 + self.at)?;
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
    use crate::drive::Geometry;
    use crate::gpt_table;
    use crate::layout::Layout;
    use crate::units::SectorSize;

    /// Drives come in every size; on all of them each table must be stamped in one piece.
    #[test]
    fn tables_of_drives_of_odd_sizes_are_committed_whole() {
        for sector in [SectorSize::B512, SectorSize::B4096] {
            for odd in 0..80 {
                let size = Bytes((8 << 30) + odd * sector.bytes());
                let plan = Layout::default().plan(Geometry { size, sector }).unwrap();
                let commit = commit(&plan);
                for site in gpt_table::sites(&plan) {
                    let (start, end) = site.reach();
                    assert!(commit.covers(start.0, end.0), "{size:?} {sector:?} {site:?}");
                }
                for (start, end) in commit.ranges() {
                    assert!(end - start <= 64 << 10 && *end <= size.0, "{size:?} {sector:?}");
                }
            }
        }
    }
}
