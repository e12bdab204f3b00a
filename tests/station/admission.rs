//! Which drives are touched, and that the others are not.

use std::fs;

use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Volume, attach, can_loop, sample, wait_for};

/// Attaches a drive, expects a refusal, and that not a byte of the drive has changed.
fn refused(rig: &Rig, drive: &Drive, options: &[&str], code: &str) {
    let before = fs::read(&drive.file).unwrap();
    drive.attach(options);
    let decision = rig.decision(&drive.serial);
    assert_eq!(
        (&decision["decision"], &decision["code"]),
        (&"refused".into(), &code.into()),
        "{decision:#}"
    );
    let (exit, text) = rig.ctl(&["image", &drive.node()]);
    assert_eq!(exit, 2, "{text}");
    assert!(text.contains(code), "{text}");
    assert!(fs::read(&drive.file).unwrap() == before, "{code}: not a byte was written");
}

#[test]
fn a_disarmed_station_writes_to_nothing_until_armed() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup { armed: false, ..Setup::default() });
    assert_eq!(rig.json(&["status"])["armed"], false);
    let drive = rig.drive("A", 420);
    refused(&rig, &drive, &[], "not_armed");
    let record = rig.wait_verdict(&drive.serial);
    assert_eq!(record["reason"]["code"], "not_armed");
    let (code, text) = rig.ctl(&["arm"]);
    assert_eq!(code, 0, "{text}");
    wait_for("the drive to pass", || {
        (rig.drive_status(&drive.serial)?["state"] == "passed").then_some(())
    });
    assert_eq!(rig.records(&drive.serial).len(), 1, "one insertion, one record");
    rig.wait_pass(&drive.serial);
}

#[test]
fn other_buses_and_bays_are_none_of_its_business() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup { buses: "\"usb\"", ..Setup::default() });
    let drive = rig.drive("A", 64);
    refused(&rig, &drive, &[], "bus_not_allowed");
    assert!(rig.records(&drive.serial).is_empty());
    drop(rig);
    let rig = Rig::started(Setup::default());
    let stranger = stranger_to(&rig);
    refused(&rig, &stranger, &[], "bay_not_allowed");
    assert!(rig.records(&stranger.serial).is_empty());
}

/// A drive whose bay is not the rig's.
fn stranger_to(rig: &Rig) -> Drive {
    let mut drive = rig.drive("A", 64);
    drive.serial = format!("X{}", drive.serial);
    let file = drive.file.with_file_name(format!("{}.img", drive.serial));
    fs::rename(&drive.file, &file).unwrap();
    drive.file = file;
    drive
}

#[test]
fn drives_in_use_read_only_or_too_small_are_refused() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup::default());
    refused(&rig, &rig.drive("RO", 420), &["--read-only"], "read_only");
    refused(&rig, &rig.drive("SMALL", 90), &[], "too_small");
}

#[test]
fn a_mounted_drive_is_refused() {
    if !can_loop() {
        return;
    }
    // Disarmed first, so that the mount is there before the decision.
    let rig = Rig::started(Setup { armed: false, ..Setup::default() });
    let drive = rig.drive("A", 420);
    run("mkfs.ext4", &["-q", "-F", drive.file.to_str().unwrap()]);
    drive.attach(&[]);
    let mount = rig.path("mount");
    fs::create_dir(&mount).unwrap();
    run("mount", &[&drive.node(), mount.to_str().unwrap()]);
    rig.ctl(&["arm"]);
    wait_for("the refusal", || (rig.decision(&drive.serial)["code"] == "mounted").then_some(()));
    fs::write(mount.join("precious"), "data").unwrap();
    let (code, text) = rig.ctl(&["image", &drive.node()]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("mounted at"), "{text}");
    assert_eq!(fs::read(mount.join("precious")).unwrap(), b"data");
    run("umount", &[mount.to_str().unwrap()]);
    let (code, text) = rig.ctl(&["image", &drive.node()]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_loop_device_on_a_drive_holds_it() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup { armed: false, ..Setup::default() });
    let drive = rig.drive("A", 420);
    drive.attach(&[]);
    rig.decision(&drive.serial);
    let upper = Volume(attach(&drive.node(), &[]));
    rig.ctl(&["arm"]);
    wait_for("the refusal", || (rig.decision(&drive.serial)["code"] == "in_use").then_some(()));
    drop(upper);
}

