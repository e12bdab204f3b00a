//! What a drive is: its identity as hardware, its place in the rack, its geometry.
//!
//! Pure: no I/O. [`crate::hotplug`] fills these in from uevents and sysfs; nothing here decides
//! whether a drive may be written.

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

/// The place a drive is plugged into: udev's `ID_PATH`, or `loop-<backing file name>`.
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
    /// Serial number, if the drive reports one.
    pub serial: Option<Serial>,
    /// World-wide name, if the drive reports one.
    pub wwn: Option<String>,
    /// Model as reported.
    pub model: Option<String>,
    /// Firmware revision as reported.
    pub firmware: Option<String>,
    /// Bus it is attached by.
    pub bus: Bus,
    /// Where it is plugged in.
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

    /// Serial number, or the kernel name in brackets for a drive that has none: for messages only.
    pub fn label(&self) -> String {
        match &self.serial {
            Some(serial) => serial.to_string(),
            None => format!("[{}]", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_cannot_forge_a_log_line() {
        assert_eq!(Serial::new(" S4EV\n7 ").unwrap().as_str(), "S4EV?7");
        assert_eq!(Serial::new("\u{1b}[2J").unwrap().as_str(), "?[2J");
        assert!(Serial::new(" \0\0").is_none());
    }
}
