//! `verify-record`: is what somebody shows the record of a drive, as the station has signed it? Needs no station: it reads
//! files alone.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use evidence::check::{self, Checked, Doubt, Shown};
use evidence::short::{self, Short, ShortError};
use model::failure::chain;
use model::verdict::Verdict;
use serde_json::json;
use signing::PublicKey;

use super::output::Output;
use super::records::query::VerdictFilter;
use super::{CommandError, exit};

#[derive(Debug, Args)]
pub(super) struct VerifyRecordArguments {
    /// The certificate that `certificate --json` has written, the signed envelope alone, or the text of the code on paper.
    pub(super) file: PathBuf,
    /// File of the station's public key, from somebody else than whoever shows the record.
    #[arg(long, value_name = "PUBLIC")]
    pub(super) key: PathBuf,
    /// The proof that the record is in the station's log, instead of the certificate's.
    #[arg(long, value_name = "FILE")]
    pub(super) proof: Option<PathBuf>,
    /// The verdict that it must have.
    #[arg(long, value_name = "VERDICT")]
    pub(super) require: Option<VerdictFilter>,
    /// Be content with the signature: nothing need show that the station's log has the record.
    #[arg(long, conflicts_with = "proof")]
    pub(super) signature_only: bool,
}

/// What the signature alone shows, and what it does not.
const NOT_PROVEN: &str = "not proven: that the station's log has it, and did not say something else afterwards; \
    the certificate has the proof (`--signature-only` does without)";

pub(super) fn perform(out: &Output, arguments: &VerifyRecordArguments) -> Result<u8, CommandError> {
    let VerifyRecordArguments { file, key, proof, require, signature_only } = arguments;
    let text = read(file)?;
    let pem = String::from_utf8(read(key)?).unwrap_or_default();
    let public = PublicKey::from_pem(&pem).map_err(|error| {
        let error = CommandError::of(exit::CONFIGURATION, &error);
        CommandError { text: format!("{}: {}", key.display(), error.text), ..error }
    })?;
    let required = require.map(Verdict::from);
    if text.starts_with(short::PREFIX.as_bytes()) {
        let text = String::from_utf8_lossy(&text);
        of_code(out, file, Short::open(&text, &public), required)?;
        return Ok(without_proof(*signature_only));
    }
    let shown = Shown::parse(&text).map_err(|doubt| told(&doubt, file, None))?;
    let proof = match proof.as_deref() {
        Some(path) => Some((path, read(path)?)),
        None => None,
    };
    let text = proof.as_ref().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
    let text = text.or(shown.proof);
    let checked = check::check(&shown.envelope, &public, text.as_deref(), required)
        .map_err(|doubt| told(&doubt, file, proof.as_ref().map(|(path, _)| *path)))?;
    let document = json!({
        "verdict": checked.record.verdict,
        "log": { "ledger": checked.place.ledger, "seq": checked.place.seq },
        "proven_in": checked.checkpoint.as_ref().map(|checkpoint| {
            json!({ "size": checkpoint.size, "root_sha256": checkpoint.root })
        }),
        "record": checked.record,
    });
    out.print(&document, |_| sentence(&checked));
    Ok(match checked.checkpoint {
        Some(_) => exit::DONE,
        None => without_proof(*signature_only),
    })
}

/// How it ends where no proof was looked at.
fn without_proof(is_enough: bool) -> u8 {
    if is_enough { exit::DONE } else { exit::INCOMPLETE }
}

