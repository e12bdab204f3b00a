//! The groups of a process at the other end of a unix socket, for which no library has a safe function.

#![expect(unsafe_code, reason = "calls getsockopt; the comment there says why that is safe")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

/// The supplementary groups of the process at the other end of a unix socket, as they were when it connected
/// (`SO_PEERGROUPS`, Linux 4.13; socket(7)).
///
/// # Errors
/// The kernel's error number.
pub(super) fn peer_groups(socket: impl AsFd) -> Result<Vec<u32>> {
    // Room for as many groups as Linux allows a process (NGROUPS_MAX, <linux/limits.h>).
    let mut groups = vec![0_u32; 65_536];
    let mut length =
        libc::socklen_t::try_from(size_of_val(&groups[..])).map_err(|_| Errno::INVAL)?;
    let fd = socket.as_fd().as_raw_fd();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `groups`, and gid_t is a u32.
    let result =
        unsafe { libc::getsockopt(fd, level, name, groups.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    groups.truncate(usize::try_from(length).unwrap_or(0) / size_of::<u32>());
    Ok(groups)
}
