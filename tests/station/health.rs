//! Drives that are asked for their health: by the real program, as systemd starts it, with a smartctl that the test made.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, wait_for};

/// Takes the place of systemd, which starts the program for each connection and gives it the connection as its standard
/// input and output. Ends with the test.
fn serve(rig: &Rig) {
    let listener = UnixListener::bind(rig.path("health.sock")).unwrap();
    let smartctl = rig.path("smartctl");
    let scripts = rig.path("scripts");
    fs::create_dir(&scripts).unwrap();
    // Each drive has a script of its own. A drive without one hangs until its pipe is opened, at most for a minute.
    let text = format!(
        "#!/bin/sh\nfor node; do :; done\n\
         serial=$(basename \"$(cat /sys/block/${{node#/dev/}}/loop/backing_file)\" .img)\n\
         exec {}/$serial \"$@\"\n",
        scripts.display()
    );
    program(&smartctl, &text);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let out = stream.try_clone().unwrap();
            let child = Command::new(env!("CARGO_BIN_EXE_prestaged"))
                .args(["health", "--smartctl"])
                .arg(&smartctl)
                .stdin(Stdio::from(OwnedFd::from(stream)))
                .stdout(Stdio::from(OwnedFd::from(out)))
                .spawn();
            // A station that ends while it asks leaves a program that nobody waits for.
            thread::spawn(move || child.map(|mut child| child.wait()));
        }
    });
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What smartctl prints of an ATA disk with this many reallocated sectors.
fn answer(reallocated: &str, passed: bool) -> String {
    format!(
        r#"{{"smartctl": {{"exit_status": 0}}, "device": {{"protocol": "ATA"}}, "rotation_rate": 7200,
        "smart_status": {{"passed": {passed}}}, "temperature": {{"current": 33}}, "power_on_time": {{"hours": 1200}},
        "ata_smart_attributes": {{"table": [{{"id": 5, "name": "Reallocated_Sector_Ct",
            "raw": {{"value": {reallocated}, "string": "{reallocated}"}}}}]}}}}"#
    )
}

/// A drive about which smartctl says what this script prints.
fn drive(rig: &Rig, name: &str, script: &str) -> Drive {
    let drive = rig.drive(name, 160);
    program(&rig.path("scripts").join(&drive.serial), &format!("#!/bin/sh\n{script}\n"));
    drive
}

fn prints(text: &str) -> String {
    format!("cat <<'END'\n{text}\nEND")
}

/// A station that asks drives.
fn rig() -> Rig {
    let rig = Rig::new(Setup::default().content_only());
    rig.set("health.socket", rig.path("health.sock").to_str().unwrap());
    serve(&rig);
    rig
}

/// A good drive, one below the limit, one that fails, one that never answers, one whose answer is none, one that counts
/// more errors each time it is asked.
#[apply(test!)]
#[needs(LOOP)]
fn drives_are_asked_before_and_after_their_jobs() {
    let rig = rig();
    rig.set("health.max_reallocated", 5);
    rig.set("health.timeout", "400ms");
    rig.start_with_media();
    let pipe = rig.path("pipe");
    run("mkfifo", &[pipe.to_str().unwrap()]);
    let good = drive(&rig, "GOOD", &prints(&answer("5", true)));
    let worn = drive(&rig, "WORN", &prints(&answer("6", true)));
    let fails = drive(&rig, "FAILS", &prints(&answer("0", false)));
    let mute = drive(&rig, "MUTE", &format!("exec timeout 60 cat {}", pipe.display()));
    let odd = drive(&rig, "ODD", "head -c 100000 /dev/urandom");
    let count = rig.path("count");
    fs::write(&count, "").unwrap();
    let worse = answer("COUNT", true);
    let rises = format!(
        "echo >>{0}; n=$(wc -l <{0})\ncat <<END\n{1}\nEND",
        count.display(),
        worse.replace("COUNT", "$n")
    );
    let rises = drive(&rig, "RISES", &rises);
    let untouched = [worn.checksum(), fails.checksum()];
    for drive in [&mute, &odd, &good, &worn, &fails, &rises] {
        drive.attach(&[]);
    }

    let record = rig.wait_pass(&good.serial);
    let expected = json!({
        "unknown": null, "kind": "ata_disk", "self_assessment": "passed", "temperature_celsius": 33,
        "power_on_hours": 1200, "reallocated": 5, "pending": null, "uncorrectable": null,
        "media_errors": null, "crc_errors": null, "percentage_used": null, "available_spare": null,
        "critical_warning": null,
    });
    assert_eq!(record["health"], json!({ "before": expected, "after": expected }), "{record:#}");
    assert_eq!(record["warnings"], json!([]));

    let refused = |drive: &Drive, detail: &str| {
        rig.wait_refused(&drive.serial, "health");
        let record = rig.wait_recorded(&drive.serial);
        assert_eq!(record["verdict"], "refused");
        assert_eq!(record["reason"]["detail"], detail, "{record:#}");
        assert_eq!(record["health"]["after"], Value::Null);
        record
    };
    let record = refused(&worn, "reallocated sectors: 6, at most 5 (health.max_reallocated)");
    assert_eq!(record["health"]["before"]["reallocated"], 6);
    refused(
        &fails,
        "the drive says that it fails: self-assessment failed, must have passed \
         (health.refuse_failed_assessment)",
    );
    worn.assert_untouched(&untouched[0]);
    fails.assert_untouched(&untouched[1]);

    // Nothing is known of these, and nothing is asked of them.
    let record = rig.wait_pass(&mute.serial);
    let why = |when: &str| record["health"][when]["unknown"].as_str().unwrap().to_owned();
    assert!(why("before").contains("has not answered"), "{record:#}");
    assert!(why("after").contains("has not answered"), "{record:#}");
    let record = rig.wait_pass(&odd.serial);
    let why = record["health"]["before"]["unknown"].as_str().unwrap();
    assert!(why.contains("smartctl's answer is no JSON"), "{record:#}");
    assert_eq!(record["health"]["before"]["reallocated"], Value::Null);

    let record = rig.wait_pass(&rises.serial);
    let count = |when: &str| record["health"][when]["reallocated"].as_u64().unwrap();
    let (before, after) = (count("before"), count("after"));
    assert!(before < after, "{record:#}");
    let warning = format!("health_worse: reallocated sectors rose from {before} to {after}");
    assert_eq!(record["warnings"], json!([warning]));
    // What hangs is let go.
    let _ = fs::OpenOptions::new().write(true).open(&pipe);
}

/// Where health is required, a drive that nothing is known of is refused, before its master is looked for; and asked
/// again when somebody asks for that.
#[apply(test!)]
#[needs(LOOP)]
fn what_is_unknown_is_refused_where_health_is_required() {
    let rig = rig();
    rig.set("health.require", true);
    rig.start_with_media();
    let drive = drive(&rig, "A", "echo nothing");
    let before = drive.checksum();
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "health");
    let record = rig.wait_recorded(&drive.serial);
    let detail = record["reason"]["detail"].as_str().unwrap();
    let expected = "the drive's health is unknown (health.require): smartctl's answer is no JSON";
    assert!(detail.starts_with(expected), "{detail}");
    drive.assert_untouched(&before);
    // Nobody answers at all.
    fs::remove_file(rig.path("health.sock")).unwrap();
    rig.ctl(&["retry", &drive.serial]);
    // The record keeps the first refusal of this code; what is shown is the latest.
    wait_for("the refusal", || {
        let shown = rig.decision(&drive.serial).to_string();
        shown.contains("health.require): nobody answers on").then_some(())
    });
    drive.assert_untouched(&before);
}
