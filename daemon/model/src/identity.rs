//! The GUIDs and serial numbers that must be unique per drive, and their places on the drive.
//!
//! A master is pressed once, with a placeholder [`Identity`]. Like a linker's relocations, a list of [`Site`]s tells
//! which bytes differ from drive to drive. [`stamp`] is the only code that writes them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ranges::Range;
use crate::units::Bytes;

/// The GUIDs and volume serial numbers of one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// GPT disk GUID.
    pub disk: Uuid,
    /// One per partition, in partition order.
    pub partitions: Vec<PartitionIdentity>,
}

/// The GUID and the volume serial number of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionIdentity {
    /// GPT unique partition GUID.
    pub guid: Uuid,
    /// Volume serial number: 64 bits on NTFS, of which FAT uses the lower 32.
    pub volume_serial: u64,
}

impl Identity {
    /// A fresh random identity for `partitions` partitions.
    pub fn random(partitions: usize) -> Self {
        let partition = || PartitionIdentity {
            guid: Uuid::new_v4(),
            // A zero serial means "none" to some readers.
            volume_serial: Uuid::new_v4().as_u64_pair().0 | 1,
        };
        Self { disk: Uuid::new_v4(), partitions: (0..partitions).map(|_| partition()).collect() }
    }

    /// The identity in a master. Its bytes spell `prestage`; no finished drive has it.
    pub fn placeholder(partitions: usize) -> Self {
        const DISK: u128 = 0x7072_6573_7461_4765_8000_0000_0000_0000;
        let partition = |n: u128| PartitionIdentity {
            guid: Uuid::from_u128(DISK + n),
            volume_serial: 0x7072_6573_7461_6765,
        };
        Self {
            disk: Uuid::from_u128(DISK),
            partitions: (1..).map(partition).take(partitions).collect(),
        }
    }
}

/// The value at a site. The order of the variants is the order of stamping: a checksum is stamped after the bytes that
/// it covers.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Fixup {
    /// GPT disk GUID, 16 bytes mixed-endian.
    DiskGuid,
    /// Unique GUID of the partition with this index, 16 bytes mixed-endian.
    PartitionGuid(usize),
    /// FAT volume serial (`BS_VolID`) of the partition with this index, 4 bytes.
    FatSerial(usize),
    /// NTFS volume serial of the partition with this index, 8 bytes.
    NtfsSerial(usize),
    /// CRC-32 of the partition entries.
    GptEntriesCrc {
        /// Byte offset of the entries on the drive.
        entries: Bytes,
        /// Length of the entries in bytes.
        length: Bytes,
    },
    /// CRC-32 of the 92-byte GPT header in which the site lies, computed with the site zero.
    GptHeaderCrc {
        /// Byte offset of the header on the drive.
        header: Bytes,
    },
}

/// A place on the drive whose bytes differ from the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Site {
    /// Counted from the start of the drive.
    pub offset: Bytes,
    pub length: Bytes,
    pub fixup: Fixup,
}

impl Site {
    /// The bytes that are stamped.
    pub fn range(&self) -> Range {
        Range::at(self.offset, self.length)
    }

    /// The bytes that must be in memory to stamp the site: its own, and for a checksum also those that it covers.
    pub fn reach(&self) -> Range {
        let own = self.range();
        match self.fixup {
            Fixup::GptEntriesCrc { entries, length } => own.joined(Range::at(entries, length)),
            Fixup::GptHeaderCrc { header } => {
                own.joined(Range::at(header, Bytes::of(GPT_HEADER_BYTES)))
            }
            Fixup::DiskGuid
            | Fixup::PartitionGuid(_)
            | Fixup::FatSerial(_)
            | Fixup::NtfsSerial(_) => own,
        }
    }
}

/// Bytes of a GPT header that its checksum covers (UEFI 2.10, table 5-5).
pub const GPT_HEADER_BYTES: usize = 92;

/// A site that does not lie within the bytes to be stamped, or that belongs to a partition the identity lacks. The
/// master's list of sites is wrong then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fix-up site {} at {} does not fit the data that starts at byte {}", site.fixup, site.range(), start.0)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MisplacedSite {
    pub site: Site,
    /// Byte offset of the data on the drive.
    pub start: Bytes,
}

