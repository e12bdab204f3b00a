//! The rows of jobs that run: what somebody makes of them does not count; and of those that an earlier station has not
//! finished.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use model::code::ReasonCode;
use model::failure::{Reason, chain};
use model::record::Record;
use model::verdict::Verdict;
use rusqlite::{Connection, Transaction, params};

use crate::connection::{count, holds, querying};
use crate::counterfoil::Counterfoil;
use crate::database::Row;
use crate::error::LedgerError;
use crate::ledger::{Ledger, Location};
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

impl Ledger {
    /// Closes the records that an earlier station left open because it was killed, and returns them.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read or written.
    pub fn close_interrupted(&self) -> Result<Vec<Record>, LedgerError> {
        {
            let database = self.0.database.lock();
            if database.trusted(&self.0.location).is_err() {
                // They are closed when the log has been verified, or a person has said that the ledger is to be used.
                self.0.left_open.store(true, Ordering::Relaxed);
                return Ok(Vec::new());
            }
        }
        let open = self.select("WHERE verdict IS NULL ORDER BY rowid", &[])?;
        let mut closed = Vec::with_capacity(open.len());
        for record in open {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!("left open: {}", chain(&error));
                    continue;
                }
            };
            let detail = "the station was killed while it imaged this drive";
            let reason = Reason::new(ReasonCode::StationInterrupted, detail)
                .with_hint("attach the drive again, or retry it");
            let record = record.closed_with(Verdict::Stopped, reason, Timestamp::now());
            match self.put(&record) {
                Ok(()) => {
                    let (job, told) = (record.job, record.sentence());
                    tracing::warn!(%job, "a record was still open: {told}");
                    closed.push(record);
                }
                // A row that somebody has copied from another's.
                Err(error @ LedgerError::Closed { .. }) => {
                    tracing::error!("left open: {}", chain(&error));
                }
                Err(error) => return Err(error),
            }
        }
        self.0.left_open.store(false, Ordering::Relaxed);
        Ok(closed)
    }
}
