//! What is asked of the log of an open ledger.

use std::sync::atomic::Ordering;

use evidence::statement::Event;
use jiff::Timestamp;
use model::failure::chain;
use rusqlite::params;
use signing::PublicKey;
use uuid::Uuid;

use super::{Begin, Tampered, Whole, verify};
use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::{Ledger, Shared};
use crate::schema;

/// When a page of entries is full, in bytes.
const LARGEST_PAGE: usize = 1 << 20;

/// Some entries of the log, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The name of the ledger.
    pub ledger: Uuid,
    /// How many entries the log has.
    pub size: u64,
    /// Each with its number.
    pub entries: Vec<(u64, Vec<u8>)>,
}

impl Ledger {
    /// What somebody has done to the ledger, if its log says so.
    pub fn tampered(&self) -> Option<LedgerError> {
        let Shared { location, database, .. } = &*self.0;
        let found = database.lock().tampered.clone();
        found.map(|found| LedgerError::Tampered { path: location.path.clone(), found })
    }

    /// What keeps a station from starting with this ledger: what somebody has done to it, if it cannot be read for that.
    pub fn blame(&self, error: LedgerError) -> LedgerError {
        let Some(LedgerError::Tampered { path, found }) = self.tampered() else { return error };
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), chain);
        LedgerError::Changed { path, found: format!("{found}, and it cannot be read: {why}") }
    }

    /// Goes on with a ledger that somebody has changed, as it is: begins its log anew, with what was found and who says so.
    /// Does nothing if nothing is wrong.
    ///
    /// # Errors
    /// [`LedgerError`] if that cannot be written.
    pub fn acknowledge(&self, operator: String, reason: String) -> Result<(), LedgerError> {
        let Shared { location, database, .. } = &*self.0;
        let mut database = database.lock();
        let Some(found) = database.tampered.clone() else { return Ok(()) };
        let (operator, reason) = (Some(operator), Some(reason));
        let why = Begin { at: Timestamp::now(), operator, reason, found: Some(found) };
        database.begin_log(location, why)?;
        drop(database);
        if self.0.left_open.swap(false, Ordering::Relaxed) {
            self.close_interrupted()?;
        }
        Ok(())
    }

    /// Compares all of the log with itself, with the records and with what is known outside of the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`] says what somebody has done; it stays so until it is acknowledged.
    pub fn verify(&self) -> Result<Whole, LedgerError> {
        if let Some(error) = self.tampered() {
            return Err(error);
        }
        let Shared { location, database, .. } = &*self.0;
        let failed = location.of_log("verify its log");
        // What is known outside is read first: the log may only have grown since.
        let (known, db, name, key, seal) = {
            let database = database.lock();
            let (known, log) = (location.checkpoints(&database.log), &database.log);
            let seal = database.seal.clone();
            (known, database.reader(location)?.db, log.ledger(), log.public_key(), seal)
        };
        let as_it_is_now =
            db.unchecked_transaction().map_err(querying(&location.path, "read it"))?;
        let unsound = schema::unsound(&as_it_is_now, &schema::looked_up())
            .map_err(querying(&location.path, "check it"))?;
        let verified = verify(&as_it_is_now, name, &key, &known).map_err(&failed)?;
        let found = match (unsound, verified) {
            (Some(said), _) => Err(Tampered::Unsound(said)),
            (None, Ok(whole)) => {
                let sealed = seal.check(&as_it_is_now, whole.is_sealed).map_err(&failed)?;
                sealed.map(|_| whole)
            }
            (None, Err(tampered)) => Err(tampered),
        };
        found.map_err(|tampered| {
            let found = chain(&tampered);
            tracing::error!("ledger {}: {found}; no drive is touched", location.path.display());
            database.lock().tampered = Some(found.clone());
            LedgerError::Tampered { path: location.path.clone(), found }
        })
    }

    /// The signed note with the log's latest checkpoint; `None` while it has no entry.
    pub fn checkpoint(&self) -> Option<String> {
        self.0.database.lock().log.tip().note().map(str::to_owned)
    }

    /// The entries after the one with this number, byte for byte, at most so many and not many more than [`LARGEST_PAGE`]
    /// bytes of them.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn entries(&self, after: u64, most: u32) -> Result<Entries, LedgerError> {
        self.read(|db| {
            let read = || -> rusqlite::Result<Entries> {
                // One log and its end, even where it is begun anew meanwhile.
                let reading = db.unchecked_transaction()?;
                let ledger: String =
                    reading.query_row("SELECT id FROM ledger", [], |row| row.get(0))?;
                let sql = "SELECT coalesce(max(seq), 0) FROM log";
                let size: i64 = reading.query_row(sql, [], |row| row.get(0))?;
                let sql = "SELECT seq, entry FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2";
                let mut statement = reading.prepare_cached(sql)?;
                let mut rows =
                    statement.query(params![i64::try_from(after).unwrap_or(i64::MAX), most])?;
                let (mut entries, mut bytes) = (Vec::new(), 0);
                while let Some(row) = rows.next()? {
                    let (seq, entry): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
                    bytes += entry.len();
                    entries.push((u64::try_from(seq).unwrap_or_default(), entry));
                    if bytes >= LARGEST_PAGE {
                        break;
                    }
                }
                let ledger = ledger.parse().unwrap_or_default();
                Ok(Entries { ledger, size: u64::try_from(size).unwrap_or_default(), entries })
            };
            read().map_err(querying(self.path(), "read its log"))
        })
    }

    /// The key by which others check the log.
    pub fn public_key(&self) -> PublicKey {
        self.0.database.lock().log.public_key()
    }

    /// Whether something can be written now: the seal is written anew, as it is.
    ///
    /// # Errors
    /// [`LedgerError`] if not.
    pub fn takes_writes(&self) -> Result<(), LedgerError> {
        self.change("write to it", |_| Ok(()))
    }

    /// Notes in the log that something has happened.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn happened(&self, event: Event) -> Result<(), LedgerError> {
        self.change_noted("note what happened", |_| Ok(((), vec![event])))
    }
}
