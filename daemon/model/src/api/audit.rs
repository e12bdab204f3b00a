//! Comparing a drive with its media: what the worker is told, and what it found.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::media::MediaFile;
use crate::units::Bytes;

/// What an audit worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct AuditTask {
    /// Device node.
    pub node: PathBuf,
    /// Capacity.
    pub size: Bytes,
    /// Logical sector size in bytes.
    pub logical_sector_bytes: u32,
    /// The media's files, first part first.
    pub files: Vec<MediaFile>,
    /// Index of the image.
    pub image: u32,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Path on the volume.
    pub path: String,
    /// What differs.
    pub what: String,
}

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Media compared with.
    pub media: String,
    /// Files and folders compared, each hard link counted.
    pub entries: u64,
    /// Streams compared.
    pub streams: u64,
    /// Bytes of data compared.
    pub data_bytes: Bytes,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub more_differences: u64,
}

impl AuditReport {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && self.more_differences == 0
    }

    /// Adds a difference to the list, or to the count where the list is long enough.
    pub fn differs(&mut self, path: &str, what: impl Into<String>) {
        if self.differences.len() < LISTED {
            let shown = |text: &str| text.replace(char::is_control, "?");
            self.differences.push(Difference { path: shown(path), what: shown(&what.into()) });
        } else {
            self.more_differences += 1;
        }
    }
}

/// More differences than this are counted, not listed.
const LISTED: usize = 100;
