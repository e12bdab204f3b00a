//! The protective MBR and both GPTs of a plan, as bytes, and the fix-up sites in them.
//!
//! The `gpt` crate writes 128-byte pieces and therefore cannot write through O_DIRECT; here it writes
//! into memory ([`Window`]), and the same aligned bytes go to the drive and are read back. It
//! also checks neither the end of the last partition nor its own result, so [`read`] parses what
//! was rendered with its reader and [`render`] refuses anything that does not come back as planned.

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

/// Both ends of a drive as its partition tables define them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Protective MBR, primary header and entries: the first bytes of the drive.
    pub primary: Vec<u8>,
    /// Backup entries and header: the last bytes of the drive.
    pub backup: Vec<u8>,
}

/// Partition tables that could not be rendered or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The `gpt` crate refused.
    #[error("partition table: {0}")]
    Gpt(String),
    /// The table in memory could not be read or written.
    #[error("partition table")]
    Io(#[from] io::Error),
    /// What was read is not what was planned.
    #[error("partition table does not match its plan: {0}")]
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
/// [`TableError`] if the crate refuses the plan or what it wrote does not read back as planned.
pub fn render(plan: &Plan, identity: &Identity) -> Result<Tables, TableError> {
    let geometry = plan.geometry;
    let mut window = Window::empty(geometry);
    let sectors = geometry.size.0 / geometry.sector.bytes();
    // The protective MBR holds 32 bits; larger drives say "all ones" (UEFI 2.10, table 5-4).
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
            return Err(TableError::Mismatch(format!("no identity for partition {}", index + 1)));
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

/// What a pair of tables says, as the `gpt` crate reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Disk GUID.
    pub disk: Uuid,
    /// Entries in order.
    pub partitions: Vec<ParsedPartition>,
}

/// One entry of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsedPartition {
    /// Type GUID.
    pub type_guid: Uuid,
    /// Unique GUID.
    pub guid: Uuid,
    /// First sector.
    pub first: Lba,
    /// Last sector, inclusive.
    pub last: Lba,
    /// Attribute bits.
    pub attributes: u64,
    /// Name.
    pub name: String,
}

/// Reads both tables and checks their checksums.
///
/// # Errors
/// [`TableError`] if a header or an array does not match its checksum, or the two differ.
pub fn read(geometry: Geometry, tables: &Tables) -> Result<Parsed, TableError> {
    let sector = Bytes(geometry.sector.bytes()).as_usize();
    // The crate panics on entries of any other size.
    let entries = [GPT_ENTRY_COUNT.to_le_bytes(), GPT_ENTRY_BYTES.to_le_bytes()].concat();
    let last = tables.backup.len().saturating_sub(sector);
    for (table, header) in [(&tables.primary, sector), (&tables.backup, last)] {
        if table.get(header + 80..header + 88) != Some(&entries[..]) {
            return Err(TableError::Mismatch("not 128 entries of 128 bytes".into()));
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
        return Err(TableError::Mismatch("primary and backup differ".into()));
    }
    // The crate reads the entries of the primary table only.
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

/// Checks that `tables` say exactly what `plan` and `identity` say.
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
    if parsed != expected {
        return Err(TableError::Mismatch(format!("read {parsed:?}, expected {expected:?}")));
    }
    Ok(())
}

/// The sites of both tables: GUIDs and the checksums over them (UEFI 2.10, tables 5-5 and 5-6).
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

/// A drive of which only both ends exist. Reads between them give zeros, writes there fail: the `gpt`
/// crate has no business in the middle.
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

    /// The buffer that byte `at` lies in, and the place in it.
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

    /// Stamping a master's placeholder tables must give what rendering with the drive's own identity gives:
    /// two ways to the same bytes.
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
