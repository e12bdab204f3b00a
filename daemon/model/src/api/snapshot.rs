//! The live state that the station shows. Clients print it; none of them computes a verdict of its own.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::orders::{OrderFileView, OrderView};
use super::scanned::ScannedOrder;
use crate::code::ReasonCode;
use crate::digest::{Digest, HashPath};
use crate::drive::{Bay, Bus, Geometry, Serial};
use crate::failure::{Failure, Finding, Reason, Refusal};
use crate::job::{Bottleneck, State};
use crate::manifest::MasterId;
use crate::media::{BootImage, Image, Inventory, Signed};
use crate::now::Now;
use crate::offer::Offer;
use crate::signers::ListedSigner;
use crate::units::{ByteRate, Bytes};
use crate::verdict::Verdict;

/// The live state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Snapshot {
    pub station: String,
    pub version: String,
    /// Whether drives may be written.
    pub armed: bool,
    /// Whether the station is ending and takes no new drives.
    pub draining: bool,
    /// Media in the inbox.
    pub media: Vec<MediaView>,
    /// Why a drive that comes now gets no media, unless somebody names it; absent where it gets some, or that is still
    /// being verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_media: Option<Reason>,
    /// What else is to be said of the inbox.
    #[serde(default)]
    pub inbox: InboxView,
    /// The orders that are neither closed nor hidden.
    #[serde(default)]
    pub orders: Vec<OrderView>,
    /// Orders that were scanned, and wait for drives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scanned: Vec<ScannedOrder>,
    /// Files in the folder of orders that are not taken up.
    #[serde(default)]
    pub order_files: Vec<OrderFileView>,
    /// Why results cannot be handed on; they are kept until they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<String>,
    /// Masters in the store.
    pub masters: Vec<MasterView>,
    /// Presses that run, are queued or have failed.
    pub presses: Vec<PressView>,
    /// Bytes read from the store since the station started.
    #[serde(default)]
    pub store_read_bytes: Bytes,
    /// How chunks are hashed; absent if the daemon is too old to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashing: Option<HashingView>,
    /// Drives in bays, and on buses, that belong to the station.
    pub drives: Vec<DriveView>,
    /// What bays go on showing of drives that have been detached, and drives that have failed and were pulled before
    /// anybody has acknowledged it.
    #[serde(default)]
    pub departed: Vec<DepartedView>,
    /// How the last jobs in each bay have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<BayHistory>,
    /// All attached block devices, each with the decision about it.
    pub devices: Vec<DeviceView>,
    /// The configuration file in use; empty if the daemon is too old to name it.
    #[serde(default)]
    pub config: PathBuf,
    /// The bays that have names. The first whose pattern matches a drive's path counts.
    #[serde(default)]
    pub bays: Vec<BayView>,
    /// Why no record can be kept, and so no drive is touched; absent while the ledger can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Reason>,
    /// Two times, where the station goes by a later one than this machine's clock: what ends by a date ends by that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Now>,
    /// Whose signatures media needs; none if it needs no signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<ListedSigner>,
    /// The number of the signed list that they come from; absent if they are the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_list: Option<u64>,
    /// The bays that somebody looks for, so that their lamps blink.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub located: Vec<LocatedView>,
    /// What the program that switches the lamps of bays has said last; absent where it has not said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lamps: Option<LampsView>,
}

/// A bay that somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LocatedView {
    pub bay: Bay,
    /// Until then, unless a drive comes or goes before.
    pub until: Timestamp,
}

/// The lamps of bays, as the program that switches them has found them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LampsView {
    /// When it said so. It says so again each minute for as long as it runs.
    pub at: Timestamp,
    /// The bays whose lamps are known.
    pub bays: usize,
    /// What lamps do not do.
    pub troubles: Vec<LampTrouble>,
}

impl LampsView {
    /// What was said longer ago is not so any more: the program that switches the lamps does not run.
    pub const OLD: std::time::Duration = std::time::Duration::from_secs(150);

    /// Whether the lamps show the station now.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.at).unsigned_abs() < Self::OLD
    }
}

/// What the lamps of a bay do not do.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LampTrouble {
    pub bay: String,
    /// Where its lamps are, as in `[[bay]] lamp`.
    pub lamp: String,
    /// In a few words.
    pub what: String,
}

