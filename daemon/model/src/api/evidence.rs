//! What proves records to others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::record::Record;

/// The latest record of a drive, signed, with the proof that the station's log has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// The record, to be read by people and programs that need no proof. What counts is the one in the envelope.
    pub record: Record,
    /// The record as it was signed: a DSSE envelope over an in-toto statement.
    pub envelope: serde_json::Value,
    /// The proof that the log has the envelope, by C2SP's tlog-proof.
    pub tlog_proof: String,
    /// The public key of the station, in PEM. Whoever needs proof has it from somewhere else.
    pub key: String,
    /// The short form of the record, signed: the text of the code on paper. Absent if the drive has no serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
    /// What else the station knows, which is not signed.
    #[serde(default)]
    pub beside: Beside,
}

/// What a station knows at the moment and a record does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Beside {
    /// For whom the record's order is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The part that drives of the order become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The version of the media in its maker's words, with product and sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_version: Option<String>,
}

/// What a station says when somebody prints the label of a drive.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LabelAsked {
    /// How often the label of this record was printed before; if it was, the label is a copy.
    pub printed: u32,
    /// The station's template, `labels.template`; absent if it has none.
    pub template: Option<String>,
}

/// The end of a station's log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointView {
    /// The name of the ledger that the log belongs to.
    pub ledger: Uuid,
    /// How many entries the log has.
    pub entries: u64,
    /// The root over them, by RFC 6962.
    pub root_sha256: Digest,
    /// The signed note that says so, by C2SP's tlog-checkpoint.
    pub checkpoint: String,
    /// The public key of the station, in PEM.
    pub key: String,
}

/// What was compared, if nothing is wrong.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogVerified {
    /// How many entries the log has.
    pub entries: u64,
    /// How many records of the ledger were compared with it.
    pub records: u64,
    /// The root over the entries.
    pub root_sha256: Digest,
}
