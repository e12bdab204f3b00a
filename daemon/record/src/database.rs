//! The database behind the ledger, and whether it still is the file at the ledger's path.
//!
//! SQLite notices none of what can happen to its files: they are moved, deleted, replaced by a copy or overwritten, it
//! goes on writing to what it has open, and the records are gone with the process. So before each write and after each
//! commit the files at the path are compared with those that were opened ([`Database::settle`]).

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::statement::Event;
use model::record::Record;
use parking_lot::Mutex;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use crate::connection::{
    PATIENCE, connect, count, holds, id_of, last_job, log_length, opening, prepare, querying, stamp,
};
use crate::counterfoil::Counterfoil;
use crate::error::{LedgerError, is_damage};
use crate::file::{Create, FileId, Files, Held, Stamp};
use crate::ledger::{Location, Outbox};
use crate::log::database::{noted, untouched};
use crate::log::seal::Seal;
use crate::log::{Log, Said};
use crate::running::missing;
use crate::{orders, results, schema};

/// A row of the table of records, ready to be written.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) job: String,
    pub(crate) boot: String,
    pub(crate) diskseq: i64,
    pub(crate) serial: Option<String>,
    pub(crate) disk_guid: Option<String>,
    pub(crate) verdict: Option<String>,
    pub(crate) opened: String,
    pub(crate) record: String,
    /// The record itself, of one that is closed.
    pub(crate) closed: Option<Box<Record>>,
}

/// Writes a row, new or in place of the job's earlier one. A row keeps the boot and the attachment count under which it was
/// opened, because a later boot may close it. A refusal never replaces an open record or the verdict of an imaging: "no
/// byte was written" would be false.
pub(crate) const UPSERT: &str = "
INSERT INTO records (job, boot, diskseq, serial, disk_guid, verdict, opened, record)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (job) DO UPDATE SET serial = excluded.serial, disk_guid = excluded.disk_guid,
verdict = excluded.verdict, opened = excluded.opened, record = excluded.record
WHERE (records.verdict IS NULL AND excluded.verdict IS NOT 'refused'
    OR records.verdict IS 'refused'
    OR records.verdict IS excluded.verdict)";

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Database {
    /// Absent only if the files beside the database could not be made anew.
    pub(crate) db: Option<Connection>,
    pub(crate) files: Files,
    pub(crate) stamp: Stamp,
    /// The length of the write-ahead log when it was last looked at, and when it was last brought into the database.
    pub(crate) wal: u64,
    pub(crate) brought_in: u64,
    pub(crate) counterfoil: Counterfoil,
    pub(crate) log: Log,
    pub(crate) seal: Seal,
    /// What somebody has done to it. Nothing is written until a person says so.
    pub(crate) tampered: Option<String>,
    /// Whether its log was verified since it was opened. Nothing is written before.
    pub(crate) is_verified: bool,
    /// The rows of jobs that this process has begun and not closed, whatever somebody makes of them.
    pub(crate) open: BTreeMap<String, Row>,
    /// Closed last.
    pub(crate) held: Held,
}

/// A connection that only reads, so that reading does not wait for writing.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) db: Connection,
    /// The file that it reads.
    pub(crate) database: FileId,
}

impl Database {
    /// Opens the ledger at its place; creates it if the station is not known to have had one there. Its log, if it has one,
    /// is still to be verified.
    pub(crate) fn open(place: &Location) -> Result<Self, LedgerError> {
        let known = place.counterfoils.read();
        let create = if known.is_none() { Create::Allowed } else { Create::Forbidden };
        let held = Held::open(&place.path, create);
        let missing = match (&held, &known) {
            (Err(LedgerError::File { source, .. }), Some(known)) => {
                (source.kind() == std::io::ErrorKind::NotFound).then_some(known)
            }
            (Ok(held), Some(known)) => held.is_empty().then_some(known),
            _ => None,
        };
        if let Some(Counterfoil { rows, last, .. }) = missing {
            let path = place.path.clone();
            return Err(LedgerError::Missing { path, rows: *rows, last: last.clone() });
        }
        let mut database = Self::take(place, held?, known.as_ref())?;
        database.begin_first(place)?;
        Ok(database)
    }

