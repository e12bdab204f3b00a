//! Who else uses a drive, and what a station says and does about it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::process::Command;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, Volume, attach, wait_for};

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
    let before = drive.contents();
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
    let before = drive.contents();
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
    assert!(!record.to_string().contains("wipe it"), "{record:#}");
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
