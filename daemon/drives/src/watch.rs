//! Notices drives that are attached, changed or detached.
//!
//! This is the only module that speaks to libudev. libudev's objects are not thread-safe, so one thread owns them and
//! sends plain structs. A uevent only tells the thread to look again: when a socket overflows, the kernel drops events
//! and libudev does not say so, so the thread also looks every few seconds. Each time it enumerates all drives and
//! compares them with those of the last time, by kernel name and attachment count.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use model::drive::{Bay, Bus, Change, DeviceNumber, Diskseq, Drive, Serial, printable};
use model::hint::Hint;
use model::units::Bytes;

use crate::transport;

/// The watch for drives could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch for drives: cannot {doing}")]
pub struct HotplugError {
    doing: &'static str,
    #[source]
    source: io::Error,
}

impl Hint for HotplugError {
    fn hint(&self) -> Option<String> {
        let hint = "if the station is confined, allow it netlink sockets (systemd: RestrictAddressFamilies=AF_NETLINK)";
        (self.doing == SUBSCRIBE).then(|| hint.into())
    }
}

const SUBSCRIBE: &str = "subscribe to uevents";
const START: &str = "start its thread";

/// How long the thread waits for an event before it looks anyway, because one may have been lost.
const RESCAN: Duration = Duration::from_secs(2);

/// Receives the changes.
pub trait Listener: Send + 'static {
    /// Takes one or more changes. Returns whether it wants more.
    fn changed(&mut self, changes: Vec<Change>) -> bool;

    /// Whether it wants no more changes.
    fn is_closed(&self) -> bool;
}

