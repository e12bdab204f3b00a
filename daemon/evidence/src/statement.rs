//! What an entry of the log says: an in-toto statement (github.com/in-toto/attestation, Statement v1), signed as a whole. Its
//! subjects are what it is about, by their digests; its predicate is the record, or what an operator has done, with its place
//! in the log.

use std::borrow::Cow;

use jiff::Timestamp;
use model::digest::Digest;
use model::record::Record;
use serde::de::{Error as _, IgnoredAny};
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
struct Subject<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    digest: Sha256,
}

#[derive(Serialize, Deserialize)]
struct Sha256 {
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
struct Statement<'a, P> {
    #[serde(rename = "_type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    subject: Vec<Subject<'a>>,
    #[serde(rename = "predicateType", borrow)]
    predicate_type: Cow<'a, str>,
    predicate: P,
}

/// A record's predicate. The record stands there byte for byte as the ledger has it.
#[derive(Serialize)]
struct Recorded<'a> {
    log: Place,
    record: &'a RawValue,
}

#[derive(Serialize)]
struct Happened {
    log: Place,
    event: Event,
}

/// Either predicate, read in one go: which one it is stands beside it.
#[derive(Deserialize)]
struct Predicate<'a> {
    log: Place,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

/// An entry as it was signed, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// Where it says that it stands.
    pub place: Place,
    /// What it says.
    pub content: Content<'a>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'a> {
    /// A drive's record was closed: its JSON, as the ledger has it.
    Record(&'a str),
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
    let name = format!("event:{}", event.kind).into();
    let subject =
        Subject { name, digest: Sha256 { sha256: Digest::of(&serde_json::to_vec(&event)?) } };
    sign(EVENT, vec![subject], Happened { log: place, event }, key)
}

fn sign<P: Serialize>(
    predicate_type: &str,
    subject: Vec<Subject<'_>>,
    predicate: P,
    key: &SecretKey,
) -> Result<Envelope, StatementError> {
    let (kind, predicate_type) = (STATEMENT.into(), predicate_type.into());
    let statement = Statement { kind, subject, predicate_type, predicate };
    Ok(Envelope::sign(PAYLOAD_TYPE, &serde_json::to_vec(&statement)?, [key]))
}

/// What a record is about: itself, what the drive gave when it was read back, and the media.
fn subjects(record: &Record, text: &str) -> Vec<Subject<'static>> {
    let own = (format!("record:{}", record.job), Digest::of(text.as_bytes()));
    let drive = record.serial.as_ref().zip(record.readback_sha256);
    let drive = drive.map(|(serial, digest)| (format!("drive:{serial}"), digest));
    let media = record.media.as_ref().map(|media| (format!("media:{}", media.name), media.sha256));
    let all = [Some(own), drive, media].into_iter().flatten();
    all.map(|(name, sha256)| Subject { name: name.into(), digest: Sha256 { sha256 } }).collect()
}

/// Reads the payload of an envelope whose signature was checked.
///
/// # Errors
/// [`StatementError`]
pub fn read(payload: &[u8]) -> Result<Entry<'_>, StatementError> {
    let any = parse(payload)?;
    let text = any.predicate.record.map(RawValue::get);
    told(any, text)
}

/// [`read`], where `record` is what the payload may be expected to say, and is JSON: if it stands there at the end, byte for
/// byte, as [`sign_record`] puts it, it is not read once more, which would take as long as all the rest.
///
/// # Errors
/// [`StatementError`]
pub fn read_expected<'a>(payload: &'a [u8], record: &'a str) -> Result<Entry<'a>, StatementError> {
    const STAND_IN: &[u8] = b"0";
    const END: &[u8] = b"}}";
    let head = payload.strip_suffix(END).and_then(|rest| rest.strip_suffix(record.as_bytes()));
    let is_value = record.trim_ascii() == record;
    let Some(head) = head.filter(|head| is_value && head.ends_with(br#""record":"#)) else {
        return read(payload);
    };
    // One whole value in place of another changes nothing about what is around it. That it stands where the record does, and
    // not in a string or in something else of this name, is seen by where it was found.
    let without = [head, STAND_IN, END].concat();
    let found = parse(&without).ok().filter(|any| {
        let stand_in = any.predicate.record.map(|raw| raw.get().as_bytes());
        stand_in.is_some_and(|raw| raw.as_ptr() == without[head.len()..].as_ptr())
    });
    match found {
        Some(any) => told(any, Some(record)),
        None => read(payload),
    }
}

fn parse(payload: &[u8]) -> Result<Statement<'_, Predicate<'_>>, StatementError> {
    serde_json::from_slice(payload).map_err(|error| foreign(payload).unwrap_or(error.into()))
}

/// What a statement says, whose record is this text.
fn told<'a>(
    any: Statement<'_, Predicate<'_>>,
    record: Option<&'a str>,
) -> Result<Entry<'a>, StatementError> {
    let Predicate { log: place, event, .. } = any.predicate;
    let missing = |field| serde_json::Error::missing_field(field);
    if any.kind != STATEMENT {
        return Err(StatementError::Kind(any.kind.into_owned()));
    }
    match &*any.predicate_type {
        RECORD => {
            let text = record.ok_or_else(|| missing("record"))?;
            let named = any.subject.first();
            if named.is_none_or(|own| own.digest.sha256 != Digest::of(text.as_bytes())) {
                return Err(StatementError::Subject);
            }
            Ok(Entry { place, content: Content::Record(text) })
        }
        EVENT => {
            let event = serde_json::from_str(event.ok_or_else(|| missing("event"))?.get())?;
            Ok(Entry { place, content: Content::Event(event) })
        }
        other => Err(StatementError::Kind(other.to_owned())),
    }
}

