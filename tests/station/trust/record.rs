//! The record: a ledger whose files are taken away, replaced or overwritten under the station, and a second station.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use macro_rules_attribute::apply;

use super::Case;
use crate::harness::faulty::{FaultyDrive, slow};
use crate::harness::sample::run;
use crate::harness::{Ext4, Rig, Setup, told, wait_for};

/// Asks the file at the ledger's path, past the station.
pub(super) fn ask(rig: &Rig, sql: &str) -> String {
    let ledger = rig.path("ledger.db");
    run("sqlite3", &["-cmd", ".timeout 10000", ledger.to_str().unwrap(), sql]).trim().to_owned()
}

/// What is done to the ledger while a drive is written.
type Game = (&'static str, fn(&Rig));

pub(super) fn beside(rig: &Rig, ending: &str) -> std::path::PathBuf {
    rig.path(&format!("ledger.db{ending}"))
}

fn delete(rig: &Rig, endings: &[&str]) {
    endings.iter().for_each(|ending| fs::remove_file(beside(rig, ending)).unwrap());
}

const GAMES: [Game; 8] = [
    ("deleted", |rig| delete(rig, &[""])),
    ("deleted with -wal and -shm", |rig| delete(rig, &["", "-wal", "-shm"])),
    ("-wal deleted", |rig| delete(rig, &["-wal"])),
    ("-shm deleted", |rig| delete(rig, &["-shm"])),
    ("compacted by VACUUM INTO and mv", |rig| {
        ask(rig, &format!("VACUUM INTO '{}'", beside(rig, ".new").display()));
        fs::rename(beside(rig, ".new"), beside(rig, "")).unwrap();
    }),
    // Such a copy lacks what stands in the write-ahead log alone.
    ("replaced by cp and mv", |rig| {
        fs::copy(beside(rig, ""), beside(rig, ".new")).unwrap();
        fs::rename(beside(rig, ".new"), beside(rig, "")).unwrap();
    }),
    ("replaced by an older backup", |rig| {
        fs::copy(rig.path("backup.db"), beside(rig, ".new")).unwrap();
        fs::rename(beside(rig, ".new"), beside(rig, "")).unwrap();
    }),
    ("-wal truncated", |rig| {
        // The station brings the log into the database every second.
        wait_for("the one file to have the open row", || {
            let copy = rig.path("copy.db");
            fs::copy(beside(rig, ""), &copy).unwrap();
            let sql = "SELECT count(*) FROM records WHERE verdict IS NULL";
            let (code, found) = told(Command::new("sqlite3").arg(&copy).arg(sql));
            // What came after the last time must have been brought in, too.
            let written = |ending| fs::metadata(beside(rig, ending)).unwrap();
            let (file, log) = (written(""), written("-wal"));
            let all = log.len() == 0 || file.modified().unwrap() > log.modified().unwrap();
            (code == 0 && found.trim() == "1" && all).then_some(())
        });
        File::options().write(true).open(beside(rig, "-wal")).unwrap().set_len(0).unwrap();
    }),
];

/// Whatever becomes of the files, a drive that is shown as passed has its row in the file at the path, the log tells what
/// happened, and the station goes on; also a kill loses nothing then.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_ledger_that_is_taken_away_loses_no_record() {
    let rig = Rig::started(Setup::default().set("admission.reimage", true));
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "160MiB"]);
    let drive = FaultyDrive::new(&rig, "A", 160, slow(4));
    for (count, (tried, game)) in GAMES.into_iter().enumerate() {
        if count > 0 {
            let backup = rig.path("backup.db");
            if !backup.exists() {
                ask(&rig, &format!("VACUUM INTO '{}'", backup.display()));
            }
        }
        let before = rig.log().len();
        drive.attach(&[]);
        rig.wait_state(&drive.serial, &["writing"]);
        game(&rig);
        rig.wait_state(&drive.serial, &["passed", "failed"]);
        let sql = format!("SELECT verdict FROM records WHERE serial = '{}'", drive.serial);
        let at_path = ask(&rig, &sql).lines().filter(|line| *line == "passed").count();
        // Where the log had been brought in, nothing was lost.
        let is_told = tried != "-wal truncated";
        let right = if is_told { "recorded, told, kept" } else { "recorded, kept" };
        if is_told {
            wait_for("the log", || {
                let log = rig.log();
                log[before..]
                    .lines()
                    .any(|line| {
                        line.contains("ledger ")
                            && (line.contains("ERROR") || line.contains("WARN"))
                    })
                    .then_some(())
            });
        }
        drive.detach();
        rig.wait_gone(&drive.serial);
        rig.kill();
        rig.start();
        rig.wait_media("win.wim", "valid");
        let kept = rig.records(&drive.serial).iter().filter(|r| r["verdict"] == "passed").count();
        let sound = ask(&rig, "PRAGMA integrity_check");
        let case = Case { line: "D.14", tried, right, before: "passed, no row, nothing logged" };
        let all = (at_path, kept, sound.as_str()) == (count + 1, count + 1, "ok");
        case.saw(&if all {
            right.to_owned()
        } else {
            format!("{at_path} and {kept} of {} rows; {sound}", count + 1)
        });
    }
}

