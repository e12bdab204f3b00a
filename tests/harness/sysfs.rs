//! A folder like `/sys`, with the lamps of bays as Linux shows them: an enclosure (SES), a SATA controller (AHCI) and a PCIe
//! port (NPEM). A drive is a node of any name; links lead as the kernel's do.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The identifier of the enclosure.
pub(crate) const ENCLOSURE: &str = "0x500304801f2c8f3f";

/// The folder.
pub(crate) struct Sysfs(pub(crate) PathBuf);

impl Sysfs {
    pub(crate) fn new(root: &Path) -> Self {
        fs::create_dir_all(root).unwrap();
        Self(root.to_owned())
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// An attribute, with its folder.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let file = self.at(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("{text}\n")).unwrap();
    }

    /// What an attribute says.
    pub(crate) fn get(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default().trim().to_owned()
    }

    /// A link to something in the folder.
    pub(crate) fn link(&self, path: &str, target: &str) {
        let link = self.at(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(self.at(target), link).unwrap();
    }

    fn block(&self, node: &str, device: &str) {
        fs::create_dir_all(self.at(&format!("{device}/block/{node}"))).unwrap();
        self.link(&format!("class/block/{node}"), &format!("{device}/block/{node}"));
        self.link(&format!("{device}/block/{node}/device"), device);
    }

    /// The folder of a slot.
    pub(crate) fn slot(number: u32) -> String {
        format!("{SES}/0:0:8:0/enclosure/0:0:8:0/Slot {number:02}")
    }

    /// An enclosure with so many slots, which need no drives.
    pub(crate) fn enclosure(&self, slots: u32) {
        self.put(&format!("{SES}/0:0:8:0/enclosure/0:0:8:0/id"), ENCLOSURE);
        self.link("class/enclosure/0:0:8:0", &format!("{SES}/0:0:8:0/enclosure/0:0:8:0"));
        for number in 1..=slots {
            let slot = Self::slot(number);
            for (name, text) in [("fault", "0"), ("locate", "0"), ("active", "0"), ("status", "OK")]
            {
                self.put(&format!("{slot}/{name}"), text);
            }
            self.put(&format!("{slot}/slot"), &number.to_string());
        }
    }

    /// A drive comes into a slot.
    pub(crate) fn plug_in(&self, node: &str, number: u32) {
        let device = format!("{SES}/0:0:{number}:0");
        self.block(node, &device);
        let name = format!("{device}/enclosure_device:Slot {number:02}");
        self.link(&name, &Self::slot(number));
        self.link(&format!("{}/device", Self::slot(number)), &device);
    }

    /// It goes.
    pub(crate) fn pull_out(&self, node: &str, number: u32) {
        fs::remove_file(self.at(&format!("class/block/{node}"))).unwrap();
        fs::remove_dir_all(self.at(&format!("{SES}/0:0:{number}:0"))).unwrap();
        fs::remove_file(self.at(&format!("{}/device", Self::slot(number)))).unwrap();
    }

    /// The file that a port's controller takes messages in.
    pub(crate) fn message(port: u32) -> String {
        format!("{AHCI}/ata{port}/host{port}/scsi_host/host{port}/em_message")
    }

    /// A port of a SATA controller, with a drive if it has a node.
    pub(crate) fn port(&self, port: u32, node: Option<&str>) {
        let ata = format!("{AHCI}/ata{port}");
        self.put(&format!("{ata}/ata_port/ata{port}/port_no"), &port.to_string());
        self.link(&format!("class/ata_port/ata{port}"), &format!("{ata}/ata_port/ata{port}"));
        self.put(&Self::message(port), "0");
        self.put(&Self::message(port).replace("em_message", "em_message_type"), "1");
        let host = format!("{ata}/host{port}/scsi_host/host{port}");
        self.link(&format!("class/scsi_host/host{port}"), &host);
        if let Some(node) = node {
            self.block(node, &format!("{ata}/host{port}/target{port}:0:0/{port}:0:0:0"));
        }
    }

    /// The lamps of the PCIe port, and an NVMe drive behind it.
    pub(crate) fn npem(&self, node: &str) {
        for name in ["fail", "locate", "ok"] {
            let led = format!("{NPEM}/leds/0000:00:1d.0:enclosure:{name}");
            self.put(&format!("{led}/brightness"), "0");
            self.link(&format!("class/leds/0000:00:1d.0:enclosure:{name}"), &led);
        }
        let device = format!("{NPEM}/0000:3b:00.0/nvme/nvme0");
        fs::create_dir_all(self.at(&format!("{device}/{node}"))).unwrap();
        self.link(&format!("class/block/{node}"), &format!("{device}/{node}"));
        self.link(&format!("{device}/{node}/device"), &device);
    }
}

const SES: &str = "devices/pci0000:00/0000:03:00.0/host0/port-0:0/expander-0:0";
const AHCI: &str = "devices/pci0000:00/0000:00:17.0";
const NPEM: &str = "devices/pci0000:00/0000:00:1d.0";
