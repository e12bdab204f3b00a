//! The log of an open database: begun, verified, and not built upon where somebody else has changed it.

use std::thread;

use evidence::checkpoint::Checkpoint;
use jiff::Timestamp;
use model::failure::chain;
use rusqlite::{Connection, TransactionBehavior};
use signing::PublicKey;
use uuid::Uuid;

use super::seal::{Seal, Sum};
use super::{Begin, Log, LogError, Tampered, Whole, seal, verify};
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
        self.trusted(place)
    }

    /// Whether nobody has changed it, as far as is known.
    ///
    /// # Errors
    /// [`LedgerError::Tampered`], or [`LedgerError::Verifying`] as long as that is not known.
    pub(crate) fn trusted(&self, place: &Location) -> Result<(), LedgerError> {
        let path = || place.path.clone();
        match &self.tampered {
            Some(found) => Err(LedgerError::Tampered { path: path(), found: found.clone() }),
            None if !self.is_verified => Err(LedgerError::Verifying { path: path() }),
            None => Ok(()),
        }
    }

    /// Begins the log of a ledger that has none.
    pub(crate) fn begin_first(&mut self, place: &Location) -> Result<(), LedgerError> {
        let is_new = self.log.tip().is_empty() && place.checkpoints(&self.log).is_empty();
        if is_new { self.begin_log(place, Begin::of_station()) } else { Ok(()) }
    }

    /// What it takes to verify it, beside whoever writes to it.
    pub(crate) fn verification(&self, place: &Location) -> Result<Verification, LedgerError> {
        // What is known outside is read first: the log may only have grown since.
        Ok(Verification {
            known: place.checkpoints(&self.log),
            place: place.clone(),
            ledger: self.log.ledger(),
            key: self.log.public_key(),
            seal: self.seal.clone(),
            db: self.reader(place)?.db,
            beside: self.reader(place)?.db,
        })
    }

    /// Compares the log with itself, with the records and with what is known outside of the ledger.
    pub(crate) fn verify(&mut self, place: &Location) -> Result<(), LedgerError> {
        let found = self.verification(place)?.run()?;
        self.judge(place, found)
    }

    /// Goes on with a ledger in which this was found.
    pub(crate) fn judge(
        &mut self,
        place: &Location,
        found: Result<Verified, Tampered>,
    ) -> Result<(), LedgerError> {
        self.is_verified = true;
        match found {
            Ok(Verified { sum, has_seal, .. }) => {
                self.tampered = None;
                self.seal.set(Some(sum));
                if has_seal { Ok(()) } else { self.seal_first(place) }
            }
            Err(tampered) => {
                self.blame(place, &tampered);
                Ok(())
            }
        }
    }

    /// Remembers what somebody has done to it, and says so.
    pub(crate) fn blame(&mut self, place: &Location, found: &Tampered) -> String {
        let found = chain(found);
        tracing::error!("ledger {}: {found}; no drive is touched", place.path.display());
        self.tampered = Some(found.clone());
        found
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
        (self.tampered, self.is_verified) = (None, true);
        self.counterfoil.ledger = self.log.ledger().to_string();
        place.counterfoils.write(&self.counterfoil);
        place.counterfoils.keep_checkpoint(self.log.tip().note().unwrap_or_default());
        Ok(())
    }
}

/// What it takes to verify a ledger.
pub(crate) struct Verification {
    place: Location,
    known: Vec<Checkpoint>,
    ledger: Uuid,
    key: PublicKey,
    seal: Seal,
    /// Two connections that only read.
    db: Connection,
    beside: Connection,
}

/// A ledger in which nothing is wrong.
pub(crate) struct Verified {
    pub(crate) whole: Whole,
    sum: Sum,
    has_seal: bool,
}

impl Verification {
    /// Compares everything as it is at one moment: the log with itself, with the records and with what is known outside of
    /// the ledger, and the other tables with their seal.
    pub(crate) fn run(self) -> Result<Result<Verified, Tampered>, LedgerError> {
        let Self { place, known, ledger, key, seal, db, beside } = self;
        let (opened, failed) = (opening(&place.path), place.of_log("verify its log"));
        let db = db.unchecked_transaction().map_err(&opened)?;
        // First: what is not as it was made cannot be asked.
        if let Some(found) = schema::foreign(&db).map_err(&opened)? {
            return Ok(Err(Tampered::Schema(found)));
        }
        let (unsound, found) = thread::scope(|scope| {
            let sound = scope.spawn(move || schema::unsound(&beside, &schema::looked_up()));
            let found = verify(&db, ledger, &key, &known);
            (sound.join(), found)
        });
        // A panic of the thread goes on here.
        let unsound = unsound.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(said) = unsound.map_err(&opened)? {
            return Ok(Err(Tampered::Unsound(said)));
        }
        let whole = match found.map_err(&failed)? {
            Ok(whole) => whole,
            Err(tampered) => return Ok(Err(tampered)),
        };
        let sealed = seal.check(&db, whole.is_sealed).map_err(&failed)?;
        Ok(sealed.map(|(sum, has_seal)| Verified { whole, sum, has_seal }))
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
