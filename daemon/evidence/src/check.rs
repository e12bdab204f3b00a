//! A record that somebody shows, checked on any machine: signed by the station's key, in its log, and with which verdict.

use model::digest::Digest;
use model::record::Record;
use model::verdict::Verdict;
use signing::{Envelope, EnvelopeError, PublicKey};

use crate::checkpoint::Checkpoint;
use crate::proof::{Proof, ProofError};
use crate::statement::{self, Content, PAYLOAD_TYPE, Place, StatementError};

/// What was found out about a record that somebody shows.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The record, as it was signed.
    pub record: Record,
    /// The digest of the record's JSON, byte for byte as it was signed.
    pub digest: Digest,
    /// Where it stands in the station's log, by its own word; the proof says so, where there is one.
    pub place: Place,
    /// The checkpoint in which the proof has found it; `None` without a proof.
    pub checkpoint: Option<Checkpoint>,
}

/// Why a record that somebody shows proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    /// Not an envelope, or a signature in it is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Signed, but by none of the keys that are trusted.
    #[error("not signed by this key")]
    Signer,
    /// Signed, but not a station's statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Signed, but not about a drive.
    #[error("not the record of a drive, but of the event {0:?}")]
    Event(String),
    /// The record in it cannot be read.
    #[error("the record cannot be read")]
    Record(#[source] serde_json::Error),
    /// The file shows another record than the one that is signed.
    #[error("the record that it shows is not the one that is signed")]
    Shown,
    /// The proof is of something else.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The proof has the entry at another place than the entry itself.
    #[error("the record says that it is entry {seq}, and the proof that it is entry {proven}")]
    #[expect(missing_docs, reason = "the names say it")]
    Place { seq: u64, proven: u64 },
    /// The proof's log is not the one that the entry names.
    #[error("the record is of the ledger {ledger}, and the proof of {origin}")]
    #[expect(missing_docs, reason = "the names say it")]
    Ledger { ledger: uuid::Uuid, origin: String },
    /// Another verdict was asked for.
    #[error("the verdict is {found}, not {required}")]
    #[expect(missing_docs, reason = "the names say it")]
    Verdict { found: String, required: Verdict },
}

/// What names the log of a ledger in its checkpoints.
pub fn origin(ledger: uuid::Uuid) -> String {
    format!("prestaged/{ledger}")
}

/// What somebody shows: an envelope, with or without its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The envelope's bytes as the log has them, however the file has been laid out since.
    pub envelope: Vec<u8>,
    /// The proof that came with it.
    pub proof: Option<String>,
}

impl Shown {
    /// Reads a certificate, or an envelope alone. Nothing is verified then.
    ///
    /// # Errors
    /// [`Doubt::Envelope`]
    pub fn parse(file: &[u8]) -> Result<Self, Doubt> {
        #[derive(serde::Deserialize)]
        struct Certificate {
            record: Option<Record>,
            envelope: Envelope,
            tlog_proof: Option<String>,
        }
        let (envelope, proof, shown) = match serde_json::from_slice::<Certificate>(file) {
            Ok(Certificate { record, envelope, tlog_proof }) => (envelope, tlog_proof, record),
            Err(_) => (Envelope::parse(file)?, None, None),
        };
        if let Some(shown) = shown {
            // What people read in the file must be what is signed.
            let payload = envelope.unverified_payload()?;
            let signed: Record = match statement::read(&payload)?.content {
                Content::Record(text) => serde_json::from_str(text).map_err(Doubt::Record)?,
                Content::Event(event) => return Err(Doubt::Event(event.kind)),
            };
            if shown != signed {
                return Err(Doubt::Shown);
            }
        }
        Ok(Self { envelope: envelope.to_bytes(), proof })
    }
}

