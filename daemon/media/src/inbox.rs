//! Watches the inbox and tells which files are complete.
//!
//! A file is complete when nobody has it open for writing. The kernel tells: it refuses a read lease while there is a
//! writer (fcntl(2), `F_SETLEASE`). inotify's events for a close after writing and for a rename only say when to look.
//! So a file that is still growing is never taken, even if the station starts in the middle of a copy. On file systems
//! without leases (NFS), a file counts as complete once two scans have found it unchanged.
//!
//! Whoever fills the inbox may fill it with anything: so many files are taken up and no more, the oldest first; what does
//! not begin as a WIM costs no worker; and a file that does not answer, or an inbox, is waited for by a thread of its own.

mod look;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecursiveMode, Watcher as _};

use model::hint::Hint;
use model::media::Inbox;

use scan::Scan;

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

/// Watches the folder `inbox` on a thread of its own until `changed` returns `false`. `changed` is called with what
/// is there, at the start and whenever that has changed.
///
/// # Errors
/// [`InboxError`] if the folder cannot be read or watched.
pub fn watch(
    inbox: &Path,
    mut changed: impl FnMut(Inbox) -> bool + Send + 'static,
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
    std::fs::read_dir(inbox).map_err(|e| failed("read it")(notify::Error::io(e)))?;
    let folder = inbox.to_owned();
    let work = move || {
        let _watcher = watcher;
        let mut scan = Scan::default();
        let mut is_first = true;
        loop {
            match scan.run(&folder) {
                Ok(is_new) if is_new || is_first => {
                    is_first = false;
                    if !changed(scan.known.clone()) {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(inbox = %folder.display(), %error, "cannot read the inbox");
                }
            }
            match events.recv_timeout(RESCAN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while events.try_recv().is_ok() {}
        }
    };
    thread::Builder::new()
        .name("inbox".into())
        .spawn(work)
        .map(|_| ())
        .map_err(|e| failed("start its thread")(notify::Error::io(e)))
}
