//! Kernel calls for which no library has a safe function: ioctls of block and loop devices, and advice about pages.
//!
//! Each function makes one call on a device or memory that the caller holds; none decides anything.

#![expect(
    unsafe_code,
    reason = "ioctl, madvise and memory for buffers; every block argues its safety"
)]

use std::alloc::{Layout, alloc_zeroed};
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{self, Getter, IntegerSetter, Opcode, Setter, opcode};

use model::drive::DeviceNumber;
use model::units::Bytes;

// <linux/fs.h>
const BLKROGET: Opcode = opcode::none(0x12, 94);
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKDISCARD: Opcode = opcode::none(0x12, 119);
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);
// <linux/loop.h>
const LOOP_GET_STATUS64: Opcode = 0x4C05;
const LOOP_SET_DIRECT_IO: Opcode = 0x4C08;

/// `struct loop_info64` of <linux/loop.h>, of which only the numbers of the backing file are used.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    rest: [u64; 26],
}

/// Whether the kernel holds the block device read-only (`BLKROGET`).
///
/// # Errors
/// The kernel's error number.
pub fn is_read_only(device: impl AsFd) -> Result<bool> {
    // SAFETY: BLKROGET writes one int.
    let flag: i32 = unsafe { ioctl::ioctl(device, Getter::<BLKROGET, i32>::new())? };
    Ok(flag != 0)
}

/// Size of a block device in bytes (`BLKGETSIZE64`).
///
/// # Errors
/// The kernel's error number.
pub fn size(device: impl AsFd) -> Result<Bytes> {
    // SAFETY: BLKGETSIZE64 writes one u64.
    unsafe { ioctl::ioctl(device, Getter::<BLKGETSIZE64, u64>::new()) }.map(Bytes)
}

/// Attachment count of a disk (`BLKGETDISKSEQ`, Linux 5.15).
///
/// # Errors
/// The kernel's error number; `NOTTY` on older kernels.
pub fn diskseq(device: impl AsFd) -> Result<u64> {
    // SAFETY: BLKGETDISKSEQ writes one u64.
    unsafe { ioctl::ioctl(device, Getter::<BLKGETDISKSEQ, u64>::new()) }
}

/// Tells the device that a range holds nothing worth keeping (`BLKDISCARD`). What a later read of the range returns is
/// undefined.
///
/// # Errors
/// The kernel's error number; `OPNOTSUPP` where the device cannot discard.
pub fn discard(device: impl AsFd, offset: Bytes, length: Bytes) -> Result<()> {
    // SAFETY: BLKDISCARD reads two u64.
    unsafe { ioctl::ioctl(device, Setter::<BLKDISCARD, [u64; 2]>::new([offset.0, length.0])) }
}

/// The numbers of a loop device's backing file (`LOOP_GET_STATUS64`): its own if it is a device, and that of the file
/// system on which it lies.
///
/// # Errors
/// The kernel's error number; `NXIO` if the loop device has no file, `NOTTY` if it is no loop device.
pub fn loop_backing(device: impl AsFd) -> Result<(Option<DeviceNumber>, Option<DeviceNumber>)> {
    // SAFETY: LOOP_GET_STATUS64 writes one struct loop_info64, of 232 bytes.
    let info = unsafe { ioctl::ioctl(device, Getter::<LOOP_GET_STATUS64, LoopInfo>::new())? };
    Ok((decoded(info.rdevice), decoded(info.device)))
}

/// A device number as the kernel hands it out (`new_decode_dev` in <linux/kdev_t.h>).
fn decoded(number: u64) -> Option<DeviceNumber> {
    let number = u32::try_from(number).ok().filter(|number| *number != 0)?;
    let major = (number >> 8) & 0xfff;
    let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
    Some(DeviceNumber { major, minor })
}

/// Makes a loop device use direct I/O on its backing file, so that a read comes from the file and not from the page
/// cache (`LOOP_SET_DIRECT_IO`).
///
/// # Errors
/// The kernel's error number; `INVAL` where the backing file system has no direct I/O.
pub fn set_loop_direct_io(device: impl AsFd) -> Result<()> {
    // SAFETY: LOOP_SET_DIRECT_IO takes an integer by value.
    unsafe { ioctl::ioctl(device, IntegerSetter::<LOOP_SET_DIRECT_IO>::new_usize(1)) }
}

/// So many zero bytes, which are never given back; `None` if the system has no memory for them.
pub fn zeros(length: usize) -> Option<&'static mut [u8]> {
    let layout = Layout::from_size_align(length, 1).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout is not of size zero.
    let start = unsafe { alloc_zeroed(layout) };
    // SAFETY: unless it is null, `start` begins `length` initialised bytes of an allocation that nobody else knows and
    // nobody frees.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(start, length) })
}

/// Asks the kernel to put `memory` on huge pages (madvise(2), `MADV_HUGEPAGE`). Where it has none, nothing changes.
pub fn prefer_huge_pages(memory: &mut [u8]) {
    // SAFETY: the memory is borrowed for the call, and the advice does not change its contents.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_HUGEPAGE) };
}
