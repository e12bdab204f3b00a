//! The rows of jobs that run: what somebody makes of them does not count.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use crate::connection::{count, holds, querying};
use crate::counterfoil::Counterfoil;
use crate::database::Row;
use crate::error::LedgerError;
use crate::ledger::Location;
use crate::log::Tampered;

/// Whether the last row that was written is gone: of a job that runs, which is what somebody has done.
///
/// # Errors
/// [`LedgerError::Older`] if it was closed, and the ledger may be another one.
pub(crate) fn missing(
    db: &Connection,
    place: &Location,
    counterfoil: &Counterfoil,
    open: &BTreeMap<String, Row>,
) -> Result<Option<Tampered>, LedgerError> {
    let failed = querying(&place.path, "look for its last record");
    let Counterfoil { rows, last, .. } = counterfoil;
    if last.is_empty() || holds(db, last).map_err(&failed)? {
        return Ok(None);
    }
    if open.contains_key(last) {
        return Ok(Some(Tampered::Gone(last.clone())));
    }
    let found = count(db).map_err(&failed)?;
    let (path, rows, last) = (place.path.clone(), *rows, last.clone());
    Err(LedgerError::Older { path, found, rows, last })
}

/// Makes the rows of jobs that run what they were when these were begun. Their verdict is still to come, and is not what
/// somebody has written there meanwhile.
pub(crate) fn open_again(
    db: &Transaction<'_>,
    open: &BTreeMap<String, Row>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO records (job, boot, diskseq, serial, disk_guid, verdict, opened, record)
        VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7)
        ON CONFLICT (job) DO UPDATE SET boot = excluded.boot, diskseq = excluded.diskseq,
        serial = excluded.serial, disk_guid = excluded.disk_guid, verdict = excluded.verdict,
        opened = excluded.opened, record = excluded.record";
    for Row { job, boot, diskseq, serial, disk_guid, opened, record, .. } in open.values() {
        db.execute(sql, params![job, boot, diskseq, serial, disk_guid, opened, record])?;
    }
    Ok(())
}
