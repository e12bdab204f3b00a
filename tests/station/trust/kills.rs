//! A station that is killed at random moments while it images drives. After each restart every invariant is checked.
//!
//! `PRESTAGED_SEED` repeats a run as far as the machine lets it; each run prints its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::thread;
use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::Value;
use uuid::Uuid;

use super::Case;
use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, sample, wait_for};

const SECTOR: u64 = 512;

/// The disk GUIDs in the GPT headers that stand on a drive.
fn disk_guids(drive: &Drive) -> Vec<Uuid> {
    let file = File::open(&drive.file).unwrap();
    let size = file.metadata().unwrap().len();
    let header = |at: u64| {
        let mut sector = [0; 512];
        file.read_exact_at(&mut sector, at).unwrap();
        let guid = Uuid::from_bytes_le(sector[56..72].try_into().unwrap());
        sector.starts_with(b"EFI PART").then_some(guid)
    };
    [SECTOR, size - SECTOR].into_iter().filter_map(header).collect()
}

/// The rows of the ledger's file, past the station: job, verdict, and what the record says.
fn rows(rig: &Rig, condition: &str) -> Vec<(String, Option<String>, Value)> {
    let sql =
        format!("SELECT json_array(job, verdict, json(record)) FROM records WHERE {condition}");
    let ledger = rig.path("ledger.db");
    let found = run("sqlite3", &["-cmd", ".timeout 10000", ledger.to_str().unwrap(), &sql]);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        (text(&row[0]).unwrap(), text(&row[1]), row[2].clone())
    };
    found.lines().map(row).collect()
}

/// What was seen of the jobs before any kill: their verdicts, if they had one.
type Seen = BTreeMap<String, Option<String>>;

/// Notes what the station says of its jobs now.
fn look(rig: &Rig, since: &str, seen: &mut Seen) {
    for record in rig.json(&["records", "--since", since]).as_array().unwrap() {
        let job = record["job"].as_str().unwrap().to_owned();
        seen.insert(job, record["verdict"].as_str().map(str::to_owned));
    }
}

/// Everything that must be so after a restart, once each drive has its verdict.
fn check(rig: &Rig, drives: &[Drive], seen: &Seen) -> BTreeMap<String, u32> {
    assert_eq!(rows(rig, "verdict IS NULL").len(), 0, "open rows");
    let all: BTreeMap<_, _> =
        rows(rig, "1").into_iter().map(|(job, verdict, _)| (job, verdict)).collect();
    for (job, verdict) in seen {
        let now = all.get(job).unwrap_or_else(|| panic!("the row of job {job} is lost"));
        let kept = verdict.is_none() || verdict.as_deref() == Some("refused") || now == verdict;
        assert!(kept, "job {job} was {verdict:?} and is {now:?}");
    }
    let mut verdicts = BTreeMap::new();
    for drive in drives {
        let serial = &drive.serial;
        let shown = rig.drive_status(serial).unwrap();
        let condition = format!("serial = '{serial}' ORDER BY rowid DESC LIMIT 20");
        let found = rows(rig, &condition);
        let (job, verdict, record) = &found[0];
        assert_eq!(shown["verdict"].as_str(), verdict.as_deref(), "{serial}: screen and ledger");
        assert_eq!(record["verdict"].as_str(), verdict.as_deref(), "{job}: column and record");
        assert_ne!(verdict.as_deref(), Some("refused"), "{record:#}");
        if let Some((_, _, before)) = found.get(1) {
            assert_ne!(record["diskseq"], before["diskseq"], "{serial}: two rows of one insertion");
        }
        let own: Option<Uuid> =
            record["identity"]["disk_guid"].as_str().map(|g| g.parse().unwrap());
        if verdict.as_deref() == Some("passed") {
            assert_eq!(disk_guids(drive), [own.unwrap(); 2], "{serial} passed in job {job}");
        } else {
            // A job that was killed before its first byte leaves the drive as it was: as an earlier job has left it,
            // perhaps with others in between that were killed so early, too.
            let stopped = |verdict: &Option<String>| verdict.as_deref() == Some("stopped");
            let earlier = found.iter().find(|(_, verdict, _)| !stopped(verdict));
            let earlier = earlier.filter(|(_, verdict, _)| verdict.as_deref() == Some("passed"));
            let earlier =
                earlier.and_then(|(_, _, record)| record["identity"]["disk_guid"].as_str());
            let earlier: Option<Uuid> = earlier.map(|guid| guid.parse().unwrap());
            wait_for(&format!("{serial}, {verdict:?}, to have no table"), || {
                let guids = disk_guids(drive);
                let untouched = earlier.is_some_and(|earlier| guids == [earlier; 2]);
                (guids.is_empty() || untouched).then_some(())
            });
        }
        *verdicts.entry(verdict.clone().unwrap()).or_insert(0) += 1;
    }
    for entry in fs::read_dir(rig.path("store")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("press-"), "{name} is left in the store");
    }
    for entry in fs::read_dir(rig.path("store/masters")).unwrap() {
        assert!(entry.unwrap().path().join("manifest.json").exists(), "half a master");
    }
    verdicts
}

