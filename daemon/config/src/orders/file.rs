//! Reading what people put into files of orders, and lists of serial numbers beside them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::LARGEST_FILE;

/// Whether a link is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// As the user who names the file has the right to.
    Follow,
    /// Whoever may write a folder must not make others read what only they may.
    Refuse,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FileError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is a link")]
    Link,
    #[error("it is no ordinary file")]
    NotAFile,
    #[error("it has more than {LARGEST_FILE} bytes")]
    TooLarge,
    #[error("it is not UTF-8 text")]
    NotText,
}

/// The text of a file: an ordinary one, and not too large. Nothing here waits for anybody.
///
/// # Errors
/// [`FileError`]
pub fn read(path: &Path, links: Links) -> Result<String, FileError> {
    // Opening a FIFO waits for its writer otherwise.
    let mut flags = OFlags::NONBLOCK;
    flags.set(OFlags::NOFOLLOW, links == Links::Refuse);
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| {
        match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => FileError::Link,
            false => FileError::Io(error),
        }
    })?;
    if !file.metadata()?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read > LARGEST_FILE) {
        return Err(FileError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_ordinary_files_of_some_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &[u8]| {
            #[expect(clippy::disallowed_methods, reason = "files of a test")]
            std::fs::write(path(name), text).unwrap();
        };
        write("good", b"text");
        write("bytes", b"\xff");
        write("large", &vec![b'x'; usize::try_from(LARGEST_FILE).unwrap() + 1]);
        symlink(path("good"), path("link")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let told = |name, links| read(&path(name), links).map_err(|error| error.to_string());
        assert_eq!(told("good", Links::Refuse).unwrap(), "text");
        assert_eq!(told("link", Links::Follow).unwrap(), "text");
        for (name, links, why) in [
            ("link", Links::Refuse, "it is a link"),
            ("zero", Links::Refuse, "it is a link"),
            ("zero", Links::Follow, "it is no ordinary file"),
            ("fifo", Links::Refuse, "it is no ordinary file"),
            ("fifo", Links::Follow, "it is no ordinary file"),
            (".", Links::Refuse, "it is no ordinary file"),
            ("large", Links::Refuse, "it has more than 4194304 bytes"),
            ("bytes", Links::Refuse, "it is not UTF-8 text"),
            ("missing", Links::Refuse, "it cannot be read"),
        ] {
            assert_eq!(told(name, links).unwrap_err(), why, "{name}");
        }
    }
}
