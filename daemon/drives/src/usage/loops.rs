//! What loop devices stand on. A loop device does not hold what is below it exclusively, so only this finds it.
//!
//! The path in `backing_file` is what somebody called the file once: a node made elsewhere, a link, a renamed file. The
//! numbers that the kernel gives (`LOOP_GET_STATUS64`) are the file's own.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use model::drive::DeviceNumber;

use super::facts::{self, UnknownUse, known};
use super::{Host, Mount};
use crate::sys;

/// How long a loop device may take to say what it stands on: one over a dead network file system never does.
const PATIENCE: Duration = Duration::from_secs(5);

/// A loop device that has a file.
pub(super) struct Loop {
    pub(super) name: String,
    /// The file, as whoever made the loop device called it.
    path: String,
    /// The block device that the file is, if it is one.
    node: Option<DeviceNumber>,
    /// The device that the file lies on, by the number that its file system has.
    file_system: Option<DeviceNumber>,
}

impl Loop {
    /// The block devices right below: the file itself, or what the file lies on.
    pub(super) fn below(&self, host: &Host, mounts: &[Mount]) -> Result<Vec<String>, UnknownUse> {
        let mut below = Vec::new();
        for number in [self.node, self.file_system].into_iter().flatten() {
            below.extend(host.name_of_number(&number.to_string())?);
        }
        match host.name_of_node(&self.path)? {
            Some(node) => below.push(node),
            // Some file systems have a number of their own making, so the path counts as well.
            None if self.node.is_none() => {
                let holds = |mount: &&Mount| Path::new(&self.path).starts_with(&mount.point);
                let around = mounts.iter().filter(holds).max_by_key(|mount| mount.point.len());
                below.extend(around.map(|mount| mount.device.clone()));
            }
            None => {}
        }
        below.sort();
        below.dedup();
        Ok(below)
    }
}

impl Host {
    /// All loop devices that have a file.
    pub(super) fn loops(&self) -> Result<Vec<Loop>, UnknownUse> {
        let folder = self.root.join("sys/block");
        let mut loops = Vec::new();
        for name in known(&folder, facts::names(&folder))?.unwrap_or_default() {
            let path = folder.join(&name).join("loop/backing_file");
            if let Some(text) = known(&path, facts::text(&path))? {
                let path = text.trim_end_matches('\n').trim_end_matches(" (deleted)").to_owned();
                loops.push(Loop { name, path, node: None, file_system: None });
            }
        }
        self.ask(&mut loops)?;
        Ok(loops)
    }

    /// Asks each loop device for the numbers of its file, on a thread that can be left behind.
    fn ask(&self, loops: &mut [Loop]) -> Result<(), UnknownUse> {
        let nodes: Vec<_> = loops.iter().map(|one| self.root.join("dev").join(&one.name)).collect();
        let (sender, answers) = mpsc::channel();
        let asked = nodes.clone();
        let work = move || {
            for node in asked {
                if sender.send(numbers(&node)).is_err() {
                    return;
                }
            }
        };
        if loops.is_empty() {
            return Ok(());
        }
        let unknown = |node: &Path, error: io::Error| UnknownUse::new(node, error);
        let thread = thread::Builder::new().name("loops".into()).spawn(work);
        thread.map_err(|error| unknown(&nodes[0], error))?;
        for (one, node) in loops.iter_mut().zip(&nodes) {
            let answer = answers.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => unknown(node, io::ErrorKind::TimedOut.into()),
                RecvTimeoutError::Disconnected => unknown(node, io::ErrorKind::BrokenPipe.into()),
            })?;
            // One that has lost its file meanwhile stands on nothing.
            if let Some(numbers) = known(node, answer)? {
                (one.node, one.file_system) = numbers;
            }
        }
        Ok(())
    }
}

/// The numbers of a loop device's file: its own if it is a device, and that of the file system that it lies on.
fn numbers(node: &Path) -> io::Result<(Option<DeviceNumber>, Option<DeviceNumber>)> {
    match sys::loop_backing(File::open(node)?) {
        Ok(backing) => Ok(backing),
        // A test's node.
        Err(rustix::io::Errno::NOTTY) => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}