fn kill_at_random(kills: u32) {
    let seed = std::env::var("PRESTAGED_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let _ = writeln!(std::io::stderr(), "PRESTAGED_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let rig = Rig::new(Setup::default().set("admission.reimage", true));
    rig.add_media(&sample(&["--compress=none"]), "win.wim");
    rig.start();
    rig.wait_media("win.wim", "valid");
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", "160MiB"]);
    let drives = ["A", "B", "C"].map(|name| rig.drive(name, 160));
    let (mut seen, mut verdicts) = (Seen::new(), BTreeMap::new());
    for kill in 1..=kills {
        if chance.u8(..10) == 0 {
            // Then the kill falls into a press, or what follows it.
            for master in rig.json(&["master", "list"]).as_array().unwrap() {
                rig.ctl_ok(&["master", "remove", master["id"].as_str().unwrap()]);
            }
        }
        for drive in &drives {
            drive.attach(&[]);
        }
        // The moment of the kill is what is tried.
        thread::sleep(Duration::from_millis(chance.u64(..1500)));
        look(&rig, "1m", &mut seen);
        thread::sleep(Duration::from_millis(chance.u64(..100)));
        rig.kill();
        rig.start();
        for drive in &drives {
            rig.wait_state(&drive.serial, &["passed", "failed", "stopped", "refused"]);
            rig.wait_recorded(&drive.serial);
        }
        for (verdict, count) in check(&rig, &drives, &seen) {
            *verdicts.entry(verdict).or_insert(0) += count;
        }
        if kill == kills || kill % 25 == 0 {
            let ledger = rig.path("ledger.db");
            let sound = run("sqlite3", &[ledger.to_str().unwrap(), "PRAGMA integrity_check"]);
            assert_eq!(sound.trim(), "ok");
            rig.wait_media("win.wim", "valid");
            for drive in &drives {
                if rig.drive_status(&drive.serial).unwrap()["verdict"] == "passed" {
                    rig.ctl_ok(&["audit", &drive.node()]);
                }
            }
            let _ =
                writeln!(std::io::stderr(), "{kill} kills: {verdicts:?}, {} jobs seen", seen.len());
        }
        drives.iter().for_each(Drive::detach);
        drives.iter().for_each(|drive| rig.wait_gone(&drive.serial));
    }
    Case {
        line: "D",
        tried: "kills at random moments, three drives at once",
        right: "no row lost, no false pass",
        before: "not tried",
    }
    .saw("no row lost, no false pass");
}

#[apply(test!)]
#[needs(LOOP)]
fn four_kills_lose_nothing() {
    kill_at_random(4);
}

#[apply(test!)]
#[needs(LOOP, LONG)]
fn a_thousand_kills_lose_nothing() {
    kill_at_random(1000);
}
