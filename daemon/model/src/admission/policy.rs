//! What the operator allows, as far as it can be said of a drive alone.

use serde::{Deserialize, Serialize};

use crate::drive::{Bay, Drive};
use crate::units::{Bytes, Share};

/// What the operator allows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether the station may write at all.
    pub armed: bool,
    /// Buses whose drives may be imaged.
    pub buses: Vec<String>,
    /// Bays that belong to the station: patterns over udev's `ID_PATH` or over names of bays.
    pub bays: Vec<glob::Pattern>,
    /// Bays that have names.
    pub named: Vec<NamedBay>,
    /// Models that may be imaged; all if empty.
    pub models: Vec<glob::Pattern>,
    /// Serial numbers that may be imaged; all if empty.
    pub serials: Vec<glob::Pattern>,
    /// Capacities that may be imaged; all if empty.
    pub sizes: Vec<Bytes>,
    /// How far a capacity may be from a listed one.
    pub size_tolerance: Share,
    /// Smallest drive.
    pub min_size: Option<Bytes>,
    /// Largest drive.
    pub max_size: Option<Bytes>,
    /// What may be overwritten.
    pub overwrite: Overwrite,
    /// Whether a drive that has passed with the same media is imaged again without being asked for.
    pub reimage: bool,
}

/// A bay, or several that share a name.
#[derive(Clone, Debug)]
pub struct NamedBay {
    /// What a person calls it.
    pub name: String,
    /// Pattern over udev's `ID_PATH`.
    pub path: glob::Pattern,
}

/// What a drive may hold already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// Nothing.
    BlankOnly,
    /// Nothing, or what this station put there.
    #[default]
    BlankOrOurs,
    /// Anything.
    Any,
}

impl Policy {
    /// A policy that lets nothing pass.
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
        }
    }

    /// The name of the bay at a path: the first that matches.
    pub fn name_of(&self, path: &str) -> Option<&str> {
        self.named.iter().find(|bay| bay.path.matches(path)).map(|bay| bay.name.as_str())
    }

    /// A drive with its bay called by its name.
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

    /// Whether a bay with this path and this name is one of the station's.
    pub fn allows(&self, path: &str, name: &str) -> bool {
        self.bays.iter().any(|bay| bay.matches(path) || bay.matches(name))
    }

    /// Whether a drive has one of the capacities listed.
    pub fn has_size(&self, size: Bytes) -> bool {
        let near = |listed: &Bytes| size.0.abs_diff(listed.0) <= self.size_tolerance.of(*listed).0;
        self.sizes.is_empty() || self.sizes.iter().any(near)
    }
}

/// Whether a value is listed. An empty list allows all; what is unknown is in no list.
pub(super) fn listed(patterns: &[glob::Pattern], value: Option<&str>) -> bool {
    patterns.is_empty() || value.is_some_and(|value| patterns.iter().any(|p| p.matches(value)))
}