/// How chunks are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct HashingView {
    pub path: HashPath,
    /// Chunks that each core hashes at once.
    pub at_once: usize,
    /// Of each core, measured when the station started.
    #[serde(rename = "bytes_per_second")]
    pub rate: ByteRate,
}

/// The inbox, beside its media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InboxView {
    /// Where it is; empty if the daemon is too old to say.
    #[serde(default)]
    pub folder: PathBuf,
    /// How many files wait to be taken up, because there are too many.
    pub waiting: u64,
    /// Files, or the inbox itself, that do not answer.
    pub silent: Vec<SilentView>,
    /// The names of files that are still being written.
    #[serde(default)]
    pub growing: Vec<String>,
    /// How many files and folders are ignored: their names are none of media, or they are no files.
    #[serde(default)]
    pub ignored: u64,
    /// The names of some of them.
    #[serde(default)]
    pub ignored_names: Vec<String>,
    /// Parcels that were copied into the inbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parcels: Vec<ParcelView>,
    /// Why the inbox cannot be read; media is shown as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A parcel that was copied into the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ParcelView {
    /// Name of its folder.
    pub name: String,
    /// Whether its media is in the inbox.
    pub done: bool,
    /// Why it cannot be taken in; it is tried again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Failure>,
}

/// A file that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SilentView {
    pub name: String,
    pub since: Timestamp,
}

/// A bay that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct BayView {
    pub name: String,
    /// Pattern that drives' paths are compared with.
    pub path: String,
}

/// Whether media may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// It is being verified.
    Checking,
    /// It may be used.
    Valid,
    /// It has problems and is never used.
    Invalid,
}

/// One media in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MediaView {
    pub name: String,
    pub state: MediaState,
    /// Whether drives that come now get it.
    #[serde(default)]
    pub current: bool,
    /// Why no drive gets it on this day, although it is valid: its time is over, or has not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The last day on which it may be used, where the configuration says so, or a manifest that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<Date>,
    /// To which drives it is made available.
    #[serde(default)]
    pub offer: Offer,
    /// Who has offered it so; absent if the configuration decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<OfferedView>,
    /// How much of the check is done, 0 to 100, while it runs.
    pub percent: Option<f64>,
    /// When the check began, while it runs; absent while the media waits for it.
    #[serde(default)]
    pub checking_since: Option<Timestamp>,
    /// Digest of the file, or of all parts; known once it is verified.
    pub sha256: Option<Digest>,
    /// Size of all its files together.
    pub size_bytes: Bytes,
    /// The parts of a split set, or the one file.
    pub files: Vec<FileView>,
    pub compression: Option<String>,
    pub integrity_table: Option<bool>,
    pub images: Vec<Image>,
    /// Index of the image that is applied.
    pub image: u32,
    /// The contents of that image.
    pub inventory: Option<Inventory>,
    pub boot_image: Option<BootImage>,
    /// What a computer does at its first start from a drive with this media, a sentence each.
    #[serde(default)]
    pub first_start: Vec<String>,
    /// What was signed about it, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// Findings that make it invalid.
    pub problems: Vec<Finding>,
    /// Findings with which it may be used.
    pub warnings: Vec<Finding>,
}

/// Who has made media available to which drives, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OfferedView {
    pub by: String,
    pub at: Timestamp,
}

/// One file of media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FileView {
    pub name: String,
    pub sha256: Digest,
}

/// One master in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MasterView {
    pub id: MasterId,
    /// Name of the media that it was pressed from.
    pub media: String,
    pub media_sha256: Digest,
    pub layout: String,
    /// Capacity of the drives that it is for.
    pub size_bytes: Bytes,
    /// Sector size of the drives that it is for.
    pub logical_sector_bytes: u32,
    /// Bytes that are written to each drive.
    pub payload_bytes: Bytes,
    /// Bytes that the master takes up in the store.
    pub allocated_bytes: Bytes,
    pub root_sha256: Digest,
}

/// One press.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PressView {
    /// Name of the master that it makes.
    pub id: MasterId,
    pub media: String,
    /// Geometry of the drives that the master is for.
    pub geometry: Geometry,
    pub state: PressState,
    /// The current step in words.
    pub step: String,
    /// How much is done, 0 to 100.
    pub percent: f64,
    /// The failure, in the state `failed`.
    pub error: Option<Failure>,
}

