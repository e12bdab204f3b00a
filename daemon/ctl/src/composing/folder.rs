//! The folder that a worker writes into: hidden, beside the result, and gone when the verb ends.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CommandError, exit, failed, name_of};

/// How often the folder is tried to be removed, and how long it is waited in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Held as long as the folder is in use, by a lock that ends with the process.
#[derive(Debug)]
pub(in super::super) struct WorkFolder {
    path: PathBuf,
    lock: File,
}

impl WorkFolder {
    /// Makes the folder for a result. What a run has left there that was killed is removed; a run that goes on is not
    /// disturbed.
    pub(in super::super) fn beside(target: &Path) -> Result<Self, CommandError> {
        let place = target.parent().unwrap_or(Path::new("/"));
        let path = place.join(format!(".{}.prestaged", name_of(target)));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failed("make a folder in", place, &error));
            }
            _ => {}
        }
        let about = path.symlink_metadata().map_err(|error| failed("look at", &path, &error))?;
        // In a folder of somebody else's the result could be exchanged before it gets its name.
        let own = about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0;
        if !(about.is_dir() && own) {
            let text = format!("{} is no folder that this user has made", path.display());
            return Err(CommandError::new(exit::REFUSED, text).with_hint("remove or rename it"));
        }
        let lock = File::open(&path).map_err(|error| failed("open", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("{} is being made already", target.display());
                let error = CommandError::new(exit::REFUSED, text);
                return Err(error.with_hint("wait for the other run, or name another file"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
        }
        let folder = Self { path, lock };
        folder.clear().map_err(|error| failed("clear", &folder.path, &error))?;
        Ok(folder)
    }

    pub(in super::super) fn path(&self) -> &Path {
        &self.path
    }

    fn clear(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Gives what was made its name. Nothing that has come there meanwhile is replaced, unless that was asked for.
    pub(super) fn give(
        &self,
        made: &Path,
        target: &Path,
        replace: bool,
    ) -> Result<(), CommandError> {
        let renamed = match replace {
            true => fs::rename(made, target),
            // A second name for the file, which fails where there is one; then the first goes.
            false => fs::hard_link(made, target).or_else(|error| match error.kind() {
                // FAT has no second names.
                ErrorKind::PermissionDenied | ErrorKind::Unsupported
                    if target.symlink_metadata().is_err() =>
                {
                    fs::rename(made, target)
                }
                _ => Err(error),
            }),
        };
        renamed.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let text = format!("{} has come meanwhile, and is left as it is", target.display());
                CommandError::new(exit::REFUSED, text)
            }
            _ => failed("make", target, &error),
        })?;
        let place = target.parent().unwrap_or(Path::new("/"));
        let synced = File::open(place).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed("write", place, &error))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // A program that the worker had started, and that was killed with it, may still be about to make a file. What
        // cannot be removed is hidden, and the next run clears it.
        for _ in 0..TRIES {
            let _ = self.clear();
            if fs::remove_dir(&self.path).is_ok() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "writes files of its own")]
mod tests {
    use super::*;

    #[test]
    fn a_killed_run_is_cleared_and_a_running_one_is_not() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("a.wim");
        let left = place.path().join(".a.wim.prestaged");
        fs::create_dir_all(left.join("site/x")).unwrap();
        fs::write(left.join("media.wim"), "half").unwrap();
        let folder = WorkFolder::beside(&target).unwrap();
        assert_eq!(fs::read_dir(&left).unwrap().count(), 0);
        let second = WorkFolder::beside(&target).unwrap_err();
        assert_eq!(second.exit, exit::REFUSED);
        // Nothing is replaced that has come meanwhile.
        let made = folder.path().join("media.wim");
        fs::write(&made, "new").unwrap();
        fs::write(&target, "old").unwrap();
        assert_eq!(folder.give(&made, &target, false).unwrap_err().exit, exit::REFUSED);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        folder.give(&made, &target, true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        drop(folder);
        assert!(!left.exists());
        fs::write(&left, "a file of somebody's").unwrap();
        assert_eq!(WorkFolder::beside(&target).unwrap_err().exit, exit::REFUSED);
        assert!(left.exists());
    }
}
