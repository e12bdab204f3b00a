//! The guest's system: built by `guest/build`, kept until its recipe changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use crate::programs::say;

/// Where the recipe stands.
const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest");

/// A folder with `vmlinuz`, `initrd` and `system.img`.
#[derive(Clone, Debug)]
pub struct Image {
    folder: PathBuf,
}

/// A lock on a folder of the cache: two builds at once would be one too many.
pub(crate) fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder)?;
    let file = File::create(folder.join("lock"))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// A short name for contents.
pub(crate) fn name_of(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn hash_folder(folder: &Path, hash: &mut Sha256) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for path in entries {
        hash.update(path.strip_prefix(RECIPE).unwrap_or(&path).to_string_lossy().as_bytes());
        if path.is_dir() {
            hash_folder(&path, hash)?;
        } else {
            hash.update(fs::read(&path)?);
        }
    }
    Ok(())
}

impl Image {
    /// The image of today's recipe below `cache`; built if it is not there. Images of older recipes go.
    ///
    /// # Errors
    /// The recipe fails; what it said went to standard error.
    pub fn built(cache: &Path) -> Result<Self> {
        let _lock = lock(cache)?;
        let mut hash = Sha256::new();
        hash_folder(Path::new(RECIPE), &mut hash).context("read the guest's recipe")?;
        let name = format!("guest-{}", name_of(hash));
        let folder = cache.join(&name);
        if folder.exists() {
            return Ok(Self { folder });
        }
        for entry in fs::read_dir(cache)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("guest-") {
                fs::remove_dir_all(entry.path())?;
            }
        }
        say("a Debian is built for the guest (three to five minutes, once)");
        let making = cache.join("guest-making");
        fs::create_dir_all(&making)?;
        let status = Command::new(format!("{RECIPE}/build"))
            .arg(&making)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("start the guest's recipe")?;
        ensure!(status.success(), "the guest's recipe failed ({status}): {RECIPE}/build");
        fs::rename(making, &folder)?;
        Ok(Self { folder })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
