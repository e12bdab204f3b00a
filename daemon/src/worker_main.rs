//! The daemon's program as a worker process: performs one task and prints its result.

use std::io::Read as _;

use anyhow::bail;
use media::intake::IntakeTask;
use media::press::PressTask;
use media::worker::protocol::emit;
use media::worker::{Probe, Task, Work};
use model::api::line::Line;
use rustix::process::{Resource, Rlimit, Signal};
use serde::de::IgnoredAny;

use crate::audit::Audit;

/// Performs the task that is read from standard input.
///
/// # Errors
/// If the task cannot be read. The failure of a task is no error here: it is printed as the last line.
pub fn main() -> anyhow::Result<()> {
    // A worker must not outlive the station, however the station ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    limit_memory();
    let mut request = Vec::new();
    std::io::stdin().read_to_end(&mut request)?;
    emit(&perform_any(&request)?);
    Ok(())
}

/// Performs a task of any kind; returns the last line to print.
///
/// # Errors
/// If the request is not the task of a worker.
fn perform_any(request: &[u8]) -> anyhow::Result<Line> {
    let Task { name, .. } = serde_json::from_slice::<Task<IgnoredAny>>(request)?;
    match name.as_str() {
        Probe::NAME => perform::<Probe>(request),
        IntakeTask::NAME => perform::<IntakeTask>(request),
        PressTask::NAME => perform::<PressTask>(request),
        Audit::NAME => perform::<Audit>(request),
        _ => bail!("{name:?} is not a task for a worker"),
    }
}

fn perform<W: Work>(request: &[u8]) -> anyhow::Result<Line> {
    let Task { work, .. } = serde_json::from_slice::<Task<W>>(request)?;
    Ok(Line::of(work.perform()))
}

/// Limits this process to half of the machine's memory. A WIM may claim that its metadata takes any amount; with the
/// limit the allocation fails here, and the kernel never has to choose between this process and the station.
fn limit_memory() {
    let machine = rustix::system::sysinfo();
    let half = machine.totalram.saturating_mul(machine.mem_unit.into()) / 2;
    let limit = Rlimit { current: Some(half), maximum: Some(half) };
    // If the limit cannot be set, the worker still works.
    let _ = rustix::process::setrlimit(Resource::Data, limit);
}
