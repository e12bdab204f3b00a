//! Whether anybody has a file open for writing: the kernel tells by refusing a read lease (fcntl(2), `F_SETLEASE`).

#![expect(unsafe_code, reason = "fcntl and signal; every block argues its safety")]

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

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
