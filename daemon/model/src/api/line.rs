//! Output line by line, one JSON document each: of a worker, whose lines are passed on to the client that asked for an
//! audit; and of the ledger, whose records are sent so to clients that ask for lines.

use serde::{Deserialize, Serialize};

use crate::code::FailureCode;
use crate::failure::{Denial, Failure};
use crate::record::Record;

/// One line of a worker's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far the task has come.
    Progress(Progress),
    /// The result of the task. No line follows.
    Done(serde_json::Value),
    /// The task has failed. No line follows.
    Failed(Failure),
}

impl Line {
    /// The last line of a task that has ended.
    pub fn of(result: Result<impl Serialize, Failure>) -> Self {
        let value = result.and_then(|value| {
            serde_json::to_value(value)
                .map_err(|error| Failure::of(FailureCode::InternalError, &error))
        });
        value.map_or_else(Self::Failed, Self::Done)
    }
}

/// How far a worker has come with its task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    /// The current step in words.
    pub step: String,
    /// The part of the whole task that is done, 0 to 1.
    pub fraction: f64,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordLine {
    /// Its record.
    Record(Box<Record>),
    /// It holds no record that this program can read; the detail names the job.
    Unreadable(Denial),
    /// The ledger cannot be read any further. No line follows.
    Failed(Denial),
}
