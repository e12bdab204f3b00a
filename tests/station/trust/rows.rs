//! The rows of the ledger: many of them, some that cannot be read, a damaged ledger, and who may read it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use super::record::{ask, beside, start_fails};
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, told, wait_for};

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
    let drive = rig.attached("A", 160, 512);
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
    let drives = ["A", "B"].map(|name| rig.attached(name, 160, 512));
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
    let drive = rig.attached("A", 160, 512);
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
        said.contains("ledger.db") && said.contains(".dump") && said.contains("--ledger new");
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
        && (child.1.contains(".dump") || child.1.contains("malformed"));
    Case {
        line: "D.17",
        tried: "noise from its third page on",
        right: "named",
        before: "a bare error",
    }
    .saw(if named { "named" } else { &child.1 });
    // The remedy, as it is told, saves the records of the pages that are sound.
    fs::write(&ledger, [&whole[..whole.len() / 4 * 3], &vec![0x5a; whole.len() / 4][..]].concat())
        .unwrap();
    let saved = rig.path("saved.db");
    let remedy = said.split('`').find(|part| part.starts_with("{ sqlite3 ")).unwrap();
    let remedy = remedy.replace("NEW", saved.to_str().unwrap());
    told(Command::new("sh").args(["-c", &remedy]));
    let rows = run("sqlite3", &[saved.to_str().unwrap(), "SELECT count(*) FROM records"]);
    let most = rows.trim().parse::<u32>().unwrap() > 250;
    Case {
        line: "D.17",
        tried: "the remedy, a quarter of the ledger being noise",
        right: "most records are saved",
        before: "not tried",
    }
    .saw(if most { "most records are saved" } else { &rows });
    fs::rename(&saved, &ledger).unwrap();
    let decided = told(rig.command().args(["--ledger", "found"]));
    assert_eq!(decided.0, 0, "{}", decided.1);
    rig.start();
    // The last row that was saved may be one that is cut off.
    let (code, said) = rig.ctl(&["records"]);
    assert!(code == 0 || said.contains("cannot be read"), "{code}: {said}");
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
    let drive = rig.attached("A", 160, 512);
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
