//! Which lamps belong to which bay, kept on disk: what was lit must be switched off after a crash, too, and a bay whose
//! drive is gone must keep its lamps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use model::lamp::Place;
use serde::{Deserialize, Serialize};

/// No machine has more; a file that grows for ever is not a memory.
const MOST: usize = 1024;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    /// The lamps of each bay, as a drive in it has shown them last.
    pub(crate) bays: BTreeMap<String, Place>,
    /// All lamps that this program has ever used.
    pub(crate) places: BTreeSet<Place>,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct Memory {
    file: PathBuf,
    pub(crate) known: Known,
    /// What is in the file.
    kept: Known,
    complained: bool,
}

impl Memory {
    /// Reads the file. One that cannot be read is as good as none: lamps are found again by the drives in their bays.
    pub(crate) fn open(file: &Path) -> Self {
        let known = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{} is made anew: {error}", file.display());
                Known::default()
            }),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!("cannot read {}: {error}", file.display());
                }
                Known::default()
            }
        };
        Self { file: file.to_owned(), kept: known.clone(), known, complained: false }
    }

    /// Notes that a bay has these lamps.
    pub(crate) fn note(&mut self, bay: &str, place: &Place, is_learned: bool) {
        if self.known.places.len() < MOST {
            self.known.places.insert(place.clone());
        }
        if is_learned && self.known.bays.len() < MOST {
            self.known.bays.insert(bay.to_owned(), place.clone());
        }
    }

    /// Writes down what has been noted, before a lamp is lit that it is about.
    pub(crate) fn keep(&mut self) {
        if self.known == self.kept {
            return;
        }
        match self.write() {
            Ok(()) => (self.kept, self.complained) = (self.known.clone(), false),
            Err(error) if !self.complained => {
                let file = self.file.display();
                tracing::warn!(
                    "cannot write {file}, so a lamp may stay lit after a crash: {error}"
                );
                self.complained = true;
            }
            Err(_) => {}
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(&self.known)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)
    }
}
