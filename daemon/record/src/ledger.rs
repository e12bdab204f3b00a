//! The ledger keeps every record in SQLite. A record is durable when the call that writes it returns.
//!
//! SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the medium before the first byte of a drive is
//! erased, and other programs can read while the station writes. One connection writes, behind a mutex.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use model::code::ReasonCode;
use model::drive::{Diskseq, Geometry, Serial};
use model::failure::Reason;
use model::hint::Hint;
use model::record::Record;
use model::units::Bytes;
use model::verdict::Verdict;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags, params};
use uuid::Uuid;

use crate::journal;

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LedgerError {
    /// The file cannot be opened or is not a ledger.
    #[error("ledger {path}: cannot open it")]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error(
        "ledger {path}: written by a newer prestaged (schema {found}, this one knows {})",
        VERSION
    )]
    Newer { path: PathBuf, found: i64 },
    #[error("ledger: cannot {doing}")]
    Query {
        doing: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    /// A row does not hold a record, or a record cannot be made into a row.
    #[error("ledger: the record of job {job} cannot be read")]
    Row {
        job: String,
        #[source]
        source: serde_json::Error,
    },
}

impl Hint for LedgerError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Open { .. } => "check ledger.path, its folder, its permissions and free space",
            Self::Newer { .. } => "install the prestaged that wrote it, or a newer one",
            Self::Query { .. } => {
                "check that the ledger's file system is there, writable and not full"
            }
            Self::Row { .. } => return None,
        };
        Some(hint.into())
    }
}

/// The version of [`TABLES`], kept in the database as `PRAGMA user_version`.
const VERSION: i64 = 1;

/// Records are searched by the columns beside `record`; `boot` and `diskseq` together name an insertion.
const TABLES: &str = "
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
CREATE INDEX records_by_serial ON records (serial);
CREATE INDEX records_by_disk_guid ON records (disk_guid);
CREATE INDEX records_by_insertion ON records (boot, diskseq);
CREATE TABLE geometries (
    size INTEGER NOT NULL,
    sector INTEGER NOT NULL,
    seen TEXT NOT NULL,
    PRIMARY KEY (size, sector)
) STRICT;
";

/// Which records to list: those that match every field that is set.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Filter {
    pub serial: Option<String>,
    /// Records opened at this time or later.
    pub since: Option<Timestamp>,
    pub verdict: Option<Verdict>,
}

/// The open ledger. Clones share the connection that writes.
#[derive(Clone, Debug)]
pub struct Ledger {
    writer: Arc<Mutex<Connection>>,
    path: PathBuf,
    /// The kernel's ID of this boot: attachment counts start anew with every boot.
    boot: String,
}

