//! The owner of live state: an event in, effects out.
//!
//! - Owns what is known of every attached drive, of media, masters and presses. Everything that happens is an [`Event`];
//!   [`Station::apply`] takes one, changes the state and returns the [`Effect`]s to be carried out.
//! - May touch nothing but the log: the time comes with the event. So every path through the station can be tested without
//!   a drive or a runtime; the runner in the package `prestaged` receives events and carries effects out.
//! - May never do I/O, read a clock or wait, nor give a drive that was touched its verdict: jobs bring theirs. Its
//!   `.clippy.toml` forbids what the standard library offers for that. A master is a value `M` that the runner gives and
//!   gets back.

#![forbid(unsafe_code)]

mod catalog;
mod commands;
mod departed;
mod drives;
mod earlier;
mod expiry;
mod history;
mod insertion;
mod locate;
mod masters;
mod message;
mod orders;
mod past;
mod press_queue;
mod scanned;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
mod wish;
#[cfg(test)]
mod without_ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::civil::Date;
use model::admission::{NamedBay, Policy};
use model::api::snapshot::{BayView, LampsView, MasterView, MediaView, Snapshot};
use model::code::ReasonCode;
use model::failure::Refusal;
use model::job::{Reading, StopReason};
use model::layout::Layout;
use model::manifest::MasterId;
use model::media::Media;
use model::now::Now;
use model::offer::Offers;
use model::orders::{Articles, Order, Standing};
use model::record::Record;
use model::signers::ListedSigner;
use model::units::Bytes;
use uuid::Uuid;

pub use history::{History, vouched};
pub use message::{
    Acceptance, Answer, AskedOrder, DriveFacts, Effect, Event, JobOrder, Look, Reply, Ticket,
};

use catalog::{MediaCatalog, MediaUnavailable};
use departed::Departed;
use insertion::{Insertion, Key, Phase};
use locate::Located;
use orders::OpenOrders;
use past::Past;
use press_queue::PressQueue;
use scanned::Waitings;

/// The station's part of the configuration.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Setup {
    /// Name of the station.
    pub name: String,
    /// Path of the configuration file.
    pub file: PathBuf,
    /// Which drives may be imaged. Arming and disarming change it.
    pub policy: Policy,
    pub layout: Layout,
    /// Index of the image that is applied.
    pub image: u32,
    /// What drives of orders become.
    pub articles: Articles,
    /// The orders that are not closed, with how they stand.
    pub orders: Vec<(Order, Standing)>,
    /// The inbox; empty if it is not known.
    pub inbox: PathBuf,
    /// To which drives each media is made available.
    pub offers: Offers,
    /// The last day on which a media may be used, by the name of the media.
    pub expires: BTreeMap<String, Date>,
    /// Whose signatures media needs; none if it needs no signature.
    pub signers: Vec<ListedSigner>,
    /// The number of the signed list that they come from.
    pub signer_list: Option<u64>,
    /// What the station has had of each product.
    pub history: History,
    /// The records of the last jobs, the oldest first.
    pub last_jobs: Vec<Record>,
    /// The largest image of a master that the store can hold; it is as large as the drive.
    pub largest_image: Bytes,
    /// Whether masters of new media are pressed at once: those that others are derived from, or those for the geometries
    /// of drives imaged before.
    pub press_ahead: bool,
    /// Whether masters for larger drives are derived from one that is little larger than the content.
    pub derive: bool,
    /// How long the lamp of a bay blinks that somebody looks for.
    pub locate_for: std::time::Duration,
    /// When the station starts.
    pub now: Now,
}

/// The live state.
#[derive(Debug)]
pub struct Station<M> {
    setup: Setup,
    draining: bool,
    catalog: MediaCatalog,
    orders: OpenOrders,
    scanned: Waitings,
    insertions: BTreeMap<Key, Insertion>,
    departed: Departed,
    past: Past,
    located: Located,
    /// What was said last of the lamps.
    lamps: Option<LampsView>,
    /// Opened masters that drives wait for, kept until these drives have been judged once more.
    ready: BTreeMap<MasterId, M>,
    /// The masters that are being looked for in the store.
    looking: BTreeSet<MasterId>,
    presses: PressQueue,
    /// Which media drives get that nobody names, as the log was told last.
    told_media: String,
    masters: Vec<MasterView>,
    /// Why the ledger cannot be used, while it cannot.
    ledger_trouble: Option<Refusal>,
}

