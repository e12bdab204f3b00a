//! The output of a worker: one JSON document per line. The lines of an audit are passed on to the client that asked for
//! it.

use serde::{Deserialize, Serialize};

use crate::code::FailureCode;
use crate::failure::Failure;

/// One line of a worker's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The current step in words.
    pub step: String,
    /// The part of the whole task that is done, 0 to 1.
    pub fraction: f64,
}
