//! The folder in which masters are kept: they are found by recipe, checked before use, and kept under a budget.
//!
//! `masters/<id>/` holds one master, `press-<id>` one that is being pressed. A master exists from the moment when its
//! folder is renamed to the former, so a press that fails or is killed leaves nothing that could be taken for a master.
//! `manifests/` keeps the manifests of masters that are gone, because drives are recognised by them.
//! The folder is locked: two stations cannot share a store. Only what [`crate::marker`] knows as the store's own is ever
//! removed.
//!
//! Presses run under an account of their own, so what they leave is not trusted to be what it seems: [`takeover`].

mod error;
mod room;
mod takeover;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use model::account::Account;
use model::digest::{Digest, HashPaths};
use model::manifest::{Manifest, MasterId};
use model::media::Stamp;
use model::record::MasterRef;
use model::units::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::{Resource, getrlimit};

use crate::layers::Image;
use crate::manifests::Manifests;
use crate::{IMAGE_FILE, MANIFEST_FILE, image, marker, stamp};

pub use error::StoreError;
pub use room::Listed;
pub use takeover::{Staging, Taken};

/// A master that is known to be whole.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Master {
    pub manifest: Manifest,
    /// Open for reading. It stays readable if the master is removed from the store.
    pub image: Image,
    /// The stamp of the image's own file when it was found whole.
    pub stamp: Stamp,
}

impl Master {
    /// Whether nobody has written to the image since it was found whole. If the medium below the store changes, this
    /// does not show it.
    ///
    /// # Errors
    /// If the kernel does not give the image's stamp.
    pub fn is_unwritten(&self) -> io::Result<bool> {
        let own = stamp::is_unwritten(self.image.own(), &self.stamp)?;
        Ok(own && self.image.is_base_unwritten()?)
    }
}

/// Reads the manifest in a master's folder.
///
/// # Errors
/// If the file cannot be read; of kind `InvalidData` if it is not a manifest of this format, contradicts itself, or is of
/// another master than the folder's name says: a master is looked for by name, and drives would get another media.
fn load(folder: &Path) -> io::Result<Manifest> {
    let manifest = Manifest::parse(&fs::read(folder.join(MANIFEST_FILE))?)?;
    if folder.file_name().is_none_or(|name| name != manifest.id.0.as_str()) {
        let message = format!("the manifest is that of master {}", manifest.id);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(manifest)
}

/// Opens the file that is locked, and makes it if it is missing; what it holds is left alone.
fn lock_file(path: &Path) -> io::Result<File> {
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::from(0o600))?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// The largest file that the file system of a folder takes, found by trying: no system call tells it, and it depends on
/// more than the kind of file system (ext4: on the size of its blocks). An empty file without a name is made as long as
/// it can be; that takes no space.
fn largest_file(folder: &Path) -> io::Result<Bytes> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(folder, flags, Mode::from(0o600))?);
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

/// An image that was found to be as a manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checked {
    /// The image's stamp then.
    stamp: Stamp,
    /// The seal of the manifest, which can be exchanged while the image stays.
    seal: Digest,
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
    /// How images are hashed.
    paths: HashPaths,
    manifests: Manifests,
    /// What has been checked since the station started.
    checked: Mutex<HashMap<MasterId, Checked>>,
}

