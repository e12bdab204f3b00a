//! The ledger keeps every record in SQLite. A record is durable when the call that writes it returns.
//!
//! SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the medium before the first byte of a drive is
//! erased, and other programs can read while the station writes. One connection writes, behind a mutex.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evidence::statement::Event;
use jiff::Timestamp;
use model::drive::{Diskseq, Geometry, Serial};
use model::failure::chain;
use model::orders::OrderPlace;
use model::record::Record;
use model::units::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, Row as Found, Transaction, params};
use uuid::Uuid;

use crate::connection::{is_ledger, querying};
use crate::database::{Database, Reader, Row};
use crate::file::{BESIDE, Create, FileId, Held, beside};
use crate::journal;
use crate::log::Begin;
use crate::{orders, room};

pub use crate::error::LedgerError;
pub use crate::location::{Location, Outbox};
pub use crate::rows::{Filter, Page, Place};

/// The version of [`TABLES`], kept in the database as `PRAGMA user_version`.
pub(crate) const VERSION: i64 = 1;

/// Records are searched by the columns beside `record`; `boot` and `diskseq` together name an insertion.
pub(crate) const TABLES: &str = "
CREATE TABLE records (
    job TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    diskseq INTEGER NOT NULL,
    serial TEXT,
    disk_guid TEXT,
    verdict TEXT,
    opened TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE TABLE geometries (
    size INTEGER NOT NULL,
    sector INTEGER NOT NULL,
    seen TEXT NOT NULL,
    PRIMARY KEY (size, sector)
) STRICT;
";
pub(crate) const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS records_by_serial ON records (serial);
CREATE INDEX IF NOT EXISTS records_by_disk_guid ON records (disk_guid);
CREATE INDEX IF NOT EXISTS records_by_insertion ON records (boot, diskseq);
";

/// So long a start waits until the log has been verified.
const VERIFIED_AT_ONCE: Duration = Duration::from_secs(4);

/// The open ledger. Clones share the connection that writes, and the one that reads.
#[derive(Clone, Debug)]
pub struct Ledger(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) location: Location,
    /// The kernel's ID of this boot: attachment counts start anew with every boot.
    boot: String,
    /// Whoever writes to the ledger waits for its file system.
    silent: AtomicBool,
    /// Its log is being verified since it was opened.
    pub(crate) unverified: AtomicBool,
    /// Records of an earlier station are open, because the ledger was changed by somebody when this one started, or its log
    /// is still being verified.
    pub(crate) left_open: AtomicBool,
    /// One backup is made at a time.
    pub(crate) backups: Mutex<()>,
    /// Closed before the database, whose file must stay open longest.
    reader: Mutex<Option<Reader>>,
    pub(crate) database: Mutex<Database>,
}

impl Ledger {
    /// Opens the ledger, or creates it where the station has had none. `boot` is the kernel's ID of this boot. A log that
    /// takes long to verify is verified further on a thread of its own ([`Ledger::distrust`]).
    ///
    /// # Errors
    /// [`LedgerError`] if the file cannot be opened, is used by another station, is not a ledger, lacks records that the
    /// station has written, or was written by a newer prestaged.
    pub fn open(location: &Location, boot: &str) -> Result<Self, LedgerError> {
        let database = Database::open(location)?;
        location.counterfoils.write(database.counterfoil());
        let reader = Mutex::new(Some(database.reader(location)?));
        let (location, boot) = (location.clone(), boot.to_owned());
        let is_verified = database.is_verified;
        let ledger = Self(Arc::new(Shared {
            location,
            boot,
            silent: AtomicBool::new(false),
            unverified: AtomicBool::new(false),
            left_open: AtomicBool::new(false),
            backups: Mutex::new(()),
            reader,
            database: Mutex::new(database),
        }));
        if !is_verified {
            ledger.verify_first(VERIFIED_AT_ONCE)?;
        }
        Ok(ledger)
    }