/// What the code on paper says, which is less than a record.
fn of_code(
    out: &Output,
    file: &Path,
    opened: Result<Short, ShortError>,
    required: Option<Verdict>,
) -> Result<(), CommandError> {
    let failed = |code, text: &str| CommandError::new(code, format!("{}: {text}", file.display()));
    let Short { serial, verdict, closed, record } = opened.map_err(|error| match error {
        ShortError::Signature => told(&Doubt::Signer, file, None),
        ShortError::Text => failed(exit::FAILED, &error.to_string()),
    })?;
    if let Some(required) = required.filter(|required| *required != verdict) {
        let text = format!("the verdict is {verdict}, not {required}");
        return Err(failed(exit::FAILED, &text));
    }
    let document = json!({
        "verdict": verdict, "serial": serial, "closed": closed, "record_sha256": record,
    });
    out.print(&document, |_| {
        format!(
            "{serial} {verdict} at {closed:.3}, by the code of the record with the SHA-256 {record}\n{NOT_PROVEN}"
        )
    });
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|error| {
        CommandError::new(
            exit::FAILED,
            format!("cannot read {}: {}", path.display(), chain(&error)),
        )
    })
}

/// What is wrong, with the file in which it is.
fn told(doubt: &Doubt, file: &Path, proof: Option<&Path>) -> CommandError {
    let (code, hint) = match doubt {
        Doubt::Signer => (
            exit::FAILED,
            Some(
                "ask for the public key of the station that has imaged the drive, not along with its record",
            ),
        ),
        Doubt::Proof(_) | Doubt::Place { .. } | Doubt::Ledger { .. } => {
            (exit::FAILED, Some("the proof must be the one that was made with this record"))
        }
        _ => (exit::FAILED, None),
    };
    let of_proof = matches!(doubt, Doubt::Proof(_));
    let file = proof.filter(|_| of_proof).unwrap_or(file);
    let error = CommandError::new(code, format!("{}: {}", file.display(), chain(doubt)));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn sentence(checked: &Checked) -> String {
    let Checked { record, place, checkpoint, .. } = checked;
    let seq = place.seq;
    let log = match checkpoint {
        Some(checkpoint) => format!(
            "proven to be entry {seq} of {} in the log of ledger {}",
            checkpoint.size, place.ledger
        ),
        None => {
            format!("signed as entry {seq} of the log of ledger {}\n{NOT_PROVEN}", place.ledger)
        }
    };
    format!("{}\n{log}", record.sentence())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser as _;
    use evidence::checkpoint::Checkpoint;
    use evidence::proof::Proof;
    use evidence::statement::{Place, sign_record};
    use evidence::tree::{self, Edge};
    use model::digest::Digest;
    use model::record::Record;
    use signing::SecretKey;
    use uuid::Uuid;

    use super::*;
    use crate::arguments::{Arguments, Verb};
    use crate::fixture;

    /// A record that has passed, with its proof and the key, as files.
    struct Shown {
        folder: tempfile::TempDir,
    }

    impl Shown {
        #[expect(clippy::disallowed_methods, reason = "files of a test")]
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = SecretKey::from_pem(
                "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
            )
            .unwrap();
            let record = fixture::record();
            let text = serde_json::to_string(&record).unwrap();
            let ledger = Uuid::from_u128(7);
            let place = Place { ledger, seq: 1, previous: None };
            let entry = sign_record(&record, &text, place, &key).unwrap().to_bytes();
            let edge: Edge = [tree::leaf(&entry)].into_iter().collect();
            let origin = check::origin(ledger);
            let checkpoint = Checkpoint { origin, size: 1, root: edge.root() }.sign(&key);
            let proof = Proof { index: 0, path: Vec::new(), checkpoint }.text();
            let other = SecretKey::generate().unwrap().public().to_pem();
            for (name, content) in [
                ("record.json", entry.clone()),
                ("record.tlog-proof", proof.clone().into()),
                ("station.pem", key.public().to_pem().into()),
                ("other.pem", other.into()),
                ("secret.pem", key.to_pem().unwrap().into()),
                ("certificate.json", certificate(&entry, &proof)),
                ("code", short(&record, &text, &key).into_bytes()),
                ("other.code", short(&record, &text, &SecretKey::generate().unwrap()).into()),
                ("cut.json", entry[..entry.len() / 2].to_vec()),
                ("empty", Vec::new()),
            ] {
                fs::write(folder.path().join(name), content).unwrap();
            }
            Self { folder }
        }

        /// The exit code, and what is told, for words in which files have no folder.
        fn verify(&self, words: &str) -> (u8, String) {
            let here = |word: &str| match word.starts_with("--") || !word.contains('.') {
                true if !["empty", "code"].contains(&word) => word.to_owned(),
                _ => self.folder.path().join(word).to_str().unwrap().to_owned(),
            };
            let line = ["prestagectl", "verify-record"].map(str::to_owned).into_iter();
            let arguments = Arguments::parse_from(line.chain(words.split(' ').map(here)));
            let Verb::VerifyRecord(arguments) = arguments.verb else { panic!("another verb") };
            let place = format!("{}/", self.folder.path().display());
            match perform(&Output { json: true }, &arguments) {
                Ok(code) => (code, String::new()),
                Err(error) => (error.exit, error.text.replace(&place, "")),
            }
        }
    }

    fn short(record: &Record, text: &str, key: &SecretKey) -> String {
        Short::of(record, Digest::of(text.as_bytes())).unwrap().sign(key)
    }

    /// As the daemon gives it, with its fields in another order and on many lines.
    fn certificate(entry: &[u8], proof: &str) -> Vec<u8> {
        let envelope: serde_json::Value = serde_json::from_slice(entry).unwrap();
        let document = json!({ "record": fixture::record(), "envelope": envelope, "tlog_proof": proof, "key": "" });
        serde_json::to_vec_pretty(&document).unwrap()
    }

    #[test]
    fn what_somebody_shows_is_proven_or_not() {
        let shown = Shown::new();
        for (words, code, told) in [
            ("record.json --key station.pem", 3, ""),
            ("record.json --key station.pem --require passed", 3, ""),
            ("record.json --key station.pem --signature-only", 0, ""),
            ("certificate.json --key station.pem", 0, ""),
            ("code --key station.pem", 3, ""),
            ("record.json --key station.pem --proof record.tlog-proof --require passed", 0, ""),
            ("certificate.json --key station.pem --require passed", 0, ""),
            ("certificate.json --key other.pem", 1, "certificate.json: not signed by this key"),
            ("certificate.json --key station.pem --proof empty", 1, "empty: not a proof of a log"),
            (
                "record.json --key station.pem --require failed",
                1,
                "record.json: the verdict is passed, not failed",
            ),
            ("record.json --key other.pem", 1, "record.json: not signed by this key"),
            ("record.json --key secret.pem", 78, "secret.pem: this is a secret key"),
            ("record.json --key empty", 78, "empty: not an Ed25519 public key"),
            ("code --key station.pem --require passed --signature-only", 0, ""),
            ("code --key other.pem --signature-only", 1, "code: not signed by this key"),
            ("code --key station.pem --require failed", 1, "code: the verdict is passed"),
            ("other.code --key station.pem", 1, "other.code: not signed by this key"),
            ("cut.json --key station.pem", 1, "cut.json: not a signed envelope"),
            ("empty --key station.pem", 1, "empty: not a signed envelope"),
            ("missing.json --key station.pem", 1, "cannot read missing.json: No such file"),
            ("record.json --key station.pem --proof empty", 1, "empty: not a proof of a log"),
            ("record.json --key station.pem --proof record.json", 1, "record.json: not a proof"),
        ] {
            let (found, text) = shown.verify(words);
            assert!(found == code && text.starts_with(told), "{words}: {found} {text}");
        }
    }

    #[test]
    fn what_is_known_is_said() {
        let shown = Shown::new();
        let path = |name: &str| -> PathBuf { shown.folder.path().join(name) };
        let envelope = read(&path("record.json")).unwrap_or_else(|error| panic!("{}", error.text));
        let pem = fs::read_to_string(path("station.pem")).unwrap();
        let key = PublicKey::from_pem(&pem).unwrap();
        let proof = fs::read_to_string(path("record.tlog-proof")).unwrap();
        let with = check::check(&envelope, &key, Some(&proof), None).unwrap();
        let without = check::check(&envelope, &key, None, None).unwrap();
        let text = format!("{}\n\n{}\n", sentence(&with), sentence(&without));
        fixture::snapshot("verify-record", &text);
    }
}
