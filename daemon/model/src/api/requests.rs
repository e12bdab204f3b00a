//! Requests of the HTTP API, and its short answers.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A request to image or audit a drive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriveRequest {
    /// Device node or kernel name.
    pub device: String,
    /// Name of the media; if absent, the station chooses.
    #[serde(default)]
    pub media: Option<String>,
}

/// A request to press a master for drives of this capacity and sector size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PressRequest {
    pub media: String,
    pub size_bytes: Bytes,
    pub logical_sector_bytes: u32,
}

/// The attempt at a drive that a request has begun; a client finds it in the snapshot by both fields.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Attempt {
    /// Device node.
    pub device: String,
    pub attempt: u64,
}

/// Which records to list: all that match every field given.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RecordQuery {
    pub serial: Option<String>,
    /// Opened at this time or later (RFC 3339).
    pub since: Option<String>,
    pub verdict: Option<String>,
}
