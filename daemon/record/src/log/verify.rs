//! Whether the log is what the station has signed, and the records are what the log says. Reads all of both.

use evidence::check::origin;
use evidence::checkpoint::{Checkpoint, CheckpointError};
use rusqlite::{Connection, OptionalExtension as _, Row};
use signing::PublicKey;
use uuid::Uuid;

use super::begin::{Before, COLUMNS};
use super::{LogError, entries, head};

/// What somebody has done to a ledger, or to its log.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Tampered {
    #[error("entry {0} of the log is missing")]
    Gap(u64),
    #[error("entry {0} of the log is not what was written")]
    Entry(u64),
    #[error("entry {0} of the log does not follow the one before")]
    Chain(u64),
    #[error("entry {0} of the log is of another job than its row says")]
    Job(u64),
    #[error("the log does not begin with what was closed before it")]
    Beginning,
    #[error(
        "the records that were closed before the log was begun are not those that it vouches for"
    )]
    Base,
    #[error("a log that was set aside is not kept as it was")]
    Former,
    #[error("another program has written to the log")]
    Head,
    #[error("the log was signed with another key than the station's")]
    Key,
    #[error("the log has no checkpoint")]
    NoCheckpoint,
    #[error("the log's checkpoint is not the station's")]
    Checkpoint(#[source] CheckpointError),
    #[error("the log has {found} entries, and its checkpoint says {signed}")]
    Size { found: u64, signed: u64 },
    #[error("the log's entries are not those that its checkpoint has signed")]
    Root,
    #[error("the log has {found} entries, and had {known} before")]
    Shorter { found: u64, known: u64 },
    #[error("the log is not the one of the checkpoint over its first {0} entries")]
    Forked(u64),
    #[error("another program has written to its tables")]
    Seal,
    #[error("the database has, or lacks, what makes it do something else by itself: {0}")]
    Schema(String),
    #[error("the database does not find all that stands in it: {0}")]
    Unsound(String),
    #[error("its log cannot be verified: {0}")]
    Unreadable(String),
    #[error("the record of job {0} is gone")]
    Gone(String),
    #[error("the record of job {0} is not what the log says")]
    Record(String),
    #[error("the record of job {0} is closed, and the log does not know of it")]
    Unlogged(String),
}

/// What was found in a ledger of which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The log's checkpoint; `None` while it has no entry.
    pub checkpoint: Option<Checkpoint>,
    /// How many records of the ledger were compared with it.
    pub records: u64,
    /// Whether the log says that there is a seal over the other tables.
    pub is_sealed: bool,
}

/// Verifies everything: numbers, chain, digests, the tree's root and the signature of its checkpoint, and each record against
/// the last entry about it, or against what was there when the log was begun. `known` are checkpoints from outside, which
/// the log must still contain.
///
/// An entry's own signature is not checked one by one: the signed root covers its bytes.
///
/// # Errors
/// [`LogError`] if something cannot be read; what is found lies in the inner result.
pub fn verify(
    db: &Connection,
    ledger: Uuid,
    key: &PublicKey,
    known: &[Checkpoint],
) -> Result<Result<Whole, Tampered>, LogError> {
    let name = origin(ledger);
    let known: Vec<&Checkpoint> = known.iter().filter(|known| known.origin == name).collect();
    match compare(db, ledger, key, &known) {
        Ok(whole) => Ok(Ok(whole)),
        Err(LogError::Tampered(tampered)) => Ok(Err(tampered)),
        Err(other) => Err(other),
    }
}

fn compare(
    db: &Connection,
    ledger: Uuid,
    key: &PublicKey,
    known: &[&Checkpoint],
) -> Result<Whole, LogError> {
    let (edge, is_sealed) = entries::verify(db, ledger, known)?;
    let checkpoint = match (head(db)?, edge.size()) {
        (None, 0) => None,
        (None, _) => return Err(Tampered::NoCheckpoint.into()),
        (Some(note), found) => {
            let signed = Checkpoint::open(&note, key).map_err(|error| of_key(db, key, error))?;
            if signed.size != found {
                return Err(Tampered::Size { found, signed: signed.size }.into());
            }
            if signed.root != edge.root() || signed.origin != origin(ledger) {
                return Err(Tampered::Root.into());
            }
            Some(signed)
        }
    };
    if let Some(known) = known.iter().find(|known| known.size > edge.size()) {
        return Err(Tampered::Shorter { found: edge.size(), known: known.size }.into());
    }
    let records = records(db)?;
    Ok(Whole { checkpoint, records, is_sealed })
}

/// Why a checkpoint is not signed by the station's key.
fn of_key(db: &Connection, key: &PublicKey, error: CheckpointError) -> Tampered {
    let named: Option<String> = db.query_row("SELECT key FROM log_head", [], |row| row.get(0)).ok();
    let own = key.to_pem();
    if named.is_some_and(|named| named != own) {
        Tampered::Key
    } else {
        Tampered::Checkpoint(error)
    }
}

/// How many records there are, if those of which the log has no entry are what they were when it was begun.
fn records(db: &Connection) -> Result<u64, LogError> {
    let sql = "SELECT job FROM log_base WHERE job NOT IN (SELECT job FROM records) LIMIT 1";
    if let Some(job) = db.query_row(sql, [], |row| row.get(0)).optional()? {
        return Err(Tampered::Gone(job).into());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM records
         WHERE NOT EXISTS (SELECT 1 FROM log WHERE log.job = records.job)"
    );
    let mut statement = db.prepare(&sql)?;
    let mut base = db.prepare("SELECT verdict, digest FROM log_base WHERE job = ?1")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let found = Before::of(row)?;
        let before = base
            .query_row([&found.job], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional()?;
        let is_open = text(row, 1).is_none();
        match before {
            // Begun since, and not closed yet.
            None if is_open => {}
            None => return Err(Tampered::Unlogged(found.job).into()),
            Some((verdict, _)) if is_open && verdict == "refused" => {}
            Some((_, digest)) if !is_open && digest == found.digest.0 => {}
            Some(_) => return Err(Tampered::Record(found.job).into()),
        }
    }
    let count: i64 = db.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// A column's text; `None` for what is none.
fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a str> {
    row.get_ref(column).ok()?.as_str().ok()
}
