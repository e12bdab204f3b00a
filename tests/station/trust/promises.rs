//! What README.md promises, read by somebody who wants it broken.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

use macro_rules_attribute::apply;
use rustix::fs::{Timespec, Timestamps, futimens};
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{FaultyDrive, slow};
use crate::harness::sample::run;
use crate::harness::{Checksum, Drive, Rig, Setup, sample, wait_for};
use crate::pressing::{running_press, with_slow_mkntfs};

/// `refused not_armed`, and ` untouched` where nothing was written.
fn decision(record: &Value, drive: &Drive, before: &Checksum) -> String {
    let code = record["reason"]["code"].as_str().unwrap_or("-");
    let touched = if drive.checksum() == *before { "untouched" } else { "written to" };
    format!("{} {code} {touched}", record["verdict"].as_str().unwrap())
}

/// A station that presses, a drive that waits for its master, and what the drive held before it was attached. The press
/// goes on once the file `go` exists.
fn with_waiting_drive() -> (Rig, Drive, Checksum) {
    let rig = with_slow_mkntfs();
    let drive = rig.drive("A", 160);
    let before = drive.checksum();
    drive.attach(&[]);
    running_press(&rig);
    rig.wait_state(&drive.serial, &["waiting_for_master"]);
    (rig, drive, before)
}

fn has_table(head: &[u8]) -> bool {
    head[510..1024].iter().any(|byte| *byte != 0)
}

/// "Media with a problem is never used", though its times and its length say that nothing has happened to it.
#[apply(test!)]
#[needs(LOOP)]
fn media_that_is_changed_behind_its_times_is_not_used() {
    let rig = Rig::started(Setup::default().set("store.press_ahead", false));
    let path = rig.path("inbox/win.wim");
    let meta = fs::metadata(&path).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, meta.len() / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 1], meta.len() / 2).unwrap();
    let time = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
        Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap(),
            tv_nsec: since.subsec_nanos().into(),
        }
    };
    let times = Timestamps {
        last_access: time(meta.accessed().unwrap()),
        last_modification: time(meta.modified().unwrap()),
    };
    futimens(&file, &times).unwrap();
    drop(file);
    let drive = rig.drive("A", 160);
    let before = drive.checksum();
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "media_invalid");
    let record = rig.wait_recorded(&drive.serial);
    Case {
        line: "+1",
        tried: "a bit of checked media flipped, its times put back",
        right: "refused media_invalid untouched",
        before: "not tried",
    }
    .saw(&decision(&record, &drive, &before));
}

/// The record names "the media that the drive was imaged with", also when it is replaced in the midst of the press.
#[apply(test!)]
#[needs(LOOP)]
fn media_replaced_while_it_is_pressed_is_the_one_recorded() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    running_press(&rig);
    let old = rig.wait_media("win.wim", "valid")["sha256"].clone();
    rig.add_media(&sample(&["--compress=none"]), "win.wim");
    wait_for("the new digest", || {
        let media = &rig.json(&["media", "list"])[0];
        (media["state"] == "valid" && media["sha256"] != old).then_some(())
    });
    fs::write(rig.path("go"), "").unwrap();
    let record = rig.wait_pass(&drive.serial);
    let new = rig.wait_media("win.wim", "valid")["sha256"].clone();
    let named = if record["media"]["sha256"] == new { "new" } else { "old" };
    let (code, _) = rig.ctl(&["audit", &drive.node()]);
    Case {
        line: "+2",
        tried: "other media under the same name while the master is pressed",
        right: "record names the new, audit 0",
        before: "not tried",
    }
    .saw(&format!("record names the {named}, audit {code}"));
}

/// "A disarmed station writes to nothing", also not to the drive that it had admitted before.
#[apply(test!)]
#[needs(LOOP)]
fn disarmed_while_a_drive_waits_for_its_master() {
    let (rig, drive, before) = with_waiting_drive();
    rig.ctl_ok(&["disarm"]);
    fs::write(rig.path("go"), "").unwrap();
    let record = rig.wait_verdict(&drive.serial);
    Case {
        line: "+3",
        tried: "disarmed while a drive waits for its master",
        right: "refused not_armed untouched",
        before: "not tried",
    }
    .saw(&decision(&record, &drive, &before));
}

