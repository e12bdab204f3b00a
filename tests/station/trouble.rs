//! Trouble that need not fail a drive: ranges that are written again, a drive slower than its batch, a full ledger, media
//! that leaves, a device name that is used again.

use std::fs;

use macro_rules_attribute::apply;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::{Rig, Setup, Tmpfs, sample, wait_for};

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_pass_after_a_rewrite_says_so_everywhere() {
    let rig = Rig::started(Setup::default().set("replicate.rewrites", 2));
    // The byte is flipped by the erasing, by the first writing and by the first rewrite.
    let flips = Faults { flip_at: Some(BODY_BYTE), flips: Some(3), ..Faults::default() };
    let drive = FaultyDrive::new(&rig, "A", 420, flips);
    drive.attach(&[]);
    let record = rig.wait_pass(&drive.serial);
    let warning = record["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("rewritten: ") && record["warnings"][1] == warning, "{warning}");
    assert_eq!(rig.drive_status(&drive.serial).unwrap()["warnings"][0], warning);
    let text = rig.ctl_ok(&["status"]);
    assert!(text.contains("rewritten"), "{text}");
    assert!(rig.log().contains("with warnings: rewritten"), "the journal's copy: {}", rig.log());
    rig.ctl_ok(&["audit", &drive.node()]);
    // The station does not rewrite more often than configured.
    drive.set(Faults { flip_at: Some(BODY_BYTE), ..Faults::default() });
    rig.ctl_fails(1, &["retry", &drive.serial]);
    assert_eq!(rig.records(&drive.serial)[1]["reason"]["code"], "mismatch");
    drop(rig);
}

/// On a drive that is smaller than it claims, mending one place breaks another that was right: no rewrite makes it pass.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn rewrites_do_not_help_a_drive_that_is_too_small() {
    let rig = Rig::started(Setup::default().set("replicate.rewrites", 3));
    // The first mebibyte of the recovery volume lies on the first of the Windows volume; hardly anything else collides.
    let wraps_at = Some((399 - 57) << 20);
    let drive = FaultyDrive::new(&rig, "A", 420, Faults { wraps_at, ..Faults::default() });
    drive.attach(&[]);
    let record = rig.wait_recorded(&drive.serial);
    assert_eq!(record["verdict"], "failed", "{record:#}");
    assert_eq!(record["reason"]["code"], "mismatch", "{record:#}");
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP, FUSE, LONG)]
fn a_drive_much_slower_than_its_batch_is_told_or_fails() {
    let short = Setup::default().set("replicate.rate_window", "200ms");
    // The slow one is at a twenty-fifth of the others, and they share a busy machine.
    let strict = short.clone().set("replicate.min_batch_share", "25%");
    for (setup, verdict) in [(short, "passed"), (strict, "failed")] {
        let rig = Rig::started(setup);
        // With a master at hand all drives start together.
        rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "420MiB"]);
        let make = |name: &str, delay| FaultyDrive::new(&rig, name, 420, slow(delay));
        let drives = [make("A", 8), make("B", 8), make("C", 8), make("SLOW", 200)];
        drives.iter().for_each(|drive| drive.attach(&[]));
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
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_ledger_that_fills_up_loses_no_record() {
    let rig = Rig::new(Setup::default());
    let small = Tmpfs::mount(rig.path("small"), "1m");
    rig.set("ledger.path", rig.path("small/ledger.db").to_str().unwrap());
    rig.start_with_media();
    let drive = FaultyDrive::new(&rig, "A", 420, slow(15));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    let filler = small.fill();
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

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn media_that_goes_or_changes_while_drives_are_written_changes_nothing_for_them() {
    let rig = Rig::started(Setup::default());
    let first = FaultyDrive::new(&rig, "A", 420, slow(10));
    first.attach(&[]);
    rig.wait_state(&first.serial, &["writing"]);
    fs::remove_file(rig.path("inbox/win.wim")).unwrap();
    wait_for("the media to go", || {
        rig.json(&["media", "list"]).as_array()?.is_empty().then_some(())
    });
    let record = rig.wait_pass(&first.serial);
    let second = FaultyDrive::new(&rig, "B", 420, slow(10));
    second.attach(&[]);
    rig.wait_state(&second.serial, &["refused"]);
    // The waiting drive gets the other media, and its record names the digest of that.
    rig.add_media(&sample(&["--compress=none"]), "win.wim");
    let other = wait_for("the other media on it", || {
        rig.records(&second.serial).pop().filter(|record| record["verdict"] == "passed")
    });
    assert_eq!(other["media"]["name"], record["media"]["name"]);
    assert_ne!(other["media"]["sha256"], record["media"]["sha256"]);
    drop(rig);
}

/// A drive is pulled in mid-write and another one gets its name at once.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn another_drive_under_the_same_name_is_another_drive() {
    let rig = Rig::started(Setup::default());
    let first = FaultyDrive::new(&rig, "A", 420, slow(15));
    first.attach(&[]);
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
    rig.ctl_ok(&["audit", &second.node()]);
    // When the first drive returns, it is a new insertion.
    first.set(Faults::default());
    first.attach(&[]);
    rig.wait_pass(&first.serial);
    assert_eq!(rig.records(&first.serial).len(), 2);
    drop(rig);
}
