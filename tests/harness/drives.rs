//! Loop drives and small file systems, gone when dropped.

use std::cell::RefCell;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{SeekFrom, seek};
use serde_json::Value;

use super::sample::{Noise, run};
use super::wait_for;

/// The noise that drives of this size repeat, and so what stands where nothing was written.
pub(crate) fn noise(size: u64) -> Vec<u8> {
    let mut block = vec![0; 4 << 20];
    Noise::new(size).fill(&mut block);
    block
}

/// Fills a file with noise, so that tests see what the station does not write.
pub(crate) fn fill_with_noise(path: &Path, size: u64) {
    let file = File::create(path).unwrap();
    let block = noise(size);
    let mut at = 0;
    while at < size {
        let count = usize::try_from((size - at).min(4 << 20)).unwrap();
        file.write_all_at(&block[..count], at).unwrap();
        at += 4 << 20;
    }
}

/// A loop drive; detached when dropped.
pub(crate) struct Drive {
    pub(crate) serial: String,
    pub(crate) file: PathBuf,
    device: RefCell<Option<String>>,
}

impl Drive {
    /// Makes a drive of a file, not attached yet.
    pub(crate) fn new(serial: String, file: PathBuf) -> Self {
        Self { serial, file, device: RefCell::new(None) }
    }

    /// Attaches it, with further options of losetup.
    pub(crate) fn attach(&self, options: &[&str]) {
        let file = self.file.to_str().unwrap();
        *self.device.borrow_mut() = Some(attach(file, options));
    }

    /// Attaches it to this node as soon as nobody else uses that.
    pub(crate) fn attach_as(&self, node: &str) {
        let file = self.file.to_str().unwrap();
        wait_for(&format!("{node} to be free"), || {
            let attached = Command::new("losetup").args([node, file]).output().unwrap();
            attached.status.success().then_some(())
        });
        *self.device.borrow_mut() = Some(node.to_owned());
    }

    /// Its device node.
    pub(crate) fn node(&self) -> String {
        self.device.borrow().clone().expect("the drive is attached")
    }

    /// Detaches it; the kernel lets go when its last user does.
    pub(crate) fn detach(&self) {
        if let Some(device) = self.device.borrow_mut().take() {
            run("losetup", &["-d", &device]);
        }
    }

    /// All that it holds.
    pub(crate) fn contents(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap()
    }

    /// A checksum of all that it holds.
    pub(crate) fn checksum(&self) -> Checksum {
        Checksum::of(&self.file)
    }

    /// Checks that it still holds what it held.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, before: &Checksum) {
        assert!(self.checksum() == *before, "something was written to {}", self.serial);
    }
}

/// A checksum over everything but zeros, and where it stands.
#[derive(PartialEq)]
pub(crate) struct Checksum(u64);

impl Checksum {
    fn of(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        let mut block = vec![0; 64 << 10];
        let mut sum = DefaultHasher::new();
        let mut at = 0;
        while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
            at = start - start % (64 << 10);
            let end = seek(&file, SeekFrom::Hole(start)).unwrap();
            while at < end {
                let count = usize::try_from(size - at).unwrap().min(block.len());
                file.read_exact_at(&mut block[..count], at).unwrap();
                if block[..count].iter().any(|byte| *byte != 0) {
                    (at, &block[..count]).hash(&mut sum);
                }
                at += 64 << 10;
            }
        }
        Self(sum.finish())
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        if let Some(device) = self.device.borrow_mut().take() {
            let _ = Command::new("losetup").args(["-d", &device]).status();
        }
    }
}

/// Attaches a file to a free loop device; tries again when another process takes the device first.
pub(crate) fn attach(file: &str, options: &[&str]) -> String {
    wait_for("a loop device", || {
        let node = run("losetup", &["--find"]).trim().to_owned();
        let ro = Path::new("/sys/block").join(&node["/dev/".len()..]).join("ro");
        // Write protection stays with a device when it is detached.
        if fs::read_to_string(ro).is_ok_and(|ro| ro.trim() == "1") {
            run("blockdev", &["--setrw", &node]);
        }
        let mut command = Command::new("losetup");
        let output =
            command.arg("--direct-io=on").args(options).args([&node, file]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || text.contains("busy"), "{command:?}: {text}");
        output.status.success().then_some(node)
    })
}

/// Returns the partitions of an imaged drive from its record: start of the type's GUID, byte offset, size.
pub(crate) fn partitions(record: &Value) -> Vec<(String, u64, u64)> {
    let sector = record["logical_sector_bytes"].as_u64().unwrap();
    let all = record["identity"]["partitions"].as_array().unwrap();
    all.iter()
        .map(|p| {
            let (first, last) = (p["first_lba"].as_u64().unwrap(), p["last_lba"].as_u64().unwrap());
            let kind = p["type_guid"].as_str().unwrap()[..8].to_owned();
            (kind, first * sector, (last + 1 - first) * sector)
        })
        .collect()
}

/// A small file system in memory, which a test can fill up; unmounted when dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    pub(crate) fn mount(folder: PathBuf, size: &str) -> Self {
        fs::create_dir(&folder).unwrap();
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "none", folder.to_str().unwrap()]);
        Self(folder)
    }

    /// Fills it up; returns the file that does.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let of = format!("of={}", filler.display());
        let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k", &of]).output().unwrap();
        assert!(!filled.status.success(), "{} has room left", self.0.display());
        filler
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file system on a file of its own, mounted; unmounted when dropped.
pub(crate) struct Ext4(PathBuf);

impl Ext4 {
    /// Makes the file `disk`, and mounts it at a new folder.
    pub(crate) fn mount(disk: &Path, at: &Path, mib: u64) -> Self {
        File::create(disk).unwrap().set_len(mib << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", disk.to_str().unwrap()]);
        fs::create_dir(at).unwrap();
        run("mount", &["-o", "loop", disk.to_str().unwrap(), at.to_str().unwrap()]);
        Self(at.to_owned())
    }

    /// Lets no write end until the result is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        run("fsfreeze", &["--freeze", self.0.to_str().unwrap()]);
        Frozen(self.0.clone())
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file system that stands still.
pub(crate) struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).status();
    }
}

/// A loop device over a part of a file, for tools that want a device for one volume: the kernel may not know partitions.
pub(crate) struct Volume(pub(crate) String);

impl Volume {
    pub(crate) fn of(drive: &Drive, offset: u64, size: u64, sector: u32) -> Self {
        let (offset, size) = (offset.to_string(), size.to_string());
        let sector = sector.to_string();
        let options =
            ["--read-only", "--offset", &offset, "--sizelimit", &size, "--sector-size", &sector];
        Self(attach(drive.file.to_str().unwrap(), &options))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}
