//! Trouble that does not fail a drive by itself, or comes from beside it: ranges written again, drives slower than their
//! batch, a full ledger, media that goes, names that are used again.

use std::fs;
use std::process::Command;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, can_run, slow};
use crate::harness::{Rig, Setup, Tmpfs, sample, wait_for};

#[test]
fn a_pass_after_a_rewrite_says_so_everywhere() {
    if !can_run() {
        return;
    }
    let more = "[replicate]\nrewrites = 2".to_owned();
    let rig = Rig::started(Setup { more, ..Setup::default() });
    // Once for the erasing, once for the first writing, once for the first rewrite.
    let flips = Faults { flip_at: Some(BODY_BYTE), flips: Some(3), ..Faults::default() };
    let drive = FaultyDrive::new(&rig, "A", 420, flips);
    drive.attach();
    let record = rig.wait_pass(&drive.serial);
    let warning = record["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("rewritten: ") && record["warnings"][1] == warning, "{warning}");
    assert_eq!(rig.drive_status(&drive.serial).unwrap()["warnings"][0], warning);
    let (_, text) = rig.ctl(&["status"]);
    assert!(text.contains("rewritten"), "{text}");
    assert!(rig.log().contains("with warnings: rewritten"), "the journal's copy: {}", rig.log());
    assert_eq!(rig.ctl(&["audit", &drive.node()]).0, 0);
    // As often as configured, and no more.
    drive.set(Faults { flip_at: Some(BODY_BYTE), ..Faults::default() });
    let (code, text) = rig.ctl(&["retry", &drive.serial]);
    assert_eq!(code, 1, "{text}");
    assert_eq!(rig.records(&drive.serial)[1]["reason"]["code"], "mismatch");
    drop(rig);
}

/// On a drive that is smaller than it claims, mending one place breaks another that was right: no rewrite makes it pass.
#[test]
fn rewrites_do_not_help_a_drive_that_is_too_small() {
    if !can_run() {
        return;
    }
    let more = "[replicate]\nrewrites = 3".to_owned();
    let rig = Rig::started(Setup { more, ..Setup::default() });
    // The first mebibyte of the recovery volume lies on that of the Windows volume, and little else on anything.
    let wraps_at = Some((399 - 57) << 20);
    let drive = FaultyDrive::new(&rig, "A", 420, Faults { wraps_at, ..Faults::default() });
    drive.attach();
    let record = rig.wait_recorded(&drive.serial);
    assert_eq!(record["verdict"], "failed", "{record:#}");
    assert_eq!(record["reason"]["code"], "mismatch", "{record:#}");
    drop(rig);
}

#[test]
fn a_drive_much_slower_than_its_batch_is_told_or_fails() {
    if !can_run() {
        return;
    }
    for (share, verdict) in [("", "passed"), ("min_batch_share = \"40%\"", "failed")] {
        let more = format!("[replicate]\nrate_window = \"200ms\"\n{share}");
        let rig = Rig::started(Setup { more, ..Setup::default() });
        // The master first, so that they start together.
        let (code, text) = rig.ctl(&["master", "press", "--media", "win.wim", "--size", "420MiB"]);
        assert_eq!(code, 0, "{text}");
        let make = |name: &str, delay| FaultyDrive::new(&rig, name, 420, slow(delay));
        let drives = [make("A", 8), make("B", 8), make("C", 8), make("SLOW", 60)];
        drives.iter().for_each(FaultyDrive::attach);
        for drive in &drives[..3] {
            rig.wait_pass(&drive.serial);
        }
        let record = rig.wait_verdict(&drives[3].serial);
        assert_eq!(record["verdict"], verdict, "{record:#}");
        if verdict == "passed" {
            let warning = record["warnings"][0].as_str().unwrap();
            assert!(warning.starts_with("slow_for_its_batch: "), "{warning}");
        } else {
            assert_eq!(record["reason"]["code"], "too_slow");
            let detail = record["reason"]["detail"].as_str().unwrap();
            assert!(detail.contains("min_batch_share"), "{detail}");
        }
        drop(rig);
    }
}

/// The ledger's disk fills up while a drive is written: it is finished, and its record is kept until it can be written.
#[test]
fn a_ledger_that_fills_up_loses_no_record() {
    if !can_run() {
        return;
    }
    let rig = Rig::new(Setup::default());
    let small = rig.path("small");
    let _mounted = Tmpfs::mount(small.clone(), "1m");
    let text = fs::read_to_string(rig.path("prestaged.toml")).unwrap();
    fs::write(rig.path("prestaged.toml"), text.replace("/ledger.db", "/small/ledger.db")).unwrap();
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    rig.start();
    rig.wait_media("win.wim", "valid");
    let drive = FaultyDrive::new(&rig, "A", 420, slow(15));
    drive.attach();
    rig.wait_state(&drive.serial, &["writing"]);
    let filler = small.join("filler");
    let of = format!("of={}", filler.display());
    let full = Command::new("dd").args(["if=/dev/zero", "bs=4k", &of]).output().unwrap();
    assert!(!full.status.success(), "the file system is full");
    wait_for("the complaint", || rig.log().contains("kept until it can be written").then_some(()));
    let kept = rig.log();
    let kept = kept.lines().find(|line| line.contains("kept until")).unwrap();
    assert!(kept.contains(&format!("{} passed", drive.serial)), "{kept}");
    fs::remove_file(&filler).unwrap();
    rig.wait_pass(&drive.serial);
    assert_eq!(rig.records(&drive.serial).len(), 1);
    rig.kill();
    drop(rig);
}

#[test]
fn media_that_goes_or_changes_while_drives_are_written_changes_nothing_for_them() {
    if !can_run() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let first = FaultyDrive::new(&rig, "A", 420, slow(10));
    first.attach();
    rig.wait_state(&first.serial, &["writing"]);
    fs::remove_file(rig.path("inbox/win.wim")).unwrap();
    wait_for("the media to go", || {
        rig.json(&["media", "list"]).as_array()?.is_empty().then_some(())
    });
    let record = rig.wait_pass(&first.serial);
    let second = FaultyDrive::new(&rig, "B", 420, slow(10));
    second.attach();
    rig.wait_state(&second.serial, &["refused"]);
    // Other media under the same name: the waiting drive gets that, and the record says which.
    rig.add_media(&sample(&["--compress=none"]), "win.wim");
    let other = wait_for("the other media on it", || {
        rig.records(&second.serial).pop().filter(|record| record["verdict"] == "passed")
    });
    assert_eq!(other["media"]["name"], record["media"]["name"]);
    assert_ne!(other["media"]["sha256"], record["media"]["sha256"]);
    drop(rig);
}

/// A drive is pulled in mid-write and another one gets its name at once.
#[test]
fn another_drive_under_the_same_name_is_another_drive() {
    if !can_run() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let first = FaultyDrive::new(&rig, "A", 420, slow(15));
    first.attach();
    rig.wait_state(&first.serial, &["writing"]);
    let node = first.node();
    let second = rig.drive("B", 420);
    first.detach();
    second.attach_as(&node);
    let passed = rig.wait_pass(&second.serial);
    let failed = rig.wait_recorded(&first.serial);
    assert_eq!(failed["reason"]["code"], "unplugged");
    assert_ne!(failed["diskseq"], passed["diskseq"]);
    assert_ne!(failed["identity"]["disk_guid"], passed["identity"]["disk_guid"]);
    assert_eq!((rig.records(&first.serial).len(), rig.records(&second.serial).len()), (1, 1));
    assert_eq!(rig.ctl(&["audit", &second.node()]).0, 0);
    // It disappears and returns: a new insertion.
    first.set(Faults::default());
    first.attach();
    rig.wait_pass(&first.serial);
    assert_eq!(rig.records(&first.serial).len(), 2);
    drop(rig);
}
