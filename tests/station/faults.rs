//! The station itself is killed, told to end, or finds its store damaged or full.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::needs::FAKETIME_PATH;
use crate::harness::{Rig, Setup, Tmpfs, wait_for};

fn assert_failed(record: &Value, code: &str) {
    assert_eq!(record["verdict"], "failed", "{record:#}");
    assert_eq!(record["reason"]["code"], code, "{record:#}");
}

#[apply(test!)]
#[needs(LOOP, FUSE, LONG)]
fn killed_at_any_moment_the_station_recovers() {
    for state in ["erasing", "writing", "reading_back", "committing"] {
        let rig = Rig::started(Setup::default());
        let drive = FaultyDrive::new(&rig, "A", 420, slow(40));
        drive.attach(&[]);
        rig.wait_state(&drive.serial, &[state]);
        rig.kill();
        rig.start();
        let record = rig.wait_verdict(&drive.serial);
        assert_eq!(record["verdict"], "stopped", "{state}: {record:#}");
        assert_eq!(record["reason"]["code"], "station_interrupted");
        assert_eq!(rig.drive_status(&drive.serial).unwrap()["state"], "stopped", "{state}");
        drive.set(Faults::default());
        rig.ctl_ok(&["retry", &drive.serial]);
        assert_eq!(rig.records(&drive.serial).len(), 2);
        drop(rig);
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn killed_while_pressing_it_leaves_no_half_master() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 420, 512);
    wait_for("the press to begin", || {
        let entries = fs::read_dir(rig.path("store")).unwrap();
        let begun = |name: String| name.starts_with("press-");
        entries.flatten().any(|e| begun(e.file_name().into_string().unwrap())).then_some(())
    });
    rig.kill();
    rig.start();
    rig.wait_pass(&drive.serial);
    let left = fs::read_dir(rig.path("store")).unwrap().flatten();
    let own = [
        ".prestaged",
        "ledger-counterfoil",
        "ledger-counterfoil-checkpoint",
        "lock",
        "manifests",
        "masters",
    ];
    let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| own.iter().all(|o| n != o)).collect();
    assert!(left.is_empty(), "{left:?}");
    rig.ctl_ok(&["audit", &drive.node()]);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn told_to_end_it_finishes_the_drive_it_writes() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 420, Faults::default());
    drive.attach(&[]);
    rig.wait_pass(&drive.serial);
    drive.set(slow(5));
    let follows = rig.prestagectl().args(["retry", &drive.serial]).stdout(Stdio::piped()).spawn();
    rig.wait_state(&drive.serial, &["writing"]);
    rig.terminate();
    let told = follows.unwrap().wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stdout));
    assert!(rig.wait_end(), "{}", rig.log());
    rig.start();
    assert_eq!(rig.wait_verdict(&drive.serial)["verdict"], "passed");
    assert_eq!(rig.records(&drive.serial).len(), 2, "not imaged again after a restart");
    drop(rig);
}

/// A thread that is stuck in the kernel cannot be ended, and its process stays with it. The next station must be able to
/// start nevertheless.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_stuck_drive_holds_neither_the_end_nor_the_next_station() {
    // The default time limit is long, so the station does not notice the stall before it ends.
    let rig = Rig::started(Setup::default());
    let good = rig.attached("GOOD", 420, 512);
    rig.wait_pass(&good.serial);
    let stuck = Faults { hangs_at: Some(BODY_BYTE), ..Faults::default() };
    let bad = FaultyDrive::new(&rig, "BAD", 420, stuck);
    bad.attach(&[]);
    // Before that the station could still stop the drive.
    bad.wait_hangs();
    rig.terminate();
    wait_for("the drain", || (rig.json(&["status"])["draining"] == true).then_some(()));
    rig.terminate();
    wait_for("the drive to be told", || rig.log().contains("told to end again").then_some(()));
    rig.terminate();
    wait_for("the end", || rig.log().contains("prestaged ends").then_some(()));
    let old = rig.leave();
    rig.start();
    let record = rig.wait_recorded(&bad.serial);
    assert_eq!(record["reason"]["code"], "station_interrupted");
    let other = rig.attached("OTHER", 420, 512);
    rig.wait_pass(&other.serial);
    bad.set(Faults::default());
    old.wait();
    drop(rig);
}

