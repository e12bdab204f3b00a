//! What the station shows of itself. Views print this; none computes a verdict of its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::code::ReasonCode;
use crate::digest::Digest;
use crate::drive::{Bay, Bus, Geometry, Serial};
use crate::failure::{Failure, Finding, Reason, Refusal};
use crate::job::{Bottleneck, State, Verdict};
use crate::manifest::MasterId;
use crate::media::{BootImage, Image, Inventory};
use crate::units::{ByteRate, Bytes};

/// Everything live, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Station's name.
    pub station: String,
    /// Version of the daemon.
    pub version: String,
    /// Whether drives may be written.
    pub armed: bool,
    /// Whether the daemon takes no new drives because it is ending.
    pub draining: bool,
    /// Media in the inbox.
    pub media: Vec<MediaView>,
    /// Masters in the store.
    pub masters: Vec<MasterView>,
    /// Presses running, queued, or failed.
    pub presses: Vec<PressView>,
    /// Bytes read from the store since the station started.
    #[serde(default)]
    pub store_read_bytes: Bytes,
    /// Drives in the station's bays.
    pub drives: Vec<DriveView>,
    /// Every block device seen, with what was decided.
    pub devices: Vec<DeviceView>,
    /// The configuration file that holds; empty from a daemon that does not tell.
    #[serde(default)]
    pub config: PathBuf,
    /// Bays that have names, in the order in which they are compared with a drive's path.
    #[serde(default)]
    pub bays: Vec<BayView>,
}

/// One bay that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BayView {
    /// What people call it.
    pub name: String,
    /// Pattern over paths.
    pub path: String,
}

/// Whether media may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// Being read and verified.
    Checking,
    /// May be used.
    Valid,
    /// Must not be used.
    Invalid,
}

/// One media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaView {
    /// File name.
    pub name: String,
    /// Its state.
    pub state: MediaState,
    /// How much of the check is done, while checking.
    pub percent: Option<f64>,
    /// SHA-256, once known.
    pub sha256: Option<Digest>,
    /// Size of all its files.
    pub size_bytes: Bytes,
    /// Names and digests of its files.
    pub files: Vec<FileView>,
    /// Compression.
    pub compression: Option<String>,
    /// Whether it has an integrity table.
    pub integrity_table: Option<bool>,
    /// Images.
    pub images: Vec<Image>,
    /// Index of the image that is applied.
    pub image: u32,
    /// What that image contains.
    pub inventory: Option<Inventory>,
    /// Its boot image.
    pub boot_image: Option<BootImage>,
    /// Why it is invalid.
    pub problems: Vec<Finding>,
    /// What to know.
    pub warnings: Vec<Finding>,
}

/// One file of media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// File name.
    pub name: String,
    /// SHA-256.
    pub sha256: Digest,
}

/// One master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterView {
    /// Its name.
    pub id: MasterId,
    /// Media it was pressed from.
    pub media: String,
    /// SHA-256 of that media.
    pub media_sha256: Digest,
    /// Layout.
    pub layout: String,
    /// Drive size it is for.
    pub size_bytes: Bytes,
    /// Sector size it is for.
    pub logical_sector_bytes: u32,
    /// Bytes that each drive gets.
    pub payload_bytes: Bytes,
    /// Bytes it takes up in the store.
    pub allocated_bytes: Bytes,
    /// Root digest.
    pub root_sha256: Digest,
}

/// One press.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PressView {
    /// Master it will give.
    pub id: MasterId,
    /// Media.
    pub media: String,
    /// For drives of this geometry.
    pub geometry: Geometry,
    /// `queued`, `running` or `failed`.
    pub state: PressState,
    /// What it is doing.
    pub step: String,
    /// How much is done.
    pub percent: f64,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// Where a press stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PressState {
    /// Waits for its turn.
    Queued,
    /// Runs.
    Running,
    /// Failed; the reason stays until it is asked for again.
    Failed,
}

/// One drive in a bay of the station.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriveView {
    /// Serial number.
    pub serial: Option<Serial>,
    /// Bay.
    pub bay: Bay,
    /// Device node.
    pub device: String,
    /// Model.
    pub model: Option<String>,
    /// Bus.
    pub bus: Bus,
    /// Capacity.
    pub size_bytes: Bytes,
    /// State.
    pub state: State,
    /// Counts the attempts at this insertion, from 1.
    pub attempt: u64,
    /// Share of the job done, 0 to 100.
    pub percent: f64,
    /// Rate in the current state.
    pub bytes_per_second: Option<ByteRate>,
    /// What limits it in the current state, or has limited its read-back.
    #[serde(default)]
    pub limited_by: Option<Bottleneck>,
    /// Estimated seconds left.
    pub eta_seconds: Option<u64>,
    /// Verdict, once there is one.
    pub verdict: Option<Verdict>,
    /// Why not passed.
    pub reason: Option<Reason>,
    /// What to know.
    pub warnings: Vec<String>,
    /// Job, once one was opened.
    pub job: Option<Uuid>,
}

/// Whether a device was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Its facts are being read.
    Pending,
    /// May be, or was, written.
    Admitted,
    /// Not touched.
    Refused,
}

/// One block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Device node.
    pub device: String,
    /// Serial number.
    pub serial: Option<Serial>,
    /// World-wide name.
    pub wwn: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Bus.
    pub bus: Bus,
    /// Bay.
    pub bay: Bay,
    /// Where it is plugged in, whatever people call that.
    #[serde(default)]
    pub path: String,
    /// Capacity.
    pub size_bytes: Bytes,
    /// Logical sector size.
    pub logical_sector_bytes: u32,
    /// Counts the attempts at this insertion, from 1.
    pub attempt: u64,
    /// Decision.
    pub decision: Decision,
    /// Why it is refused.
    pub code: Option<ReasonCode>,
    /// The same for a person.
    pub detail: Option<String>,
    /// What would make it admissible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// All that speaks against it, the decisive one first.
    pub refusals: Vec<Refusal>,
}
