//! Which drives are touched, and that the others are not.

use std::fs;

use macro_rules_attribute::apply;

use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Volume, attach, sample, wait_for};

/// Attaches a drive and checks that the station refuses it, also by hand, and does not change a byte of it.
fn refused(rig: &Rig, drive: &Drive, options: &[&str], code: &str) {
    let before = drive.checksum();
    drive.attach(options);
    let decision = rig.decision(&drive.serial);
    assert_eq!(
        (&decision["decision"], &decision["code"]),
        (&"refused".into(), &code.into()),
        "{decision:#}"
    );
    let text = rig.ctl_fails(2, &["image", &drive.node()]);
    let _shown = rig.shown();
    insta::assert_snapshot!(code, text);
    drive.assert_untouched(&before);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_disarmed_station_writes_to_nothing_until_armed() {
    let rig = Rig::started(Setup::default().disarmed());
    assert_eq!(rig.json(&["status"])["armed"], false);
    let drive = rig.drive("A", 160);
    refused(&rig, &drive, &[], "not_armed");
    let record = rig.wait_verdict(&drive.serial);
    assert_eq!(record["reason"]["code"], "not_armed");
    rig.ctl_ok(&["arm"]);
    rig.wait_state(&drive.serial, &["passed"]);
    assert_eq!(rig.records(&drive.serial).len(), 1, "one insertion has one record");
    rig.wait_pass(&drive.serial);
}

#[apply(test!)]
#[needs(LOOP)]
fn other_buses_and_bays_are_none_of_its_business() {
    let rig = Rig::started(Setup::default().set("admission.buses", vec!["usb"]));
    let drive = rig.drive("A", 64);
    refused(&rig, &drive, &[], "bus_not_allowed");
    assert!(rig.records(&drive.serial).is_empty());
    drop(rig);
    let rig = Rig::started(Setup::default());
    let stranger = stranger_to(&rig);
    refused(&rig, &stranger, &[], "bay_not_allowed");
    assert!(rig.records(&stranger.serial).is_empty());
    let text = rig.ctl_fails(2, &["audit", &stranger.node()]);
    assert!(text.contains("does not belong to the station"), "{text}");
}

/// A drive in a bay that is not the rig's.
fn stranger_to(rig: &Rig) -> Drive {
    let mut drive = rig.drive("A", 64);
    drive.serial = format!("X{}", drive.serial);
    let file = drive.file.with_file_name(format!("{}.img", drive.serial));
    fs::rename(&drive.file, &file).unwrap();
    drive.file = file;
    drive
}

#[apply(test!)]
#[needs(LOOP)]
fn drives_in_use_read_only_or_too_small_are_refused() {
    let rig = Rig::started(Setup::default());
    refused(&rig, &rig.drive("RO", 160), &["--read-only"], "read_only");
    refused(&rig, &rig.drive("SMALL", 90), &[], "too_small");
}

#[apply(test!)]
#[needs(LOOP)]
fn a_mounted_drive_is_refused() {
    // Armed only after the mount, so that the decision comes after it.
    let rig = Rig::started(Setup::default().disarmed());
    let drive = rig.drive("A", 160);
    run("mkfs.ext4", &["-q", "-F", drive.file.to_str().unwrap()]);
    drive.attach(&[]);
    let mount = rig.path("mount");
    fs::create_dir(&mount).unwrap();
    run("mount", &[&drive.node(), mount.to_str().unwrap()]);
    rig.ctl(&["arm"]);
    rig.wait_refused(&drive.serial, "mounted");
    fs::write(mount.join("precious"), "data").unwrap();
    let text = rig.ctl_fails(2, &["image", &drive.node()]);
    let _shown = rig.shown();
    insta::assert_snapshot!("mounted", text);
    assert_eq!(fs::read(mount.join("precious")).unwrap(), b"data");
    run("umount", &[mount.to_str().unwrap()]);
    rig.ctl_ok(&["image", &drive.node()]);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_loop_device_on_a_drive_holds_it() {
    let rig = Rig::started(Setup::default().disarmed());
    let drive = rig.drive("A", 160);
    drive.attach(&[]);
    rig.decision(&drive.serial);
    let upper = Volume(attach(&drive.node(), &[]));
    rig.ctl(&["arm"]);
    rig.wait_refused(&drive.serial, "in_use");
    drop(upper);
}

#[apply(test!)]
#[needs(LOOP)]
fn the_same_serial_twice_is_refused() {
    let rig = Rig::started(Setup::default().disarmed());
    let first = rig.drive("A", 160);
    let mut second = rig.drive("B", 160);
    // The serial number is the file's name without its extension.
    let twin = first.file.with_extension("raw");
    fs::rename(&second.file, &twin).unwrap();
    (second.file, second.serial) = (twin, first.serial.clone());
    first.attach(&[]);
    second.attach(&[]);
    rig.ctl(&["arm"]);
    wait_for("both refusals", || {
        let all = rig.json(&["drives"]);
        let ours = all.as_array().unwrap().iter().filter(|d| d["serial"] == first.serial.as_str());
        let codes: Vec<_> = ours.map(|d| d["code"].clone()).collect();
        (codes == ["duplicate_serial", "duplicate_serial"]).then_some(())
    });
}

#[apply(test!)]
#[needs(LOOP)]
fn drives_that_hold_something_are_refused_unless_it_is_ours() {
    let rig = Rig::started(Setup::default().set("admission.overwrite", "blank_or_ours"));
    let noisy = rig.drive("NOISE", 160);
    refused(&rig, &noisy, &[], "not_blank");
    noisy.detach();
    rig.wait_gone(&noisy.serial);
    fs::File::create(&noisy.file).unwrap().set_len(160 << 20).unwrap();
    noisy.attach(&[]);
    rig.wait_pass(&noisy.serial);
    // The station knows its own work by the disk GUID.
    rig.ctl_fails(2, &["image", &noisy.node()]);
    rig.ctl_ok(&["image", &noisy.node(), "--again"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn without_media_a_drive_waits() {
    let rig = Rig::new(Setup::default());
    rig.start();
    let drive = rig.drive("A", 160);
    refused(&rig, &drive, &[], "no_media");
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    rig.wait_state(&drive.serial, &["passed"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_has_passed_is_left_alone_until_retried() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    drive.detach();
    rig.wait_gone(&drive.serial);
    let before = drive.checksum();
    drive.attach(&[]);
    let decision = rig.decision(&drive.serial);
    assert_eq!(decision["code"], "already_passed", "{decision:#}");
    drive.assert_untouched(&before);
    rig.ctl_ok(&["retry", &drive.serial]);
    // Other media is another job.
    drive.detach();
    rig.wait_gone(&drive.serial);
    rig.ctl_ok(&["media", "offer", "win.wim", "by_hand"]);
    rig.add_media(&sample(&["--compress=none"]), "newer.wim");
    wait_for("the media to be seen", || {
        rig.json(&["media", "list"]).to_string().contains("newer.wim").then_some(())
    });
    rig.wait_media("newer.wim", "valid");
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["passed"]);
    assert_eq!(rig.records(&drive.serial).last().unwrap()["media"]["name"], "newer.wim");
}

#[apply(test!)]
#[needs(LOOP)]
fn bays_have_names_and_models_and_sizes_are_listed() {
    let rig = Rig::started(Setup::default().bay("left 1", "loop-*LEFT*"));
    let drive = rig.attached("LEFT", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["bay"], "left 1");
    assert_eq!(rig.drive_status(&drive.serial).unwrap()["bay"], "left 1");
    drop(rig);
    for (key, list, code) in [
        ("admission.models", vec!["Samsung*"], "model_not_allowed"),
        ("admission.serials", vec!["X*"], "serial_not_allowed"),
        ("admission.sizes", vec!["512GB", "1TB"], "size_not_allowed"),
    ] {
        let rig = Rig::new(Setup::default().set(key, list));
        rig.start();
        refused(&rig, &rig.drive("A", 64), &[], code);
    }
}
