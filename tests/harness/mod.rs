//! A station under test: the real daemon on real loop devices, in folders and bays of its own.
//!
//! Every station is given a bay pattern that only its own drives match: other loop devices of the machine, and those of
//! tests that run beside it, are none of its business. Everything is cleaned up when dropped, also when
//! a test fails. `PRESTAGED_KEEP=1` leaves the folder for a look.

mod drives;
pub(crate) mod faulty;
pub(crate) mod hive;
pub(crate) mod manuals;
pub(crate) mod sample;
pub(crate) mod twin;
pub(crate) mod wim;

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use drives::{Drive, Tmpfs, Volume, attach, fill_with_noise, partitions};
use sample::Sample;
use serde_json::Value;

/// Whether a test can run here. If not it says so loudly, and fails if `PRESTAGED_REQUIRE` names what is missing.
pub(crate) fn can(feature: &str, probe: impl FnOnce() -> Result<(), String>) -> bool {
    let Err(why) = probe() else { return true };
    let required = std::env::var("PRESTAGED_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name == feature || name == "all");
    assert!(!required, "CANNOT RUN: {feature}: {why}, and PRESTAGED_REQUIRE names it");
    // Standard error is captured by the test runner; the terminal shall see it anyway.
    let _ = writeln!(std::io::stderr(), "\n*** CANNOT RUN: {feature}: {why} ***");
    false
}

/// Whether loop devices can be made.
pub(crate) fn can_loop() -> bool {
    can("loop", || {
        if !rustix::process::geteuid().is_root() {
            return Err("loop devices need root".into());
        }
        File::open("/dev/loop-control").map(|_| ()).map_err(|e| format!("/dev/loop-control: {e}"))
    })
}

/// Waits until `probe` gives something.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sample media, made once for each compression and version of the code that makes it.
pub(crate) fn sample(compression: &[&str]) -> PathBuf {
    sample_of(&Sample::default(), compression)
}

/// Media of a sample of one's own, made once as well.
pub(crate) fn sample_of(sample: &Sample, compression: &[&str]) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut version = DefaultHasher::new();
    (include_str!("sample.rs"), include_str!("hive.rs")).hash(&mut version);
    format!("{sample:?}").hash(&mut version);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name: String = compression.concat().replace(|c: char| !c.is_alphanumeric(), "");
    let path = folder.join(format!("sample-{:016x}-{name}.wim", version.finish()));
    if !path.exists() {
        let making = folder.join(format!("making-{}", std::process::id()));
        sample.make(&making, compression);
        fs::rename(making, &path).unwrap();
    }
    path
}

/// What a test may change about a station.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) armed: bool,
    pub(crate) buses: &'static str,
    pub(crate) overwrite: &'static str,
    pub(crate) boot: &'static str,
    pub(crate) esp_mib: u32,
    /// Further text for the configuration file.
    pub(crate) more: String,
    /// Runs in front of the daemon, such as `unshare`.
    pub(crate) wrapper: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            armed: true,
            buses: "\"loop\"",
            overwrite: "any",
            boot: "prestaged",
            esp_mib: 40,
            more: String::new(),
            wrapper: Vec::new(),
        }
    }
}

/// A station with its folders.
pub(crate) struct Rig {
    folder: PathBuf,
    pub(crate) name: String,
    setup: Setup,
    daemon: RefCell<Option<Child>>,
}

