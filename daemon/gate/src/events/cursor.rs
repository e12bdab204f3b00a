//! How far each receiver has been told, in a file of its own that is always whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why it cannot be remembered what was told.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    #[error("{path}: what was told cannot be remembered")]
    #[expect(missing_docs, reason = "the message says it")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: not what the gate writes")]
    #[expect(missing_docs, reason = "the message says it")]
    Content {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("another gate uses {0}")]
    #[expect(missing_docs, reason = "the message says it")]
    Busy(PathBuf),
}

/// A place in the log: everything up to it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The name of the ledger.
    pub(super) ledger: Uuid,
    /// The number of the last entry that was told; 0 before the first.
    pub(super) seq: u64,
}

/// The folder with the places of all receivers. One gate uses it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked for as long as somebody has it open.
    lock: Arc<File>,
}

#[expect(clippy::disallowed_methods, reason = "writes its own small files, and knows no drive")]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).open(path)
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, CursorError> {
        let at = path.join("lock");
        let failed = |source| CursorError::File { path: at.clone(), source };
        let lock = open(&at).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), lock: Arc::new(lock) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(CursorError::Busy(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The place of a receiver.
    pub(super) fn cursor(&self, name: &str) -> Result<Cursor, CursorError> {
        let path = self.path.join(format!("{name}.json"));
        let place = match fs::read(&path) {
            Ok(text) => {
                let read = serde_json::from_slice(&text);
                Some(read.map_err(|source| CursorError::Content { path: path.clone(), source })?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(CursorError::File { path, source }),
        };
        Ok(Cursor { path, place, _lock: Arc::clone(&self.lock) })
    }
}

/// How far a receiver has been told.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    /// Absent if nobody has told it anything.
    place: Option<Place>,
    _lock: Arc<File>,
}

impl Cursor {
    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Remembers a place, durably.
    pub(super) fn set(&mut self, place: Place) -> Result<(), CursorError> {
        if self.place == Some(place) {
            return Ok(());
        }
        let failed = |source| CursorError::File { path: self.path.clone(), source };
        put(&self.path, &serde_json::to_vec(&place).unwrap_or_default()).map_err(failed)?;
        self.place = Some(place);
        Ok(())
    }
}

/// Makes the file whole, or leaves it as it was.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of the test")]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_remembered_and_never_half() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Folder::open(folder.path());
        let first = open().unwrap();
        assert!(matches!(open(), Err(CursorError::Busy(_))), "two gates would tell all twice");
        let mut cursor = first.cursor("mes").unwrap();
        assert_eq!(cursor.place(), None);
        let place = Place { ledger: Uuid::from_u128(7), seq: 41 };
        cursor.set(place).unwrap();
        drop((first, cursor));
        // A gate that was killed while it wrote.
        fs::write(folder.path().join("mes.new"), "{\"led").unwrap();
        let again = open().unwrap();
        assert_eq!(again.cursor("mes").unwrap().place(), Some(place));
        assert_eq!(again.cursor("other").unwrap().place(), None);
        // What is no place is not taken for the beginning, nor for the end.
        fs::write(folder.path().join("mes.json"), "{\"led").unwrap();
        assert!(matches!(again.cursor("mes"), Err(CursorError::Content { .. })));
        // What cannot be written is not taken for written.
        let mut cursor = again.cursor("other").unwrap();
        cursor.set(place).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(cursor.set(Place { seq: 42, ..place }).is_err());
        assert_eq!(cursor.place(), Some(place));
    }
}