    /// Opens the database of a held file, if it has the last record that is known.
    pub(crate) fn take(
        place: &Location,
        held: Held,
        known: Option<&Counterfoil>,
    ) -> Result<Self, LedgerError> {
        if held.is_empty() {
            held.close_to_others(&place.path, place.group)?;
        }
        let db = connect(&place.path)?;
        let failed = opening(&place.path);
        if let Some(known) = known {
            let same = id_of(&db).is_some_and(|id| id == known.ledger);
            let complete = holds(&db, &known.last).unwrap_or(false);
            // A copy of the open ledger may lack its latest records; they are carried over.
            let is_copy = same && place.has_earlier;
            if !(complete || is_copy) {
                let Counterfoil { rows, last, .. } = known.clone();
                let found = match count(&db) {
                    // Another program's database has no such table.
                    Err(error) if !is_damage(&error) => 0,
                    found => found.map_err(&failed)?,
                };
                return Err(LedgerError::Older { path: place.path.clone(), found, rows, last });
            }
        }
        prepare(&db, &place.path)?;
        // Now that it is known to be a ledger.
        held.close_to_others(&place.path, place.group)?;
        let counterfoil = Counterfoil {
            ledger: id_of(&db).unwrap_or_default(),
            rows: count(&db).map_err(&failed)?,
            last: last_job(&db).map_err(&failed)?.unwrap_or_default(),
        };
        if let Some(known) = known.filter(|known| known.rows > counterfoil.rows) {
            let lacking = known.rows - counterfoil.rows;
            let path = place.path.display();
            tracing::warn!("ledger {path}: {lacking} records fewer than this station has written");
        }
        let files = Files::at(&place.path);
        if files.database != Some(held.id) {
            return Err(LedgerError::Moved { path: place.path.clone() });
        }
        let stamp = stamp(&held, &place.path)?;
        let ledger = counterfoil.ledger.parse().unwrap_or_default();
        let log = Log::open(&db, ledger, place.key()).map_err(|error| {
            schema::blame(&db, &place.path, place.of_log("open its log")(error))
        })?;
        let wal = log_length(&place.path);
        let seal = Seal::of(&place.key());
        seal.watch(&db).map_err(&failed)?;
        let db = Some(db);
        Ok(Self {
            db,
            files,
            stamp,
            wal,
            brought_in: 0,
            counterfoil,
            log,
            seal,
            tampered: None,
            is_verified: false,
            open: BTreeMap::new(),
            held,
        })
    }

