//! What an entry of the log says: an in-toto statement (github.com/in-toto/attestation, Statement v1), signed as a whole. Its
//! subjects are what it is about, by their digests; its predicate is the record, or what an operator has done, with its place
//! in the log.

use jiff::Timestamp;
use model::digest::Digest;
use model::record::Record;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signing::{Envelope, SecretKey};
use uuid::Uuid;

/// What is signed, for DSSE.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The predicate of a closed record.
pub const RECORD: &str = "prestaged:record/v2";
/// The predicate of everything else.
pub const EVENT: &str = "prestaged:event/v1";

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The ledger's own name; a new ledger has another.
    pub ledger: Uuid,
    /// The entry's number in it, counted from 1, without gaps.
    pub seq: u64,
    /// The digest of the entry before, as a leaf of the tree; `None` for the first.
    pub previous: Option<Digest>,
}

/// Something that happened beside the imaging of drives, and that whoever trusts a record should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened, as a code: `armed`, `offer_changed`.
    pub kind: String,
    /// When, by the station's clock.
    pub at: Timestamp,
    /// Who did it; `None` for the station itself.
    pub operator: Option<String>,
    /// In words, and for programs.
    pub detail: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: Sha256,
}

#[derive(Serialize, Deserialize)]
struct Sha256 {
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: P,
}

/// A record's predicate. The record stands there byte for byte as the ledger has it.
#[derive(Serialize, Deserialize)]
struct Recorded<'a> {
    log: Place,
    #[serde(borrow)]
    record: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct Happened {
    log: Place,
    event: Event,
}

/// An entry as it was signed, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it says that it stands.
    pub place: Place,
    /// What it says.
    pub content: Content,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A drive's record was closed: its JSON, as the ledger has it.
    Record(String),
    /// Something else happened.
    Event(Event),
}

/// A payload that is no entry of a log.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not the JSON of a statement.
    #[error("not a statement of a station")]
    Json(#[from] serde_json::Error),
    /// A statement about something else.
    #[error("a statement of the kind {0:?}, not a station's")]
    Kind(String),
    /// The subject is not what the record says.
    #[error("what it is about is not what its record says")]
    Subject,
}

/// Signs the entry of a closed record, whose JSON is `text`.
///
/// # Errors
/// [`StatementError::Json`] if the text is no JSON.
pub fn sign_record(
    record: &Record,
    text: &str,
    place: Place,
    key: &SecretKey,
) -> Result<Envelope, StatementError> {
    let raw: &RawValue = serde_json::from_str(text)?;
    let predicate = Recorded { log: place, record: raw };
    sign(RECORD, subjects(record, text), predicate, key)
}

/// Signs the entry of something that happened.
///
/// # Errors
/// [`StatementError::Json`] if it cannot be written as JSON.
pub fn sign_event(event: Event, place: Place, key: &SecretKey) -> Result<Envelope, StatementError> {
    let name = format!("event:{}", event.kind);
    let subject =
        Subject { name, digest: Sha256 { sha256: Digest::of(&serde_json::to_vec(&event)?) } };
    sign(EVENT, vec![subject], Happened { log: place, event }, key)
}

fn sign<P: Serialize>(
    predicate_type: &str,
    subject: Vec<Subject>,
    predicate: P,
    key: &SecretKey,
) -> Result<Envelope, StatementError> {
    let (kind, predicate_type) = (STATEMENT.to_owned(), predicate_type.to_owned());
    let statement = Statement { kind, subject, predicate_type, predicate };
    Ok(Envelope::sign(PAYLOAD_TYPE, &serde_json::to_vec(&statement)?, [key]))
}

/// What a record is about: itself, what the drive gave when it was read back, and the media.
fn subjects(record: &Record, text: &str) -> Vec<Subject> {
    let own = (format!("record:{}", record.job), Digest::of(text.as_bytes()));
    let drive = record.serial.as_ref().zip(record.readback_sha256);
    let drive = drive.map(|(serial, digest)| (format!("drive:{serial}"), digest));
    let media = record.media.as_ref().map(|media| (format!("media:{}", media.name), media.sha256));
    let all = [Some(own), drive, media].into_iter().flatten();
    all.map(|(name, sha256)| Subject { name, digest: Sha256 { sha256 } }).collect()
}

/// Reads the payload of an envelope whose signature was checked.
///
/// # Errors
/// [`StatementError`]
pub fn read(payload: &[u8]) -> Result<Entry, StatementError> {
    let any: Statement<&RawValue> = serde_json::from_slice(payload)?;
    if any.kind != STATEMENT {
        return Err(StatementError::Kind(any.kind));
    }
    match any.predicate_type.as_str() {
        RECORD => {
            let Recorded { log, record } = serde_json::from_str(any.predicate.get())?;
            let text = record.get().to_owned();
            let named = any.subject.first();
            if named.is_none_or(|own| own.digest.sha256 != Digest::of(text.as_bytes())) {
                return Err(StatementError::Subject);
            }
            Ok(Entry { place: log, content: Content::Record(text) })
        }
        EVENT => {
            let Happened { log, event } = serde_json::from_str(any.predicate.get())?;
            Ok(Entry { place: log, content: Content::Event(event) })
        }
        other => Err(StatementError::Kind(other.to_owned())),
    }
}
