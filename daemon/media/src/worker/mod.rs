//! Work that is done in a child process of this same program: reading media, pressing, auditing.
//!
//! libwim and libntfs-3g are C, a WIM comes from outside, and both kinds of work must be stoppable at any
//! moment. So the station starts itself again as `prestaged worker`, writes one [`Task`] to its standard input and reads [`Line`](model::api::line::Line)s from its standard output. Dropping the future that waits kills the child and
//! what the child started.

pub mod account;
pub mod pool;
pub mod protocol;

use model::code::FailureCode;
use model::failure::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wim;

/// First argument that makes the program a worker.
pub const ARGUMENT: &str = "worker";

/// What a worker can do: what it is told, and what comes of it.
pub trait Work: Serialize + DeserializeOwned {
    /// The name that the task goes by.
    const NAME: &'static str;
    /// Whether it opens a drive; then it needs the station's own rights.
    const NEEDS_DRIVE: bool = false;
    /// What comes of it.
    type Output: Serialize + DeserializeOwned;

    /// Does it, in the worker.
    ///
    /// # Errors
    /// A [`Failure`] that the station can act on.
    fn perform(self) -> Result<Self::Output, Failure>;
}

/// What goes to a worker's standard input: the work's name and, beside it, the work's own fields.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task<W> {
    /// [`Work::NAME`].
    #[serde(rename = "task")]
    pub name: String,
    /// What the worker is told.
    #[serde(flatten)]
    pub work: W,
}

/// Loads libwim and says its version.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probe {}

impl Work for Probe {
    const NAME: &'static str = "probe";
    type Output = String;

    fn perform(self) -> Result<String, Failure> {
        wim::version().map_err(|error| Failure::of(FailureCode::Libwim, &error))
    }
}
