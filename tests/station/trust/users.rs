//! Who else uses a drive, and what a station says and does about it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::process::Command;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, Volume, attach, partitions, wait_for};

/// What a record says: `refused in_use`.
fn said(record: &Value) -> String {
    let code = record["reason"]["code"].as_str();
    format!("{} {}", record["verdict"].as_str().unwrap(), code.unwrap_or_default())
        .trim()
        .to_owned()
}

/// A drive with something on it, a loop device over a path that leads to the drive, and what the station makes of it.
fn hidden_loop(make: impl FnOnce(&Rig, &str) -> String) -> String {
    let rig = Rig::started(Setup::default().disarmed());
    let drive = rig.drive("A", 420);
    let before = drive.checksum();
    drive.attach(&[]);
    rig.decision(&drive.serial);
    let path = make(&rig, &drive.node());
    let upper = Volume(attach(&path, &["--direct-io=off"]));
    rig.ctl_ok(&["arm"]);
    let record = wait_for("a decision", || {
        let record = rig.wait_verdict(&drive.serial);
        (record["reason"]["code"] != "not_armed").then_some(record)
    });
    assert!(record["reason"]["detail"].as_str().unwrap().contains(&upper.0[5..]), "{record:#}");
    drop(upper);
    drive.assert_untouched(&before);
    said(&record)
}

#[apply(test!)]
#[needs(LOOP)]
fn a_loop_device_is_found_whatever_its_file_is_called() {
    let node_elsewhere = |rig: &Rig, node: &str| {
        let number = fs::metadata(node).unwrap().rdev();
        let path = rig.path("elsewhere").to_str().unwrap().to_owned();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        run("mknod", &[&path, "b", &major.to_string(), &minor.to_string()]);
        path
    };
    Case {
        line: "A.6",
        tried: "a loop device over a node of the drive outside /dev",
        right: "refused in_use",
        before: "passed",
    }
    .saw(&hidden_loop(node_elsewhere));
    let renamed = |rig: &Rig, node: &str| {
        let path = rig.path("link").to_str().unwrap().to_owned();
        symlink(node_elsewhere(rig, node), &path).unwrap();
        path
    };
    Case {
        line: "A.6",
        tried: "the same through a symbolic link",
        right: "refused in_use",
        before: "passed",
    }
    .saw(&hidden_loop(renamed));
}

#[apply(test!)]
#[needs(LOOP)]
fn a_program_that_may_write_is_seen() {
    let rig = Rig::started(Setup::default().disarmed());
    let drive = rig.drive("A", 420);
    let before = drive.checksum();
    drive.attach(&[]);
    rig.decision(&drive.serial);
    // Not of this process: the station's own descriptors do not count, nor would a test's be a stranger's.
    let holder = format!("exec 3<>{}; echo open; exec sleep 300", drive.node());
    let mut holder = Command::new("sh")
        .args(["-c", &holder])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    rig.ctl_ok(&["arm"]);
    let record = wait_for("the record of it", || {
        let record = rig.wait_recorded(&drive.serial);
        (record["reason"]["code"] == "in_use").then_some(record)
    });
    let detail = record["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("(process {})", holder.id())), "{detail}");
    Case {
        line: "A.6",
        tried: "a program has the drive open for writing, not exclusively",
        right: "refused in_use",
        before: "passed",
    }
    .saw(&said(&record));
    drive.assert_untouched(&before);
    holder.kill().unwrap();
    holder.wait().unwrap();
    // Let go of, it is taken up when somebody says so, and not before.
    assert_eq!(rig.decision(&drive.serial)["code"], "in_use");
    rig.ctl_ok(&["retry", &drive.serial]);
    assert_eq!(said(&rig.wait_recorded(&drive.serial)), "passed");
}

#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_cannot_be_read_is_not_told_to_be_wiped() {
    let rig = Rig::started(Setup::default().disarmed().set("admission.overwrite", "blank_or_ours"));
    let drive = rig.drive("A", 420);
    File::options()
        .write(true)
        .open(&drive.file)
        .unwrap()
        .write_all_at(&vec![0; 1 << 20], 0)
        .unwrap();
    drive.attach(&[]);
    rig.decision(&drive.serial);
    File::options().write(true).open(&drive.file).unwrap().set_len(200 << 20).unwrap();
    rig.ctl_ok(&["arm"]);
    let record = wait_for("the record of it", || {
        let record = rig.wait_recorded(&drive.serial);
        (record["reason"]["code"] == "read_error").then_some(record)
    });
    assert!(!record.to_string().contains("wipe"), "{record:#}");
    Case {
        line: "A.7",
        tried: "the end of the drive cannot be read",
        right: "refused read_error",
        before: "not_blank, with advice to wipe it",
    }
    .saw(&said(&record));
}

