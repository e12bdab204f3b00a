//! Whether a drive belongs to an order, and why not. The decision is that there is no difference, so what explains it
//! cannot contradict it.

use std::collections::BTreeSet;
use std::fmt;

use super::order::Conditions;
use crate::api::snapshot::DeviceView;
use crate::drive::{Drive, Serial};
use crate::units::{Bytes, Share};

/// The conditions of an order, ready to be compared with drives.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    bays: Vec<glob::Pattern>,
    models: Vec<glob::Pattern>,
    sizes: Vec<Bytes>,
    serials: Vec<glob::Pattern>,
    listed: BTreeSet<String>,
}

/// What of a drive is compared with the conditions of orders.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Seen<'a> {
    pub path: &'a str,
    pub bay: &'a str,
    pub model: Option<&'a str>,
    pub size: Bytes,
    pub serial: Option<&'a str>,
}

impl<'a> From<&'a Drive> for Seen<'a> {
    fn from(drive: &'a Drive) -> Self {
        Self {
            path: &drive.path,
            bay: &drive.bay.0,
            model: drive.model.as_deref(),
            size: drive.size,
            serial: drive.serial.as_ref().map(Serial::as_str),
        }
    }
}

impl<'a> From<&'a DeviceView> for Seen<'a> {
    fn from(device: &'a DeviceView) -> Self {
        Self {
            path: &device.path,
            bay: &device.bay.0,
            model: device.model.as_deref(),
            size: device.size_bytes,
            serial: device.serial.as_ref().map(Serial::as_str),
        }
    }
}

/// A condition that does not hold for a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Difference {
    Bay(String),
    Model(Option<String>),
    Size(Bytes),
    Serial(Option<String>),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "an unknown one";
        match self {
            Self::Bay(bay) => write!(f, "bay {bay:?} is not in match.bays"),
            Self::Model(model) => {
                let model = model.as_deref().unwrap_or(unknown);
                write!(f, "model {model:?} is not in match.models")
            }
            Self::Size(size) => write!(f, "capacity {size} is not in match.sizes"),
            Self::Serial(serial) => {
                let serial = serial.as_deref().unwrap_or(unknown);
                write!(f, "serial number {serial:?} is not in match.serials")
            }
        }
    }
}

impl Matcher {
    /// Makes conditions ready; patterns that are none, which [`super::Order::check`] refuses, match nothing.
    pub fn new(conditions: &Conditions) -> Self {
        let never = || glob::Pattern::new("[!\0-\u{10ffff}]").unwrap_or_default();
        let patterns = |texts: &[String]| {
            let compile = |text: &String| glob::Pattern::new(text).unwrap_or_else(|_| never());
            texts.iter().map(compile).collect()
        };
        Self {
            bays: patterns(&conditions.bays),
            models: patterns(&conditions.models),
            sizes: conditions.sizes.clone(),
            serials: patterns(&conditions.serials),
            listed: conditions.listed_serials.clone(),
        }
    }

    /// Whether drives in a bay with this name and path may belong to the order, whatever else they are.
    pub fn allows_bay(&self, bay: &str, path: &str) -> bool {
        let any = |text: &str| self.bays.iter().any(|pattern| pattern.matches(text));
        self.bays.is_empty() || any(path) || any(bay)
    }

    /// Why a drive does not belong to the order; nothing if it does. Capacities may differ from the listed ones by this
    /// share.
    pub fn differences(&self, drive: Seen<'_>, tolerance: Share) -> Vec<Difference> {
        let mut all = Vec::new();
        let any = |patterns: &[glob::Pattern], text: &str| patterns.iter().any(|p| p.matches(text));
        if !self.allows_bay(drive.bay, drive.path) {
            all.push(Difference::Bay(drive.bay.to_owned()));
        }
        let model = drive.model;
        if !self.models.is_empty() && !model.is_some_and(|model| any(&self.models, model)) {
            all.push(Difference::Model(model.map(str::to_owned)));
        }
        let near = |size: &Bytes| drive.size.0.abs_diff(size.0) <= tolerance.of(*size).0;
        if !self.sizes.is_empty() && !self.sizes.iter().any(near) {
            all.push(Difference::Size(drive.size));
        }
        let serial = drive.serial;
        let listed = |serial: &str| self.listed.contains(serial) || any(&self.serials, serial);
        let asked = !(self.serials.is_empty() && self.listed.is_empty());
        if asked && !serial.is_some_and(listed) {
            all.push(Difference::Serial(serial.map(str::to_owned)));
        }
        all
    }
}
