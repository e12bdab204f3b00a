//! The words for refusals. Factory systems compare them: they are an interface.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a drive is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The station is disarmed.
    NotArmed,
    /// Its bus is not listed.
    BusNotAllowed,
    /// Its bay is not listed.
    BayNotAllowed,
    /// Its model is not listed.
    ModelNotAllowed,
    /// Its serial number is not listed.
    SerialNotAllowed,
    /// It has none of the capacities listed.
    SizeNotAllowed,
    /// Its sectors have a size no layout supports.
    SectorSize,
    /// Too small for the limit, the layout or the content.
    TooSmall,
    /// Larger than the limit.
    TooLarge,
    /// The running system lives on it.
    SystemDisk,
    /// A file system on it is mounted.
    Mounted,
    /// Something else holds it.
    InUse,
    /// Write-protected.
    ReadOnly,
    /// It reports no serial number.
    NoSerial,
    /// Another attached drive has the same serial number.
    DuplicateSerial,
    /// It has passed with this very media before.
    AlreadyPassed,
    /// It holds something, and the policy asks for blank drives.
    NotBlank,
    /// There is nothing to put on it.
    NoMedia,
    /// The media wished for is damaged.
    MediaInvalid,
    /// The media's certificate has expired, by the date in the configuration.
    MediaExpired,
    /// It does not answer.
    Stalled,
    /// It is not the drive that was judged, or was taken by another program meanwhile.
    DriveChanged,
}

impl Code {
    /// Whether the station itself lacks something: the same drive is judged again when that has changed.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::NotArmed | Self::NoMedia | Self::MediaInvalid | Self::MediaExpired)
    }

    /// Whether the drive is none of the station's business; no record is made of it.
    pub fn is_out_of_scope(self) -> bool {
        matches!(self, Self::BusNotAllowed | Self::BayNotAllowed)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are those of the serialised form, so that they are written down once.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => Err(fmt::Error),
        }
    }
}

/// A refusal: its code, and for a person what would make the drive admissible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Code.
    pub code: Code,
    /// Text.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
