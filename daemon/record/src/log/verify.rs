//! Whether the log is what the station has signed, and the records are what the log says. Reads all of both.

use std::borrow::Cow;
use std::collections::BTreeSet;

use evidence::check::origin;
use evidence::checkpoint::{Checkpoint, CheckpointError};
use evidence::statement::{self, Content};
use evidence::tree::{self, Edge};
use rusqlite::{Connection, OptionalExtension as _, Row, Statement};
use serde::Deserialize;
use signing::{Envelope, PublicKey};
use uuid::Uuid;

use super::begin::{self, Before, Begun, COLUMNS};
use super::{LogError, head, seal};

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
    let (edge, is_sealed) = entries(db, ledger, known)?;
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

/// The edge of the tree over all entries, if they are numbered and chained as they should be, and each record is what the
/// last entry about it says; and whether one of them tells of a seal.
fn entries(db: &Connection, ledger: Uuid, known: &[&Checkpoint]) -> Result<(Edge, bool), LogError> {
    let mut edge = Edge::default();
    let mut is_sealed = false;
    let mut previous = None;
    // The jobs whose last entry so far is not what their rows say.
    let mut differing = BTreeSet::new();
    let sql = "SELECT record, serial, disk_guid, verdict, opened FROM records WHERE job = ?1";
    let mut row_of = db.prepare(sql)?;
    let mut statement = db.prepare("SELECT seq, job, entry, leaf FROM log ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq = edge.size() + 1;
        if u64::try_from(row.get::<_, i64>(0)?) != Ok(seq) {
            return Err(Tampered::Gap(seq).into());
        }
        let bytes = row.get_ref(2)?.as_blob().unwrap_or_default();
        let leaf = tree::leaf(bytes);
        if row.get_ref(3)?.as_blob().unwrap_or_default() != leaf.0 {
            return Err(Tampered::Entry(seq).into());
        }
        let payload = Envelope::parse(bytes).and_then(|envelope| envelope.unverified_payload());
        let Ok(entry) = payload.map_err(drop).and_then(|p| statement::read(&p).map_err(drop))
        else {
            return Err(Tampered::Entry(seq).into());
        };
        let place = entry.place;
        if (place.ledger, place.seq, place.previous) != (ledger, seq, previous) {
            return Err(Tampered::Chain(seq).into());
        }
        let begun = begun(db, &entry.content)?;
        if (seq == 1) != begun.is_some() {
            return Err(Tampered::Beginning.into());
        }
        is_sealed |= begun.is_some_and(|begun| begun.is_sealed);
        let job = match &entry.content {
            Content::Event(event) => {
                is_sealed |= event.kind == seal::KIND;
                None
            }
            Content::Record(logged) => {
                let Ok(columns) = serde_json::from_str::<Columns<'_>>(logged) else {
                    return Err(Tampered::Entry(seq).into());
                };
                let job = columns.job.clone().into_owned();
                if is_as_logged(&mut row_of, logged, &columns)? {
                    differing.remove(&job);
                } else {
                    differing.insert(job.clone());
                }
                Some(job)
            }
        };
        if text(row, 1) != job.as_deref() {
            return Err(Tampered::Job(seq).into());
        }
        edge.push(leaf);
        previous = Some(leaf);
        if known.iter().any(|known| known.size == seq && known.root != edge.root()) {
            return Err(Tampered::Forked(seq).into());
        }
    }
    match differing.pop_first() {
        Some(job) => Err(Tampered::Record(job).into()),
        None => Ok((edge, is_sealed)),
    }
}

/// What a log's first entry says, if this is one and what it vouches for is there.
fn begun(db: &Connection, content: &Content) -> Result<Option<Begun>, LogError> {
    let Content::Event(event) = content else { return Ok(None) };
    if event.kind != begin::KIND {
        return Ok(None);
    }
    let begun: Result<Begun, _> = serde_json::from_value(event.detail.clone());
    let Ok(begun) = begun else { return Err(Tampered::Beginning.into()) };
    if begin::base(db)? != (begun.records, begun.records_root) {
        return Err(Tampered::Base.into());
    }
    let kept = begin::kept(db)?;
    match begun.kept.as_ref().is_none_or(|said| *said == kept) {
        true => Ok(Some(begun)),
        false => Err(Tampered::Former.into()),
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

/// Whether the row of a job is what an entry about it says. A record that was refused may have been opened again since.
fn is_as_logged(
    row_of: &mut Statement<'_>,
    logged: &str,
    columns: &Columns<'_>,
) -> Result<bool, LogError> {
    let found = row_of.query_row([&*columns.job], |row| {
        let Some(verdict) = text(row, 3) else {
            return Ok(columns.verdict.as_deref() == Some("refused"));
        };
        let guid = columns.identity.as_ref().map(|identity| &*identity.disk_guid);
        Ok(text(row, 0) == Some(logged)
            && text(row, 1) == columns.serial.as_deref()
            && text(row, 2) == guid
            && Some(verdict) == columns.verdict.as_deref()
            && text(row, 4) == Some(&*columns.opened))
    });
    found.optional()?.ok_or_else(|| Tampered::Gone(columns.job.clone().into_owned()).into())
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
