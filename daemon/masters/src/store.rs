//! The folder in which masters are kept: they are found by recipe, checked before use, and kept under a budget.
//!
//! `masters/<id>/` holds one master, `press-<id>` one that is being pressed. A master exists from the moment when its
//! folder is renamed to the former, so a press that fails or is killed leaves nothing that could be taken for a master.
//! The folder is locked: two stations cannot share a store.
//!
//! Presses run under an account of their own, so what they leave is not trusted to be what it seems: [`takeover`].

mod takeover;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use model::account::Account;
use model::code::FailureCode;
use model::digest::Digest;
use model::hint::Hint;
use model::manifest::{Chunk, Manifest, MasterId, Recipe};
use model::media::Stamp;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, getrlimit};

use model::units::Bytes;

use crate::{IMAGE_FILE, MANIFEST_FILE, image, stamp};

pub use takeover::{Staging, Taken};

/// A master that is known to be whole.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Master {
    pub manifest: Manifest,
    /// Open for reading. It stays readable if the master is removed from the store.
    pub image: File,
    /// The image's stamp when it was found whole.
    pub stamp: Stamp,
}

impl Master {
    /// Whether nobody has written to the image since it was found whole. If the medium below the store changes, this
    /// does not show it.
    ///
    /// # Errors
    /// If the kernel does not give the image's stamp.
    pub fn is_unwritten(&self) -> io::Result<bool> {
        let now = stamp::of(&self.image)?;
        // Not the whole stamp: that changes, too, when the master is removed from the store.
        Ok((now.size, now.modified_ns) == (self.stamp.size, self.stamp.modified_ns))
    }
}

/// A store, or a master in it, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    /// `path` is the store's folder, or a file or folder in it.
    #[error("store {path}: cannot {doing}")]
    Io {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("store {0}: another prestaged uses it")]
    Locked(PathBuf),
    /// `chunk` is the first whose digest differs.
    #[error("master {id} is damaged: its {} are not what was pressed", chunk.range())]
    Damaged { id: MasterId, chunk: Chunk },
    /// The press has left something else than an image file of its own.
    #[error("{path}, left by the press, cannot be taken over: it {what}")]
    NotTaken { path: PathBuf, what: String },
    /// The manifest or the image is missing, cut off, or contradicts itself.
    #[error("master {id} is damaged")]
    Unreadable {
        id: MasterId,
        #[source]
        source: io::Error,
    },
    /// `needed` is an estimate.
    #[error("store {path}: {free} are free, a master needs about {needed}")]
    Full { path: PathBuf, free: Bytes, needed: Bytes },
    /// `needed` is an estimate; `used` is held by masters that must not be removed.
    #[error(
        "a master of {needed} does not fit the store's budget of {budget}: masters in use hold {used}"
    )]
    Budget { needed: Bytes, budget: Bytes, used: Bytes },
}

impl StoreError {
    /// The code under which the failure is reported.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                FailureCode::StoreFull
            }
            Self::Io { .. } | Self::Locked(_) => FailureCode::StoreError,
            Self::Damaged { .. } | Self::Unreadable { .. } => FailureCode::MasterDamaged,
            Self::Budget { .. } => FailureCode::StoreBudget,
            Self::Full { .. } => FailureCode::StoreFull,
            Self::NotTaken { .. } => FailureCode::PressFailed,
        }
    }
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { .. } => {
                "check that the folder exists, is writable and has space (store.path)"
            }
            Self::Locked(_) => "give each station a store of its own (store.path)",
            Self::Full { .. } => {
                "make room, or move the store to a larger file system (store.path)"
            }
            Self::Budget { .. } => "raise store.budget, or wait until running drives are done",
            Self::NotTaken { .. } => {
                "find out which process of the user tools.user has put it there; nothing of it was used"
            }
            // The station presses such a master anew by itself.
            Self::Damaged { .. } | Self::Unreadable { .. } => return None,
        };
        Some(hint.into())
    }
}

/// A line of the list of masters.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Listed {
    pub id: MasterId,
    pub recipe: Recipe,
    /// Bytes that are written to a drive.
    pub payload: Bytes,
    /// Bytes that the image takes up in the store; fewer than its length, because it has holes.
    pub allocated: Bytes,
    /// The manifest's root digest.
    pub root: Digest,
    /// When the master was last opened.
    pub used: SystemTime,
}

/// Reads the manifest in a master's folder.
///
/// # Errors
/// If the file cannot be read; of kind `InvalidData` if it is not a manifest of this format or contradicts itself.
fn load(folder: &Path) -> io::Result<Manifest> {
    Manifest::parse(&fs::read(folder.join(MANIFEST_FILE))?)
}