#[test]
fn the_same_serial_twice_is_refused() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup { armed: false, ..Setup::default() });
    let first = rig.drive("A", 420);
    let mut second = rig.drive("B", 420);
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

#[test]
fn drives_that_hold_something_are_refused_unless_it_is_ours() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup { overwrite: "blank_or_ours", ..Setup::default() });
    let noisy = rig.drive("NOISE", 420);
    refused(&rig, &noisy, &[], "not_blank");
    noisy.detach();
    wait_for("the drive to go", || rig.drive_status(&noisy.serial).is_none().then_some(()));
    fs::File::create(&noisy.file).unwrap().set_len(420 << 20).unwrap();
    noisy.attach(&[]);
    rig.wait_pass(&noisy.serial);
    // What stands there now is known by its disk GUID.
    let (code, text) = rig.ctl(&["image", &noisy.node()]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn without_media_a_drive_waits() {
    if !can_loop() {
        return;
    }
    let rig = Rig::new(Setup::default());
    rig.start();
    let drive = rig.drive("A", 420);
    refused(&rig, &drive, &[], "no_media");
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    wait_for("the drive to pass", || {
        (rig.drive_status(&drive.serial)?["state"] == "passed").then_some(())
    });
}

#[test]
fn a_drive_that_has_passed_is_left_alone_until_retried() {
    if !can_loop() {
        return;
    }
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 420, 512);
    rig.wait_pass(&drive.serial);
    drive.detach();
    wait_for("the drive to go", || rig.drive_status(&drive.serial).is_none().then_some(()));
    let before = fs::read(&drive.file).unwrap();
    drive.attach(&[]);
    let decision = rig.decision(&drive.serial);
    assert_eq!(decision["code"], "already_passed", "{decision:#}");
    assert!(fs::read(&drive.file).unwrap() == before, "not a byte was written");
    let (code, text) = rig.ctl(&["retry", &drive.serial]);
    assert_eq!(code, 0, "{text}");
    // Other media is another job.
    drive.detach();
    wait_for("the drive to go", || rig.drive_status(&drive.serial).is_none().then_some(()));
    rig.add_media(&sample(&["--compress=none"]), "newer.wim");
    rig.wait_media("newer.wim", "valid");
    drive.attach(&[]);
    wait_for("another pass", || {
        (rig.drive_status(&drive.serial)?["state"] == "passed").then_some(())
    });
    assert_eq!(rig.records(&drive.serial).last().unwrap()["media"]["name"], "newer.wim");
}

#[test]
fn bays_have_names_and_models_and_sizes_are_listed() {
    if !can_loop() {
        return;
    }
    let named = "[[bay]]\nname = \"left 1\"\npath = \"loop-*LEFT*\"\n";
    let rig = Rig::started(Setup { more: named.into(), ..Setup::default() });
    let drive = rig.attached("LEFT", 420, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["bay"], "left 1");
    assert_eq!(rig.drive_status(&drive.serial).unwrap()["bay"], "left 1");
    drop(rig);
    for (list, code) in [
        ("models = [\"Samsung*\"]", "model_not_allowed"),
        ("serials = [\"X*\"]", "serial_not_allowed"),
        ("sizes = [\"512GB\", \"1TB\"]", "size_not_allowed"),
    ] {
        let rig = Rig::new(Setup::default());
        let path = rig.path("prestaged.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[admission]", &format!("[admission]\n{list}"))).unwrap();
        rig.start();
        refused(&rig, &rig.drive("A", 64), &[], code);
    }
}
