//! The rack: the package on a real Debian with systemd and udev, in a machine that drives are plugged into.
//!
//! Each scenario gets a machine of its own, restored from one that was saved with the package installed, media checked and
//! a master pressed. Scenarios that take minutes run with `PRESTAGED_LONG=1`. Each prints how long it took.

mod faults;
mod health;
mod hotplug;
mod many;
mod orders;
mod service;
mod set_up;
mod verify;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prestaged_rack::{Cargo, Guest, Machine, Ready, Spec, ready};
use serde_json::Value;

use crate::harness::sample::Sample;
use crate::harness::sample_of;
use crate::package::packages;

/// How long a verdict may take: an emulated processor hashes some 30 MB/s, and all drives share two of them.
const PATIENCE: Duration = Duration::from_secs(400);

fn saved() -> &'static Ready {
    static READY: OnceLock<Ready> = OnceLock::new();
    READY.get_or_init(|| {
        let start = Instant::now();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let small = Sample { files: 60, bytes: 6 << 20, ..Sample::default() };
        let wim = sample_of(&small, &["--compress=LZX"]);
        let package = |name: &str| packages().join(name);
        let cargo = Cargo::default()
            .with(ready::PACKAGE, &package("1.deb"))
            .with("newer.deb", &package("2.deb"))
            .with(ready::MEDIA, &wim);
        let ready = Ready::made(&target.join("rack"), "test", &cargo).unwrap();
        say(&format!("the rack was ready after {:.1} s", start.elapsed().as_secs_f64()));
        ready
    })
}

/// Prints a line, whatever becomes of the test.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "rack: {line}");
}

/// A machine of one scenario.
pub(crate) struct Rack {
    machine: Machine,
    name: String,
    start: Instant,
}

impl Rack {
    /// Restores a machine that is ready, for the scenario of this name.
    fn restored(name: &str) -> Self {
        let ready = saved();
        let start = Instant::now();
        let machine = ready.machine().unwrap();
        Self { machine, name: name.to_owned(), start }
    }

    fn guest(&mut self) -> &mut Guest {
        self.machine.guest()
    }

    /// Runs a script in the guest, which must exit with 0; returns what it printed.
    fn done(&mut self, script: &str) -> String {
        self.guest().done(script).unwrap()
    }

    fn plug(&mut self, spec: &Spec) {
        self.machine.plug(spec).unwrap();
    }

    fn unplug(&mut self, serial: &str) {
        self.machine.unplug(serial).unwrap();
    }

    /// Runs `prestagectl --json` in the guest; returns the document that it printed.
    fn ctl(&mut self, words: &str) -> Value {
        self.guest().json(&format!("prestagectl --json {words}")).unwrap()
    }

    /// Returns all records of a serial number, oldest first.
    fn records(&mut self, serial: &str) -> Vec<Value> {
        self.ctl(&format!("records --serial {serial}")).as_array().unwrap().clone()
    }

    /// Waits until `probe` gives something; shows the station's log if it never does.
    fn wait<T>(&mut self, what: &str, mut probe: impl FnMut(&mut Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            if start.elapsed() > PATIENCE {
                let log = self.guest().run("journalctl -u prestaged -n 100 --no-pager");
                panic!("waited in vain for {what}\n{log:?}");
            }
        }
    }

    /// Waits for the verdict on the newest job of a drive; returns its record.
    fn wait_verdict(&mut self, serial: &str) -> Value {
        self.wait(&format!("a verdict on {serial}"), |rack| {
            rack.records(serial).pop().filter(|record| !record["verdict"].is_null())
        })
    }

    fn wait_pass(&mut self, serial: &str) -> Value {
        let record = self.wait_verdict(serial);
        assert_eq!(record["verdict"], "passed", "{record:#}");
        record
    }

    /// Waits until a drive is in a state and has done so many percent of its whole job.
    fn wait_state(&mut self, serial: &str, state: &str, percent: f64) {
        self.wait(&format!("{serial} to be {state}"), |rack| {
            let status = rack.ctl("status");
            let drive =
                status["drives"].as_array().unwrap().iter().find(|d| d["serial"] == serial)?;
            let verdict = &drive["verdict"];
            assert!(verdict.is_null(), "{serial} is {verdict} before it was {state}");
            let far = drive["percent"].as_f64().is_some_and(|done| done >= percent);
            (drive["state"] == state && far).then_some(())
        });
    }

    /// Waits for the decision on a drive: `admitted`, or the code of a refusal.
    fn wait_decision(&mut self, serial: &str) -> String {
        self.wait(&format!("a decision on {serial}"), |rack| {
            let all = rack.ctl("drives");
            let drive = all.as_array().unwrap().iter().find(|d| d["serial"] == serial)?.clone();
            match drive["decision"].as_str()? {
                "refused" => Some(drive["code"].as_str()?.to_owned()),
                "admitted" => Some("admitted".to_owned()),
                _ => None,
            }
        })
    }

    /// Returns the process number of the station.
    fn main_process(&mut self) -> String {
        self.done("systemctl show --property MainPID --value prestaged").trim().to_owned()
    }

    /// Checks a drive's partition tables with sgdisk, on the file behind the drive.
    fn check_tables(&self, serial: &str) {
        let file: PathBuf = self.machine.file(serial);
        let output = Command::new("sgdisk").arg("-v").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("No problems found"), "{serial}: {text}");
    }

    /// Checks that a drive has neither of the two partition tables.
    fn check_no_tables(&self, serial: &str) {
        let data = std::fs::read(self.machine.file(serial)).unwrap();
        let sectors = [&data[512..520], &data[data.len() - 512..data.len() - 504]];
        assert!(!sectors.contains(&b"EFI PART".as_slice()), "{serial} has a partition table");
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        let how = if std::thread::panicking() { " (failed)" } else { "" };
        say(&format!("{}: {:.1} s{how}", self.name, self.start.elapsed().as_secs_f64()));
    }
}
