//! The way of an image from its presser to the store.
//!
//! A press runs under an account of its own and reads media from outside, so what it leaves may be anything: a link to
//! somebody's private file, a second name for the image, a FIFO, a folder full of them. So nothing but the image is
//! taken, and that only after the folder belongs to the station, through a descriptor that follows no link, and if it
//! is a regular file of the presser with one name. It is moved into a folder of the station's own; everything else that
//! the press has left is removed.
//!
//! Who opened the image for writing before can still write to it. Whether there is somebody is for the caller to find
//! out (`media::lease`) before it believes a byte of it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use model::account::Account;
use model::manifest::MasterId;
use model::units::Bytes;
use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, openat, renameat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{Store, StoreError};
use crate::{IMAGE_FILE, marker};

/// A folder to press into. It is kept open, so that it stays the same folder whatever happens to its name.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    folder: File,
}

impl Staging {
    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An image that was taken over from its press, in a folder that only the station can change.
#[derive(Debug)]
pub struct Taken {
    pub(super) path: PathBuf,
    /// The image, open for reading.
    pub image: File,
}

impl Store {
    /// Creates a folder to press into, with nothing but the marker in it. Presses run one at a time, so any other such
    /// folder is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be created.
    pub fn staging(&self, id: &MasterId) -> Result<Staging, StoreError> {
        self.clear_presses()?;
        let path = self.unused(&format!("press-{id}"));
        let io = |doing| Self::io(&path, doing);
        marker::create(&path).map_err(io("create it"))?;
        let folder = File::open(&path).map_err(io("open it"))?;
        if let Some(Account { uid, gid }) = self.presser {
            chown(&path, Some(uid), Some(gid)).map_err(io("give it away"))?;
        }
        Ok(Staging { path, folder })
    }

    /// Takes over the image of `size` bytes that a press has left. From now on only who had opened it before can
    /// change it.
    ///
    /// # Errors
    /// [`StoreError::NotTaken`] if there is something else in its place, [`StoreError::Io`] if the store cannot be
    /// changed.
    pub fn take_over(
        &self,
        staging: &Staging,
        id: &MasterId,
        size: Bytes,
    ) -> Result<Taken, StoreError> {
        let Staging { path, folder } = staging;
        let io = |doing| {
            let place = Self::io(path, doing);
            move |errno: Errno| place(errno.into())
        };
        // Without the folder, the presser can no longer put anything else in the image's place.
        self.take(folder, Mode::RWXU).map_err(io("take it back"))?;
        let image_path = path.join(IMAGE_FILE);
        let not_taken = |what: String| StoreError::NotTaken { path: image_path.clone(), what };
        // O_NONBLOCK, because opening a FIFO waits for its writer otherwise.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let image = match openat(folder, IMAGE_FILE, flags, Mode::empty()) {
            Err(Errno::LOOP) => return Err(not_taken("is a link".into())),
            other => other.map_err(io("open the image"))?,
        };
        let owner = self.presser.map_or(geteuid().as_raw(), |account| account.uid);
        let look = || fstat(&image).map_err(io("query the image"));
        let wrong = |stat: &Stat, owner| objection(stat, owner, size);
        if let Some(what) = wrong(&look()?, owner) {
            return Err(not_taken(what));
        }
        self.take(&image, Mode::RUSR | Mode::WUSR).map_err(io("take the image"))?;
        // A second name that was made meanwhile leads to a file that is the station's own, but why is there one?
        let new_owner = if self.presser.is_some() { 0 } else { owner };
        if let Some(what) = wrong(&look()?, new_owner) {
            return Err(not_taken(what));
        }
        let own = self.path.join(format!("press-{id}-image"));
        marker::create(&own).map_err(Self::io(&own, "create it"))?;
        renameat(folder, IMAGE_FILE, CWD, own.join(IMAGE_FILE)).map_err(io("move the image"))?;
        // The presser may have removed the marker, so here the descriptor proves that it is the folder that was made.
        let made = folder.metadata().map_err(Self::io(path, "query it"))?;
        let stands = fs::symlink_metadata(path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (made.dev(), made.ino()));
        if marker::is_marked(path) {
            self.discard(path)?;
        } else if stands {
            fs::remove_dir_all(path).map_err(Self::io(path, "remove it"))?;
        }
        Ok(Taken { path: own, image: image.into() })
    }

    /// A path in the store that nothing has, from this name on: something of others may have the name, or remains
    /// whose marker a worker has removed.
    fn unused(&self, name: &str) -> PathBuf {
        let plain = self.path.join(name);
        let more = (2..100).map(|count| self.path.join(format!("{name}-{count}")));
        let free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        [plain.clone()].into_iter().chain(more).find(free).unwrap_or(plain)
    }

