//! The owner of live state.
//!
//! Everything that happens is an [`Event`]; [`Station::apply`] takes one, changes the state and returns the
//! [`Effect`]s to be carried out. It does no I/O and never waits, so every path through the station can be
//! tested without a drive or a runtime. [`runner`] receives events and carries effects out.

mod press_queue;
pub mod runner;
mod shelf;
mod slot;
pub mod snapshot;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::admission::{self, Admitted, Candidate, Code, Content, Need, Policy, Refusal, Usage};
use crate::audit::AuditTask;
use crate::drive::Geometry;
use crate::hotplug::Change;
use crate::job::{State, Stop, StopReason, Verdict};
use crate::layout::Layout;
use crate::master::store::Master;
use crate::master::{MasterId, Recipe};
use crate::media::inbox::Listing;
use crate::media::intake::Outcome;
use crate::media::{Media, MediaFile};
use crate::record::Record;
use crate::replicate::progress::Progress;
use crate::units::Bytes;
use crate::worker::{self, Failure, Line};
use press_queue::{PressQueue, Wish};
use shelf::Shelf;
use slot::{Key, Phase, Slot};
use snapshot::{MasterView, Snapshot};

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
    fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into() }
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
}

/// Code of a press that was cancelled on purpose.
pub const CANCELLED: &str = "cancelled";

/// Names one decision about one insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    key: Key,
    attempt: u64,
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
    Judged(Ticket, Result<Facts, String>),
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
    /// An operator wants something.
    Command(Command, Reply),
    /// Take no new drives; end when none is left.
    Drain,
    /// Stop everything.
    Halt,
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

/// Live state.
#[derive(Debug)]
pub struct Station {
    name: String,
    policy: Policy,
    layout: Layout,
    image: u32,
    press_ahead: bool,
    draining: bool,
    shelf: Shelf,
    slots: BTreeMap<Key, Slot>,
    /// Masters that drives wait for and that were found whole, until their drives have been judged once more.
    ready: Vec<Arc<Master>>,
    presses: PressQueue,
    masters: Vec<MasterView>,
}

impl Station {
    /// A station with nothing attached.
    pub fn new(name: &str, policy: Policy, layout: Layout, image: u32, press_ahead: bool) -> Self {
        Self {
            name: name.to_owned(),
            policy,
            layout,
            image,
            press_ahead,
            draining: false,
            shelf: Shelf::default(),
            slots: BTreeMap::new(),
            ready: Vec::new(),
            presses: PressQueue::default(),
            masters: Vec::new(),
        }
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = match event {
            Event::Drives(changes) => changes.into_iter().flat_map(|c| self.changed(c)).collect(),
            Event::Inbox(listing) => {
                let check = self.shelf.update(&listing);
                let mut effects: Vec<Effect> = check.into_iter().map(Effect::Intake).collect();
                effects.extend(self.drop_presses_without_media());
                effects.extend(self.judge_waiting());
                effects
            }
            Event::IntakeProgress(path, fraction) => {
                self.shelf.progress(&path, fraction);
                Vec::new()
            }
            Event::IntakeEnded(path, result) => self.intake_ended(&path, result),
            Event::Judged(ticket, facts) => self.judged(&ticket, facts),
            Event::MasterLooked(recipe, found) => self.master_looked(recipe, found),
            Event::PressProgress(id, progress) => {
                self.presses.progress(&id, progress);
                Vec::new()
            }
            Event::PressEnded(id, result) => self.press_ended(&id, result),
            Event::Masters(masters) => {
                self.masters = masters;
                Vec::new()
            }
            Event::Geometries(media, geometries) => {
                self.press_ahead(&media, &geometries);
                Vec::new()
            }
            Event::JobEnded(ticket, record) => self.job_ended(&ticket, *record),
            Event::Command(command, reply) => self.command(command, reply),
            Event::Drain => {
                self.draining = true;
                self.policy.armed = false;
                let mut effects = self.judge_waiting();
                effects.extend(self.presses.cancel_all().then_some(Effect::CancelPress));
                effects
            }
            Event::Halt => {
                self.draining = true;
                self.policy.armed = false;
                for slot in self.slots.values() {
                    if let Phase::Running { stop, .. } = &slot.phase {
                        stop.request(StopReason::Shutdown);
                    }
                }
                let running = self.presses.cancel_all();
                running.then_some(Effect::CancelPress).into_iter().collect()
            }
        };
        effects.extend(self.next_press());
        let running = |slot: &Slot| matches!(slot.phase, Phase::Running { .. });
        if self.draining && !self.slots.values().any(running) {
            effects.push(Effect::Exit);
        }
        effects
    }

