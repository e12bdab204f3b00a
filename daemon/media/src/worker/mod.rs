//! Workers: child processes that run this same program to read media, press and audit.
//!
//! libwim and libntfs-3g are written in C, a WIM comes from outside, and each of these tasks must be stoppable at any
//! moment. So the station starts itself again as `prestaged worker`, writes one [`Task`] to the child's standard input
//! and reads [`Line`](model::api::line::Line)s from its standard output. Dropping the future that waits for them kills
//! the child and all processes that the child has started.

pub mod account;
pub mod pool;
pub mod protocol;

use model::code::FailureCode;
use model::failure::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wim;

/// The first argument that makes the program a worker.
pub const ARGUMENT: &str = "worker";

/// A task of a worker. The implementing type holds the task's parameters.
pub trait Work: Serialize + DeserializeOwned {
    /// The task's name in [`Task`].
    const NAME: &'static str;
    /// Whether the task opens a drive. Then the worker keeps the station's own rights.
    const NEEDS_DRIVE: bool = false;
    /// The result, which the worker sends to the station.
    type Output: Serialize + DeserializeOwned;

    /// Does the task, in the worker process.
    ///
    /// # Errors
    /// A [`Failure`] that the station can act on.
    fn perform(self) -> Result<Self::Output, Failure>;
}

/// The message on a worker's standard input: the task's name and, beside it, the task's own fields.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Task<W> {
    /// [`Work::NAME`].
    #[serde(rename = "task")]
    pub name: String,
    #[serde(flatten)]
    pub work: W,
}

/// The task that loads libwim and returns its version.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probe {}

impl Work for Probe {
    const NAME: &'static str = "probe";
    type Output = String;

    fn perform(self) -> Result<String, Failure> {
        wim::version()
            .map_err(|error| Failure::of(FailureCode::Libwim, &error).with_hint_of(&error))
    }
}
