//! A copy of the ledger as it is at one moment, made while it is written to.
//!
//! SQLite copies it page by page within one reading transaction, so the copy is a whole ledger, and nobody who writes
//! waits. It is made beside the ledger, where there must be room for it, and has no name any more when it is handed on.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use model::units::Bytes;
use rusqlite::Connection;
use rusqlite::backup::Backup;
use rustix::fs::statvfs;

use crate::connection::{count, log_length, opening, querying};
use crate::error::LedgerError;
use crate::file::beside;
use crate::ledger::{Ledger, Shared};

/// How the name of the copy ends while it is made.
const ENDING: &str = "-backup";
/// How many pages are copied at a time.
const PAGES: i32 = 1024;
/// What must be left for the records that come meanwhile.
const SPARE: Bytes = Bytes::mib(64);

impl Ledger {
    /// Copies the ledger; the file has no name, and goes when it is closed.
    ///
    /// # Errors
    /// [`LedgerError`] if there is no room for it, or it cannot be written.
    pub fn backup(&self) -> Result<File, LedgerError> {
        let Shared { location, database, backups, .. } = &*self.0;
        let _alone = backups.lock();
        let path = &location.path;
        let failed = |doing| move |source| LedgerError::File { path: path.clone(), doing, source };
        let target = beside(path, ENDING);
        // One that was left by a station that was killed.
        remove(&target).map_err(failed("remove what is left of an earlier backup"))?;
        room(path).map_err(failed("back it up"))?;
        let source = database.lock().reader(location)?.db;
        let made = create(&target)
            .map_err(failed("make a backup beside it"))
            .and_then(|()| copy(&source, &target, path))
            .and_then(|()| File::open(&target).map_err(failed("read its backup")));
        remove(&target).map_err(failed("remove its backup"))?;
        made
    }
}

fn copy(source: &Connection, target: &Path, path: &Path) -> Result<(), LedgerError> {
    let failed = querying(path, "back it up");
    let as_it_is_now = source.unchecked_transaction().map_err(&failed)?;
    // The first reading fixes what is read; without one, each record that comes would begin the copy anew.
    count(&as_it_is_now).map_err(&failed)?;
    let mut copy = Connection::open(target).map_err(opening(target))?;
    // It is nothing until it is whole.
    let lightly = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF";
    copy.execute_batch(lightly).map_err(opening(target))?;
    let backup = Backup::new(&as_it_is_now, &mut copy).map_err(&failed)?;
    backup.run_to_completion(PAGES, Duration::ZERO, None).map_err(&failed)
}

/// A file that only its owner can read.
#[expect(clippy::disallowed_methods, reason = "a file beside the ledger")]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

fn remove(path: &Path) -> io::Result<()> {
    for ending in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(beside(path, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A backup must not take the room that records need.
fn room(path: &Path) -> io::Result<()> {
    let needed = Bytes(fs::metadata(path)?.len()).saturating_add(Bytes(log_length(path)));
    let free = statvfs(path)?;
    let free = Bytes(free.f_bavail.saturating_mul(free.f_frsize));
    if free < needed.saturating_add(SPARE) {
        let text =
            format!("{needed} and {SPARE} for records are needed beside it, and {free} are free");
        return Err(io::Error::new(io::ErrorKind::StorageFull, text));
    }
    Ok(())
}