    /// Whether something moves, so that views should be refreshed often.
    pub fn is_busy(&self) -> bool {
        self.shelf.is_checking()
            || self.presses.is_running()
            || self.slots.values().any(|slot| matches!(slot.phase, Phase::Running { .. }))
    }

    /// What to show.
    pub fn snapshot(&self) -> Snapshot {
        let in_scope = self.slots.values().filter(|slot| !slot.is_out_of_scope());
        Snapshot {
            station: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            armed: self.policy.armed,
            draining: self.draining,
            media: self.shelf.views(),
            masters: self.masters.clone(),
            presses: self.presses.views(),
            drives: in_scope.map(Slot::drive_view).collect(),
            devices: self.slots.values().map(Slot::device_view).collect(),
        }
    }

    fn changed(&mut self, change: Change) -> Vec<Effect> {
        match change {
            Change::Present(drive) => {
                let key = (drive.name.clone(), drive.diskseq);
                if let Some(slot) = self.slots.get_mut(&key) {
                    // Its own writing and partitioning show up as changes; the insertion is the same.
                    let relevant =
                        (slot.drive.size, slot.drive.read_only, slot.drive.logical_sector_bytes)
                            != (drive.size, drive.read_only, drive.logical_sector_bytes)
                            || slot.drive.serial != drive.serial;
                    slot.drive = drive;
                    let undecided = matches!(slot.phase, Phase::Judging | Phase::Refused(_));
                    let again = (relevant && undecided).then(|| self.judge(&key)).flatten();
                    return again.into_iter().collect();
                }
                tracing::info!(device = %drive.node.display(), serial = %drive.label(), bay = %drive.bay, "drive attached");
                self.slots.insert(key.clone(), Slot::new(drive));
                self.judge(&key).into_iter().collect()
            }
            Change::Gone { name, diskseq } => {
                let key = (name, diskseq);
                let Some(slot) = self.slots.get_mut(&key) else { return Vec::new() };
                tracing::info!(device = %slot.drive.node.display(), serial = %slot.drive.label(), "drive detached");
                match &slot.phase {
                    Phase::Running { stop, .. } => {
                        stop.request(StopReason::Unplugged);
                        slot.departed = true;
                        Vec::new()
                    }
                    Phase::Waiting(_) => {
                        let detail = "the drive was detached before anything was written to it";
                        let record = self
                            .record_for(&key)
                            .map(|record| record.closed_with(Verdict::Failed, "unplugged", detail));
                        self.slots.remove(&key);
                        record.map(|r| Effect::Record(Box::new(r))).into_iter().collect()
                    }
                    Phase::Judging | Phase::Refused(_) | Phase::Done => {
                        self.slots.remove(&key);
                        Vec::new()
                    }
                }
            }
        }
    }

    /// Reads a drive's facts anew; the decision follows.
    fn judge(&mut self, key: &Key) -> Option<Effect> {
        let slot = self.slots.get_mut(key)?;
        if matches!(slot.phase, Phase::Refused(_)) {
            slot.phase = Phase::Judging;
        }
        let ticket = Ticket { key: key.clone(), attempt: slot.attempt };
        Some(Effect::Judge(ticket, Box::new(slot.drive.clone())))
    }

    fn judge_all(&mut self, keys: &[Key]) -> Vec<Effect> {
        keys.iter().filter_map(|key| self.judge(key)).collect()
    }

    /// Judges again every drive that was refused for something the station lacked.
    fn judge_waiting(&mut self) -> Vec<Effect> {
        let keys: Vec<Key> =
            self.slots.values().filter(|slot| slot.is_waiting()).map(Slot::key).collect();
        self.judge_all(&keys)
    }

    fn slot(&mut self, ticket: &Ticket) -> Option<&mut Slot> {
        self.slots.get_mut(&ticket.key).filter(|slot| slot.attempt == ticket.attempt)
    }

