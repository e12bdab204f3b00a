//! The decision whether a drive may be written, made from facts that were gathered before.
//!
//! A drive counts as somebody else's unless every fact says otherwise. Only [`admit`] makes an [`Admitted`], and
//! without one no claim on a drive can be made.

mod policy;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use policy::{BlankCheck, NamedBay, Overwrite, Policy};

use crate::code::ReasonCode as Code;
use crate::drive::{Drive, Geometry, Kinship, Serial, Twin, UnitKind};
use crate::failure::Refusal;
use crate::health::Health;
use crate::operator::Consent;
use crate::units::Bytes;
use policy::listed;

/// The users of a drive, as /proc and /sys list them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Mount points and other uses of the running system: `/`, `/boot`, swap and so on.
    pub system: Vec<String>,
    /// Mount points of the drive and of its partitions.
    pub mounts: Vec<String>,
    /// Other users: device-mapper and MD devices, swap, loop devices, pools.
    pub holders: Vec<String>,
    /// Processes that have the drive open for writing, as far as they can be seen.
    #[serde(default)]
    pub writers: Vec<String>,
}

impl Usage {
    /// The refusal that follows from the drive's users, if it has any. The running system comes first.
    pub fn objection(&self, drive: &Drive) -> Option<Refusal> {
        let refusal = |code, text: &str, users: &[String]| {
            let detail = || format!("{text} {}", users.join(", "));
            (!users.is_empty()).then(|| Refusal::new(code, detail()))
        };
        // Nobody who lets go of a drive means that it may be erased, so it is not taken up by itself.
        let retry = format!("`prestagectl retry {}`", drive.label());
        refusal(Code::SystemDisk, "the running system needs the drive for", &self.system)
            .or_else(|| {
                let mounted = refusal(Code::Mounted, "the drive is mounted at", &self.mounts)?;
                Some(mounted.with_hint(format!("unmount it, then {retry}")))
            })
            .or_else(|| {
                let users = [&self.holders[..], &self.writers[..]].concat();
                let used = refusal(Code::InUse, "the drive is in use by", &users)?;
                Some(used.with_hint(format!("end that use, then {retry}")))
            })
    }
}

/// What a drive holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Nobody has looked. Such a drive is only written if anything may be overwritten.
    #[default]
    Unknown,
    /// One and the same byte wherever it was looked at, and nothing that is known as a signature.
    Blank,
    /// What this job of the station has left on it, and nothing else.
    Ours(Uuid),
    /// Something else; the text names it.
    Foreign(String),
    /// The drive cannot be read; the text is the error.
    Unreadable(String),
}

/// The least capacity with which a drive holds layout and content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MinimumSize {
    pub least: Bytes,
    /// The sum in words.
    pub arithmetic: String,
}

/// The capacity beyond which no master can be made for a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MaximumSize {
    pub most: Bytes,
    /// What sets the limit, in words.
    pub why: String,
    pub hint: Option<String>,
}

impl MaximumSize {
    /// No limit is known.
    pub fn unlimited() -> Self {
        Self { most: Bytes(u64::MAX), why: String::new(), hint: None }
    }
}

/// The media that a drive would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// There is media, for drives of at least this size.
    Known(MinimumSize),
    /// The media will be known soon: the inbox is being read, or media is being verified.
    Undecided,
    /// There is no media for the drive.
    Missing(Refusal),
}

/// All facts that a decision is made from.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Candidate {
    pub drive: Drive,
    pub usage: Usage,
    pub content: Content,
    /// The other attached drives with the same serial number.
    pub twins: Vec<Twin>,
    /// The time and the job in which the drive has passed with the same master, if that was its last job.
    pub passed: Option<String>,
    pub wanted: Wanted,
    /// For which drives a master can be made.
    pub limit: MaximumSize,
    /// Somebody's consent that what this drive holds is lost.
    pub consent: Option<Consent>,
    /// What the drive tells of its health; absent if nobody has asked.
    pub health: Option<Health>,
}

/// Proof that a drive is admitted. It cannot be copied, and making a claim uses it up.
#[derive(Debug)]
pub struct Admitted {
    drive: Drive,
    geometry: Geometry,
}

impl Admitted {
    /// Uses the proof up, to make a claim on the drive.
    pub fn into_parts(self) -> (Drive, Geometry) {
        (self.drive, self.geometry)
    }

    /// The admitted drive.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// The geometry of the admitted drive.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }
}

