//! Whether the log is what the station has signed, and the records are what the log says. Reads all of both.

use std::borrow::Cow;

use evidence::check::origin;
use evidence::checkpoint::{Checkpoint, CheckpointError};
use evidence::statement::{self, Content};
use evidence::tree::{self, Edge};
use rusqlite::{Connection, Row};
use serde::Deserialize;
use signing::{Envelope, PublicKey};
use uuid::Uuid;

use super::{LogError, head};

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
    #[error("the record of job {0} is gone")]
    Gone(String),
    #[error("the record of job {0} is not what the log says")]
    Record(String),
    #[error("the record of job {0} is closed, and the log does not know of it")]
    Unlogged(String),
}

/// Verifies everything: numbers, chain, digests, the tree's root and the signature of its checkpoint, and each record against
/// the last entry about it. `known` is a checkpoint from outside, which the log must still contain.
///
/// An entry's own signature is not checked one by one: the signed root covers its bytes.
///
/// # Errors
/// [`LogError`] if something cannot be read; what is found lies in the inner result.
pub fn verify(
    db: &Connection,
    ledger: Uuid,
    key: &PublicKey,
    known: Option<&Checkpoint>,
) -> Result<Result<Option<Checkpoint>, Tampered>, LogError> {
    let edge = match entries(db, ledger, known)? {
        Ok(edge) => edge,
        Err(tampered) => return Ok(Err(tampered)),
    };
    let checkpoint = match (head(db)?, edge.size()) {
        (None, 0) => None,
        (None, _) => return Ok(Err(Tampered::NoCheckpoint)),
        (Some(note), found) => match Checkpoint::open(&note, key) {
            Err(error) => return Ok(Err(Tampered::Checkpoint(error))),
            Ok(checkpoint) if checkpoint.size != found => {
                return Ok(Err(Tampered::Size { found, signed: checkpoint.size }));
            }
            Ok(checkpoint)
                if checkpoint.root != edge.root() || checkpoint.origin != origin(ledger) =>
            {
                return Ok(Err(Tampered::Root));
            }
            Ok(checkpoint) => Some(checkpoint),
        },
    };
    if let Some(known) = known.filter(|known| known.size > edge.size()) {
        return Ok(Err(Tampered::Shorter { found: edge.size(), known: known.size }));
    }
    Ok(records(db)?.map(|()| checkpoint))
}

/// The edge of the tree over all entries, if they are numbered and chained as they should be.
fn entries(
    db: &Connection,
    ledger: Uuid,
    known: Option<&Checkpoint>,
) -> Result<Result<Edge, Tampered>, LogError> {
    let mut edge = Edge::default();
    let mut previous = None;
    let mut statement = db.prepare("SELECT seq, job, entry, leaf FROM log ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq = edge.size() + 1;
        if u64::try_from(row.get::<_, i64>(0)?) != Ok(seq) {
            return Ok(Err(Tampered::Gap(seq)));
        }
        let bytes = row.get_ref(2)?.as_blob().unwrap_or_default();
        let leaf = tree::leaf(bytes);
        if row.get_ref(3)?.as_blob().unwrap_or_default() != leaf.0 {
            return Ok(Err(Tampered::Entry(seq)));
        }
        let Some(Head { place, job }) = Head::of(bytes) else {
            return Ok(Err(Tampered::Entry(seq)));
        };
        if (place.ledger, place.seq, place.previous) != (ledger, seq, previous) {
            return Ok(Err(Tampered::Chain(seq)));
        }
        if text(row, 1) != job.as_deref() {
            return Ok(Err(Tampered::Job(seq)));
        }
        edge.push(leaf);
        previous = Some(leaf);
        if known.is_some_and(|known| known.size == seq && known.root != edge.root()) {
            return Ok(Err(Tampered::Forked(seq)));
        }
    }
    Ok(Ok(edge))
}

/// What an entry says of itself.
struct Head {
    place: statement::Place,
    job: Option<String>,
}

impl Head {
    fn of(entry: &[u8]) -> Option<Self> {
        let payload = Envelope::parse(entry).ok()?.unverified_payload().ok()?;
        let entry = statement::read(&payload).ok()?;
        let job = match entry.content {
            Content::Event(_) => None,
            Content::Record(text) => Some(serde_json::from_str::<Columns<'_>>(&text).ok()?.job.into_owned()),
        };
        Some(Self { place: entry.place, job })
    }
}

/// What of a record stands in columns of its own.
#[derive(Deserialize)]
struct Columns<'a> {
    #[serde(borrow)]
    job: Cow<'a, str>,
    #[serde(borrow)]
    serial: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    opened: Cow<'a, str>,
    #[serde(borrow)]
    identity: Option<Disk<'a>>,
}

#[derive(Deserialize)]
struct Disk<'a> {
    #[serde(borrow)]
    disk_guid: Cow<'a, str>,
}

/// Whether each record is what the last entry about it says.
fn records(db: &Connection) -> Result<Result<(), Tampered>, LogError> {
    let sql = "SELECT DISTINCT job FROM log WHERE job IS NOT NULL AND job NOT IN (SELECT job FROM records) LIMIT 1";
    let mut gone = db.prepare(sql)?;
    if let Some(row) = gone.query([])?.next()? {
        return Ok(Err(Tampered::Gone(row.get(0)?)));
    }
    let sql = "SELECT job, record, serial, disk_guid, verdict, opened,
        (SELECT entry FROM log WHERE log.job = records.job ORDER BY seq DESC LIMIT 1) FROM records";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let job = text(row, 0).unwrap_or_default().to_owned();
        let entry = row.get_ref(6)?.as_blob().ok();
        match (text(row, 4), entry) {
            // Not closed yet.
            (None, None) => {}
            (Some(_), None) => return Ok(Err(Tampered::Unlogged(job))),
            (verdict, Some(entry)) => {
                if !is_as_logged(row, verdict, entry) {
                    return Ok(Err(Tampered::Record(job)));
                }
            }
        }
    }
    Ok(Ok(()))
}

/// Whether a row is what the last entry about its job says. A record that was refused may have been opened again since.
fn is_as_logged(row: &Row<'_>, verdict: Option<&str>, entry: &[u8]) -> bool {
    let payload = envelope_payload(entry);
    let Some(Content::Record(logged)) =
        payload.and_then(|payload| statement::read(&payload).ok()).map(|entry| entry.content)
    else {
        return false;
    };
    let Ok(columns) = serde_json::from_str::<Columns<'_>>(&logged) else { return false };
    if verdict.is_none() {
        return columns.verdict.as_deref() == Some("refused");
    }
    let guid = columns.identity.as_ref().map(|identity| &*identity.disk_guid);
    text(row, 1) == Some(logged.as_str())
        && text(row, 2) == columns.serial.as_deref()
        && text(row, 3) == guid
        && verdict == columns.verdict.as_deref()
        && text(row, 5) == Some(&*columns.opened)
}

fn envelope_payload(entry: &[u8]) -> Option<Vec<u8>> {
    Envelope::parse(entry).ok()?.unverified_payload().ok()
}

/// A column's text; `None` for what is none.
fn text<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a str> {
    row.get_ref(column).ok()?.as_str().ok()
}
