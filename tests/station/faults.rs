//! Faults, injected for real: each ends in the right verdict, and other drives do not notice.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde_json::Value;

use crate::harness::faulty::{Faults, FaultyDrive, can_fuse};
use crate::harness::{Rig, Setup, Tmpfs, can_loop, sample, wait_for};

/// A byte in the first mebibyte of the Windows volume behind its boot sector: written with the body.
const BODY_BYTE: u64 = ((1 + 40 + 16) << 20) + 20_000;

fn can_run() -> bool {
    can_loop() && can_fuse()
}

/// A good drive and one with faults, side by side; the good one must pass.
fn with_faults(faults: Faults, check: impl FnOnce(&Rig, &FaultyDrive, &Value)) {
    let rig = Rig::started(Setup::default());
    let good = rig.drive("GOOD", 420);
    let bad = FaultyDrive::new(&rig, "BAD", 420, faults);
    bad.attach();
    good.attach(&[]);
    rig.wait_pass(&good.serial);
    let record = rig.wait_verdict(&bad.serial);
    check(&rig, &bad, &record);
    // Whatever is wrong with a drive, it does not look finished.
    if record["verdict"] != "passed" {
        let mut table = vec![0; 1 << 20];
        let inner =
            fs::read_dir(std::env::temp_dir().join(format!("prestaged-fuse-{}", bad.serial)));
        let inner = inner.unwrap().map(|e| e.unwrap().path()).find(|p| p.ends_with("inner"));
        File::open(inner.unwrap()).unwrap().read_exact_at(&mut table, 0).unwrap();
        assert!(table[510..1024].iter().all(|b| *b == 0), "no partition table is left");
    }
    // The next insertion of the same drive, now sound, works.
    bad.set(Faults::default());
    let earlier = rig.records(&bad.serial).len();
    bad.detach();
    wait_for("the drive to go", || rig.drive_status(&bad.serial).is_none().then_some(()));
    bad.attach();
    wait_for("another record", || (rig.records(&bad.serial).len() > earlier).then_some(()));
    rig.wait_pass(&bad.serial);
    drop(rig);
}

fn assert_failed(record: &Value, code: &str) {
    assert_eq!(record["verdict"], "failed", "{record:#}");
    assert_eq!(record["reason"]["code"], code, "{record:#}");
}

/// Asserts that one listed range covers a byte and is no longer than a sector needs.
fn assert_range(record: &Value, at: u64) {
    let all = record["mismatches"].as_array().unwrap();
    let covers = |m: &&Value| {
        let (offset, length) = (m["offset"].as_u64().unwrap(), m["length"].as_u64().unwrap());
        offset <= at && at < offset + length && length <= 4096 && m["expected"] != m["actual"]
    };
    assert!(all.iter().any(|m| covers(&m)), "{at} in {record:#}");
}

#[test]
fn one_flipped_byte_on_the_medium_is_a_mismatch() {
    if !can_run() {
        return;
    }
    with_faults(Faults { flip_at: Some(BODY_BYTE), ..Faults::default() }, |rig, bad, record| {
        assert_failed(record, "mismatch");
        assert_range(record, BODY_BYTE);
        assert!(record["verified_bytes"].as_u64() < record["written_bytes"].as_u64());
        let (code, text) = rig.ctl(&["retry", &bad.serial]);
        assert_eq!(code, 1, "it fails every time: {text}");
        assert_eq!(rig.records(&bad.serial).len(), 2);
    });
}

#[test]
fn a_flipped_byte_in_a_boot_sector_is_a_mismatch() {
    if !can_run() {
        return;
    }
    // The volume serial in the ESP's boot sector: a fix-up site, written at the very end.
    let at = (1 << 20) + 0x43;
    with_faults(Faults { flip_at: Some(at), ..Faults::default() }, |_, _, record| {
        assert_failed(record, "mismatch");
        assert_range(record, at);
    });
}

