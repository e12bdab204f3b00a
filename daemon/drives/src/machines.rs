//! Whole machines as /proc, /sys and udev show them, and what admission makes of each of their disks.
//!
//! Each file in `machines/` is one machine: `disk`, `part` and `virtual` lines make the folders of sysfs, `mount`,
//! `swap` and `file` lines the rest, `udev` lines a disk's properties, `pool` lines where ZFS labels stand, and `expect`
//! lines say what an armed station that allows every bus and bay and may overwrite anything decides.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::usage::Host;
use crate::watch::describe;
use model::admission::{
    self, Admission, Candidate, Content, MaximumSize, MinimumSize, Overwrite, Policy, Wanted,
};
use model::drive::Drive;
use model::units::Bytes;

#[derive(Default)]
struct Machine {
    udev: BTreeMap<String, BTreeMap<String, String>>,
    pools: HashSet<PathBuf>,
    expected: BTreeMap<String, String>,
}

#[expect(clippy::disallowed_methods, reason = "a machine of the test's own")]
fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn append(path: &Path, line: &str) {
    let before = fs::read_to_string(path).unwrap_or_default();
    write(path, &format!("{before}{line}\n"));
}

fn link(path: &Path, target: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

impl Machine {
    fn build(root: &Path, text: &str) -> Self {
        let mut machine = Self::default();
        link(&root.join("proc/1/ns/mnt"), Path::new("mnt:[1]"));
        for name in ["proc/self/mountinfo", "proc/1/mountinfo"] {
            append(&root.join(name), "24 22 0:5 / /proc rw - proc proc rw");
        }
        write(&root.join("proc/swaps"), "Filename Type Size Used Priority\n");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (verb, rest) = line.split_once(' ').unwrap();
            let words: Vec<&str> = rest.split(' ').collect();
            match (verb, &words[..]) {
                ("disk", [name, number, size, place]) => {
                    machine.disk(root, name, number, size, place);
                }
                ("part", [name, number, disk]) => {
                    let folder = fs::canonicalize(root.join("sys/block").join(disk)).unwrap();
                    write(&folder.join(name).join("partition"), "1\n");
                    device(root, &folder.join(name), name, number);
                }
                ("virtual", [name, number, below @ ..]) => {
                    let folder = root.join("sys/devices/virtual/block").join(name);
                    for lower in below {
                        write(&folder.join("slaves").join(lower), "");
                        let lower = fs::canonicalize(root.join("sys/class/block").join(lower));
                        write(&lower.unwrap().join("holders").join(name), "");
                    }
                    device(root, &folder, name, number);
                    link(&root.join("sys/block").join(name), &folder);
                }
                ("mount", _) => {
                    append(&root.join("proc/self/mountinfo"), rest);
                    append(&root.join("proc/1/mountinfo"), rest);
                }
                ("mount-in", [process, ..]) => {
                    let folder = root.join("proc").join(process);
                    if !folder.exists() {
                        link(&folder.join("ns/mnt"), Path::new(&format!("mnt:[{process}]")));
                    }
                    append(&folder.join("mountinfo"), rest.split_once(' ').unwrap().1);
                }
                ("swap", _) => append(&root.join("proc/swaps"), rest),
                ("file", [path, ..]) => {
                    write(&root.join(path), rest.split_once(' ').map_or("", |(_, text)| text));
                }
                ("link", [path, target]) => link(&root.join(path), Path::new(target)),
                ("pool", [node]) => drop(machine.pools.insert(Path::new("/dev").join(node))),
                ("udev", [disk, ..]) => {
                    let pairs = rest.split_once(' ').unwrap().1.split(';').map(str::trim);
                    let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
                    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
                    machine.udev.entry((*disk).to_owned()).or_default().extend(pairs);
                }
                ("expect", [disk, code]) => {
                    machine.expected.insert((*disk).to_owned(), (*code).to_owned());
                }
                _ => panic!("{line:?}"),
            }
        }
        machine
    }

    fn disk(&self, root: &Path, name: &str, number: &str, size: &str, place: &str) {
        let folder = root.join("sys/devices").join(place).join(name);
        let diskseq = fs::read_dir(root.join("sys/block")).map_or(0, Iterator::count);
        for (file, text) in [
            ("size", size),
            ("ro", "0"),
            ("queue/logical_block_size", "512"),
            ("diskseq", &(diskseq + 1).to_string()),
        ] {
            write(&folder.join(file), text);
        }
        device(root, &folder, name, number);
        link(&root.join("sys/block").join(name), &folder);
    }

    /// What is decided about each disk that counts as a drive.
    fn decide(&self, root: &Path) -> BTreeMap<String, String> {
        let mut names: Vec<_> =
            fs::read_dir(root.join("sys/block")).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        let drives: Vec<Drive> = names
            .iter()
            .filter_map(|link| {
                let folder = fs::canonicalize(link).unwrap();
                let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
                let properties = self.udev.get(&name).cloned().unwrap_or_default();
                describe(&folder, &|key| properties.get(key).cloned())
            })
            .collect();
        let host = Host::at(root.to_owned());
        let decide = |drive: &Drive| {
            let usage = host.usage(&drive.name, &|node| self.pools.contains(node)).unwrap();
            let policy = Policy {
                armed: true,
                buses: vec![drive.bus.0.clone()],
                bays: vec![glob::Pattern::new("*").unwrap()],
                overwrite: Overwrite::Any,
                ..Policy::closed()
            };
            let candidate = Candidate {
                consent: None,
                drive: drive.clone(),
                usage,
                content: Content::Unknown,
                twins: drive.twins(&drives).collect(),
                passed: None,
                wanted: Wanted::Known(MinimumSize {
                    least: Bytes(1 << 30),
                    arithmetic: "content".into(),
                }),
                limit: MaximumSize::unlimited(),
                health: None,
            };
            match admission::admit(candidate, &policy) {
                Admission::Admitted(_) => "admitted".to_owned(),
                Admission::Pending => "pending".to_owned(),
                Admission::Refused(refusals) => refusals[0].code.to_string(),
            }
        };
        drives.iter().map(|drive| (drive.name.clone(), decide(drive))).collect()
    }
}

/// What every block device has: its number, its links, its node.
fn device(root: &Path, folder: &Path, name: &str, number: &str) {
    write(&folder.join("dev"), number);
    link(&root.join("sys/class/block").join(name), folder);
    link(&root.join("sys/dev/block").join(number), folder);
    write(&root.join("dev").join(name), "");
}

#[test]
fn every_disk_of_every_machine_is_decided_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/machines");
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::build(root.path(), &fs::read_to_string(&file).unwrap());
        assert_eq!(machine.decide(root.path()), machine.expected, "{}", file.display());
        count += machine.expected.len();
    }
    assert!(count > 40, "{count} disks");
}

#[test]
fn without_a_list_of_mounts_nothing_is_known() {
    let root = tempfile::tempdir().unwrap();
    assert!(Host::at(root.path().to_owned()).usage("sda", &|_| false).is_err());
}
