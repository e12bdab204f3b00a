//! Presses that are interrupted, and a ledger that cannot be written. All of this fails before a drive is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Tmpfs, sample, wait_for};

/// Starts a station whose mkntfs waits until the file `go` exists, so that a test can act while a press runs. It does not
/// wait when media is verified.
pub(crate) fn with_slow_mkntfs() -> Rig {
    let rig = Rig::new(Setup::default());
    let tools = rig.path("tools");
    fs::create_dir(&tools).unwrap();
    let go = rig.path("go");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in */press-*) while ! test -e {}; do sleep 0.02; done;; esac\n\
         exec /usr/sbin/mkntfs \"$@\"\n",
        go.display()
    );
    fs::write(tools.join("mkntfs"), script).unwrap();
    fs::set_permissions(tools.join("mkntfs"), fs::Permissions::from_mode(0o755)).unwrap();
    rig.set("tools.search", vec![tools.to_str().unwrap(), "/usr/sbin", "/usr/bin"]);
    rig.start_with_media();
    rig
}

pub(crate) fn running_press(rig: &Rig) -> String {
    wait_for("a press to run", || {
        let status = rig.json(&["status"]);
        let press = status["presses"].as_array().unwrap().first()?.clone();
        (press["state"] == "running").then(|| press["id"].as_str().unwrap().to_owned())
    })
}

fn leftovers(rig: &Rig) -> Vec<String> {
    let entries = fs::read_dir(rig.path("store")).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("press-")).collect()
}

#[apply(test!)]
#[needs(LOOP)]
fn a_killed_press_fails_the_drive_untouched_and_leaves_nothing() {
    let rig = with_slow_mkntfs();
    let drive = rig.drive("A", 160);
    let before = drive.checksum();
    drive.attach(&[]);
    running_press(&rig);
    let child = wait_for("the pressing child", || rig.children().pop());
    run("kill", &["-KILL", &child]);
    let record = rig.wait_verdict(&drive.serial);
    assert_eq!(record["verdict"], "failed", "{record:#}");
    assert_eq!(record["reason"]["code"], "press_failed");
    drive.assert_untouched(&before);
    wait_for("the store to be clean", || leftovers(&rig).is_empty().then_some(()));
    fs::write(rig.path("go"), "").unwrap();
    rig.ctl_ok(&["retry", &drive.serial]);
}

#[apply(test!)]
#[needs(LOOP)]
fn an_operator_cancels_a_press() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    let id = running_press(&rig);
    rig.ctl_ok(&["master", "remove", &id]);
    let record = rig.wait_verdict(&drive.serial);
    assert_eq!(record["verdict"], "stopped", "{record:#}");
    assert_eq!(record["reason"]["code"], "operator_stop", "{record:#}");
    wait_for("the child to be gone", || rig.children().is_empty().then_some(()));
    fs::write(rig.path("go"), "").unwrap();
    rig.ctl_ok(&["retry", &drive.serial]);
    assert!(leftovers(&rig).is_empty(), "{:?}", leftovers(&rig));
}

#[apply(test!)]
#[needs(LOOP)]
fn media_that_leaves_ends_its_press() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    running_press(&rig);
    fs::remove_file(rig.path("inbox/win.wim")).unwrap();
    rig.wait_refused(&drive.serial, "no_media");
    wait_for("the child to be gone", || rig.children().is_empty().then_some(()));
    fs::write(rig.path("go"), "").unwrap();
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    rig.wait_state(&drive.serial, &["passed"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_drive_pulled_while_its_master_is_pressed_is_recorded() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    running_press(&rig);
    drive.detach();
    let record = wait_for("the record", || rig.records(&drive.serial).pop());
    assert_eq!(record["reason"]["code"], "unplugged", "{record:#}");
    assert_eq!(record["written_bytes"], 0);
    fs::write(rig.path("go"), "").unwrap();
    wait_for("the master", || {
        (rig.json(&["master", "list"]).as_array().unwrap().len() == 1).then_some(())
    });
}

#[apply(test!)]
#[needs(LOOP)]
fn an_earlier_pass_is_no_verdict_on_this_attempt() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    fs::write(rig.path("go"), "").unwrap();
    let passed = rig.wait_pass(&drive.serial);
    fs::remove_file(rig.path("go")).unwrap();
    rig.ctl_ok(&["master", "remove", passed["master"]["id"].as_str().unwrap()]);
    let retry = rig.prestagectl().args(["retry", &drive.serial]).stderr(Stdio::piped()).spawn();
    running_press(&rig);
    rig.wait_state(&drive.serial, &["waiting_for_master"]);
    drive.detach();
    let ended = retry.unwrap().wait_with_output().unwrap();
    let text = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("was detached"), "{text}");
    let last = wait_for("the record", || rig.records(&drive.serial).into_iter().nth(1));
    assert_eq!(last["reason"]["code"], "unplugged", "{last:#}");
}

