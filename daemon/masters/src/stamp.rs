//! Reads the stamp of a file, which tells later whether the file is still the same and unchanged.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use model::media::Stamp;

/// The stamp of an open file.
///
/// # Errors
/// If the kernel does not give the file's metadata.
pub fn of(file: &File) -> io::Result<Stamp> {
    Ok(in_metadata(&file.metadata()?))
}

/// The stamp in a file's metadata.
pub fn in_metadata(meta: &Metadata) -> Stamp {
    // Nanoseconds since 1970 fit 63 bits until the year 2262.
    let nanos = |s: i64, n: i64| s.saturating_mul(1_000_000_000).saturating_add(n);
    Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified_ns: nanos(meta.mtime(), meta.mtime_nsec()),
        changed_ns: nanos(meta.ctime(), meta.ctime_nsec()),
    }
}
