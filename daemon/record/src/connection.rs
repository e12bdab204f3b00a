//! Connections to the ledger's database, and what is asked through them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use uuid::Uuid;

use crate::error::LedgerError;
use crate::file::{BESIDE, Held, Stamp, beside};
use crate::ledger::{TABLES, VERSION};
use crate::schema;

/// How long a write waits for other programs that write to the ledger.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn opening(path: &Path) -> impl Fn(rusqlite::Error) -> LedgerError {
    move |source| LedgerError::Open { path: path.to_owned(), source }
}

pub(crate) fn querying(
    path: &Path,
    doing: &'static str,
) -> impl Fn(rusqlite::Error) -> LedgerError {
    move |source| LedgerError::Query { path: path.to_owned(), doing, source }
}

pub(crate) fn stamp(held: &Held, path: &Path) -> Result<Stamp, LedgerError> {
    let failed = |source| LedgerError::File { path: path.to_owned(), doing: "query it", source };
    held.stamp().map_err(failed)
}

pub(crate) fn log_length(path: &Path) -> u64 {
    fs::metadata(beside(path, BESIDE[0])).map_or(0, |log| log.len())
}

/// Opens a connection that changes nothing by itself, now or when it is closed: when the last one is closed, SQLite deletes
/// the log by its name, which may have become another database's.
pub(crate) fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let failed = opening(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(&failed)?;
    db.busy_timeout(PATIENCE).map_err(&failed)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&failed)?;
    // The ledger has no foreign keys. Tables of others may have some, which must not keep it from being written.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false).map_err(&failed)?;
    Ok(db)
}

/// Whether the file is a ledger, as far as it can be read.
pub(crate) fn is_ledger(path: &Path) -> bool {
    let has_records =
        |db: &Connection| db.query_row("SELECT count(*) FROM records", [], |_| Ok(()));
    connect(path).is_ok_and(|db| has_records(&db).is_ok())
}

/// Sets the connection up for writing, and makes the tables of a ledger that is new. Another program's database is left
/// as it is.
pub(crate) fn prepare(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    let failed = opening(path);
    let tables = "SELECT count(*), count(CASE WHEN name = 'records' THEN 1 END) FROM sqlite_master";
    let (tables, own): (i64, i64) =
        db.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(&failed)?;
    let found: i64 = db.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(&failed)?;
    if tables > 0 && (own == 0 || found == 0) {
        return Err(LedgerError::Foreign { path: path.to_owned() });
    }
    db.pragma_update(None, "journal_mode", "WAL").map_err(&failed)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(&failed)?;
    db.pragma_update(None, "wal_autocheckpoint", 0).map_err(&failed)?;
    match found {
        0 => {
            let script = format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;");
            db.execute_batch(&script).map_err(&failed)?;
        }
        VERSION => {}
        found => return Err(LedgerError::Newer { path: path.to_owned(), found }),
    }
    schema::complete(db).map_err(|error| schema::blame(db, path, failed(error)))?;
    if id_of(db).is_none() {
        // Ledgers of older programs have none; those programs do not mind it.
        let table = "CREATE TABLE IF NOT EXISTS ledger (id TEXT NOT NULL) STRICT";
        db.execute_batch(table).map_err(&failed)?;
        db.execute("INSERT INTO ledger (id) VALUES (?1)", [Uuid::new_v4().to_string()])
            .map_err(&failed)?;
    }
    Ok(())
}

/// The ledger's own ID, which its copies have, too.
pub(crate) fn id_of(db: &Connection) -> Option<String> {
    db.query_row("SELECT id FROM ledger", [], |row| row.get(0)).ok()
}

pub(crate) fn holds(db: &Connection, job: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM records WHERE job = ?1";
    Ok(db.query_row(sql, [job], |_| Ok(())).optional()?.is_some())
}

pub(crate) fn count(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0))
        .map(|rows| u64::try_from(rows).unwrap_or_default())
}

pub(crate) fn last_job(db: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT job FROM records ORDER BY rowid DESC LIMIT 1";
    db.query_row(sql, [], |row| row.get(0)).optional()
}