#[test]
fn a_flipped_byte_in_the_partition_table_is_a_mismatch() {
    if !can_run() {
        return;
    }
    with_faults(Faults { flip_at: Some(1024 + 20), ..Faults::default() }, |_, _, record| {
        assert_failed(record, "mismatch");
        assert_range(record, 1024 + 20);
    });
}

#[test]
fn a_drive_that_forgets_writes_is_a_mismatch() {
    if !can_run() {
        return;
    }
    let start = BODY_BYTE & !((4 << 20) - 1);
    let forget = Some((start, start + (4 << 20)));
    with_faults(Faults { forget, ..Faults::default() }, |_, _, record| {
        assert_failed(record, "mismatch");
    });
}

#[test]
fn write_errors_name_the_place() {
    if !can_run() {
        return;
    }
    with_faults(Faults { write_error_at: Some(BODY_BYTE), ..Faults::default() }, |_, _, record| {
        assert_failed(record, "write_error");
    });
}

#[test]
fn read_errors_name_the_place() {
    if !can_run() {
        return;
    }
    with_faults(Faults { read_error_at: Some(BODY_BYTE), ..Faults::default() }, |_, _, record| {
        assert_failed(record, "read_error");
        assert!(record["reason"]["detail"].as_str().unwrap().contains("bytes at"), "{record:#}");
    });
}

/// Slow enough to be met in every state: an access takes this much longer.
fn slow(milliseconds: u64) -> Faults {
    Faults { delay: Duration::from_millis(milliseconds), ..Faults::default() }
}

#[test]
fn a_drive_pulled_in_mid_write_has_failed() {
    if !can_run() {
        return;
    }
    with_faults(slow(15), |rig, bad, _| {
        // The first round passed, slowly; now it is pulled.
        bad.detach();
        wait_for("the drive to go", || rig.drive_status(&bad.serial).is_none().then_some(()));
        bad.attach();
        rig.wait_state(&bad.serial, &["writing"]);
        bad.detach();
        let record = wait_for("the record", || {
            let records = rig.records(&bad.serial);
            (records.len() == 2 && !records[1]["verdict"].is_null()).then(|| records[1].clone())
        });
        assert_failed(&record, "unplugged");
        wait_for("the drive to go", || rig.drive_status(&bad.serial).is_none().then_some(()));
        bad.attach();
    });
}

#[test]
fn killed_at_any_moment_the_station_recovers() {
    if !can_run() {
        return;
    }
    for state in ["erasing", "writing", "reading_back", "committing"] {
        let rig = Rig::started(Setup::default());
        let drive = FaultyDrive::new(&rig, "A", 420, slow(40));
        drive.attach();
        rig.wait_state(&drive.serial, &[state]);
        rig.kill();
        rig.start();
        let record = rig.wait_verdict(&drive.serial);
        assert_eq!(record["verdict"], "stopped", "{state}: {record:#}");
        assert_eq!(record["reason"]["code"], "station_interrupted");
        assert_eq!(rig.drive_status(&drive.serial).unwrap()["state"], "stopped", "{state}");
        drive.set(Faults::default());
        let (code, text) = rig.ctl(&["retry", &drive.serial]);
        assert_eq!(code, 0, "{state}: {text}");
        assert_eq!(rig.records(&drive.serial).len(), 2);
        drop(rig);
    }
}

#[test]
fn killed_while_pressing_it_leaves_no_half_master() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 420, 512);
    wait_for("the press to begin", || {
        let entries = fs::read_dir(rig.path("store")).unwrap();
        let begun = |name: String| name.starts_with("press-");
        entries.flatten().any(|e| begun(e.file_name().into_string().unwrap())).then_some(())
    });
    rig.kill();
    rig.start();
    let left = fs::read_dir(rig.path("store")).unwrap().flatten();
    let left: Vec<_> =
        left.map(|e| e.file_name()).filter(|n| n != "lock" && n != "masters").collect();
    // Another press may have begun already; it has a folder of its own.
    assert!(left.len() <= 1, "{left:?}");
    rig.wait_pass(&drive.serial);
    assert_eq!(rig.ctl(&["audit", &drive.node()]).0, 0);
}

