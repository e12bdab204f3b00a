//! Where in a WIM its resources lie: the header, and the table of blobs (layout: Microsoft's "Windows Imaging File Format"
//! paper, and wimlib's src/blob_table.c).
//!
//! A WIM that is exported anew keeps the bytes of blobs that have not changed, and only moves them. So who compares two WIMs
//! cuts them where their resources begin and end. Nothing else rests on these places: a wrong one costs bytes.

use model::units::Bytes;

/// Bytes of a header.
pub const HEADER: usize = 208;
/// Bytes of an entry of the table.
const ENTRY: usize = 50;
/// As WIMs begin; one that is pipable has no table to speak of.
const MAGIC: &[u8] = b"MSWIM\0\0\0";
/// `WIM_RESHDR_FLAG_SOLID`: the offset counts from the begin of a resource that holds several blobs.
const SOLID: u8 = 0x10;
/// The size by which the entry of such a resource itself is known (wimlib's `SOLID_RESOURCE_MAGIC_NUMBER`).
const SOLID_ITSELF: u64 = 0x1_0000_0000;

/// The bytes are no header of a WIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the header of a WIM file")]
pub struct NotAWim;

/// A range of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Resource {
    pub offset: Bytes,
    pub size: Bytes,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its GUID: its bytes in their order, in hexadecimal digits, as libwim shows them.
    pub guid: String,
    /// The number of this part of a split set, from 1, and of all parts.
    pub part: (u16, u16),
    /// How many images it has.
    pub images: u32,
    /// The table of blobs.
    pub table: Resource,
    /// The XML, the metadata of the image that would be started, and the integrity table.
    pub others: [Resource; 3],
}

impl Resource {
    /// Reads 24 bytes: size and flags in 8, offset, and the size of what is in it.
    fn parse(data: &[u8]) -> (Self, u8, u64) {
        let number = |at: usize| {
            let bytes = data.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        let size = Bytes(number(0) & ((1 << 56) - 1));
        let flags = data.get(7).copied().unwrap_or_default();
        (Self { offset: Bytes(number(8)), size }, flags, number(16))
    }
}

impl Header {
    /// Reads the header at the begin of a WIM.
    ///
    /// # Errors
    /// [`NotAWim`]
    pub fn parse(data: &[u8]) -> Result<Self, NotAWim> {
        if data.len() < HEADER || !data.starts_with(MAGIC) {
            return Err(NotAWim);
        }
        let short = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
        let guid = data[24..40].try_into().map_err(|_| NotAWim)?;
        let resource = |at: usize| Resource::parse(&data[at..at + 24]).0;
        Ok(Self {
            guid: uuid::Uuid::from_bytes(guid).simple().to_string(),
            part: (short(40), short(42)),
            images: u32::from(short(44)) | u32::from(short(46)) << 16,
            table: resource(48),
            others: [resource(72), resource(96), resource(124)],
        })
    }
}

/// Where resources begin and end, ascending and each once: of a header, and of its table's bytes.
pub fn bounds(header: &Header, table: &[u8]) -> Vec<Bytes> {
    let entries = table.chunks_exact(ENTRY).filter_map(|entry| {
        let (resource, flags, size) = Resource::parse(entry);
        let inside = flags & SOLID != 0 && size != SOLID_ITSELF;
        (!inside).then_some(resource)
    });
    let all = entries.chain(header.others).chain([header.table]);
    let ends = all.flat_map(|Resource { offset, size }| [offset, offset.saturating_add(size)]);
    let mut bounds: Vec<Bytes> = ends.chain([Bytes::of(HEADER)]).collect();
    bounds.sort_unstable();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: u64, flags: u8, offset: u64, holds: u64) -> Vec<u8> {
        let mut entry = (size | u64::from(flags) << 56).to_le_bytes().to_vec();
        entry.extend(offset.to_le_bytes());
        entry.extend(holds.to_le_bytes());
        entry.resize(ENTRY, 0);
        entry
    }

    fn header() -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.resize(HEADER, 0);
        (header[40], header[42], header[44]) = (1, 1, 2);
        header[24] = 0x11;
        header[48..72].copy_from_slice(&entry(100, 2, 5000, 100)[..24]);
        header[72..96].copy_from_slice(&entry(50, 2, 5100, 50)[..24]);
        header
    }

    #[test]
    fn resources_are_found_and_blobs_inside_of_solid_ones_are_not() {
        let header = Header::parse(&header()).unwrap();
        assert_eq!((header.images, header.part), (2, (1, 1)));
        assert_eq!(header.guid, "11000000000000000000000000000000");
        let table = [
            entry(1000, 4, 208, 3000),
            entry(700, 4, 1208, 900),
            entry(300, SOLID, 77, 300),
            entry(3000, SOLID, 2000, SOLID_ITSELF),
        ]
        .concat();
        let bounds: Vec<u64> = bounds(&header, &table).into_iter().map(|at| at.0).collect();
        assert_eq!(bounds, [0, 208, 1208, 1908, 2000, 5000, 5100, 5150]);
    }

    #[test]
    fn what_is_no_wim_is_none() {
        let mut other = header();
        other[0] = b'X';
        assert_eq!(Header::parse(&other), Err(NotAWim));
        assert_eq!(Header::parse(&header()[..HEADER - 1]), Err(NotAWim));
        assert_eq!(Header::parse(b"WLPWM\0\0\0"), Err(NotAWim));
    }
}
