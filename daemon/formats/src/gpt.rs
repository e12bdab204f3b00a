//! The bytes of the protective MBR and of both GPTs of a plan, and the fix-up sites in them.
//!
//! The `gpt` crate writes pieces of 128 bytes, which O_DIRECT does not allow. Here it writes into memory ([`Window`]);
//! these bytes, which are aligned, are written to the drive and read back. The crate checks neither the end of the last
//! partition nor the tables that it has written. So [`render`] reads them with [`read`], and refuses tables that differ
//! from the plan.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use uuid::Uuid;

use model::drive::Geometry;
use model::identity::{Fixup, Identity, PartitionIdentity, Site};
use model::layout::{GPT_ENTRY_BYTES, GPT_ENTRY_COUNT, Plan};
use model::units::{Bytes, Lba, SectorSize};

/// The bytes of a drive that hold its partition tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The first bytes of the drive: protective MBR, primary header and entries.
    pub primary: Vec<u8>,
    /// The last bytes of the drive: backup entries and header.
    pub backup: Vec<u8>,
}

/// Partition tables that could not be rendered or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No header where one must be.
    #[error("the drive has no partition table, or lacks one of both copies")]
    Absent,
    /// An error of the `gpt` crate.
    #[error("the partition table is not valid: {0}")]
    Gpt(String),
    /// The table in memory could not be read or written.
    #[error("cannot read or write the partition table")]
    Io(#[from] io::Error),
    /// The tables are not those of the plan, or contradict each other.
    #[error("the partition table is wrong: {0}")]
    Mismatch(String),
}

impl From<gpt::GptError> for TableError {
    fn from(error: gpt::GptError) -> Self {
        Self::Gpt(error.to_string())
    }
}

fn block_size(sector: SectorSize) -> LogicalBlockSize {
    match sector {
        SectorSize::B512 => LogicalBlockSize::Lb512,
        SectorSize::B4096 => LogicalBlockSize::Lb4096,
    }
}

/// Renders the tables of `plan` with the GUIDs of `identity`.
///
/// # Errors
/// [`TableError`] if the crate refuses the plan, or has written tables that differ from it.
pub fn render(plan: &Plan, identity: &Identity) -> Result<Tables, TableError> {
    let geometry = plan.geometry;
    let mut window = Window::empty(geometry);
    let sectors = geometry.size.0 / geometry.sector.bytes();
    // The protective MBR has 32 bits for the number of sectors; larger drives set them all (UEFI 2.10, table 5-4).
    let protected = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(protected)
        .overwrite_lba0(&mut window)
        .map_err(|e| TableError::Gpt(e.to_string()))?;
    let mut disk = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(block_size(geometry.sector))
        .create_from_device(&mut window, Some(identity.disk))?;
    let mut partitions = BTreeMap::new();
    for (index, planned) in plan.partitions.iter().enumerate() {
        let Some(own) = identity.partitions.get(index) else {
            let number = index + 1;
            return Err(TableError::Mismatch(format!("the identity lacks partition {number}")));
        };
        let partition = Partition {
            part_type_guid: Type { guid: planned.role.type_guid(), os: OperatingSystem::None },
            part_guid: own.guid,
            first_lba: planned.first.0,
            last_lba: planned.last.0,
            flags: planned.attributes.0,
            name: planned.name.clone(),
        };
        partitions.insert(u32::try_from(index + 1).unwrap_or(u32::MAX), partition);
    }
    disk.update_partitions(partitions)?;
    disk.write()?;
    let tables = Tables { primary: window.head, backup: window.tail };
    check(plan, identity, &tables)?;
    Ok(tables)
}

/// The contents of a pair of tables, as the `gpt` crate reads them.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Parsed {
    /// Disk GUID.
    pub disk: Uuid,
    pub partitions: Vec<ParsedPartition>,
}

/// One entry of a table.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ParsedPartition {
    pub type_guid: Uuid,
    /// Unique GUID of the partition.
    pub guid: Uuid,
    pub first: Lba,
    /// The last sector that belongs to the partition.
    pub last: Lba,
    pub attributes: u64,
    pub name: String,
}

