//! What is asked of the log of an open ledger.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, SendError};
use std::thread;
use std::time::Duration;

use evidence::statement::Event;
use jiff::Timestamp;
use model::failure::chain;
use rusqlite::params;
use signing::PublicKey;
use uuid::Uuid;

use super::{Begin, Tampered, Whole};
use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::{Ledger, Shared};

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

    /// Why the ledger cannot be used for now, though it is there: somebody has changed it, or its log is being verified.
    pub fn distrust(&self) -> Option<LedgerError> {
        let Shared { location, database, .. } = &*self.0;
        let trusted = database.lock().trusted(location);
        trusted.err().or_else(|| self.verified().err())
    }

    /// Nothing is decided or shown by what stands in a ledger whose log is still being verified.
    ///
    /// # Errors
    /// [`LedgerError::Verifying`] as long as it is.
    pub(crate) fn verified(&self) -> Result<(), LedgerError> {
        match self.0.unverified.load(Ordering::Relaxed) {
            true => Err(LedgerError::Verifying { path: self.path().to_owned() }),
            false => Ok(()),
        }
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
        let Some(found) = database.tampered.clone() else {
            drop(database);
            return self.close_left_open();
        };
        let (operator, reason) = (Some(operator), Some(reason));
        let why = Begin { at: Timestamp::now(), operator, reason, found: Some(found) };
        database.begin_log(location, why)?;
        drop(database);
        self.close_left_open()
    }

    /// Compares all of the log with itself, with the records and with what is known outside of the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`] says what somebody has done; it stays so until it is acknowledged.
    pub fn verify(&self) -> Result<Whole, LedgerError> {
        let Shared { location, database, .. } = &*self.0;
        let verification = {
            let database = database.lock();
            database.trusted(location)?;
            database.verification(location)?
        };
        match verification.run()? {
            Ok(verified) => Ok(verified.whole),
            Err(tampered) => {
                let found = database.lock().blame(location, &tampered);
                Err(LedgerError::Tampered { path: location.path.clone(), found })
            }
        }
    }

    /// Verifies the log of a ledger that was opened, on a thread of its own: a long one takes a while. Waits so long for it;
    /// until it is done, nothing is written and no drive is begun ([`LedgerError::Verifying`]).
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read. What somebody has done to it is no error here.
    pub(crate) fn verify_first(&self, patience: Duration) -> Result<(), LedgerError> {
        let Shared { location, .. } = &*self.0;
        let (done, told) = mpsc::channel();
        let ledger = self.clone();
        self.0.unverified.store(true, Ordering::Relaxed);
        let verify = move || {
            // Nobody waits any longer.
            if let Err(SendError(Err(error))) = done.send(ledger.verify_now()) {
                let mut database = ledger.0.database.lock();
                database.is_verified = true;
                database.blame(&ledger.0.location, &Tampered::Unreadable(chain(&error)));
                ledger.0.unverified.store(false, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("records/verify".into());
        let thread = thread.spawn(verify).map_err(|source| LedgerError::File {
            path: location.path.clone(),
            doing: "verify its log",
            source,
        })?;
        let found = told.recv_timeout(patience);
        if matches!(found, Err(RecvTimeoutError::Timeout)) {
            tracing::info!("{}", LedgerError::Verifying { path: location.path.clone() });
            return Ok(());
        }
        // It has the ledger until it ends; a panic of it goes on here.
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        found.unwrap_or(Ok(()))
    }

    /// Verifies the log, and closes then what an earlier station has left open if that was waiting for it.
    fn verify_now(&self) -> Result<(), LedgerError> {
        let Shared { location, database, .. } = &*self.0;
        let verification = database.lock().verification(location)?;
        let found = verification.run()?;
        database.lock().judge(location, found)?;
        if self.tampered().is_none() {
            self.close_left_open()?;
        }
        self.0.unverified.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Closes what an earlier station has left open, if that was to be done later.
    fn close_left_open(&self) -> Result<(), LedgerError> {
        if self.0.left_open.load(Ordering::Relaxed) {
            self.close_interrupted()?;
        }
        Ok(())
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

    /// [`Self::happened`], as soon as the log is verified.
    ///
    /// # Errors
    /// As there.
    pub fn happened_meanwhile(&self, event: Event) -> Result<(), LedgerError> {
        loop {
            match self.happened(event.clone()) {
                Err(LedgerError::Verifying { .. }) => thread::sleep(Duration::from_secs(1)),
                noted => return noted,
            }
        }
    }

    /// Notes in the log that something has happened.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn happened(&self, event: Event) -> Result<(), LedgerError> {
        self.change_noted("note what happened", |_| Ok(((), vec![event])))
    }
}