/// The largest file that the file system of a folder takes, found by trying: no system call tells it, and it depends on
/// more than the kind of file system (ext4: on the size of its blocks). An empty file is made as long as it can be; that
/// takes no space.
fn largest_file(folder: &Path) -> io::Result<Bytes> {
    let path = folder.join("sizes");
    let file = File::create(&path)?;
    fs::remove_file(&path)?;
    // Beyond the limit of the process, the kernel would not refuse but end it.
    let allowed = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let (mut most, mut beyond) = (0, allowed.min(i64::MAX.unsigned_abs()).saturating_add(1));
    while beyond - most > 1 {
        let size = most + (beyond - most) / 2;
        match file.set_len(size) {
            Ok(()) => most = size,
            Err(_) => beyond = size,
        }
    }
    Ok(Bytes(most))
}

/// The folder of masters, locked by this station.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    budget: Bytes,
    lock: File,
    largest_file: Bytes,
    /// The account of the press workers, if it is not the station's own.
    presser: Option<Account>,
    /// The images that have been checked since the station started, with the stamps that they had then.
    checked: Mutex<HashMap<MasterId, Stamp>>,
}

impl Store {
    /// Opens the store, creates its folder if it is missing, and removes the remains of interrupted presses. `presser`
    /// is the account of the press workers, if it is not the station's own.
    ///
    /// # Errors
    /// [`StoreError`] if the folder is not writable or another station has locked it.
    pub fn open(path: &Path, budget: Bytes, presser: Option<Account>) -> Result<Self, StoreError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, doing, source }
        };
        fs::create_dir_all(path.join("masters")).map_err(failed("create it"))?;
        let lock = File::create(path.join("lock")).map_err(failed("write to it"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Locked(path.to_owned()))?;
        let largest_file = largest_file(path).map_err(failed("try sizes of files in it"))?;
        let checked = Mutex::default();
        let store = Self { path: path.to_owned(), budget, lock, largest_file, presser, checked };
        store.tidy()?;
        Ok(store)
    }

    /// The largest file that the store can hold; holes count.
    pub fn largest_file(&self) -> Bytes {
        self.largest_file
    }

    /// Lets another station use the store, even if this process cannot end yet.
    pub fn unlock(&self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!(store = %self.path.display(), %error, "cannot unlock the store");
        }
    }

    fn folder(&self, id: &MasterId) -> PathBuf {
        self.path.join("masters").join(&id.0)
    }

    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { path, doing, source }
    }

    fn unreadable(id: &MasterId) -> impl FnOnce(io::Error) -> StoreError {
        let id = id.clone();
        move |source| StoreError::Unreadable { id, source }
    }

    /// Removes the remains of interrupted presses, and masters that this program cannot read: those can be pressed
    /// anew.
    fn tidy(&self) -> Result<(), StoreError> {
        self.clear_presses()?;
        for folder in self.entries(&self.path.join("masters"))? {
            if let Err(error) = load(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "removing a master that cannot be read");
                self.discard(&folder)?;
            }
        }
        Ok(())
    }

    /// Removes the folders of all presses. Presses run one at a time.
    ///
    /// # Errors
    /// [`StoreError::Io`] if one cannot be removed.
    pub fn clear_presses(&self) -> Result<(), StoreError> {
        for path in self.entries(&self.path)? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("press-")) {
                self.discard(&path)?;
            }
        }
        Ok(())
    }

    fn entries(&self, folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
        };
        list().map_err(Self::io(folder, "list it"))
    }

    /// Removes a folder of the store, if it exists.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be removed.
    pub fn discard(&self, folder: &Path) -> Result<(), StoreError> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Self::io(folder, "remove it")(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes an image that was taken over into a master, and opens that. The station has just hashed the image, so it
    /// counts as checked.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the store cannot be written, [`StoreError::Unreadable`] if the manifest cannot be read
    /// back.
    pub fn keep(&self, taken: Taken, manifest: &Manifest) -> Result<Arc<Master>, StoreError> {
        let (id, folder) = (&manifest.id, self.folder(&manifest.id));
        let Taken { path, image } = taken;
        let text = serde_json::to_vec(manifest)
            .map_err(|error| Self::io(&path, "write the manifest")(error.into()))?;
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path.join(MANIFEST_FILE))
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| image.sync_all())
            .and_then(|()| File::open(&path)?.sync_all())
            .map_err(Self::io(&path, "write the manifest"))?;
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Self::io(&folder, "replace it"))?;
        }
        fs::rename(&path, &folder).map_err(Self::io(&folder, "rename it"))?;
        let parent = self.path.join("masters");
        File::open(&parent).and_then(|f| f.sync_all()).map_err(Self::io(&parent, "flush it"))?;
        let manifest = load(&folder).map_err(Self::unreadable(id))?;
        let stamp = stamp::of(&image).map_err(Self::unreadable(id))?;
        self.checked().insert(id.clone(), stamp);
        Ok(Arc::new(Master { manifest, image, stamp }))
    }

    /// Opens a master for use; `None` if there is none with this ID. The first time since the station started, and
    /// whenever its file has changed, the whole image is hashed, so that damage shows before any drive is touched.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Unreadable`] if the master is not whole, [`StoreError::Io`] if its last
    /// use cannot be noted.
    pub fn load(&self, id: &MasterId) -> Result<Option<Arc<Master>>, StoreError> {
        let folder = self.folder(id);
        let manifest = match load(&folder) {
            Ok(manifest) => manifest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Self::unreadable(id)(error)),
        };
        let path = folder.join(IMAGE_FILE);
        let image = File::open(&path).map_err(Self::unreadable(id))?;
        let stamp = stamp::of(&image).map_err(Self::io(&path, "query it"))?;
        let known = self.checked().get(id).copied();
        if known != Some(stamp) {
            tracing::info!(master = %id, "checking the stored master against its digests");
            let damage = image::damage(&manifest, &image).map_err(Self::unreadable(id))?;
            if let Some(chunk) = damage {
                return Err(StoreError::Damaged { id: id.clone(), chunk });
            }
            self.checked().insert(id.clone(), stamp);
        }
        let now = fs::FileTimes::new().set_modified(SystemTime::now());
        let touched = File::open(folder.join(MANIFEST_FILE)).and_then(|f| f.set_times(now));
        touched.map_err(Self::io(&folder, "mark its last use"))?;
        Ok(Some(Arc::new(Master { manifest, image, stamp })))
    }

    /// Has a master's image hashed again before its next use: a drive was given bytes that are not those that were
    /// pressed. If the master has been pressed anew meanwhile, nothing changes.
    pub fn doubt(&self, master: &Master) {
        let same = |known: &Stamp| {
            (known.device, known.inode) == (master.stamp.device, master.stamp.inode)
        };
        let id = &master.manifest.id;
        let mut checked = self.checked();
        if checked.get(id).is_some_and(same) {
            checked.remove(id);
        }
    }

    /// Removes a master; returns whether there was one. Drives that are being written from the master keep its image
    /// open.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the master cannot be removed.
    pub fn remove(&self, id: &MasterId) -> Result<bool, StoreError> {
        let folder = self.folder(id);
        if !folder.exists() {
            return Ok(false);
        }
        self.checked().remove(id);
        // The manifest goes first: without a manifest, a folder is no master.
        match fs::remove_file(folder.join(MANIFEST_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Self::io(&folder, "remove it")(error));
            }
            _ => {}
        }
        self.discard(&folder)?;
        Ok(true)
    }

    /// Every readable master, the most recently used first.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the store's folder cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let parent = self.path.join("masters");
        let mut all = Vec::new();
        for folder in self.entries(&parent)? {
            let manifest = match load(&folder) {
                Ok(manifest) => manifest,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "skipping a master that cannot be read");
                    continue;
                }
            };
            let allocated = fs::metadata(folder.join(IMAGE_FILE)).map_or(0, |m| m.blocks() * 512);
            let used = fs::metadata(folder.join(MANIFEST_FILE))
                .and_then(|m| m.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH);
            all.push(Listed {
                payload: manifest.payload(),
                id: manifest.id,
                recipe: manifest.recipe,
                allocated: Bytes(allocated),
                root: manifest.root_sha256,
                used,
            });
        }
        all.sort_by_key(|master| std::cmp::Reverse(master.used));
        Ok(all)
    }

    /// Removes masters until one of about `needed` bytes fits the budget: the least recently used first, those in
    /// `in_use` never.
    ///
    /// # Errors
    /// [`StoreError::Budget`] if the masters in use leave too little.
    pub fn make_room(&self, needed: Bytes, in_use: &HashSet<MasterId>) -> Result<(), StoreError> {
        let mut listed = self.list()?;
        let mut held: u64 = listed.iter().map(|m| m.allocated.0).sum();
        while held.saturating_add(needed.0) > self.budget.0 {
            let Some(at) = listed.iter().rposition(|m| !in_use.contains(&m.id)) else {
                let used = Bytes(held);
                return Err(StoreError::Budget { needed, budget: self.budget, used });
            };
            let victim = listed.remove(at);
            tracing::info!(master = %victim.id, "removing the least recently used master to stay in the store's budget");
            self.remove(&victim.id)?;
            held -= victim.allocated.0;
        }
        Ok(())
    }

    /// Checks that the store's file system has room for about `needed` more bytes.
    ///
    /// # Errors
    /// [`StoreError::Full`] if it does not.
    pub fn check_space(&self, needed: Bytes) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| Self::io(&self.path, "query it")(e.into()))?;
        let free = Bytes(stat.f_bavail.saturating_mul(stat.f_frsize));
        if free < needed {
            return Err(StoreError::Full { path: self.path.clone(), free, needed });
        }
        Ok(())
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<MasterId, Stamp>> {
        self.checked.lock()
    }
}
