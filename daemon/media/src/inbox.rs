//! Watches the inbox and tells which files are complete.
//!
//! A file is complete when nobody has it open for writing. The kernel tells: it refuses a read lease while there is a
//! writer (fcntl(2), `F_SETLEASE`). inotify's events for a close after writing and for a rename only say when to look.
//! So a file that is still growing is never taken, even if the station starts in the middle of a copy. On file systems
//! without leases (NFS), a file counts as complete once two scans have found it unchanged.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher as _};

use masters::stamp;
use model::hint::Hint;
use model::media::Listing;

use crate::lease::{Writers, writers};

/// An inbox that cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("media inbox {path}: cannot {doing}")]
pub struct InboxError {
    path: PathBuf,
    doing: &'static str,
    #[source]
    source: notify::Error,
}

impl Hint for InboxError {
    fn hint(&self) -> Option<String> {
        Some("create the folder, or name another one (media.inbox)".into())
    }
}

/// How long to wait for an event before looking anyway: network file systems send none.
const RESCAN: Duration = Duration::from_secs(2);

/// Watches the folder `inbox` on a thread of its own until `changed` returns `false`. `changed` is called with all
/// complete WIM files, at the start and whenever these have changed.
///
/// # Errors
/// [`InboxError`] if the folder cannot be read or watched.
pub fn watch(
    inbox: &Path,
    mut changed: impl FnMut(Listing) -> bool + Send + 'static,
) -> Result<(), InboxError> {
    let failed = |doing| {
        let path = inbox.to_owned();
        move |source: notify::Error| InboxError { path, doing, source }
    };
    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = match &event {
            Ok(event) => matches!(
                event.kind,
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                    | EventKind::Modify(ModifyKind::Name(_))
                    | EventKind::Remove(_)
            ),
            Err(_) => true,
        };
        if relevant {
            // If the watching thread is gone, nobody needs the event.
            let _ = sender.send(());
        }
    })
    .map_err(failed("start inotify"))?;
    watcher.watch(inbox, RecursiveMode::NonRecursive).map_err(failed("watch it"))?;
    let mut scan = Scan::default();
    scan.run(inbox).map_err(|e| failed("read it")(notify::Error::io(e)))?;
    let folder = inbox.to_owned();
    let work = move || {
        let _watcher = watcher;
        if !changed(scan.known.clone()) {
            return;
        }
        loop {
            match events.recv_timeout(RESCAN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while events.try_recv().is_ok() {}
            match scan.run(&folder) {
                Ok(true) => {
                    if !changed(scan.known.clone()) {
                        return;
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(inbox = %folder.display(), %error, "cannot read the inbox")
                }
            }
        }
    };
    thread::Builder::new()
        .name("inbox".into())
        .spawn(work)
        .map(|_| ())
        .map_err(|e| failed("start its thread")(notify::Error::io(e)))
}

/// The files that the last scan of the inbox has found.
#[derive(Debug, Default)]
struct Scan {
    /// Complete files.
    known: Listing,
    /// Files that were not complete, or not known to be.
    pending: Listing,
}

impl Scan {
    /// Scans the inbox again; returns whether the complete files have changed.
    fn run(&mut self, inbox: &Path) -> io::Result<bool> {
        let mut complete = Listing::new();
        let mut pending = Listing::new();
        for entry in fs::read_dir(inbox)? {
            let path = entry?.path();
            if !is_wim(&path) {
                continue;
            }
            // A file may vanish at any moment; the next scan will show it. Opening a FIFO would wait for a writer.
            let plain = fs::metadata(&path).is_ok_and(|meta| meta.is_file());
            let open = || File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
            let Some(file) = plain.then(open).and_then(Result::ok) else { continue };
            let Ok(meta) = file.metadata() else { continue };
            if !meta.is_file() {
                continue;
            }
            let stamp = stamp::in_metadata(&meta);
            let settled = self.known.get(&path) == Some(&stamp)
                || match writers(&file) {
                    Writers::None => true,
                    Writers::Some => false,
                    Writers::Unknown => self.pending.get(&path) == Some(&stamp),
                };
            if settled {
                complete.insert(path, stamp);
            } else {
                pending.insert(path, stamp);
            }
        }
        self.pending = pending;
        let changed = complete != self.known;
        self.known = complete;
        Ok(changed)
    }
}

/// Whether a file is a WIM, or a part of one, by its name. Hidden files do not count: programs that copy write into
/// them.
fn is_wim(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    let known = |e: &std::ffi::OsStr| {
        ["wim", "swm", "esd"].iter().any(|known| e.eq_ignore_ascii_case(known))
    };
    !hidden && path.extension().is_some_and(known)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_growing_file_is_not_listed() {
        let inbox = tempfile::tempdir().unwrap();
        let path = inbox.path().join("win.wim");
        let mut scan = Scan::default();
        let mut file = File::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!scan.run(inbox.path()).unwrap());
        assert!(!scan.run(inbox.path()).unwrap(), "not even if it rests");
        file.write_all(b"whole").unwrap();
        drop(file);
        assert!(scan.run(inbox.path()).unwrap());
        assert!(scan.known.contains_key(&path));
        assert!(!scan.run(inbox.path()).unwrap(), "listed once");
        let again = fs::OpenOptions::new().append(true).open(&path).unwrap();
        (&again).write_all(b"more").unwrap();
        assert!(scan.run(inbox.path()).unwrap(), "a file that grows again is withdrawn");
        assert!(scan.known.is_empty());
    }

    #[test]
    fn a_fifo_holds_nothing_up() {
        let inbox = tempfile::tempdir().unwrap();
        let path = inbox.path().join("fifo.wim");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        fs::create_dir(inbox.path().join("folder.wim")).unwrap();
        let mut scan = Scan::default();
        assert!(!scan.run(inbox.path()).unwrap());
        assert!(scan.known.is_empty() && scan.pending.is_empty());
    }

    #[test]
    fn only_wim_files_count() {
        for (name, expected) in [
            ("a.wim", true),
            ("A.WIM", true),
            ("a2.swm", true),
            (".a.wim", false),
            ("a.iso", false),
        ] {
            assert_eq!(is_wim(Path::new(name)), expected, "{name}");
        }
    }
}
