//! Finds out whether anybody has a file open for writing: then the kernel refuses a read lease (fcntl(2),
//! `F_SETLEASE`).

#![expect(unsafe_code, reason = "fcntl and signal; every block argues its safety")]

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

/// Ignores SIGIO, by which the kernel tells the holder of a lease that somebody wants to write. [`writers`] holds a
/// lease for microseconds, and a writer that opens the file at this moment must not end the station.
pub fn ignore_lease_breaks() {
    // SAFETY: setting a disposition to "ignore" runs no code of ours in signal context.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

/// Whether somebody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Writers {
    None,
    Some,
    /// The file system cannot tell.
    Unknown,
}

/// Whether anybody on this machine has a file open for writing. Asks the kernel for a read lease on `file`, which must
/// be open for reading only, and gives the lease back at once.
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
