//! Events, which go into the station, and effects, which come out of it.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use model::admission::{Admitted, Content, Usage};
use model::api::audit::AuditTask;
use model::api::command::Command;
use model::api::line::{Line, Progress};
use model::api::orders::OrderFileView;
use model::api::requests::{Armed, Stopped};
use model::api::scanned::ScannedOrder;
use model::api::snapshot::{MasterView, ParcelView};
use model::digest::Digest;
use model::drive::{Change, Drive, Geometry};
use model::failure::{Denial, Failure, Refusal};
use model::health::Health;
use model::job::Stop;
use model::manifest::{MasterId, Recipe};
use model::media::{Inbox, IntakeOutcome, MediaFile};
use model::offer::OfferChange;
use model::operator::Operator;
use model::orders::{Article, Order, OrderChange, OrderPlace, Standing, Unit};
use model::parcel::Product;
use model::record::Record;
use model::units::Bytes;
use tokio::sync::{mpsc, oneshot};

pub use crate::insertion::Ticket;

/// The answer to an operator's command.
#[derive(Debug)]
pub enum Answer {
    /// The command has been carried out.
    Done,
    /// An attempt at a drive has begun. `device` is the drive's node; views show the same number with it.
    #[expect(missing_docs, reason = "the names say it")]
    Attempt { device: String, attempt: u64 },
    /// The station was armed or disarmed.
    Armed(Armed),
    /// A drive was stopped, or told to stop.
    Stopped(Stopped),
    /// This master is in the store, or is being pressed.
    Master(MasterId),
    /// This order waits for its drive.
    Scanned(ScannedOrder),
    /// So many orders that were scanned are forgotten.
    Forgotten(usize),
    /// A drive is being compared; this receives the lines that tell of it.
    Lines(mpsc::Receiver<Line>),
}

/// Takes the answer to a command.
pub type Reply = oneshot::Sender<Result<Answer, Denial>>;

/// The facts about a drive that a decision is made from.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DriveFacts {
    /// How closely it was looked at.
    pub look: Look,
    pub usage: Usage,
    pub content: Content,
    /// The records of this insertion, the oldest first, also from before a restart of the station.
    pub previous: Vec<Record>,
    /// The record of the last job that wrote to a drive with this serial number, in any insertion; of that job which
    /// has left what stands on the drive, if there is one.
    pub last: Option<Record>,
    /// How the orders stand that were asked about, by number; those that the ledger has.
    pub orders: BTreeMap<String, Standing>,
    /// How the serial number stands in its orders.
    pub units: BTreeMap<String, Unit>,
    /// What the drive tells of its health; absent if nobody asks drives for that, or this one is refused anyway.
    pub health: Option<Health>,
}

