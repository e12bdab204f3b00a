//! The admission policy: the part of the configuration that says which drives may be imaged.

use serde::{Deserialize, Serialize};

use crate::drive::{Bay, Drive};
use crate::health::HealthPolicy;
use crate::units::{Bytes, Share};

/// Which drives may be imaged. A drive must satisfy every field.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Policy {
    /// Whether the station may write at all.
    pub armed: bool,
    /// Buses that belong to the station.
    pub buses: Vec<String>,
    /// Bays that belong to the station: each pattern is compared with udev's `ID_PATH` and with the bay's name.
    pub bays: Vec<glob::Pattern>,
    /// Names of bays. The first whose pattern matches counts.
    pub named: Vec<NamedBay>,
    /// Models that may be imaged; all if empty.
    pub models: Vec<glob::Pattern>,
    /// Serial numbers that may be imaged; all if empty.
    pub serials: Vec<glob::Pattern>,
    /// Capacities that may be imaged; all if empty.
    pub sizes: Vec<Bytes>,
    /// How far a capacity may differ from a listed one.
    pub size_tolerance: Share,
    pub min_size: Option<Bytes>,
    pub max_size: Option<Bytes>,
    pub overwrite: Overwrite,
    /// Whether a drive that has passed with the same media is imaged again as soon as it is plugged in.
    pub reimage: bool,
    pub health: HealthPolicy,
}

/// The name of a bay, or of several bays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the name says it")]
pub struct NamedBay {
    pub name: String,
    /// Pattern that is compared with udev's `ID_PATH`.
    pub path: glob::Pattern,
}

/// Which drives may be overwritten, by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// Only blank drives.
    BlankOnly,
    /// Blank drives, and those that this station has imaged.
    #[default]
    BlankOrOurs,
    /// All drives.
    Any,
}

/// How closely a drive is looked at that seems blank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlankCheck {
    /// At its ends, and in places drawn at random.
    #[default]
    Sample,
    /// Everywhere, which takes as long as reading the whole drive.
    Deep,
}

impl Policy {
    /// A policy that admits no drive.
    pub fn closed() -> Self {
        Self {
            armed: false,
            buses: Vec::new(),
            bays: Vec::new(),
            named: Vec::new(),
            models: Vec::new(),
            serials: Vec::new(),
            sizes: Vec::new(),
            size_tolerance: Share::percent(1),
            min_size: None,
            max_size: None,
            overwrite: Overwrite::BlankOnly,
            reimage: false,
            health: HealthPolicy::default(),
        }
    }

    /// The name of the bay at this path, if it has one.
    pub fn name_of(&self, path: &str) -> Option<&str> {
        self.named.iter().find(|bay| bay.path.matches(path)).map(|bay| bay.name.as_str())
    }

    /// The drive with the name of its bay filled in.
    pub fn placed(&self, mut drive: Drive) -> Drive {
        if let Some(name) = self.name_of(&drive.path) {
            drive.bay = Bay(name.to_owned());
        }
        drive
    }

    /// Whether a drive is in one of the station's bays.
    pub fn has_bay(&self, drive: &Drive) -> bool {
        self.allows(&drive.path, &drive.bay.0)
    }

    /// Whether a drive may be the station's at all, by its bus and its bay.
    pub fn may_hold(&self, drive: &Drive) -> bool {
        self.buses.contains(&drive.bus.0) && self.has_bay(drive)
    }

    /// Whether a bay with this path and this name belongs to the station.
    pub fn allows(&self, path: &str, name: &str) -> bool {
        self.bays.iter().any(|bay| bay.matches(path) || bay.matches(name))
    }

    /// Whether this capacity is listed, give or take the tolerance.
    pub fn has_size(&self, size: Bytes) -> bool {
        let near = |listed: &Bytes| size.0.abs_diff(listed.0) <= self.size_tolerance.of(*listed).0;
        self.sizes.is_empty() || self.sizes.iter().any(near)
    }
}

/// Whether a value matches one of the patterns. Without patterns every value does; with patterns an unknown value,
/// `None`, does not.
pub(super) fn listed(patterns: &[glob::Pattern], value: Option<&str>) -> bool {
    patterns.is_empty() || value.is_some_and(|value| patterns.iter().any(|p| p.matches(value)))
}
