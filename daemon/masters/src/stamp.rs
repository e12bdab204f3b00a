//! Reads the stamp of a file, which tells later whether the file is still the same and unchanged.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

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
    meta.into()
}

/// Whether nobody has written to a file since it had this stamp.
///
/// # Errors
/// If the kernel does not give the file's metadata.
pub fn is_unwritten(file: &File, then: &Stamp) -> io::Result<bool> {
    let meta = file.metadata()?;
    let now = in_metadata(&meta);
    let same = (now.size, now.modified_ns) == (then.size, then.modified_ns);
    // Who puts back the time of the last writing leaves a trace here. So does removing the file, which is no writing.
    let touched = now.changed_ns != then.changed_ns && meta.nlink() > 0;
    Ok(same && !touched)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, FileTimes};

    use super::{is_unwritten, of};

    #[test]
    fn a_byte_that_was_flipped_with_the_time_put_back_is_seen_and_a_removed_file_is_unwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, b"image").unwrap();
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let then = of(&file).unwrap();
        assert!(is_unwritten(&file, &then).unwrap());
        let other = folder.path().join("other");
        fs::rename(&path, &other).unwrap();
        fs::remove_file(&other).unwrap();
        assert!(is_unwritten(&file, &then).unwrap());
        fs::write(&path, b"image").unwrap();
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let then = of(&file).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        fs::write(&path, b"imagf").unwrap();
        file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        assert!(!is_unwritten(&file, &then).unwrap());
    }
}
