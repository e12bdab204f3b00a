//! Certificates as a station gives them.

use evidence::check::origin;
use evidence::checkpoint::Checkpoint;
use evidence::proof::Proof;
use evidence::short::Short;
use evidence::statement::{Place, sign_record};
use evidence::tree::{self, Edge};
use model::api::evidence::{Beside, Certificate};
use model::digest::Digest;
use model::record::Record;
use serde_json::Value;
use signing::SecretKey;
use uuid::Uuid;

use crate::fonts::{FOLDERS, Fonts};

pub(crate) fn key() -> SecretKey {
    SecretKey::from_pem(
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
    )
    .unwrap()
}

/// A record that has passed, with these fields instead of its own.
pub(crate) fn record(fields: Value) -> Value {
    let mut record: Value =
        serde_json::from_str(include_str!("../../model/src/schema1.json")).unwrap();
    let Value::Object(fields) = fields else { panic!("{fields}") };
    record.as_object_mut().unwrap().extend(fields);
    record
}

/// The certificate of a record, the first in its log.
pub(crate) fn certificate(record: &Value, beside: Beside) -> Certificate {
    let (key, ledger) = (key(), Uuid::from_u128(7));
    let text = serde_json::to_string(record).unwrap();
    let record: Record = serde_json::from_str(&text).unwrap();
    let place = Place { ledger, seq: 1, previous: None };
    let envelope = sign_record(&record, &text, place, &key).unwrap();
    let edge: Edge = [tree::leaf(&envelope.to_bytes())].into_iter().collect();
    let root = edge.root();
    let checkpoint = Checkpoint { origin: origin(ledger), size: 1, root }.sign(&key);
    let short = Short::of(&record, Digest::of(text.as_bytes())).map(|short| short.sign(&key));
    Certificate {
        record,
        envelope: serde_json::to_value(&envelope).unwrap(),
        tlog_proof: Proof { index: 0, path: Vec::new(), checkpoint }.text(),
        key: key.public().to_pem(),
        short,
        beside,
    }
}

/// The fonts of this machine.
pub(crate) fn fonts() -> Fonts {
    Fonts::find(&FOLDERS.map(Into::into)).unwrap()
}