    /// Begins anew at the next start: sets the ledger that is there aside, and forgets it. Returns its new name.
    ///
    /// # Errors
    /// [`LedgerError`] if a station uses the ledger, or the files cannot be renamed.
    pub fn set_aside(location: &Location, now: Timestamp) -> Result<Option<PathBuf>, LedgerError> {
        let path = &location.path;
        let failed = |doing| move |source| LedgerError::File { path: path.clone(), doing, source };
        let aside = match Held::open(path, Create::Forbidden) {
            Ok(held) => {
                let own = held.is_empty() || location.counterfoils.read().is_some();
                if !own && !is_ledger(path) {
                    return Err(LedgerError::Foreign { path: path.clone() });
                }
                let aside = beside(path, &now.strftime(".%Y%m%dT%H%M%SZ").to_string());
                // The log goes first: it must never stand beside another database.
                for ending in BESIDE.into_iter().chain([""]) {
                    match fs::rename(beside(path, ending), beside(&aside, ending)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(failed("set it aside")(error));
                        }
                        _ => {}
                    }
                }
                Some(aside)
            }
            Err(LedgerError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                None
            }
            Err(error) => return Err(error),
        };
        location.counterfoils.remove().map_err(failed("forget it"))?;
        Ok(aside)
    }

    /// Takes the ledger that is there at the next start, whatever records it lacks. Its log is begun anew: an older one that
    /// went on would have the same name as the one that was.
    ///
    /// # Errors
    /// [`LedgerError`] if there is none, or a station uses it.
    pub fn accept(location: &Location, why: Begin) -> Result<(), LedgerError> {
        let path = &location.path;
        {
            let _held = Held::open(path, Create::Forbidden)?;
            let failed =
                |source| LedgerError::File { path: path.clone(), doing: "accept it", source };
            location.counterfoils.remove().map_err(failed)?;
        }
        if is_ledger(path) {
            let mut database = Database::open(location)?;
            database.begin_log(location, why)?;
            database.bring_in(location)?;
        }
        Ok(())
    }

    /// The path of the ledger.
    pub fn path(&self) -> &Path {
        &self.0.location.path
    }

    /// Why it is of no use to ask the ledger now, without asking it: its file system does not answer.
    pub fn silence(&self) -> Option<LedgerError> {
        let Shared { silent, location, .. } = &*self.0;
        silent.load(Ordering::Relaxed).then(|| LedgerError::Silent { path: location.path.clone() })
    }

    /// Notes whether its file system answers; returns whether it did until now.
    pub(crate) fn fall_silent(&self, silent: bool) -> bool {
        !self.0.silent.swap(silent, Ordering::Relaxed)
    }

    /// Whether records can be kept: the file at the path is the one that is open, with all that was written to it. What can
    /// be made right without an operator is.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be used.
    pub fn check(&self) -> Result<(), LedgerError> {
        let Shared { location, reader, database, .. } = &*self.0;
        let mut database = database.lock();
        database.settle(location, reader)?;
        database.check_others(location)?;
        database.trim_log(location)?;
        drop(database);
        // What was left open is closed before a drive is judged by it.
        self.distrust().map_or(Ok(()), Err)
    }

    /// Whether there is room for the records of further drives. Records of those that run are written as long as they fit.
    ///
    /// # Errors
    /// [`LedgerError::Full`] if there is not.
    pub(crate) fn check_room(&self) -> Result<(), LedgerError> {
        room::check(self.path())
    }

    /// Gives the ledger up at the end: brings everything into its one file, and lets another station have it, even if this
    /// process cannot end yet.
    pub fn finish(&self) {
        let Shared { location, database, .. } = &*self.0;
        let mut database = database.lock();
        let path = location.path.display();
        if database.is_in_place(location)
            && let Err(error) = database.bring_in(location)
        {
            tracing::warn!("{}", chain(&error));
        }
        if let Err(error) = database.unlock() {
            tracing::warn!(%error, "cannot unlock the ledger {path}");
        }
    }

    /// Writes a record durably, new or in place of the job's earlier one, and then a journal entry. A refusal never replaces
    /// an open record or the verdict of an imaging: "no byte was written" would be false.
    ///
    /// # Errors
    /// [`LedgerError`] if the record cannot be written, or not to the file at the ledger's path. Then nothing may be written
    /// to the drive.
    pub fn put(&self, record: &Record) -> Result<(), LedgerError> {
        self.store(record.clone(), None)?;
        journal::record(record, self.checkpoint().as_deref());
        Ok(())
    }

    /// Writes a record, and reserves its place in its order if it needs one; returns it as it is in the ledger.
    pub(crate) fn store(
        &self,
        record: Record,
        place: Option<&OrderPlace>,
    ) -> Result<Record, LedgerError> {
        let Shared { location, reader, database, .. } = &*self.0;
        let mut record = record;
        let mut database = database.lock();
        database.settle(location, reader)?;
        let job = record.job.to_string();
        database.write(location, |transaction| {
            if let Some(place) = place {
                let failed = querying(&location.path, "reserve a place in an order");
                let reserved = orders::reserve(transaction, place, &record).map_err(failed)?;
                let attempt = reserved
                    .map_err(|refusal| LedgerError::Order { refusal: Box::new(refusal) })?;
                record.attempt = Some(attempt);
            }
            self.row(&record)
        })?;
        if database.is_in_place(location) {
            return Ok(record);
        }
        // The files have changed meanwhile. A copy in their place gets the row, too.
        let settled = database.settle(location, reader);
        if settled.is_err() && record.verdict.is_none() {
            database.take_back(location, &job);
        }
        settled.map(|()| record)
    }

    fn row(&self, record: &Record) -> Result<Row, LedgerError> {
        let Shared { location, boot, .. } = &*self.0;
        let job = record.job.to_string();
        let text = serde_json::to_string(record).map_err(|source| LedgerError::Row {
            path: location.path.clone(),
            job: job.clone(),
            source,
        })?;
        Ok(Row {
            job,
            boot: boot.clone(),
            diskseq: i64::try_from(record.diskseq.0).unwrap_or(i64::MAX),
            serial: record.serial.as_ref().map(|serial| serial.as_str().to_owned()),
            disk_guid: record.identity.as_ref().map(|i| i.disk_guid.to_string()),
            verdict: record.verdict.map(|v| v.to_string()),
            opened: format!("{:.3}", record.opened),
            record: text,
            closed: record.verdict.map(|_| Box::new(record.clone())),
        })
    }

    /// Changes something beside the records, durably, in a transaction of its own.
    pub(crate) fn change<T>(
        &self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        self.change_noted(doing, |transaction| Ok((change(transaction)?, Vec::new())))
    }

    /// Changes something beside the records, with entries in the log for what has happened, in one transaction.
    pub(crate) fn change_noted<T>(
        &self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<(T, Vec<Event>)>,
    ) -> Result<T, LedgerError> {
        let Shared { location, reader, database, .. } = &*self.0;
        let mut database = database.lock();
        database.settle(location, reader)?;
        let changed = database.transact(location, doing, change)?;
        // A copy that takes the ledger's place meanwhile gets the change, too.
        database.settle(location, reader)?;
        Ok(changed)
    }

    /// The record of one job.
    ///
    /// # Errors
    /// [`LedgerError`] if the record cannot be read.
    pub fn of_job(&self, job: Uuid) -> Result<Option<Record>, LedgerError> {
        self.select("WHERE job = ?1", &[job.to_string()])?.pop().transpose()
    }

    /// Reads through a connection of its own, so that reading does not wait for the writer.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let Shared { location, .. } = &*self.0;
        let is_in_place = |reader: &Reader| FileId::at(&location.path) == Some(reader.database);
        if !self.0.reader.lock().as_ref().is_some_and(is_in_place) {
            self.check()?;
        }
        let reader = self.0.reader.lock();
        let moved = || LedgerError::Moved { path: location.path.clone() };
        read(&reader.as_ref().ok_or_else(moved)?.db)
    }

    /// The record in a row, whose job and text are in these columns.
    pub(crate) fn parse(
        &self,
        row: &Found<'_>,
        columns: [usize; 2],
    ) -> Result<Record, LedgerError> {
        let bytes = |column| row.get_ref(column).ok().and_then(|value| value.as_bytes().ok());
        let [job, text] = columns.map(|column| bytes(column).unwrap_or_default());
        serde_json::from_slice(text).map_err(|source| {
            let job = String::from_utf8_lossy(job).into_owned();
            LedgerError::Row { path: self.0.location.path.clone(), job, source }
        })
    }

    /// The rows that fit a condition, each as its record or as the reason why it holds none.
    pub(crate) fn select(
        &self,
        condition: &str,
        values: &[String],
    ) -> Result<Vec<Result<Record, LedgerError>>, LedgerError> {
        self.read(|db| {
            let failed = querying(self.path(), "read the records");
            let sql = format!("SELECT job, record FROM records {condition}");
            let mut statement = db.prepare_cached(&sql).map_err(&failed)?;
            let rows = statement
                .query_map(rusqlite::params_from_iter(values), |row| Ok(self.parse(row, [0, 1])))
                .map_err(&failed)?;
            rows.map(|row| row.map_err(&failed)).collect()
        })
    }

    /// The records of an insertion of this boot, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn of_insertion(&self, diskseq: Diskseq) -> Result<Vec<Record>, LedgerError> {
        self.verified()?;
        let condition = "WHERE boot = ?1 AND diskseq = CAST(?2 AS INTEGER) ORDER BY rowid";
        let values = [self.0.boot.clone(), diskseq.0.to_string()];
        self.select(condition, &values)?.into_iter().collect()
    }

    /// The records of all jobs that gave a drive with this serial number an identity, in any boot; the latest first.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn imagings(&self, serial: &Serial) -> Result<Vec<Record>, LedgerError> {
        self.verified()?;
        let condition = "WHERE serial = ?1 AND disk_guid IS NOT NULL AND verdict IS NOT 'refused' ORDER BY rowid DESC";
        self.select(condition, &[serial.as_str().to_owned()])?.into_iter().collect()
    }

    /// The latest record of a drive with this serial number that is no refusal, or else the latest refusal.
    ///
    /// # Errors
    /// [`LedgerError`] if the record cannot be read.
    pub fn latest_of(&self, serial: &Serial) -> Result<Option<Record>, LedgerError> {
        self.verified()?;
        let condition = "WHERE serial = ?1 ORDER BY verdict IS 'refused', rowid DESC LIMIT 1";
        self.select(condition, &[serial.as_str().to_owned()])?.pop().transpose()
    }

    /// The last record of a drive that has passed, and the latest one of any later job that gave it an identity.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn last_passed(
        &self,
        serial: &Serial,
    ) -> Result<Option<(Record, Option<Record>)>, LedgerError> {
        self.verified()?;
        let of = |and: &str| {
            let condition = format!(
                "WHERE serial = ?1 AND disk_guid IS NOT NULL AND {and} ORDER BY rowid DESC LIMIT 1"
            );
            self.select(&condition, &[serial.as_str().to_owned()])?.pop().transpose()
        };
        let Some(passed) = of("verdict = 'passed'")? else { return Ok(None) };
        let latest = of("verdict IS NOT 'refused'")?;
        Ok(Some((passed.clone(), latest.filter(|latest| latest.job != passed.job))))
    }

    /// The latest record of a drive that was given this GPT disk GUID.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn of_disk(&self, disk_guid: &Uuid) -> Result<Option<Record>, LedgerError> {
        self.verified()?;
        let condition = "WHERE disk_guid = ?1 ORDER BY rowid DESC LIMIT 1";
        self.select(condition, &[disk_guid.to_string()])?.pop().transpose()
    }

    /// Notes that a drive of this geometry was seen, so that later media can be pressed for it ahead of time.
    ///
    /// # Errors
    /// [`LedgerError`] if the geometry cannot be written.
    pub fn note_geometry(&self, geometry: Geometry) -> Result<(), LedgerError> {
        let (size, seen) = (i64::try_from(geometry.size.0), Timestamp::now().to_string());
        let values = params![size.unwrap_or(i64::MAX), u32::from(geometry.sector), seen];
        let sql = "INSERT INTO geometries (size, sector, seen) VALUES (?1, ?2, ?3)
             ON CONFLICT (size, sector) DO UPDATE SET seen = excluded.seen";
        self.change("note a geometry", |db| db.execute(sql, values).map(|_| ()))
    }

    /// The geometries of the drives seen so far, the latest first, 16 at most.
    ///
    /// # Errors
    /// [`LedgerError`] if the geometries cannot be read.
    pub fn geometries(&self) -> Result<Vec<Geometry>, LedgerError> {
        self.read(|db| {
            let failed = querying(self.path(), "read the geometries");
            let sql = "SELECT size, sector FROM geometries ORDER BY seen DESC LIMIT 16";
            let mut statement = db.prepare_cached(sql).map_err(&failed)?;
            let rows = statement
                .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?)))
                .map_err(&failed)?;
            let mut all = Vec::new();
            for row in rows {
                let (size, sector) = row.map_err(&failed)?;
                if let (Ok(size), Ok(sector)) = (u64::try_from(size), sector.try_into()) {
                    all.push(Geometry { size: Bytes(size), sector });
                }
            }
            Ok(all)
        })
    }
}

#[cfg(test)]
mod tests;