/// Where a press stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PressState {
    /// It waits until other presses have ended.
    Queued,
    /// It runs.
    Running,
    /// It has failed. The failure is shown until the master is wanted again.
    Failed,
}

/// One drive in a bay of the station.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DriveView {
    pub serial: Option<Serial>,
    pub bay: Bay,
    /// Device node.
    pub device: String,
    pub model: Option<String>,
    pub bus: Bus,
    pub size_bytes: Bytes,
    pub state: State,
    /// The number of the current attempt since the drive was plugged in, from 1.
    pub attempt: u64,
    /// How much of the job is done, 0 to 100.
    pub percent: f64,
    /// Mean rate in the current state.
    pub bytes_per_second: Option<ByteRate>,
    /// What limits the rate in the current state; after the job, what has limited the read-back.
    #[serde(default)]
    pub limited_by: Option<Bottleneck>,
    /// Estimated time until the job ends.
    pub eta_seconds: Option<u64>,
    /// Absent until the drive has its verdict.
    pub verdict: Option<Verdict>,
    /// Why the drive has not passed.
    pub reason: Option<Reason>,
    /// When the drive got its verdict; absent before that, and for refusals that have no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Warnings of the drive's record.
    pub warnings: Vec<String>,
    /// Absent until a job is opened.
    pub job: Option<Uuid>,
    /// The order that the drive belongs to; absent if it belongs to none.
    #[serde(default)]
    pub order: Option<String>,
    /// Which job of its serial number for this order it is, or would be.
    #[serde(default)]
    pub order_attempt: Option<u32>,
    /// Name of the media that the drive gets or has got; absent while none is chosen.
    #[serde(default)]
    pub media: Option<String>,
}

impl DriveView {
    /// What people call it: its serial number, or its node where it has none.
    pub fn name(&self) -> &str {
        self.serial.as_ref().map_or(&self.device, Serial::as_str)
    }
}

/// A drive that has been detached, with its verdict. Its bay shows it until another drive comes, or an operator releases
/// the bay. That a drive has failed is kept until an operator releases the bay, whatever comes into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DepartedView {
    /// As it was shown last.
    pub drive: DriveView,
    /// When it was detached, or its job had ended after that.
    pub since: Timestamp,
    /// Whether another drive has come into the bay since, so that the bay does not show it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub followed: bool,
}

/// How the last jobs in one bay have ended; refusals, of which the bay knows nothing, are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BayHistory {
    #[expect(missing_docs, reason = "the name says it")]
    pub bay: Bay,
    /// The latest last; [`BayHistory::MOST`] at most.
    pub ended: Vec<EndedView>,
}

impl BayHistory {
    /// So many verdicts are kept.
    pub const MOST: usize = 10;
}

/// How a job has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct EndedView {
    pub job: Uuid,
    pub serial: Option<Serial>,
    pub verdict: Verdict,
    /// Why it has not passed.
    pub code: Option<ReasonCode>,
    pub at: Timestamp,
}

/// Whether a device was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The decision is still due: the drive or its media is being looked at.
    Pending,
    /// It may be written, or has been.
    Admitted,
    /// It is not touched.
    Refused,
}

/// One attached block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DeviceView {
    /// Device node.
    pub device: String,
    pub serial: Option<Serial>,
    pub wwn: Option<String>,
    pub model: Option<String>,
    pub bus: Bus,
    /// What carries its commands, such as `usb` or `pcie`; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    pub bay: Bay,
    /// Where it is plugged in: udev's `ID_PATH`, also if the bay has a name.
    #[serde(default)]
    pub path: String,
    pub size_bytes: Bytes,
    pub logical_sector_bytes: u32,
    /// The number of the current attempt since the drive was plugged in, from 1.
    pub attempt: u64,
    pub decision: Decision,
    /// The code of the decisive refusal.
    pub code: Option<ReasonCode>,
    /// The detail of the decisive refusal.
    pub detail: Option<String>,
    /// The hint of the decisive refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// All refusals, the decisive one first.
    pub refusals: Vec<Refusal>,
}
