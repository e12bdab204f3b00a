//! Finds out whether anybody has a file open for writing: then the kernel refuses a read lease (fcntl(2),
//! `F_SETLEASE`).

#![expect(unsafe_code, reason = "fcntl and signal; every block argues its safety")]

use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};

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

/// As many descriptors at the start of a table are always copied when it is taken apart (`sane_fdtable_size` in fs/file.c
/// of Linux: the bits of a long).
const COPIED: i32 = 64;

/// Takes the lowest descriptors, for good. [`leave_descriptors`] closes copies of these, and to close even a copy may wait
/// for a file system that does not answer: so the ledger and masters must not be among them.
///
/// # Errors
/// If the process may not have so many.
pub fn keep_low_descriptors() -> std::io::Result<()> {
    loop {
        let file = File::open("/dev/null")?;
        if file.as_raw_fd() >= COPIED {
            return Ok(());
        }
        let _ = file.into_raw_fd();
    }
}

/// Gives this thread a table of descriptors of its own, empty but for the standard streams. A worker that is started
/// would otherwise inherit a file on which the thread hangs, and hang itself when it closes that at its start: some file
/// systems are asked at each close (FUSE's flush). A kernel before 5.9 keeps the table shared.
pub(crate) fn leave_descriptors() {
    // SAFETY: takes numbers by value and touches no memory of ours. The descriptors that it closes stay open in the table
    // that the other threads go on using; this thread owns none yet.
    let left =
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    if left != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!("cannot give a thread descriptors of its own: {error}");
    }
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
