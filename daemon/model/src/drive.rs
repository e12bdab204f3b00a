//! A drive as hardware: what it reports about itself, where it is plugged in, its geometry.
//!
//! The crate `drives` fills these types from uevents and sysfs. Nothing here decides whether a drive may be written.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, SectorSize};

/// The serial number that a drive reports; for a loop device, the name of its backing file without the extension. Never
/// empty.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Serial(String);

impl Serial {
    /// A serial number from the text that a drive reports. Surrounding blanks are removed, and control characters are
    /// replaced by `?`, so that a drive cannot forge a record, a log line or a terminal's output. `None` if nothing is
    /// left.
    pub fn new(reported: &str) -> Option<Self> {
        printable(reported).map(Self)
    }

    /// A stand-in for the serial number that a drive does not report, made from its world-wide name in the form that
    /// udev's links in `/dev/disk/by-id` have: `wwn-0x5000c500a1b2c3d4`. `None` for a world-wide name that may not be
    /// unique. Unique are the registered forms of NAA (types 2, 3, 5 and 6; SPC-4, 7.8.6.6) and EUI-64, unless they
    /// are all zeros. Names that begin with `t10.` or `nvme.` are made from model and serial number, so they are no
    /// better than the serial number.
    pub fn from_wwn(wwn: &str) -> Option<Self> {
        let lower = wwn.to_ascii_lowercase();
        let digits = ["0x", "naa.", "eui."].iter().find_map(|form| lower.strip_prefix(form))?;
        let registered = lower.starts_with("eui.") || digits.starts_with(['2', '3', '5', '6']);
        let whole = digits.len() >= 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
        // The first digit gives the form; only the other digits can tell one drive from another.
        let telling = digits.chars().skip(1).any(|c| c != '0' && c != 'f');
        (registered && whole && telling).then(|| Self(format!("wwn-{lower}")))
    }

    /// Whether many drives report this same text: one digit repeated or digits counted upwards, as USB bridges and
    /// early firmware report, or a word such as `none`.
    pub fn is_placeholder(&self) -> bool {
        let lower = self.0.to_ascii_lowercase();
        let digits: Vec<char> = lower.chars().filter(|c| c.is_alphanumeric()).collect();
        let same = digits.windows(2).all(|pair| pair[0] == pair[1]);
        let text: String = digits.into_iter().collect();
        let counted = ["0123456789abcdef", "1234567890abcdef", "12345678901234567890"];
        let words = ["none", "na", "unknown", "notspecified", "default", "defaultstring", "serial"];
        let words = words.iter().chain(&["serialnumber", "tobefilledbyoem", "deadbeef", "invalid"]);
        let counted = text.len() >= 6 && counted.iter().any(|all| all.starts_with(&text));
        same || counted || words.into_iter().any(|word| *word == text)
    }

    /// The serial number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text from a device, trimmed, with control characters replaced by `?`; `None` if nothing is left.
pub fn printable(reported: &str) -> Option<String> {
    let clean: String = reported
        .trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    (!clean.is_empty()).then_some(clean)
}

/// The place that a drive is plugged into: the bay's name in `[[bay]]`; without one, udev's `ID_PATH`, or
/// `loop-<backing file name>` for a loop device.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Bay(pub String);

impl fmt::Display for Bay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bus that a drive is attached to, as written in `admission.buses`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Bus(pub String);

impl Bus {
    /// The bus of loop devices, which count as drives in CI and training.
    pub const LOOP: &'static str = "loop";

    /// Whether this is the bus of loop devices.
    pub fn is_loop(&self) -> bool {
        self.0 == Self::LOOP
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number that the kernel gives to each disk as it is attached, counted since boot (`/sys/block/*/diskseq`, Linux
/// 5.15). A drive that is plugged in again, or replaced, gets a new number even if it gets the old kernel name.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Diskseq(pub u64);

/// The kernel's device number of a block device: `major` stands for the driver, `minor` for one of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DeviceNumber {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The capacity and the logical sector size of a drive. A layout is computed for one geometry, and drives with equal
/// geometry share a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Geometry {
    pub size: Bytes,
    pub sector: SectorSize,
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {}-byte sectors", self.size.0, self.sector.bytes())
    }
}

/// The place of a drive among several that one device shows under one serial number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Unit {
    pub kind: UnitKind,
    pub number: u64,
    /// The device, by its folder in sysfs.
    pub device: PathBuf,
}

/// What a device calls its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    /// Of an NVMe drive.
    Namespace,
    /// Of a SCSI target: a dock with several slots is one.
    Lun,
}

/// Another attached drive with the same serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Its device node.
    pub node: String,
    /// What it has to do with the drive.
    pub kinship: Kinship,
}

/// What two drives with one serial number have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// Nothing that is known.
    Stranger,
    /// Two units of one device.
    Unit(UnitKind),
    /// One drive, reached in two ways: their world-wide names are the same.
    SecondPath,
}

