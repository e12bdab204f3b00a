//! What a drive is: its identity as hardware, its place in the rack, its geometry.
//!
//! The crate `drives` fills these in from uevents and sysfs. Nothing here decides whether a drive may be written.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, SectorSize};

/// The serial number a drive reports, or for a loop device its backing file's name without
/// extension. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serial(String);

impl Serial {
    /// A serial number from what the drive reports: surrounding blanks go, control characters become
    /// `?` so that a record, a log line or a terminal cannot be forged by a drive. `None` if
    /// nothing is left.
    pub fn new(reported: &str) -> Option<Self> {
        printable(reported).map(Self)
    }

    /// A name for a drive that reports no serial number of its own, from its world-wide name: `wwn-0x5000c500a1b2c3d4`,
    /// as udev's links in `/dev/disk/by-id` have it. `None` for a name that need not be unique: only the registered
    /// forms of NAA (types 2, 3, 5 and 6; SPC-4, 7.8.6.6) and EUI-64 are, and only if they are not all zeros. What
    /// begins with `t10.` or `nvme.` is made from model and serial number, so it repeats the latter's faults.
    pub fn from_wwn(wwn: &str) -> Option<Self> {
        let lower = wwn.to_ascii_lowercase();
        let digits = ["0x", "naa.", "eui."].iter().find_map(|form| lower.strip_prefix(form))?;
        let registered = lower.starts_with("eui.") || digits.starts_with(['2', '3', '5', '6']);
        let whole = digits.len() >= 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
        // The first digit says which form it is; the rest must say which drive.
        let telling = digits.chars().skip(1).any(|c| c != '0' && c != 'f');
        (registered && whole && telling).then(|| Self(format!("wwn-{lower}")))
    }

    /// Whether many drives report this: all the same digit, or counted up, as USB bridges and early firmware do, or
    /// one of the texts that stand for nothing.
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

/// Text from a device, trimmed and made safe to print; `None` if empty.
pub fn printable(reported: &str) -> Option<String> {
    let clean: String = reported
        .trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    (!clean.is_empty()).then_some(clean)
}

/// The place a drive is plugged into: its name in `[[bay]]`, or else udev's `ID_PATH`, or `loop-<backing file name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bay(pub String);

impl fmt::Display for Bay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bus a drive is attached by, as written in `admission.buses`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// The kernel's count of disks ever attached since boot (`/sys/block/*/diskseq`, Linux 5.15). A
/// re-plugged or replaced drive gets a new number even where it gets the old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diskseq(pub u64);

/// The kernel's device number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// Driver.
    pub major: u32,
    /// Device of that driver.
    pub minor: u32,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What a layout is computed for: drives with equal geometry share a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// Capacity in bytes.
    pub size: Bytes,
    /// Logical sector size.
    pub sector: SectorSize,
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {}-byte sectors", self.size.0, self.sector.bytes())
    }
}

/// One attached drive as the kernel and udev describe it. Facts only; trusting it is the business of
/// [`crate::admission`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Kernel name, such as `sdb`. Reused at once by the next drive; never a key.
    pub name: String,
    /// Device node to open.
    pub node: PathBuf,
    /// Device number behind the node.
    pub number: DeviceNumber,
    /// Attachment count; 0 where the kernel is too old to tell.
    pub diskseq: Diskseq,
    /// Serial number as reported; where that is missing or a placeholder, made from the WWN.
    pub serial: Option<Serial>,
    /// What the drive reports as its serial number although it says nothing.
    pub placeholder: Option<Serial>,
    /// World-wide name, if the drive reports one.
    pub wwn: Option<String>,
    /// Model as reported.
    pub model: Option<String>,
    /// Firmware revision as reported.
    pub firmware: Option<String>,
    /// Bus it is attached by.
    pub bus: Bus,
    /// Where it is plugged in, as udev's `ID_PATH` or `loop-<backing file name>`.
    pub path: String,
    /// The same as a person calls it.
    pub bay: Bay,
    /// Capacity in bytes; 0 while a reader has no medium.
    pub size: Bytes,
    /// Logical sector size in bytes as reported; may be one no layout supports.
    pub logical_sector_bytes: u32,
    /// Whether the kernel holds the drive read-only.
    pub read_only: bool,
}

impl Drive {
    /// The geometry, if the sector size is a supported one.
    pub fn geometry(&self) -> Option<Geometry> {
        let sector = SectorSize::try_from(self.logical_sector_bytes).ok()?;
        Some(Geometry { size: self.size, sector })
    }

    /// Those of `others` that have the same serial number, so that a record could mean either: a second drive, or a
    /// second path to this one. Empty slots of a card reader do not count.
    pub fn twins<'a>(
        &'a self,
        others: impl IntoIterator<Item = &'a Self>,
    ) -> impl Iterator<Item = &'a Self> {
        others.into_iter().filter(|other| {
            (&other.name, other.diskseq) != (&self.name, self.diskseq)
                && self.serial.is_some()
                && other.serial == self.serial
                && other.size > Bytes(0)
        })
    }

    /// Serial number, or the kernel name in brackets for a drive that has none: for messages only.
    pub fn label(&self) -> String {
        match &self.serial {
            Some(serial) => serial.to_string(),
            None => format!("[{}]", self.name),
        }
    }
}

/// What changed among the attached drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A drive is there, for the first time or with other properties than before.
    Present(Box<Drive>),
    /// The drive of this kernel name and attachment is gone.
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
