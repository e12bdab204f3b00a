//! Whether a drive may be touched. A pure decision over recorded facts: no I/O, no clock.
//!
//! The rule is that a drive is somebody else's until everything says otherwise. [`admit`] is the only maker of an
//! [`Admitted`], and [`crate::target::Claim`] can only be made from one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::drive::{Drive, Geometry};
use crate::units::Bytes;

/// What the operator allows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether the station may write at all.
    pub armed: bool,
    /// Buses whose drives may be imaged.
    pub buses: Vec<String>,
    /// Bays that belong to the station, as glob patterns.
    pub bays: Vec<glob::Pattern>,
    /// Smallest drive.
    pub min_size: Option<Bytes>,
    /// Largest drive.
    pub max_size: Option<Bytes>,
    /// What may be overwritten.
    pub overwrite: Overwrite,
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

/// Why a drive is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The station is disarmed.
    NotArmed,
    /// Its bus is not listed.
    BusNotAllowed,
    /// Its bay is not listed.
    BayNotAllowed,
    /// Its sectors have a size no layout supports.
    SectorSize,
    /// Too small for the limit, the layout or the content.
    TooSmall,
    /// Larger than the limit.
    TooLarge,
    /// The running system lives on it.
    SystemDisk,
    /// A file system on it is mounted.
    Mounted,
    /// Something else holds it.
    InUse,
    /// Write-protected.
    ReadOnly,
    /// It reports no serial number.
    NoSerial,
    /// Another attached drive has the same serial number.
    DuplicateSerial,
    /// It holds something, and the policy asks for blank drives.
    NotBlank,
    /// There is nothing to put on it.
    NoMedia,
    /// The media wished for is damaged.
    MediaInvalid,
    /// It is not the drive that was judged, or was taken by another program meanwhile.
    DriveChanged,
}

impl Code {
    /// Whether the station itself lacks something: the same drive is judged again when that has changed.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::NotArmed | Self::NoMedia | Self::MediaInvalid)
    }

    /// Whether the drive is none of the station's business; no record is made of it.
    pub fn is_out_of_scope(self) -> bool {
        matches!(self, Self::BusNotAllowed | Self::BayNotAllowed)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names are those of the serialised form, so that they are written down once.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => f.write_str(&name),
            _ => Err(fmt::Error),
        }
    }
}

