//! Whether a drive may be touched. A pure decision over recorded facts: no I/O, no clock.
//!
//! The rule is that a drive is somebody else's until everything says otherwise. [`admit`] is the only maker of an
//! [`Admitted`], and [`crate::target::Claim`] can only be made from one.

mod code;
mod policy;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use code::{Code, Refusal};
pub use policy::{NamedBay, Overwrite, Policy};

use crate::drive::{Drive, Geometry, Serial};
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
        let objection = |code, users: &[String], text: &str| {
            let refusal = || Refusal::new(code, text.replace("{}", &users.join(", ")));
            (!users.is_empty()).then(refusal)
        };
        objection(Code::SystemDisk, &self.system, "the running system needs it: {}")
            .or_else(|| objection(Code::Mounted, &self.mounts, "mounted at {}; unmount it first"))
            .or_else(|| objection(Code::InUse, &self.holders, "in use by {}"))
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
}

/// What the layout and the content need at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Least drive size.
    pub least: Bytes,
    /// How it adds up.
    pub arithmetic: String,
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
    /// What it would get, or why there is nothing to put on it.
    pub wanted: Result<Need, Refusal>,
}

/// Proof that admission said yes to a drive. Cannot be copied; taking the claim uses it up.
#[derive(Debug)]
pub struct Admitted {
    drive: Drive,
    geometry: Geometry,
}

impl Admitted {
    pub(crate) fn into_parts(self) -> (Drive, Geometry) {
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

/// Decides.
///
/// # Errors
/// Every reason that speaks against the drive, the first one being the decision.
pub fn admit(candidate: Candidate, policy: &Policy) -> Result<Admitted, Vec<Refusal>> {
    let refusals = objections(&candidate, policy);
    let drive = candidate.drive;
    match drive.geometry() {
        Some(geometry) if refusals.is_empty() => Ok(Admitted { drive, geometry }),
        _ => Err(refusals),
    }
}

fn objections(candidate: &Candidate, policy: &Policy) -> Vec<Refusal> {
    let Candidate { drive, usage, .. } = candidate;
    let mut all = Vec::new();
    let use_made = usage.objection();
    // That the running system lives on a drive is the last thing an operator may overlook.
    let (system, other_use) = match use_made {
        Some(refusal) if refusal.code == Code::SystemDisk => (Some(refusal), None),
        other => (None, other),
    };
    all.extend(system);
    let mut object = |code, detail: String| all.push(Refusal { code, detail });
    if !policy.armed {
        object(Code::NotArmed, "the station is disarmed; arm it with `prestagectl arm`".into());
    }
    if !policy.buses.contains(&drive.bus.0) {
        let detail = format!("bus {:?} is not in admission.buses", drive.bus.0);
        object(Code::BusNotAllowed, detail);
    }
    if !policy.has_bay(drive) {
        let detail = format!("bay {:?} matches nothing in admission.bays", drive.bay.0);
        object(Code::BayNotAllowed, detail);
    }
    let model = drive.model.as_deref();
    if !listed(&policy.models, model) {
        let model = model.unwrap_or("unknown");
        object(Code::ModelNotAllowed, format!("model {model:?} is not in admission.models"));
    }
    let serial = drive.serial.as_ref().map(Serial::as_str);
    if !listed(&policy.serials, serial) {
        let detail = format!("serial number {:?} is not in admission.serials", drive.label());
        object(Code::SerialNotAllowed, detail);
    }
    size_objections(candidate, policy, &mut object);
    if let Some(Refusal { code, detail }) = other_use {
        object(code, detail);
    }
    if drive.read_only {
        object(Code::ReadOnly, "the drive is write-protected".into());
    }
    if drive.serial.is_none() {
        let reports = match &drive.placeholder {
            Some(placeholder) => format!("{placeholder:?}, as many drives do, and no WWN"),
            None => "neither a serial number nor a WWN".to_owned(),
        };
        object(Code::NoSerial, format!("the drive reports {reports}; no record could name it"));
    }
    if !candidate.twins.is_empty() {
        let detail = format!(
            "{} has the same serial number; detach one of them",
            candidate.twins.join(", ")
        );
        object(Code::DuplicateSerial, detail);
    }
    if let Some(when) = &candidate.passed
        && !policy.reimage
    {
        let retry = format!("`prestagectl retry {}` images it again", drive.label());
        object(Code::AlreadyPassed, format!("it has passed with this media: {when}; {retry}"));
    }
    match (&candidate.content, policy.overwrite) {
        (_, Overwrite::Any) | (Content::Blank, _) | (Content::Ours, Overwrite::BlankOrOurs) => {}
        (content, _) => {
            let what = match content {
                Content::Foreign(what) => what.as_str(),
                Content::Ours => "an earlier image of this station",
                Content::Blank | Content::Unknown => "something unknown",
            };
            let detail =
                format!("the drive holds {what}; wipe it, or set admission.overwrite = \"any\"");
            object(Code::NotBlank, detail);
        }
    }
    if let Err(refusal) = &candidate.wanted {
        object(refusal.code, refusal.detail.clone());
    }
    all
}

fn size_objections(candidate: &Candidate, policy: &Policy, object: &mut impl FnMut(Code, String)) {
    let drive = &candidate.drive;
    let size = drive.size;
    if drive.geometry().is_none() {
        let detail = format!("logical sectors of {} bytes", drive.logical_sector_bytes);
        object(Code::SectorSize, detail + "; layouts exist for 512 and 4096");
    }
    let mut too_small = |least: Bytes, why: &str| {
        if size < least {
            let detail = format!("{} bytes, at least {} are needed ({why})", size.0, least.0);
            object(Code::TooSmall, detail);
        }
    };
    too_small(policy.min_size.unwrap_or_default().max(Bytes(1)), "admission.min_size");
    if let Ok(Need { least, arithmetic }) = &candidate.wanted {
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
}
