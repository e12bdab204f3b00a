//! The daemon's program as a worker process: performs one task and prints its result.

use anyhow::{Context as _, bail};
use media::check::CheckTask;
use media::intake::IntakeTask;
use media::press::PressTask;
use media::press::derive::DeriveTask;
use media::wim;
use media::worker::domain;
use media::worker::handover;
use media::worker::protocol::emit;
use media::worker::{Given, Probe, Task, Work};
use model::api::line::Line;
use model::composition::{Create, Split};
use model::parcel::Describe;
use rustix::process::{Resource, Rlimit, Signal};
use serde::de::IgnoredAny;
use std::os::fd::OwnedFd;

use crate::audit::Audit;
use crate::verify::Verify;

/// Performs the task that is read from standard input.
///
/// # Errors
/// If the task cannot be read, or the worker cannot shut itself in. The failure of a task is no error here: it is
/// printed as the last line.
pub fn main() -> anyhow::Result<()> {
    domain::shut()?;
    // A worker must not outlive the station, however the station ends.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    limit_memory();
    let (request, files) = handover::receive().context("cannot read the task")?;
    emit(&perform_any(&request, files)?);
    Ok(())
}

/// Performs a task of any kind; returns the last line to print.
///
/// # Errors
/// If the request is not the task of a worker, or the worker cannot enter the task's domain.
fn perform_any(request: &[u8], files: Vec<OwnedFd>) -> anyhow::Result<Line> {
    let Task { name, .. } = serde_json::from_slice::<Task<IgnoredAny>>(request)?;
    match name.as_str() {
        Probe::NAME => perform::<Probe>(request, files),
        IntakeTask::NAME => perform::<IntakeTask>(request, files),
        PressTask::NAME => perform::<PressTask>(request, files),
        CheckTask::NAME => perform::<CheckTask>(request, files),
        DeriveTask::NAME => perform::<DeriveTask>(request, files),
        Create::NAME => perform::<Create>(request, files),
        Split::NAME => perform::<Split>(request, files),
        Describe::NAME => perform::<Describe>(request, files),
        Audit::NAME => perform::<Audit>(request, files),
        Verify::NAME => perform::<Verify>(request, files),
        _ => bail!("{name:?} is not a task for a worker"),
    }
}

fn perform<W: Work>(request: &[u8], files: Vec<OwnedFd>) -> anyhow::Result<Line> {
    let Task { work, .. } = serde_json::from_slice::<Task<W>>(request)?;
    let mut reach = work.reach();
    if W::NEEDS_SCRATCH {
        reach.write.push(std::env::temp_dir());
    }
    // libwim is found wherever the dynamic linker looks for it; the domain knows the usual places only.
    wim::load();
    let lacking = domain::enter(&reach)?;
    Ok(Line::of(work.perform(Given { files, lacking })))
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
