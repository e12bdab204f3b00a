//! The structures of an NTFS volume: boot sector, file records with their attributes, indexes of folders, security
//! descriptors.
//!
//! By the documentation of the Linux-NTFS project and the headers of libntfs-3g (layout.h), which press the volumes that
//! are read here. The parsers copy nothing but names and follow no reference: who reads a volume decides in which order.

pub mod accounts;
mod attribute;
pub mod growth;
mod index;
mod record;
pub mod security;

pub use attribute::{Attribute, FileName, Namespace, Run, Value, kind, listed};
pub use index::{Block, Entry, NAME as INDEX, root};
pub use record::{Record, Reference};

use model::units::Bytes;

/// Where bytes of a volume contradict the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Damage {
    #[error("its first sector is no boot sector of NTFS")]
    Boot,
    #[error("a record has no signature")]
    Signature,
    #[error("a record was not written as a whole")]
    Torn,
    #[error("a file record is cut off")]
    Record,
    #[error("an attribute is cut off")]
    Attribute,
    #[error("a list of clusters is damaged")]
    Runs,
    #[error("an index is damaged")]
    Index,
    #[error("the table of security descriptors is damaged at byte {0}")]
    Security(usize),
}

/// A sector, of which each record says whether it was written with the others. Always of this size.
const STRIDE: usize = 512;

/// Little-endian numbers in a slice; `None` behind its end.
fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A number of 32 bits as the length of something in memory.
fn length(number: u32) -> usize {
    Bytes(number.into()).as_usize()
}

/// What the boot sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Size of a cluster, a power of two.
    pub cluster: Bytes,
    /// Size of a file record, a power of two.
    pub record: Bytes,
    /// The place of the first file record, that of `$MFT`.
    pub mft: Bytes,
    /// The size of the volume.
    pub size: Bytes,
}

impl Boot {
    /// Reads the first sector of a volume.
    ///
    /// # Errors
    /// [`Damage::Boot`] if it is not that of NTFS, or its numbers contradict each other.
    pub fn parse(sector: &[u8]) -> Result<Self, Damage> {
        Self::read(sector).ok_or(Damage::Boot)
    }

    fn read(sector: &[u8]) -> Option<Self> {
        if sector.get(3..11)? != b"NTFS    " || u16_at(sector, 510)? != 0xaa55 {
            return None;
        }
        let per_sector = u64::from(u16_at(sector, 11)?);
        // A number above 128 is an exponent: clusters of more than 128 sectors.
        let sectors = match *sector.get(13)? {
            count @ 0..=128 => u64::from(count),
            exponent => 1 << u32::from(exponent.wrapping_neg()).min(63),
        };
        let cluster = per_sector.checked_mul(sectors)?;
        // A negative number is an exponent as well: records that are smaller than a cluster.
        let record = match sector.get(0x40)?.cast_signed() {
            count @ 1.. => cluster.checked_mul(u64::from(count.unsigned_abs()))?,
            exponent => 1_u64.checked_shl(u32::from(exponent.unsigned_abs()))?,
        };
        let sound = |size: u64, most: u64| size.is_power_of_two() && (512..=most).contains(&size);
        if !sound(per_sector, 4096) || !sound(cluster, 2 << 20) || !sound(record, 64 << 10) {
            return None;
        }
        Some(Self {
            cluster: Bytes(cluster),
            record: Bytes(record),
            mft: Bytes(u64_at(sector, 0x30)?.checked_mul(cluster)?),
            size: Bytes(u64_at(sector, 0x28)?.checked_mul(per_sector)?),
        })
    }
}

/// Puts back the bytes at the ends of sectors that a record keeps elsewhere, and checks that all its sectors were written
/// together.
fn restore(data: &mut [u8], signature: [u8; 4]) -> Result<(), Damage> {
    if !data.starts_with(&signature) {
        return Err(Damage::Signature);
    }
    let number = |at| u16_at(data, at).map(usize::from).ok_or(Damage::Torn);
    let (at, count) = (number(4)?, number(6)?);
    if count != data.len() / STRIDE + 1 || at % 2 != 0 || at + 2 * count > STRIDE - 2 {
        return Err(Damage::Torn);
    }
    let (head, _) = data.split_at(at + 2 * count);
    let saved = head[at..].to_vec();
    for (index, original) in saved[2..].chunks_exact(2).enumerate() {
        let end = (index + 1) * STRIDE;
        let place = &mut data[end - 2..end];
        if place != &saved[..2] {
            return Err(Damage::Torn);
        }
        place.copy_from_slice(original);
    }
    Ok(())
}

/// The opposite of [`restore`]: the record can be written then. `None` if it is none that [`restore`] has read.
fn protect(data: &mut [u8]) -> Option<()> {
    let at = usize::from(u16_at(data, 4)?);
    let number: [u8; 2] = *data.get(at..)?.first_chunk()?;
    for index in 0..data.len() / STRIDE {
        let (end, keep) = ((index + 1) * STRIDE, at + 2 * (index + 1));
        let place = data.get_mut(end - 2..end)?;
        let original: [u8; 2] = *place.first_chunk()?;
        place.copy_from_slice(&number);
        data.get_mut(keep..keep + 2)?.copy_from_slice(&original);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> [u8; 512] {
        let mut sector = [0; 512];
        sector[3..11].copy_from_slice(b"NTFS    ");
        sector[11..13].copy_from_slice(&512_u16.to_le_bytes());
        sector[13] = 8;
        sector[0x28..0x30].copy_from_slice(&1000_u64.to_le_bytes());
        sector[0x30..0x38].copy_from_slice(&4_u64.to_le_bytes());
        sector[0x40] = 0xf6;
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn a_boot_sector() {
        let sector = boot();
        let (cluster, record) = (Bytes(4096), Bytes(1024));
        let right = Boot { cluster, record, mft: Bytes(16384), size: Bytes(512_000) };
        assert_eq!(Boot::parse(&sector), Ok(right));
        let with = |at: usize, value: u8| {
            let mut other = sector;
            other[at] = value;
            Boot::parse(&other)
        };
        assert_eq!(with(0x40, 1).unwrap().record, Bytes(4096));
        assert_eq!(with(13, 0xf4).unwrap().cluster, Bytes(2 << 20));
        for (at, value) in [(3, b'F'), (13, 0), (13, 3), (0x40, 0x80), (0x40, 0), (12, 9)] {
            assert_eq!(with(at, value), Err(Damage::Boot), "{at}");
        }
        assert_eq!(Boot::parse(&sector[..511]), Err(Damage::Boot));
    }

    #[test]
    fn a_torn_record_is_found() {
        let mut data = vec![0; 1024];
        data[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        data[0x30..0x36].copy_from_slice(&[7, 0, 1, 2, 3, 4]);
        for end in [512, 1024] {
            data[end - 2..end].copy_from_slice(&[7, 0]);
        }
        let mut whole = data.clone();
        restore(&mut whole, *b"FILE").unwrap();
        assert_eq!((&whole[510..512], &whole[1022..]), (&[1, 2][..], &[3, 4][..]));
        assert_eq!(restore(&mut data.clone(), *b"INDX"), Err(Damage::Signature));
        data[1022] = 6;
        assert_eq!(restore(&mut data, *b"FILE"), Err(Damage::Torn));
    }
}
