//! What goes into the station and what comes out: events and effects.

use std::collections::HashSet;
use std::path::PathBuf;

use model::admission::{Admitted, Content, Usage};
use model::api::audit::AuditTask;
use model::api::command::Command;
use model::api::line::{Line, Progress};
use model::api::snapshot::MasterView;
use model::digest::Digest;
use model::drive::{Change, Drive, Geometry};
use model::failure::{Denial, Failure, Refusal};
use model::job::Stop;
use model::manifest::{MasterId, Recipe};
use model::media::{IntakeOutcome, Listing, MediaFile};
use model::record::Record;
use model::units::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::insertion::Key;

/// What an operator is told.
#[derive(Debug)]
pub enum Answer {
    /// It has been done.
    Done,
    /// An attempt at a drive has begun: its device node, and the number that views show with it.
    #[expect(missing_docs, reason = "the names say it")]
    Attempt { device: String, attempt: u64 },
    /// A master is there or being pressed.
    Master(MasterId),
    /// An audit runs; its lines come here.
    Audit(mpsc::Receiver<Line>),
}

/// Where the answer to a command goes.
pub type Reply = oneshot::Sender<Result<Answer, Denial>>;

/// What was found out about a drive.
#[derive(Debug)]
pub struct DriveFacts {
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

/// Names one decision about one insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) key: Key,
    pub(crate) attempt: u64,
}

/// Something that happened. `M` is a master that was found whole and opened.
#[derive(Debug)]
pub enum Event<M> {
    /// Drives came, changed or went.
    Drives(Vec<Change>),
    /// The complete files in the inbox.
    Inbox(Listing),
    /// A check of media has come so far, 0 to 1.
    IntakeProgress(PathBuf, f64),
    /// A check of media has ended.
    IntakeEnded(PathBuf, Result<IntakeOutcome, Failure>),
    /// A drive's facts were read.
    Judged(Ticket, Result<Box<DriveFacts>, Refusal>),
    /// A master was looked for in the store; `None` if it must be pressed.
    MasterLooked(Recipe, Result<Option<M>, Failure>),
    /// A press has come so far.
    PressProgress(MasterId, Progress),
    /// A press has ended.
    PressEnded(MasterId, Result<M, Failure>),
    /// The store was listed.
    Masters(Vec<MasterView>),
    /// The drive geometries seen so far, for media with this digest that has just been verified.
    Geometries(Digest, Vec<Geometry>),
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
pub enum Effect<M> {
    /// Read a drive's facts.
    Judge(Ticket, Box<Drive>),
    /// Check media.
    Intake(PathBuf),
    /// Look for a master, or find out that it must be pressed.
    LookForMaster(Recipe),
    /// Press a master.
    Press {
        /// What to press.
        recipe: Recipe,
        /// The media's files.
        files: Vec<MediaFile>,
        /// About how much room the master will take.
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
    /// Look up the geometries seen before, to press the media with this digest for them.
    LookForGeometries(Digest),
    /// Run a job.
    Job(Box<JobOrder<M>>),
    /// Run an audit.
    Audit(AuditTask, Reply),
    /// Answer an operator.
    Answer(Reply, Result<Answer, Denial>),
    /// Nothing is left to do: end.
    Exit,
}

/// A job to be run.
#[derive(Debug)]
pub struct JobOrder<M> {
    /// Whose job it is.
    pub ticket: Ticket,
    /// Proof that the drive may be written.
    pub admitted: Admitted,
    /// What to write.
    pub master: M,
    /// The job's record so far.
    pub record: Record,
    /// Tells the job to stop.
    pub stop: Stop,
}