/// What takes a ledger out of reach, and what gives it back.
type Outage<'a> = (&'static str, &'a dyn Fn(), &'a dyn Fn());

/// A ledger that is out of reach: the drive waits for its record, no other is touched, and when the ledger is back both go
/// on by themselves.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_ledger_that_is_out_of_reach_holds_everything_up() {
    let rig = Rig::new(Setup::default());
    fs::create_dir(rig.path("state")).unwrap();
    rig.set("ledger.path", rig.path("state/ledger.db").to_str().unwrap());
    rig.start_with_media();
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "160MiB"]);
    let (state, away) = (rig.path("state"), rig.path("away"));
    let games: [Outage<'_>; 2] = [
        ("its folder renamed", &|| fs::rename(&state, &away).unwrap(), &|| {
            fs::rename(&away, &state).unwrap();
        }),
        (
            "an empty file system mounted over its folder",
            &|| drop(run("mount", &["-t", "tmpfs", "none", state.to_str().unwrap()])),
            &|| drop(run("umount", &[state.to_str().unwrap()])),
        ),
    ];
    for (number, (tried, take, give)) in games.into_iter().enumerate() {
        let first = FaultyDrive::new(&rig, &format!("A{number}"), 160, slow(4));
        first.attach(&[]);
        rig.wait_state(&first.serial, &["writing"]);
        take();
        let second = rig.drive(&format!("B{number}"), 160);
        let before = second.checksum();
        second.attach(&[]);
        rig.wait_refused(&second.serial, "ledger_unavailable");
        wait_for("the first one to be written", || {
            let drive = rig.drive_status(&first.serial)?;
            (drive["state"] == "committing" && drive["percent"].as_f64()? > 99.9).then_some(())
        });
        assert!(rig.json(&["status"])["ledger"]["detail"].is_string(), "status tells it");
        rig.ctl_fails(1, &["records"]);
        let shown = rig.drive_status(&first.serial).unwrap()["verdict"].clone();
        second.assert_untouched(&before);
        give();
        let record = rig.wait_pass(&first.serial);
        wait_for("the second one", || {
            rig.records(&second.serial).pop().filter(|record| record["verdict"] == "passed")
        });
        let count = (rig.records(&first.serial).len(), rig.records(&second.serial).len());
        let case = Case {
            line: "D.14",
            tried,
            right: "null, then passed; the other refused, then passed",
            before: "passed, no row, nothing logged",
        };
        assert_eq!(count, (1, 1));
        case.saw(&format!(
            "{shown}, then {}; the other refused, then passed",
            record["verdict"].as_str().unwrap()
        ));
    }
    rig.kill();
}

