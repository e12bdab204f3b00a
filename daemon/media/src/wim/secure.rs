//! Setting security descriptors on an NTFS volume inside a file, by the calls of libntfs-3g that libwim itself makes.

use std::ffi::{CString, c_ulong};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use super::{WimError, c_string, library, sys};

/// The file record of the root folder, with the number of its use.
const ROOT: u64 = 5 | 5 << 48;
/// Writing is allowed, and nothing else is asked for.
const MOUNT_FLAGS: c_ulong = 0;
/// What libntfs-3g returns for a name that it does not find.
const NONE: u64 = u64::MAX;

/// A volume that libntfs-3g has open.
struct Volume {
    library: &'static sys::Library,
    raw: *mut sys::NtfsVolume,
}

/// A file or folder of a volume.
struct Inode<'a> {
    volume: &'a Volume,
    raw: *mut sys::NtfsInode,
}

impl Volume {
    fn open(path: &CString) -> Result<Self, WimError> {
        let library = library()?;
        // SAFETY: the path is NUL-terminated.
        let raw = unsafe { (library.ntfs_mount)(path.as_ptr(), MOUNT_FLAGS) };
        if raw.is_null() {
            return Err(failed("open the volume", io::Error::last_os_error()));
        }
        let volume = Self { library, raw };
        // SAFETY: the volume is open. A second call does nothing.
        if unsafe { (library.ntfs_open_secure)(raw) } != 0 {
            return Err(failed("open $Secure", io::Error::last_os_error()));
        }
        Ok(volume)
    }

    /// Writes what is left, and closes.
    fn close(self) -> Result<(), WimError> {
        let Self { library, raw } = self;
        std::mem::forget(self);
        // SAFETY: the volume is open, nothing of it is, and it is not used again.
        match unsafe { (library.ntfs_umount)(raw, 0) } {
            0 => Ok(()),
            _ => Err(failed("close the volume", io::Error::last_os_error())),
        }
    }

    fn inode(&self, reference: u64) -> io::Result<Inode<'_>> {
        // SAFETY: the volume is open.
        let raw = unsafe { (self.library.ntfs_inode_open)(self.raw, reference) };
        if raw.is_null() {
            Err(io::Error::last_os_error())
        } else {
            Ok(Inode { volume: self, raw })
        }
    }

    /// The reference of a name in a folder.
    fn find(&self, folder: u64, name: &[u16]) -> io::Result<u64> {
        let folder = self.inode(folder)?;
        let length = i32::try_from(name.len()).map_err(io::Error::other)?;
        let units: Vec<u16> = name.iter().map(|unit| unit.to_le()).collect();
        // SAFETY: the folder is open, and `units` holds `length` of them.
        let found =
            unsafe { (self.library.ntfs_inode_lookup_by_name)(folder.raw, units.as_ptr(), length) };
        let error = io::Error::last_os_error();
        folder.close()?;
        if found == NONE { Err(error) } else { Ok(found) }
    }

    fn set(&self, reference: u64, descriptor: &[u8]) -> io::Result<()> {
        let inode = self.inode(reference)?;
        let mut context = sys::SecurityContext { volume: self.raw, unused: [0; 15] };
        // SAFETY: volume and inode are open. The context is longer than libntfs-3g's, which needs nothing but the volume
        // here; libwim passes no more either. The descriptor has the length given, and is copied.
        let code = unsafe {
            (self.library.ntfs_set_ntfs_acl)(
                &mut context,
                inode.raw,
                descriptor.as_ptr().cast(),
                descriptor.len(),
                0,
            )
        };
        let error = io::Error::last_os_error();
        inode.close()?;
        if code == 0 { Ok(()) } else { Err(error) }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // SAFETY: as in `close`; that it fails is told of no more, for something else has failed before.
        unsafe { (self.library.ntfs_umount)(self.raw, 0) };
    }
}

impl Inode<'_> {
    fn close(mut self) -> io::Result<()> {
        let raw = std::mem::replace(&mut self.raw, ptr::null_mut());
        // SAFETY: the inode is open, and not used again.
        match unsafe { (self.volume.library.ntfs_inode_close)(raw) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Inode<'_> {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: as in `close`.
            unsafe { (self.volume.library.ntfs_inode_close)(self.raw) };
        }
    }
}

fn failed(doing: &str, source: io::Error) -> WimError {
    WimError::Secure { doing: doing.into(), source: Arc::new(source) }
}

/// A path, for people.
fn shown(path: &[Vec<u16>]) -> String {
    path.iter().map(|name| format!("\\{}", String::from_utf16_lossy(name))).collect()
}

/// A security descriptor, and the file or folder that is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The names that lead to it from the root folder, which has none.
    pub path: Vec<Vec<u16>>,
    /// Self-relative, as NTFS keeps it.
    pub descriptor: Arc<[u8]>,
}

/// Gives files and folders of the NTFS volume in the file `volume` their security descriptors. Those of one folder should
/// follow each other.
///
/// # Errors
/// [`WimError`] for the first that cannot be given it.
pub fn give(volume: &Path, all: &[Given]) -> Result<(), WimError> {
    if all.is_empty() {
        return Ok(());
    }
    let path = c_string(volume.as_os_str().as_bytes(), || "open the volume".into())?;
    let volume = Volume::open(&path)?;
    // The folders on the way to the last path, with their references.
    let mut way: Vec<(&[u16], u64)> = Vec::new();
    for Given { path, descriptor } in all {
        let same = path.iter().zip(&way).take_while(|(name, (known, _))| name == known).count();
        way.truncate(same);
        let found = (|| {
            for name in &path[same..] {
                let folder = way.last().map_or(ROOT, |(_, reference)| *reference);
                way.push((name, volume.find(folder, name)?));
            }
            let reference = way.last().map_or(ROOT, |(_, reference)| *reference);
            volume.set(reference, descriptor)
        })();
        let doing = || format!("give {} its security descriptor", shown(path));
        found.map_err(|error| failed(&doing(), error))?;
    }
    volume.close()
}
