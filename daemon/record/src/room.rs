//! Whether the ledger's file system has room for further drives.

use std::path::Path;

use model::units::Bytes;

use crate::error::LedgerError;

/// With less room than this no drive is begun. A record takes some dozens of kibibytes until it is in the database's file, and
/// drives that are being imaged must find room for their verdicts: the last of it is theirs.
const LEAST: Bytes = Bytes(256 << 10);

/// Whether drives may be begun whose records go to this file. What a file system does not tell, the writing will find out.
///
/// # Errors
/// [`LedgerError::Full`] if there is too little room.
pub(crate) fn check(path: &Path) -> Result<(), LedgerError> {
    let folder = path.parent().unwrap_or(path);
    let Ok(found) = rustix::fs::statvfs(folder) else { return Ok(()) };
    // Some file systems know no size.
    if found.f_blocks == 0 {
        return Ok(());
    }
    // Root may also use what is kept back from everybody else.
    let blocks = match rustix::process::geteuid().is_root() {
        true => found.f_bfree,
        false => found.f_bavail,
    };
    judge(path, Bytes(blocks.saturating_mul(found.f_frsize)))
}

fn judge(path: &Path, left: Bytes) -> Result<(), LedgerError> {
    match left < LEAST {
        true => Err(LedgerError::Full { path: path.to_owned(), left, least: LEAST }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model::code::ReasonCode;

    use super::*;

    #[test]
    fn the_last_of_the_room_is_for_drives_that_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        check(&path).unwrap();
        judge(&path, LEAST).unwrap();
        let error = judge(&path, LEAST - Bytes(1)).unwrap_err();
        assert_eq!(error.code(), ReasonCode::LedgerUnavailable);
        // What tells no size, or is not there, is left to the writing.
        check(Path::new("/proc/ledger.db")).unwrap();
        check(Path::new("/nowhere/ledger.db")).unwrap();
    }
}