/// The decision about a drive.
#[derive(Debug)]
pub enum Admission {
    /// The drive may be written.
    Admitted(Box<Admitted>),
    /// Nothing speaks against the drive, but its media is not known yet.
    Pending,
    /// Everything that speaks against the drive, the decisive refusal first. Never empty.
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

/// Whether a drive may be opened and read in order to decide about it: only if nothing speaks against it that is known
/// without. A drive of somebody else's must not be woken, and one that hangs not be waited for, only to be refused.
///
/// Whether the station is armed and has media does not count: operators want to know beforehand which drives it will
/// image.
pub fn may_be_read(
    drive: &Drive,
    twins: &[Twin],
    wanted: &Wanted,
    limit: &MaximumSize,
    policy: &Policy,
) -> bool {
    drive.size > Bytes(0)
        && list_objections(drive, policy).is_empty()
        && size_objections(drive, wanted, limit, policy).is_empty()
        && drive_objections(drive, twins).is_empty()
}

fn objections(candidate: &Candidate, policy: &Policy) -> Vec<Refusal> {
    let Candidate { drive, usage, .. } = candidate;
    // Nothing else is known of what is not there.
    if drive.size == Bytes(0) {
        let detail = "the drive reports 0 bytes: an empty slot, or a drive that does not work";
        return vec![Refusal::new(Code::NoMedium, detail)];
    }
    // An operator must not overlook that the running system is on the drive, so that refusal comes first.
    let (system, other_use) = match usage.objection(drive) {
        Some(refusal) if refusal.code == Code::SystemDisk => (Some(refusal), None),
        other => (None, other),
    };
    let mut all: Vec<Refusal> = system.into_iter().collect();
    // Then what arming would not change.
    all.extend(list_objections(drive, policy));
    if !policy.armed {
        let refusal = Refusal::new(Code::NotArmed, "the station is disarmed");
        all.push(refusal.with_hint("arm it with `prestagectl arm`"));
    }
    all.extend(size_objections(drive, &candidate.wanted, &candidate.limit, policy));
    all.extend(other_use);
    all.extend(drive_objections(drive, &candidate.twins));
    if let Some(when) = &candidate.passed
        && !policy.reimage
    {
        let detail = format!("the drive has passed with this media: {when}");
        let refusal = Refusal::new(Code::AlreadyPassed, detail);
        let hint = format!("`prestagectl image {} --again` images it once more", drive.called());
        all.push(refusal.with_hint(hint));
    }
    // If nobody has looked, something else speaks against the drive; if not, nobody having looked does.
    let stays_unknown = candidate.content == Content::Unknown
        && all.iter().any(|refusal| !refusal.code.lies_with_station());
    if !stays_unknown {
        let consent = candidate.consent.as_ref();
        all.extend(content_objection(drive, &candidate.content, policy.overwrite, consent));
    }
    // A drive that is refused anyway is not asked for its health; one that nothing else speaks against must have been.
    if candidate.health.is_some() || all.iter().all(|refusal| refusal.code.lies_with_station()) {
        all.extend(policy.health.objection(candidate.health.as_ref()));
    }
    if let Wanted::Missing(refusal) = &candidate.wanted {
        all.push(refusal.clone());
    }
    all
}

/// Objections to what the drive says about itself.
fn drive_objections(drive: &Drive, twins: &[Twin]) -> Vec<Refusal> {
    let mut all = Vec::new();
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
    all.extend(twin_objection(twins));
    all
}

/// Objections to properties of the drive that are not in the lists of the configuration.
fn list_objections(drive: &Drive, policy: &Policy) -> Vec<Refusal> {
    let mut all = Vec::new();
    let mut object = |code, name: &str, value: Option<&str>, list: &str| {
        let detail = match value {
            Some(value) => format!("{name} {value:?} {list}"),
            None => format!("the drive reports no {name}, and an unknown one {list}"),
        };
        all.push(Refusal::new(code, detail));
    };
    if !policy.buses.contains(&drive.bus.0) {
        object(Code::BusNotAllowed, "bus", Some(&drive.bus.0), "is not in admission.buses");
    }
    if !policy.has_bay(drive) {
        let list = "matches nothing in admission.bays";
        object(Code::BayNotAllowed, "bay", Some(&drive.bay.0), list);
    }
    let model = drive.model.as_deref();
    if !listed(&policy.models, model) {
        object(Code::ModelNotAllowed, "model", model, "is not in admission.models");
    }
    let serial = drive.serial.as_ref().map(Serial::as_str);
    if !listed(&policy.serials, serial) {
        object(Code::SerialNotAllowed, "serial number", serial, "is not in admission.serials");
    }
    all
}

/// The objection to a serial number that several drives have. What helps depends on why they have it.
fn twin_objection(twins: &[Twin]) -> Option<Refusal> {
    let kinship = twins.first()?.kinship;
    let those = twins.iter().filter(|twin| twin.kinship == kinship);
    let nodes: Vec<&str> = those.map(|twin| twin.node.as_str()).collect();
    let (what, hint) = match kinship {
        Kinship::Stranger => ("has the same serial number", "detach one of them"),
        Kinship::Unit(UnitKind::Namespace) => (
            "is another namespace of the same drive",
            "keep only one namespace on the drive (`nvme delete-ns`)",
        ),
        Kinship::Unit(UnitKind::Lun) => (
            "is another unit (LUN) behind the same serial number",
            "leave one drive in the enclosure, or use one that reports each drive's own serial number",
        ),
        Kinship::SecondPath => ("is the same drive on a second path", "leave it only one path"),
    };
    let detail = format!("{} {what}", nodes.join(", "));
    Some(Refusal::new(Code::DuplicateSerial, detail).with_hint(hint))
}

/// The objection to overwriting what a drive holds, if there is one. Consent takes away `not_blank`, and nothing else: a drive
/// that cannot be read stays refused.
pub fn content_objection(
    drive: &Drive,
    content: &Content,
    overwrite: Overwrite,
    consent: Option<&Consent>,
) -> Option<Refusal> {
    let detail = match (content, overwrite) {
        (_, Overwrite::Any) | (Content::Blank, _) | (Content::Ours(_), Overwrite::BlankOrOurs) => {
            return None;
        }
        (Content::Unreadable(why), _) => {
            let detail = format!("cannot read {}: {why}", drive.node.display());
            let hint = "it is damaged or locked, or has less room than it reports; use another one";
            return Some(Refusal::new(Code::ReadError, detail).with_hint(hint));
        }
        (Content::Foreign(what), _) => format!("the drive holds {what}"),
        (Content::Ours(_), _) => "the drive holds an earlier image of this station".to_owned(),
        (Content::Unknown, _) => "nobody has looked at what the drive holds".to_owned(),
    };
    // Consent is to the loss of data, and to nothing else.
    if consent.is_some() {
        return None;
    }
    // The kernel gives a device's name to the next drive: a command that says which drive it means is the better one.
    let (node, called) = (drive.node.display(), drive.called());
    let hint = format!(
        "if nobody needs that, `prestagectl image {called} --overwrite --reason TEXT` lets it go; or wipe all of it with \
         `blkdiscard -f {node}`, where it cannot discard `blkdiscard -f -z {node}`; then `prestagectl retry {called}`; \
         wipefs and sgdisk are not enough, as they leave the data"
    );
    Some(Refusal::new(Code::NotBlank, detail).with_hint(hint))
}

/// Objections to the drive's sector size and capacity.
fn size_objections(
    drive: &Drive,
    wanted: &Wanted,
    limit: &MaximumSize,
    policy: &Policy,
) -> Vec<Refusal> {
    let size = drive.size;
    let mut all = Vec::new();
    let mut object = |code, detail: String| all.push(Refusal::new(code, detail));
    if drive.geometry().is_none() {
        let sector = drive.logical_sector_bytes;
        let detail = format!("the drive's logical sectors have {sector} bytes");
        object(Code::SectorSize, detail + "; layouts exist for 512 and 4096");
    }
    let mut too_small = |least: Bytes, why: &str| {
        if size < least {
            let (size, least) = apart(size, least);
            object(Code::TooSmall, format!("the drive has {size}, but needs {least} ({why})"));
        }
    };
    too_small(policy.min_size.unwrap_or_default(), "admission.min_size");
    if let Wanted::Known(MinimumSize { least, arithmetic }) = wanted {
        too_small(*least, arithmetic);
    }
    if let Some(most) = policy.max_size
        && size > most
    {
        let (size, most) = apart(size, most);
        let detail =
            format!("the drive has {size}; at most {most} are allowed (admission.max_size)");
        object(Code::TooLarge, detail);
    }
    if !policy.has_size(size) {
        let listed: Vec<String> = policy.sizes.iter().map(ToString::to_string).collect();
        let (listed, tolerance) = (listed.join(", "), policy.size_tolerance);
        let detail =
            format!("capacity {size} is not in admission.sizes ({listed}, within {tolerance})");
        object(Code::SizeNotAllowed, detail);
    }
    let MaximumSize { most, why, hint } = limit;
    if size > *most {
        let (size, most) = apart(size, *most);
        let detail = format!("the drive has {size}; at most {most} can be imaged: {why}");
        all.push(Refusal { hint: hint.clone(), ..Refusal::new(Code::TooLarge, detail) });
    }
    all
}

/// Two sizes as people say them; in bytes where they would look the same.
fn apart(one: Bytes, other: Bytes) -> (String, String) {
    let (shown, beside) = (one.to_string(), other.to_string());
    match shown == beside {
        true => (format!("{} bytes", one.0), format!("{} bytes", other.0)),
        false => (shown, beside),
    }
}
