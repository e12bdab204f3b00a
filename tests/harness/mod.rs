//! A station under test: the daemon on loop devices, in folders and bays of its own.
//!
//! Every station has a bay pattern that only its own drives match, so it never touches other loop devices of the machine,
//! nor those of tests that run beside it. Everything is removed when it is dropped, also when a test fails.
//! `PRESTAGED_KEEP=1` keeps the folders.

pub(crate) mod bcd;
pub(crate) mod broker;
pub(crate) mod browser;
mod drives;
pub(crate) mod faulty;
pub(crate) mod gate;
pub(crate) mod hive;
pub(crate) mod looks;
pub(crate) mod manuals;
pub(crate) mod needs;
pub(crate) mod odd_wim;
pub(crate) mod parts;
pub(crate) mod receiver;
mod setup;
mod shown;
pub(crate) mod signed;
pub(crate) mod sysfs;
#[macro_use]
pub(crate) mod registry;
pub(crate) mod sample;
pub(crate) mod schema;
pub(crate) mod teller;
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

pub(crate) use drives::{
    Checksum, Drive, Ext4, Tmpfs, Volume, attach, fill_with_noise, noise, partitions,
};
use sample::Sample;
use serde_json::Value;
pub(crate) use setup::{Setup, bay};

/// Runs a program; returns its exit code, and what it printed to standard output and then to standard error.
pub(crate) fn told(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// The user nobody, and the group of no other user.
pub(crate) const NOBODY: u32 = 65_534;

/// The number of a group.
pub(crate) fn group(name: &str) -> u32 {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let found = groups.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    found.split(':').nth(1).unwrap().parse().unwrap()
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

/// Returns sample media. It is made once for each compression and version of the code that makes it.
pub(crate) fn sample(compression: &[&str]) -> PathBuf {
    sample_of(&Sample::default(), compression)
}

/// Returns media of this sample, made once like [`sample`].
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

/// A station with its folders.
pub(crate) struct Rig {
    folder: PathBuf,
    pub(crate) name: String,
    config: RefCell<toml::Table>,
    /// What the daemon is started through.
    wrapper: Vec<String>,
    daemon: RefCell<Option<Child>>,
}

impl Rig {
    /// Makes folders and configuration; the daemon is not started yet.
    pub(crate) fn new(setup: Setup) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // All are as long, so that the pattern of the bays of one is not the beginning of another's drives.
        let name = format!("T{:05}N{count:03x}", std::process::id() % 100_000);
        let folder = std::env::temp_dir().join(format!("prestaged-{name}"));
        fs::create_dir_all(folder.join("inbox")).unwrap();
        fs::create_dir_all(folder.join("drives")).unwrap();
        let config = RefCell::new(setup.config(&name, &folder));
        let rig = Self { folder, name, config, wrapper: setup.wrapper, daemon: RefCell::new(None) };
        rig.configure();
        rig
    }

    fn configure(&self) {
        let text = toml::to_string(&*self.config.borrow()).unwrap();
        fs::write(self.path("prestaged.toml"), text).unwrap();
    }

    /// Sets a key of the configuration, such as `admission.reimage`; it counts from the daemon's next start.
    pub(crate) fn set(&self, key: &str, value: impl Into<toml::Value>) {
        setup::set(&mut self.config.borrow_mut(), key, value.into());
        self.configure();
    }

    /// Takes a key out of the configuration.
    pub(crate) fn unset(&self, key: &str) {
        setup::unset(&mut self.config.borrow_mut(), key);
        self.configure();
    }

    /// Returns a path in the rig's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a station and starts it, with sample media in its inbox.
    pub(crate) fn started(setup: Setup) -> Self {
        let rig = Self::new(setup);
        rig.start_with_media();
        rig
    }

    /// Starts the daemon with sample media in its inbox, as `win.wim`, and waits until that is checked.
    pub(crate) fn start_with_media(&self) {
        self.add_media(&sample(&["--compress=LZX"]), "win.wim");
        self.start();
        self.wait_media("win.wim", "valid");
    }

    /// Copies media into the inbox under a hidden name and renames it, so that it appears complete.
    pub(crate) fn add_media(&self, wim: &Path, name: &str) {
        let hidden = self.path("inbox").join(format!(".{name}"));
        fs::copy(wim, &hidden).unwrap();
        fs::rename(hidden, self.path("inbox").join(name)).unwrap();
    }

    /// The daemon's command line.
    pub(crate) fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_prestaged");
        let mut words = self.wrapper.iter();
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
            // A wrapper and its children, among them the daemon, are killed as one group.
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

    /// The process numbers of the daemon's children.
    pub(crate) fn children(&self) -> Vec<String> {
        let pid = self.pid().to_string();
        let output = Command::new("ps").args(["-o", "pid=", "--ppid", &pid]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        text.split_whitespace().map(str::to_owned).collect()
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

    /// Gives up a daemon that has ended except for a thread that is stuck in the kernel.
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

    /// What the udevd beside the daemon knows of a device.
    pub(crate) fn udev_properties(&self, node: &str) -> String {
        let target = self.pid().to_string();
        let enter = ["--target", &target, "--mount", "--net", "--"];
        let ask = ["udevadm", "info", "--query=property", node];
        sample::run("nsenter", &[&enter[..], &ask].concat())
    }

    /// Tells the daemon to end that was started beside a udevd, through a shell.
    pub(crate) fn terminate_beside_udevd(&self) {
        let parent = self.pid().to_string();
        let children =
            Command::new("ps").args(["-o", "pid=,comm=", "--ppid", &parent]).output().unwrap();
        let text = String::from_utf8_lossy(&children.stdout).into_owned();
        let line = text.lines().find(|line| line.ends_with("prestaged")).unwrap();
        sample::run("kill", &["-TERM", line.split_whitespace().next().unwrap()]);
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The command line of prestagectl for this station.
    pub(crate) fn prestagectl(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
        command.arg("--socket").arg(self.path("control.sock")).stdin(Stdio::null());
        command
    }

    /// Runs prestagectl; returns its exit code and what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> (i32, String) {
        told(self.prestagectl().args(arguments))
    }

    /// Runs prestagectl, which must exit with 0; returns what it printed.
    #[track_caller]
    pub(crate) fn ctl_ok(&self, arguments: &[&str]) -> String {
        self.ctl_fails(0, arguments)
    }

    /// Runs prestagectl, which must exit with this code; returns what it printed.
    #[track_caller]
    pub(crate) fn ctl_fails(&self, code: i32, arguments: &[&str]) -> String {
        let (found, text) = self.ctl(arguments);
        assert_eq!(found, code, "prestagectl {}: {text}", arguments.join(" "));
        text
    }

    /// Runs prestagectl as the user nobody of this group.
    pub(crate) fn ctl_as_nobody(&self, group: u32, arguments: &[&str]) -> (i32, String) {
        // The program that was built may lie where only root can go.
        let copy = self.path("prestagectl");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_prestagectl"), &copy).unwrap();
        }
        let mut command = Command::new(&copy);
        command.arg("--socket").arg(self.path("control.sock")).args(arguments);
        told(command.uid(NOBODY).gid(group).stdin(Stdio::null()))
    }

    /// Runs prestagectl with `--json`; returns the document that it printed.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ctl_ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The folder of a record's master.
    pub(crate) fn master(&self, record: &Value) -> PathBuf {
        self.path("store/masters").join(record["master"]["id"].as_str().unwrap())
    }

    /// Waits until media has been checked; returns what `media list` shows of it.
    pub(crate) fn wait_judged(&self, name: &str) -> Value {
        wait_for(&format!("media {name}"), || {
            let all = self.json(&["media", "list"]);
            let found = all.as_array().unwrap().iter().find(|m| m["name"] == name)?.clone();
            (found["state"] != "checking").then_some(found)
        })
    }

    /// Waits until media has been checked, with this result; returns what `media list` shows of it.
    pub(crate) fn wait_media(&self, name: &str, state: &str) -> Value {
        let media = self.wait_judged(name);
        assert_eq!(media["state"], state, "{media:#}\n{}", self.log());
        media
    }

    /// Returns what `status` shows of a drive.
    pub(crate) fn drive_status(&self, serial: &str) -> Option<Value> {
        let status = self.json(&["status"]);
        status["drives"].as_array().unwrap().iter().find(|d| d["serial"] == serial).cloned()
    }

    /// Waits for the decision on a device; returns what `drives` shows of it.
    pub(crate) fn decision(&self, serial: &str) -> Value {
        wait_for(&format!("a decision on {serial}"), || {
            let all = self.json(&["drives"]);
            let found = all.as_array().unwrap().iter().find(|d| d["serial"] == serial)?.clone();
            (found["decision"] != "pending").then_some(found)
        })
    }

    /// Waits until a device is refused with a code.
    pub(crate) fn wait_refused(&self, serial: &str, code: &str) {
        wait_for(&format!("{serial} to be refused with {code}"), || {
            (self.decision(serial)["code"] == code).then_some(())
        });
    }

    /// Waits until a drive is not there any more.
    pub(crate) fn wait_gone(&self, serial: &str) {
        wait_for(&format!("{serial} to go"), || self.drive_status(serial).is_none().then_some(()));
    }

    /// Waits until a drive is in one of these states; returns what `status` shows of it.
    pub(crate) fn wait_state(&self, serial: &str, states: &[&str]) -> Value {
        wait_for(&format!("{serial} to be {states:?}"), || {
            let drive = self.drive_status(serial)?;
            states.iter().any(|state| drive["state"] == *state).then_some(drive)
        })
    }

    /// Returns the records of a serial number, oldest first.
    pub(crate) fn records(&self, serial: &str) -> Vec<Value> {
        self.json(&["records", "--serial", serial]).as_array().unwrap().clone()
    }

    /// Waits for the verdict on a drive; returns its record.
    pub(crate) fn wait_verdict(&self, serial: &str) -> Value {
        self.wait_state(serial, &["passed", "failed", "stopped", "refused"]);
        self.wait_recorded(serial)
    }

    /// Waits until the newest record of a drive, which may be gone, has a verdict; returns the record.
    pub(crate) fn wait_recorded(&self, serial: &str) -> Value {
        wait_for(&format!("the record of {serial}"), || {
            self.records(serial).pop().filter(|record| !record["verdict"].is_null())
        })
    }

    /// Waits for the verdict on a drive, which must be `passed`; returns its record.
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

/// A daemon that is there only because one of its threads is stuck in the kernel. Killed when dropped.
pub(crate) struct Left(Child);

impl Left {
    /// Waits until the process is gone.
    pub(crate) fn wait(mut self) {
        wait_for("the old daemon to go", || self.0.try_wait().unwrap());
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}
