//! How an insertion of a drive ended.

use serde::{Deserialize, Serialize};

/// The result of a job, or of the decision about a drive.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// Every byte written was read back from the medium and is right.
    Passed,
    /// The drive must not be used.
    Failed,
    /// No byte was written.
    Refused,
    /// The job was ended early, which says nothing about the drive.
    Stopped,
}
