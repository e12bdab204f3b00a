//! Whether a drive may be touched: a decision over recorded facts.
//!
//! The rule is that a drive is somebody else's until everything says otherwise. [`admit`] is the only maker of an
//! [`Admitted`], and the claim on a drive can only be made from one.

mod policy;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use policy::{NamedBay, Overwrite, Policy};

use crate::code::ReasonCode as Code;
use crate::drive::{Drive, Geometry, Serial};
use crate::failure::Refusal;
use crate::units::Bytes;
use policy::listed;

/// What else is known of a drive's use, read from /proc and /sys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where the running system needs it: `/`, `/boot`, swap and so on.
    pub system: Vec<String>,
    /// Mount points of it and its partitions.
    pub mounts: Vec<String>,
    /// Other users: device-mapper and MD holders, swap, loop devices, pools.
    pub holders: Vec<String>,
}

impl Usage {
    /// What it says against touching the drive: the running system first.
    pub fn objection(&self) -> Option<Refusal> {
        let refusal = |code, text: &str, users: &[String]| {
            let detail = || format!("{text} {}", users.join(", "));
            (!users.is_empty()).then(|| Refusal::new(code, detail()))
        };
        refusal(Code::SystemDisk, "the running system needs it:", &self.system)
            .or_else(|| {
                let mounted = refusal(Code::Mounted, "mounted at", &self.mounts)?;
                Some(mounted.with_hint("unmount it first"))
            })
            .or_else(|| refusal(Code::InUse, "in use by", &self.holders))
    }
}

/// What stands on a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Not looked at; only the policy `any` does without.
    #[default]
    Unknown,
    /// Both ends hold nothing but one repeated byte.
    Blank,
    /// A GPT whose disk GUID this station's ledger knows.
    Ours,
    /// Something; the text says what was recognised.
    Foreign(String),
    /// It could not be read; the text says why.
    Unreadable(String),
}

/// The smallest drive that holds the layout and the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinimumSize {
    /// Its capacity.
    pub least: Bytes,
    /// How it adds up.
    pub arithmetic: String,
}

/// What a drive would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Media that is at hand, for drives of at least this size.
    Known(MinimumSize),
    /// It will be known soon: the inbox is being read, or media is being verified.
    Undecided,
    /// There is nothing to put on it.
    Missing(Refusal),
}

/// Everything a decision rests on.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The drive.
    pub drive: Drive,
    /// Its use.
    pub usage: Usage,
    /// What stands on it.
    pub content: Content,
    /// Kernel names of other attached drives with its serial.
    pub twins: Vec<String>,
    /// When and where it passed with what it would get, if it did and nothing has been written since.
    pub passed: Option<String>,
    /// What it would get.
    pub wanted: Wanted,
}

/// Proof that admission said yes to a drive. Cannot be copied; taking the claim uses it up.
#[derive(Debug)]
pub struct Admitted {
    drive: Drive,
    geometry: Geometry,
}

impl Admitted {
    /// Uses the proof up: what the claim on the drive is made from.
    pub fn into_parts(self) -> (Drive, Geometry) {
        (self.drive, self.geometry)
    }

    /// The drive.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// Its geometry.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }
}

/// The decision about a drive.
#[derive(Debug)]
pub enum Admission {
    /// It may be written.
    Admitted(Box<Admitted>),
    /// Nothing speaks against it, but what it would get is not known yet.
    Pending,
    /// Every reason that speaks against it, the decisive one first. Never empty.
    Refused(Vec<Refusal>),
}

/// Decides whether a drive may be written.
pub fn admit(candidate: Candidate, policy: &Policy) -> Admission {
    let mut refusals = objections(&candidate, policy);
    let Candidate { drive, wanted, .. } = candidate;
    match (wanted, drive.geometry()) {
        (Wanted::Known(_), Some(geometry)) if refusals.is_empty() => {
            Admission::Admitted(Box::new(Admitted { drive, geometry }))
        }
        (Wanted::Undecided, _) if refusals.is_empty() => Admission::Pending,
        (Wanted::Undecided, _) => {
            refusals.push(Refusal::new(Code::NoMedia, "the media is still being verified"));
            Admission::Refused(refusals)
        }
        (Wanted::Known(_) | Wanted::Missing(_), _) => Admission::Refused(refusals),
    }
}

