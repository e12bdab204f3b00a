//! What else on this machine uses a drive: mounts, swap, holders, the running system. Read-only, under a root that
//! tests replace.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::admission::Usage;

/// Mount points without which the machine does not run, or does not start again.
const SYSTEM_MOUNTS: [&str; 8] =
    ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc", "/home"];

/// Where /proc, /sys and /dev are; `/` outside of tests.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { root: "/".into() }
    }
}

#[derive(PartialEq, Eq)]
struct Mount {
    /// Kernel name of the block device.
    device: String,
    point: String,
}

impl Host {
    /// A host whose files lie under another root.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Names of mount points and files need not be UTF-8.
    fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the kernel counts attachments of disks, which is what an insertion is known by.
    pub fn counts_attachments(&self) -> bool {
        let block = self.root.join("sys/block");
        self.names(&block).iter().any(|name| block.join(name).join("diskseq").exists())
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
        let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The machine's boot ID.
    pub fn boot_id(&self) -> String {
        self.read("proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    /// Who uses a drive and its partitions.
    ///
    /// # Errors
    /// If the list of mounts cannot be read: then nothing is known, and the drive is not to be touched.
    pub fn usage(&self, drive: &str) -> io::Result<Usage> {
        let own = self.root.join("proc/self/mountinfo");
        fs::metadata(&own)?;
        let block = self.root.join("sys/block").join(drive);
        let mut parts = vec![(drive.to_owned(), block.clone())];
        for name in self.names(&block) {
            let folder = block.join(&name);
            if folder.join("partition").exists() {
                parts.push((name, folder));
            }
        }
        let mounts = self.mounts();
        let swaps = self.swaps();
        let system = self.system_devices(&mounts, &swaps);
        let mut usage = Usage::default();
        for (name, folder) in &parts {
            for mount in mounts.iter().filter(|m| m.device == *name) {
                usage.mounts.push(mount.point.clone());
            }
            usage.holders.extend(self.names(&folder.join("holders")));
            if swaps.contains(name) {
                usage.holders.push(format!("swap on {name}"));
            }
            usage.holders.extend(self.loops_on(name));
            for (device, why) in &system {
                if device == name {
                    usage.system.push(why.clone());
                }
            }
        }
        usage.system.sort();
        usage.system.dedup();
        Ok(usage)
    }

    /// Every mount of a block device, in this mount namespace and in that of PID 1. The device number in mountinfo is made up for btrfs and others, so the source
    /// is looked at as well.
    fn mounts(&self) -> Vec<Mount> {
        let views = ["proc/self/mountinfo", "proc/1/mountinfo"];
        let text: String = views.iter().filter_map(|view| self.read(view)).collect();
        let mut mounts: Vec<Mount> = Vec::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let (Some(number), Some(point)) = (fields.get(2), fields.get(4)) else { continue };
            let source = fields.iter().position(|f| *f == "-").and_then(|at| fields.get(at + 2));
            let by_number = self.name_of_number(number);
            let by_source = source.and_then(|source| self.name_of_node(&unescape(source)));
            for device in BTreeSet::from_iter(by_number.into_iter().chain(by_source)) {
                let mount = Mount { device, point: unescape(point) };
                if !mounts.contains(&mount) {
                    mounts.push(mount);
                }
            }
        }
        mounts
    }

    fn swaps(&self) -> Vec<String> {
        let Some(text) = self.read("proc/swaps") else { return Vec::new() };
        let nodes = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        nodes.filter_map(|node| self.name_of_node(&unescape(node))).collect()
    }

    /// Devices that the running system stands on, with the reason, followed down through device-mapper, MD and
    /// partitions.
    fn system_devices(&self, mounts: &[Mount], swaps: &[String]) -> Vec<(String, String)> {
        let mut todo: Vec<(String, String)> = mounts
            .iter()
            .filter(|mount| SYSTEM_MOUNTS.contains(&mount.point.as_str()))
            .map(|mount| (mount.device.clone(), mount.point.clone()))
            .chain(swaps.iter().map(|swap| (swap.clone(), "swap".to_owned())))
            .collect();
        let mut found: Vec<(String, String)> = Vec::new();
        while let Some((device, why)) = todo.pop() {
            if found.iter().any(|(d, w)| *d == device && *w == why) {
                continue;
            }
            let folder = self.root.join("sys/class/block").join(&device);
            for below in self.names(&folder.join("slaves")) {
                todo.push((below, why.clone()));
            }
            found.push((device, why));
        }
        found
    }

    /// Loop devices whose file is a block device.
    fn loops_on(&self, name: &str) -> Vec<String> {
        let node = format!("/dev/{name}");
        let mut loops = self.names(&self.root.join("sys/block"));
        loops.retain(|candidate| {
            candidate.starts_with("loop")
                && self
                    .read(&format!("sys/block/{candidate}/loop/backing_file"))
                    .is_some_and(|file| file.trim() == node)
        });
        loops
    }

    fn name_of_number(&self, number: &str) -> Option<String> {
        let link = self.root.join("sys/dev/block").join(number);
        let target = fs::read_link(link).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The kernel name behind a node such as `/dev/mapper/root` or `/dev/sda2`.
    fn name_of_node(&self, node: &str) -> Option<String> {
        let below = node.strip_prefix("/dev/")?;
        let path = self.root.join("dev").join(below);
        let real = fs::canonicalize(&path).unwrap_or(path);
        Some(real.file_name()?.to_string_lossy().into_owned())
    }
}

/// Undoes the octal escapes of /proc (`\040` for a blank).
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with its system on LVM on sda3, swap on sda2, data on sdb1 and an MD member sdc.
    fn machine() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (disk, part) in [("sda", "sda1"), ("sda", "sda2"), ("sda", "sda3"), ("sdb", "sdb1")] {
            write(&format!("sys/block/{disk}/{part}/partition"), "1");
            write(&format!("dev/{part}"), "");
        }
        write("sys/block/sda/sda3/holders/dm-0", "");
        write("sys/class/block/dm-0/slaves/sda3", "");
        write("sys/block/sdc/holders/md0", "");
        write("sys/block/sdd/dev", "8:48");
        write("sys/block/loop7/loop/backing_file", "/dev/sdd\n");
        write("dev/dm-0", "");
        fs::create_dir_all(root.path().join("dev/mapper")).unwrap();
        symlink("../dm-0", root.path().join("dev/mapper/vg-root")).unwrap();
        write(
            "proc/self/mountinfo",
            "22 1 0:21 / / rw,relatime shared:1 - btrfs /dev/mapper/vg-root rw\n\
             23 22 8:17 / /srv/old\\040data rw shared:2 - ext4 /dev/sdb1 rw\n\
             24 22 0:5 / /proc rw - proc proc rw\n",
        );
        fs::create_dir_all(root.path().join("sys/dev/block")).unwrap();
        symlink("../../block/sdb/sdb1", root.path().join("sys/dev/block/8:17")).unwrap();
        write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n");
        let host = Host::at(root.path().to_owned());
        (root, host)
    }

    #[test]
    fn the_system_disk_is_found_through_lvm() {
        let (_root, host) = machine();
        let usage = host.usage("sda").unwrap();
        assert_eq!(usage.system, ["/", "swap"]);
        assert_eq!(usage.holders, ["swap on sda2", "dm-0"]);
    }

    #[test]
    fn mounts_holders_and_loops_are_found() {
        let (_root, host) = machine();
        assert_eq!(host.usage("sdb").unwrap().mounts, ["/srv/old data"]);
        assert!(host.usage("sdb").unwrap().system.is_empty());
        assert_eq!(host.usage("sdc").unwrap().holders, ["md0"]);
        assert_eq!(host.usage("sdd").unwrap().holders, ["loop7"]);
        assert_eq!(host.usage("sd").unwrap(), Usage::default(), "no prefix matching");
    }
}