/// Reads both tables and compares their checksums.
///
/// # Errors
/// [`TableError`] if a header or the entries do not match their checksum, or the two tables differ.
pub fn read(geometry: Geometry, tables: &Tables) -> Result<Parsed, TableError> {
    let sector = Bytes(geometry.sector.bytes()).as_usize();
    // The crate panics on entries of any other size.
    let entries = [GPT_ENTRY_COUNT.to_le_bytes(), GPT_ENTRY_BYTES.to_le_bytes()].concat();
    let last = tables.backup.len().saturating_sub(sector);
    for (table, header) in [(&tables.primary, sector), (&tables.backup, last)] {
        if table.get(header..header + 8) != Some(b"EFI PART") {
            return Err(TableError::Absent);
        }
        if table.get(header + 80..header + 88) != Some(&entries[..]) {
            return Err(TableError::Mismatch("it does not have 128 entries of 128 bytes".into()));
        }
    }
    let window =
        Window { geometry, head: tables.primary.clone(), tail: tables.backup.clone(), at: 0 };
    let disk = gpt::GptConfig::new()
        .writable(false)
        .logical_block_size(block_size(geometry.sector))
        .open_from_device(window)?;
    let (Ok(primary), Ok(backup)) = (disk.primary_header(), disk.backup_header()) else {
        return Err(TableError::Mismatch("a header is missing or damaged".into()));
    };
    if primary.disk_guid != backup.disk_guid || primary.crc32_parts != backup.crc32_parts {
        return Err(TableError::Mismatch("the headers of primary and backup differ".into()));
    }
    // The crate reads only the entries of the primary table.
    let length = Bytes(u64::from(GPT_ENTRY_COUNT * GPT_ENTRY_BYTES)).as_usize();
    let first = 2 * sector;
    if tables.primary.get(first..first + length) != tables.backup.get(..length) {
        return Err(TableError::Mismatch("the entries of primary and backup differ".into()));
    }
    let partitions = disk
        .partitions()
        .values()
        .map(|p| ParsedPartition {
            type_guid: p.part_type_guid.guid,
            guid: p.part_guid,
            first: Lba(p.first_lba),
            last: Lba(p.last_lba),
            attributes: p.flags,
            name: p.name.clone(),
        })
        .collect();
    Ok(Parsed { disk: primary.disk_guid, partitions })
}

/// Checks that `tables` are exactly those of `plan` and `identity`.
///
/// # Errors
/// [`TableError::Mismatch`] names the first difference.
pub fn check(plan: &Plan, identity: &Identity, tables: &Tables) -> Result<(), TableError> {
    let parsed = read(plan.geometry, tables)?;
    let expected = Parsed {
        disk: identity.disk,
        partitions: plan
            .partitions
            .iter()
            .zip(&identity.partitions)
            .map(|(planned, own): (_, &PartitionIdentity)| ParsedPartition {
                type_guid: planned.role.type_guid(),
                guid: own.guid,
                first: planned.first,
                last: planned.last,
                attributes: planned.attributes.0,
                name: planned.name.clone(),
            })
            .collect(),
    };
    match difference(&parsed, &expected) {
        Some(difference) => Err(TableError::Mismatch(difference)),
        None => Ok(()),
    }
}

/// The first difference between two tables in words.
fn difference(parsed: &Parsed, expected: &Parsed) -> Option<String> {
    if parsed.disk != expected.disk {
        return Some(format!("the disk GUID is {} instead of {}", parsed.disk, expected.disk));
    }
    let (count, planned) = (parsed.partitions.len(), expected.partitions.len());
    if count != planned {
        return Some(format!("it has {count} partitions instead of {planned}"));
    }
    let mut pairs = parsed.partitions.iter().zip(&expected.partitions).enumerate();
    let (index, (is, should)) = pairs.find(|(_, (is, should))| is != should)?;
    let fields = [
        ("the type GUID", is.type_guid.to_string(), should.type_guid.to_string()),
        ("the GUID", is.guid.to_string(), should.guid.to_string()),
        ("the first sector", is.first.0.to_string(), should.first.0.to_string()),
        ("the last sector", is.last.0.to_string(), should.last.0.to_string()),
        ("the attributes", format!("{:#x}", is.attributes), format!("{:#x}", should.attributes)),
        ("the name", format!("{:?}", is.name), format!("{:?}", should.name)),
    ];
    let (field, is, should) = fields.into_iter().find(|(_, is, should)| is != should)?;
    Some(format!("{field} of partition {} is {is} instead of {should}", index + 1))
}

