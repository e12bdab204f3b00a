//! The manifests of all masters that drives were written from, also of those that the store has given up: a drive that
//! comes back is compared with the digests in its manifest. They are small, some megabytes for a master of 20 GB.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use model::digest::Digest;
use model::manifest::{Manifest, MasterId};
use model::record::MasterRef;

use crate::marker;

/// What all of them may take up; the oldest go first.
const BUDGET: u64 = 512 << 20;

/// How the name of every file in the folder ends.
const ENDING: &str = ".manifest";

/// The folder of manifests.
#[derive(Debug)]
pub(crate) struct Manifests(PathBuf);

impl Manifests {
    pub(crate) fn new(store: &Path) -> Self {
        Self(store.join(marker::MANIFESTS))
    }

    /// A master that is pressed anew has other bytes under the same name, so its root digest is part of the file's.
    fn file(&self, id: &MasterId, root: &Digest) -> PathBuf {
        self.0.join(format!("{id}-{root}{ENDING}"))
    }

    /// Keeps a copy, durable when this returns.
    pub(crate) fn keep(&self, manifest: &Manifest) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let path = self.file(&manifest.id, &manifest.root_sha256);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(manifest)?)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.0)?.sync_all()?;
        self.tidy(&path)
    }

    /// Keeps a copy, or makes the one that there is the newest: what drives still pass with goes last.
    pub(crate) fn remember(&self, manifest: &Manifest) -> io::Result<()> {
        let now = fs::FileTimes::new().set_modified(SystemTime::now());
        match File::open(self.file(&manifest.id, &manifest.root_sha256)) {
            Ok(kept) => kept.set_times(now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.keep(manifest),
            Err(error) => Err(error),
        }
    }

    /// Removes the oldest copies beyond the budget, but not `newest`.
    fn tidy(&self, newest: &Path) -> io::Result<()> {
        let mut all: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let own = entry.file_name().to_string_lossy().ends_with(ENDING) && meta.is_file();
            if own && entry.path() != newest {
                all.push((meta.modified()?, meta.len(), entry.path()));
            }
        }
        all.sort();
        let mut total =
            fs::metadata(newest)?.len() + all.iter().map(|(_, size, _)| size).sum::<u64>();
        for (_, size, path) in all {
            if total <= BUDGET {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }

    pub(crate) fn find(&self, master: &MasterRef) -> Option<Manifest> {
        let known = master.id.is_valid();
        let text = known.then(|| fs::read(self.file(&master.id, &master.root_sha256)))?.ok()?;
        Manifest::parse(&text).ok()
    }
}
