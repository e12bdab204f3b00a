//! The log of an open database: begun, verified, and not built upon where somebody else has changed it.

use std::thread;

use evidence::checkpoint::Checkpoint;
use jiff::Timestamp;
use model::failure::chain;
use rusqlite::TransactionBehavior;

use super::{Begin, Log, LogError, Tampered, seal};
use crate::connection::opening;
use crate::database::Database;
use crate::error::LedgerError;
use crate::ledger::Location;
use crate::running::{missing, open_again};
use crate::schema;

impl Location {
    /// An error of the log.
    pub(crate) fn of_log(&self, doing: &'static str) -> impl Fn(LogError) -> LedgerError {
        let path = self.path.clone();
        move |source| LedgerError::Log { path: path.clone(), doing, source }
    }

    /// The checkpoints of a log that are known outside of the ledger. One that is not the station's is told, and no help.
    pub(crate) fn checkpoints(&self, log: &Log) -> Vec<Checkpoint> {
        let read = |note: String| {
            Checkpoint::open(&note, &log.public_key())
                .inspect_err(|error| {
                    let path = self.path.display();
                    tracing::warn!("ledger {path}: a checkpoint beside its counterfoil: {error}");
                })
                .ok()
                .filter(|checkpoint| log.is_of(checkpoint))
        };
        self.counterfoils.checkpoints().into_iter().filter_map(read).collect()
    }
}

impl Database {
    /// Compares the tables with what they should be if another program has changed the database.
    ///
    /// # Errors
    /// [`LedgerError::Older`] if the last record is gone, [`LedgerError::Tampered`] says what else was done.
    pub(crate) fn check_others(&mut self, place: &Location) -> Result<(), LedgerError> {
        let db = self.connection(place)?;
        let others = match missing(db, place, &self.counterfoil, &self.open)? {
            Some(gone) => Ok(Err(gone)),
            None => self.seal.check_others(db),
        };
        if untouched(&mut self.tampered, place, others).is_err() && self.tampered.is_some() {
            let found = self.tampered.take();
            // Says more exactly what was done, if the log knows it.
            self.verify(place)?;
            self.tampered = self.tampered.take().or(found);
        }
        self.untampered(place)
    }

    /// Whether nobody has changed it, as far as is known.
    pub(crate) fn untampered(&self, place: &Location) -> Result<(), LedgerError> {
        let tampered = |found: &String| LedgerError::Tampered {
            path: place.path.clone(),
            found: found.clone(),
        };
        self.tampered.as_ref().map(tampered).map_or(Ok(()), Err)
    }

    /// Begins the log of a ledger that has none, or verifies the one that is there.
    pub(crate) fn begin_or_verify(&mut self, place: &Location) -> Result<(), LedgerError> {
        let is_new = self.log.tip().is_empty() && place.checkpoints(&self.log).is_empty();
        if is_new { self.begin_log(place, Begin::of_station()) } else { self.verify(place) }
    }

    /// Compares the log with itself, with the records and with what is known outside of the ledger.
    pub(crate) fn verify(&mut self, place: &Location) -> Result<(), LedgerError> {
        let failed = place.of_log("verify its log");
        let known = place.checkpoints(&self.log);
        let db = self.connection(place)?;
        // First: what is not as it was made cannot be asked.
        let sealed = match schema::foreign(db).map_err(opening(&place.path))? {
            Some(found) => Err(Tampered::Schema(found)),
            None => {
                let other = self.reader(place)?.db;
                let (unsound, found) = thread::scope(|scope| {
                    let sound = scope.spawn(move || schema::unsound(&other, &schema::looked_up()));
                    let found = self.log.verify(db, &known);
                    (sound.join(), found)
                });
                // A panic of the thread goes on here.
                let unsound = unsound.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                match (unsound.map_err(opening(&place.path))?, found.map_err(&failed)?) {
                    (Some(said), _) => Err(Tampered::Unsound(said)),
                    (None, Ok(whole)) => self.seal.check(db, whole.is_sealed).map_err(&failed)?,
                    (None, Err(tampered)) => Err(tampered),
                }
            }
        };
        match sealed {
            Ok((sum, has_seal)) => {
                self.tampered = None;
                self.seal.set(Some(sum));
                if has_seal { Ok(()) } else { self.seal_first(place) }
            }
            Err(tampered) => {
                let found = chain(&tampered);
                tracing::error!("ledger {}: {found}; no drive is touched", place.path.display());
                self.tampered = Some(found);
                Ok(())
            }
        }
    }

    /// Seals the tables of a ledger whose log was begun by an older program.
    fn seal_first(&mut self, place: &Location) -> Result<(), LedgerError> {
        let event = seal::first(Timestamp::now());
        self.transact(place, "seal it", |_| Ok(((), vec![event])))
    }

    /// Begins a log, in place of the one that is there.
    pub(crate) fn begin_log(&mut self, place: &Location, why: Begin) -> Result<(), LedgerError> {
        let (opened, failed) = (opening(&place.path), place.of_log("begin its log"));
        let Some(db) = &mut self.db else {
            return Err(LedgerError::Moved { path: place.path.clone() });
        };
        let transaction =
            db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&opened)?;
        schema::mend(&transaction).map_err(&opened)?;
        schema::check(&transaction, &place.path)?;
        open_again(&transaction, &self.open).map_err(&opened)?;
        crate::orders::count_anew(&transaction).map_err(&opened)?;
        if let Some(said) = schema::unsound(&transaction, &schema::looked_up()).map_err(&opened)? {
            let found = chain(&Tampered::Unsound(said));
            return Err(LedgerError::Changed { path: place.path.clone(), found });
        }
        let log = crate::log::begin(&transaction, place.key(), why).map_err(&failed)?;
        // What is there now is what is gone on with.
        self.seal.set(None);
        self.seal.write(&transaction).map_err(&failed)?;
        transaction.commit().map_err(&opened)?;
        self.log = log;
        self.tampered = None;
        self.counterfoil.ledger = self.log.ledger().to_string();
        place.counterfoils.write(&self.counterfoil);
        place.counterfoils.keep_checkpoint(self.log.tip().note().unwrap_or_default());
        Ok(())
    }
}

/// Remembers it when somebody has changed the tables.
pub(crate) fn untouched(
    tampered: &mut Option<String>,
    place: &Location,
    found: Result<Result<(), Tampered>, LogError>,
) -> Result<(), LedgerError> {
    found
        .and_then(|found| found.map_err(LogError::from))
        .map_err(|error| noted(tampered, place, error))
}

/// Remembers it when somebody has changed the log.
pub(crate) fn noted(
    tampered: &mut Option<String>,
    place: &Location,
    error: LogError,
) -> LedgerError {
    let path = place.path.clone();
    match error {
        LogError::Tampered(found) => {
            let found = chain(&found);
            *tampered = Some(found.clone());
            LedgerError::Tampered { path, found }
        }
        other => place.of_log("write to its log")(other),
    }
}
