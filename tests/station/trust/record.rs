//! The record: a ledger whose files are taken away, replaced or damaged under the station; a second station; many rows.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{FaultyDrive, slow};
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, told, wait_for};

/// Asks the file at the ledger's path, past the station.
fn ask(rig: &Rig, sql: &str) -> String {
    let ledger = rig.path("ledger.db");
    run("sqlite3", &["-cmd", ".timeout 10000", ledger.to_str().unwrap(), sql]).trim().to_owned()
}

/// What is done to the ledger while a drive is written.
type Game = (&'static str, fn(&Rig));

fn beside(rig: &Rig, ending: &str) -> std::path::PathBuf {
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
            (code == 0 && found.trim() == "1").then_some(())
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
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "420MiB"]);
    let drive = FaultyDrive::new(&rig, "A", 420, slow(4));
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
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "420MiB"]);
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
        let first = FaultyDrive::new(&rig, &format!("A{number}"), 420, slow(4));
        first.attach(&[]);
        rig.wait_state(&first.serial, &["writing"]);
        take();
        let second = rig.drive(&format!("B{number}"), 420);
        let before = second.contents();
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
        let first = rig.attached("Z", 420, 512);
        rig.wait_pass(&first.serial);
        ask(&rig, &format!("VACUUM INTO '{}'", rig.path("backup.db").display()));
        let drive = FaultyDrive::new(&rig, "A", 420, slow(6));
        drive.attach(&[]);
        rig.wait_state(&drive.serial, &["writing"]);
        wait_for("the log to be brought in", || {
            (fs::metadata(beside(&rig, "-wal")).unwrap().len() == 0).then_some(())
        });
        game(&rig);
        let told = wait_for("the trouble", || {
            rig.json(&["status"])["ledger"]["detail"].as_str().map(str::to_owned)
        });
        let other = rig.drive("B", 420);
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
    let first = rig.attached("A", 420, 512);
    rig.wait_pass(&first.serial);
    ask(&rig, "DELETE FROM records");
    let second = rig.attached("B", 420, 512);
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
fn start_fails(rig: &Rig) -> String {
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
    let drive = rig.attached("A", 420, 512);
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
    let drive = FaultyDrive::new(&rig, "A", 420, slow(8));
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

/// The most memory that a process has had so far, in MiB.
fn peak(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
}

/// Fills the ledger with copies of a record.
fn multiply(rig: &Rig, serial: &str, count: u32) {
    ask(
        rig,
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}), \
             new(i, job, record) AS MATERIALIZED (SELECT i, lower(hex(randomblob(16))), record FROM n, records \
             WHERE serial = '{serial}' LIMIT {count}) \
             INSERT INTO records SELECT job, 'old', i, 'S' || i, NULL, 'passed', json_extract(record, '$.opened'), \
             json_set(record, '$.job', job, '$.serial', 'S' || i) FROM new"
        ),
    );
}

/// Lists all records in each form; returns how many came, and the most memory that a prestagectl had.
fn list_all(rig: &Rig, forms: &[&[&str]]) -> Vec<(usize, u64)> {
    let list = |form: &&[&str]| {
        let path = rig.path("listed");
        let out = File::create(&path).unwrap();
        let mut child = rig.prestagectl().args(*form).stdout(out).spawn().unwrap();
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            most = peak(&child.id().to_string()).unwrap_or(0).max(most);
            thread::sleep(Duration::from_millis(2));
        }
        let text = fs::read_to_string(&path).unwrap();
        let count = match serde_json::from_str::<Vec<Value>>(&text) {
            Ok(records) => records.len(),
            Err(_) => text.lines().count() - 1,
        };
        (count, most)
    };
    forms.iter().map(list).collect()
}