    /// Opens a connection to read through.
    pub(crate) fn reader(&self, place: &Location) -> Result<Reader, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = opening(&place.path);
        let db = Connection::open_with_flags(&place.path, flags).map_err(&failed)?;
        db.busy_timeout(PATIENCE).map_err(&failed)?;
        Ok(Reader { db, database: self.held.id })
    }

    /// The counterfoil of what is written.
    pub(crate) fn counterfoil(&self) -> &Counterfoil {
        &self.counterfoil
    }

    pub(crate) fn connection(&self, place: &Location) -> Result<&Connection, LedgerError> {
        self.db.as_ref().ok_or_else(|| LedgerError::Moved { path: place.path.clone() })
    }

    /// Lets another station have the ledger, even if this process cannot end yet.
    pub(crate) fn unlock(&self) -> std::io::Result<()> {
        self.held.unlock()
    }

    /// Whether the files at the path are those that are open.
    pub(crate) fn is_in_place(&self, place: &Location) -> bool {
        self.db.is_some() && Files::at(&place.path) == self.files
    }

    /// Makes sure that what is written lands in the file at the path, and is safe there: makes files anew that were
    /// deleted, and goes on with a copy that has taken the ledger's place, if it is one of this ledger.
    ///
    /// # Errors
    /// [`LedgerError`] if that cannot be done. Then nothing may be written.
    pub(crate) fn settle(
        &mut self,
        place: &Location,
        reader: &Mutex<Option<Reader>>,
    ) -> Result<(), LedgerError> {
        self.trusted(place)?;
        if self.is_in_place(place) {
            return self.check_content(place);
        }
        self.find(place, reader)?;
        self.trusted(place)
    }

    /// Goes on with what is at the ledger's path now.
    fn find(
        &mut self,
        place: &Location,
        reader: &Mutex<Option<Reader>>,
    ) -> Result<(), LedgerError> {
        let path = &place.path;
        match FileId::at(path) {
            Some(id) if id == self.held.id => {
                let name = path.display();
                tracing::error!(
                    "ledger {name}: the files beside it (-wal, -shm) were taken away; they are made anew"
                );
                self.reopen(place, reader)
            }
            Some(_) => self.follow(place, reader),
            None if self.held.is_deleted() => {
                let name = path.display();
                tracing::error!(
                    "ledger {name}: deleted while the station uses it; it is written anew, with all its records"
                );
                self.write_anew(path)?;
                self.follow(place, reader)
            }
            None => Err(LedgerError::Moved { path: path.clone() }),
        }
    }

    /// Whether the file's content is still what SQLite has written: if anybody else has changed the file, all of it is
    /// checked.
    fn check_content(&mut self, place: &Location) -> Result<(), LedgerError> {
        let (stamp, wal) = (stamp(&self.held, &place.path)?, log_length(&place.path));
        // The write-ahead log grows until it is brought in.
        if stamp == self.stamp && wal >= self.wal {
            self.wal = wal;
            return Ok(());
        }
        let damage = self.damage(place);
        if let Some(damage) = damage {
            return Err(LedgerError::Overwritten { path: place.path.clone(), damage });
        }
        // What was lost of the file may still be in the write-ahead log; a restart could lose that, too.
        self.bring_in(place)
    }

    /// What is wrong with the file's content, seen with fresh eyes: the open connections remember pages.
    fn damage(&self, place: &Location) -> Option<String> {
        let look = || -> Result<Option<String>, LedgerError> {
            let db = self.reader(place)?.db;
            let failed = querying(&place.path, "check it");
            let found: String =
                db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(&failed)?;
            if found != "ok" {
                return Ok(Some(found));
            }
            let rows = count(&db).map_err(&failed)?;
            let lacking = rows < self.counterfoil.rows;
            Ok(lacking.then(|| format!("it has {rows} of {} records", self.counterfoil.rows)))
        };
        look().unwrap_or_else(|error| Some(model::failure::chain(&error)))
    }

    /// Brings all of the write-ahead log into the database's file.
    pub(crate) fn bring_in(&mut self, place: &Location) -> Result<(), LedgerError> {
        let failed = querying(&place.path, "bring the write-ahead log into it");
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: bool =
            self.connection(place)?.query_row(sql, [], |row| row.get(0)).map_err(&failed)?;
        if busy {
            let source = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(failed(rusqlite::Error::SqliteFailure(source, None)));
        }
        self.stamp = stamp(&self.held, &place.path)?;
        self.wal = log_length(&place.path);
        self.brought_in = self.wal;
        Ok(())
    }

    /// Brings in what has been written since the last time. SQLite does not do it by itself here, so that nobody else's
    /// change of the file is taken for its own; and a copy of the one file has all that is older than a second. Who reads
    /// for a long time, as a backup does, is not waited for: what came since then is brought in later.
    pub(crate) fn trim_log(&mut self, place: &Location) -> Result<(), LedgerError> {
        if log_length(&place.path) == self.brought_in {
            return Ok(());
        }
        let failed = querying(&place.path, "bring the write-ahead log into it");
        let db = self.connection(place)?;
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let counted = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (pages, brought_in) = db.query_row(sql, [], counted).map_err(&failed)?;
        let is_all = pages == brought_in;
        if is_all {
            db.busy_timeout(Duration::ZERO).map_err(&failed)?;
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            let emptied = db.query_row(sql, [], |_| Ok(()));
            db.busy_timeout(PATIENCE).map_err(&failed)?;
            emptied.map_err(&failed)?;
        }
        self.stamp = stamp(&self.held, &place.path)?;
        self.wal = log_length(&place.path);
        if is_all {
            self.brought_in = self.wal;
        }
        Ok(())
    }

    /// Writes a row durably.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] if the row has another verdict already, [`LedgerError::Older`] if the last row that was
    /// written is not there any more, [`LedgerError::Query`] if the row cannot be written.
    pub(crate) fn write(
        &mut self,
        place: &Location,
        prepare: impl FnOnce(&Transaction<'_>) -> Result<Row, LedgerError>,
    ) -> Result<(), LedgerError> {
        let before = self.seal.sum();
        self.written(place, prepare).inspect_err(|_| self.seal.set(before))
    }

    fn written(
        &mut self,
        place: &Location,
        prepare: impl FnOnce(&Transaction<'_>) -> Result<Row, LedgerError>,
    ) -> Result<(), LedgerError> {
        let path = &place.path;
        let failed = querying(path, "write a record");
        let Some(db) = &mut self.db else { return Err(LedgerError::Moved { path: path.clone() }) };
        let transaction =
            db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let others = match missing(&transaction, place, &self.counterfoil, &self.open)? {
            Some(gone) => Ok(Err(gone)),
            None => self.seal.check_others(&transaction),
        };
        untouched(&mut self.tampered, place, others)?;
        let row = &prepare(&transaction)?;
        let before: Option<Option<String>> = transaction
            .query_row("SELECT verdict FROM records WHERE job = ?1", [&row.job], |row| row.get(0))
            .optional()
            .map_err(&failed)?;
        let changed = transaction
            .execute(
                UPSERT,
                params![
                    row.job,
                    row.boot,
                    row.diskseq,
                    row.serial,
                    row.disk_guid,
                    row.verdict,
                    row.opened,
                    row.record
                ],
            )
            .map_err(&failed)?;
        // A refusal that changes no row is as it should be. Any other record must have its row.
        if changed == 0 && row.verdict.as_deref() != Some("refused") {
            let verdict = before.flatten().and_then(|verdict| verdict.parse().ok());
            let Some(verdict) = verdict else {
                return Err(failed(rusqlite::Error::QueryReturnedNoRows));
            };
            return Err(LedgerError::Closed { path: path.clone(), job: row.job.clone(), verdict });
        }
        let mut tip = None;
        if let Some(record) = row.closed.as_ref().filter(|_| changed > 0) {
            if let Some(verdict) = record.verdict {
                let reason = record.reason.as_ref().map(|reason| reason.code);
                orders::settle(&transaction, &row.job, verdict, reason).map_err(&failed)?;
            }
            if place.outbox == Outbox::On {
                results::note(&transaction, &row.job).map_err(&failed)?;
            }
            let said = Said::Closed(record, &row.record);
            let grown = self.log.append(self.log.tip().clone(), &transaction, said);
            tip = Some(grown.map_err(|error| noted(&mut self.tampered, place, error))?);
        }
        self.seal.write(&transaction).map_err(place.of_log("seal it"))?;
        transaction.commit().map_err(&failed)?;
        match row.verdict {
            Some(_) => self.open.remove(&row.job),
            None => self.open.insert(row.job.clone(), row.clone()),
        };
        // What shortens the write-ahead log from here on is not us.
        self.wal = log_length(path);
        if let Some(tip) = tip {
            self.log.advance(tip);
            place.counterfoils.keep_checkpoint(self.log.tip().note().unwrap_or_default());
        }
        if before.is_none() {
            self.counterfoil.rows += 1;
            self.counterfoil.last.clone_from(&row.job);
            place.counterfoils.write(&self.counterfoil);
        }
        Ok(())
    }

    /// Does something in a transaction of its own, with an entry in the log for each thing that it says has happened.
    pub(crate) fn transact<T>(
        &mut self,
        place: &Location,
        doing: &'static str,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<(T, Vec<Event>)>,
    ) -> Result<T, LedgerError> {
        let before = self.seal.sum();
        self.transacted(place, doing, act).inspect_err(|_| self.seal.set(before))
    }

    fn transacted<T>(
        &mut self,
        place: &Location,
        doing: &'static str,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<(T, Vec<Event>)>,
    ) -> Result<T, LedgerError> {
        let failed = querying(&place.path, doing);
        let Some(db) = &mut self.db else {
            return Err(LedgerError::Moved { path: place.path.clone() });
        };
        let transaction =
            db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let others = self.seal.check_others(&transaction);
        untouched(&mut self.tampered, place, others)?;
        let (done, events) = act(&transaction).map_err(&failed)?;
        let grows = !events.is_empty();
        let mut tip = self.log.tip().clone();
        for event in events {
            let grown = self.log.append(tip, &transaction, Said::Happened(event));
            tip = grown.map_err(|error| noted(&mut self.tampered, place, error))?;
        }
        self.seal.write(&transaction).map_err(place.of_log("seal it"))?;
        transaction.commit().map_err(&failed)?;
        self.wal = log_length(&place.path);
        if grows {
            self.log.advance(tip);
            place.counterfoils.keep_checkpoint(self.log.tip().note().unwrap_or_default());
        }
        Ok(done)
    }

    /// Takes back an open row that may have gone to a file that nobody will see.
    pub(crate) fn take_back(&mut self, place: &Location, job: &str) {
        let taken = self.transact(place, "take a row back", |transaction| {
            orders::give_back(transaction, job)?;
            let sql = "DELETE FROM records WHERE job = ?1 AND verdict IS NULL";
            let taken = transaction.execute(sql, [job])?;
            Ok(((taken, count(transaction)?, last_job(transaction)?), Vec::new()))
        });
        match taken {
            Ok((0, ..)) => {}
            Ok((_, rows, last)) => {
                self.open.remove(job);
                self.counterfoil.rows = rows;
                self.counterfoil.last = last.unwrap_or_default();
                place.counterfoils.write(&self.counterfoil);
            }
            Err(error) => {
                tracing::warn!(job, %error, "cannot take back the row of a job that does not begin");
            }
        }
    }
}
