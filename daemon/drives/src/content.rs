//! Finds out what a drive holds, so that admission can decide whether it may be overwritten. Reads only.
//!
//! A drive counts as blank only if it is proven to be: the first and the last mebibyte repeat one single byte. Anything
//! else is somebody's data, even if no tool would recognise it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use uuid::Uuid;

use model::drive::Drive;
use model::units::{Bytes, MIB};

/// What the ends of a drive show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Both ends repeat one byte.
    Blank,
    /// A GPT with this disk GUID.
    Gpt(Uuid),
    /// Anything else, in words for an operator: "an NTFS volume".
    Other(&'static str),
}

/// Opens a drive and looks at both of its ends.
///
/// # Errors
/// If the drive cannot be opened or read.
pub fn look(drive: &Drive) -> io::Result<Seen> {
    let file = File::open(&drive.node)?;
    let sector = Bytes(u64::from(drive.logical_sector_bytes));
    inspect(&file, drive.size, sector)
}

/// Looks at both ends of an open device of `size` bytes with logical sectors of `sector` bytes.
///
/// # Errors
/// If the device cannot be read.
pub fn inspect(file: &File, size: Bytes, sector: Bytes) -> io::Result<Seen> {
    let length = MIB.min(size);
    let mut head = vec![0; length.as_usize()];
    let mut tail = head.clone();
    file.read_exact_at(&mut head, 0)?;
    file.read_exact_at(&mut tail, size.0 - length.0)?;
    let blank = |data: &[u8]| data.first().is_none_or(|first| data.iter().all(|b| b == first));
    if blank(&head) && blank(&tail) {
        return Ok(Seen::Blank);
    }
    let header = head.get(sector.as_usize()..);
    if let Some(guid) = header.and_then(disk_guid) {
        return Ok(Seen::Gpt(guid));
    }
    // An interrupted job may have left only the backup GPT at the end.
    let copy = tail.get(tail.len().saturating_sub(sector.as_usize())..);
    if blank(&head)
        && let Some(guid) = copy.and_then(disk_guid)
    {
        return Ok(Seen::Gpt(guid));
    }
    // The commonest signatures, so that an operator recognises the drive.
    let at = |offset: usize, magic: &[u8]| head[offset.min(head.len())..].starts_with(magic);
    let known: [(&str, usize, &[u8]); 7] = [
        ("an ext2, ext3 or ext4 file system", 0x438, &[0x53, 0xef]),
        ("an XFS file system", 0, b"XFSB"),
        ("an NTFS volume", 3, b"NTFS    "),
        ("a LUKS volume", 0, b"LUKS"),
        ("an LVM volume", 512 + 24, b"LVM2 001"),
        ("a btrfs file system", 0x1_0040, b"_BHRfS_M"),
        ("a partition table (MBR)", 510, &[0x55, 0xaa]),
    ];
    let found = known.iter().find(|(_, offset, magic)| at(*offset, magic));
    Ok(Seen::Other(found.map_or("data of an unknown kind", |(name, _, _)| name)))
}

/// Whether a ZFS pool's label stands at the start of a device or partition. A label takes 256 KiB; its second half is
/// an array of uberblocks, each of which begins with a magic number (OpenZFS, include/sys/uberblock_impl.h and
/// include/sys/vdev_impl.h). A device that cannot be read counts as labelled: the answer only serves to keep away.
pub fn is_in_pool(node: &Path) -> bool {
    const LABEL: Bytes = Bytes(256 << 10);
    const MAGIC: [[u8; 8]; 2] = [0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes()];
    let mut label = vec![0; LABEL.as_usize()];
    match File::open(node).and_then(|device| device.read_exact_at(&mut label, 0)) {
        Ok(()) => {
            label[label.len() / 2..].chunks(1024).any(|u| MAGIC.iter().any(|m| u.starts_with(m)))
        }
        Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
    }
}

/// The disk GUID in a GPT header (UEFI specification, 5.3.2); `None` if the bytes are no GPT header.
fn disk_guid(header: &[u8]) -> Option<Uuid> {
    let guid = header.get(56..72)?.try_into().ok()?;
    header.starts_with(b"EFI PART").then(|| Uuid::from_bytes_le(guid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_s_label_is_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_in_pool(file.path()), "too short for a label");
        file.as_file().set_len(1 << 20).unwrap();
        assert!(!is_in_pool(file.path()));
        for magic in [0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes()] {
            file.as_file().write_all_at(&magic, (128 << 10) + 7 * 1024).unwrap();
            assert!(is_in_pool(file.path()));
        }
        assert!(is_in_pool(Path::new("/no/such/device")), "unreadable is not free");
    }

    #[test]
    fn only_uniform_ends_are_blank() {
        let file = tempfile::tempfile().unwrap();
        let size = Bytes::mib(8);
        file.set_len(size.0).unwrap();
        let look = || inspect(&file, size, Bytes(512)).unwrap();
        assert_eq!(look(), Seen::Blank);
        file.write_all_at(&[1], size.0 - 1).unwrap();
        assert_eq!(look(), Seen::Other("data of an unknown kind"));
        file.write_all_at(&[0x53, 0xef], 0x438).unwrap();
        assert_eq!(look(), Seen::Other("an ext2, ext3 or ext4 file system"));
        let mut header = [0_u8; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[56] = 7;
        file.write_all_at(&header, 512).unwrap();
        let mut guid = [0; 16];
        guid[0] = 7;
        assert_eq!(look(), Seen::Gpt(Uuid::from_bytes_le(guid)));
        file.set_len(0).unwrap();
        file.set_len(size.0).unwrap();
        file.write_all_at(&header, size.0 - 512).unwrap();
        assert_eq!(look(), Seen::Gpt(Uuid::from_bytes_le(guid)), "the copy alone");
    }
}