fn memory_stays_flat(rows: u32) {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 420, 512);
    rig.wait_pass(&drive.serial);
    multiply(&rig, &drive.serial, rows);
    let pid = rig.pid().to_string();
    let before = peak(&pid).unwrap();
    // Clients that ask for everything and read nothing.
    let silent: Vec<UnixStream> = (0..10)
        .map(|_| {
            let mut stream = UnixStream::connect(rig.path("control.sock")).unwrap();
            stream.write_all(b"GET /v1/records HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let forms: [&[&str]; 3] = [&["--json", "records"], &["records", "--csv"], &["records"]];
    let listed = list_all(&rig, &forms);
    let grown = peak(&pid).unwrap() - before;
    drop(silent);
    let whole = usize::try_from(rows).unwrap() + 1;
    assert!(listed.iter().all(|(count, _)| *count == whole), "{listed:?}");
    let most = listed.iter().map(|(_, most)| *most).max().unwrap();
    let job = rig.records(&drive.serial)[0]["job"].as_str().unwrap().to_owned();
    let mut stream = UnixStream::connect(rig.path("control.sock")).unwrap();
    write!(stream, "GET /v1/records/{job} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(&job), "{answer}");
    let flat = grown < 64 && most < 48;
    Case {
        line: "D.16",
        tried: "all records at once, and clients that do not read",
        right: "memory is bounded",
        before: "3.4 GiB with 200,000 rows and six clients",
    }
    .saw(&if flat {
        "memory is bounded".into()
    } else {
        format!("daemon +{grown} MiB, prestagectl {most} MiB")
    });
    let _ = writeln!(
        std::io::stderr(),
        "{rows} rows: daemon +{grown} MiB, prestagectl {most} MiB at most"
    );
}

#[apply(test!)]
#[needs(LOOP)]
fn many_records_take_little_memory() {
    memory_stays_flat(20_000);
}

#[apply(test!)]
#[needs(LOOP, LONG)]
fn very_many_records_take_no_more_memory() {
    memory_stays_flat(200_000);
}

/// One row that is no record hides no other.
#[apply(test!)]
#[needs(LOOP)]
fn a_row_that_cannot_be_read_is_told_and_skipped() {
    let rig = Rig::started(Setup::default());
    let drives = ["A", "B"].map(|name| rig.attached(name, 420, 512));
    for drive in &drives {
        rig.wait_pass(&drive.serial);
    }
    let bad = rig.records(&drives[0].serial)[0]["job"].as_str().unwrap().to_owned();
    let good = rig.records(&drives[1].serial)[0]["job"].as_str().unwrap().to_owned();
    let damages = [
        (
            "a field of a later version",
            "replace(record, '\"verdict\":\"passed\"', '\"verdict\":\"maybe\"')",
        ),
        ("half a record", "substr(record, 1, 100)"),
        ("no text", "CAST(x'ff00fe' AS TEXT)"),
    ];
    for (tried, sql) in damages {
        ask(&rig, &format!("UPDATE records SET record = {sql} WHERE job = '{bad}'"));
        let mut all = true;
        for form in
            [&["--json", "records"][..], &["records", "--csv"], &["records", "--verdict", "passed"]]
        {
            let output = rig.prestagectl().args(form).output().unwrap();
            let (out, told) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let shown = out.contains(&good) || out.contains(&drives[1].serial);
            all &= output.status.code() == Some(1)
                && shown
                && told.contains(&bad)
                && told.contains("hint: ");
            if form[0] == "--json" {
                all &= serde_json::from_str::<Vec<Value>>(&out).unwrap().len() == 1;
            }
        }
        Case {
            line: "D.16",
            tried,
            right: "the others are shown, the job is named",
            before: "records was an error",
        }
        .saw(if all { "the others are shown, the job is named" } else { "not so" });
    }
    // It neither keeps the station from starting nor hides the other drive's record.
    ask(&rig, &format!("UPDATE records SET verdict = NULL WHERE job = '{bad}'"));
    rig.kill();
    rig.start();
    rig.ctl_ok(&["records", "--serial", &drives[1].serial]);
}

/// A ledger that is no database, or one whose pages are noise.
#[apply(test!)]
#[needs(LOOP)]
fn a_damaged_ledger_is_named_with_its_remedy() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 420, 512);
    rig.wait_pass(&drive.serial);
    multiply(&rig, &drive.serial, 500);
    rig.terminate();
    assert!(rig.wait_end());
    let ledger = beside(&rig, "");
    let whole = fs::read(&ledger).unwrap();
    let noise = |from: usize| {
        let mut bytes = whole.clone();
        bytes[from..]
            .iter_mut()
            .enumerate()
            .for_each(|(at, byte)| *byte = (at * 7 + 13).to_le_bytes()[0]);
        fs::write(&ledger, bytes).unwrap();
    };
    noise(0);
    let said = start_fails(&rig);
    let named =
        said.contains("ledger.db") && said.contains(".recover") && said.contains("--ledger new");
    Case {
        line: "D.17",
        tried: "noise in place of the ledger",
        right: "named, with a remedy",
        before: "a bare error",
    }
    .saw(if named { "named, with a remedy" } else { &said });
    // With a sound first page the station may start; then nothing is written, and whoever asks is told.
    noise(8192);
    let child = told(Command::new("timeout").args(["-s", "KILL", "5"]).args(words(&rig)));
    let named = child.1.contains("ledger.db")
        && (child.1.contains(".recover") || child.1.contains("malformed"));
    Case {
        line: "D.17",
        tried: "noise from its third page on",
        right: "named",
        before: "a bare error",
    }
    .saw(if named { "named" } else { &child.1 });
}

/// The command line of the daemon.
fn words(rig: &Rig) -> Vec<String> {
    let command = rig.command();
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_str().unwrap().to_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[apply(test!)]
#[needs(LOOP)]
fn ledger_and_store_are_not_for_everybody() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 420, 512);
    rig.wait_pass(&drive.serial);
    rig.kill();
    // As an older version has left them.
    for ending in ["", "-wal", "-shm"] {
        fs::set_permissions(beside(&rig, ending), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(rig.path("store/masters"), fs::Permissions::from_mode(0o755)).unwrap();
    rig.start();
    let modes = ["", "-wal", "-shm"].map(|ending| mode(&beside(&rig, ending)) & 0o007);
    let masters = mode(&rig.path("store/masters")) & 0o077;
    let closed = modes == [0; 3] && masters == 0;
    Case {
        line: "D.17",
        tried: "files of an older version, mode 0644",
        right: "closed to others",
        before: "readable",
    }
    .saw(&if closed { "closed to others".into() } else { format!("{modes:?} {masters:o}") });
    // Compacting it makes no file for everybody either.
    fs::remove_file(beside(&rig, "")).unwrap();
    wait_for("the ledger to be written anew", || beside(&rig, "").exists().then_some(()));
    assert_eq!(mode(&beside(&rig, "")) & 0o007, 0);
}
