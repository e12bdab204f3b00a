//! Finds out what else on this machine uses a drive: mounts, swap, holders, loop devices, programs that have it open for
//! writing, the running system. Only reads /proc, /sys and /dev, under a root that tests replace.
//!
//! What cannot be read is unknown, and a drive about which something is unknown is nobody's to write: an error names the
//! file ([`UnknownUse`]).

mod facts;
mod loops;
mod writers;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use model::admission::Usage;
use rustix::fs::{major, minor};

pub use facts::UnknownUse;
use facts::{known, visible};
use loops::Loop;

/// Mount points that the machine needs to run or to start again.
const SYSTEM_MOUNTS: [&str; 8] =
    ["/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/etc", "/home"];

/// How long a program may have a drive open for writing that has just been plugged in: many look at new drives so.
const PATIENCE: Duration = Duration::from_secs(10);

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

    /// The text of a file; `None` if there is none.
    fn text(&self, path: &str) -> Result<Option<String>, UnknownUse> {
        let path = self.root.join(path);
        known(&path, facts::text(&path))
    }

    /// The names in a folder, sorted; none if there is no such folder.
    fn names(&self, path: &Path) -> Result<Vec<String>, UnknownUse> {
        Ok(known(path, facts::names(path))?.unwrap_or_default())
    }

    /// Whether the kernel counts the attachments of disks (`diskseq`, Linux 5.15). The count tells one insertion of a
    /// drive from the next.
    pub fn counts_attachments(&self) -> bool {
        let block = self.root.join("sys/block");
        let names = self.names(&block).unwrap_or_default();
        names.iter().any(|name| block.join(name).join("diskseq").exists())
    }

    /// The kernel's random ID of this boot (random(4)); empty if it cannot be read.
    pub fn boot_id(&self) -> String {
        let text = self.text("proc/sys/kernel/random/boot_id").ok().flatten();
        text.unwrap_or_default().trim().to_owned()
    }

    /// Who uses a drive and its partitions. `in_pool` says whether a ZFS pool's label stands on a device node; it is
    /// asked only if pools are imported.
    ///
    /// # Errors
    /// [`UnknownUse`] names the file that cannot be read. Then nothing is known, and the drive must not be touched.
    pub fn usage(&self, drive: &str, in_pool: &dyn Fn(&Path) -> bool) -> Result<Usage, UnknownUse> {
        let parts = self.parts(drive)?;
        let mounts = self.mounts()?;
        let swaps = self.swaps_in(&self.text("proc/swaps")?.unwrap_or_default())?;
        let pools = self.btrfs_pools()?;
        let loops = self.loops()?;
        let system = self.system_devices(&mounts, &swaps, &pools, &loops)?;
        let zfs = self.zfs_mounts()?;
        let mut usage = Usage::default();
        for (name, folder) in &parts {
            for mount in mounts.iter().filter(|m| m.device == *name) {
                usage.mounts.push(mount.point.clone());
            }
            usage.holders.extend(self.names(&folder.join("holders"))?);
            if swaps.contains(name) {
                usage.holders.push(format!("swap on {name}"));
            }
            for one in &loops {
                if one.below(self, &mounts)?.contains(name) {
                    usage.holders.push(one.name.clone());
                }
            }
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
        let names: Vec<String> = parts.into_iter().map(|(name, _)| name).collect();
        usage.holders.extend(self.exports(&names)?);
        usage.writers = self.writers(drive, &names)?;
        usage.system.sort();
        usage.system.dedup();
        Ok(usage)
    }

    /// A drive and its partitions, with their folders in sysfs.
    fn parts(&self, drive: &str) -> Result<Vec<(String, PathBuf)>, UnknownUse> {
        let block = self.root.join("sys/block").join(drive);
        let names = facts::names(&block).map_err(|error| UnknownUse::new(&block, error))?;
        let mut parts = vec![(drive.to_owned(), block.clone())];
        for name in names {
            let folder = block.join(&name);
            let mark = folder.join("partition");
            if known(&mark, fs::symlink_metadata(&mark))?.is_some() {
                parts.push((name, folder));
            }
        }
        Ok(parts)
    }

    /// The numbers of all processes.
    fn processes(&self) -> Result<Vec<String>, UnknownUse> {
        let proc = self.root.join("proc");
        let mut names = facts::names(&proc).map_err(|error| UnknownUse::new(&proc, error))?;
        names.retain(|name| name.bytes().all(|b| b.is_ascii_digit()));
        Ok(names)
    }

    /// The text of mountinfo in every mount namespace that this process may look into, each once. Containers and
    /// services have namespaces of their own, and a drive that is mounted there is in use as well.
    fn mountinfos(&self) -> Result<Vec<String>, UnknownUse> {
        let own = self.root.join("proc/self/mountinfo");
        let mut seen = BTreeSet::new();
        let mut all = vec![facts::text(&own).map_err(|error| UnknownUse::new(&own, error))?];
        for process in self.processes()? {
            let folder = self.root.join("proc").join(process);
            let namespace = folder.join("ns/mnt");
            // A mount in a namespace that cannot be looked into still makes the claim's exclusive open fail.
            if let Some(namespace) = visible(&namespace, fs::read_link(&namespace))?
                && seen.insert(namespace)
            {
                let list = folder.join("mountinfo");
                all.extend(visible(&list, facts::text(&list))?);
            }
        }
        Ok(all)
    }

    /// Every mount of a block device. For btrfs and others the device number in mountinfo is made up, so the source
    /// counts as well; bcachefs names several devices there.
    fn mounts(&self) -> Result<Vec<Mount>, UnknownUse> {
        self.mounts_in(&self.mountinfos()?)
    }

    fn mounts_in(&self, texts: &[String]) -> Result<Vec<Mount>, UnknownUse> {
        let mut mounts: Vec<Mount> = Vec::new();
        for line in texts.iter().flat_map(|text| text.lines()) {
            let Some(fields) = MountFields::of(line) else { continue };
            let mut devices: BTreeSet<String> =
                self.name_of_number(fields.number)?.into_iter().collect();
            for node in unescape(fields.source).split(':') {
                devices.extend(self.name_of_node(node)?);
            }
            for device in devices {
                let mount = Mount { device, point: unescape(fields.point) };
                if !mounts.contains(&mount) {
                    mounts.push(mount);
                }
            }
        }
        Ok(mounts)
    }

    /// The mount points of ZFS; `None` if no pool is imported. Nothing in /sys says on which drives a pool lies.
    fn zfs_mounts(&self) -> Result<Option<Vec<String>>, UnknownUse> {
        let mut points = BTreeSet::new();
        for line in self.mountinfos()?.iter().flat_map(|text| text.lines()) {
            if let Some(fields) = MountFields::of(line).filter(|fields| fields.kind == "zfs") {
                points.insert(unescape(fields.point));
            }
        }
        // Each imported pool has a folder in this one (OpenZFS, module/os/linux/spl/spl-kstat.c).
        let pools = self.root.join("proc/spl/kstat/zfs");
        let imported = self.names(&pools)?.iter().any(|name| pools.join(name).is_dir());
        Ok((imported || !points.is_empty()).then(|| points.into_iter().collect()))
    }

    /// The devices of each mounted btrfs file system; mountinfo names only one of them.
    fn btrfs_pools(&self) -> Result<Vec<Vec<String>>, UnknownUse> {
        let folder = self.root.join("sys/fs/btrfs");
        let mut pools = Vec::new();
        for uuid in self.names(&folder)? {
            let devices = self.names(&folder.join(uuid).join("devices"))?;
            if !devices.is_empty() {
                pools.push(devices);
            }
        }
        Ok(pools)
    }

    /// The namespaces through which these devices are given to other machines by NVMe over a network. They hold nothing
    /// exclusively (`nvmet_bdev_ns_enable` in the kernel).
    fn exports(&self, parts: &[String]) -> Result<Vec<String>, UnknownUse> {
        let subsystems = self.root.join("sys/kernel/config/nvmet/subsystems");
        let mut exports = Vec::new();
        for subsystem in self.names(&subsystems)? {
            let namespaces = subsystems.join(&subsystem).join("namespaces");
            for number in self.names(&namespaces)? {
                let path = namespaces.join(number).join("device_path");
                let node = known(&path, facts::text(&path))?.unwrap_or_default();
                let name = self.name_of_node(node.trim())?;
                if name.is_some_and(|name| parts.contains(&name)) {
                    exports.push(format!("the NVMe target {subsystem}"));
                }
            }
        }
        Ok(exports)
    }

    fn swaps_in(&self, text: &str) -> Result<Vec<String>, UnknownUse> {
        let mut swaps = Vec::new();
        for node in text.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
            swaps.extend(self.name_of_node(&unescape(node))?);
        }
        Ok(swaps)
    }

    /// Reads any text as the kernel's list of mounts and as its list of swap, and counts the entries. For fuzzing.
    pub fn read_lists(&self, text: &str) -> (usize, usize) {
        let mounts = self.mounts_in(&[text.to_owned()]).map_or(0, |mounts| mounts.len());
        (mounts, self.swaps_in(text).map_or(0, |swaps| swaps.len()))
    }

    /// The devices that the running system needs, each with the reason: a mount point, or "swap". Followed down through
    /// device-mapper, MD, bcache, loop devices, btrfs and partitions.
    fn system_devices(
        &self,
        mounts: &[Mount],
        swaps: &[String],
        pools: &[Vec<String>],
        loops: &[Loop],
    ) -> Result<Vec<(String, String)>, UnknownUse> {
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
            let mut below = self.names(&folder.join("slaves"))?;
            below.extend(pools.iter().filter(|pool| pool.contains(&device)).flatten().cloned());
            for one in loops.iter().filter(|one| one.name == device) {
                below.extend(one.below(self, mounts)?);
            }
            todo.extend(below.into_iter().map(|below| (below, why.clone())));
            found.push((device, why));
        }
        Ok(found)
    }

    fn name_of_number(&self, number: &str) -> Result<Option<String>, UnknownUse> {
        let link = self.root.join("sys/dev/block").join(number);
        let target = known(&link, fs::read_link(&link))?;
        let name = target.as_deref().and_then(Path::file_name);
        Ok(name.map(|name| name.to_string_lossy().into_owned()))
    }

    /// The kernel name behind a node such as `/dev/mapper/root` or `/dev/sda2`.
    fn name_of_node(&self, node: &str) -> Result<Option<String>, UnknownUse> {
        let Some(below) = node.strip_prefix("/dev/") else { return Ok(None) };
        let path = self.root.join("dev").join(below);
        // A node of any name is the device whose number it has.
        if let Some(meta) = known(&path, fs::metadata(&path))?
            && meta.file_type().is_block_device()
        {
            let number = format!("{}:{}", major(meta.rdev()), minor(meta.rdev()));
            if let Some(name) = self.name_of_number(&number)? {
                return Ok(Some(name));
            }
        }
        let real = known(&path, fs::canonicalize(&path))?.unwrap_or(path);
        Ok(real.file_name().map(|name| name.to_string_lossy().into_owned()))
    }
}

/// Looks who uses a drive, again and again for a while if nothing speaks against it except that programs have it open for
/// writing: whoever looks at a new drive is soon done. Gives up waiting when `go_on` says so.
///
/// # Errors
/// Those of `look`.
pub fn settled(
    look: impl Fn() -> Result<Usage, UnknownUse>,
    go_on: &dyn Fn() -> bool,
) -> Result<Usage, UnknownUse> {
    let start = Instant::now();
    loop {
        let usage = look()?;
        let free = Usage { writers: usage.writers.clone(), ..Usage::default() };
        let only_open = usage == free && !usage.writers.is_empty();
        if !only_open || start.elapsed() >= PATIENCE || !go_on() {
            return Ok(usage);
        }
        thread::park_timeout(Duration::from_millis(100));
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