/// That a payload which cannot be read as an entry is a statement of somebody else; `None` if it is none of those either.
fn foreign(payload: &[u8]) -> Option<StatementError> {
    let any: Statement<'_, IgnoredAny> = serde_json::from_slice(payload).ok()?;
    let is_ours = any.kind == STATEMENT && [RECORD, EVENT].contains(&&*any.predicate_type);
    let named = if any.kind == STATEMENT { any.predicate_type } else { any.kind };
    (!is_ours).then(|| StatementError::Kind(named.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another tool's statement is named as what it is, whatever its predicate looks like; one of ours that lacks something is
    /// none.
    #[test]
    fn what_is_no_entry_is_told() {
        let told = |kind: &str, predicate_type: &str, predicate: &str| {
            let text = format!(
                r#"{{"_type":"{kind}","subject":[],"predicateType":"{predicate_type}","predicate":{predicate}}}"#
            );
            read(text.as_bytes()).unwrap_err().to_string()
        };
        let foreign = "https://slsa.dev/provenance/v1";
        for predicate in ["{}", "[]", "7", r#"{"log":7,"record":{}}"#] {
            assert!(told(STATEMENT, foreign, predicate).contains("slsa.dev"), "{predicate}");
            assert!(told("other/v0", RECORD, predicate).contains("other/v0"), "{predicate}");
            assert_eq!(told(STATEMENT, RECORD, predicate), "not a statement of a station");
        }
        let place =
            r#"{"log":{"ledger":"00000000-0000-0000-0000-000000000007","seq":1,"previous":null}"#;
        for (kind, rest) in [(RECORD, ""), (RECORD, r#","event":{}"#), (EVENT, r#","record":{}"#)] {
            let found = told(STATEMENT, kind, &format!("{place}{rest}}}"));
            assert_eq!(found, "not a statement of a station", "{kind} {rest}");
        }
        let other = told(STATEMENT, RECORD, &format!(r#"{place},"record":{{}}}}"#));
        assert_eq!(other, "what it is about is not what its record says");
    }

    /// Whatever is expected, and wherever it stands: what an entry says is what it says when nothing is expected.
    #[test]
    fn what_is_expected_changes_nothing() {
        let record = r#"{"job":1}"#;
        let digest = Digest::of(record.as_bytes());
        let subject = format!(r#"[{{"name":"record:1","digest":{{"sha256":"{digest}"}}}}]"#);
        let place = r#"{"ledger":"00000000-0000-0000-0000-000000000007","seq":1,"previous":null}"#;
        let of = |rest: &str| {
            format!(
                r#"{{"_type":"{STATEMENT}","subject":{subject},"predicateType":"{RECORD}",{rest}"#
            )
        };
        let good = of(&format!(r#""predicate":{{"log":{place},"record":{record}}}}}"#));
        assert!(matches!(
            read_expected(good.as_bytes(), record).unwrap().content,
            Content::Record(text) if text == record
        ));
        for (payload, is_one) in [
            (good.clone(), true),
            (good.replace(record, r#"{"job":2}"#), false),
            (good.replace(record, r#"{"job":1} "#), true),
            (of(&format!(r#""predicate":{{"record":{record},"log":{place}}}}}"#)), true),
            // Of this name, and somewhere else.
            (of(&format!(r#""predicate":{{"log":{place},"x":{{"record":{record}}}}}}}"#)), false),
            (
                of(&format!(
                    r#""predicate":{{"log":{place},"record":7}},"x":{{"record":{record}}}}}"#
                )),
                false,
            ),
            (
                of(&format!(
                    r#""predicate":{{"log":{place},"record":{record}}},"x":{{"record":{record}}}}}"#
                )),
                true,
            ),
            (
                of(&format!(
                    r#""predicate":{{"log":{place},"record":{record},"record":{record}}}}}"#
                )),
                false,
            ),
            (of(&format!(r#""predicate":{{"log":{place},"x":"\"record":{record}}}}}"#)), false),
            (of(&format!(r#""predicate":{{"log":{place},"record":{record}}}}}}}"#)), false),
            (of(&format!(r#""predicate":{{"log":{place},"record":{record}}}"#)), false),
        ] {
            let alone = read(payload.as_bytes());
            assert_eq!(alone.is_ok(), is_one, "{payload}: {alone:?}");
            let alone = alone.map_err(|error| error.to_string());
            for record in [record, r#"{"job":1} "#] {
                let expected = read_expected(payload.as_bytes(), record);
                assert_eq!(alone, expected.map_err(|error| error.to_string()), "{payload}");
            }
        }
    }
}