fn query(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> LedgerError {
    move |source| LedgerError::Query { doing, source }
}

impl Ledger {
    /// Opens the ledger, or creates it. `boot` is the kernel's ID of this boot.
    ///
    /// # Errors
    /// [`LedgerError`] if the file cannot be opened, is not a ledger, or was written by a newer prestaged.
    pub fn open(path: &Path, boot: &str) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Open { path: path.to_owned(), source };
        let db = Connection::open(path).map_err(failed)?;
        db.busy_timeout(std::time::Duration::from_secs(10)).map_err(failed)?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let found: i64 =
            db.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(failed)?;
        match found {
            0 => {
                let script = format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;");
                db.execute_batch(&script).map_err(failed)?;
            }
            VERSION => {}
            found => return Err(LedgerError::Newer { path: path.to_owned(), found }),
        }
        let writer = Arc::new(Mutex::new(db));
        Ok(Self { writer, path: path.to_owned(), boot: boot.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock()
    }

    /// Writes a record durably, new or in place of the job's earlier one, and then a journal entry. A row keeps the
    /// boot and the attachment count under which it was opened, because a later boot may close it. A refusal never
    /// replaces an open record or the verdict of an imaging: "no byte was written" would be false.
    ///
    /// # Errors
    /// [`LedgerError::Query`] if the record cannot be written. Then nothing may be written to the drive.
    pub fn put(&self, record: &Record) -> Result<(), LedgerError> {
        self.store(record)?;
        journal::record(record);
        Ok(())
    }

    fn store(&self, record: &Record) -> Result<(), LedgerError> {
        let job = record.job.to_string();
        let text = serde_json::to_string(record)
            .map_err(|source| LedgerError::Row { job: job.clone(), source })?;
        let disk_guid = record.identity.as_ref().map(|i| i.disk_guid.to_string());
        self.lock()
            .execute(
                "INSERT INTO records (job, boot, diskseq, serial, disk_guid, verdict, opened, record)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (job) DO UPDATE SET serial = excluded.serial, disk_guid = excluded.disk_guid,
                 verdict = excluded.verdict, opened = excluded.opened, record = excluded.record
                 WHERE records.verdict IS NULL AND excluded.verdict IS NOT 'refused'
                    OR records.verdict IS 'refused'
                    OR records.verdict IS excluded.verdict",
                params![
                    job,
                    self.boot,
                    i64::try_from(record.diskseq.0).unwrap_or(i64::MAX),
                    record.serial.as_ref().map(Serial::as_str),
                    disk_guid,
                    record.verdict.map(|v| v.to_string()),
                    format!("{:.3}", record.opened),
                    text,
                ],
            )
            .map_err(query("write a record"))
            .and_then(|changed| {
                // A refusal that changes no row is as it should be; a record that is being opened must have its row.
                if changed == 0 && record.verdict.is_none() {
                    let source = rusqlite::Error::QueryReturnedNoRows;
                    return Err(LedgerError::Query { doing: "open a record that is closed", source });
                }
                Ok(())
            })
    }

    /// Closes the records that an earlier station left open because it was killed, and returns them.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read or written.
    pub fn close_interrupted(&self) -> Result<Vec<Record>, LedgerError> {
        let open = self.select("WHERE verdict IS NULL", &[])?;
        let mut closed = Vec::with_capacity(open.len());
        for record in open {
            let detail = "the station was killed while it imaged this drive";
            let reason = Reason::new(ReasonCode::StationInterrupted, detail)
                .with_hint("attach the drive again, or retry it");
            let record = record.closed_with(Verdict::Stopped, reason, Timestamp::now());
            self.put(&record)?;
            closed.push(record);
        }
        Ok(closed)
    }

    /// The records that match, in the order in which they were opened, whatever the clock said.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn records(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let mut condition = String::from("WHERE 1");
        let mut values: Vec<String> = Vec::new();
        if let Some(serial) = &filter.serial {
            values.push(serial.clone());
            condition += &format!(" AND serial = ?{}", values.len());
        }
        if let Some(verdict) = filter.verdict {
            values.push(verdict.to_string());
            condition += &format!(" AND verdict = ?{}", values.len());
        }
        let mut records = self.select(&condition, &values)?;
        if let Some(since) = filter.since {
            records.retain(|record| record.opened >= since);
        }
        Ok(records)
    }

    /// The record of one job.
    ///
    /// # Errors
    /// [`LedgerError`] if the record cannot be read.
    pub fn of_job(&self, job: Uuid) -> Result<Option<Record>, LedgerError> {
        Ok(self.select("WHERE job = ?1", &[job.to_string()])?.pop())
    }

    /// Reads records through a connection of its own, so that reading does not wait for the writer.
    fn select(&self, condition: &str, values: &[String]) -> Result<Vec<Record>, LedgerError> {
        let reading = || query("read the records");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags).map_err(reading())?;
        let sql = format!("SELECT job, record FROM records {condition} ORDER BY rowid");
        let mut statement = db.prepare(&sql).map_err(reading())?;
        let rows = statement
            .query_map(rusqlite::params_from_iter(values), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(reading())?;
        let mut records = Vec::new();
        for row in rows {
            let (job, text) = row.map_err(reading())?;
            let record =
                serde_json::from_str(&text).map_err(|source| LedgerError::Row { job, source })?;
            records.push(record);
        }
        Ok(records)
    }

    /// The record that tells how an insertion of this boot has ended: of its last imaging, or of its last refusal if it
    /// was never imaged.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn of_insertion(&self, diskseq: Diskseq) -> Result<Option<Record>, LedgerError> {
        let condition = "WHERE boot = ?1 AND diskseq = CAST(?2 AS INTEGER)";
        let values = [self.boot.clone(), diskseq.0.to_string()];
        let mut records = self.select(condition, &values)?;
        let imaged = records.iter().rposition(|r| r.verdict != Some(Verdict::Refused));
        Ok(match imaged {
            Some(at) => Some(records.swap_remove(at)),
            None => records.pop(),
        })
    }

    /// The records of all jobs that gave a drive with this serial number an identity, in any boot; the latest first.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn imagings(&self, serial: &Serial) -> Result<Vec<Record>, LedgerError> {
        let condition = "WHERE serial = ?1 AND disk_guid IS NOT NULL AND verdict IS NOT 'refused'";
        let mut records = self.select(condition, &[serial.as_str().to_owned()])?;
        records.reverse();
        Ok(records)
    }

    /// The latest record of a drive that was given this GPT disk GUID.
    ///
    /// # Errors
    /// [`LedgerError`] if the records cannot be read.
    pub fn of_disk(&self, disk_guid: &Uuid) -> Result<Option<Record>, LedgerError> {
        Ok(self.select("WHERE disk_guid = ?1", &[disk_guid.to_string()])?.pop())
    }

    /// Notes that a drive of this geometry was seen, so that later media can be pressed for it ahead of time.
    ///
    /// # Errors
    /// [`LedgerError`] if the geometry cannot be written.
    pub fn note_geometry(&self, geometry: Geometry) -> Result<(), LedgerError> {
        self.lock()
            .execute(
                "INSERT INTO geometries (size, sector, seen) VALUES (?1, ?2, ?3)
                 ON CONFLICT (size, sector) DO UPDATE SET seen = excluded.seen",
                params![
                    i64::try_from(geometry.size.0).unwrap_or(i64::MAX),
                    u32::from(geometry.sector),
                    Timestamp::now().to_string()
                ],
            )
            .map(|_| ())
            .map_err(query("note a geometry"))
    }

    /// The geometries of the drives seen so far, the latest first, 16 at most.
    ///
    /// # Errors
    /// [`LedgerError`] if the geometries cannot be read.
    pub fn geometries(&self) -> Result<Vec<Geometry>, LedgerError> {
        let reading = || query("read the geometries");
        let db = self.lock();
        let sql = "SELECT size, sector FROM geometries ORDER BY seen DESC LIMIT 16";
        let mut statement = db.prepare(sql).map_err(reading())?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u32>(1)?)))
            .map_err(reading())?;
        let mut all = Vec::new();
        for row in rows {
            let (size, sector) = row.map_err(reading())?;
            if let (Ok(size), Ok(sector)) = (u64::try_from(size), sector.try_into()) {
                all.push(Geometry { size: Bytes(size), sector });
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use model::failure::Refusal;

    use super::*;

    fn record() -> Record {
        serde_json::from_str(include_str!("../../model/src/schema1.json")).unwrap()
    }

    fn open_record() -> Record {
        Record { verdict: None, closed: None, job: Uuid::now_v7(), ..record() }
    }

    #[test]
    fn an_open_record_is_closed_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let ledger = Ledger::open(&path, "boot-1").unwrap();
        let opened = open_record();
        ledger.put(&opened).unwrap();
        drop(ledger);
        let ledger = Ledger::open(&path, "boot-1").unwrap();
        assert_eq!(ledger.close_interrupted().unwrap().len(), 1);
        assert_eq!(ledger.close_interrupted().unwrap().len(), 0);
        let records = ledger.records(&Filter::default()).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].verdict, Some(Verdict::Stopped));
        assert_eq!(records[0].reason.as_ref().unwrap().code, ReasonCode::StationInterrupted);
        assert!(ledger.of_insertion(opened.diskseq).unwrap().is_some());
        let refused =
            |record: Record, code| record.refused(Refusal::new(code, "x"), Timestamp::now());
        ledger.put(&refused(opened.clone(), ReasonCode::InUse)).unwrap();
        let records = ledger.records(&Filter::default()).unwrap();
        assert_eq!(records[0].verdict, Some(Verdict::Stopped), "a late refusal changes nothing");
        ledger.put(&refused(open_record(), ReasonCode::InUse)).unwrap();
        let latest = ledger.of_insertion(opened.diskseq).unwrap().unwrap();
        assert_eq!(latest.verdict, Some(Verdict::Stopped), "a later refusal undoes no imaging");
        let rebooted = Ledger::open(&path, "boot-2").unwrap();
        assert!(rebooted.of_insertion(opened.diskseq).unwrap().is_none());
        assert!(rebooted.of_disk(&record().identity.unwrap().disk_guid).unwrap().is_some());
    }

    /// Attachment counts start anew with every boot, so another drive may have the count of one whose record is closed.
    #[test]
    fn a_record_that_is_closed_in_the_next_boot_belongs_to_no_drive_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let opened = open_record();
        Ledger::open(&path, "boot-1").unwrap().put(&opened).unwrap();
        let ledger = Ledger::open(&path, "boot-2").unwrap();
        assert_eq!(ledger.close_interrupted().unwrap().len(), 1);
        assert!(ledger.of_insertion(opened.diskseq).unwrap().is_none());
    }

    #[test]
    fn records_are_found_and_ordered() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("l.db"), "b").unwrap();
        for serial in ["A", "B'; DROP TABLE records; --", "A"] {
            let serial = Serial::new(serial);
            ledger.put(&Record { serial, job: Uuid::now_v7(), ..record() }).unwrap();
        }
        let find = |serial: &str| {
            let filter = Filter { serial: Some(serial.into()), ..Filter::default() };
            ledger.records(&filter).unwrap().len()
        };
        assert_eq!((find("A"), find("B'; DROP TABLE records; --"), find("C")), (2, 1, 0));
        let filter = Filter { verdict: Some(Verdict::Failed), ..Filter::default() };
        assert!(ledger.records(&filter).unwrap().is_empty());
    }

    #[test]
    fn a_serial_that_comes_late_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("l.db"), "b").unwrap();
        let nameless = Record { serial: None, ..open_record() };
        let refusal = Refusal::new(ReasonCode::NoSerial, "x");
        ledger.put(&nameless.clone().refused(refusal, Timestamp::now())).unwrap();
        ledger.put(&Record { serial: Serial::new("LATE"), ..nameless }).unwrap();
        let filter = Filter { serial: Some("LATE".into()), ..Filter::default() };
        assert_eq!(ledger.records(&filter).unwrap().len(), 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
    fn a_file_that_is_no_ledger_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "not a database, but long enough to be mistaken for one").unwrap();
        let error = Ledger::open(&path, "b").unwrap_err();
        assert!(error.to_string().contains("ledger.db"), "{error}");
        assert!(std::fs::read(&path).unwrap().starts_with(b"not a"), "nothing is lost");
    }
}
