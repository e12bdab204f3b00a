//! What operators ask for, and what they are told: verbs that write, names of drives, codes and their explanation.

use std::fs;
use std::num::NonZero;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use macro_rules_attribute::apply;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, fill_with_noise, told, wait_for};

fn careful() -> Setup {
    Setup::default().set("admission.overwrite", "blank_or_ours")
}

/// The commands of a text: what stands between back quotes.
fn commands(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What the message says is tried, word for word.
#[apply(test!)]
#[needs(LOOP)]
fn a_used_drive_is_made_acceptable_as_its_message_says() {
    for policy in ["blank_or_ours", "blank_only"] {
        let rig = Rig::started(Setup::default().set("admission.overwrite", policy));
        let drive = rig.attached("A", 160, 512);
        rig.wait_refused(&drive.serial, "not_blank");
        let decision = rig.decision(&drive.serial);
        let told = commands(decision["hint"].as_str().unwrap());
        // What people try first is not enough, and the message says so.
        run("wipefs", &["-q", "-a", &drive.node()]);
        run("sgdisk", &["-Z", &drive.node()]);
        rig.ctl_fails(2, &["retry", &drive.serial]);
        assert!(decision["hint"].as_str().unwrap().contains("wipefs"), "{decision:#}");
        for begins in ["blkdiscard -f -z ", "blkdiscard -f /dev/"] {
            let wipe = told.iter().find(|command| command.starts_with(begins)).unwrap();
            let words: Vec<&str> = wipe.split(' ').collect();
            fill_with_noise(&drive.file, 160 << 20);
            run(words[0], &words[1..]);
            let retry = told.iter().find_map(|c| c.strip_prefix("prestagectl retry ")).unwrap();
            rig.ctl_ok(&["retry", retry]);
        }
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn one_drive_is_consented_to() {
    let rig = Rig::started(careful());
    let drive = rig.attached("A", 160, 512);
    let other = rig.attached("B", 160, 512);
    rig.wait_refused(&drive.serial, "not_blank");
    rig.wait_refused(&other.serial, "not_blank");
    let before = other.checksum();
    let node = drive.node();
    rig.ctl_fails(64, &["image", &node, "--overwrite"]);
    rig.ctl_fails(64, &["image", &node, "--reason", "returned lease"]);
    rig.ctl_fails(64, &["image", &node, "--overwrite", "--reason", " "]);
    assert_eq!(rig.records(&drive.serial).len(), 1);
    // In use is in use, whoever consents.
    let mount = rig.path("mount");
    fs::create_dir(&mount).unwrap();
    run("mkfs.ext4", &["-q", "-F", &node]);
    run("mount", &[&node, mount.to_str().unwrap()]);
    let consent = ["image", &node, "--overwrite", "--reason", "returned lease"];
    assert!(rig.ctl_fails(2, &consent).contains("mounted"));
    run("umount", &[mount.to_str().unwrap()]);
    assert!(
        rig.ctl_fails(2, &["retry", &node]).contains("not_blank"),
        "consent went with the refusal"
    );
    rig.ctl_ok(&consent);
    let record = rig.wait_pass(&drive.serial);
    let consented = &record["consent"];
    assert_eq!((&record["operator"], &consented["user"]), (&"root".into(), &"root".into()));
    assert_eq!((&consented["reason"], &consented["uid"]), (&"returned lease".into(), &0.into()));
    assert!(consented["held"].as_str().unwrap().contains("ext4"), "{record:#}");
    assert!(rig.log().contains("root consents that what drive"), "{}", rig.log());
    // It was this drive in this insertion, and no other.
    rig.wait_refused(&other.serial, "not_blank");
    other.assert_untouched(&before);
    drive.detach();
    rig.wait_gone(&drive.serial);
    fill_with_noise(&drive.file, 160 << 20);
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "not_blank");
}

#[apply(test!)]
#[needs(LOOP)]
fn what_is_done_or_mistyped_is_not_done_by_mistake() {
    let rig = Rig::started(Setup::default().disarmed());
    let drive = rig.attached("A", 160, 512);
    rig.wait_refused(&drive.serial, "not_armed");
    let text = rig.ctl_ok(&["arm"]).replace('\n', " ");
    assert!(text.contains(&format!("1 drive starts now: {}", drive.serial)), "{text}");
    assert!(text.contains("until `prestagectl disarm` or the station's restart"), "{text}");
    rig.wait_pass(&drive.serial);
    let node = drive.node();
    let text = rig.ctl_fails(2, &["image", &node]);
    assert!(text.contains(&format!("`prestagectl image {node} --again`")), "{text}");
    for (code, words) in [
        (2, &["image", "/dev/no-such-drive"][..]),
        (2, &["image", &node, "--media", "wni.wim"]),
        (2, &["image", &node, "--again", "--media", "wni.wim"]),
        (2, &["retry", "NO-SUCH-SERIAL"]),
        (2, &["stop", &node]),
        (2, &["audit", "nowhere"]),
        (2, &["drives", "nowhere"]),
    ] {
        let text = rig.ctl_fails(code, words);
        assert!(text.contains("\nhint: "), "{text}");
    }
    assert!(rig.ctl_fails(2, &["stop", "nowhere"]).contains(&drive.serial), "it says who is there");
    assert_eq!(rig.records(&drive.serial).len(), 1, "none of it is on record");
    // By each of its names, and by a link as in /dev/disk/by-id.
    let link = rig.path("by-id");
    symlink(&node, &link).unwrap();
    let bay = rig.decision(&drive.serial)["bay"].as_str().unwrap().to_owned();
    for name in [link.to_str().unwrap(), &node, &node[5..], &drive.serial, &bay] {
        assert_eq!(rig.json(&["drives", name])[0]["serial"], drive.serial.as_str(), "{name}");
        rig.ctl_fails(2, &["image", name]);
        rig.ctl_ok(&["audit", name]);
    }
    rig.ctl_ok(&["image", link.to_str().unwrap(), "--again"]);
    assert_eq!(rig.records(&drive.serial).len(), 2);
    // The shell is offered what is there at this moment.
    for (words, name) in [
        (&["image", ""][..], &drive.serial),
        (&["audit", &bay[..4]], &bay),
        (&["audit", "--media", ""], &"win.wim".to_owned()),
        (&["records", "--serial", ""], &drive.serial),
        (&["scan", "--bay", ""], &bay),
        (&["explain", "not_bl"], &"not_blank".to_owned()),
    ] {
        let offered = completed(&rig, words);
        let there = offered.iter().any(|line| line.split('\t').next() == Some(name));
        assert!(there, "{words:?}: {name}: {offered:?}");
    }
    assert!(completed(&rig, &["master", "remove", "x"]).is_empty());
}

/// What fish is offered when somebody presses Tab behind these words: names, and behind a tab what they mean.
fn completed(rig: &Rig, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
    command.env(ctl::completing::VARIABLE, "fish").args(["--", "prestagectl", "--socket"]);
    let (code, text) = told(command.arg(rig.path("control.sock")).args(words));
    assert_eq!(code, 0, "{text}");
    text.lines().map(str::to_owned).collect()
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn who_interrupts_prestagectl_interrupts_no_drive() {
    let rig = Rig::started(Setup::default().disarmed());
    let hanging = Faults { hangs_at: Some(BODY_BYTE), ..Faults::default() };
    let drive = FaultyDrive::new(&rig, "A", 160, hanging);
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "not_armed");
    rig.ctl_ok(&["arm"]);
    drive.wait_hangs();
    let mut command = rig.prestagectl();
    command.args(["retry", &drive.serial]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    wait_for("prestagectl to heed Ctrl-C", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught & (1 << (Signal::INT.as_raw() - 1)) != 0).then_some(())
    });
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("the station goes on with it"), "{text}");
    let text = rig.ctl_ok(&["stop", &drive.serial]);
    assert!(text.contains("left without a partition table"), "{text}");
    drive.set(Faults::default());
    assert_eq!(rig.wait_verdict(&drive.serial)["reason"]["code"], "operator_stop");
}

