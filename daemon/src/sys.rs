//! Kernel calls for which no library has a safe function: ioctls of block and loop devices, leases, huge pages, and who is
//! at the other end of a socket.
//!
//! Each is one call on what the caller holds; none decides anything.

#![expect(unsafe_code, reason = "ioctl, fcntl and the like; every block argues its safety")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};
use rustix::ioctl::{self, Getter, IntegerSetter, Opcode, Setter, opcode};

use crate::units::Bytes;

// <linux/fs.h>
const BLKROGET: Opcode = opcode::none(0x12, 94);
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKDISCARD: Opcode = opcode::none(0x12, 119);
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);
// <linux/loop.h>
const LOOP_SET_DIRECT_IO: Opcode = 0x4C08;

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

/// Tells the device that a range holds nothing worth keeping (`BLKDISCARD`). What a read gives afterwards is
/// undefined.
///
/// # Errors
/// The kernel's error number; `OPNOTSUPP` where the device cannot discard.
pub fn discard(device: impl AsFd, offset: Bytes, length: Bytes) -> Result<()> {
    // SAFETY: BLKDISCARD reads two u64.
    unsafe { ioctl::ioctl(device, Setter::<BLKDISCARD, [u64; 2]>::new([offset.0, length.0])) }
}

/// Makes a loop device use direct I/O on its backing file, so that a read comes from there and not from the
/// page cache (`LOOP_SET_DIRECT_IO`).
///
/// # Errors
/// The kernel's error number; `INVAL` where the backing file system cannot.
pub fn set_loop_direct_io(device: impl AsFd) -> Result<()> {
    // SAFETY: LOOP_SET_DIRECT_IO takes an integer by value.
    unsafe { ioctl::ioctl(device, IntegerSetter::<LOOP_SET_DIRECT_IO>::new_usize(1)) }
}

/// Asks for pages of memory as large as the processor can map (madvise(2), `MADV_HUGEPAGE`). If there are none, nothing
/// changes.
pub fn prefer_huge_pages(memory: &mut [u8]) {
    // SAFETY: the advice is about memory of ours and does not change what it holds.
    unsafe { libc::madvise(memory.as_mut_ptr().cast(), memory.len(), libc::MADV_HUGEPAGE) };
}

/// The supplementary groups of the process at the other end of a unix socket, as they were when it connected
/// (`SO_PEERGROUPS`, Linux 4.13; socket(7)).
///
/// # Errors
/// The kernel's error number.
pub fn peer_groups(socket: impl AsFd) -> Result<Vec<u32>> {
    // As many as Linux lets a process have (NGROUPS_MAX, <linux/limits.h>).
    let mut groups = vec![0_u32; 65_536];
    let mut length =
        libc::socklen_t::try_from(size_of_val(&groups[..])).map_err(|_| Errno::INVAL)?;
    let fd = socket.as_fd().as_raw_fd();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
    // SAFETY: the kernel writes at most `length` bytes, which `groups` has, and gid_t is a u32.
    let result =
        unsafe { libc::getsockopt(fd, level, name, groups.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    groups.truncate(usize::try_from(length).unwrap_or(0) / size_of::<u32>());
    Ok(groups)
}

/// Ignores SIGIO, by which the kernel tells a lease holder that somebody wants to write. [`writers`] holds a lease for
/// microseconds; a writer that opens the file just then must not end the station.
pub fn ignore_lease_breaks() {
    // SAFETY: setting a disposition to "ignore" runs no code of ours in signal context.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

/// Whether somebody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has.
    None,
    /// Somebody has.
    Some,
    /// The file system cannot tell.
    Unknown,
}

/// Asks the kernel for a read lease on a file opened for reading, and gives it back at once: it is refused while
/// anybody, on this machine, has the file open for writing (fcntl(2), `F_SETLEASE`).
pub fn writers(file: &File) -> Writers {
    let set = |kind: i32| {
        // SAFETY: F_SETLEASE takes an int by value and touches no memory of ours.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
            -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error())),
            _ => Ok(()),
        }
    };
    match set(libc::F_RDLCK) {
        Ok(()) => {
            let _ = set(libc::F_UNLCK);
            Writers::None
        }
        Err(Some(Errno::AGAIN)) => Writers::Some,
        Err(_) => Writers::Unknown,
    }
}
