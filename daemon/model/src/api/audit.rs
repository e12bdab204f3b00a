//! An audit compares a drive with media: the task that a worker gets, and the report that it returns.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::media::MediaFile;
use crate::units::Bytes;

/// The drive to be audited, and the media to compare it with.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AuditTask {
    /// Device node of the drive.
    pub node: PathBuf,
    /// Capacity of the drive.
    pub size: Bytes,
    pub logical_sector_bytes: u32,
    /// The media's files, the first part first.
    pub files: Vec<MediaFile>,
    /// Index of the image, counted from 1.
    pub image: u32,
    /// What the drive's partitions must be.
    pub layout: Layout,
}

/// One difference between drive and media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Difference {
    /// Path on the volume, with `/` between names.
    pub path: String,
    /// The difference in words.
    pub what: String,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The drive holds exactly what the media holds.
    Same,
    /// Nothing that was compared differs, but something was not kept when the drive was made, or not compared.
    Incomplete,
    /// The drive holds something else than the media.
    Different,
}

/// What an audit has compared, and the differences it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AuditReport {
    /// Name of the media.
    pub media: String,
    /// Files and folders compared; each hard link counts.
    pub entries: u64,
    /// Data streams compared.
    pub streams: u64,
    /// Sum of the sizes of these streams.
    pub data_bytes: Bytes,
    /// The first differences; more than a hundred are only counted.
    pub differences: Vec<Difference>,
    pub more_differences: u64,
    /// The first things that differ because no press can keep them, such as some attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<Difference>,
    /// How many more of these there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_not_kept: u64,
    /// The first things that could not be compared, and why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<Difference>,
    /// How many more of these there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_not_compared: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl AuditReport {
    /// What the comparison comes to.
    pub fn outcome(&self) -> Outcome {
        if !self.differences.is_empty() {
            Outcome::Different
        } else if self.not_kept.is_empty() && self.not_compared.is_empty() {
            Outcome::Same
        } else {
            Outcome::Incomplete
        }
    }

    /// Lists a difference, or only counts it if the list is full.
    pub fn differs(&mut self, path: &str, what: impl Into<String>) {
        list(&mut self.differences, &mut self.more_differences, path, &what.into());
    }

    /// Lists what no press can keep, or only counts it if the list is full.
    pub fn loses(&mut self, path: &str, what: impl Into<String>) {
        list(&mut self.not_kept, &mut self.more_not_kept, path, &what.into());
    }

    /// How many things are not kept.
    pub fn not_kept(&self) -> u64 {
        Bytes::of(self.not_kept.len()).0 + self.more_not_kept
    }

    /// Lists what cannot be compared, or only counts it if the list is full.
    pub fn skips(&mut self, path: &str, why: impl Into<String>) {
        list(&mut self.not_compared, &mut self.more_not_compared, path, &why.into());
    }

    /// How many things could not be compared.
    pub fn not_compared(&self) -> u64 {
        Bytes::of(self.not_compared.len()).0 + self.more_not_compared
    }
}

fn list(listed: &mut Vec<Difference>, more: &mut u64, path: &str, what: &str) {
    if listed.len() < LISTED {
        let shown = |text: &str| text.replace(char::is_control, "?");
        listed.push(Difference { path: shown(path), what: shown(what) });
    } else {
        *more += 1;
    }
}

/// How many differences are listed; more are only counted.
const LISTED: usize = 100;
