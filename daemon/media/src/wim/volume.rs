//! Makes libntfs-3g find an NTFS volume that starts in the middle of a file.
//!
//! libwim applies an image to a path, and libntfs-3g takes the volume to begin at byte 0 of that file. A master,
//! however, is one raw disk image, with the volume at its partition's offset. `ntfs_mount()` gives every device the
//! same exported table of operations, so the child process that presses replaces those that read, write and seek by
//! ones that add the offset. This needs no loop device, no mount and no second copy of the volume.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use super::sys::{DeviceOperations, NtfsDevice};
use super::{WimError, library};
use model::units::Bytes;

/// The place of the volume in its file, in bytes, and libntfs-3g's own operations.
struct Shift {
    original: DeviceOperations,
    offset: i64,
    size: i64,
}

static SHIFT: OnceLock<Shift> = OnceLock::new();

fn refused(reason: &'static str) -> WimError {
    WimError::Refused { doing: "set the place of the volume".into(), reason }
}

/// Makes every NTFS volume that this process opens start at byte `offset` of its file and be `size` bytes long. To be
/// called once per process, before the first volume is opened.
///
/// # Errors
/// [`WimError`] on the second call, or if libwim is not installed.
pub fn shift(offset: Bytes, size: Bytes) -> Result<(), WimError> {
    let as_signed = |b: Bytes| i64::try_from(b.0).map_err(|_| refused("it lies beyond byte 2^63"));
    let table = library()?.device_operations;
    // SAFETY: this reads a plain table of function pointers, which nothing else writes.
    let original = unsafe { *table };
    let shift = Shift { original, offset: as_signed(offset)?, size: as_signed(size)? };
    SHIFT.set(shift).map_err(|_| refused("this process already works on another volume"))?;
    // SAFETY: the `OnceLock` lets one caller through; no volume is open yet and libntfs-3g has no threads of its own,
    // so nothing reads the table now. The functions have the types that the table declares.
    unsafe {
        (*table).pread = Some(pread);
        (*table).pwrite = Some(pwrite);
        (*table).seek = Some(seek);
        (*table).read = Some(read);
        (*table).write = Some(write);
    }
    Ok(())
}

/// The offset in the file of an access to the volume; `None` if it does not lie within the volume.
fn within(count: i64, offset: i64) -> Option<(&'static Shift, i64)> {
    let shift = SHIFT.get()?;
    let end = offset.checked_add(count)?;
    (offset >= 0 && count >= 0 && end <= shift.size).then(|| (shift, offset + shift.offset))
}

/// The answer to an access outside of the volume, where other partitions lie: `EINVAL`.
fn refuse() -> i64 {
    set_errno();
    -1
}

fn set_errno() {
    // SAFETY: `__errno_location` returns this thread's errno, valid for writing.
    unsafe { *libc::__errno_location() = libc::EINVAL };
}

unsafe extern "C" fn pread(dev: *mut NtfsDevice, buf: *mut c_void, count: i64, offset: i64) -> i64 {
    match within(count, offset) {
        // SAFETY: calls libntfs-3g's own function with its own arguments, except for the offset.
        Some((shift, at)) => shift.original.pread.map_or(-1, |f| unsafe { f(dev, buf, count, at) }),
        None => refuse(),
    }
}

unsafe extern "C" fn pwrite(
    dev: *mut NtfsDevice,
    buf: *const c_void,
    count: i64,
    offset: i64,
) -> i64 {
    match within(count, offset) {
        Some((shift, at)) => match shift.original.pwrite {
            // SAFETY: as in `pread`.
            Some(original) => unsafe { original(dev, buf, count, at) },
            None => refuse(),
        },
        None => refuse(),
    }
}

/// Moves the file position. `SEEK_END` is the end of the volume, not of the file.
unsafe extern "C" fn seek(dev: *mut NtfsDevice, offset: i64, whence: c_int) -> i64 {
    let Some(shift) = SHIFT.get() else { return refuse() };
    let Some(original) = shift.original.seek else { return refuse() };
    let (target, whence) = match whence {
        libc::SEEK_SET => (offset.checked_add(shift.offset), libc::SEEK_SET),
        libc::SEEK_END => (
            offset.checked_add(shift.size).and_then(|o| o.checked_add(shift.offset)),
            libc::SEEK_SET,
        ),
        _ => (Some(offset), whence),
    };
    let Some(target) = target else { return refuse() };
    // SAFETY: calls libntfs-3g's own function with its own device.
    let at = unsafe { original(dev, target, whence) };
    if at < 0 { at } else { at - shift.offset }
}

unsafe extern "C" fn read(dev: *mut NtfsDevice, buf: *mut c_void, count: i64) -> i64 {
    // SAFETY: `dev` is libntfs-3g's device and `buf` holds `count` bytes; the position moves as with the original.
    unsafe {
        let at = seek(dev, 0, libc::SEEK_CUR);
        let done = pread(dev, buf, count, at);
        if done > 0 {
            seek(dev, at + done, libc::SEEK_SET);
        }
        done
    }
}

unsafe extern "C" fn write(dev: *mut NtfsDevice, buf: *const c_void, count: i64) -> i64 {
    // SAFETY: as in `read`.
    unsafe {
        let at = seek(dev, 0, libc::SEEK_CUR);
        let done = pwrite(dev, buf, count, at);
        if done > 0 {
            seek(dev, at + done, libc::SEEK_SET);
        }
        done
    }
}