/// Checks a record that somebody shows: the bytes of its envelope as the log has them, and the proof that it is in there.
///
/// # Errors
/// [`Doubt`] says why it proves nothing.
pub fn check(
    envelope: &[u8],
    key: &PublicKey,
    proof: Option<&str>,
    required: Option<Verdict>,
) -> Result<Checked, Doubt> {
    let verified = Envelope::parse(envelope)?.verify(PAYLOAD_TYPE, [key])?;
    if !verified.signers.contains(&key.id()) {
        return Err(Doubt::Signer);
    }
    let entry = statement::read(&verified.payload)?;
    let place = entry.place;
    let text = match entry.content {
        Content::Record(text) => text,
        Content::Event(event) => return Err(Doubt::Event(event.kind)),
    };
    let record = serde_json::from_str::<Record>(text).map_err(Doubt::Record)?;
    let checkpoint = match proof {
        Some(text) => {
            let proof = Proof::parse(text)?;
            let checkpoint = proof.verify(envelope, key)?;
            let proven = proof.index.saturating_add(1);
            if proven != place.seq {
                return Err(Doubt::Place { seq: place.seq, proven });
            }
            if checkpoint.origin != origin(place.ledger) {
                let origin = checkpoint.origin;
                return Err(Doubt::Ledger { ledger: place.ledger, origin });
            }
            Some(checkpoint)
        }
        None => None,
    };
    if let Some(required) = required.filter(|required| record.verdict != Some(*required)) {
        let found = record.verdict.map_or_else(|| "not there yet".to_owned(), |v| v.to_string());
        return Err(Doubt::Verdict { found, required });
    }
    let digest = Digest::of(text.as_bytes());
    Ok(Checked { record, digest, place, checkpoint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Event, sign_event, sign_record};
    use crate::tree;
    use proptest::prelude::*;
    use signing::SecretKey;
    use uuid::Uuid;

    const RECORD: &str = include_str!("../../model/src/schema1.json");

    /// A log of three entries, of which the second is a record that has passed.
    struct Log {
        key: SecretKey,
        entries: Vec<Vec<u8>>,
    }

    const LEDGER: Uuid = Uuid::from_u128(7);

    impl Log {
        fn new() -> Self {
            let key = SecretKey::generate().unwrap();
            let mut entries: Vec<Vec<u8>> = Vec::new();
            for seq in 1..=3 {
                let previous = entries.last().map(|entry| tree::leaf(entry));
                let place = Place { ledger: LEDGER, seq, previous };
                let envelope = if seq == 2 {
                    let record: Record = serde_json::from_str(RECORD).unwrap();
                    sign_record(&record, RECORD.trim(), place, &key)
                } else {
                    let kind = "armed".to_owned();
                    let (at, detail) = (jiff::Timestamp::UNIX_EPOCH, serde_json::Value::Null);
                    sign_event(Event { kind, at, operator: None, detail }, place, &key)
                };
                entries.push(envelope.unwrap().to_bytes());
            }
            Self { key, entries }
        }

        fn proof(&self, index: u64, ledger: Uuid) -> String {
            let leaves: Vec<Digest> = self.entries.iter().map(|entry| tree::leaf(entry)).collect();
            let root = leaves.iter().copied().collect::<tree::Edge>().root();
            let checkpoint = Checkpoint { origin: origin(ledger), size: 3, root }.sign(&self.key);
            let path = tree::path(&leaves, index).unwrap();
            Proof { index, path, checkpoint }.text()
        }
    }

    #[test]
    fn a_record_in_its_log_is_proven() {
        let log = Log::new();
        let public = log.key.public();
        let proof = log.proof(1, LEDGER);
        let checked = check(&log.entries[1], &public, Some(&proof), Some(Verdict::Passed)).unwrap();
        assert_eq!(checked.record, serde_json::from_str::<Record>(RECORD).unwrap());
        assert_eq!(checked.place.seq, 2);
        assert_eq!(checked.checkpoint.unwrap().size, 3);
        assert!(check(&log.entries[1], &public, None, None).unwrap().checkpoint.is_none());
    }

    /// Each doubt, by what raises it.
    #[test]
    fn what_proves_nothing_is_told() {
        let log = Log::new();
        let (key, record) = (log.key.public(), &log.entries[1]);
        let told = |found: Result<Checked, Doubt>| found.unwrap_err().to_string();
        let other = SecretKey::generate().unwrap().public();
        assert_eq!(told(check(record, &other, None, None)), "not signed by this key");
        assert!(told(check(b"{}", &key, None, None)).contains("not a signed envelope"));
        assert!(told(check(&log.entries[0], &key, None, None)).contains("the event \"armed\""));
        let failed = check(record, &key, None, Some(Verdict::Failed));
        assert_eq!(told(failed), "the verdict is passed, not failed");
        let place = check(record, &key, Some(&log.proof(0, LEDGER)), None);
        assert!(told(place).contains("does not lead to the root"));
        let elsewhere = check(record, &key, Some(&log.proof(1, Uuid::from_u128(8))), None);
        assert!(told(elsewhere).contains("is of the ledger"), "another ledger's log");
        // The station's key signs an entry in which the record is not what the subject says.
        let text = RECORD.replace("S4EVNX0M", "S4EVNX0X");
        let signed = |text: &str| {
            let record: Record = serde_json::from_str(text).unwrap();
            let place = Place { ledger: LEDGER, seq: 2, previous: None };
            sign_record(&record, text, place, &log.key).unwrap()
        };
        let payload = String::from_utf8(signed(RECORD.trim()).unverified_payload().unwrap());
        let swapped = payload.unwrap().replace("S4EVNX0M", "S4EVNX0X");
        assert_ne!(text, RECORD);
        let envelope = Envelope::sign(PAYLOAD_TYPE, swapped.as_bytes(), [&log.key]).to_bytes();
        let doubt = check(&envelope, &key, None, None).unwrap_err();
        assert!(matches!(doubt, Doubt::Statement(StatementError::Subject)), "{doubt}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// No byte of a record that somebody shows can be changed.
        #[test]
        fn no_flipped_bit_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let log = Log::new();
            let key = log.key.public();
            let mut entry = log.entries[1].clone();
            let at = at.index(entry.len());
            entry[at] ^= 1 << bit;
            let proof = log.proof(1, LEDGER);
            prop_assert!(check(&entry, &key, Some(&proof), None).is_err());
        }
    }
}