    fn judged(&mut self, ticket: &Ticket, facts: Result<Facts, String>) -> Vec<Effect> {
        let Some(slot) = self.slot(ticket) else { return Vec::new() };
        if !matches!(slot.phase, Phase::Judging | Phase::Waiting(_)) {
            return Vec::new();
        }
        let facts = match facts {
            Ok(facts) => facts,
            Err(detail) => {
                let detail = format!("cannot be judged: {detail}");
                return self.refuse(&ticket.key, vec![Refusal::new(Code::InUse, detail)]);
            }
        };
        if slot.record.is_none() {
            slot.record = facts.previous;
            let verdict = slot.record.as_ref().and_then(|record| record.verdict);
            slot.imaged = verdict.is_some_and(|verdict| verdict != Verdict::Refused);
        }
        if slot.imaged && !slot.by_hand {
            // By this station, before it was restarted.
            slot.phase = Phase::Done;
            return Vec::new();
        }
        let (drive, wish) = (slot.drive.clone(), slot.wish.clone());
        let chosen = self.shelf.choose(wish.as_deref());
        let geometry = drive.geometry();
        let wanted = chosen.as_ref().map_err(Clone::clone).map(|media| self.need(media, geometry));
        let twins = self
            .slots
            .values()
            .filter(|other| {
                other.drive.serial.is_some()
                    && other.drive.serial == drive.serial
                    && other.key() != ticket.key
                    && !other.departed
                    && !other.is_out_of_scope()
            })
            .map(|other| other.drive.name.clone())
            .collect();
        let Facts { usage, content, .. } = facts;
        let candidate = Candidate { drive, usage, content, twins, wanted };
        match (admission::admit(candidate, &self.policy), chosen) {
            (Ok(admitted), Ok(media)) => self.admitted(ticket, admitted, &media),
            (Err(refusals), _) => self.refuse(&ticket.key, refusals),
            (Ok(_), Err(refusal)) => self.refuse(&ticket.key, vec![refusal]),
        }
    }

    fn need(&self, media: &Media, geometry: Option<Geometry>) -> Need {
        let sector = geometry.map_or(crate::units::SectorSize::B512, |g| g.sector);
        let content = media.inventory.least_bytes;
        let (least, arithmetic) = self.layout.least_drive(content, sector);
        Need { least, arithmetic }
    }

    fn recipe(&self, media: &Media, geometry: Geometry) -> Recipe {
        Recipe {
            media_name: media.name.clone(),
            media_sha256: media.sha256,
            image: self.image,
            layout: self.layout.clone(),
            geometry,
        }
    }

    /// The first time a drive passes admission its master is looked for; when that is at hand the drive is judged once
    /// more, and this proof is the one that is used.
    fn admitted(&mut self, ticket: &Ticket, admitted: Admitted, media: &Media) -> Vec<Effect> {
        let recipe = self.recipe(media, admitted.geometry());
        let id = recipe.id();
        if let Err(error) = recipe.layout.plan(recipe.geometry) {
            return self.refuse(&ticket.key, vec![Refusal::new(Code::TooSmall, error.to_string())]);
        }
        let master = self.ready.iter().find(|master| master.manifest.id == id).cloned();
        let Some(record) = self.record_for(&ticket.key) else { return Vec::new() };
        let Some(slot) = self.slot(ticket) else { return Vec::new() };
        let Some(master) = master else {
            slot.phase = Phase::Waiting(Box::new(recipe.clone()));
            return vec![Effect::LookForMaster(recipe)];
        };
        let (stop, total) = (Stop::default(), Bytes(2 * master.manifest.payload().0));
        let progress = Arc::new(Progress::new(State::Claiming, total));
        slot.phase = Phase::Running {
            progress: Arc::clone(&progress),
            stop: stop.clone(),
            job: record.job,
            master: id,
        };
        let ticket = ticket.clone();
        let order = JobOrder { ticket, admitted, master, record, stop, progress };
        self.forget_ready();
        vec![Effect::Job(Box::new(order))]
    }

    /// Lets go of masters that no drive waits for.
    fn forget_ready(&mut self) {
        let waited = self.waited_for();
        self.ready.retain(|master| waited.contains(&master.manifest.id));
    }

    fn waited_for(&self) -> HashSet<MasterId> {
        self.slots
            .values()
            .filter_map(|slot| match &slot.phase {
                Phase::Waiting(recipe) => Some(recipe.id()),
                _ => None,
            })
            .collect()
    }

    /// A record for this attempt: the one a refusal has left, or a new one.
    fn record_for(&self, key: &Key) -> Option<Record> {
        let slot = self.slots.get(key)?;
        let fresh = Record::open(&self.name, &slot.drive);
        let refused = slot.record.as_ref().filter(|r| r.verdict == Some(Verdict::Refused));
        Some(match refused {
            Some(old) => Record { job: old.job, ..fresh },
            None => fresh,
        })
    }

