//! The sections of the configuration file and what they hold if they are silent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::DEFAULT_SOCKET;
use crate::admission::Overwrite;
use crate::tools;
use crate::units::{ByteRate, Bytes, Period, Share};

/// `[station]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Station {
    /// Name in every record.
    pub name: String,
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Watched folder.
    pub inbox: PathBuf,
    /// Index of the image that is applied.
    pub image: u32,
    /// By media name, the last day on which the certificate in it is valid. It lies encrypted in the media, so whoever
    /// orders the media has to say it.
    pub expires: BTreeMap<String, Date>,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Folder of the masters.
    pub path: PathBuf,
    /// Disk space they may take.
    pub budget: Bytes,
    /// Press new media ahead for drive sizes already seen.
    pub press_ahead: bool,
}

/// `[ledger]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Database file.
    pub path: PathBuf,
}

/// `[control]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Unix socket of the HTTP API.
    pub socket: PathBuf,
    /// Its mode, in octal as text.
    pub mode: String,
    /// Its group, by name.
    pub group: Option<String>,
}

/// `[admission]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admission {
    /// Whether the station may write from the start.
    pub armed: bool,
    /// Buses whose drives may be imaged.
    pub buses: Vec<String>,
    /// Bays that belong to the station, as glob patterns.
    pub bays: Vec<String>,
    /// Smallest drive.
    pub min_size: Option<Bytes>,
    /// Largest drive.
    pub max_size: Option<Bytes>,
    /// What may be overwritten.
    pub overwrite: Overwrite,
    /// Models, as glob patterns; all if empty.
    pub models: Vec<String>,
    /// Serial numbers, as glob patterns; all if empty.
    pub serials: Vec<String>,
    /// Capacities; all if empty.
    pub sizes: Vec<Bytes>,
    /// How far a capacity may be from a listed one.
    pub size_tolerance: Option<Share>,
    /// Image drives again that have passed with the same media, without being asked.
    pub reimage: bool,
}

/// `[[bay]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedPath {
    /// What a person calls the bay.
    pub name: String,
    /// Glob pattern over udev's `ID_PATH`.
    pub path: String,
}

/// `[replicate]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replicate {
    /// Memory for chunks that drives share.
    pub memory: Bytes,
    /// A drive that stays below this fails.
    pub min_write_rate: Option<ByteRate>,
    /// A drive that stays below this share of the median of its batch fails.
    pub min_batch_share: Option<Share>,
    /// Over how long a rate is taken for both.
    pub rate_window: Period,
    /// A drive that does not answer for this long has failed.
    pub stall_timeout: Period,
    /// How often a range that reads back wrong may be written again.
    pub rewrites: u32,
}

/// `[tools]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tools {
    /// Folders where mkntfs, mkfs.vfat and mcopy are looked for.
    pub search: Vec<String>,
    /// Who reads media and presses; `prestaged`, or else `nobody`, if absent.
    pub user: Option<String>,
}

impl Default for Station {
    fn default() -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { name }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self { inbox: "/srv/prestaged/media".into(), image: 1, expires: BTreeMap::new() }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: "/var/lib/prestaged/masters".into(),
            budget: Bytes(100 << 30),
            press_ahead: true,
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { path: "/var/lib/prestaged/ledger.db".into() }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: DEFAULT_SOCKET.into(), mode: "0660".into(), group: None }
    }
}

impl Default for Replicate {
    fn default() -> Self {
        Self {
            memory: Bytes(1 << 30),
            min_write_rate: None,
            min_batch_share: None,
            rate_window: Period::seconds(10),
            // Longer than the kernel's own patience with a SCSI or NVMe command, 30 s, and one retry.
            stall_timeout: Period::seconds(120),
            rewrites: 0,
        }
    }
}

impl Default for Tools {
    fn default() -> Self {
        Self { search: tools::FOLDERS.map(str::to_owned).to_vec(), user: None }
    }
}