impl<M: Clone> Station<M> {
    /// A station without drives and media.
    pub fn new(setup: Setup) -> Self {
        Self {
            catalog: MediaCatalog::of(
                setup.inbox.clone(),
                setup.offers.clone(),
                setup.history.clone(),
            ),
            orders: OpenOrders::of(setup.orders.clone(), setup.now),
            scanned: Waitings::default(),
            draining: false,
            insertions: BTreeMap::new(),
            departed: Departed::default(),
            past: Past::of(&setup.last_jobs, &setup.policy.named),
            located: Located::default(),
            lamps: None,
            ready: BTreeMap::new(),
            looking: BTreeSet::new(),
            presses: PressQueue::default(),
            told_media: String::new(),
            masters: Vec::new(),
            ledger_trouble: None,
            setup,
        }
    }

    /// Takes an event that happens `now`; returns the effects to be carried out, in order.
    pub fn apply(&mut self, event: Event<M>, now: Now) -> Vec<Effect<M>> {
        self.orders.now = now;
        let now = now.clock.at;
        self.scanned.age(now);
        self.located.expire(now);
        let mut effects = match event {
            Event::Drives(changes) => {
                changes.into_iter().flat_map(|c| self.changed(c, now)).collect()
            }
            Event::Inbox(inbox) => {
                let check = self.catalog.update(inbox);
                let mut effects: Vec<Effect<M>> = check.into_iter().map(Effect::Intake).collect();
                effects.extend(self.drop_presses_without_media());
                effects.extend(self.judge_changeable());
                effects
            }
            Event::Parcels(parcels) => {
                self.catalog.take_parcels(parcels);
                Vec::new()
            }
            Event::IntakeBegan(path) => {
                self.catalog.began(&path, now);
                Vec::new()
            }
            Event::IntakeProgress(path, fraction) => {
                self.catalog.progress(&path, fraction);
                Vec::new()
            }
            Event::IntakeEnded(path, result) => self.intake_ended(&path, result),
            Event::Judged(ticket, facts) => self.judged(&ticket, facts, now),
            Event::MasterLooked(recipe, found) => self.master_looked(recipe, found, now),
            Event::PressProgress(id, progress) => {
                self.presses.progress(&id, progress);
                Vec::new()
            }
            Event::PressEnded(id, result) => self.press_ended(&id, result, now),
            Event::Masters(masters) => {
                self.masters = masters;
                Vec::new()
            }
            Event::Geometries(media, geometries) => {
                self.press_ahead(media, &geometries);
                Vec::new()
            }
            Event::JobEnded(ticket, record) => self.job_ended(&ticket, *record, now),
            Event::JobStuck(ticket, record) => {
                if let Some(insertion) = self.insertions.get_mut(&ticket.key) {
                    insertion.stuck = true;
                }
                self.job_ended(&ticket, *record, now)
            }
            Event::DriveAnswered(ticket) => {
                if let Some(insertion) = self.insertions.get_mut(&ticket.key) {
                    insertion.stuck = false;
                }
                Vec::new()
            }
            Event::Offered(change, reply) => self.offered(change, reply),
            Event::Orders(orders, reply) => self.orders_changed(orders, reply),
            Event::Standings(standings) => self.stand_anew(standings),
            Event::OrderFiles(files) => {
                self.orders.files = files;
                Vec::new()
            }
            Event::Results(trouble) => {
                self.orders.results = trouble;
                Vec::new()
            }
            Event::Ledger(trouble) => self.ledger_changed(trouble),
            Event::MediaAccepted(media) => {
                self.catalog.accept(media);
                self.judge_changeable()
            }
            Event::Command(command, reply) => self.command(command, reply, now),
            Event::Drain => {
                self.draining = true;
                self.setup.policy.armed = false;
                let mut effects = self.judge_changeable();
                effects.extend(self.presses.cancel_all().then_some(Effect::CancelPress));
                effects
            }
            Event::Abandon => vec![Effect::Exit],
            Event::Halt => {
                self.draining = true;
                self.setup.policy.armed = false;
                for insertion in self.insertions.values() {
                    if let Phase::Running { stop, .. } = insertion.phase() {
                        stop.request(StopReason::Shutdown);
                    }
                }
                let running = self.presses.cancel_all();
                running.then_some(Effect::CancelPress).into_iter().collect()
            }
        };
        for effect in &effects {
            if let Effect::Record(record) = effect {
                self.past.note(record, &self.setup.policy.named);
            }
        }
        self.tell_media();
        effects.extend(self.next_press());
        if self.draining && !self.insertions.values().any(Insertion::is_running) {
            effects.push(Effect::Exit);
        }
        effects
    }