/// Writes `identity` into `data`, which are the drive's bytes from offset `start` on. Sites outside `data` are left
/// alone; a site must lie in `data` wholly or not at all. Returns whether anything was stamped.
///
/// # Errors
/// [`MisplacedSite`] if a site, or the bytes that a checksum covers, cross the edge of `data`.
pub fn stamp(
    data: &mut [u8],
    start: Bytes,
    sites: &[Site],
    identity: &Identity,
) -> Result<bool, MisplacedSite> {
    let at_hand = Range::at(start, Bytes::of(data.len()));
    let mut within: Vec<&Site> = sites.iter().filter(|s| s.range().overlaps(at_hand)).collect();
    within.sort_by_key(|s| s.fixup);
    for site in &within {
        let misplaced = || MisplacedSite { site: **site, start };
        let range = |offset: Bytes, length: usize| {
            let from = usize::try_from(offset.0.checked_sub(start.0)?).ok()?;
            let to = from.checked_add(length)?;
            (to <= data.len()).then_some(from..to)
        };
        let place = range(site.offset, site.length.as_usize()).ok_or_else(misplaced)?;
        let of = |index: usize| identity.partitions.get(index).ok_or_else(misplaced);
        let value: Vec<u8> = match site.fixup {
            Fixup::DiskGuid => identity.disk.to_bytes_le().to_vec(),
            Fixup::PartitionGuid(index) => of(index)?.guid.to_bytes_le().to_vec(),
            Fixup::FatSerial(index) => of(index)?.volume_serial.to_le_bytes()[..4].to_vec(),
            Fixup::NtfsSerial(index) => of(index)?.volume_serial.to_le_bytes().to_vec(),
            Fixup::GptEntriesCrc { entries, length } => {
                let covered = range(entries, length.as_usize()).ok_or_else(misplaced)?;
                crc32fast::hash(&data[covered]).to_le_bytes().to_vec()
            }
            Fixup::GptHeaderCrc { header } => {
                let covered = range(header, GPT_HEADER_BYTES).ok_or_else(misplaced)?;
                data[place.clone()].fill(0);
                crc32fast::hash(&data[covered]).to_le_bytes().to_vec()
            }
        };
        if value.len() != place.len() {
            return Err(misplaced());
        }
        data[place].copy_from_slice(&value);
    }
    Ok(!within.is_empty())
}

/// Puts the placeholder back where `identity` must stand, as in the master: the opposite of [`stamp`]. Returns whether
/// the identity, and every checksum over it, stood at all of its places; if not, `data` is left as it is.
///
/// # Errors
/// As [`stamp`].
pub fn unstamp(
    data: &mut [u8],
    start: Bytes,
    sites: &[Site],
    identity: &Identity,
) -> Result<bool, MisplacedSite> {
    let mut should = data.to_vec();
    if stamp(&mut should, start, sites, identity)? {
        if should != data {
            return Ok(false);
        }
        stamp(data, start, sites, &Identity::placeholder(identity.partitions.len()))?;
    }
    Ok(true)
}

/// Fills `data`, which are the drive's bytes from offset `start` on, with the marker that stands in the place of a chunk
/// of the commit until the commit. It is the drive's own, and differs from place to place.
pub fn mark(data: &mut [u8], start: Bytes, identity: &Identity) {
    let own = [*identity.disk.as_bytes(), u128::from(start.0).to_le_bytes()].concat();
    for part in data.chunks_mut(own.len()) {
        part.copy_from_slice(&own[..part.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_identities_share_nothing() {
        let (a, b) = (Identity::random(4), Identity::random(4));
        let all = |i: &Identity| {
            let mut v: Vec<u128> = vec![i.disk.as_u128()];
            v.extend(i.partitions.iter().flat_map(|p| [p.guid.as_u128(), p.volume_serial.into()]));
            v
        };
        assert!(all(&a).iter().all(|x| !all(&b).contains(x)));
    }

    #[test]
    fn unstamping_undoes_stamping_and_notices_another_identity() {
        let site =
            |offset, length, fixup| Site { offset: Bytes(offset), length: Bytes(length), fixup };
        let sites = [site(0, 16, Fixup::DiskGuid), site(32, 8, Fixup::NtfsSerial(0))];
        let (own, other) = (Identity::random(1), Identity::random(1));
        let mut master = [7_u8; 64];
        stamp(&mut master, Bytes(0), &sites, &Identity::placeholder(1)).unwrap();
        let mut data = master;
        stamp(&mut data, Bytes(0), &sites, &own).unwrap();
        let stamped = data;
        assert_eq!(unstamp(&mut data, Bytes(0), &sites, &other), Ok(false));
        assert_eq!(data, stamped, "nothing was changed");
        assert_eq!(unstamp(&mut data, Bytes(0), &sites, &own), Ok(true));
        assert_eq!(data, master);
        assert_eq!(unstamp(&mut [1, 2], Bytes(128), &sites, &own), Ok(true), "no site in it");
    }

    #[test]
    fn markers_differ_from_drive_to_drive_and_from_place_to_place() {
        let marked = |start, identity: &Identity| {
            let mut data = [0_u8; 100];
            mark(&mut data, Bytes(start), identity);
            data
        };
        let own = Identity::random(1);
        assert_ne!(marked(0, &own), marked(4096, &own));
        assert_ne!(marked(0, &own), marked(0, &Identity::random(1)));
        assert_eq!(marked(0, &own)[..32], marked(0, &own)[32..64]);
    }

    #[test]
    fn a_site_across_the_edge_is_an_error() {
        let site = Site { offset: Bytes(8), length: Bytes(8), fixup: Fixup::NtfsSerial(0) };
        let identity = Identity::random(1);
        let mut data = [0_u8; 12];
        assert!(stamp(&mut data, Bytes(0), &[site], &identity).is_err());
        let mut data = [0_u8; 16];
        assert_eq!(stamp(&mut data, Bytes(0), &[site], &identity), Ok(true));
        assert_eq!(data[8..], identity.partitions[0].volume_serial.to_le_bytes());
        assert_eq!(stamp(&mut data, Bytes(16), &[site], &identity), Ok(false));
        let unknown = Site { fixup: Fixup::NtfsSerial(7), ..site };
        assert!(stamp(&mut data, Bytes(0), &[unknown], &identity).is_err());
    }
}
