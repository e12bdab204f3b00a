//! The computer: QEMU with the guest's system disk, ports for drives, and two sockets to control it by.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::channel::Channel;
use crate::drive::{self, Bus, Spec};
use crate::guest::Guest;
use crate::image::Image;

/// The SATA drives that every rack has, by their bays; the guest does not see them until they are [plugged](Machine::plug).
pub const SATA_DRIVES: [&str; 2] = ["SATA0001", "SATA0002"];

/// The serial number of the guest's own disk, which is one more SATA drive.
pub const SYSTEM_DRIVE: &str = "SYSTEM01";

/// A cold start under emulation takes 10 s on a quiet machine; others may be using this one.
const BOOT_PATIENCE: Duration = Duration::from_secs(300);

/// The guest's services may have something to finish before a reboot.
const REBOOT_PATIENCE: Duration = Duration::from_secs(600);

/// A drive is removed when the guest has let it go: at once, or after several seconds for NVMe.
const UNPLUG_PATIENCE: Duration = Duration::from_secs(60);

/// How a machine starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// As a computer is switched on.
    Cold,
    /// From a saved state.
    Saved(PathBuf),
}

/// A running machine. It ends when dropped, and its files go.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    monitor: Channel,
    guest: Guest,
    plugged: HashMap<String, (Spec, usize)>,
    folder: TempDir,
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(str::to_owned)
}

/// QEMU's command line but for files: a state can be restored only into a machine that is the same.
pub(crate) fn hardware() -> Vec<String> {
    let mut all: Vec<String> = words(
        "-machine q35 -accel tcg,thread=multi -cpu qemu64 -smp 2 -m 2048 -nodefaults -display none -net none \
         -device virtio-rng-pci -device virtio-scsi-pci,id=scsi0 -device qemu-xhci,id=xhci,p2=15,p3=15 \
         -device virtio-serial-pci -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 \
         -device ide-hd,drive=system,bus=ide.0,serial=SYSTEM01 -device virtio-blk-pci,drive=cargo,serial=CARGO",
    )
    .collect();
    for (bay, serial) in SATA_DRIVES.iter().enumerate() {
        let port = bay + 1;
        let device = format!(
            "ide-hd,drive=node-{serial},bus=ide.{port},serial={serial},wwn=0x5000c5000000000{port}"
        );
        all.extend(["-device".to_owned(), device]);
    }
    for port in 0..Bus::Nvme.bays() {
        let (slot, function) = (0x10 + port / 8, port % 8);
        let first = if function == 0 { ",multifunction=on" } else { "" };
        let number = port + 1;
        let device = format!(
            "pcie-root-port,id=rp{port},chassis={number},slot={number},addr={slot:#x}.{function}{first}"
        );
        all.extend(["-device".to_owned(), device]);
    }
    all
}

/// The kernel's command line; the latter half saves start-up time under emulation.
const KERNEL: &str = "console=ttyS0 panic=-1 quiet loglevel=3 net.ifnames=0 \
    mitigations=off nokaslr random.trust_cpu=on tsc=reliable no_timer_check audit=0";

impl Machine {
    /// Starts a machine whose disk begins as `system` is, a qcow2 or raw image that is not changed. `cargo` is a disk
    /// that the guest only reads.
    ///
    /// # Errors
    /// QEMU does not start, or the guest never answers.
    pub fn start(image: &Image, system: &Path, cargo: &Path, start: &Start) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("prestaged-rack.").tempdir()?;
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let format = if system.extension().is_some_and(|e| e == "qcow2") { "qcow2" } else { "raw" };
        let status = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
            .args([system.to_string_lossy().as_ref(), &at("system.qcow2")])
            .status()
            .context("start qemu-img")?;
        ensure!(status.success(), "qemu-img cannot make a disk on top of {}", system.display());
        let from = |name: &str| image.folder().join(name);