/// "Two attached drives with one serial number are both refused", also when one of them is being written.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_twin_that_comes_while_the_first_is_written() {
    let rig = Rig::started(Setup::default());
    let first = FaultyDrive::new(&rig, "A", 160, slow(15));
    first.attach(&[]);
    rig.wait_state(&first.serial, &["writing"]);
    let spare = rig.drive("B", 160);
    let twin = rig.path("drives").join(format!("{}.raw", first.serial));
    fs::rename(&spare.file, &twin).unwrap();
    let twin = Drive::new(first.serial.clone(), twin);
    let before = twin.checksum();
    twin.attach(&[]);
    let code = |node: &str| {
        let all = rig.json(&["drives"]);
        let found = all.as_array().unwrap().iter().find(|one| one["device"] == node)?.clone();
        found["code"].as_str().map(str::to_owned)
    };
    let refused = wait_for("the twin to be refused", || code(&twin.node()));
    wait_for("the first to pass", || {
        let records = rig.records(&first.serial);
        records.iter().any(|record| record["verdict"] == "passed").then_some(())
    });
    twin.assert_untouched(&before);
    Case {
        line: "+4",
        tried: "a drive of the same serial number comes while one is written",
        right: "the first passed, the twin duplicate_serial untouched",
        before: "not tried",
    }
    .saw(&format!("the first passed, the twin {refused} untouched"));
}

/// "Stops writing one, which is left without a partition table", also in the moment in which tables are written.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn stopped_while_the_tables_are_written() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 160, slow(60));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["committing"]);
    rig.ctl(&["stop", &drive.serial]);
    let record = rig.wait_verdict(&drive.serial);
    let table = if has_table(&drive.holds(0, 1 << 20)) { "a table" } else { "no table" };
    Case {
        line: "+5",
        tried: "stopped while the tables are written",
        right: "stopped operator_stop, no table",
        before: "not tried",
    }
    .saw(&format!(
        "{} {}, {table}",
        record["verdict"].as_str().unwrap(),
        record["reason"]["code"].as_str().unwrap_or("-")
    ));
}

/// "The least recently used are removed", which must not take a master away from the drive that is written from it.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_master_that_is_removed_while_it_is_written_from() {
    let rig = Rig::started(Setup::default().set("store.press_ahead", false));
    let drive = FaultyDrive::new(&rig, "A", 160, slow(25));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    let id = rig.json(&["master", "list"])[0]["id"].as_str().unwrap().to_owned();
    rig.ctl(&["master", "remove", &id]);
    let record = rig.wait_verdict(&drive.serial);
    drive.set(slow(0));
    let (code, text) = rig.ctl(&["audit", &drive.node()]);
    assert_eq!(code, 0, "{text}");
    Case {
        line: "+6",
        tried: "the master removed while a drive is written from it",
        right: "passed, audit 0",
        before: "not tried",
    }
    .saw(&format!("{}, audit {code}", record["verdict"].as_str().unwrap()));
}

/// "A `retry` of a drive that has been imaged makes a new row": each its own, and never two jobs on one drive.
#[apply(test!)]
#[needs(LOOP)]
fn five_retries_at_once() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    let retry = || {
        let mut command = rig.prestagectl();
        command.args(["retry", &drive.serial]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut all: Vec<_> = (0..5).map(|_| retry()).collect();
    let codes: Vec<i32> =
        all.iter_mut().map(|child| child.wait().unwrap().code().unwrap()).collect();
    let passed = codes.iter().filter(|code| **code == 0).count();
    // A retry whose turn another one takes has no verdict of its own, and says so (75).
    assert!(codes.iter().all(|code| [0, 1, 2, 75].contains(code)), "{codes:?}");
    let records = rig.records(&drive.serial);
    assert_eq!(records.len(), 1 + passed, "{codes:?}");
    let time = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let apart = records.windows(2).all(|two| time(&two[0], "closed") <= time(&two[1], "opened"));
    Case {
        line: "+7",
        tried: "five retries of one drive at once",
        right: "one row for each that passed, one after the other",
        before: "not tried",
    }
    .saw(if apart { "one row for each that passed, one after the other" } else { "at once" });
}

/// "The claim checks size": a drive whose capacity drops while it waits is not written as if it still had it.
#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_shrinks_while_it_waits() {
    let (rig, drive, _) = with_waiting_drive();
    let file = File::options().write(true).open(&drive.file).unwrap();
    file.set_len(40 << 20).unwrap();
    run("losetup", &["-c", &drive.node()]);
    let before = drive.checksum();
    fs::write(rig.path("go"), "").unwrap();
    let record = rig.wait_verdict(&drive.serial);
    Case {
        line: "+8",
        tried: "a drive shrinks while it waits for its master",
        right: "refused too_small untouched",
        before: "not tried",
    }
    .saw(&decision(&record, &drive, &before));
}