#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_waits_for_its_master_is_stopped() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    running_press(&rig);
    rig.wait_state(&drive.serial, &["waiting_for_master"]);
    rig.ctl_ok(&["stop", &drive.serial]);
    let record = rig.wait_recorded(&drive.serial);
    assert_eq!(record["reason"]["code"], "operator_stop", "{record:#}");
    assert_eq!(record["written_bytes"], 0);
    // Its master is pressed all the same, and the drive does not take it by itself.
    fs::write(rig.path("go"), "").unwrap();
    wait_for("the master", || {
        (rig.json(&["master", "list"]).as_array().unwrap().len() == 1).then_some(())
    });
    assert_eq!(rig.wait_verdict(&drive.serial)["verdict"], "stopped");
    rig.ctl_ok(&["retry", &drive.serial]);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_press_can_be_watched() {
    let rig = with_slow_mkntfs();
    let drive = rig.attached("A", 160, 512);
    running_press(&rig);
    let waiting = rig.wait_state(&drive.serial, &["waiting_for_master"]);
    assert_eq!(waiting["verdict"], Value::Null);
    let mut watch = rig
        .prestagectl()
        .args(["--json", "watch"])
        .stdout(fs::File::create(rig.path("watched")).unwrap())
        .spawn()
        .unwrap();
    wait_for("the first line", || {
        (fs::metadata(rig.path("watched")).unwrap().len() > 0).then_some(())
    });
    fs::write(rig.path("go"), "").unwrap();
    rig.wait_pass(&drive.serial);
    let seen = wait_for("the verdict in the stream", || {
        let text = fs::read_to_string(rig.path("watched")).unwrap();
        text.contains("\"state\":\"passed\"").then_some(text)
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    // The last line may not be complete.
    let (whole, _) = seen.rsplit_once('\n').unwrap();
    let mut states = Vec::new();
    for line in whole.lines() {
        let snapshot: Value = serde_json::from_str(line).unwrap();
        assert_eq!(snapshot["armed"], true);
        let drives = snapshot["drives"].as_array().unwrap();
        let ours = drives.iter().find(|found| found["serial"] == drive.serial.as_str()).unwrap();
        states.push(ours["state"].as_str().unwrap().to_owned());
    }
    states.dedup();
    // The stream may leave out states that are short.
    let all = [
        "waiting_for_master",
        "claiming",
        "erasing",
        "writing",
        "reading_back",
        "committing",
        "passed",
    ];
    assert_eq!(states.first().unwrap(), "waiting_for_master", "{states:?}");
    let places: Vec<_> = states.iter().map(|state| all.iter().position(|s| s == state)).collect();
    assert!(places.is_sorted() && !places.contains(&None), "{states:?}");
}

#[apply(test!)]
#[needs(LOOP)]
fn without_a_place_for_its_record_no_drive_is_touched() {
    let rig = Rig::new(Setup::default().set("media.offer", "by_hand"));
    let small = Tmpfs::mount(rig.path("small"), "4m");
    rig.set("ledger.path", rig.path("small/ledger.db").to_str().unwrap());
    rig.start_with_media();
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "160MiB"]);
    let media = rig.json(&["media", "show", "win.wim"])["sha256"].as_str().unwrap().to_owned();
    let order = rig.path("order.toml");
    fs::write(&order, format!("number = \"PO-1\"\nmedia = \"{media}\"\nquantity = 9\n")).unwrap();
    rig.ctl_ok(&["order", "add", order.to_str().unwrap()]);
    // Bringing it in later would make room.
    let fill = || {
        wait_for("the log to be brought in", || {
            (fs::metadata(rig.path("small/ledger.db-wal")).ok()?.len() == 0).then_some(())
        });
        small.fill()
    };
    let filler = fill();
    let drives = ["A", "B"].map(|name| rig.drive(name, 160));
    let before = drives.each_ref().map(Drive::checksum);
    let told = |serial: &str| rig.log().matches(&format!("{serial} is not touched")).count();
    // One may come before the station has found out; each end of a job has orders looked at, and drives judged again.
    for drive in &drives {
        drive.attach(&[]);
        let refused = rig.wait_state(&drive.serial, &["refused"]);
        assert_eq!(refused["reason"]["code"], "ledger_unavailable", "{refused:#}");
    }
    wait_for("the station to know", || {
        rig.json(&["status"])["ledger"]["detail"].is_string().then_some(())
    });
    // Whatever changes meanwhile, nothing is tried again.
    rig.ctl_ok(&["disarm"]);
    rig.ctl_ok(&["arm"]);
    for (drive, before) in drives.iter().zip(&before) {
        rig.wait_refused(&drive.serial, "ledger_unavailable");
        assert!(told(&drive.serial) <= 1, "{}", rig.log());
        drive.assert_untouched(before);
    }
    fs::remove_file(&filler).unwrap();
    for drive in &drives {
        rig.wait_state(&drive.serial, &["passed"]);
        assert_eq!(rig.wait_pass(&drive.serial)["order"], "PO-1");
        assert_eq!(rig.records(&drive.serial).len(), 1, "the refusal became this job's record");
    }
    // What is little is kept for drives that run, although a record would fit.
    let filler = fill();
    let most = fs::metadata(&filler).unwrap().len();
    fs::File::options().write(true).open(&filler).unwrap().set_len(most - (128 << 10)).unwrap();
    wait_for("the station to know", || {
        let told = rig.json(&["status"])["ledger"]["detail"].as_str()?.to_owned();
        told.contains("its file system is full").then_some(())
    });
    let last = rig.attached("C", 160, 512);
    rig.wait_refused(&last.serial, "ledger_unavailable");
    assert_eq!(told(&last.serial), 0, "it was not even claimed");
    fs::remove_file(&filler).unwrap();
    rig.wait_state(&last.serial, &["passed"]);
    rig.kill();
}