    /// Makes a file or folder the station's own.
    fn take(&self, file: impl std::os::fd::AsFd, mode: Mode) -> rustix::io::Result<()> {
        if self.presser.is_some() {
            fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))?;
        }
        fchmod(&file, mode)
    }
}

/// What keeps a file from being the image that a press of `owner` has made.
fn objection(stat: &Stat, owner: u32, size: Bytes) -> Option<String> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Some("is not a regular file".into());
    }
    if stat.st_uid != owner {
        return Some(format!("belongs to user {}, not to {owner}", stat.st_uid));
    }
    if stat.st_nlink != 1 {
        return Some(format!("has {} names instead of one", stat.st_nlink));
    }
    if u64::try_from(stat.st_size) != Ok(size.0) {
        return Some(format!("has {} bytes instead of {}", stat.st_size, size.0));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use model::digest::{HashPath, HashPaths};
    use rustix::fs::{link, mknodat};

    use super::*;

    const SIZE: Bytes = Bytes(4096);

    fn store() -> (tempfile::TempDir, Store, MasterId) {
        let folder = tempfile::tempdir().unwrap();
        let paths = HashPaths::only(HashPath::Single);
        let store = Store::open(&folder.path().join("store"), Bytes::mib(1), None, paths).unwrap();
        (folder, store, MasterId("0123456789abcdef".into()))
    }

    /// Takes over what `leave` puts into the folder of a press.
    fn taken(leave: impl FnOnce(&Path, &Path)) -> Result<Taken, String> {
        let (folder, store, id) = store();
        let staging = store.staging(&id).unwrap();
        leave(staging.path(), folder.path());
        store.take_over(&staging, &id, SIZE).map_err(|error| error.to_string())
    }

    fn image(path: &Path) {
        File::create(path).unwrap().set_len(SIZE.0).unwrap();
    }

    #[test]
    fn only_the_image_is_taken() {
        let (_folder, store, id) = store();
        let staging = store.staging(&id).unwrap();
        image(&staging.path().join(IMAGE_FILE));
        fs::write(staging.path().join("manifest.json"), "forged").unwrap();
        let taken = store.take_over(&staging, &id, SIZE).unwrap();
        let names = marker::entries(&taken.path).unwrap();
        assert_eq!(names, [marker::MARKER, IMAGE_FILE].map(|name| taken.path.join(name)));
        assert!(!staging.path().exists());
    }

    #[test]
    fn what_is_no_image_of_its_own_is_not_taken() {
        let refused = |leave: fn(&Path, &Path), what: &str| {
            let error = taken(leave).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        refused(|_, _| (), "cannot open the image");
        refused(
            |staging, outside| {
                image(&outside.join("private"));
                symlink(outside.join("private"), staging.join(IMAGE_FILE)).unwrap();
            },
            "it is a link",
        );
        refused(
            |staging, outside| {
                image(&staging.join(IMAGE_FILE));
                link(staging.join(IMAGE_FILE), outside.join("second")).unwrap();
            },
            "it has 2 names instead of one",
        );
        refused(
            |staging, _| fs::create_dir(staging.join(IMAGE_FILE)).unwrap(),
            "it is not a regular file",
        );
        refused(
            |staging, _| {
                let (kind, mode) = (FileType::Fifo, Mode::RWXU);
                mknodat(CWD, staging.join(IMAGE_FILE), kind, mode, 0).unwrap();
            },
            "it is not a regular file",
        );
        refused(
            |staging, _| fs::write(staging.join(IMAGE_FILE), "short").unwrap(),
            "it has 5 bytes instead of 4096",
        );
    }

    /// The folder's name leads elsewhere, as it cannot while the store belongs to the station alone.
    #[test]
    fn the_folder_is_the_one_that_was_made() {
        let (folder, store, id) = store();
        let staging = store.staging(&id).unwrap();
        image(&staging.path().join(IMAGE_FILE));
        let away = folder.path().join("away");
        fs::rename(staging.path(), &away).unwrap();
        fs::create_dir(staging.path()).unwrap();
        symlink("/etc/passwd", staging.path().join(IMAGE_FILE)).unwrap();
        let taken = store.take_over(&staging, &id, SIZE).unwrap();
        assert_eq!(taken.image.metadata().unwrap().len(), SIZE.0);
    }

    #[test]
    fn somebody_else_s_file_is_refused_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        image(&path);
        let stat = rustix::fs::stat(&path).unwrap();
        assert_eq!(objection(&stat, stat.st_uid, SIZE), None);
        let what = objection(&stat, stat.st_uid + 1, SIZE).unwrap();
        assert!(what.starts_with("belongs to user"), "{what}");
    }
}