/// Something that has happened. `M` is a master that was found complete in the store and has been opened.
#[derive(Debug)]
pub enum Event<M> {
    /// Drives were attached, changed or detached.
    Drives(Vec<Change>),
    /// The inbox was listed.
    Inbox(Inbox),
    /// Parcels that were copied into the inbox.
    Parcels(Vec<ParcelView>),
    /// A check of media has begun.
    IntakeBegan(PathBuf),
    /// This part of a check of media is done, 0 to 1.
    IntakeProgress(PathBuf, f64),
    /// A check of media has ended.
    IntakeEnded(PathBuf, Result<IntakeOutcome, Failure>),
    /// The facts about a drive were gathered, or cannot be.
    Judged(Ticket, Result<Box<DriveFacts>, Refusal>),
    /// A master was looked for in the store; `None` if it must be pressed.
    MasterLooked(Recipe, Result<Option<M>, Failure>),
    /// A press has reported how far it is.
    PressProgress(MasterId, Progress),
    /// A press has ended.
    PressEnded(MasterId, Result<M, Failure>),
    /// The store was listed.
    Masters(Vec<MasterView>),
    /// The answer to [`Effect::LookForGeometries`].
    Geometries(Digest, Vec<Geometry>),
    /// A job has ended; its record is closed.
    JobEnded(Ticket, Box<Record>),
    /// A drive does not answer. Its record is closed, but its job's thread still hangs in the kernel.
    JobStuck(Ticket, Box<Record>),
    /// The thread of such a job has ended after all.
    DriveAnswered(Ticket),
    /// The orders that are not closed, with how they stand, after a change that somebody may wait for.
    Orders(Vec<(Order, Standing)>, Option<Reply>),
    /// The files in the folder of orders that are not taken up.
    OrderFiles(Vec<OrderFileView>),
    /// Why results cannot be handed on; nothing if they can.
    Results(Option<String>),
    /// How these orders stand now.
    Standings(Vec<(String, Standing)>),
    /// What an operator has said of media is in the ledger.
    Offered(OfferChange, Reply),
    /// The ledger has become unusable, or usable if there is no refusal.
    Ledger(Option<Refusal>),
    /// An operator has accepted media that is older than others were, and the ledger has it.
    MediaAccepted(Digest),
    /// An operator has given a command.
    Command(Command, Reply),
    /// The station shall take no new drives, and end when no job runs.
    Drain,
    /// The station shall stop all jobs, and end when none runs.
    Halt,
    /// The station shall end at once. Open records stay open until the next start closes them.
    Abandon,
}

/// An order about which the ledger is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AskedOrder {
    pub number: String,
    /// What its drives become; absent if its layout is not known.
    pub article: Option<Article>,
}

/// How closely a drive may be looked at to decide about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// From outside: it is refused whatever it holds, so it is not opened.
    Outside,
    /// Into it: it may be opened and read.
    Inside,
}

/// Something that is to be done.
#[derive(Debug)]
pub enum Effect<M> {
    /// Gather the facts about a drive, as closely as it may be looked at, and about the orders that it may belong to.
    Judge(Ticket, Box<Drive>, Look, Vec<AskedOrder>),
    /// Check media.
    Intake(PathBuf),
    /// Look for a master in the store.
    LookForMaster(Recipe),
    /// Press a master.
    Press {
        /// The master's recipe.
        recipe: Recipe,
        /// The files of the media.
        files: Vec<MediaFile>,
        /// About how much room the content will take.
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
    /// Make changes of orders in the ledger; [`Event::Orders`] is the answer.
    Orders(Vec<OrderChange>, Reply),
    /// Look up how these orders stand; [`Event::Standings`] is the answer.
    LookAtOrders(Vec<AskedOrder>),
    /// Put what an operator has said of media into the ledger; [`Event::Offered`] is the answer.
    Offer(OfferChange, Reply),
    /// Look up the geometries of drives imaged before: the media with this digest is to be pressed for them.
    LookForGeometries(Digest),
    /// Run a job.
    Job(Box<JobOrder<M>>),
    /// Take the tables of this record's job from the drive, if they stand there: the station was killed during the job.
    Clean(Box<Admitted>, Box<Record>),
    /// Note in the ledger that this older media may be used, then answer.
    AcceptMedia(Box<Acceptance>, Reply),
    /// Run an audit.
    Audit(AuditTask, Reply),
    /// Compare a drive with its own last record that has passed.
    Verify(Box<Drive>, Reply),
    /// Answer an operator.
    Answer(Reply, Result<Answer, Denial>),
    /// End the daemon: nothing is left to do.
    Exit,
}

/// What an operator accepts although it is older than other media was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Acceptance {
    pub sha256: Digest,
    pub product: Product,
    pub sequence: u64,
    pub reason: String,
    pub by: Operator,
}

/// A job that is to be run.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct JobOrder<M> {
    /// The decision that has led to the job.
    pub ticket: Ticket,
    /// Proof that the drive may be written.
    pub admitted: Admitted,
    pub master: M,
    /// The job's record, still open.
    pub record: Record,
    /// The place that the job needs in its order.
    pub place: Option<OrderPlace>,
    /// Tells the job to stop.
    pub stop: Stop,
}
