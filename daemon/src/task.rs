//! What worker processes can do; see [`crate::worker`].

use std::io::Read as _;

use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};

use crate::audit::{self, AuditTask};
use crate::media::intake::{self, IntakeTask};
use crate::press::{PressTask, build};
use crate::wim;
use crate::worker::{Failure, Line, emit};

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Load libwim and say its version.
    Probe,
    /// Read and verify a WIM.
    Intake(IntakeTask),
    /// Press a master.
    Press(Box<PressTask>),
    /// Compare a drive with its media.
    Audit(AuditTask),
}

impl Task {
    /// Whether it opens a drive; then it needs the station's own rights.
    pub fn needs_a_drive(&self) -> bool {
        matches!(self, Self::Audit(_))
    }
}

/// The worker's main function: reads the task from standard input and does it.
///
/// # Errors
/// Only if the task cannot be read; a task that fails says so in its last line.
pub fn main() -> anyhow::Result<()> {
    // A worker must not outlive the station, however that ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    limit_memory();
    let mut request = Vec::new();
    std::io::stdin().read_to_end(&mut request)?;
    let result = match serde_json::from_slice(&request)? {
        Task::Probe => wim::version().map_err(|e| Failure::of("libwim", &e)).and_then(value),
        Task::Intake(task) => intake::perform(&task).and_then(value),
        Task::Press(task) => build::perform(&task).and_then(value),
        Task::Audit(task) => audit::perform(&task).and_then(value),
    };
    emit(&match result {
        Ok(value) => Line::Done(value),
        Err(failure) => Line::Failed(failure),
    });
    Ok(())
}

/// A WIM may claim that its metadata takes any amount of memory. Up to half of the machine's may be had; beyond that
/// the claim is refused here, before the kernel has to choose between this process and the station.
fn limit_memory() {
    let machine = rustix::system::sysinfo();
    let half = machine.totalram.saturating_mul(machine.mem_unit.into()) / 2;
    let limit = Rlimit { current: Some(half), maximum: Some(half) };
    // Without the limit everything works as well.
    let _ = rustix::process::setrlimit(Resource::Data, limit);
}

fn value(result: impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(result).map_err(|e| Failure::of("worker_failed", &e))
}