/// "Write protection" that comes while a drive waits.
#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_becomes_write_protected_while_it_waits() {
    let (rig, drive, before) = with_waiting_drive();
    run("blockdev", &["--setro", &drive.node()]);
    fs::write(rig.path("go"), "").unwrap();
    let seen = decision(&rig.wait_verdict(&drive.serial), &drive, &before);
    // The kernel's loop device keeps it for its next file. The station takes the drive then, as it should.
    run("blockdev", &["--setrw", &drive.node()]);
    Case {
        line: "+9",
        tried: "a drive becomes write-protected while it waits",
        right: "refused read_only untouched",
        before: "not tried",
    }
    .saw(&seen);
}

/// "No two drives share an identity", not even across a restart, and not one drive with itself.
#[apply(test!)]
#[needs(LOOP)]
fn twelve_identities_across_a_restart() {
    let rig = Rig::started(Setup::default());
    let drives: Vec<Drive> = (0..4).map(|n| rig.attached(&format!("D{n}"), 160, 512)).collect();
    drives.iter().for_each(|drive| drop(rig.wait_pass(&drive.serial)));
    rig.terminate();
    assert!(rig.wait_end());
    rig.start();
    rig.wait_media("win.wim", "valid");
    for _ in 0..2 {
        drives.iter().for_each(|drive| drop(rig.ctl_ok(&["retry", &drive.serial])));
    }
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for record in drives.iter().flat_map(|drive| rig.records(&drive.serial)) {
        let identity = &record["identity"];
        let mut own = vec![identity["disk_guid"].clone()];
        for partition in identity["partitions"].as_array().unwrap() {
            own.extend([partition["guid"].clone(), partition["volume_serial"].clone()]);
        }
        for id in own.iter().filter_map(Value::as_str) {
            count += 1;
            assert!(seen.insert(id.to_owned()), "{id} twice");
        }
    }
    Case {
        line: "+10",
        tried: "four drives, three times each, with a restart",
        right: "96 identities, no two alike",
        before: "not tried",
    }
    .saw(&format!("{count} identities, no two alike"));
}

/// "Never by itself, also not after a restart": a station that was armed by hand is not armed by starting again, and a
/// drive that it had stopped is not taken up.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn what_was_stopped_stays_stopped_over_a_restart() {
    let rig = Rig::started(Setup::default().disarmed());
    let drive = FaultyDrive::new(&rig, "A", 160, slow(25));
    drive.attach(&[]);
    rig.ctl_ok(&["arm"]);
    rig.wait_state(&drive.serial, &["writing"]);
    rig.ctl(&["stop", &drive.serial]);
    rig.wait_verdict(&drive.serial);
    rig.kill();
    rig.start();
    rig.wait_media("win.wim", "valid");
    let armed = rig.json(&["status"])["armed"].clone();
    rig.ctl_ok(&["arm"]);
    // Another drive is taken, so the station had the time to take this one.
    drive.set(slow(0));
    let other = rig.attached("B", 160, 512);
    rig.wait_pass(&other.serial);
    Case {
        line: "+11",
        tried: "stopped, killed, started and armed again",
        right: "armed false, 1 record, stopped",
        before: "not tried",
    }
    .saw(&format!(
        "armed {armed}, {} record, {}",
        rig.records(&drive.serial).len(),
        rig.drive_status(&drive.serial).unwrap()["state"].as_str().unwrap()
    ));
}
