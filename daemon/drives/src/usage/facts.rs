//! Reading facts of /proc and /sys. What is not there is known not to be there; what cannot be read is unknown, and a drive
//! of which something is unknown is not touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::hint::Hint;
use rustix::io::Errno;

/// A fact that cannot be read, so that nobody knows who uses a drive.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct UnknownUse {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl UnknownUse {
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }
}

impl Hint for UnknownUse {
    fn hint(&self) -> Option<String> {
        let hint = match Errno::from_io_error(&self.source)? {
            Errno::ACCESS | Errno::PERM => {
                "let the station read it: it must run as root, unconfined there"
            }
            Errno::MFILE | Errno::NFILE => "the station has no descriptors left; see LimitNOFILE",
            _ => return None,
        };
        Some(hint.into())
    }
}

/// Whether an error says that there is no such thing: no file, no device behind it any more, no process.
fn says_absent(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::NODEV, Errno::NXIO, Errno::SRCH];
    errno.is_some_and(|errno| gone.contains(&errno))
}

/// Whether an error says that this process may not look.
fn says_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// What was read; `None` if it is not there.
pub(super) fn known<T>(path: &Path, read: io::Result<T>) -> Result<Option<T>, UnknownUse> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if says_absent(&error) => Ok(None),
        Err(error) => Err(UnknownUse::new(path, error)),
    }
}

/// What was read of another process; `None` also if this process may not look at it, or if it is ending (`EINVAL` of a
/// list of mounts).
pub(super) fn visible<T>(path: &Path, read: io::Result<T>) -> Result<Option<T>, UnknownUse> {
    match read {
        Err(error) if says_forbidden(&error) || error.kind() == io::ErrorKind::InvalidInput => {
            Ok(None)
        }
        other => known(path, other),
    }
}

/// The text of a file. Names of mount points and files in it need not be UTF-8, so it is read leniently.
pub(super) fn text(path: &Path) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a folder, sorted.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = fs::read_dir(path)?.map(name).collect::<io::Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_known_and_unreadable_is_not() {
        let path = Path::new("/x");
        let read = |errno: Errno| known::<()>(path, Err(io::Error::from(errno)));
        for errno in [Errno::NOENT, Errno::NODEV, Errno::NXIO, Errno::SRCH, Errno::NOTDIR] {
            assert!(read(errno).unwrap().is_none(), "{errno}");
        }
        for errno in
            [Errno::ACCESS, Errno::IO, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INVAL]
        {
            assert_eq!(read(errno).unwrap_err().to_string(), "cannot read /x", "{errno}");
        }
        let other = |errno: Errno| visible::<()>(path, Err(io::Error::from(errno)));
        assert!(other(Errno::ACCESS).unwrap().is_none() && other(Errno::INVAL).unwrap().is_none());
        assert!(other(Errno::MFILE).is_err() && other(Errno::IO).is_err());
    }
}