        // A machine must not outlive whoever started it, however that one ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(hardware());
        command.arg("-kernel").arg(from("vmlinuz")).arg("-initrd").arg(from("initrd"));
        command.args(["-append", KERNEL, "-serial", &format!("file:{}", at("console"))]);
        let disk = |node: &str, driver: &str, file: &str, options: &str| {
            let escaped = file.replace(',', ",,");
            format!(
                "driver={driver},node-name={node},file.driver=file,file.filename={escaped}{options}"
            )
        };
        command.args(["-blockdev", &disk("system", "qcow2", &at("system.qcow2"), "")]);
        let cargo = cargo.to_string_lossy();
        command.args(["-blockdev", &disk("cargo", "raw", &cargo, ",read-only=on")]);
        for serial in SATA_DRIVES {
            let spec = Spec::new(Bus::Sata, serial);
            let file = drive::make_file(folder.path(), &spec)?;
            command.args(["-blockdev", &disk(&spec.node(), "raw", &file.to_string_lossy(), "")]);
        }
        let socket = |id: &str| format!("socket,id={id},path={},server=on,wait=off", at(id));
        command.args(["-chardev", &socket("agent"), "-chardev", &socket("monitor")]);
        command.args(["-mon", "chardev=monitor,mode=control"]);
        if matches!(start, Start::Saved(_)) {
            command.args(["-incoming", "defer"]);
        }
        let log = fs::File::create(at("qemu.log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut qemu = command.spawn().context("start setpriv and QEMU")?;
        let sockets = (PathBuf::from(at("monitor")), PathBuf::from(at("agent")));
        let connected = Self::connect(&sockets.0, &sockets.1, start);
        let (monitor, guest) = match connected {
            Ok(both) => both,
            Err(error) => {
                let _ = qemu.kill();
                let _ = qemu.wait();
                let said = fs::read_to_string(at("qemu.log")).unwrap_or_default();
                let console = fs::read_to_string(at("console")).unwrap_or_default();
                return Err(error.context(format!("QEMU said: {said}\nthe console: {console}")));
            }
        };
        Ok(Self { qemu, monitor, guest, plugged: HashMap::new(), folder })
    }

    fn connect(monitor: &Path, agent: &Path, start: &Start) -> Result<(Channel, Guest)> {
        let mut monitor = Channel::connect(monitor, Duration::from_secs(30))?;
        monitor.read(Duration::from_secs(30)).context("the monitor's greeting")?;
        monitor.call("qmp_capabilities", &json!({}))?;
        if let Start::Saved(state) = start {
            let uri = format!("exec:cat '{}'", state.display());
            monitor.call("migrate-incoming", &json!({ "uri": uri }))?;
            let stopped =
                |status: &Value| status["status"] == "paused" || status["status"] == "prelaunch";
            wait_for(&mut monitor, "query-status", Duration::from_secs(60), stopped)?;
            monitor.call("cont", &json!({}))?;
        }
        let mut guest = Guest::connect(agent, BOOT_PATIENCE)?;
        if matches!(start, Start::Saved(_)) {
            guest.set_clock()?;
        }
        Ok((monitor, guest))
    }

    /// The system in it.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// Where its files lie: the drives', its console's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file behind a drive.
    pub fn file(&self, serial: &str) -> PathBuf {
        self.folder.path().join(format!("{serial}.img"))
    }

    /// Saves the machine's state and ends it. Its disk goes to `system`, a qcow2 image on top of the one it began with.
    ///
    /// # Errors
    /// Drives are plugged, or QEMU cannot.
    pub fn save(mut self, state: &Path, system: &Path) -> Result<()> {
        ensure!(self.plugged.is_empty(), "a saved machine must have no drives plugged");
        self.monitor.call("stop", &json!({}))?;
        let uri = format!("exec:cat >'{}'", state.display());
        self.monitor.call("migrate", &json!({ "uri": uri }))?;
        let status =
            wait_for(&mut self.monitor, "query-migrate", Duration::from_secs(120), |status| {
                status["status"] == "completed" || status["status"] == "failed"
            })?;
        ensure!(status["status"] == "completed", "the state could not be saved: {status}");
        self.monitor.call("quit", &json!({}))?;
        self.qemu.wait()?;
        fs::copy(self.folder.path().join("system.qcow2"), system)?;
        Ok(())
    }

    /// Plugs a drive, and returns at once: what the guest makes of it is the guest's business. SATA drives are those of
    /// [`SATA_DRIVES`], as they are.
    ///
    /// # Errors
    /// No bay is free, or QEMU cannot.
    pub fn plug(&mut self, spec: &Spec) -> Result<()> {
        let taken = |bay: usize| {
            self.plugged.values().any(|(other, at)| other.bus == spec.bus && *at == bay)
        };
        if spec.bus == Bus::Sata {
            let bay = SATA_DRIVES.iter().position(|serial| *serial == spec.serial);
            let bay = bay.with_context(|| format!("{} is none of {SATA_DRIVES:?}", spec.serial))?;
            self.guest.start(&on_sata(bay, "echo '- - -' >$host/scan"))?;
            self.plugged.insert(spec.serial.clone(), (spec.clone(), bay));
            return Ok(());
        }
        let bay = match spec.bay {
            Some(bay) => bay,
            None => (0..spec.bus.bays()).find(|bay| !taken(*bay)).context("no bay is free")?,
        };
        ensure!(!taken(bay) && bay < spec.bus.bays(), "bay {bay} of {:?} cannot be used", spec.bus);
        ensure!(!self.plugged.contains_key(&spec.serial), "{} is plugged already", spec.serial);
        let file = self.file(&spec.serial);
        if !file.exists() {
            drive::make_file(self.folder.path(), spec)?;
        }
        if let Some(throttle) = spec.throttle() {
            self.monitor.call("object-add", &throttle)?;
        }
        self.monitor.call("blockdev-add", &spec.block(&file))?;
        self.monitor.call("device_add", &spec.device(bay))?;
        self.plugged.insert(spec.serial.clone(), (spec.clone(), bay));
        Ok(())
    }

    /// Pulls a drive. Its file stays, and can be plugged again.
    ///
    /// # Errors
    /// There is no such drive, or the guest does not let it go.
    pub fn unplug(&mut self, serial: &str) -> Result<()> {
        let (spec, bay) =
            self.plugged.remove(serial).with_context(|| format!("{serial} is not plugged"))?;
        if spec.bus == Bus::Sata {
            let delete = "for disk in $host/device/target*/*/delete; do echo 1 >$disk; done";
            self.guest.done(&on_sata(bay, delete))?;
            return Ok(());
        }
        self.monitor.call("device_del", &json!({ "id": spec.id() }))?;
        let gone = |event: &Value| {
            event["event"] == "DEVICE_DELETED" && event["data"]["device"] == spec.id()
        };
        self.monitor
            .event(gone, UNPLUG_PATIENCE)
            .with_context(|| format!("{serial} was not let go"))?;
        self.monitor.call("blockdev-del", &json!({ "node-name": spec.node() }))?;
        if spec.rate.is_some() {
            self.monitor.call("object-del", &json!({ "id": spec.limit() }))?;
        }
        Ok(())
    }

    /// Gives a drive that was plugged with a rate another one, in bytes per second.
    ///
    /// # Errors
    /// It has none.
    pub fn set_rate(&mut self, serial: &str, rate: u64) -> Result<()> {
        let (spec, _) =
            self.plugged.get(serial).with_context(|| format!("{serial} is not plugged"))?;
        let change = json!({ "path": format!("/objects/{}", spec.limit()), "property": "limits", "value": drive::limits(rate) });
        self.monitor.call("qom-set", &change)?;
        Ok(())
    }

    /// Pulls the plug of the whole machine, and switches it on again. Waits until the guest answers; drives stay plugged.
    ///
    /// # Errors
    /// It does not start again.
    pub fn reset(&mut self) -> Result<()> {
        self.monitor.call("system_reset", &json!({}))?;
        self.restarted()
    }

    /// Tells the guest to reboot, which may take as long as its services take to end. Waits until it answers again.
    ///
    /// # Errors
    /// It does not.
    pub fn reboot(&mut self) -> Result<()> {
        // A reset makes one event or more; those of an earlier one have come when the monitor answers.
        self.monitor.call("query-status", &json!({}))?;
        self.monitor.forget(is_reset);
        self.guest.start("systemctl reboot")?;
        self.restarted()
    }

    fn restarted(&mut self) -> Result<()> {
        // An agent that is on its way out must not be taken for the new one.
        self.monitor.event(is_reset, REBOOT_PATIENCE).context("the machine was not reset")?;
        // QEMU listens to one at a time.
        self.guest.close();
        self.guest = Guest::connect(&self.folder.path().join("agent"), BOOT_PATIENCE)?;
        Ok(())
    }

    /// What the guest's console says.
    pub fn console(&self) -> String {
        let text = fs::read(self.folder.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn is_reset(event: &Value) -> bool {
    event["event"] == "RESET"
}

/// A script about the AHCI port of a bay; port 0 has the system's own disk.
fn on_sata(bay: usize, action: &str) -> String {
    format!(
        "for host in /sys/class/scsi_host/host*; do case $(readlink -f $host) in */ata{}/*) {action} ;; esac; done",
        bay + 2
    )
}

fn wait_for(
    monitor: &mut Channel,
    query: &str,
    patience: Duration,
    fits: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let start = Instant::now();
    loop {
        let status = monitor.call(query, &json!({}))?;
        if fits(&status) {
            return Ok(status);
        }
        if start.elapsed() > patience {
            bail!("{query} still says {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