impl Store {
    /// Opens the store, creates its folder if it is missing, and removes the remains of interrupted presses. `presser`
    /// is the account of the press workers, if it is not the station's own; images are hashed on `paths`.
    ///
    /// # Errors
    /// [`StoreError`] if the folder is not writable, another station has locked it, or it holds other things and no
    /// marker of ours; nothing in it is changed then.
    pub fn open(
        path: &Path,
        budget: Bytes,
        presser: Option<Account>,
        paths: HashPaths,
    ) -> Result<Self, StoreError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, doing, source }
        };
        fs::create_dir_all(path).map_err(failed("create it"))?;
        if let Err(marker::Foreign(others)) = marker::claim(path).map_err(failed("mark it"))? {
            let inside =
                |other: PathBuf| other.strip_prefix(path).map_or(other.clone(), Into::into);
            let others = others.into_iter().map(inside).collect();
            return Err(StoreError::NotOurs { path: path.to_owned(), others });
        }
        let masters = path.join(marker::MASTERS);
        if !marker::is_folder(&masters) {
            fs::create_dir(&masters).map_err(failed("write to it"))?;
        }
        // Masters hold all that the media holds, and only the station reads them.
        let own = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&masters, own).map_err(failed("close it to others"))?;
        let lock = lock_file(&path.join(marker::LOCK)).map_err(failed("write to it"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Locked(path.to_owned()))?;
        let largest_file = largest_file(path).map_err(failed("try sizes of files in it"))?;
        let checked = Mutex::default();
        let manifests = Manifests::new(path);
        let path = path.to_owned();
        let store = Self { path, budget, lock, largest_file, presser, paths, manifests, checked };
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
        self.path.join(marker::MASTERS).join(&id.0)
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
        for folder in self.masters()? {
            if let Err(error) = load(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "removing a master that cannot be read");
                self.discard(&folder)?;
            }
        }
        for path in marker::strangers(&self.path).map_err(Self::io(&self.path, "list it"))? {
            tracing::warn!(
                path = %path.display(),
                "{} lies in the store and is not the store's; it is left alone",
                path.display()
            );
        }
        Ok(())
    }

    /// Removes the folders of all presses. Presses run one at a time.
    ///
    /// # Errors
    /// [`StoreError::Io`] if one cannot be removed.
    pub fn clear_presses(&self) -> Result<(), StoreError> {
        for path in self.entries(&self.path)?.iter().filter(|path| marker::is_press(path)) {
            // One that was made and not marked before the station was killed is empty; a folder with anything in it
            // stays.
            if marker::is_folder(path) && fs::remove_dir(path).is_err() && marker::is_marked(path) {
                self.discard(path)?;
            }
        }
        Ok(())
    }

    fn entries(&self, folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
        marker::entries(folder).map_err(Self::io(folder, "list it"))
    }

    /// The folders of all masters.
    fn masters(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut masters = self.entries(&self.path.join(marker::MASTERS))?;
        masters.retain(|path| marker::is_master(path));
        Ok(masters)
    }

    /// Removes the folder of a press or a master, if it exists. One that is not marked is left alone.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be removed.
    pub fn discard(&self, folder: &Path) -> Result<(), StoreError> {
        if !marker::is_marked(folder) {
            if fs::symlink_metadata(folder).is_ok() {
                let path = folder.display();
                tracing::warn!(%path, "{path} is left alone: it has no marker of the store any more");
            }
            return Ok(());
        }
        match marker::remove(folder) {
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
        // What was derived from another press of the same recipe has other bytes below.
        self.remove_derived(id)?;
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
        if marker::is_master(&folder) {
            self.discard(&folder)?;
        } else if fs::symlink_metadata(&folder).is_ok() {
            return Err(StoreError::InTheWay { path: folder });
        }
        fs::rename(&path, &folder).map_err(Self::io(&folder, "rename it"))?;
        let parent = self.path.join(marker::MASTERS);
        File::open(&parent).and_then(|f| f.sync_all()).map_err(Self::io(&parent, "flush it"))?;
        let manifest = load(&folder).map_err(Self::unreadable(id))?;
        if let Err(error) = self.manifests.keep(&manifest) {
            // Only drives written from a master that is gone by then cannot be recognised.
            tracing::warn!(master = %id, %error, "cannot keep the manifest of master {id}");
        }
        let stamp = stamp::of(&image).map_err(Self::unreadable(id))?;
        self.checked().insert(id.clone(), Checked { stamp, seal: manifest.seal_sha256 });
        match self.below(&manifest, image)? {
            Some((image, _)) => Ok(Arc::new(Master { manifest, image, stamp })),
            None => Err(StoreError::Baseless { id: id.clone() }),
        }
    }

    /// The image of a master with this file of its own, and the base's manifest if it is a derived one; `None` if it is one
    /// whose base is gone.
    fn below(
        &self,
        manifest: &Manifest,
        own: File,
    ) -> Result<Option<(Image, Option<Manifest>)>, StoreError> {
        let (Some(base), Some(recipe)) = (&manifest.base, manifest.base_recipe()) else {
            return Ok(Some((own.into(), None)));
        };
        let Some(below) = self.load(&recipe.id())? else { return Ok(None) };
        if below.manifest.base.is_some() || below.manifest.root_sha256 != base.root_sha256 {
            return Ok(None);
        }
        let failed = Self::unreadable(&manifest.id);
        let moved = manifest.moved().unwrap_or_default();
        let file = below.image.own().try_clone();
        let image = file.and_then(|file| Image::derived(own, file, moved, &base.own));
        Ok(Some((image.map_err(failed)?, Some(below.manifest.clone()))))
    }

    /// Opens a master for use; `None` if there is none with this ID. The first time since the station started, and
    /// whenever its image or its manifest has changed, the whole image is hashed, so that damage shows before any drive is
    /// touched.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Unreadable`] if the master is not whole, [`StoreError::Io`] if its last
    /// use cannot be noted.
    pub fn load(&self, id: &MasterId) -> Result<Option<Arc<Master>>, StoreError> {
        let folder = self.folder(id);
        let manifest = match load(&folder) {
            Ok(_) if !marker::is_master(&folder) => return Ok(None),
            Ok(manifest) => manifest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Self::unreadable(id)(error)),
        };
        let path = folder.join(IMAGE_FILE);
        let image = File::open(&path).map_err(Self::unreadable(id))?;
        let stamp = stamp::of(&image).map_err(Self::io(&path, "query it"))?;
        let Some((image, below)) = self.below(&manifest, image)? else {
            tracing::warn!(master = %id, "the base of master {id} is gone, so it is derived anew");
            return Ok(None);
        };
        let checked = Checked { stamp, seal: manifest.seal_sha256 };
        if self.checked().get(id) != Some(&checked) {
            tracing::info!(master = %id, "checking the stored master against its digests");
            let damage = match &below {
                None => image::damage(&manifest, &image, &self.paths),
                Some(below) => image::damage_derived(&manifest, below, &image, &self.paths),
            };
            let damage = damage.map_err(Self::unreadable(id))?;
            if let Some(chunk) = damage {
                return Err(StoreError::Damaged { id: id.clone(), chunk });
            }
            self.checked().insert(id.clone(), checked);
        }
        let now = fs::FileTimes::new().set_modified(SystemTime::now());
        let touched = File::open(folder.join(MANIFEST_FILE)).and_then(|f| f.set_times(now));
        touched.map_err(Self::io(&folder, "mark its last use"))?;
        Ok(Some(Arc::new(Master { manifest, image, stamp })))
    }

    /// Has a master's image hashed again before its next use: a drive was given bytes that are not those that were
    /// pressed. If the master has been pressed anew meanwhile, nothing changes.
    pub fn doubt(&self, master: &Master) {
        let same = |known: &Checked| {
            let Checked { stamp, .. } = known;
            (stamp.device, stamp.inode) == (master.stamp.device, master.stamp.inode)
        };
        let id = &master.manifest.id;
        let mut checked = self.checked();
        if checked.get(id).is_some_and(same) {
            checked.remove(id);
            if let Some(base) = master.manifest.base_recipe() {
                checked.remove(&base.id());
            }
        }
    }

    /// Keeps the manifest of a drive that has passed, or notes that it was of use just now: by it the drive is recognised
    /// when it comes back, and compared with what it was given, also when the master is gone.
    pub fn remember(&self, manifest: &Manifest) {
        if let Err(error) = self.manifests.remember(manifest) {
            let id = &manifest.id;
            tracing::warn!(master = %id, %error, "cannot keep the manifest of master {id}");
        }
    }

    /// The manifest that a drive was written by, also if the master is not in the store any more; `None` if it is lost,
    /// or was written by a program of another format.
    pub fn manifest_of(&self, master: &MasterRef) -> Option<Manifest> {
        let same = |manifest: &Manifest| manifest.root_sha256 == master.root_sha256;
        let live = master.id.is_valid().then(|| load(&self.folder(&master.id)).ok()).flatten();
        live.filter(same).or_else(|| self.manifests.find(master).filter(same))
    }

    /// Removes a master, and those that are derived from it; returns whether there was one. Drives that are being written from the master keep its image
    /// open.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the master cannot be removed.
    pub fn remove(&self, id: &MasterId) -> Result<bool, StoreError> {
        let folder = self.folder(id);
        if !marker::is_master(&folder) {
            return Ok(false);
        }
        self.remove_derived(id)?;
        self.checked().remove(id);
        self.discard(&folder)?;
        Ok(true)
    }

    /// Removes the masters that are derived from this one.
    fn remove_derived(&self, id: &MasterId) -> Result<(), StoreError> {
        for master in self.list()?.iter().filter(|master| master.base.as_ref() == Some(id)) {
            self.checked().remove(&master.id);
            self.discard(&self.folder(&master.id))?;
        }
        Ok(())
    }

    fn checked(&self) -> MutexGuard<'_, HashMap<MasterId, Checked>> {
        self.checked.lock()
    }
}