/// One attached drive as the kernel and udev describe it. Whether that is to be believed is decided in
/// [`crate::admission`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Drive {
    /// Kernel name, such as `sdb`. The next drive may get the same name at once, so it is never a key.
    pub name: String,
    /// Path of the device node.
    pub node: PathBuf,
    /// The number of that node.
    pub number: DeviceNumber,
    /// 0 if the kernel is too old to count.
    pub diskseq: Diskseq,
    /// As reported; made from the WWN if the drive reports none, or only a placeholder.
    pub serial: Option<Serial>,
    /// The text that the drive reports as its serial number, if many drives report the same.
    pub placeholder: Option<Serial>,
    /// World-wide name.
    pub wwn: Option<String>,
    pub model: Option<String>,
    pub firmware: Option<String>,
    /// As configurations call it. A drive on a bus that leads out of the machine is never said to be on one inside.
    pub bus: Bus,
    /// What carries the drive's commands, as sysfs shows it: `usb`, `pcie`, `sata`, `sas`, `iscsi` and so on.
    pub transport: Option<String>,
    /// Which one it is, if its device may show several.
    pub unit: Option<Unit>,
    /// Where the drive is plugged in: udev's `ID_PATH`, or `loop-<backing file name>`.
    pub path: String,
    /// The name that the configuration gives to that place; the path itself if it gives none.
    pub bay: Bay,
    /// Capacity; 0 for a card reader without a card.
    pub size: Bytes,
    /// As reported; no layout may support it.
    pub logical_sector_bytes: u32,
    /// Whether the kernel allows no writing.
    pub read_only: bool,
}

impl Drive {
    /// The geometry; `None` if no layout supports the sector size.
    pub fn geometry(&self) -> Option<Geometry> {
        let sector = SectorSize::try_from(self.logical_sector_bytes).ok()?;
        Some(Geometry { size: self.size, sector })
    }

    /// The drives among `others` that have this drive's serial number, so that a record could mean either. A twin is
    /// another drive, or this drive over a second path. Empty slots of a card reader do not count.
    pub fn twins<'a>(
        &'a self,
        others: impl IntoIterator<Item = &'a Self>,
    ) -> impl Iterator<Item = Twin> {
        let twins = others.into_iter().filter(|other| {
            (&other.name, other.diskseq) != (&self.name, self.diskseq)
                && self.serial.is_some()
                && other.serial == self.serial
                && other.size > Bytes(0)
        });
        let twin = |other: &Self| Twin {
            node: other.node.display().to_string(),
            kinship: self.kinship(other),
        };
        twins.map(twin)
    }

    /// What another drive with the same serial number has to do with this one.
    pub fn kinship(&self, other: &Self) -> Kinship {
        match (&self.unit, &other.unit) {
            (Some(one), Some(two))
                if (one.kind, &one.device) == (two.kind, &two.device)
                    && one.number != two.number =>
            {
                Kinship::Unit(one.kind)
            }
            _ if self.wwn.is_some() && self.wwn == other.wwn => Kinship::SecondPath,
            _ => Kinship::Stranger,
        }
    }

    /// What a command calls the drive: its serial number, which goes with it, or its device if it has none.
    pub fn called(&self) -> String {
        match &self.serial {
            Some(serial) => serial.to_string(),
            None => self.node.display().to_string(),
        }
    }

    /// What messages call the drive: its serial number, or the kernel name in brackets if it has none.
    pub fn label(&self) -> String {
        match &self.serial {
            Some(serial) => serial.to_string(),
            None => format!("[{}]", self.name),
        }
    }
}

/// A change among the attached drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A drive is attached: it has just come, or its properties have changed.
    Present(Box<Drive>),
    /// The drive with this kernel name and attachment number is gone.
    #[expect(missing_docs, reason = "as in `Drive`")]
    Gone { name: String, diskseq: Diskseq },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_drives_report_is_no_serial_number() {
        let junk = |text: &str| Serial::new(text).unwrap().is_placeholder();
        for text in [
            "0",
            "0000000000000000",
            "FFFFFFFF",
            "0123456789ABCDEF",
            "1234567890",
            "123456789012",
            "00:00:00:00",
            "None",
            "N/A",
            "To be filled by O.E.M.",
            "DEADBEEF",
            "----",
        ] {
            assert!(junk(text), "{text}");
        }
        for text in ["S4EVNX0M", "12345", "0000000000000001", "123456789013", "WD-WXA1", "T1N0A"] {
            assert!(!junk(text), "{text}");
        }
    }

    #[test]
    fn only_a_telling_wwn_stands_for_a_serial_number() {
        let name = |wwn: &str| Serial::from_wwn(wwn).map(|serial| serial.to_string());
        assert_eq!(name("0x5000C500A1B2C3D4").as_deref(), Some("wwn-0x5000c500a1b2c3d4"));
        assert_eq!(name("naa.600a0b80002aa2d8").as_deref(), Some("wwn-naa.600a0b80002aa2d8"));
        assert_eq!(name("eui.0025385b71b0a2c3").as_deref(), Some("wwn-eui.0025385b71b0a2c3"));
        for wwn in [
            "0x0000000000000000",
            "0x5000000000000000",
            "0xffffffffffffffff",
            "eui.0000000000000000",
            "t10.ATA     QEMU HARDDISK",
            "nvme.1b36-30-51454d55-00000001",
            "0x5000",
            "",
        ] {
            assert_eq!(name(wwn), None, "{wwn}");
        }
    }

    #[test]
    fn a_drive_cannot_forge_a_log_line() {
        assert_eq!(Serial::new(" S4EV\n7 ").unwrap().as_str(), "S4EV?7");
        assert_eq!(Serial::new("\u{1b}[2J").unwrap().as_str(), "?[2J");
        assert!(Serial::new(" \0\0").is_none());
    }
}
