//! The ledger's log: one signed entry for each time a record was closed, and for what operators do, in the transaction that
//! writes it. Entries are hashed into a tree whose root is signed (crate `evidence`), so that nobody can change, take out
//! or put in an entry or a record unseen who does not have the station's key.

mod begin;
pub(crate) mod database;
mod entries;
mod ledger;
mod proof;
pub(crate) mod seal;
mod verify;

use std::sync::Arc;

use evidence::check::origin;
use evidence::checkpoint::Checkpoint;
use evidence::statement::{self, Event, Place};
use evidence::tree::{self, Edge};
use model::digest::Digest;
use model::record::Record;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use signing::{PublicKey, SecretKey};
use uuid::Uuid;

pub use begin::Begin;
pub(crate) use begin::begin;
pub use ledger::Entries;
pub use proof::{Proven, Sought};
pub use verify::{Tampered, Whole, verify};

/// `log` only ever grows, without gaps. That whoever has the file can drop the triggers is what the signatures are for.
/// `log_head` has the latest checkpoint, and `log_base` the records that were closed before the log was begun.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS log (
    seq INTEGER PRIMARY KEY,
    job TEXT,
    entry BLOB NOT NULL,
    leaf BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS log_by_job ON log (job);
CREATE TABLE IF NOT EXISTS log_head (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    checkpoint TEXT NOT NULL,
    key TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS log_base (
    job TEXT PRIMARY KEY,
    verdict TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'entries of the log are never changed'); END;
CREATE TRIGGER IF NOT EXISTS log_is_never_cut BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'entries of the log are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS log_has_no_gap BEFORE INSERT ON log
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM log)
BEGIN SELECT RAISE(ABORT, 'entries of the log are numbered without gaps'); END;
";

/// What goes into the log.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// A record that was closed, and its JSON as it stands in the ledger.
    Closed(&'a Record, &'a str),
    /// Something else that happened.
    Happened(Event),
}

/// An entry that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database does not take or give it.
    #[error("the log cannot be read or written")]
    Database(#[from] rusqlite::Error),
    /// A record or an event that is no JSON.
    #[error("the entry cannot be written")]
    Statement(#[from] statement::StatementError),
    /// What is there is not what was written.
    #[error(transparent)]
    Tampered(#[from] Tampered),
}

/// The log as it was left: what is needed to add to it.
#[derive(Debug)]
pub struct Log {
    key: Arc<SecretKey>,
    ledger: Uuid,
    tip: Tip,
}

/// The end of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tip {
    edge: Edge,
    previous: Option<Digest>,
    /// The signed note with its checkpoint; `None` while it has no entry.
    note: Option<String>,
}

impl Tip {
    /// Whether there is nothing, not even a checkpoint.
    pub(crate) fn is_empty(&self) -> bool {
        self.edge.size() == 0 && self.note.is_none()
    }

    /// The signed note with its checkpoint; `None` while it has no entry.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

impl Log {
    /// Takes the log up where it ends. Nothing in it is verified by this: see [`verify`].
    ///
    /// # Errors
    /// [`LogError::Database`]
    pub fn open(db: &Connection, ledger: Uuid, key: Arc<SecretKey>) -> Result<Self, LogError> {
        let mut statement = db.prepare("SELECT leaf FROM log ORDER BY seq")?;
        // One of another length is not what was written; the verification tells.
        let leaves = statement
            .query_map([], |row| Ok(row.get::<_, Vec<u8>>(0)?.try_into().unwrap_or_default()))?;
        let mut tip = Tip { note: head(db)?, ..Tip::default() };
        for leaf in leaves {
            let leaf = Digest(leaf?);
            tip.edge.push(leaf);
            tip.previous = Some(leaf);
        }
        Ok(Self { key, ledger, tip })
    }

    /// The key by which others check the log.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// The key that signs.
    pub(crate) fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The name of the ledger.
    pub(crate) fn ledger(&self) -> Uuid {
        self.ledger
    }

    /// Whether a checkpoint is one of this log.
    pub(crate) fn is_of(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.origin == origin(self.ledger)
    }

    /// The end of the log.
    pub(crate) fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Writes an entry after `tip` in a transaction; returns the end of the log as it is then. Once the transaction is
    /// committed, the log goes on from there ([`Log::advance`]).
    pub(crate) fn append(
        &self,
        tip: Tip,
        to: &Transaction<'_>,
        said: Said<'_>,
    ) -> Result<Tip, LogError> {
        if head(to)? != tip.note {
            return Err(Tampered::Head.into());
        }
        let Tip { mut edge, previous, .. } = tip;
        let place = Place { ledger: self.ledger, seq: edge.size() + 1, previous };
        let seq = i64::try_from(place.seq).unwrap_or(i64::MAX);
        let (job, envelope) = match said {
            Said::Closed(record, text) => {
                let job = Some(record.job.to_string());
                (job, statement::sign_record(record, text, place, &self.key)?)
            }
            Said::Happened(event) => (None, statement::sign_event(event, place, &self.key)?),
        };
        let entry = envelope.to_bytes();
        let leaf = tree::leaf(&entry);
        edge.push(leaf);
        let sql = "INSERT INTO log (seq, job, entry, leaf) VALUES (?1, ?2, ?3, ?4)";
        to.prepare_cached(sql)?.execute(params![seq, job, entry, leaf.0])?;
        let note = self.checkpoint(&edge).sign(&self.key);
        let sql = "INSERT INTO log_head (only, checkpoint, key) VALUES (1, ?1, ?2)
            ON CONFLICT (only) DO UPDATE SET checkpoint = excluded.checkpoint, key = excluded.key";
        to.prepare_cached(sql)?.execute(params![note, self.key.public().to_pem()])?;
        Ok(Tip { edge, previous: Some(leaf), note: Some(note) })
    }

    /// Goes on from the end of the log as it is after a commit.
    pub(crate) fn advance(&mut self, tip: Tip) {
        self.tip = tip;
    }

    fn checkpoint(&self, edge: &Edge) -> Checkpoint {
        Checkpoint { origin: origin(self.ledger), size: edge.size(), root: edge.root() }
    }
}

/// The signed note with the latest checkpoint; `None` while the log is empty.
///
/// # Errors
/// [`LogError::Database`]
pub fn head(db: &Connection) -> Result<Option<String>, LogError> {
    let mut statement = db.prepare_cached("SELECT checkpoint FROM log_head")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
}

#[cfg(test)]
pub(crate) mod tests;