/// Subscribes to uevents; then, on a thread of its own, enumerates the drives and watches them until the listener is
/// closed. No change after the call is missed.
///
/// # Errors
/// [`HotplugError`] if the kernel or udevd cannot be subscribed to, or there is no thread left.
pub fn watch(mut listener: impl Listener) -> Result<(), HotplugError> {
    let (ready, readiness) = std::sync::mpsc::channel();
    let work = move || {
        let monitor = match subscribe() {
            Ok(monitor) => monitor,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let mut known = Picture::new();
        while !listener.is_closed() {
            match enumerate() {
                Ok(now) => {
                    let changes = compare(&known, &now);
                    known = now;
                    if !changes.is_empty() && !listener.changed(changes) {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot enumerate block devices"),
            }
            wait(&monitor);
        }
    };
    let failed = |doing| move |source| HotplugError { doing, source };
    thread::Builder::new().name("hotplug".into()).spawn(work).map_err(failed(START))?;
    match readiness.recv() {
        Ok(result) => result.map_err(failed(SUBSCRIBE)),
        Err(_) => Err(failed(START)(io::Error::from(io::ErrorKind::BrokenPipe))),
    }
}

/// Subscribes to udevd's events, which come after it has filled its database. Where no udevd runs, there are none, and
/// the kernel's own events serve instead.
fn subscribe() -> io::Result<udev::MonitorSocket> {
    let builder = if udevd_runs() {
        udev::MonitorBuilder::new()?
    } else {
        udev::MonitorBuilder::new_kernel()?
    };
    builder.match_subsystem("block")?.listen()
}

/// Whether a udevd runs on this machine.
pub fn udevd_runs() -> bool {
    Path::new("/run/udev/control").exists()
}

/// Waits for an event, [`RESCAN`] at most, and takes every queued event off the socket.
fn wait(monitor: &udev::MonitorSocket) {
    let until = Instant::now() + RESCAN;
    loop {
        if monitor.iter().next().is_some() {
            while monitor.iter().next().is_some() {}
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let mut fds = [PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN)];
        let timeout = Timespec::try_from(left).ok();
        if let Err(error) = poll(&mut fds, timeout.as_ref())
            && error != rustix::io::Errno::INTR
        {
            tracing::warn!(%error, "cannot wait for uevents");
            return;
        }
    }
}

/// All drives, by kernel name.
type Picture = BTreeMap<String, Drive>;

fn compare(before: &Picture, now: &Picture) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, old) in before {
        if now.get(name).is_none_or(|new| new.diskseq != old.diskseq) {
            changes.push(Change::Gone { name: name.clone(), diskseq: old.diskseq });
        }
    }
    for (name, new) in now {
        if before.get(name) != Some(new) {
            changes.push(Change::Present(Box::new(new.clone())));
        }
    }
    changes
}

fn enumerate() -> io::Result<Picture> {
    let mut enumerator = udev::Enumerator::new()?;
    enumerator.match_subsystem("block")?;
    let mut all = Picture::new();
    let udevd = udevd_runs();
    for device in enumerator.scan_devices()? {
        // A device that udevd has not finished with has no bus and no bay yet, and neither may be guessed.
        let finished = !udevd || device.is_initialized();
        if device.devtype().is_none_or(|kind| kind != "disk") || !finished {
            continue;
        }
        let property = |name: &str| {
            device.property_value(name).and_then(|value| printable(&value.to_string_lossy()))
        };
        if let Some(drive) = describe(device.syspath(), &property) {
            all.insert(drive.name.clone(), drive);
        }
    }
    Ok(all)
}

/// Describes a drive from its folder in sysfs and, where udevd runs, its udev properties. `None` for block devices that
/// are no drives: RAM disks, device-mapper and MD devices, loop devices without a file, optical drives.
pub fn describe(sysfs: &Path, property: &dyn Fn(&str) -> Option<String>) -> Option<Drive> {
    let name = sysfs.file_name()?.to_string_lossy().into_owned();
    let read = |path: &str| {
        std::fs::read_to_string(sysfs.join(path)).ok().and_then(|text| printable(&text))
    };
    let number = |path: &str| read(path).and_then(|text| text.parse::<u64>().ok());
    let is_loop = name.starts_with("loop");
    let backing = read("loop/backing_file");
    // The kernel puts NVMe drives with several paths among the virtual devices as well.
    let place = sysfs.to_string_lossy();
    let virtual_device =
        place.contains("/devices/virtual/") && !place.contains("/devices/virtual/nvme-subsystem/");
    // The boot areas of an eMMC have its serial number but are no drives.
    if name.starts_with("mmcblk") && name.contains("boot") {
        return None;
    }
    // An NVMe drive with several paths counts once: the kernel hides the paths.
    if read("hidden").as_deref() == Some("1") {
        return None;
    }
    if (is_loop && backing.is_none()) || (virtual_device && !is_loop) || name.starts_with("sr") {
        return None;
    }
    // A loop device that was detached while something holds it open goes when it is closed.
    if is_loop && read("loop/autoclear").as_deref() == Some("1") {
        return None;
    }
    let (major, minor) = read("dev")?
        .split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))?;
    let backing = backing.map(|path| path.trim_end_matches(" (deleted)").to_owned());
    let (reported, path) = match &backing {
        Some(path) => {
            let path = Path::new(path);
            let file = path.file_name()?.to_string_lossy().into_owned();
            let stem = path.file_stem()?.to_string_lossy().into_owned();
            (Serial::new(&stem), format!("loop-{file}"))
        }
        None => (
            serial(property, &read),
            property("ID_PATH").unwrap_or_else(|| format!("unknown-{name}")),
        ),
    };
    let transport = transport::of(&name, sysfs).map(str::to_owned);
    let wwn = property("ID_WWN").or_else(|| read("wwid")).or_else(|| read("device/wwid"));
    let (serial, placeholder) = match reported {
        Some(serial) if !serial.is_placeholder() => (Some(serial), None),
        other => (wwn.as_deref().and_then(Serial::from_wwn), other),
    };
    Some(Drive {
        node: Path::new("/dev").join(&name),
        number: DeviceNumber { major, minor },
        diskseq: Diskseq(number("diskseq").unwrap_or(0)),
        serial,
        placeholder,
        wwn,
        model: read("device/model").or_else(|| property("ID_MODEL")),
        firmware: property("ID_REVISION")
            .or_else(|| read("device/firmware_rev"))
            .or_else(|| read("device/rev")),
        bus: bus(&name, sysfs, transport.as_deref(), property),
        unit: transport::unit(&name, sysfs),
        transport,
        bay: Bay(path.clone()),
        path,
        size: Bytes(number("size").unwrap_or(0).saturating_mul(512)),
        logical_sector_bytes: number("queue/logical_block_size")
            .and_then(|size| u32::try_from(size).ok())
            .unwrap_or(0),
        read_only: number("ro") == Some(1),
        name,
    })
}

/// The serial number that a drive reports. A SCSI drive with a WWN has the WWN in `ID_SERIAL_SHORT` and its serial
/// number in `ID_SCSI_SERIAL` (seen with systemd 252); all others have the serial number in `ID_SERIAL_SHORT`. Without
/// udevd, sysfs has it for NVMe and virtio drives.
fn serial(
    property: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&str) -> Option<String>,
) -> Option<Serial> {
    let scsi = property("ID_BUS").as_deref() == Some("scsi");
    let reported = if scsi { property("ID_SCSI_SERIAL") } else { property("ID_SERIAL_SHORT") };
    let reported = reported.or_else(|| property("ID_SERIAL_SHORT").filter(|_| !scsi));
    Serial::new(&reported.or_else(|| read("device/serial")).or_else(|| read("serial"))?)
}