#[test]
fn told_to_end_it_finishes_the_drive_it_writes() {
    if !can_run() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 420, slow(5));
    drive.attach();
    rig.wait_state(&drive.serial, &["writing"]);
    rig.terminate();
    assert!(rig.wait_end(), "{}", rig.log());
    rig.start();
    assert_eq!(rig.wait_verdict(&drive.serial)["verdict"], "passed");
    assert_eq!(rig.records(&drive.serial).len(), 1, "not imaged again after a restart");
    drop(rig);
}

#[test]
fn an_operator_stops_a_drive() {
    if !can_run() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 420, slow(20));
    drive.attach();
    rig.wait_state(&drive.serial, &["writing"]);
    assert_eq!(rig.ctl(&["stop", &drive.serial]).0, 0);
    let record = rig.wait_verdict(&drive.serial);
    assert_eq!(
        (&record["verdict"], &record["reason"]["code"]),
        (&"stopped".into(), &"operator_stop".into())
    );
    drop(rig);
}

#[test]
fn a_damaged_master_is_found_before_a_drive_is_touched() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let first = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&first.serial);
    let master = rig.path("store/masters").join(record["master"]["id"].as_str().unwrap());
    let image = File::options().read(true).write(true).open(master.join("disk.raw")).unwrap();
    let mut byte = [0];
    image.read_exact_at(&mut byte, BODY_BYTE).unwrap();
    image.write_all_at(&[byte[0] ^ 8], BODY_BYTE).unwrap();
    drop(image);
    let second = rig.attached("B", 420, 512);
    let record = rig.wait_pass(&second.serial);
    assert!(rig.log().contains("is damaged"), "{}", rig.log());
    assert_eq!(record["warnings"], Value::Array(Vec::new()));
    let (code, text) = rig.ctl(&["audit", &second.node()]);
    assert_eq!(code, 0, "{text}");
}

/// The manifest says what is written where and what is stamped over it: it is part of the master.
#[test]
fn a_damaged_manifest_is_found_before_a_drive_is_touched() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let first = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&first.serial);
    let master = rig.path("store/masters").join(record["master"]["id"].as_str().unwrap());
    let path = master.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    // One digit of a fix-up site: the volume serial would be stamped over other bytes of the boot sector.
    let at = text.rfind("\"offset\":").unwrap() + "\"offset\":".len();
    let mut bytes = text.into_bytes();
    bytes[at + 3] = if bytes[at + 3] == b'1' { b'2' } else { b'1' };
    fs::write(&path, bytes).unwrap();
    let second = rig.attached("B", 420, 512);
    rig.wait_pass(&second.serial);
    assert!(rig.log().contains("manifest contradicts itself"), "{}", rig.log());
    let (code, text) = rig.ctl(&["audit", &second.node()]);
    assert_eq!(code, 0, "{text}");
    // Two drives at once find the same damage; it is mended once.
    fs::write(&path, "{").unwrap();
    let (third, fourth) = (rig.drive("C", 420), rig.drive("D", 420));
    third.attach(&[]);
    fourth.attach(&[]);
    rig.wait_pass(&third.serial);
    rig.wait_pass(&fourth.serial);
    assert_eq!(rig.log().matches("pressing a master").count(), 3);
}

#[test]
fn a_full_store_fails_the_press_and_touches_nothing() {
    if !can_loop() {
        return;
    }
    let rig = Rig::new(Setup::default());
    let store = Tmpfs::mount(rig.path("store"), "24m");
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    rig.start();
    rig.wait_media("win.wim", "valid");
    let drive = rig.drive("A", 420);
    let before = fs::read(&drive.file).unwrap();
    drive.attach(&[]);
    let record = rig.wait_verdict(&drive.serial);
    assert_failed(&record, "press_failed");
    let detail = record["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains("store_full") && detail.contains("make room"), "{detail}");
    assert!(fs::read(&drive.file).unwrap() == before, "not a byte was written");
    rig.kill();
    drop(store);
}