/// The clock of a station without a network may be set back by whoever repairs it.
#[apply(test!)]
#[needs(LOOP, FAKETIME)]
fn a_clock_that_steps_back_mixes_nothing_up() {
    let shell = Rig::new(Setup::default());
    let clock = shell.path("clock");
    fs::write(&clock, "+0").unwrap();
    let wrapper = [
        "env",
        &format!("LD_PRELOAD={FAKETIME_PATH}"),
        &format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ];
    let rig = Rig::started(Setup::default().wrapped(&wrapper));
    let drive = rig.attached("A", 420, 512);
    let first = rig.wait_pass(&drive.serial);
    fs::write(&clock, "-400d").unwrap();
    rig.ctl_ok(&["retry", &drive.serial]);
    let records = rig.records(&drive.serial);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["job"], first["job"], "in the order in which they were opened");
    assert!(records[1]["opened"].as_str() < records[0]["opened"].as_str(), "{records:#?}");
    assert_eq!(records[1]["verdict"], "passed");
    // After a restart the record that was opened last counts, not the one with the latest time.
    rig.kill();
    rig.start();
    let status = wait_for("the last job's verdict", || {
        rig.drive_status(&drive.serial).filter(|status| status["job"] == records[1]["job"])
    });
    assert_eq!(status["state"], "passed", "{status:#}");
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn an_operator_stops_a_drive() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 420, slow(20));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    rig.ctl_ok(&["stop", &drive.serial]);
    let record = rig.wait_verdict(&drive.serial);
    assert_eq!(
        (&record["verdict"], &record["reason"]["code"]),
        (&"stopped".into(), &"operator_stop".into())
    );
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_damaged_master_is_found_before_a_drive_is_touched() {
    // The byte is in the master's own image; `sizes` damages what a derived one stands on.
    let rig = Rig::started(Setup::default().set("store.derive", false));
    let first = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&first.serial);
    let master = rig.master(&record);
    let image = File::options().read(true).write(true).open(master.join("disk.raw")).unwrap();
    let mut byte = [0];
    image.read_exact_at(&mut byte, BODY_BYTE).unwrap();
    image.write_all_at(&[byte[0] ^ 8], BODY_BYTE).unwrap();
    drop(image);
    let second = rig.attached("B", 420, 512);
    let record = rig.wait_pass(&second.serial);
    assert!(rig.log().contains("is damaged"), "{}", rig.log());
    assert_eq!(record["warnings"], Value::Array(Vec::new()));
    rig.ctl_ok(&["audit", &second.node()]);
}

/// The manifest says what is written where and what is stamped over it, so the station checks it like the image.
#[apply(test!)]
#[needs(LOOP)]
fn a_damaged_manifest_is_found_before_a_drive_is_touched() {
    let rig = Rig::started(Setup::default());
    let first = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&first.serial);
    let master = rig.master(&record);
    let path = master.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    // With another digit in a fix-up site, the volume serial would be stamped over other bytes of the boot sector.
    let at = text.rfind("\"offset\":").unwrap() + "\"offset\":".len();
    let mut bytes = text.into_bytes();
    bytes[at + 3] = if bytes[at + 3] == b'1' { b'2' } else { b'1' };
    fs::write(&path, bytes).unwrap();
    let second = rig.attached("B", 420, 512);
    rig.wait_pass(&second.serial);
    assert!(rig.log().contains("manifest contradicts itself"), "{}", rig.log());
    rig.ctl_ok(&["audit", &second.node()]);
    // Two drives find the same damage at once, and the station presses one new master.
    fs::write(&path, "{").unwrap();
    let (third, fourth) = (rig.drive("C", 420), rig.drive("D", 420));
    third.attach(&[]);
    fourth.attach(&[]);
    rig.wait_pass(&third.serial);
    rig.wait_pass(&fourth.serial);
    assert_eq!(rig.log().matches("pressing a master").count(), 3);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_full_store_fails_the_press_and_touches_nothing() {
    let rig = Rig::new(Setup::default().set("store.derive", false));
    let store = Tmpfs::mount(rig.path("store"), "24m");
    rig.start_with_media();
    let drive = rig.drive("A", 420);
    let before = drive.checksum();
    drive.attach(&[]);
    let record = rig.wait_verdict(&drive.serial);
    assert_failed(&record, "press_failed");
    let _shown = rig.shown();
    insta::assert_snapshot!("full_store", record["reason"]["detail"].as_str().unwrap());
    drive.assert_untouched(&before);
    rig.kill();
    drop(store);
}
