//! Processes that have a drive open for writing. Who opens a drive without `O_EXCL`, as dd and wipers do, is kept off by
//! nothing, and keeps nobody off.
//!
//! The kernel shows a process's descriptors only to whoever could trace it. To a station without `CAP_SYS_PTRACE` it
//! shows few processes; what those write while a drive is imaged is found by the claim's count of sectors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use model::drive::DeviceNumber;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use super::Host;
use super::facts::{self, UnknownUse, known, visible};

/// Who may write, in the mode of a link in `/proc/PID/fd`.
const WRITABLE: u32 = 0o200;

impl Host {
    /// The processes that have one of a drive's nodes open for writing, as far as they can be seen.
    pub(super) fn writers(&self, drive: &str, parts: &[String]) -> Result<Vec<String>, UnknownUse> {
        let numbers = self.numbers(drive, parts)?;
        let own = std::process::id().to_string();
        let mut writers = Vec::new();
        for process in self.processes()?.iter().filter(|process| **process != own) {
            let folder = self.root.join("proc").join(process).join("fd");
            for descriptor in visible(&folder, facts::names(&folder))?.unwrap_or_default() {
                let path = folder.join(descriptor);
                let meta = visible(&path, fs::symlink_metadata(&path))?;
                let writable = meta.is_some_and(|meta| meta.permissions().mode() & WRITABLE != 0);
                if writable
                    && visible(&path, device(&path))?
                        .flatten()
                        .is_some_and(|n| numbers.contains(&n))
                {
                    let comm = self.root.join("proc").join(process).join("comm");
                    let name = visible(&comm, facts::text(&comm))?.unwrap_or_default();
                    let name = name.trim();
                    writers
                        .push(format!("{name} (process {process}), which has it open for writing"));
                    break;
                }
            }
        }
        Ok(writers)
    }

    /// The numbers of all nodes through which a drive can be written: its own, those of its partitions, and those of
    /// the character devices that pass commands through.
    fn numbers(
        &self,
        drive: &str,
        parts: &[String],
    ) -> Result<Vec<(FileType, DeviceNumber)>, UnknownUse> {
        let class = self.root.join("sys/class/block");
        let mut nodes: Vec<_> = parts
            .iter()
            .map(|part| (FileType::BlockDevice, class.join(part).join("dev")))
            .collect();
        let device = class.join(drive).join("device");
        for kind in ["scsi_generic", "bsg"] {
            let folder = device.join(kind);
            let names = known(&folder, facts::names(&folder))?.unwrap_or_default();
            nodes.extend(
                names.iter().map(|name| (FileType::CharacterDevice, folder.join(name).join("dev"))),
            );
        }
        // The namespace nvme0n1 is ng0n1 as a character device.
        if let Some(rest) = drive.strip_prefix("nvme") {
            nodes.push((FileType::CharacterDevice, device.join(format!("ng{rest}")).join("dev")));
        }
        let mut numbers = Vec::new();
        for (kind, path) in nodes {
            let text = known(&path, facts::text(&path))?.unwrap_or_default();
            let number = text.trim().split_once(':').and_then(|(major, minor)| {
                Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
            });
            numbers.extend(number.map(|number| (kind, number)));
        }
        Ok(numbers)
    }
}

/// The device behind a descriptor, if it is one; asked so that a file system that hangs is not.
fn device(path: &Path) -> std::io::Result<Option<(FileType, DeviceNumber)>> {
    let meta = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE)?;
    let kind = FileType::from_raw_mode(meta.stx_mode.into());
    let number = DeviceNumber { major: meta.stx_rdev_major, minor: meta.stx_rdev_minor };
    let is_device = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
    Ok(is_device.then_some((kind, number)))
}