/// A refusal: its code, and for a person what would make the drive admissible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// Code.
    pub code: Code,
    /// Text.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// What else is known of a drive's use, read from /proc and /sys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Where the running system needs it: `/`, `/boot`, swap and so on.
    pub system: Vec<String>,
    /// Mount points of it and its partitions.
    pub mounts: Vec<String>,
    /// Other users: device-mapper and MD holders, swap, loop devices.
    pub holders: Vec<String>,
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
    let mut object = |code, detail: String| all.push(Refusal { code, detail });
    if !usage.system.is_empty() {
        let detail = format!("the running system needs it: {}", usage.system.join(", "));
        object(Code::SystemDisk, detail);
    }
    if !policy.armed {
        object(Code::NotArmed, "the station is disarmed; arm it with `prestagectl arm`".into());
    }
    if !policy.buses.contains(&drive.bus.0) {
        let detail = format!("bus {:?} is not in admission.buses", drive.bus.0);
        object(Code::BusNotAllowed, detail);
    }
    if !policy.bays.iter().any(|bay| bay.matches(&drive.bay.0)) {
        let detail = format!("bay {:?} matches nothing in admission.bays", drive.bay.0);
        object(Code::BayNotAllowed, detail);
    }
    size_objections(candidate, policy, &mut object);
    if !usage.mounts.is_empty() {
        let detail = format!("mounted at {}; unmount it first", usage.mounts.join(", "));
        object(Code::Mounted, detail);
    }
    if !usage.holders.is_empty() {
        object(Code::InUse, format!("in use by {}", usage.holders.join(", ")));
    }
    if drive.read_only {
        object(Code::ReadOnly, "the drive is write-protected".into());
    }
    if drive.serial.is_none() {
        let detail = "the drive reports no serial number, so no record could name it";
        object(Code::NoSerial, detail.into());
    }
    if !candidate.twins.is_empty() {
        let detail = format!(
            "{} has the same serial number; detach one of them",
            candidate.twins.join(", ")
        );
        object(Code::DuplicateSerial, detail);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{Bay, Bus, DeviceNumber, Diskseq, Serial};

    fn candidate() -> Candidate {
        Candidate {
            drive: Drive {
                name: "sdb".into(),
                node: "/dev/sdb".into(),
                number: DeviceNumber { major: 8, minor: 16 },
                diskseq: Diskseq(17),
                serial: Serial::new("S4EV"),
                wwn: None,
                model: None,
                firmware: None,
                bus: Bus("sata".into()),
                bay: Bay("pci-0000:00:1f.2-ata-1".into()),
                size: Bytes(64 << 30),
                logical_sector_bytes: 512,
                read_only: false,
            },
            usage: Usage::default(),
            content: Content::Blank,
            twins: Vec::new(),
            wanted: Ok(Need { least: Bytes(8 << 30), arithmetic: "content".into() }),
        }
    }

    fn policy() -> Policy {
        Policy {
            armed: true,
            buses: vec!["sata".into()],
            bays: vec![glob::Pattern::new("pci-0000:00:1f.2-ata-*").unwrap()],
            min_size: None,
            max_size: None,
            overwrite: Overwrite::BlankOrOurs,
        }
    }

    fn code(change: impl FnOnce(&mut Candidate, &mut Policy)) -> Option<Code> {
        let (mut candidate, mut policy) = (candidate(), policy());
        change(&mut candidate, &mut policy);
        admit(candidate, &policy).err().map(|refusals| refusals[0].code)
    }

    #[test]
    fn each_objection_has_its_code() {
        assert_eq!(code(|_, _| ()), None);
        assert_eq!(code(|_, p| p.armed = false), Some(Code::NotArmed));
        assert_eq!(code(|_, p| p.buses.clear()), Some(Code::BusNotAllowed));
        assert_eq!(code(|_, p| p.bays.clear()), Some(Code::BayNotAllowed));
        assert_eq!(code(|c, _| c.drive.logical_sector_bytes = 520), Some(Code::SectorSize));
        assert_eq!(code(|c, _| c.drive.size = Bytes(0)), Some(Code::TooSmall));
        assert_eq!(code(|c, _| c.drive.size = Bytes(4 << 30)), Some(Code::TooSmall));
        assert_eq!(code(|_, p| p.min_size = Some(Bytes(1 << 40))), Some(Code::TooSmall));
        assert_eq!(code(|_, p| p.max_size = Some(Bytes(1 << 30))), Some(Code::TooLarge));
        assert_eq!(code(|c, _| c.usage.system = vec!["/".into()]), Some(Code::SystemDisk));
        assert_eq!(code(|c, _| c.usage.mounts = vec!["/mnt".into()]), Some(Code::Mounted));
        assert_eq!(code(|c, _| c.usage.holders = vec!["md0".into()]), Some(Code::InUse));
        assert_eq!(code(|c, _| c.drive.read_only = true), Some(Code::ReadOnly));
        assert_eq!(code(|c, _| c.drive.serial = None), Some(Code::NoSerial));
        assert_eq!(code(|c, _| c.twins = vec!["sdc".into()]), Some(Code::DuplicateSerial));
        assert_eq!(code(|c, _| c.content = Content::Unknown), Some(Code::NotBlank));
        assert_eq!(code(|c, _| c.content = Content::Foreign("ext4".into())), Some(Code::NotBlank));
        assert_eq!(code(|c, _| c.content = Content::Ours), None);
        assert_eq!(
            code(|c, p| {
                c.content = Content::Ours;
                p.overwrite = Overwrite::BlankOnly;
            }),
            Some(Code::NotBlank)
        );
        assert_eq!(
            code(|c, p| {
                c.content = Content::Unknown;
                p.overwrite = Overwrite::Any;
            }),
            None
        );
        for missing in [Code::NoMedia, Code::MediaInvalid] {
            let refusal = Refusal::new(missing, "x");
            assert_eq!(code(|c, _| c.wanted = Err(refusal)), Some(missing));
        }
    }

    #[test]
    fn codes_are_the_contract_s_words() {
        assert_eq!(Code::BusNotAllowed.to_string(), "bus_not_allowed");
        assert_eq!(Code::NotBlank.to_string(), "not_blank");
    }
}