impl Rig {
    /// Folders and configuration; the daemon is not started yet.
    pub(crate) fn new(setup: Setup) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("T{}N{count}", std::process::id());
        let folder = std::env::temp_dir().join(format!("prestaged-{name}"));
        fs::create_dir_all(folder.join("inbox")).unwrap();
        fs::create_dir_all(folder.join("drives")).unwrap();
        let rig = Self { folder, name, setup, daemon: RefCell::new(None) };
        rig.configure();
        rig
    }

    fn configure(&self) {
        let Setup { armed, buses, overwrite, boot, esp_mib, more, .. } = &self.setup;
        let (at, name) = (self.folder.display(), &self.name);
        let text = format!(
            r#"
            [station]
            name = "{name}"
            [media]
            inbox = "{at}/inbox"
            [store]
            path = "{at}/store"
            budget = "8GiB"
            [ledger]
            path = "{at}/ledger.db"
            [control]
            socket = "{at}/control.sock"
            [admission]
            armed = {armed}
            buses = [{buses}]
            bays = ["loop-{name}*"]
            overwrite = "{overwrite}"
            [[layout]]
            name = "test"
            boot = "{boot}"
            partitions = [ {{ type = "esp", size = "{esp_mib}MiB" }}, {{ type = "msr", size = "16MiB" }},
                {{ type = "windows", size = "rest" }}, {{ type = "recovery", size = "20MiB" }} ]
            {more}
            "#
        );
        fs::write(self.path("prestaged.toml"), text).unwrap();
    }

    /// A path in the rig's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A station that runs, with sample media in its inbox.
    pub(crate) fn started(setup: Setup) -> Self {
        let rig = Self::new(setup);
        rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
        rig.start();
        rig.wait_media("win.wim", "valid");
        rig
    }

    /// Puts media into the inbox as a careful copier does: complete, by rename.
    pub(crate) fn add_media(&self, wim: &Path, name: &str) {
        let hidden = self.path("inbox").join(format!(".{name}"));
        fs::copy(wim, &hidden).unwrap();
        fs::rename(hidden, self.path("inbox").join(name)).unwrap();
    }

    /// The daemon's command line.
    pub(crate) fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_prestaged");
        let mut words = self.setup.wrapper.iter();
        let mut command = match words.next() {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("--config").arg(self.path("prestaged.toml")).stdin(Stdio::null());
        command
    }

    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(&self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = self
            .command()
            .env("RUST_LOG", "info")
            // A wrapper's children, the daemon among them, shall end with it.
            .process_group(0)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.daemon.borrow_mut() = Some(child);
        wait_for("the daemon to answer", || {
            let ended = self.daemon.borrow_mut().as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended: {}", self.log());
            (self.ctl(&["status"]).0 == 0).then_some(())
        });
    }

    /// The daemon's process number.
    pub(crate) fn pid(&self) -> i32 {
        self.daemon.borrow().as_ref().map(|child| i32::try_from(child.id()).unwrap()).unwrap()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills the daemon without warning.
    pub(crate) fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
        self.wait_end();
    }

    /// Lets go of a daemon that has ended as far as it can.
    pub(crate) fn leave(&self) -> Left {
        Left(self.daemon.borrow_mut().take().unwrap())
    }

    /// Tells the daemon to end.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits until the daemon has ended; returns whether it ended well.
    pub(crate) fn wait_end(&self) -> bool {
        let mut child = self.daemon.borrow_mut().take().unwrap();
        wait_for("the daemon to end", || child.try_wait().unwrap()).success()
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs prestagectl; its exit code, and what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_prestagectl"))
            .arg("--socket")
            .arg(self.path("control.sock"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap(), text)
    }

    /// Runs prestagectl with `--json`; exit code 0 is expected.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let (code, text) = self.ctl(&[&["--json"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The state of media, once it is not being checked.
    pub(crate) fn wait_media(&self, name: &str, state: &str) -> Value {
        let media = wait_for(&format!("media {name}"), || {
            let all = self.json(&["media", "list"]);
            let found = all.as_array().unwrap().iter().find(|m| m["name"] == name)?.clone();
            (found["state"] != "checking").then_some(found)
        });
        assert_eq!(media["state"], state, "{media:#}\n{}", self.log());
        media
    }

    /// What `status` shows of a drive.
    pub(crate) fn drive_status(&self, serial: &str) -> Option<Value> {
        let status = self.json(&["status"]);
        status["drives"].as_array().unwrap().iter().find(|d| d["serial"] == serial).cloned()
    }

    /// What `drives` shows of a device, once it is decided.
    pub(crate) fn decision(&self, serial: &str) -> Value {
        wait_for(&format!("a decision on {serial}"), || {
            let all = self.json(&["drives"]);
            let found = all.as_array().unwrap().iter().find(|d| d["serial"] == serial)?.clone();
            (found["decision"] != "pending").then_some(found)
        })
    }

    /// Waits until a drive is in a state.
    pub(crate) fn wait_state(&self, serial: &str, states: &[&str]) -> Value {
        wait_for(&format!("{serial} to be {states:?}"), || {
            let drive = self.drive_status(serial)?;
            states.iter().any(|state| drive["state"] == *state).then_some(drive)
        })
    }

    /// The records of a serial number.
    pub(crate) fn records(&self, serial: &str) -> Vec<Value> {
        self.json(&["records", "--serial", serial]).as_array().unwrap().clone()
    }

    /// Waits for the verdict on a drive; returns its record.
    pub(crate) fn wait_verdict(&self, serial: &str) -> Value {
        self.wait_state(serial, &["passed", "failed", "stopped", "refused"]);
        self.wait_recorded(serial)
    }

    /// Waits for a verdict in the ledger; the drive may be gone.
    pub(crate) fn wait_recorded(&self, serial: &str) -> Value {
        wait_for(&format!("the record of {serial}"), || {
            self.records(serial).pop().filter(|record| !record["verdict"].is_null())
        })
    }

    /// A drive that is good.
    pub(crate) fn wait_pass(&self, serial: &str) -> Value {
        let record = self.wait_verdict(serial);
        assert_eq!(record["verdict"], "passed", "{record:#}\n{}", self.log());
        record
    }

    /// A drive full of noise, not attached yet. Its serial number begins with the rig's name.
    pub(crate) fn drive(&self, name: &str, mib: u64) -> Drive {
        let serial = format!("{}{name}", self.name);
        let file = self.path("drives").join(format!("{serial}.img"));
        fill_with_noise(&file, mib << 20);
        Drive::new(serial, file)
    }

    /// A drive full of noise, attached.
    pub(crate) fn attached(&self, name: &str, mib: u64, sector: u32) -> Drive {
        let drive = self.drive(name, mib);
        drive.attach(&["--sector-size", &sector.to_string()]);
        drive
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.borrow_mut().take() {
            let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
        }
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "log of {}:\n{}", self.name, self.log());
        }
        if std::env::var_os("PRESTAGED_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A daemon that is still there only because the kernel does not let it go. Reaped when dropped.
pub(crate) struct Left(Child);

impl Left {
    /// Waits until the kernel has let it go.
    pub(crate) fn wait(mut self) {
        wait_for("the old daemon to go", || self.0.try_wait().unwrap());
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}
