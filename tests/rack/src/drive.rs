//! What drives are like, and how they are plugged.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

/// How a drive is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bus {
    /// PCI Express, a root port each; 24 of them.
    Nvme,
    /// A virtio SCSI controller, which stands in for a SAS one: targets, WWNs, sense data.
    Scsi,
    /// AHCI. QEMU cannot plug these while it runs, so they are there from the start and the guest's kernel drops and finds
    /// them again, with the same events; see [`crate::machine::SATA_DRIVES`].
    Sata,
    /// xHCI, mass storage.
    Usb,
}

impl Bus {
    /// How many bays it has in the rack.
    pub const fn bays(self) -> usize {
        match self {
            Self::Nvme | Self::Scsi => 24,
            Self::Usb => 15,
            Self::Sata => crate::machine::SATA_DRIVES.len(),
        }
    }

    /// As udev calls it; a SATA drive speaks ATA.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Scsi => "scsi",
            Self::Sata => "ata",
            Self::Usb => "usb",
        }
    }
}

/// A place of 512 bytes that fails.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Writing it is an I/O error.
    Write(u64),
    /// Reading it is a medium error.
    Read(u64),
}

/// A drive.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How it is attached.
    pub bus: Bus,
    /// Its serial number; also names it to the rack, so it must be unique among what is plugged.
    pub serial: String,
    /// World Wide Name, for SCSI.
    pub wwn: Option<u64>,
    /// Capacity, in bytes.
    pub size: u64,
    /// Logical and physical sector size, in bytes.
    pub sector: u32,
    /// Whether it refuses to be written.
    pub read_only: bool,
    /// Bytes per second, each way.
    pub rate: Option<u64>,
    /// Sectors that fail.
    pub faults: Vec<Fault>,
    /// Which bay of its bus; the first free one if not given.
    pub bay: Option<usize>,
}

impl Spec {
    /// A drive of 512 MiB without faults, in the first free bay.
    pub fn new(bus: Bus, serial: &str) -> Self {
        Self {
            bus,
            serial: serial.to_owned(),
            wwn: None,
            size: 512 << 20,
            sector: 512,
            read_only: false,
            rate: None,
            faults: Vec::new(),
            bay: None,
        }
    }

    /// With a World Wide Name.
    pub fn wwn(mut self, wwn: u64) -> Self {
        self.wwn = Some(wwn);
        self
    }

    /// With another capacity, in mebibytes.
    pub fn mebibytes(mut self, size: u64) -> Self {
        self.size = size << 20;
        self
    }

    /// With other sectors, in bytes.
    pub fn sector(mut self, bytes: u32) -> Self {
        self.sector = bytes;
        self
    }

    /// Write-protected.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// No faster than this, in bytes per second.
    pub fn rate(mut self, rate: u64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// With a sector that fails.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// In a bay of its bus, counted from 0.
    pub fn bay(mut self, bay: usize) -> Self {
        self.bay = Some(bay);
        self
    }

    /// The group that throttles it, by its arguments to `object-add`.
    pub(crate) fn throttle(&self) -> Option<Value> {
        let limits = limits(self.rate?);
        Some(json!({ "qom-type": "throttle-group", "id": self.limit(), "limits": limits }))
    }

    pub(crate) fn limit(&self) -> String {
        format!("limit-{}", self.serial)
    }

    /// The stack of block drivers below it, by its arguments to `blockdev-add`.
    pub(crate) fn block(&self, file: &Path) -> Value {
        let mut node = json!({ "driver": "file", "filename": file, "read-only": self.read_only });
        if !self.faults.is_empty() {
            let inject: Vec<Value> = self
                .faults
                .iter()
                .map(|fault| {
                    // 5 is EIO; 61, ENODATA, becomes a medium error (block/scsi.c in QEMU).
                    let (iotype, errno, sector) = match fault {
                        Fault::Write(sector) => ("write", 5, sector),
                        Fault::Read(sector) => ("read", 61, sector),
                    };
                    json!({ "event": "none", "iotype": iotype, "errno": errno, "sector": sector, "immediately": true })
                })
                .collect();
            node = json!({ "driver": "blkdebug", "image": node, "inject-error": inject });
        }
        if self.rate.is_some() {
            node = json!({ "driver": "throttle", "throttle-group": self.limit(), "file": node });
        }
        json!({ "driver": "raw", "node-name": self.node(), "read-only": self.read_only, "file": node })
    }

    pub(crate) fn node(&self) -> String {
        format!("node-{}", self.serial)
    }

    pub(crate) fn id(&self) -> String {
        format!("drive-{}", self.serial)
    }

    /// The device, by its arguments to `device_add`.
    pub(crate) fn device(&self, bay: usize) -> Value {
        let mut device = json!({ "id": self.id(), "drive": self.node(), "serial": self.serial });
        let more = match self.bus {
            Bus::Nvme => json!({ "driver": "nvme", "bus": format!("rp{bay}") }),
            Bus::Usb => {
                json!({ "driver": "usb-storage", "bus": "xhci.0", "port": (bay + 1).to_string(), "removable": true })
            }
            // Reported to the guest, instead of stopping the machine when the disk is full.
            Bus::Scsi | Bus::Sata => json!({
                "driver": "scsi-hd", "bus": "scsi0.0", "scsi-id": bay, "lun": 0, "vendor": "RACK", "product": "SAS DRIVE",
                "ver": "1.07", "werror": "report", "rerror": "report",
            }),
        };
        let mut add = |more: Value| {
            if let (Value::Object(device), Value::Object(more)) = (&mut device, more) {
                device.extend(more);
            }
        };
        add(more);
        if self.bus != Bus::Usb {
            add(json!({ "logical_block_size": self.sector, "physical_block_size": self.sector }));
        }
        if let Some(wwn) = self.wwn {
            add(json!({ "wwn": wwn }));
        }
        device
    }
}

/// How QEMU is told of a rate.
pub(crate) fn limits(rate: u64) -> Value {
    json!({ "bps-read": rate, "bps-write": rate })
}

/// A file for a drive: of its size, with old data at both ends and in the middle, as on a drive that was in use.
pub(crate) fn make_file(folder: &Path, spec: &Spec) -> Result<PathBuf> {
    let path = folder.join(format!("{}.img", spec.serial));
    let _ = fs::remove_file(&path);
    let file = File::create_new(&path)?;
    file.set_len(spec.size)?;
    let noise: Vec<u8> = (0_u64..1 << 17)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes())
        .collect();
    let length = noise.len() as u64;
    for at in [0, 1 << 20, spec.size / 2, spec.size - length] {
        file.write_all_at(&noise, at)?;
    }
    Ok(path)
}
