//! Workers: child processes that run this same program to read media, press and audit.
//!
//! libwim and libntfs-3g are written in C, a WIM comes from outside, and each of these tasks must be stoppable at any
//! moment. So the station starts itself again as `prestaged worker`, sends one [`Task`] to the child's standard input
//! and reads [`Line`](model::api::line::Line)s from its standard output. Before the child begins, it shuts itself into a
//! [`domain`] of its own. Dropping the future that waits for its lines kills the child and all processes that the child
//! has started.

pub mod account;
pub mod domain;
mod effort;
pub mod handover;
pub mod pool;
pub mod protocol;

use std::os::fd::OwnedFd;
use std::time::Duration;

use domain::Reach;
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
    /// Whether the task needs a temporary folder.
    const NEEDS_SCRATCH: bool = false;
    /// How long the worker may neither report progress nor use the processor: then it waits for a file that does not
    /// answer, or somebody has stopped it, and the task fails. What programs use that it starts is not counted.
    const PATIENCE: Duration = Duration::from_secs(600);
    /// How long the worker may use the processor without reporting progress: libntfs-3g has been seen to go round in a
    /// circle for ever, and a press that never ends would hold up all others.
    const ENDURANCE: Duration = Duration::from_secs(1800);
    /// The failure then.
    const IDLE: FailureCode = FailureCode::WorkerFailed;
    /// The result, which the worker sends to the station.
    type Output: Serialize + DeserializeOwned;

    /// The files that the task needs. The worker's temporary folder is one of them anyway.
    fn reach(&self) -> Reach {
        Reach::default()
    }

    /// Does the task, in the worker process.
    ///
    /// # Errors
    /// A [`Failure`] that the station can act on.
    fn perform(self, given: Given) -> Result<Self::Output, Failure>;
}

/// What a worker has besides its task.
#[derive(Debug, Default)]
pub struct Given {
    /// The open files that the station has sent with the task.
    pub files: Vec<OwnedFd>,
    /// What the kernel lacks to keep the worker in its domain.
    pub lacking: Vec<String>,
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

/// The task that loads libwim, and finds out what workers have on this machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probe {}

/// What workers have on this machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probed {
    /// libwim's version.
    pub libwim: String,
    /// What the kernel lacks to keep workers in their domains.
    pub lacking: Vec<String>,
}

impl Work for Probe {
    const NAME: &'static str = "probe";
    type Output = Probed;

    fn perform(self, given: Given) -> Result<Probed, Failure> {
        let libwim = wim::version()
            .map_err(|error| Failure::of(FailureCode::Libwim, &error).with_hint_of(&error))?;
        Ok(Probed { libwim, lacking: given.lacking })
    }
}