/// The bus as udev names it; where udev has no name, a guess such as `nvme`, `virtio` or `loop`. udev believes an
/// enclosure that says it were a SATA drive, and calls a drive `scsi` or `nvme` that is in another machine: there the
/// transport counts.
fn bus(
    name: &str,
    sysfs: &Path,
    transport: Option<&str>,
    property: &dyn Fn(&str) -> Option<String>,
) -> Bus {
    if let Some(transport) = transport.filter(|transport| transport::leads_outside(transport)) {
        return Bus(transport.to_owned());
    }
    let path = sysfs.to_string_lossy();
    let guess = [
        ("loop", name.starts_with("loop")),
        ("nvme", name.starts_with("nvme")),
        ("mmc", name.starts_with("mmcblk")),
        ("usb", path.contains("/usb")),
        ("ata", path.contains("/ata")),
        ("virtio", path.contains("/virtio") && name.starts_with("vd")),
        ("scsi", path.contains("/host")),
    ];
    let guessed = || guess.iter().find(|(_, fits)| *fits).map_or("unknown", |(bus, _)| bus);
    Bus(property("ID_BUS").unwrap_or_else(|| guessed().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a machine of the test's own")]
    fn tree(name: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        (root, folder)
    }

    const LOOP: &[(&str, &str)] = &[
        ("dev", "7:3"),
        ("size", "2048"),
        ("ro", "0"),
        ("diskseq", "42"),
        ("queue/logical_block_size", "4096"),
        ("loop/backing_file", "/srv/racks/S4EV.0001.img"),
        ("loop/autoclear", "0"),
    ];

    #[test]
    fn a_loop_device_is_named_by_its_file() {
        let (_root, folder) = tree("loop3", LOOP);
        let drive = describe(&folder, &|_| None).unwrap();
        assert_eq!(drive.serial, Serial::new("S4EV.0001"));
        assert_eq!(drive.bay.0, "loop-S4EV.0001.img");
        assert_eq!((drive.size, drive.logical_sector_bytes), (Bytes(1 << 20), 4096));
        assert_eq!((drive.diskseq, drive.bus.is_loop()), (Diskseq(42), true));
    }

    #[test]
    fn what_is_no_drive_is_left_out() {
        let (_root, folder) = tree("loop3", &LOOP[..5]);
        assert!(describe(&folder, &|_| None).is_none(), "no backing file");
        let mut leaving = LOOP.to_vec();
        leaving[6].1 = "1";
        let (_root, folder) = tree("loop3", &leaving);
        assert!(describe(&folder, &|_| None).is_none(), "being detached");
    }

    #[test]
    fn a_scsi_drive_s_serial_is_not_its_wwn() {
        let (_root, folder) = tree("sda", &[("dev", "8:0"), ("size", "8")]);
        let udev = |name: &str| {
            let value = match name {
                "ID_BUS" => "scsi",
                "ID_SERIAL_SHORT" => "5000c500a1b2c3d4",
                "ID_SCSI_SERIAL" => "ZA1B2C",
                "ID_WWN" => "0x5000c500a1b2c3d4",
                "ID_PATH" => "pci-0000:00:04.0-scsi-0:0:3:0",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let drive = describe(&folder, &udev).unwrap();
        assert_eq!(drive.serial, Serial::new("ZA1B2C"));
        assert_eq!(drive.wwn.as_deref(), Some("0x5000c500a1b2c3d4"));
        let without = |name: &str| udev(name).filter(|_| name != "ID_SCSI_SERIAL");
        let nameless = describe(&folder, &without).unwrap();
        assert_eq!(nameless.serial, Serial::new("wwn-0x5000c500a1b2c3d4"));
        let zeros = |name: &str| match name {
            "ID_SCSI_SERIAL" => Some("000000000000".to_owned()),
            "ID_WWN" => None,
            _ => udev(name),
        };
        let junk = describe(&folder, &zeros).unwrap();
        assert_eq!((junk.serial, junk.placeholder), (None, Serial::new("000000000000")));
    }

    /// Enclosures answer for their drives, and udev believes them.
    #[test]
    fn what_is_behind_usb_is_on_usb_whatever_it_says() {
        let place = "usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdx";
        let (_root, folder) = tree(place, &[("dev", "8:0"), ("size", "8")]);
        let says = |bus: &'static str| move |name: &str| (name == "ID_BUS").then(|| bus.to_owned());
        for bus in ["ata", "scsi", "usb"] {
            let drive = describe(&folder, &says(bus)).unwrap();
            assert_eq!((drive.bus.0.as_str(), drive.transport.as_deref()), ("usb", Some("usb")));
        }
        let (_root, folder) = tree("ata1/host0/target0:0:0/0:0:0:0/block/sdx", &[("dev", "8:0")]);
        let drive = describe(&folder, &says("ata")).unwrap();
        assert_eq!((drive.bus.0.as_str(), drive.transport.as_deref()), ("ata", Some("sata")));
    }

    #[test]
    fn a_replaced_drive_is_gone_and_present() {
        let (_root, folder) = tree("loop3", LOOP);
        let drive = describe(&folder, &|_| None).unwrap();
        let picture = |drive: &Drive| Picture::from([(drive.name.clone(), drive.clone())]);
        let next = Drive { diskseq: Diskseq(43), ..drive.clone() };
        let gone = Change::Gone { name: "loop3".into(), diskseq: Diskseq(42) };
        let changes = compare(&picture(&drive), &picture(&next));
        assert_eq!(changes, [gone, Change::Present(Box::new(next))]);
        assert!(compare(&picture(&drive), &picture(&drive)).is_empty());
    }
}