    /// What somebody has done to the ledger. Whoever acknowledges that arms the station again.
    fn tampering(&self) -> Option<&Refusal> {
        let trouble = self.ledger_trouble.as_ref();
        trouble.filter(|trouble| trouble.code == ReasonCode::LedgerTampered)
    }

    /// Whether a check, a press or a job runs, so that views should be refreshed often.
    pub fn is_busy(&self) -> bool {
        self.catalog.is_checking()
            || self.presses.is_running()
            || self.insertions.values().any(Insertion::is_running)
    }

    /// The live state as views show it. `reading` tells how far a running job has come.
    pub fn snapshot(&self, reading: &dyn Fn(Uuid) -> Option<Reading>) -> Snapshot {
        let policy = &self.setup.policy;
        let in_scope = |one: &&Insertion| policy.may_hold(&one.drive) && !one.is_out_of_scope();
        let in_scope = self.insertions.values().filter(in_scope);
        Snapshot {
            station: self.setup.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            armed: self.setup.policy.armed,
            draining: self.draining,
            media: self.media_views(),
            no_media: self.catalog.choose(None).err().and_then(MediaUnavailable::missing),
            inbox: self.catalog.inbox_view(),
            orders: self.order_views(),
            scanned: self.scanned.views(),
            order_files: self.orders.files.clone(),
            results: self.orders.results.clone(),
            masters: self.masters.clone(),
            presses: self.presses.views(),
            // Filled in by the runner, which knows it.
            store_read_bytes: Bytes(0),
            hashing: None,
            drives: in_scope.map(|one| one.drive_view(reading, self.payload())).collect(),
            departed: self.departed.views(),
            history: self.past.views(),
            devices: self.insertions.values().map(Insertion::device_view).collect(),
            config: self.setup.file.clone(),
            bays: self.setup.policy.named.iter().map(bay_view).collect(),
            ledger: self.ledger_trouble.clone(),
            clock: self.orders.now.ahead().map(|_| self.orders.now),
            signers: self.setup.signers.clone(),
            signer_list: self.setup.signer_list,
            located: self.located.views(),
            lamps: self.lamps.clone(),
        }
    }

    /// The media as views show it, with what the configuration says about them.
    fn media_views(&self) -> Vec<MediaView> {
        let dated =
            |media: &Media| expiry::check(&self.setup.expires, media, self.orders.now).err();
        let mut views = self.catalog.views(&dated);
        let current = self.catalog.choose(None).ok().map(|media| media.name.clone());
        for view in &mut views {
            view.current = current.as_ref() == Some(&view.name) && view.refused.is_none();
            view.last_day = expiry::last_day_of(&self.setup.expires, view);
            view.warnings.extend(expiry::doubt(&self.setup.expires, &view.name));
        }
        views
    }

    /// The insertion that a decision is about; `None` if an operator has begun another attempt since.
    fn insertion(&mut self, ticket: &Ticket) -> Option<&mut Insertion> {
        self.insertions.get_mut(&ticket.key).filter(|one| one.attempt == ticket.attempt)
    }
}

fn bay_view(bay: &NamedBay) -> BayView {
    BayView { name: bay.name.clone(), path: bay.path.as_str().to_owned() }
}
