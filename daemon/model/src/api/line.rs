//! What a worker says while it runs, one JSON document per line; an audit's lines go on to whoever asked for it.

use serde::{Deserialize, Serialize};

use crate::code::FailureCode;
use crate::failure::Failure;

/// One line of a worker's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// How far it has come.
    Progress(Progress),
    /// The result; the last line.
    Done(serde_json::Value),
    /// It could not be done; the last line.
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

/// How far a worker has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub step: String,
    /// How much of all is done, 0 to 1.
    pub fraction: f64,
}
