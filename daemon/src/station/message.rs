//! What goes into the station and what comes out: events, commands, effects.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::slot::Key;
use super::snapshot::MasterView;
use crate::admission::{Admitted, Content, Refusal, Usage};
use crate::audit::AuditTask;
use crate::drive::Geometry;
use crate::hotplug::Change;
use crate::job::Stop;
use crate::master::store::Master;
use crate::master::{MasterId, Recipe};
use crate::media::inbox::Listing;
use crate::media::intake::Outcome;
use crate::media::{Media, MediaFile};
use crate::record::Record;
use crate::replicate::progress::Progress;
use crate::units::Bytes;
use crate::worker::{self, Failure, Line};
/// What an operator asks for.
#[derive(Debug)]
pub enum Command {
    /// Allow or forbid writing.
    Arm(bool),
    /// Image a drive once more.
    Retry {
        /// Its serial number.
        serial: String,
    },
    /// Image a drive by hand, through the same admission.
    Image {
        /// Device node or kernel name.
        device: String,
        /// Media name; the newest valid one if absent.
        media: Option<String>,
    },
    /// Stop a drive's job.
    Stop {
        /// Its serial number.
        serial: String,
    },
    /// Check media again.
    VerifyMedia {
        /// Its name.
        name: String,
    },
    /// Press a master ahead.
    Press {
        /// Media name.
        media: String,
        /// For drives of this geometry.
        geometry: Geometry,
    },
    /// Remove a master, or cancel its press.
    RemoveMaster {
        /// Its name.
        id: MasterId,
    },
    /// Compare a drive with its media.
    Audit {
        /// Device node or kernel name.
        device: String,
        /// Media name.
        media: Option<String>,
    },
}

/// What an operator is told.
#[derive(Debug)]
pub enum Answer {
    /// Done.
    Done,
    /// An attempt at a drive has begun.
    Attempt {
        /// Device node.
        device: String,
        /// Its number; see [`snapshot::DriveView::attempt`].
        attempt: u64,
    },
    /// A master is there or being pressed.
    Master(MasterId),
    /// An audit runs; its lines come here.
    Audit(mpsc::Receiver<Line>),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Stable snake_case code.
    pub code: String,
    /// For a person.
    pub detail: String,
}

impl Denial {
    pub(super) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into() }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::new(&refusal.code.to_string(), refusal.detail)
    }
}

/// Where the answer to a command goes.
pub type Reply = oneshot::Sender<Result<Answer, Denial>>;

/// What was found out about a drive.
#[derive(Debug)]
pub struct Facts {
    /// Who uses it.
    pub usage: Usage,
    /// What it holds.
    pub content: Content,
    /// The latest record of this insertion, also from before a restart.
    pub previous: Option<Record>,
    /// The last imaging of a drive with this serial number, in any insertion.
    pub last: Option<Record>,
    /// Today, where the station stands.
    pub today: jiff::civil::Date,
}

/// Code of a press that was cancelled on purpose.
pub const CANCELLED: &str = "cancelled";

/// Names one decision about one insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) key: Key,
    pub(super) attempt: u64,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// Drives came, changed or went.
    Drives(Vec<Change>),
    /// The complete files in the inbox.
    Inbox(Listing),
    /// A check of media has come so far, 0 to 1.
    IntakeProgress(PathBuf, f64),
    /// A check of media has ended.
    IntakeEnded(PathBuf, Result<Outcome, Failure>),
    /// A drive's facts were read.
    Judged(Ticket, Result<Box<Facts>, Refusal>),
    /// A master was looked for in the store; `None` if it must be pressed.
    MasterLooked(Recipe, Result<Option<Arc<Master>>, Failure>),
    /// A press has come so far.
    PressProgress(MasterId, worker::Progress),
    /// A press has ended.
    PressEnded(MasterId, Result<(), Failure>),
    /// The store was listed.
    Masters(Vec<MasterView>),
    /// The drive geometries seen so far, for media that has just been verified.
    Geometries(Arc<Media>, Vec<Geometry>),
    /// A job has ended, with its record.
    JobEnded(Ticket, Box<Record>),
    /// A drive does not answer; its job has been closed without its thread.
    JobStuck(Ticket, Box<Record>),
    /// The thread of a job that was closed without it has come back.
    DriveAnswered(Ticket),
    /// An operator wants something.
    Command(Command, Reply),
    /// Take no new drives; end when none is left.
    Drain,
    /// Stop everything.
    Halt,
    /// End now; records that are open stay so until the next start closes them.
    Abandon,
}

/// Something to be done.
#[derive(Debug)]
pub enum Effect {
    /// Read a drive's facts.
    Judge(Ticket, Box<crate::drive::Drive>),
    /// Check media.
    Intake(PathBuf),
    /// Look for a master, or find out that it must be pressed.
    LookForMaster(Recipe),
    /// Press a master.
    Press {
        /// What.
        recipe: Recipe,
        /// From these files.
        files: Vec<MediaFile>,
        /// About how much room it will take.
        room: Bytes,
        /// Masters that must stay in the store.
        in_use: HashSet<MasterId>,
    },
    /// End the running press.
    CancelPress,
    /// Remove a master from the store.
    RemoveMaster(MasterId, Reply),
    /// Put a record into the ledger.
    Record(Box<Record>),
    /// Look up the geometries seen before, to press newly arrived media for them.
    LookForGeometries(Arc<Media>),
    /// Run a job.
    Job(Box<JobOrder>),
    /// Run an audit.
    Audit(AuditTask, Reply),
    /// Answer an operator.
    Answer(Reply, Result<Answer, Denial>),
    /// Nothing is left to do: end.
    Exit,
}

/// A job to be run.
#[derive(Debug)]
pub struct JobOrder {
    /// Whose.
    pub ticket: Ticket,
    /// Proof that it may be written.
    pub admitted: Admitted,
    /// What to write.
    pub master: Arc<Master>,
    /// Its record so far.
    pub record: Record,
    /// Stop request.
    pub stop: Stop,
    /// Where to count.
    pub progress: Arc<Progress>,
}
