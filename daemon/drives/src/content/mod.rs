//! Finds out what a drive holds, so that admission can decide whether it may be overwritten. Reads only.
//!
//! A drive is somebody's data until it is proven to be [`blank`], or to be [`ours`]. What is known as a signature is
//! asked of libblkid ([`signatures`]).

pub mod blank;
pub mod ours;
pub mod signatures;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use uuid::Uuid;

use model::drive::{Drive, Geometry};
use model::ranges::Range;
use model::units::Bytes;

use crate::buffer::Buffer;
use crate::claim::IoClock;
use crate::sys;
use signatures::Probed;

/// A drive that is open for being looked at, and cannot be written through this.
pub struct View {
    device: File,
    clock: IoClock,
    geometry: Geometry,
    /// The program `blkid`.
    blkid: PathBuf,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("device", &self.device).finish_non_exhaustive()
    }
}

impl View {
    /// Opens a drive of this geometry. `clock` counts its requests.
    ///
    /// # Errors
    /// If the drive cannot be opened, or another one is attached in its place.
    pub fn open(
        drive: &Drive,
        geometry: Geometry,
        blkid: &Path,
        clock: &IoClock,
    ) -> io::Result<Self> {
        let device = clock.during(|| open(&drive.node))?;
        let view = Self::of(device, geometry, blkid, clock);
        let (is, was) = (clock.during(|| sys::diskseq(&view.device))?, drive.diskseq.0);
        if was != 0 && is != was {
            let node = drive.node.display();
            return Err(io::Error::other(format!("another drive is attached as {node}")));
        }
        Ok(view)
    }

    /// Looks at a device that is open for reading.
    pub fn of(device: File, geometry: Geometry, blkid: &Path, clock: &IoClock) -> Self {
        Self { device, clock: clock.clone(), geometry, blkid: blkid.to_owned() }
    }

    /// Fills a buffer from a byte offset.
    ///
    /// # Errors
    /// If the drive cannot be read there.
    pub fn read(&self, data: &mut Buffer, offset: Bytes) -> io::Result<()> {
        self.clock.during(|| self.device.read_exact_at(data, offset.0))
    }

    /// The bytes of a range, which begins and ends at sectors.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn bytes(&self, range: Range) -> io::Result<Buffer> {
        let mut data = Buffer::zeroed(range.length());
        self.read(&mut data, range.start)?;
        Ok(data)
    }

    /// What libblkid knows in a part of the drive; in all of it if `part` is `None`.
    ///
    /// # Errors
    /// If the program `blkid` cannot be run, or cannot read the drive.
    pub fn probe(&self, part: Option<Range>) -> io::Result<Probed> {
        self.clock.during(|| signatures::probe(&self.device, &self.blkid, part))
    }

    /// The geometry that the drive is taken to have.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The disk GUIDs in the GPT header at the start of the drive, and in its copy at the end. Whether the tables are whole
    /// is not looked at.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn disk_guids(&self) -> io::Result<[Option<Uuid>; 2]> {
        let sector = Bytes(self.geometry.sector.bytes());
        let head = self.bytes(Range::at(sector, sector))?;
        let tail = self.bytes(Range::at(self.geometry.size - sector, sector))?;
        Ok([disk_guid(&head), disk_guid(&tail)])
    }
}

/// Opens a device for reading around the page cache.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::DIRECT | OFlags::CLOEXEC).bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The disk GUID in a GPT header (UEFI specification, 5.3.2); `None` if the bytes are no GPT header.
fn disk_guid(header: &[u8]) -> Option<Uuid> {
    let guid = header.get(56..72)?.try_into().ok()?;
    header.starts_with(b"EFI PART").then(|| Uuid::from_bytes_le(guid))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_header_has_a_guid() {
        let mut header = [7; 512];
        assert_eq!(disk_guid(&header), None);
        header[..8].copy_from_slice(b"EFI PART");
        assert_eq!(disk_guid(&header), Some(Uuid::from_bytes_le([7; 16])));
        assert_eq!(disk_guid(&header[..60]), None);
    }

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
}
