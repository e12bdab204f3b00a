//! A second look at a drive: what it holds, compared with what its own record says that it was given.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit::Difference;
use crate::drive::{Bay, Serial};
use crate::ranges::Range;
use crate::record::Record;
use crate::units::Bytes;
use crate::verdict::Verdict;

/// How many ranges are listed, and how many files; more are only counted.
const LISTED: usize = 100;

/// What a second look comes to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Sameness {
    /// Every byte that the record says was read back still reads as it did.
    Same,
    /// Bytes differ, and all of them as an operating system changes them when it uses the volumes.
    StartedSince,
    /// Bytes differ that no use explains.
    Different,
}

/// What the drive was compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparedBy {
    /// The bytes of the master, which is still in the store: differences are told by the sector and by the file.
    Master,
    /// The digests of the master's chunks, which are kept longer: differences are told by the mebibyte.
    Digests,
}

/// The record that a drive was compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ComparedRecord {
    pub job: Uuid,
    pub serial: Option<Serial>,
    pub station: String,
    /// The bay in which the drive was then.
    pub bay: Bay,
    pub closed: Option<Timestamp>,
    /// Name of the media.
    pub media: Option<String>,
    pub order: Option<String>,
}

impl From<&Record> for ComparedRecord {
    fn from(record: &Record) -> Self {
        Self {
            job: record.job,
            serial: record.serial.clone(),
            station: record.station.clone(),
            bay: record.bay.clone(),
            closed: record.closed,
            media: record.media.as_ref().map(|media| media.name.clone()),
            order: record.order.clone(),
        }
    }
}

/// A later job of the same serial number, which may have written to the drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LaterJob {
    pub job: Uuid,
    /// Absent while it runs.
    pub verdict: Option<Verdict>,
    pub opened: Timestamp,
}

/// A range of the drive that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DifferentRange {
    /// Counted from the start of the drive.
    pub offset: Bytes,
    /// In bytes.
    pub length: Bytes,
    /// What lies there, and how it differs, in words.
    pub what: String,
    /// Whether an operating system changes this when it uses the volume.
    pub by_use: bool,
}

/// What was compared, and how it differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Comparison {
    pub compared_by: ComparedBy,
    /// Bytes that were read and compared.
    pub compared_bytes: Bytes,
    /// Bytes of the ranges that differ.
    pub different_bytes: Bytes,
    /// Whether an operating system has used a volume of the drive since the record was closed.
    pub started_since: bool,
    /// The first ranges that differ, those first that no use explains; more than a hundred are only counted.
    pub ranges: Vec<DifferentRange>,
    pub more_ranges: u64,
    /// The first files that differ, in the same order.
    pub files: Vec<Difference>,
    pub more_files: u64,
    /// How many of all ranges no use explains.
    pub unexplained_ranges: u64,
}

impl Comparison {
    /// A comparison that has found no difference yet.
    pub fn new(compared_by: ComparedBy, compared_bytes: Bytes) -> Self {
        Self {
            compared_by,
            compared_bytes,
            different_bytes: Bytes(0),
            started_since: false,
            ranges: Vec::new(),
            more_ranges: 0,
            files: Vec::new(),
            more_files: 0,
            unexplained_ranges: 0,
        }
    }

    /// Lists a range that differs, or only counts it if the list is full.
    pub fn differs(&mut self, range: Range, what: impl Into<String>, by_use: bool) {
        self.different_bytes += range.length();
        self.unexplained_ranges += u64::from(!by_use);
        if self.ranges.len() < LISTED {
            let (offset, length) = (range.start, range.length());
            self.ranges.push(DifferentRange { offset, length, what: what.into(), by_use });
        } else {
            self.more_ranges += 1;
        }
    }

    /// Lists a file that differs, or only counts it if the list is full.
    pub fn differs_in(&mut self, path: &str, what: impl Into<String>) {
        if self.files.len() < LISTED {
            let path = path.replace(char::is_control, "?");
            self.files.push(Difference { path, what: what.into() });
        } else {
            self.more_files += 1;
        }
    }

    /// What it comes to.
    pub fn outcome(&self) -> Sameness {
        if self.ranges.is_empty() {
            Sameness::Same
        } else if self.started_since && self.unexplained_ranges == 0 {
            Sameness::StartedSince
        } else {
            Sameness::Different
        }
    }
}

/// The answer of `verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VerifyReport {
    /// What the second look comes to.
    pub outcome: Sameness,
    /// The drive's last record with the verdict `passed`.
    pub record: ComparedRecord,
    /// The latest job of the same serial number since then, if there is one.
    pub later: Option<LaterJob>,
    /// What was compared, and how it differs.
    #[serde(flatten)]
    pub comparison: Comparison,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_use_explains_makes_a_drive_started() {
        let range = |at| Range::at(Bytes(at), Bytes(512));
        let mut found = Comparison::new(ComparedBy::Master, Bytes(1 << 20));
        assert_eq!(found.outcome(), Sameness::Same);
        found.differs(range(0), "x", true);
        assert_eq!(found.outcome(), Sameness::Different, "nothing says that it was started");
        found.started_since = true;
        assert_eq!(found.outcome(), Sameness::StartedSince);
        for at in 1..200 {
            found.differs(range(at * 512), "x", true);
        }
        found.differs(range(1 << 20), "beyond the list", false);
        assert_eq!(found.outcome(), Sameness::Different);
        assert_eq!((found.ranges.len(), found.more_ranges), (100, 101));
        assert_eq!(found.different_bytes, Bytes(201 * 512));
    }
}