/// The fix-up sites of both tables: GUIDs, and the checksums over them (UEFI 2.10, tables 5-5 and 5-6).
pub fn sites(plan: &Plan) -> Vec<Site> {
    let geometry = plan.geometry;
    let sector = geometry.sector.bytes();
    let length = Bytes(u64::from(GPT_ENTRY_COUNT * GPT_ENTRY_BYTES));
    let backup_entries = Bytes(geometry.size.0 - Plan::backup_table(geometry).0);
    let copies =
        [(Bytes(sector), Bytes(2 * sector)), (Bytes(geometry.size.0 - sector), backup_entries)];
    let mut sites = Vec::new();
    for (header, entries) in copies {
        let mut site = |offset: u64, length: u64, fixup| {
            sites.push(Site { offset: Bytes(offset), length: Bytes(length), fixup });
        };
        site(header.0 + 16, 4, Fixup::GptHeaderCrc { header });
        site(header.0 + 56, 16, Fixup::DiskGuid);
        site(header.0 + 88, 4, Fixup::GptEntriesCrc { entries, length });
        let mut at = entries.0 + 16;
        for index in 0..plan.partitions.len() {
            site(at, 16, Fixup::PartitionGuid(index));
            at += u64::from(GPT_ENTRY_BYTES);
        }
    }
    sites
}

/// A drive in memory that has only its two ends. The `gpt` crate has no business between them: it can read and write no
/// byte there.
#[derive(Debug)]
struct Window {
    geometry: Geometry,
    head: Vec<u8>,
    tail: Vec<u8>,
    at: u64,
}

impl Window {
    fn empty(geometry: Geometry) -> Self {
        let head = vec![0; Plan::primary_table(geometry).as_usize()];
        let tail = vec![0; Plan::backup_table(geometry).as_usize()];
        Self { geometry, head, tail, at: 0 }
    }

    /// The bytes from the current position to the end of the buffer that it lies in; `None` between the two ends.
    fn place(&mut self) -> Option<&mut [u8]> {
        let tail_start = self.geometry.size.0 - Bytes::of(self.tail.len()).0;
        if let Some(from) = self.at.checked_sub(tail_start) {
            self.tail.get_mut(usize::try_from(from).ok()?..)
        } else {
            self.head.get_mut(usize::try_from(self.at).ok()?..)
        }
    }

    fn advance(&mut self, count: usize) {
        self.at += Bytes::of(count).0;
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.place() {
            Some(place) => {
                let count = place.len().min(buffer.len());
                buffer[..count].copy_from_slice(&place[..count]);
                count
            }
            None => 0,
        };
        self.advance(count);
        Ok(count)
    }
}

impl Write for Window {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = match self.place() {
            Some(place) => {
                let count = place.len().min(data.len());
                place[..count].copy_from_slice(&data[..count]);
                count
            }
            None => 0,
        };
        self.advance(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.geometry.size.seek(self.at, to)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::identity::stamp;
    use model::layout::Layout;

    fn plan(sector: SectorSize, size: u64) -> Plan {
        Layout::default().plan(Geometry { size: Bytes(size), sector }).unwrap()
    }

    /// A drive's tables are stamped onto the master's, which have a placeholder identity. That must give the same bytes
    /// as rendering the tables with the drive's own identity.
    #[test]
    fn stamping_equals_rendering() {
        for (sector, size) in [
            (SectorSize::B512, 3_000_000_512),
            (SectorSize::B4096, 8 << 30),
            (SectorSize::B512, 4 << 40),
        ] {
            let plan = plan(sector, size - size % sector.bytes());
            let own = Identity::random(4);
            let mut stamped = render(&plan, &Identity::placeholder(4)).unwrap();
            let sites = sites(&plan);
            stamp(&mut stamped.primary, Bytes(0), &sites, &own).unwrap();
            let start = Bytes(plan.geometry.size.0 - Plan::backup_table(plan.geometry).0);
            stamp(&mut stamped.backup, start, &sites, &own).unwrap();
            assert_eq!(stamped, render(&plan, &own).unwrap());
            check(&plan, &own, &stamped).unwrap();
        }
    }

    #[test]
    fn one_flipped_byte_anywhere_is_seen() {
        let plan = plan(SectorSize::B512, 3_000_000_512);
        let own = Identity::random(4);
        let good = render(&plan, &own).unwrap();
        for at in
            [512 + 16, 512 + 56, 512 + 88, 1024, 1024 + 16, 1024 + 128 + 40, 1024 + 3 * 128 + 60]
        {
            let mut bad = good.clone();
            bad.primary[at] ^= 1;
            assert!(check(&plan, &own, &bad).is_err(), "byte {at} of the primary table");
        }
        let mut bad = good.clone();
        bad.backup[16] ^= 1;
        assert!(check(&plan, &own, &bad).is_err(), "backup table");
        assert!(check(&plan, &Identity::random(4), &good).is_err(), "another drive's tables");
    }
}
