//! Where the lamps of a bay are, in names that stay the same when the machine is started again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hint::Hint;

/// The lamps of one bay. Written as in `[[bay]] lamp`: `ses:0x500304801f2c8f3f/Slot 04`, `ahci:0000:00:17.0/3`,
/// `npem:0000:3b:00.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Place {
    /// A slot of a SCSI enclosure.
    Ses {
        /// The enclosure's logical identifier, as in its file `id`; or its address, `h:c:t:l`, which may change.
        enclosure: String,
        /// The slot's name, or its number.
        slot: String,
    },
    /// A port of an AHCI controller.
    Ahci {
        /// The controller's PCI address.
        controller: String,
        /// The port, counted from 1 as in udev's paths.
        port: u32,
    },
    /// A PCIe port, or a drive, that has lamps of its own.
    Npem {
        #[expect(missing_docs, reason = "the name says it")]
        address: String,
    },
}

/// Why a text names no lamps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no lamps")]
pub struct PlaceError(pub String);

impl Hint for PlaceError {
    fn hint(&self) -> Option<String> {
        let forms = "write \"ses:ENCLOSURE/SLOT\", \"ahci:ADDRESS/PORT\" or \"npem:ADDRESS\", with PCI addresses such as \
                     0000:00:17.0";
        Some(forms.into())
    }
}

/// Whether a text is a PCI address: `0000:3b:00.0`.
fn is_pci(text: &str) -> bool {
    let hex = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
    };
    let mut parts = text.split([':', '.']);
    let (domain, bus, device, function) = (parts.next(), parts.next(), parts.next(), parts.next());
    text.matches('.').count() == 1
        && parts.next().is_none()
        && domain.is_some_and(|domain| hex(domain, 4, 8))
        && bus.is_some_and(|bus| hex(bus, 2, 2))
        && device.is_some_and(|device| hex(device, 2, 2))
        && function.is_some_and(|function| hex(function, 1, 1))
}

/// Whether a text can be the name of one file, and nothing else.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text == text.trim()
        && !text.contains(|c: char| c == '/' || c.is_control())
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let place = match text.split_once(':') {
            Some(("ses", rest)) => rest
                .split_once('/')
                .filter(|(one, other)| is_name(one) && is_name(other))
                .map(|(enclosure, slot)| Self::Ses {
                    enclosure: enclosure.into(),
                    slot: slot.into(),
                }),
            Some(("ahci", rest)) => rest.split_once('/').and_then(|(controller, port)| {
                let port = port.parse().ok().filter(|port| (1..=32).contains(port))?;
                is_pci(controller).then(|| Self::Ahci { controller: controller.into(), port })
            }),
            Some(("npem", rest)) => is_pci(rest).then(|| Self::Npem { address: rest.into() }),
            _ => None,
        };
        place.ok_or_else(|| PlaceError(text.to_owned()))
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ses { enclosure, slot } => write!(f, "ses:{enclosure}/{slot}"),
            Self::Ahci { controller, port } => write!(f, "ahci:{controller}/{port}"),
            Self::Npem { address } => write!(f, "npem:{address}"),
        }
    }
}

impl Place {
    /// The port that a bay's path names, where it is one of a SATA controller: there its lamps are, whether a drive is in
    /// it or not.
    pub fn of_path(path: &str) -> Option<Self> {
        let (controller, rest) = path.strip_prefix("pci-")?.split_once("-ata-")?;
        // `ata-3.0`: the port and the device behind it.
        let port = rest.strip_suffix(".0").unwrap_or(rest);
        format!("ahci:{controller}/{port}").parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for good in [
            "ses:0x500304801f2c8f3f/Slot 04",
            "ses:0:0:8:0/4",
            "ahci:0000:00:17.0/3",
            "npem:0000:3b:00.0",
            "npem:10000:01:00.0",
        ] {
            assert_eq!(good.parse::<Place>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "Slot 04",
            "ses:",
            "ses:0x5/",
            "ses:/Slot 04",
            "ses:../..",
            "ses:0x5/a/b",
            "ses:0x5/..",
            "ahci:0000:00:17.0",
            "ahci:0000:00:17.0/0",
            "ahci:host2/3",
            "npem:3b:00.0",
            "npem:0000:3b:00",
            "npem:0000:3b:00.0/../x",
            "led:x",
        ] {
            assert_eq!(bad.parse::<Place>(), Err(PlaceError(bad.into())), "{bad}");
        }
    }

    #[test]
    fn the_path_of_a_sata_port_names_its_lamps() {
        let place = |path| Place::of_path(path).map(|place| place.to_string());
        let third = Some("ahci:0000:00:17.0/3".to_owned());
        assert_eq!(place("pci-0000:00:17.0-ata-3"), third);
        assert_eq!(place("pci-0000:00:17.0-ata-3.0"), third);
        for other in ["pci-0000:00:17.0-ata-*", "pci-0000:01:00.0-nvme-1", "loop-a", "pci-x-ata-3"]
        {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