#[apply(test!)]
#[needs(LOOP)]
fn an_empty_slot_is_no_drive() {
    let rig = Rig::started(Setup::default());
    let slot = rig.drive("A", 420);
    let card = rig.path("card");
    fs::rename(&slot.file, &card).unwrap();
    File::create(&slot.file).unwrap();
    slot.attach(&[]);
    rig.wait_refused(&slot.serial, "no_medium");
    let seen = (rig.records(&slot.serial).len(), rig.drive_status(&slot.serial).is_some());
    Case {
        line: "A.7",
        tried: "a card reader without a card",
        right: "0 records, in status: false",
        before: "refused too_small: 0 bytes",
    }
    .saw(&format!("{} records, in status: {}", seen.0, seen.1));
    fs::copy(&card, &slot.file).unwrap();
    run("losetup", &["-c", &slot.node()]);
    Case { line: "A.7", tried: "the card is put in", right: "passed", before: "passed" }
        .saw(&said(&rig.wait_pass(&slot.serial)));
}

#[apply(test!)]
#[needs(LOOP)]
fn a_serial_number_of_two_names_neither() {
    let rig = Rig::started(Setup::default().disarmed());
    let first = rig.drive("A", 420);
    let mut second = rig.drive("B", 420);
    let twin = first.file.with_extension("raw");
    fs::rename(&second.file, &twin).unwrap();
    (second.file, second.serial) = (twin, first.serial.clone());
    first.attach(&[]);
    rig.decision(&first.serial);
    second.attach(&[]);
    wait_for("both", || {
        let all = rig.json(&["drives"]);
        let ours = all.as_array().unwrap().iter().filter(|d| d["serial"] == first.serial.as_str());
        (ours.count() == 2).then_some(())
    });
    for verb in ["stop", "retry"] {
        let text = rig.ctl_fails(2, &[verb, &first.serial]);
        let named = text.contains(&first.node()) && text.contains(&second.node());
        Case {
            line: "E.23",
            tried: verb,
            right: "both devices are named: true",
            before: "whichever came first",
        }
        .saw(&format!("both devices are named: {named}"));
    }
    let text = rig.ctl_fails(2, &["stop", &second.node()]);
    assert!(text.contains("is not being imaged"), "{text}");
}

/// Opens a drive like that until it is told to let go.
struct Holder(std::process::Child);