/// What another program writes into the file itself cannot be mended, but nothing is written on top of it, and no drive is
/// shown as passed.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_ledger_that_is_overwritten_is_told() {
    let games: [Game; 2] = [
        ("truncated", |rig| {
            File::options().write(true).open(beside(rig, "")).unwrap().set_len(0).unwrap()
        }),
        ("an older backup copied over it", |rig| {
            assert!(fs::copy(rig.path("backup.db"), beside(rig, "")).unwrap() > 0);
        }),
    ];
    for (tried, game) in games {
        let rig = Rig::started(Setup::default());
        let first = rig.attached("Z", 160, 512);
        rig.wait_pass(&first.serial);
        ask(&rig, &format!("VACUUM INTO '{}'", rig.path("backup.db").display()));
        let drive = FaultyDrive::new(&rig, "A", 160, slow(6));
        drive.attach(&[]);
        rig.wait_state(&drive.serial, &["writing"]);
        wait_for("the log to be brought in", || {
            (fs::metadata(beside(&rig, "-wal")).unwrap().len() == 0).then_some(())
        });
        game(&rig);
        let told = wait_for("the trouble", || {
            rig.json(&["status"])["ledger"]["detail"].as_str().map(str::to_owned)
        });
        let other = rig.drive("B", 160);
        other.attach(&[]);
        rig.wait_refused(&other.serial, "ledger_unavailable");
        wait_for("the drive to be written", || {
            let shown = rig.drive_status(&drive.serial)?;
            (shown["state"] == "committing" && shown["percent"].as_f64()? > 99.9).then_some(())
        });
        let shown = rig.drive_status(&drive.serial).unwrap()["verdict"].clone();
        assert!(rig.log().contains("overwritten"), "{}", rig.log());
        let now = if told.contains("overwritten") { "told" } else { &told };
        Case { line: "D.14", tried, right: "told; the drive: null", before: "passed, no row" }
            .saw(&format!("{now}; the drive: {shown}"));
        rig.kill();
    }
}

/// A row that is changed behind the station's back does not become another verdict, and an emptied table is noticed.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn rows_that_are_deleted_are_missed() {
    let rig = Rig::started(Setup::default());
    let first = rig.attached("A", 160, 512);
    rig.wait_pass(&first.serial);
    ask(&rig, "DELETE FROM records");
    let second = rig.attached("B", 160, 512);
    rig.wait_refused(&second.serial, "ledger_unavailable");
    let detail = rig.decision(&second.serial)["detail"].as_str().unwrap().to_owned();
    let now = if detail.contains("older than") { "refused ledger_unavailable" } else { &detail };
    Case {
        line: "D.14",
        tried: "DELETE FROM records",
        right: "refused ledger_unavailable",
        before: "passed",
    }
    .saw(now);
}

/// What a start that is refused says: its exit code, the error, and the hint.
pub(super) fn start_fails(rig: &Rig) -> String {
    let (code, text) = told(&mut rig.command());
    assert_eq!(code, 78, "{text}");
    let lines = text.lines().filter(|l| l.starts_with("prestaged: ") || l.starts_with("hint: "));
    lines.collect::<Vec<_>>().join("\n")
}

/// A station that has had a ledger does not begin another one, nor go on with an old one, without being told.
#[apply(test!)]
#[needs(LOOP)]
fn a_station_misses_its_ledger_when_it_starts() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    ask(&rig, &format!("VACUUM INTO '{}'", rig.path("backup.db").display()));
    rig.ctl_ok(&["retry", &drive.serial]);
    rig.terminate();
    assert!(rig.wait_end());
    let whole = rig.path("whole.db");
    fs::copy(beside(&rig, ""), &whole).unwrap();
    assert!(fs::metadata(beside(&rig, "-wal")).map_or(0, |log| log.len()) == 0, "one file has all");
    let clear = || ["", "-wal", "-shm"].map(|ending| drop(fs::remove_file(beside(&rig, ending))));
    let games: [(&str, &dyn Fn(), &str); 4] = [
        ("deleted while the station was stopped", &|| (), "it is missing"),
        ("emptied", &|| drop(File::create(beside(&rig, "")).unwrap()), "it is missing or empty"),
        (
            "replaced by an older backup",
            &|| assert!(fs::copy(rig.path("backup.db"), beside(&rig, "")).unwrap() > 0),
            "it is older",
        ),
        (
            "replaced by another station's",
            &|| {
                drop(run(
                    "sqlite3",
                    &[beside(&rig, "").to_str().unwrap(), "PRAGMA user_version = 7"],
                ))
            },
            "it is",
        ),
    ];
    for (tried, game, word) in games {
        clear();
        game();
        let said = start_fails(&rig);
        let found = said.contains(word) && said.contains("--ledger ") && said.contains("ledger.db");
        Case { line: "D.14", tried, right: "told at the start", before: "a new ledger, silently" }
            .saw(if found { "told at the start" } else { &said });
    }
    // An administrator decides.
    clear();
    fs::copy(rig.path("backup.db"), beside(&rig, "")).unwrap();
    let decide = |choice| told(rig.command().args(["--ledger", choice]));
    let (code, text) = decide("found");
    assert_eq!(code, 0, "{text}");
    rig.start();
    assert_eq!(rig.records(&drive.serial).len(), 1);
    assert_eq!(decide("new").0, 78, "not under a running station");
    rig.terminate();
    assert!(rig.wait_end());
    let (code, text) = decide("new");
    assert_eq!(code, 0, "{text}");
    rig.start();
    assert_eq!(rig.records(&drive.serial).len(), 0);
    let aside = text.split_whitespace().nth(3).unwrap().trim_end_matches(';').to_owned();
    assert_eq!(run("sqlite3", &[&aside, "SELECT count(*) FROM records"]).trim(), "1", "{text}");
}