fn objections(candidate: &Candidate, policy: &Policy) -> Vec<Refusal> {
    let Candidate { drive, usage, .. } = candidate;
    // That the running system lives on a drive is the last thing an operator may overlook.
    let (system, other_use) = match usage.objection() {
        Some(refusal) if refusal.code == Code::SystemDisk => (Some(refusal), None),
        other => (None, other),
    };
    let mut all: Vec<Refusal> = system.into_iter().collect();
    if !policy.armed {
        let refusal = Refusal::new(Code::NotArmed, "the station is disarmed");
        all.push(refusal.with_hint("arm it with `prestagectl arm`"));
    }
    all.extend(list_objections(drive, policy));
    all.extend(size_objections(candidate, policy));
    all.extend(other_use);
    if drive.read_only {
        all.push(Refusal::new(Code::ReadOnly, "the drive is write-protected"));
    }
    if drive.serial.is_none() {
        let reports = match &drive.placeholder {
            Some(placeholder) => {
                format!("{:?}, as many drives do, and no WWN", placeholder.as_str())
            }
            None => "neither a serial number nor a WWN".to_owned(),
        };
        let detail = format!("the drive reports {reports}; no record could name it");
        all.push(Refusal::new(Code::NoSerial, detail));
    }
    if !candidate.twins.is_empty() {
        let detail = format!("{} has the same serial number", candidate.twins.join(", "));
        all.push(Refusal::new(Code::DuplicateSerial, detail).with_hint("detach one of them"));
    }
    if let Some(when) = &candidate.passed
        && !policy.reimage
    {
        let refusal =
            Refusal::new(Code::AlreadyPassed, format!("it has passed with this media: {when}"));
        let hint = format!("`prestagectl retry {}` images it again", drive.label());
        all.push(refusal.with_hint(hint));
    }
    all.extend(content_objection(&candidate.content, policy.overwrite));
    if let Wanted::Missing(refusal) = &candidate.wanted {
        all.push(refusal.clone());
    }
    all
}

/// What is not in the lists of the configuration.
fn list_objections(drive: &Drive, policy: &Policy) -> Vec<Refusal> {
    let mut all = Vec::new();
    let mut object = |code, what: &str, value: &str, key: &str| {
        all.push(Refusal::new(code, format!("{what} {value:?} {key}")));
    };
    if !policy.buses.contains(&drive.bus.0) {
        object(Code::BusNotAllowed, "bus", &drive.bus.0, "is not in admission.buses");
    }
    if !policy.has_bay(drive) {
        object(Code::BayNotAllowed, "bay", &drive.bay.0, "matches nothing in admission.bays");
    }
    if !listed(&policy.models, drive.model.as_deref()) {
        let model = drive.model.as_deref().unwrap_or("unknown");
        object(Code::ModelNotAllowed, "model", model, "is not in admission.models");
    }
    if !listed(&policy.serials, drive.serial.as_ref().map(Serial::as_str)) {
        let serial = drive.label();
        object(Code::SerialNotAllowed, "serial number", &serial, "is not in admission.serials");
    }
    all
}

fn content_objection(content: &Content, overwrite: Overwrite) -> Option<Refusal> {
    let detail = match (content, overwrite) {
        (_, Overwrite::Any) | (Content::Blank, _) | (Content::Ours, Overwrite::BlankOrOurs) => {
            return None;
        }
        (Content::Unreadable(why), _) => {
            return Some(Refusal::new(
                Code::NotBlank,
                format!("what the drive holds cannot be read: {why}"),
            ));
        }
        (Content::Foreign(what), _) => format!("the drive holds {what}"),
        (Content::Ours, _) => "the drive holds an earlier image of this station".to_owned(),
        (Content::Unknown, _) => "nobody has looked at what the drive holds".to_owned(),
    };
    let hint = "wipe it, or set admission.overwrite = \"any\"";
    Some(Refusal::new(Code::NotBlank, detail).with_hint(hint))
}

/// What speaks against the drive's sectors and capacity.
fn size_objections(candidate: &Candidate, policy: &Policy) -> Vec<Refusal> {
    let drive = &candidate.drive;
    let size = drive.size;
    let mut all = Vec::new();
    let mut object = |code, detail: String| all.push(Refusal::new(code, detail));
    if drive.geometry().is_none() {
        let detail = format!("its logical sectors have {} bytes", drive.logical_sector_bytes);
        object(Code::SectorSize, detail + "; layouts exist for 512 and 4096");
    }
    let mut too_small = |least: Bytes, why: &str| {
        if size < least {
            let detail = format!("{} bytes, at least {} are needed ({why})", size.0, least.0);
            object(Code::TooSmall, detail);
        }
    };
    too_small(policy.min_size.unwrap_or_default().max(Bytes(1)), "admission.min_size");
    if let Wanted::Known(MinimumSize { least, arithmetic }) = &candidate.wanted {
        too_small(*least, arithmetic);
    }
    if let Some(most) = policy.max_size
        && size > most
    {
        let detail =
            format!("{} bytes, at most {} are allowed (admission.max_size)", size.0, most.0);
        object(Code::TooLarge, detail);
    }
    if !policy.has_size(size) {
        let listed: Vec<String> = policy.sizes.iter().map(ToString::to_string).collect();
        let (listed, tolerance) = (listed.join(", "), policy.size_tolerance);
        let detail = format!("{size} is not in admission.sizes ({listed}, within {tolerance})");
        object(Code::SizeNotAllowed, detail);
    }
    all
}
