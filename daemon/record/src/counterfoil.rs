//! The counterfoil of a ledger: what the station remembers of it outside of it, so that a ledger that is gone, emptied,
//! or replaced by an older copy is noticed at the next start.
//!
//! It lies beside the ledger and, because a whole folder can be lost, in a second place. It is written after each new
//! record, so it never tells of a record that the ledger has not had.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file::ordinary;

/// What the station remembers of its ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counterfoil {
    /// The ledger's own ID.
    pub(crate) ledger: String,
    /// How many records it has had.
    pub(crate) rows: u64,
    /// The job of the last record that was added.
    pub(crate) last: String,
}

/// The places of a counterfoil. Beside each lies the last checkpoint of the ledger's log.
#[derive(Clone, Debug)]
pub(crate) struct Places(Vec<PathBuf>);

/// Neither a counterfoil nor a checkpoint has so many bytes.
const LONGEST: u64 = 64 << 10;

/// How the name of the checkpoint beside a counterfoil ends.
const CHECKPOINT: &str = "-checkpoint";

impl Places {
    /// Beside the ledger, and as this file.
    pub(crate) fn new(ledger: &Path, also: Option<PathBuf>) -> Self {
        let mut beside = ledger.as_os_str().to_owned();
        beside.push("-counterfoil");
        Self([Some(PathBuf::from(beside)), also].into_iter().flatten().collect())
    }

    /// The counterfoil that tells of the most records; `None` if there is none that tells of any. One that cannot be
    /// read is logged.
    pub(crate) fn read(&self) -> Option<Counterfoil> {
        let read = |path: &PathBuf| match ordinary(path, LONGEST) {
            Ok(text) => serde_json::from_slice::<Counterfoil>(&text)
                .inspect_err(|error| tracing::warn!("{}: {error}", path.display()))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{}: {error}", path.display());
                None
            }
        };
        self.0.iter().filter_map(read).max_by_key(|one| one.rows).filter(|one| one.rows > 0)
    }

    /// Writes the counterfoil to all places. A place that takes none is logged: the record itself is safe.
    pub(crate) fn write(&self, counterfoil: &Counterfoil) {
        let text = serde_json::to_vec(counterfoil).unwrap_or_default();
        for path in &self.0 {
            if let Err(error) = replace(path, &text) {
                let path = path.display();
                tracing::warn!("cannot write {path}, the counterfoil of the ledger: {error}");
            }
        }
    }

    /// The signed notes with the last checkpoint of the log, as they lie there.
    pub(crate) fn checkpoints(&self) -> Vec<String> {
        let read = |path: PathBuf| match ordinary(&path, LONGEST) {
            Ok(note) => Some(String::from_utf8_lossy(&note).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{}: {error}", path.display());
                None
            }
        };
        self.beside().filter_map(read).collect()
    }

    /// Keeps the last checkpoint of the log. It is not forced to the disk: after a loss of power an older one tells less, and
    /// what it tells is true.
    pub(crate) fn keep_checkpoint(&self, note: &str) {
        for path in self.beside() {
            if let Err(error) = replace_lazily(&path, note.as_bytes()) {
                let path = path.display();
                tracing::warn!("cannot write {path}, the checkpoint of the ledger's log: {error}");
            }
        }
    }

    fn beside(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.0.iter().map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(CHECKPOINT);
            PathBuf::from(name)
        })
    }

    /// Forgets the ledger.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for path in self.0.iter().cloned().chain(self.beside()) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Replaces a file as a whole, also if the power is lost meanwhile.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let (fresh, file) = write_beside(path, text)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

/// Replaces a file as a whole, as far as the system comes to it.
fn replace_lazily(path: &Path, text: &[u8]) -> io::Result<()> {
    let (fresh, _) = write_beside(path, text)?;
    fs::rename(fresh, path)
}

fn write_beside(path: &Path, text: &[u8]) -> io::Result<(PathBuf, File)> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    Ok((fresh, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_tells_of_the_most_counts() {
        let folder = tempfile::tempdir().unwrap();
        let also = folder.path().join("elsewhere");
        let places = Places::new(&folder.path().join("ledger.db"), Some(also.clone()));
        assert_eq!(places.read(), None);
        let counterfoil = |rows| Counterfoil { ledger: "l".into(), rows, last: "j".into() };
        places.write(&counterfoil(0));
        assert_eq!(places.read(), None, "a ledger that had no record is no loss");
        places.write(&counterfoil(3));
        replace(&also, &serde_json::to_vec(&counterfoil(2)).unwrap()).unwrap();
        assert_eq!(places.read(), Some(counterfoil(3)));
        fs::write(folder.path().join("ledger.db-counterfoil"), "{").unwrap();
        assert_eq!(places.read(), Some(counterfoil(2)));
        places.keep_checkpoint("note");
        assert_eq!(places.checkpoints(), ["note", "note"]);
        places.remove().unwrap();
        assert_eq!(places.read(), None);
        assert!(places.checkpoints().is_empty());
    }
}