/// A second station with a store and a socket of its own, which finds the ledger of the first by another name.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_second_station_leaves_the_ledger_of_the_first_alone() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 160, slow(8));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    let link = rig.path("link.db");
    symlink(rig.path("ledger.db"), &link).unwrap();
    let hard = rig.path("hard.db");
    fs::hard_link(rig.path("ledger.db"), &hard).unwrap();
    let config = fs::read_to_string(rig.path("prestaged.toml")).unwrap();
    let second = rig.path("second.toml");
    let own = config
        .replace(rig.path("store").to_str().unwrap(), rig.path("store2").to_str().unwrap())
        .replace(
            rig.path("control.sock").to_str().unwrap(),
            rig.path("second.sock").to_str().unwrap(),
        );
    let mut said = Vec::new();
    for path in [rig.path("ledger.db"), link, hard.clone()] {
        let ledger = rig.path("ledger.db");
        fs::write(&second, own.replace(ledger.to_str().unwrap(), path.to_str().unwrap())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestaged"));
        let (code, text) = told(command.arg("--config").arg(&second).stdin(Stdio::null()));
        said.push(
            code == 78
                && text.contains("another prestaged uses it")
                && text.contains("hint: end the other one"),
        );
    }
    fs::remove_file(hard).unwrap();
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(rig.records(&drive.serial).len(), 1);
    let refused = if said == [true; 3] { "refused to start" } else { "started" };
    Case {
        line: "D.15",
        tried: "a second station with the ledger of the first",
        right: "refused to start; the first: passed",
        before: "stopped station_interrupted",
    }
    .saw(&format!("{refused}; the first: {}", record["verdict"].as_str().unwrap()));
}

#[apply(test!)]
#[needs(LOOP, LONG)]
fn a_ledger_whose_file_system_stands_still() {
    let rig = Rig::new(Setup::default());
    let at = rig.path("kept");
    let disk = Ext4::mount(&rig.path("disk"), &at, 64);
    rig.set("ledger.path", at.join("ledger.db").to_str().unwrap());
    rig.start_with_media();
    rig.wait_pass(&rig.attached("A", 160, 512).serial);
    let frozen = disk.freeze();
    let drive = rig.drive("B", 160);
    let before = drive.checksum();
    drive.attach(&[]);
    let told = wait_for("the silence to be told", || {
        rig.json(&["status"])["ledger"]["detail"].as_str().map(str::to_owned)
    });
    let tried = "the ledger's file system takes no writes and does not answer";
    let case = |right| Case { line: "D.14", tried, right, before: "nothing was said" };
    let said = told.contains("does not answer");
    case("told in status").saw(if said { "told in status" } else { &told });
    drive.assert_untouched(&before);
    drop(frozen);
    rig.wait_pass(&drive.serial);
    wait_for("the ledger to be usable", || rig.json(&["status"])["ledger"].is_null().then_some(()));
    assert_eq!(rig.records(&drive.serial).len(), 1);
    // The station ends all the same, as far as the kernel lets it.
    let frozen = disk.freeze();
    let drive = rig.drive("C", 160);
    drive.attach(&[]);
    wait_for("the silence to be told", || {
        rig.json(&["status"])["ledger"]["detail"].as_str().map(|_| ())
    });
    for said in ["told to end:", "told to end again", "prestaged ends"] {
        rig.terminate();
        wait_for(said, || rig.log().contains(said).then_some(()));
    }
    drop(frozen);
    assert!(rig.wait_end());
    drop(disk);
}
