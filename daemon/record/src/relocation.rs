//! A ledger whose files were taken away, or that another file has taken the place of, while the station uses it.

use std::fs::{self, File};
use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};

use crate::carried;
use crate::connection::{connect, log_length, opening, prepare, querying, stamp};
use crate::counterfoil::Counterfoil;
use crate::database::{Database, Reader, UPSERT};
use crate::error::LedgerError;
use crate::file::{BESIDE, Create, FileId, Files, Held, beside};
use crate::ledger::Location;

impl Database {
    /// Makes the files beside the database anew.
    pub(crate) fn reopen(
        &mut self,
        place: &Location,
        reader: &Mutex<Option<Reader>>,
    ) -> Result<(), LedgerError> {
        if self.db.is_some() {
            self.bring_in(place)?;
        }
        let mut reader = reader.lock();
        // All connections share the files beside the database, so all are closed before one is opened.
        *reader = None;
        self.db = None;
        let db = connect(&place.path)?;
        prepare(&db, &place.path)?;
        self.seal.watch(&db).map_err(opening(&place.path))?;
        self.db = Some(db);
        self.files = Files::at(&place.path);
        self.stamp = stamp(&self.held, &place.path)?;
        self.wal = log_length(&place.path);
        *reader = Some(self.reader(place)?);
        Ok(())
    }

    /// Writes the database that has no name any more to a new file at the path.
    pub(crate) fn write_anew(&self, path: &Path) -> Result<(), LedgerError> {
        let Some(db) = &self.db else { return Err(LedgerError::Moved { path: path.to_owned() }) };
        let fresh = beside(path, ".anew");
        let _ = fs::remove_file(&fresh);
        let doing = "write it anew";
        db.execute("VACUUM INTO ?1", [fresh.to_string_lossy()]).map_err(querying(path, doing))?;
        let put = || -> std::io::Result<()> {
            let file = File::open(&fresh)?;
            self.held.lend_mode(&file)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        put().map_err(|source| LedgerError::File { path: path.to_owned(), doing, source })
    }

    /// Goes on with the file that has taken the ledger's place, with all records that were in the former.
    pub(crate) fn follow(
        &mut self,
        place: &Location,
        reader: &Mutex<Option<Reader>>,
    ) -> Result<(), LedgerError> {
        let path = &place.path;
        let held = Held::open(path, Create::Forbidden)?;
        let Counterfoil { rows, last, .. } = self.counterfoil.clone();
        if held.is_empty() {
            return Err(LedgerError::Missing { path: path.clone(), rows, last });
        }
        self.bring_in(place)?;
        // SQLite would take the former file's log for the new one's.
        for (ending, own) in BESIDE.into_iter().zip(self.files.beside) {
            let path = beside(path, ending);
            if own.is_some() && FileId::at(&path) == own {
                fs::remove_file(&path).map_err(|source| LedgerError::File {
                    path,
                    doing: "take it away",
                    source,
                })?;
            }
        }
        let copy = Location { has_earlier: true, ..place.clone() };
        let mut fresh = Self::take(&copy, held, Some(&self.counterfoil))?;
        // It gets what it lacks, and is verified then.
        fresh.is_verified = true;
        let carried = fresh.carry_over(self.connection(place)?, path)?;
        fresh.log.advance(self.log.tip().clone());
        fresh.verify(place)?;
        fresh.counterfoil =
            Counterfoil { rows: rows.max(fresh.counterfoil.rows), last, ..fresh.counterfoil };
        fresh.open = std::mem::take(&mut self.open);
        let mut reader = reader.lock();
        *reader = Some(fresh.reader(place)?);
        *self = fresh;
        let name = path.display();
        tracing::warn!(
            "ledger {name}: another file has taken its place; {carried} records that it lacked are in it now"
        );
        Ok(())
    }

    /// Writes the rows of a former database that this one lacks; returns how many.
    fn carry_over(&mut self, former: &Connection, path: &Path) -> Result<usize, LedgerError> {
        let Some(db) = &mut self.db else {
            return Err(LedgerError::Moved { path: path.to_owned() });
        };
        let mut carry = || -> rusqlite::Result<usize> {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut carried = 0;
            {
                let columns = ["record", "serial", "disk_guid", "verdict", "opened"];
                let differ = columns.map(|name| format!("records.{name} IS NOT excluded.{name}"));
                let sql = format!("{UPSERT} AND ({})", differ.join(" OR "));
                let mut write = transaction.prepare(&sql)?;
                let columns = "job, boot, diskseq, serial, disk_guid, verdict, opened, record";
                let sql = format!("SELECT {columns} FROM records ORDER BY rowid");
                let mut read = former.prepare(&sql)?;
                let mut rows = read.query([])?;
                while let Some(row) = rows.next()? {
                    let values: [rusqlite::types::Value; 8] = [
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(6)?,
                        row.get(7)?,
                    ];
                    carried += write.execute(rusqlite::params_from_iter(values))?;
                }
            }
            carried::carry(former, &transaction)?;
            transaction.commit()?;
            Ok(carried)
        };
        carry().map_err(querying(path, "carry its records over"))
    }
}
