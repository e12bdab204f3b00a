//! The lamps of bays, in a folder like sysfs: what they show of a station, what they do without it, and what their program
//! may write.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use macro_rules_attribute::apply;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::faulty::{Faults, FaultyDrive};
use crate::harness::gate::GAMES;
use crate::harness::sample::run;
use crate::harness::sysfs::Sysfs;
use crate::harness::{Rig, Setup, bay, group, wait_for};

/// Size of the drives.
const MIB: u64 = 160;

/// The program, as a user of its own.
struct Lamps(RefCell<Child>);

impl Lamps {
    /// Begins it; root may use what no rule gives to anybody.
    fn start(rig: &Rig, user: u32) -> Self {
        let copy = rig.path("prestaged-lamps");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_prestaged-lamps"), &copy).unwrap();
        }
        let log = fs::File::options().create(true).append(true).open(rig.path("lamps.log"));
        let log = log.unwrap();
        let mut command = Command::new(copy);
        command
            .arg("--config")
            .arg(rig.path("prestaged.toml"))
            .uid(user)
            .gid(if user == 0 { 0 } else { group("games") })
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // A child of another test, begun while the program was copied, holds it open for a moment.
        let child = wait_for("the lamps to be started", || command.spawn().ok());
        Self(RefCell::new(child))
    }

    fn end(&self, signal: Signal) {
        let mut child = self.0.borrow_mut();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Lamps {
    fn drop(&mut self) {
        let mut child = self.0.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A station with the bays `left` and `right`, and an enclosure with four slots whose lamps a group may switch, as the
/// package's unit has it.
fn rack() -> (Rig, Sysfs) {
    let rig = Rig::new(Setup::default());
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    let of = |name: &str, letter: char| {
        let toml::Value::Array(bays) = bay(name, &format!("loop-{}{letter}*", rig.name)) else {
            panic!("bays are a list")
        };
        bays
    };
    rig.set("bay", [of("left", 'L'), of("right", 'R')].concat());
    rig.set("admission.bays", vec!["left", "right"]);
    rig.set("control.group", "games");
    rig.set("control.view_group", "games");
    rig.set("control.view_socket", at("view.sock"));
    rig.set("lamps.user", "games");
    rig.set("lamps.sysfs", at("sys"));
    rig.set("lamps.state", at("lamps/lamps.json"));
    let sysfs = Sysfs::new(&rig.path("sys"));
    sysfs.enclosure(4);
    for folder in ["lamps", ""] {
        let folder = rig.path(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::chown(rig.path("lamps"), Some(GAMES), None).unwrap();
    give_rights(&rig);
    (rig, sysfs)
}

/// What the package gives the group of lamps, here for the folder of the test.
fn give_rights(rig: &Rig) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/lamps-rights");
    run(script, &["games", rig.path("sys").to_str().unwrap()]);
}

fn lamp(sysfs: &Sysfs, slot: u32, name: &str) -> String {
    sysfs.get(&format!("{}/{name}", Sysfs::slot(slot)))
}

fn wait_lamp(sysfs: &Sysfs, slot: u32, name: &str, value: &str) {
    wait_for(&format!("{name} of slot {slot} to be {value}"), || {
        (lamp(sysfs, slot, name) == value).then_some(())
    });
}

fn kernel_name(node: &str) -> &str {
    node.rsplit('/').next().unwrap()
}

fn bad() -> Faults {
    Faults { write_error_at: Some(4096), ..Faults::default() }
}

/// From a drive that fails in one bay and one that passes in the other, to a station that is gone and lamps that are killed.
#[apply(test!)]
#[needs(ROOT, LOOP, FUSE)]
fn lamps_show_what_tiles_show() {
    let (rig, sysfs) = rack();
    rig.set("lamps.passed", "locate");
    rig.set("lamps.locate_for", "3s");
    rig.start_with_media();
    let lamps = Lamps::start(&rig, GAMES);
    let failing = FaultyDrive::new(&rig, "R1", MIB, bad());
    failing.attach(&[]);
    let node = failing.node();
    sysfs.plug_in(kernel_name(&node), 2);
    assert_eq!(rig.wait_recorded(&failing.serial)["verdict"], "failed");
    wait_lamp(&sysfs, 2, "fault", "1");
    let good = rig.attached("L1", MIB, 512);
    sysfs.plug_in(kernel_name(&good.node()), 1);
    rig.wait_pass(&good.serial);
    wait_lamp(&sysfs, 1, "locate", "1");
    let told = |rig: &Rig| -> Value { rig.json(&["status"])["lamps"].clone() };
    let report = wait_for("the lamps to say how they are", || {
        Some(told(&rig)).filter(|lamps| lamps["bays"] == 2)
    });
    assert_eq!(report["troubles"], serde_json::json!([]));
    assert!(rig.ctl_ok(&["status"]).contains("of 2 bays"));

    // Somebody looks for a bay: by its name, or by the drive in it. It ends when he says so, and by itself.
    rig.ctl_ok(&["locate", &failing.serial]);
    wait_lamp(&sysfs, 2, "locate", "1");
    rig.ctl_ok(&["locate", "right", "--off"]);
    wait_lamp(&sysfs, 2, "locate", "0");
    rig.ctl_ok(&["locate", "right"]);
    wait_lamp(&sysfs, 2, "locate", "1");
    wait_lamp(&sysfs, 2, "locate", "0");
    rig.ctl_fails(2, &["locate", "middle"]);

    // It is pulled; the slot goes on to say so without it.
    failing.detach();
    rig.wait_gone(&failing.serial);
    sysfs.pull_out(kernel_name(&node), 2);
    assert_eq!(lamp(&sysfs, 2, "fault"), "1");

    // The station is gone. What has passed is not said any more; what has failed goes on to have failed.
    rig.kill();
    wait_lamp(&sysfs, 1, "locate", "0");
    assert_eq!(lamp(&sysfs, 2, "fault"), "1");
    // It has forgotten what was pulled, and its tile is empty.
    rig.start();
    wait_lamp(&sysfs, 2, "fault", "0");
    wait_lamp(&sysfs, 1, "locate", "1");

    // Whoever is killed leaves its lamps lit, and switches them off when it starts again.
    rig.kill();
    lamps.end(Signal::KILL);
    sysfs.put(&format!("{}/fault", Sysfs::slot(2)), "1");
    sysfs.put(&format!("{}/fault", Sysfs::slot(4)), "1");
    let lamps = Lamps::start(&rig, GAMES);
    wait_lamp(&sysfs, 2, "fault", "0");
    assert_eq!(lamp(&sysfs, 4, "fault"), "1", "that slot belongs to no bay");
    rig.start();
    wait_lamp(&sysfs, 1, "locate", "1");
    lamps.end(Signal::TERM);
    assert_eq!(lamp(&sysfs, 1, "locate"), "0", "it was told to end");
}

/// What belongs to the group is all that the program could ever write.
#[apply(test!)]
#[needs(ROOT)]
fn only_lamps_are_writable_to_their_program() {
    let (rig, sysfs) = rack();
    sysfs.npem("nvme0n1");
    sysfs.port(1, None);
    give_rights(&rig);
    let games = group("games");
    let mut writable = Vec::new();
    let mut folders = vec![rig.path("sys/devices")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                assert_eq!(meta.mode() & 0o022, 0, "{entry:?}");
                folders.push(entry.path());
            } else if meta.is_file() && (meta.mode() & 0o002 != 0 || meta.mode() & 0o020 != 0) {
                assert_eq!((meta.uid(), meta.gid()), (0, games), "{entry:?}");
                writable.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    writable.sort();
    writable.dedup();
    assert_eq!(writable, ["brightness", "em_message", "fault", "locate"]);
}

/// A platform that ignores a lamp is told: once in the log, and in the status for as long as it is so.
#[apply(test!)]
#[needs(ROOT, LOOP, FUSE)]
fn what_a_lamp_ignores_is_told() {
    let (rig, sysfs) = rack();
    let platform = FaultyDrive::empty("lamp", 4096);
    platform.plant(0, format!("0{:4095}", "").as_bytes());
    platform.set(Faults { forget: Some((0, 4096)), ..Faults::default() });
    let fault = sysfs.at(&format!("{}/fault", Sysfs::slot(2)));
    let fault = fault.to_str().unwrap();
    run("mount", &["--bind", platform.file.to_str().unwrap(), fault]);
    rig.start_with_media();
    let lamps = Lamps::start(&rig, 0);
    let failing = FaultyDrive::new(&rig, "R1", MIB, bad());
    failing.attach(&[]);
    sysfs.plug_in(kernel_name(&failing.node()), 2);
    rig.wait_recorded(&failing.serial);
    let trouble = wait_for("the trouble", || {
        let troubles = rig.json(&["status"])["lamps"]["troubles"].clone();
        troubles.get(0).cloned()
    });
    lamps.end(Signal::TERM);
    run("umount", &[fault]);
    assert_eq!(trouble["bay"], "right");
    assert_eq!(trouble["what"], "the fault lamp does not take what it is told");
    let log = fs::read_to_string(rig.path("lamps.log")).unwrap();
    assert_eq!(log.matches("does not take what it is told").count(), 1, "{log}");
    let status = rig.ctl_ok(&["status"]);
    assert!(status.contains("of 1 bay; 1 lamp does not work"), "{status}");
}
