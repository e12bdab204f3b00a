//! The ledger's files: locked by one station, not readable to everybody, and known again.
//!
//! SQLite goes on writing to files that were moved or deleted under it, and says nothing. So the station remembers which
//! files it has opened, and compares.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::error::LedgerError;

/// Bits of a mode that let all users in.
const EVERYBODY: u32 = 0o007;

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The file at a path; `None` if there is none, or it cannot be reached.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// What an ordinary file holds, if it is no longer than `most` bytes. Nothing here waits for anybody, as the reader of a FIFO
/// would.
///
/// # Errors
/// If it cannot be read, is no ordinary file, or is longer.
pub fn ordinary(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut data = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut data)?;
    match u64::try_from(read).is_ok_and(|read| read <= most) {
        true => Ok(data),
        false => Err(io::Error::other(format!("it has more than {most} bytes"))),
    }
}

/// The file beside a database that SQLite calls so: `-wal` or `-shm`.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The files that SQLite keeps beside a database in WAL mode.
pub(crate) const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The files that belong to one open database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) database: Option<FileId>,
    pub(crate) beside: [Option<FileId>; 2],
}

impl Files {
    /// The files that are at these paths now.
    pub(crate) fn at(path: &Path) -> Self {
        let beside = BESIDE.map(|ending| FileId::at(&beside(path, ending)));
        Self { database: FileId::at(path), beside }
    }
}

/// Length and time of the last change, by which a file is known to be unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    modified: (i64, i64),
}

/// The ledger's file, held and locked. It stays open until the connections are closed: to close any descriptor of a file
/// gives up the locks that SQLite holds on it.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    pub(crate) id: FileId,
}

impl Held {
    /// Opens and locks the file at the path; creates it if `create` allows that.
    ///
    /// # Errors
    /// [`LedgerError::NotAFile`], [`LedgerError::Locked`] if another station has it, or [`LedgerError::File`].
    pub(crate) fn open(path: &Path, create: Create) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::File { path: path.to_owned(), doing: "open it", source };
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                return Err(LedgerError::NotAFile { path: path.to_owned() });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut options = File::options();
        options.read(true).write(true).mode(0o640).create(matches!(create, Create::Allowed));
        let file = options.open(path).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| LedgerError::Locked { path: path.to_owned() })?;
        let id = FileId::of(&file.metadata().map_err(failed)?);
        Ok(Self { file, id })
    }

    /// Lets another station have the file, even if this process cannot end yet.
    pub(crate) fn unlock(&self) -> io::Result<()> {
        Ok(flock(&self.file, FlockOperation::Unlock)?)
    }

    /// Whether no name leads to the file any more.
    pub(crate) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() == 0)
    }

    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        let metadata = self.file.metadata()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Stamp { length: metadata.len(), modified })
    }

    /// Takes the file away from everybody else, and gives a new one, which nobody has written to, to this group. SQLite
    /// gives the files beside it the same mode and owner.
    pub(crate) fn close_to_others(
        &self,
        path: &Path,
        group: Option<u32>,
    ) -> Result<(), LedgerError> {
        let change = || -> io::Result<()> {
            let metadata = self.file.metadata()?;
            if metadata.len() == 0 && metadata.gid() == 0 && group.is_some() {
                fchown(&self.file, None, group)?;
            }
            let mode = metadata.mode();
            if mode & EVERYBODY != 0 {
                self.file.set_permissions(Permissions::from_mode(mode & 0o7777 & !EVERYBODY))?;
            }
            for ending in BESIDE {
                let path = beside(path, ending);
                // SQLite makes those that are missing.
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let mode = metadata.mode();
                if mode & EVERYBODY != 0 {
                    fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777 & !EVERYBODY))?;
                }
            }
            Ok(())
        };
        let doing = "take it away from other users";
        change().map_err(|source| LedgerError::File { path: path.to_owned(), doing, source })
    }

    /// Gives another file the mode and the owners of this one.
    pub(crate) fn lend_mode(&self, to: &File) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        fchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        to.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))
    }
}

/// Whether a ledger may be made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    Allowed,
    Forbidden,
}
