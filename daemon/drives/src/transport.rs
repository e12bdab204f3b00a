//! What carries a drive's commands, and which of a device's units it is: from its place in sysfs, which the kernel makes
//! and the drive cannot choose.

use std::fs;
use std::path::Path;

use model::drive::{Unit, UnitKind};

/// The transports of NVMe whose other end is not in this machine, as `transport` in sysfs names them.
const FABRICS: [(&str, &str); 4] =
    [("tcp", "nvme-tcp"), ("rdma", "nvme-rdma"), ("fc", "nvme-fc"), ("loop", "nvme-loop")];

/// The transport of the drive with this folder in sysfs; `None` if it is none of those that are known.
pub(crate) fn of(name: &str, sysfs: &Path) -> Option<&'static str> {
    // A folder on the way from the root of the device tree to the drive, by its name's beginning.
    let passes = |prefix: &str| {
        let names = sysfs.iter().filter_map(|part| part.to_str());
        names
            .filter_map(|part| part.strip_prefix(prefix))
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    // The outermost first: a SATA drive behind a USB bridge passes through both.
    let places = [
        ("session", "iscsi"),
        ("rport-", "fc"),
        ("usb", "usb"),
        ("fw", "ieee1394"),
        ("end_device-", "sas"),
        ("ata", "sata"),
        ("virtio", "virtio"),
        ("mmc", "mmc"),
    ];
    if name.starts_with("loop") {
        return Some("loop");
    }
    if name.starts_with("nvme") {
        return nvme(sysfs);
    }
    places.iter().find(|(prefix, _)| passes(prefix)).map(|(_, transport)| *transport)
}

/// The transport of an NVMe namespace, by its controllers; one that leads out of the machine counts before all others.
fn nvme(sysfs: &Path) -> Option<&'static str> {
    let owner = sysfs.parent()?;
    // A drive with several paths lies in its subsystem, in which the controllers are links.
    let controllers = fs::read_dir(owner).into_iter().flatten().flatten().map(|entry| entry.path());
    let read = |folder: &Path| fs::read_to_string(folder.join("transport")).ok();
    let named: Vec<String> =
        controllers.chain([owner.to_owned()]).filter_map(|folder| read(&folder)).collect();
    let fabric = FABRICS.iter().find(|(word, _)| named.iter().any(|text| text.trim() == *word));
    let inside = || named.iter().any(|text| text.trim() == "pcie").then_some("pcie");
    fabric.map(|(_, transport)| *transport).or_else(inside)
}

/// Whether a transport leads out of the machine, to an enclosure or over a network. Such a drive is on no bus inside it.
pub(crate) fn leads_outside(transport: &str) -> bool {
    matches!(transport, "usb" | "ieee1394" | "iscsi" | "fc") || transport.starts_with("nvme-")
}

/// Which unit of its device a drive is.
pub(crate) fn unit(name: &str, sysfs: &Path) -> Option<Unit> {
    if name.starts_with("nvme") {
        // nvme0n2 is namespace 2 of what it lies in, or is at least counted as such (nvme_alloc_ns in the kernel).
        let number = name.rsplit_once('n')?.1.parse().ok()?;
        return Some(Unit {
            kind: UnitKind::Namespace,
            number,
            device: sysfs.parent()?.to_owned(),
        });
    }
    // .../target2:0:3/2:0:3:1/block/sdb
    let address = sysfs.parent()?.parent()?;
    let device = address.parent()?;
    let is_target = device.file_name()?.to_str()?.starts_with("target");
    let number = address.file_name()?.to_str()?.rsplit_once(':')?.1.parse().ok()?;
    is_target.then(|| Unit { kind: UnitKind::Lun, number, device: device.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_the_transport() {
        let pci = "/sys/devices/pci0000:00/0000:00:14.0";
        for (place, transport) in [
            ("usb1/1-2/1-2:1.0/host0/target0:0:0/0:0:0:0/block/sda", Some("usb")),
            ("ata1/host0/target0:0:0/0:0:0:0/block/sda", Some("sata")),
            ("host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sda", Some("sas")),
            ("host3/session1/target3:0:0/3:0:0:1/block/sda", Some("iscsi")),
            ("host3/rport-3:0-1/target3:0:0/3:0:0:1/block/sda", Some("fc")),
            ("fw-host0/fw1/fw1.0/host2/target2:0:0/2:0:0:0/block/sda", Some("ieee1394")),
            ("virtio2/block/vda", Some("virtio")),
            ("host0/target0:0:0/0:0:0:0/block/sda", None),
            // A name that only begins like a transport.
            ("usbus/atari/block/sda", None),
        ] {
            let sysfs = Path::new(pci).join(place);
            assert_eq!(of("sda", &sysfs), transport, "{place}");
        }
        assert!(leads_outside("usb") && leads_outside("nvme-tcp") && !leads_outside("sata"));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a machine of the test's own")]
    fn nvme_over_a_network_is_not_inside() {
        let root = tempfile::tempdir().unwrap();
        let subsystem = root.path().join("nvme-subsys0");
        for (controller, transport) in [("nvme0", "pcie"), ("nvme1", "tcp")] {
            fs::create_dir_all(subsystem.join(controller)).unwrap();
            fs::write(subsystem.join(controller).join("transport"), format!("{transport}\n"))
                .unwrap();
        }
        assert_eq!(
            of("nvme0n1", &subsystem.join("nvme0n1")),
            Some("nvme-tcp"),
            "one path is enough"
        );
        assert_eq!(of("nvme0n1", &subsystem.join("nvme0/nvme0n1")), Some("pcie"));
        assert_eq!(of("nvme9n1", &root.path().join("nvme9/nvme9n1")), None);
    }

    #[test]
    fn units_are_counted_by_their_device() {
        let unit = |name: &str, place: &str| unit(name, &Path::new("/sys/devices").join(place));
        let lun = unit("sdb", "host0/target0:0:3/0:0:3:1/block/sdb").unwrap();
        assert_eq!((lun.kind, lun.number), (UnitKind::Lun, 1));
        assert!(lun.device.ends_with("target0:0:3"));
        let namespace = unit("nvme0n2", "0000:02:00.0/nvme/nvme0/nvme0n2").unwrap();
        assert_eq!((namespace.kind, namespace.number), (UnitKind::Namespace, 2));
        assert!(unit("vda", "pci/virtio2/block/vda").is_none());
    }
}
