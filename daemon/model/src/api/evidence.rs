//! What proves records to others.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::failure::Reason;
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
    /// That the drive was refused after the record was closed, for a reason that lies in the drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// A refusal that came after a drive's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Since {
    /// The refusal's own record.
    pub job: Uuid,
    /// When the drive was refused.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

impl Since {
    /// What is said beside the record.
    pub fn sentence(&self) -> String {
        format!("refused since, at {:.0}: {}", self.at, self.reason.sentence())
    }
}

/// What a station says when somebody prints the label of a drive.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LabelAsked {
    /// How often the label of this record was printed before; if it was, the label is a copy.
    pub printed: u32,
    /// The template of the record's order, or else the station's, `labels.template`; absent if there is neither.
    pub template: Option<String>,
    /// The order whose template it is; absent if it is the station's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_of_order: Option<String>,
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

/// Some entries of the log, in order and without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    /// The name of the ledger that the log belongs to. A log that is begun anew has another, and counts from 1 again.
    pub ledger: Uuid,
    /// The name of the station.
    pub station: String,
    /// How many entries the log has.
    pub size: u64,
    /// The entries after the one that was asked for.
    pub entries: Vec<LogEntry>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// Its number, counted from 1.
    pub seq: u64,
    /// What it says, to be read by programs that need no proof. What counts is the envelope.
    pub said: Said,
    /// The entry as it was signed: a DSSE envelope over an in-toto statement.
    pub envelope: serde_json::Value,
}

/// What an entry of the log says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The record of a drive was closed.
    Record(Box<Record>),
    /// Something else happened.
    Event(Happening),
    /// Nothing that this program can read; why.
    Unreadable(String),
}

/// Something that happened beside the imaging of drives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Happening {
    /// What happened, as a code: `armed`, `offer_changed`.
    pub kind: String,
    /// When, by the station's clock.
    pub at: Timestamp,
    /// Who did it; null for the station itself.
    pub operator: Option<String>,
    /// In words, and for programs.
    pub detail: serde_json::Value,
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
