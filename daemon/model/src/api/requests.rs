//! Requests of the HTTP API, and its short answers.

use serde::{Deserialize, Serialize};

use super::snapshot::LampTrouble;
use crate::manifest::MasterId;
use crate::offer::Offer;
use crate::units::Bytes;
use crate::verdict::Verdict;

/// A request to audit a drive.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriveRequest {
    /// Device node, kernel name, serial number or bay.
    pub device: String,
    /// Name of the media; if absent, the station chooses.
    #[serde(default)]
    pub media: Option<String>,
}

/// A request to compare a drive with its own record.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Device node, kernel name, serial number or bay.
    pub device: String,
}

/// A request to image a drive.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageRequest {
    /// Device node, kernel name, serial number or bay.
    pub device: String,
    /// Name of the media; if absent, the station chooses.
    #[serde(default)]
    pub media: Option<String>,
    /// Number of the order that the drive shall belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Also a drive that has passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Why what the drive holds may be lost; if absent, `admission.overwrite` decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<String>,
}

/// What arming or disarming has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Armed {
    /// Whether the station may write now.
    pub armed: bool,
    /// Whether it was so before.
    pub already: bool,
    /// The drives that nothing else speaks against, and that are begun now.
    pub starting: Vec<String>,
    /// The drives that are begun when their media has been verified, or is there.
    pub waiting: Vec<String>,
    /// Why a drive without an order gets no media; absent where it gets some, or that is not decided yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_media: Option<String>,
    /// The drives that are still being judged; those that nothing speaks against are begun then.
    #[serde(default)]
    pub judging: Vec<String>,
    /// The drives that are being imaged; they are finished.
    pub running: Vec<String>,
    /// Why no drive can be begun, whichever is plugged in; absent where some can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}

/// What stopping a drive has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stopped {
    /// Device node.
    pub device: String,
    /// Serial number, or the device where there is none.
    pub drive: String,
    /// Whether its job had begun; if not, nothing was written to the drive.
    pub running: bool,
    /// Whether somebody had consented to its being overwritten, which holds for that one attempt.
    #[serde(default)]
    pub consented: bool,
}

/// A request to let media be used although later media of its product has been seen.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// Why it may be used; kept in the ledger with who has asked.
    pub reason: String,
}

/// A request to press a master for drives of this capacity and sector size.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PressRequest {
    pub media: String,
    pub size_bytes: Bytes,
    pub logical_sector_bytes: u32,
}

/// The master that a request has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pressed {
    /// Its name.
    pub id: MasterId,
}

/// A request to make media available to other drives.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferRequest {
    /// To which drives.
    pub offer: Offer,
}

/// A request to go on with a ledger that somebody has changed.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// Why it is right to go on; kept in the log.
    pub reason: String,
}

/// A request to have the lamp of a bay blink.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocateRequest {
    /// To have it end, before it does so by itself.
    #[serde(default)]
    pub off: bool,
}

/// What the program that switches lamps says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LampsReport {
    /// The bays whose lamps are known.
    pub bays: usize,
    /// What lamps do not do.
    pub troubles: Vec<LampTrouble>,
}

/// The attempt at a drive that a request has begun; a client finds it in the snapshot by both fields.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Attempt {
    /// Device node.
    pub device: String,
    pub attempt: u64,
}

/// Which records to list: all that match every field given.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordQuery {
    /// Of this drive.
    pub serial: Option<String>,
    /// Opened at this time or later (RFC 3339).
    #[schemars(with = "Option<jiff::Timestamp>")]
    pub since: Option<String>,
    /// Opened before this time (RFC 3339).
    #[schemars(with = "Option<jiff::Timestamp>")]
    pub until: Option<String>,
    /// With this verdict.
    #[schemars(with = "Option<Verdict>")]
    pub verdict: Option<String>,
    /// Of this order.
    pub order: Option<String>,
    /// Of drives in this bay.
    pub bay: Option<String>,
    /// Those after the record of this job.
    #[schemars(with = "Option<uuid::Uuid>")]
    pub after: Option<String>,
    /// So many of them at most.
    #[schemars(range(max = u64::MAX))]
    pub limit: Option<u64>,
    /// The last so many of them; does not go together with `after`.
    #[schemars(range(max = u64::MAX))]
    pub last: Option<u64>,
}

/// Which entries of the log to read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    /// Those after the entry with this number.
    #[schemars(range(max = u64::MAX))]
    pub after: u64,
    /// So many of them at most; an answer has no more than 256, and fewer where they are large. With 0 it only says where
    /// the log ends.
    #[schemars(range(max = u32::MAX))]
    pub limit: Option<u32>,
}

/// A request about one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// Why; needed to close it, to change its quantity, and to release a serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The new quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    /// The serial number that may try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// What a barcode scanner has read.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// The number of an order, a serial number, the name of a bay, or the text of a command card.
    pub text: String,
    /// The bay that an order is for; if absent, it is for the next drive that is plugged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bay: Option<String>,
}

/// Which orders to list.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderQuery {
    /// Also those that are closed or hidden.
    #[serde(default)]
    pub all: bool,
}