impl Holder {
    fn new(node: &str, flags: &str) -> Self {
        let script = format!(
            "import os,sys; f=os.open({node:?}, {flags}); print('open', flush=True); sys.stdin.read(1)"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn who_holds_a_new_drive_for_a_moment_is_waited_for() {
    let rig = Rig::started(Setup::default());
    rig.wait_pass(&rig.attached("WARM", 420, 512).serial);
    rig.ctl_ok(&["disarm"]);
    let held = |name: &str| {
        let drive = rig.attached(name, 420, 512);
        rig.decision(&drive.serial);
        let holder = Holder::new(&drive.node(), "os.O_RDONLY | os.O_EXCL");
        (drive, holder)
    };
    let (drive, holder) = held("A");
    rig.ctl_ok(&["arm"]);
    rig.wait_state(&drive.serial, &["claiming"]);
    drop(holder);
    Case {
        line: "A.7",
        tried: "held exclusively for a moment as it is plugged in",
        right: "passed",
        before: "refused in_use",
    }
    .saw(&said(&rig.wait_pass(&drive.serial)));
    rig.ctl_ok(&["disarm"]);
    let (drive, holder) = held("B");
    rig.ctl_ok(&["arm"]);
    rig.wait_state(&drive.serial, &["claiming"]);
    rig.ctl_ok(&["stop", &drive.serial]);
    Case {
        line: "A.7",
        tried: "stop while it is waited for",
        right: "stopped operator_stop",
        before: "refused in_use",
    }
    .saw(&said(&rig.wait_verdict(&drive.serial)));
    rig.ctl(&["retry", &drive.serial]);
    let last = || rig.records(&drive.serial).pop().filter(|record| record["verdict"] == "refused");
    let refused = wait_for("the record of the refusal", last);
    Case {
        line: "A.7",
        tried: "held exclusively for good",
        right: "refused in_use",
        before: "refused in_use",
    }
    .saw(&said(&refused));
    drop(holder);
}

/// Writes a sector in the free space of a drive that is being written; the pass must not come about.
fn written_meanwhile(sync: bool) -> String {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 420, slow(20));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    let other = File::options().write(true).open(drive.node()).unwrap();
    other.write_all_at(&[0x5a; 4096], 300 << 20).unwrap();
    if sync {
        other.sync_all().unwrap();
    }
    let record = rig.wait_verdict(&drive.serial);
    drop(other);
    assert!(drive.holds(512, 8) != *b"EFI PART");
    drop(rig);
    said(&record)
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_drive_that_others_write_to_does_not_pass() {
    for (sync, tried) in [
        (true, "another program writes where nothing is read back"),
        (false, "another program's write waits in the page cache"),
    ] {
        Case { line: "A.6", tried, right: "failed foreign_write", before: "passed" }
            .saw(&written_meanwhile(sync));
    }
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_drive_that_refuses_every_write_lets_go_of_its_bay() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 420, slow(20));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    run("blockdev", &["--setro", &drive.node()]);
    // Waiting is given up before what it took once.
    Case {
        line: "E.22",
        tried: "all writes fail from one moment on",
        right: "failed write_error",
        before: "failed write_error after 141 s",
    }
    .saw(&said(&rig.wait_verdict(&drive.serial)));
    run("blockdev", &["--setrw", &drive.node()]);
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_station_that_did_not_run_blames_no_drive() {
    const STALL: std::time::Duration = std::time::Duration::from_secs(4);
    let rig = Rig::started(Setup::default().set("replicate.stall_timeout", "4s"));
    let hangs = Faults { hangs_at: Some(BODY_BYTE), ..Faults::default() };
    let drive = FaultyDrive::new(&rig, "A", 420, hangs);
    drive.attach(&[]);
    drive.wait_hangs();
    let pid = rustix::process::Pid::from_raw(rig.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let start = std::time::Instant::now();
    wait_for("longer than a drive may take", || (start.elapsed() > STALL * 2).then_some(()));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    wait_for("the station to notice", || rig.log().contains("did not run").then_some(()));
    drive.set(Faults::default());
    Case {
        line: "E.22",
        tried: "the station is frozen for twice the stall timeout",
        right: "passed",
        before: "failed stalled",
    }
    .saw(&said(&rig.wait_verdict(&drive.serial)));
    drop(rig);
}

/// A station that was killed between the tables and the verdict, the drive, which looks finished, and the record of one like
/// it that has passed.
fn killed_at_the_end() -> (Rig, FaultyDrive, Value) {
    let rig = Rig::started(Setup::default());
    let passed = rig.wait_pass(&rig.attached("WARM", 420, 512).serial);
    let drive = FaultyDrive::new(&rig, "A", 420, slow(60));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["committing"]);
    wait_for("the table", || tables(&drive)[0].then_some(()));
    rig.kill();
    assert_eq!(tables(&drive), [true, true], "killed before it could take the tables away itself");
    drive.set(Faults::default());
    (rig, drive, passed)
}

/// Whether the first and the second partition table stand on a drive of 420 MiB.
fn tables(drive: &FaultyDrive) -> [bool; 2] {
    [512, (420 << 20) - 512].map(|header| drive.holds(header, 8) == *b"EFI PART")
}

/// What the station makes of its drive when it starts again.
fn started_again(rig: &Rig, drive: &FaultyDrive) -> String {
    rig.start();
    wait_for("the station to look at the drive", || {
        let removed = rig.records(&drive.serial).pop()?["warnings"].to_string();
        let left = rig.log().contains("may hold tables of a job that did not end");
        (left || removed.contains("tables_removed")).then_some(())
    });
    format!("{}, tables: {:?}", said(&rig.wait_recorded(&drive.serial)), tables(drive))
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn tables_that_a_killed_station_left_are_taken_away() {
    let (rig, drive, _) = killed_at_the_end();
    Case {
        line: "E.22",
        tried: "killed between the tables and the verdict, started again",
        right: "stopped station_interrupted, tables: [false, false]",
        before: "stopped station_interrupted, tables: [true, true]",
    }
    .saw(&started_again(&rig, &drive));
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_single_table_that_a_killed_station_left_is_taken_away() {
    let (rig, drive, _) = killed_at_the_end();
    let output = format!("of={}", drive.node());
    run("dd", &["if=/dev/zero", &output, "bs=512", "count=34", "oflag=direct", "status=none"]);
    assert_eq!(tables(&drive), [false, true]);
    Case {
        line: "E.22",
        tried: "killed between its two tables, started again",
        right: "stopped station_interrupted, tables: [false, false]",
        before: "stopped station_interrupted, tables: [false, false]",
    }
    .saw(&started_again(&rig, &drive));
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_drive_that_was_used_since_the_station_was_killed_keeps_its_tables() {
    let file: fn(&str) =
        |volume| drop(run("ntfscp", &["-f", volume, "/etc/hostname", "diploma.txt"]));
    let swap: fn(&str) = |volume| drop(run("mkswap", &[volume]));
    let games = [
        ("a file was put onto it before the start", "ebd0a0a2", file, "is not as it was written"),
        (
            "its MSR partition was used before the start",
            "e3c9e316",
            swap,
            "a signature of the kind \"swap\"",
        ),
    ];
    for (tried, kind, used, why) in games {
        let (rig, drive, like) = killed_at_the_end();
        let all = partitions(&like);
        let (_, offset, size) = all.into_iter().find(|(found, _, _)| found == kind).unwrap();
        let (offset, size) = (offset.to_string(), size.to_string());
        let options = ["--offset", &offset, "--sizelimit", &size];
        let volume = Volume(attach(&drive.node(), &options));
        used(&volume.0);
        drop(volume);
        Case {
            line: "E.22",
            tried,
            right: "stopped station_interrupted, tables: [true, true]",
            before: "stopped station_interrupted, tables: [false, false]",
        }
        .saw(&started_again(&rig, &drive));
        assert!(rig.log().contains(why), "{}", rig.log());
        drop(rig);
    }
}

/// Stand-ins for the rules of others: like those of dmraid, MD and LVM, and bcache, they go by what blkid has found, and
/// bcache's looks for itself where that is nothing.
const ASSEMBLERS: &str = r#"SUBSYSTEM=="block", ENV{ID_FS_USAGE}=="raid", ENV{BY_USAGE}="1"
SUBSYSTEM=="block", ENV{ID_FS_TYPE}=="*_member", ENV{BY_TYPE}="1"
SUBSYSTEM=="block", ENV{ID_FS_TYPE}=="", ENV{BY_ITSELF}="1"
SUBSYSTEM=="block", ENV{SYSTEMD_READY}!="0", ENV{BY_SYSTEMD}="1"
"#;

#[apply(test!)]
#[needs(LOOP, UDEVD)]
fn nothing_is_assembled_from_drives_in_bays() {
    let rig = Rig::started(Setup::default().disarmed().beside_udevd(ASSEMBLERS));
    let drive = rig.drive("A", 420);
    let raid = |path: &std::path::Path| {
        let file = File::options().write(true).open(path).unwrap();
        let size = file.metadata().unwrap().len();
        file.write_all_at(b"Intel Raid ISM Cfg Sig. 1.3.00", size - 1024).unwrap();
    };
    raid(&drive.file);
    let stray = rig.path("stray.img");
    fs::copy(&drive.file, &stray).unwrap();
    drive.attach(&[]);
    let stranger = Volume(attach(stray.to_str().unwrap(), &[]));
    wait_for("the rules", || rig.udev_properties(&stranger.0).contains("BY_USAGE").then_some(()));
    let others = rig.udev_properties(&stranger.0);
    assert!(others.contains("BY_TYPE") && others.contains("BY_SYSTEMD"), "{others}");
    wait_for("the mark", || {
        rig.udev_properties(&drive.node()).contains("PRESTAGED_FOUND=isw_raid_member").then_some(())
    });
    let ours = rig.udev_properties(&drive.node());
    let taken: Vec<&str> = ours.lines().filter(|line| line.starts_with("BY_")).collect();
    Case {
        line: "E.24",
        tried: "rules that go by ID_FS_USAGE, by type, or look for themselves",
        right: "taken by []",
        before: "taken by dmraid and bcache",
    }
    .saw(&format!("taken by {taken:?}"));
    drop(stranger);
    rig.terminate_beside_udevd();
    assert!(rig.wait_end(), "{}", rig.log());
}
