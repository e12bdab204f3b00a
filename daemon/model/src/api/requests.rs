//! Requests and short answers of the HTTP API.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A request for one drive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriveRequest {
    /// Device node or kernel name.
    pub device: String,
    /// Media name; the newest valid one if absent.
    #[serde(default)]
    pub media: Option<String>,
}

/// A request for a press.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PressRequest {
    /// Media name.
    pub media: String,
    /// Drive size in bytes.
    pub size_bytes: Bytes,
    /// Logical sector size.
    pub logical_sector_bytes: u32,
}

/// Which attempt at a drive to look out for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Device node.
    pub device: String,
    /// Number of the attempt.
    pub attempt: u64,
}

/// Which records to list.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordQuery {
    /// Of this serial number.
    pub serial: Option<String>,
    /// Opened at or after, RFC 3339.
    pub since: Option<String>,
    /// With this verdict.
    pub verdict: Option<String>,
}