    fn refuse(&mut self, key: &Key, refusals: Vec<Refusal>) -> Vec<Effect> {
        let Some(record) = self.record_for(key) else { return Vec::new() };
        let Some(slot) = self.slots.get_mut(key) else { return Vec::new() };
        let first = refusals.first().cloned();
        slot.phase = Phase::Refused(refusals);
        let Some(first) = first.filter(|_| !slot.is_out_of_scope()) else { return Vec::new() };
        let same = |r: &Record| {
            r.verdict == Some(Verdict::Refused)
                && r.reason.as_ref().is_some_and(|reason| reason.code == first.code.to_string())
        };
        if slot.record.as_ref().is_some_and(same) {
            return Vec::new();
        }
        let record = record.refused(&first);
        slot.record = Some(record.clone());
        vec![Effect::Record(Box::new(record))]
    }

    fn intake_ended(&mut self, path: &PathBuf, result: Result<Outcome, Failure>) -> Vec<Effect> {
        match &result {
            Ok(Outcome::Media(media)) if media.problems.is_empty() => {
                tracing::info!(media = media.name, sha256 = %media.sha256, "media verified");
            }
            Ok(Outcome::Media(media)) => {
                let why: Vec<String> =
                    media.problems.iter().map(|p| format!("{}: {}", p.code, p.detail)).collect();
                tracing::error!(media = media.name, "media is not usable: {}", why.join("; "));
            }
            Ok(Outcome::LaterPart) => {}
            Err(failure) => {
                tracing::error!(media = %path.display(), "media is not usable: {}: {}", failure.code, failure.detail);
            }
        }
        let arrived = match &result {
            Ok(Outcome::Media(media)) if media.problems.is_empty() && self.press_ahead => {
                Some(Effect::LookForGeometries(Arc::new((**media).clone())))
            }
            _ => None,
        };
        let again = self.shelf.checked(path, result);
        let mut effects: Vec<Effect> = again.into_iter().map(Effect::Intake).collect();
        effects.extend(arrived);
        effects.extend(self.judge_waiting());
        effects
    }

    fn master_looked(
        &mut self,
        recipe: Recipe,
        found: Result<Option<Arc<Master>>, Failure>,
    ) -> Vec<Effect> {
        let id = recipe.id();
        match found {
            Ok(Some(master)) => {
                let keys = self.waiting_for(&id);
                if !keys.is_empty() {
                    self.ready.retain(|ready| ready.manifest.id != id);
                    self.ready.push(master);
                }
                self.judge_all(&keys)
            }
            Ok(None) => {
                self.want_press(recipe, Wish::Drive);
                Vec::new()
            }
            Err(failure) => self.press_ended(&id, Err(failure)),
        }
    }

    fn waiting_for(&self, id: &MasterId) -> Vec<Key> {
        self.slots
            .values()
            .filter(|slot| matches!(&slot.phase, Phase::Waiting(r) if r.id() == *id))
            .map(Slot::key)
            .collect()
    }

    /// Queues a press, if the media is still there.
    fn want_press(&mut self, recipe: Recipe, wish: Wish) {
        let media = self.shelf.valid().into_iter().find(|m| m.sha256 == recipe.media_sha256);
        if let Some(media) = media {
            self.presses.add(recipe, media.files.clone(), media.inventory.least_bytes, wish);
        }
    }

    fn next_press(&mut self) -> Option<Effect> {
        if self.draining {
            return None;
        }
        let (recipe, files, room) = self.presses.start()?;
        let mut in_use = self.waited_for();
        in_use.extend(self.slots.values().filter_map(|slot| match &slot.phase {
            Phase::Running { master, .. } => Some(master.clone()),
            _ => None,
        }));
        Some(Effect::Press { recipe, files, room, in_use })
    }