/// Every code is explained without a daemon, in lines that fit.
#[apply(test!)]
fn every_code_is_explained() {
    let rig = Rig::new(Setup::default());
    let all = rig.json(&["explain"]);
    let all = all.as_array().unwrap();
    assert!(all.len() > 120, "{}", all.len());
    for entry in all {
        let code = entry["code"].as_str().unwrap();
        let one = rig.json(&["explain", code]);
        let known = one["also"].as_array().unwrap().iter().chain([&one]);
        assert!(known.clone().all(|other| other["code"] == code), "{one:#}");
        assert!(known.clone().any(|other| other["kind"] == entry["kind"]), "{one:#}");
        for field in ["meaning", "what_now", "operator", "engineer"] {
            assert!(one[field].as_str().is_some_and(|text| text.len() > 5), "{code} {field}");
        }
        let text = rig.ctl_ok(&["explain", code]);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        for debug in ["Os {", "Error(", "Some(", "None"] {
            assert!(!text.contains(debug), "{text}");
        }
    }
    let (code, text) = told(rig.prestagectl().args(["explain", "not_blnk"]));
    assert_eq!(code, 64, "{text}");
    assert!(text.contains("hint: do you mean not_blank?"), "{text}");
    let error: Value = serde_json::from_str(
        rig.ctl_fails(64, &["--json", "explain", "nothing-like-it"]).lines().next().unwrap(),
    )
    .unwrap();
    assert_eq!(error["error"]["exit"], 64);
}

/// A drive that is slow is limited by itself, however busy the machine is.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_slow_drive_on_a_busy_machine_is_limited_by_itself() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 160, slow(10));
    let over = AtomicBool::new(false);
    let record = thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, NonZero::get) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        // Ends them also if the drive does not pass.
        let record = catch_unwind(AssertUnwindSafe(|| {
            drive.attach(&[]);
            rig.wait_pass(&drive.serial)
        }));
        over.store(true, Ordering::Relaxed);
        record
    });
    let record = record.unwrap_or_else(|why| resume_unwind(why));
    let limits = (&record["write_limited_by"], &record["verify_limited_by"]);
    assert_eq!(limits, (&"drive".into(), &"drive".into()), "{record:#}");
}
