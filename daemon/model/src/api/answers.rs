//! What prestagectl prints with `--json` beside the daemon's own documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::{AuditReport, Outcome};
use super::requests::{Armed, Stopped};
use crate::advice::Entry;
use crate::failure::{Reason, Refusal};
use crate::verdict::Verdict;

/// What was done, by a command that shows nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoneDocument {
    /// For a person.
    pub done: String,
}

/// An error, on standard output as the last document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the name says it")]
pub struct ErrorDocument {
    pub error: ErrorBody,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// A code that `prestagectl explain` knows: of a denial or a failure, or of prestagectl itself.
    pub code: String,
    /// What happened and what caused it, for a person; one line.
    pub detail: String,
    /// How to mend it, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit code of prestagectl.
    pub exit: u8,
}

/// The answer of `image` and `retry` where no record tells how the attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unrecorded {
    /// How the attempt ended.
    pub verdict: Verdict,
    /// The decisive reason.
    pub reason: Option<Reason>,
    /// All refusals, the decisive one first, if the drive was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
}

/// The answer of `audit`: the report with what it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Audited<'a> {
    /// What the comparison comes to.
    pub verdict: Outcome,
    /// The same as `verdict`.
    pub outcome: Outcome,
    /// What was compared, and what was found.
    #[serde(flatten)]
    pub report: &'a AuditReport,
}

/// The answer of a verb that is done at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Done<'a, T> {
    /// What was done, in a word or two.
    pub done: &'a str,
    /// The daemon's account of it.
    #[serde(flatten)]
    pub report: &'a T,
}

/// The answer of `arm` and `disarm`.
pub type ArmedDocument<'a> = Done<'a, Armed>;
/// The answer of `stop`.
pub type StoppedDocument<'a> = Done<'a, Stopped>;

/// The answer of `explain CODE`; where one name has several meanings, the first is the one of drives.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Explanation<'a> {
    /// What is known of the code.
    #[serde(flatten)]
    pub entry: &'a Entry,
    /// What the code means elsewhere.
    pub also: &'a [Entry],
}
