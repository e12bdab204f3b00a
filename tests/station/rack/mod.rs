//! The rack: the package on a real Debian with systemd and udev, in a machine that drives are plugged into.
//!
//! Each scenario gets a machine of its own, restored from one that was saved with the package installed, media checked and
//! a master pressed. What takes long is left to `PRESTAGED_LONG=1`. Each prints what it took.

mod faults;
mod hotplug;
mod many;
mod service;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use prestaged_rack::{Cargo, Guest, Machine, Ready, Spec, ready};
use serde_json::Value;

use crate::harness::sample::Sample;
use crate::harness::{can, sample_of};
use crate::package::packages;

/// How long a drive's verdict may take: emulated processors hash some 30 MB/s, and all drives share two of them.
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

/// The terminal shall see it, whatever becomes of the test.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "rack: {line}");
}

fn can_rack() -> bool {
    can("rack", || {
        if !rustix::process::geteuid().is_root() {
            return Err("building the guest needs root".into());
        }
        let programs =
            ["qemu-system-x86_64", "qemu-img", "mmdebstrap", "depmod", "sgdisk", "mke2fs"];
        let found = |name: &&str| {
            let path = std::env::var("PATH").unwrap_or_default();
            path.split(':').any(|folder| Path::new(folder).join(name).exists())
        };
        match programs.iter().find(|name| !found(name)) {
            Some(name) => Err(format!("{name} is not installed (scripts/packages test)")),
            None => Ok(()),
        }
    })
}

/// Whether the long scenarios shall run; if not, says so.
fn is_long(name: &str) -> bool {
    let long = std::env::var_os("PRESTAGED_LONG").is_some();
    if !long {
        say(&format!("{name}: left to PRESTAGED_LONG=1"));
    }
    long
}

/// A machine of one scenario.
pub(crate) struct Rack {
    machine: Machine,
    name: String,
    start: Instant,
}

impl Rack {
    /// One that is ready, if this machine can run it.
    fn restored(name: &str) -> Option<Self> {
        if !can_rack() {
            return None;
        }
        let ready = saved();
        let start = Instant::now();
        let machine = ready.machine().unwrap();
        Some(Self { machine, name: name.to_owned(), start })
    }

    fn guest(&mut self) -> &mut Guest {
        self.machine.guest()
    }

    /// Runs a script in the guest that must end well.
    fn done(&mut self, script: &str) -> String {
        self.guest().done(script).unwrap()
    }

    fn plug(&mut self, spec: &Spec) {
        self.machine.plug(spec).unwrap();
    }

    fn unplug(&mut self, serial: &str) {
        self.machine.unplug(serial).unwrap();
    }

    /// What prestagectl says with `--json`.
    fn ctl(&mut self, words: &str) -> Value {
        self.guest().json(&format!("prestagectl --json {words}")).unwrap()
    }

    /// All records of a serial number, oldest first.
    fn records(&mut self, serial: &str) -> Vec<Value> {
        self.ctl(&format!("records --serial {serial}")).as_array().unwrap().clone()
    }

    /// Waits until something is so; tells the station's log if it never is.
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

    /// Waits until a drive is in a state, and so far in its whole job, in percent.
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

    /// What admission says of a drive, once it is decided: `admitted`, or a code.
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

    /// The process of the station.
    fn main_process(&mut self) -> String {
        self.done("systemctl show --property MainPID --value prestaged").trim().to_owned()
    }

    /// Checks a drive with a tool that knows nothing of the station, on the file behind it.
    fn check_tables(&self, serial: &str) {
        let file: PathBuf = self.machine.file(serial);
        let output = Command::new("sgdisk").arg("-v").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("No problems found"), "{serial}: {text}");
    }

    /// Checks that nobody would take a drive for a finished one.
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
