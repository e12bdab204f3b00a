//! Finds out what else on this machine uses a drive: mounts, swap, holders, the running system. Only reads /proc, /sys
//! and /dev, under a root that tests replace.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::admission::Usage;

/// Mount points that the machine needs to run or to start again.
const SYSTEM_MOUNTS: [&str; 8] =
    ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc", "/home"];

/// The machine, as /proc, /sys and /dev below `root` show it.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/` outside of tests.
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
    /// A machine whose /proc, /sys and /dev lie below another folder than `/`.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The text of a file. Names of mount points and files in it need not be UTF-8, so it is read leniently.
    fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the kernel counts the attachments of disks (`diskseq`, Linux 5.15). The count tells one insertion of a
    /// drive from the next.
    pub fn counts_attachments(&self) -> bool {
        let block = self.root.join("sys/block");
        self.names(&block).iter().any(|name| block.join(name).join("diskseq").exists())
    }

    /// The names in a folder, sorted; none if it cannot be read.
    fn names(&self, path: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
        let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The kernel's random ID of this boot (random(4)); empty if it cannot be read.
    pub fn boot_id(&self) -> String {
        self.read("proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }

    /// Who uses a drive and its partitions. `in_pool` says whether a ZFS pool's label stands on a device node; it is
    /// asked only if pools are imported.
    ///
    /// # Errors
    /// If the list of mounts cannot be read. Then nothing is known, and the drive must not be touched.
    pub fn usage(&self, drive: &str, in_pool: &dyn Fn(&Path) -> bool) -> io::Result<Usage> {
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
        let pools = self.btrfs_pools();
        let system = self.system_devices(&mounts, &swaps, &pools);
        let zfs = self.zfs_mounts();
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
            if pools.iter().any(|pool| pool.contains(name)) {
                usage.holders.push(format!("btrfs on {name}"));
            }
            if let Some(points) = &zfs
                && in_pool(&Path::new("/dev").join(name))
            {
                usage.holders.push(format!("a ZFS pool on {name}"));
                // Only ZFS's own tools could tell which pool it is, so every system mount point counts.
                usage.system.extend(points.iter().filter(|p| is_system(p)).cloned());
            }
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

    /// The text of mountinfo in every mount namespace that this process may look into, each once. Containers and
    /// services have namespaces of their own, and a drive that is mounted there is in use as well.
    fn mountinfos(&self) -> Vec<String> {
        let processes = self.names(&self.root.join("proc"));
        let numbers = processes.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let mut seen = BTreeSet::new();
        let mut all: Vec<String> = self.read("proc/self/mountinfo").into_iter().collect();
        for process in numbers {
            let namespace = fs::read_link(self.root.join("proc").join(process).join("ns/mnt"));
            // A mount in a namespace that cannot be looked into still makes the claim's exclusive open fail.
            if namespace.is_ok_and(|namespace| seen.insert(namespace)) {
                all.extend(self.read(&format!("proc/{process}/mountinfo")));
            }
        }
        all
    }

    /// Every mount of a block device. For btrfs and others the device number in mountinfo is made up, so the source
    /// counts as well; bcachefs names several devices there.
    fn mounts(&self) -> Vec<Mount> {
        self.mounts_in(&self.mountinfos())
    }

    fn mounts_in(&self, texts: &[String]) -> Vec<Mount> {
        let mut mounts: Vec<Mount> = Vec::new();
        for line in texts.iter().flat_map(|text| text.lines()) {
            let Some(fields) = MountFields::of(line) else { continue };
            let source = unescape(fields.source);
            let by_source = source.split(':').filter_map(|node| self.name_of_node(node));
            let by_number = self.name_of_number(fields.number);
            for device in BTreeSet::from_iter(by_number.into_iter().chain(by_source)) {
                let mount = Mount { device, point: unescape(fields.point) };
                if !mounts.contains(&mount) {
                    mounts.push(mount);
                }
            }
        }
        mounts
    }

    /// The mount points of ZFS; `None` if no pool is imported. Nothing in /sys says on which drives a pool lies.
    fn zfs_mounts(&self) -> Option<Vec<String>> {
        let mut points = BTreeSet::new();
        for line in self.mountinfos().iter().flat_map(|text| text.lines()) {
            if let Some(fields) = MountFields::of(line).filter(|fields| fields.kind == "zfs") {
                points.insert(unescape(fields.point));
            }
        }
        // Each imported pool has a folder in this one (OpenZFS, module/os/linux/spl/spl-kstat.c).
        let pools = self.root.join("proc/spl/kstat/zfs");
        let imported = self.names(&pools).iter().any(|name| pools.join(name).is_dir());
        (imported || !points.is_empty()).then(|| points.into_iter().collect())
    }

    /// The devices of each mounted btrfs file system; mountinfo names only one of them.
    fn btrfs_pools(&self) -> Vec<Vec<String>> {
        let folder = self.root.join("sys/fs/btrfs");
        self.names(&folder)
            .iter()
            .map(|uuid| self.names(&folder.join(uuid).join("devices")))
            .filter(|devices| !devices.is_empty())
            .collect()
    }

    fn swaps(&self) -> Vec<String> {
        self.swaps_in(&self.read("proc/swaps").unwrap_or_default())
    }

    fn swaps_in(&self, text: &str) -> Vec<String> {
        let nodes = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        nodes.filter_map(|node| self.name_of_node(&unescape(node))).collect()
    }

    /// Reads any text as the kernel's list of mounts and as its list of swap, and counts the entries. For fuzzing.
    pub fn read_lists(&self, text: &str) -> (usize, usize) {
        (self.mounts_in(&[text.to_owned()]).len(), self.swaps_in(text).len())
    }

    /// The devices that the running system needs, each with the reason: a mount point, or "swap". Followed down through
    /// device-mapper, MD, bcache, loop devices, btrfs and partitions.
    fn system_devices(
        &self,
        mounts: &[Mount],
        swaps: &[String],
        pools: &[Vec<String>],
    ) -> Vec<(String, String)> {
        let mut todo: Vec<(String, String)> = mounts
            .iter()
            .filter(|mount| is_system(&mount.point))
            .map(|mount| (mount.device.clone(), mount.point.clone()))
            .chain(swaps.iter().map(|swap| (swap.clone(), "swap".to_owned())))
            .collect();
        let mut found: Vec<(String, String)> = Vec::new();
        while let Some((device, why)) = todo.pop() {
            if found.iter().any(|(d, w)| *d == device && *w == why) {
                continue;
            }
            let folder = self.root.join("sys/class/block").join(&device);
            let siblings = pools.iter().filter(|pool| pool.contains(&device)).flatten().cloned();
            let below = self.names(&folder.join("slaves")).into_iter().chain(siblings);
            todo.extend(below.chain(self.under_loop(&device, mounts)).map(|b| (b, why.clone())));
            found.push((device, why));
        }
        found
    }

    /// The block device below a loop device: its backing file itself, or the device on which that file lies.
    fn under_loop(&self, device: &str, mounts: &[Mount]) -> Option<String> {
        let file = self.backing_file(device)?;
        let holds = |mount: &&Mount| Path::new(&file).starts_with(&mount.point);
        let around = || mounts.iter().filter(holds).max_by_key(|mount| mount.point.len());
        self.name_of_node(&file).or_else(|| around().map(|mount| mount.device.clone()))
    }

    /// The loop devices whose backing file is the block device `name`.
    fn loops_on(&self, name: &str) -> Vec<String> {
        let mut loops = self.names(&self.root.join("sys/block"));
        loops.retain(|candidate| {
            let file = self.backing_file(candidate);
            file.and_then(|file| self.name_of_node(&file)).is_some_and(|below| below == name)
        });
        loops
    }

    fn backing_file(&self, device: &str) -> Option<String> {
        let file = self.read(&format!("sys/class/block/{device}/loop/backing_file"))?;
        Some(file.trim_end_matches('\n').trim_end_matches(" (deleted)").to_owned())
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

/// The fields of a mountinfo line that are used here (proc_pid_mountinfo(5)).
struct MountFields<'a> {
    number: &'a str,
    point: &'a str,
    kind: &'a str,
    source: &'a str,
}

impl<'a> MountFields<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(' ').collect();
        let rest = fields.iter().position(|field| *field == "-")?;
        Some(Self {
            number: fields.get(2)?,
            point: fields.get(4)?,
            kind: fields.get(rest + 1)?,
            source: fields.get(rest + 2)?,
        })
    }
}

fn is_system(point: &str) -> bool {
    SYSTEM_MOUNTS.contains(&point)
}

/// Undoes the octal escapes of /proc (`\040` for a blank).
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = |d: &&[u8]| d.iter().all(|digit| matches!(digit, b'0'..=b'7'));
        let digits = tail.get(..3).filter(octal).and_then(|d| std::str::from_utf8(d).ok());
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
    use super::*;

    #[test]
    fn only_octal_escapes_are_undone() {
        assert_eq!(unescape("/srv/old\\040data\\011x\\"), "/srv/old data\tx\\");
        assert_eq!(unescape("a\\040b\\134"), "a b\\");
        assert_eq!(unescape("\\+12\\08\\777\\"), "\\+12\\08\\777\\");
    }
}
