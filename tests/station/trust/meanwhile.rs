//! What is done while the station is not there: to drives that have passed and stay in their bays, and to the ledger.

use std::fs;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use super::record::{ask, beside};
use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, wait_for};

/// What a bay shows once the drive in it is decided about.
fn shown(rig: &Rig, serial: &str) -> String {
    let decided = ["passed", "failed", "refused", "stopped"];
    let drive = rig.wait_state(serial, &decided);
    match drive["reason"]["code"].as_str() {
        Some(code) => format!("{} {code}", drive["state"].as_str().unwrap()),
        None => drive["state"].as_str().unwrap().to_owned(),
    }
}

fn write(drive: &Drive, from: &str, mib: u64, count: u64) {
    let (of, to) = (format!("if={from}"), format!("of={}", drive.node()));
    let (seek, count) = (format!("seek={mib}"), format!("count={count}"));
    run("dd", &[&of, &to, "bs=1M", &seek, &count, "conv=fsync,notrunc", "status=none"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_has_passed_is_changed_in_its_bay() {
    let rig = Rig::started(Setup::default());
    let drives = ["LEFT", "WIPED", "ZEROED", "USED"].map(|name| rig.attached(name, 160, 512));
    drives.iter().for_each(|drive| drop(rig.wait_pass(&drive.serial)));
    rig.terminate();
    assert!(rig.wait_end());
    let [left, wiped, zeroed, used] = &drives;
    run("blkdiscard", &["-f", &wiped.node()]);
    write(wiped, "/dev/urandom", 0, 20);
    write(zeroed, "/dev/zero", 60, 60);
    write(used, "/dev/urandom", 0, 1);
    rig.set("admission.overwrite", "blank_or_ours");
    rig.start();
    for (drive, tried, right, before) in [
        (left, "nothing", "passed", "passed"),
        (wiped, "wiped, and somebody's data written to it", "refused not_blank", "passed"),
        (zeroed, "a part of it zeroed", "refused not_blank", "passed"),
        (used, "its tables overwritten", "refused not_blank", "passed"),
    ] {
        Case { line: "A.1", tried, right, before }.saw(&shown(&rig, &drive.serial));
    }
}

/// A drive is cleaned after a station was killed, by the record that was left open: by nobody else's row.
#[apply(test!)]
#[needs(LOOP)]
fn an_open_record_of_somebody_else_cleans_no_drive() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    let before = drive.checksum();
    rig.terminate();
    assert!(rig.wait_end());
    let job = "019a0000-0000-7000-8000-000000000001";
    ask(
        &rig,
        &format!(
            "INSERT INTO records SELECT '{job}', boot, diskseq, serial, disk_guid, NULL, opened, \
             json_set(record, '$.job', '{job}', '$.verdict', NULL) FROM records"
        ),
    );
    rig.start();
    let found = shown(&rig, &drive.serial);
    let told: Value = rig.json(&["status"]);
    assert_eq!(told["ledger"]["code"], "ledger_tampered", "{told}");
    drive.assert_untouched(&before);
    Case {
        line: "C.8",
        tried: "a row with an open record of a drive that has passed",
        right: "refused ledger_tampered",
        before: "its tables were taken away, and it was signed as stopped",
    }
    .saw(&found);
}

/// What lies where the station keeps what it remembers of its ledger makes nobody wait.
#[apply(test!)]
#[needs(LOOP)]
fn special_files_beside_the_ledger_hold_nobody_up() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    rig.terminate();
    assert!(rig.wait_end());
    for ending in ["-counterfoil", "-counterfoil-checkpoint"] {
        let path = beside(&rig, ending);
        for (make, target) in [("mkfifo", None), ("ln", Some("/dev/zero"))] {
            fs::remove_file(&path).unwrap();
            let path = path.to_str().unwrap();
            match target {
                None => drop(run(make, &[path])),
                Some(target) => drop(run(make, &["-s", target, path])),
            }
            rig.start();
            wait_for("the drive", || rig.drive_status(&drive.serial));
            rig.terminate();
            assert!(rig.wait_end());
        }
    }
}