    /// Ends the press, and the waiting, for media that has left the inbox or changed.
    fn drop_presses_without_media(&mut self) -> Vec<Effect> {
        let valid: HashSet<_> = self.shelf.valid().iter().map(|media| media.sha256).collect();
        let cancelled = self.presses.drop_media_other_than(&valid);
        let lost: Vec<Key> = self
            .slots
            .values()
            .filter(
                |slot| matches!(&slot.phase, Phase::Waiting(r) if !valid.contains(&r.media_sha256)),
            )
            .map(Slot::key)
            .collect();
        // They are judged anew: with other media, or as waiting for some.
        for key in &lost {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.phase = Phase::Judging;
            }
        }
        let mut effects = self.judge_all(&lost);
        effects.extend(cancelled.then_some(Effect::CancelPress));
        effects
    }

    fn press_ended(&mut self, id: &MasterId, result: Result<(), Failure>) -> Vec<Effect> {
        let failure = match result {
            Ok(()) => {
                let recipe = self.presses.ended(id);
                let wanted = !self.waiting_for(id).is_empty();
                let look = recipe.filter(|_| wanted).map(Effect::LookForMaster);
                return look.into_iter().collect();
            }
            Err(failure) => failure,
        };
        if failure.code == "media_changed" {
            return self.recheck_pressed(id);
        }
        if failure.code == CANCELLED {
            self.presses.ended(id);
            if self.draining {
                let keys = self.waiting_for(id);
                return self.judge_all(&keys);
            }
        } else {
            tracing::error!(master = %id, "press failed: {}: {}", failure.code, failure.detail);
            self.presses.failed(id, &failure);
        }
        let mut effects = Vec::new();
        for key in self.waiting_for(id) {
            if failure.code == "volume_full" {
                let detail = format!("the content does not fit: {}", failure.detail);
                effects.extend(self.refuse(&key, vec![Refusal::new(Code::TooSmall, detail)]));
                continue;
            }
            let Some(record) = self.record_for(&key) else { continue };
            let record = if failure.code == CANCELLED {
                record.closed_with(Verdict::Stopped, "operator_stop", &failure.detail)
            } else {
                let detail = format!("{}: {}", failure.code, failure.detail);
                record.closed_with(Verdict::Failed, "press_failed", &detail)
            };
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.record = Some(record.clone());
                slot.imaged = true;
                slot.phase = Phase::Done;
            }
            effects.push(Effect::Record(Box::new(record)));
        }
        effects
    }

    /// The media changed under a press: it is verified again, and its drives wait for that.
    fn recheck_pressed(&mut self, id: &MasterId) -> Vec<Effect> {
        let name = self.presses.ended(id).map(|recipe| recipe.media_name);
        let path = name.and_then(|name| self.shelf.recheck(&name));
        let mut effects: Vec<Effect> = path.map(Effect::Intake).into_iter().collect();
        let keys = self.waiting_for(id);
        effects.extend(self.judge_all(&keys));
        effects
    }

    fn job_ended(&mut self, ticket: &Ticket, record: Record) -> Vec<Effect> {
        let Some(slot) = self.slots.get_mut(&ticket.key) else { return Vec::new() };
        slot.imaged |= record.verdict != Some(Verdict::Refused);
        slot.record = Some(record);
        slot.phase = Phase::Done;
        if slot.departed {
            self.slots.remove(&ticket.key);
        }
        Vec::new()
    }

    fn command(&mut self, command: Command, reply: Reply) -> Vec<Effect> {
        let answer = |reply, result| vec![Effect::Answer(reply, result)];
        let mut effects = Vec::new();
        let result = match command {
            Command::Arm(_) if self.draining => {
                Err(Denial::new("draining", "the station is ending; it takes no more drives"))
            }
            Command::Arm(armed) => {
                tracing::warn!(
                    armed,
                    "the operator {} the station",
                    if armed { "armed" } else { "disarmed" }
                );
                self.policy.armed = armed;
                effects = self.judge_waiting();
                Ok(Answer::Done)
            }
            Command::Retry { serial } => {
                self.find_serial(&serial).and_then(|key| self.begin_anew(&key, None, &mut effects))
            }
            Command::Image { device, media } => {
                self.find_device(&device).and_then(|key| self.begin_anew(&key, media, &mut effects))
            }
            Command::Stop { serial } => self.find_serial(&serial).and_then(|key| {
                match self.slots.get(&key).map(|slot| &slot.phase) {
                    Some(Phase::Running { stop, .. }) => {
                        stop.request(StopReason::Operator);
                        Ok(Answer::Done)
                    }
                    _ => Err(Denial::new("not_running", format!("{serial} is not being imaged"))),
                }
            }),
            Command::VerifyMedia { name } => match self.shelf.recheck(&name) {
                Some(path) => {
                    effects.push(Effect::Intake(path));
                    Ok(Answer::Done)
                }
                None => {
                    Err(Denial::new("no_media", format!("no media named {name:?} is in the inbox")))
                }
            },
            Command::Press { media, geometry } => self.press_by_hand(&media, geometry),
            Command::RemoveMaster { id } => {
                if self.presses.is_running_for(&id) {
                    self.presses.cancel(&id);
                    return vec![Effect::CancelPress, Effect::Answer(reply, Ok(Answer::Done))];
                }
                return vec![Effect::RemoveMaster(id, reply)];
            }
            Command::Audit { device, media } => match self.audit_task(&device, media.as_deref()) {
                Ok(task) => return vec![Effect::Audit(task, reply)],
                Err(denial) => Err(denial),
            },
        };
        effects.extend(answer(reply, result));
        effects
    }

    fn find_device(&self, device: &str) -> Result<Key, Denial> {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        let mut found =
            self.slots.values().filter(|slot| slot.drive.name == name && !slot.departed);
        found.next().map(Slot::key).ok_or_else(|| {
            let detail = format!("no drive {device:?} is attached; see `prestagectl drives`");
            Denial::new("no_such_drive", detail)
        })
    }

    fn find_serial(&self, serial: &str) -> Result<Key, Denial> {
        let fits = |slot: &&Slot| {
            slot.drive.serial.as_ref().is_some_and(|s| s.as_str() == serial) && !slot.departed
        };
        self.slots.values().find(fits).map(Slot::key).ok_or_else(|| {
            let detail = format!("no drive with serial number {serial:?} is attached");
            Denial::new("no_such_drive", detail)
        })
    }

    fn begin_anew(
        &mut self,
        key: &Key,
        wish: Option<String>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Denial> {
        let Some(slot) = self.slots.get_mut(key) else {
            return Err(Denial::new("no_such_drive", "the drive has just been detached"));
        };
        // A drive that is already on its way is not started again; the operator gets to see it.
        let under_way = matches!(slot.phase, Phase::Running { .. } | Phase::Waiting(_));
        if under_way && wish.is_some() {
            return Err(Denial::new("busy", "the drive is being imaged; stop it first"));
        }
        if !under_way {
            slot.begin_anew(wish);
        }
        let (device, attempt) = (slot.drive.node.display().to_string(), slot.attempt);
        if !under_way {
            effects.extend(self.judge(key));
        }
        Ok(Answer::Attempt { device, attempt })
    }

    fn press_by_hand(&mut self, media: &str, geometry: Geometry) -> Result<Answer, Denial> {
        let media = self
            .shelf
            .choose(Some(media))
            .map_err(|refusal| Denial::new(&refusal.code.to_string(), refusal.detail))?;
        let recipe = self.recipe(&media, geometry);
        recipe.layout.plan(geometry).map_err(|e| Denial::new("too_small", e.to_string()))?;
        let id = recipe.id();
        if !self.masters.iter().any(|master| master.id == id) {
            self.want_press(recipe, Wish::Operator);
        }
        Ok(Answer::Master(id))
    }

    /// Queues a press for each geometry, after those that drives wait for.
    fn press_ahead(&mut self, media: &Media, geometries: &[Geometry]) {
        for geometry in geometries {
            let recipe = self.recipe(media, *geometry);
            let fits = recipe.layout.plan(*geometry).is_ok();
            if fits && !self.masters.iter().any(|master| master.id == recipe.id()) {
                self.want_press(recipe, Wish::Ahead);
            }
        }
    }

    fn audit_task(&self, device: &str, wish: Option<&str>) -> Result<AuditTask, Denial> {
        let key = self.find_device(device)?;
        let Some(slot) = self.slots.get(&key) else {
            return Err(Denial::new("no_such_drive", "the drive has just been detached"));
        };
        if matches!(slot.phase, Phase::Running { .. }) {
            return Err(Denial::new("busy", "the drive is being imaged; wait until it is done"));
        }
        let recorded = slot.record.as_ref().and_then(|record| record.media.as_ref());
        let recorded = recorded.map(|media| media.name.clone());
        let media = self
            .shelf
            .choose(wish.or(recorded.as_deref()))
            .map_err(|refusal| Denial::new(&refusal.code.to_string(), refusal.detail))?;
        Ok(AuditTask {
            node: slot.drive.node.clone(),
            size: slot.drive.size,
            logical_sector_bytes: slot.drive.logical_sector_bytes,
            files: media.files.clone(),
            image: media.image,
        })
    }
}
