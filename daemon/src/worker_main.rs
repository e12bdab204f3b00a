//! The program as its own child process: does one task and says what came of it.

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

/// Does the task that is read from standard input.
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
    emit(&perform_any(&request)?);
    Ok(())
}

/// Does a task, whichever it is; returns the last line.
///
/// # Errors
/// If it is none.
fn perform_any(request: &[u8]) -> anyhow::Result<Line> {
    let Task { name, .. } = serde_json::from_slice::<Task<IgnoredAny>>(request)?;
    match name.as_str() {
        Probe::NAME => perform::<Probe>(request),
        IntakeTask::NAME => perform::<IntakeTask>(request),
        PressTask::NAME => perform::<PressTask>(request),
        Audit::NAME => perform::<Audit>(request),
        _ => bail!("workers have no task {name:?}"),
    }
}

fn perform<W: Work>(request: &[u8]) -> anyhow::Result<Line> {
    let Task { work, .. } = serde_json::from_slice::<Task<W>>(request)?;
    Ok(Line::of(work.perform()))
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
