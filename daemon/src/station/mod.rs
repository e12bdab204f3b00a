//! The owner of live state.
//!
//! Everything that happens is an [`Event`]; [`Station::apply`] takes one, changes the state and returns the
//! [`Effect`]s to be carried out. It does no I/O and never waits, so every path through the station can be
//! tested without a drive or a runtime. [`runner`] receives events and carries effects out.

mod commands;
mod facts;
mod jobs;
mod judging;
mod message;
mod press_queue;
mod pressing;
pub mod runner;
mod shelf;
mod slot;
pub mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

pub use message::{
    Answer, CANCELLED, Command, Denial, Effect, Event, Facts, JobOrder, Reply, Ticket,
};

use crate::admission::{NamedBay, Policy};
use crate::job::StopReason;
use crate::layout::Layout;
use crate::master::store::Master;
use crate::units::Bytes;
use press_queue::PressQueue;
use shelf::Shelf;
use slot::{Key, Phase, Slot};
use snapshot::{BayView, MasterView, Snapshot};

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Station's name.
    pub name: String,
    /// Where the configuration is.
    pub file: PathBuf,
    /// Who may be imaged. Arming changes it.
    pub policy: Policy,
    /// What drives get.
    pub layout: Layout,
    /// Index of the image that is applied.
    pub image: u32,
    /// By media name, the last day on which it may be used.
    pub expires: BTreeMap<String, Date>,
    /// Whether new media is pressed for drive sizes already seen.
    pub press_ahead: bool,
}

/// Live state.
#[derive(Debug)]
pub struct Station {
    setup: Setup,
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
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
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
            Event::JobStuck(ticket, record) => {
                if let Some(slot) = self.slots.get_mut(&ticket.key) {
                    slot.stuck = true;
                }
                self.job_ended(&ticket, *record)
            }
            Event::DriveAnswered(ticket) => {
                if let Some(slot) = self.slots.get_mut(&ticket.key) {
                    slot.stuck = false;
                }
                Vec::new()
            }
            Event::Command(command, reply) => self.command(command, reply),
            Event::Drain => {
                self.draining = true;
                self.setup.policy.armed = false;
                let mut effects = self.judge_waiting();
                effects.extend(self.presses.cancel_all().then_some(Effect::CancelPress));
                effects
            }
            Event::Abandon => vec![Effect::Exit],
            Event::Halt => {
                self.draining = true;
                self.setup.policy.armed = false;
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
            station: self.setup.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            armed: self.setup.policy.armed,
            draining: self.draining,
            media: self.shelf.views(),
            masters: self.masters.clone(),
            presses: self.presses.views(),
            // Filled in by whoever does the reading.
            store_read_bytes: Bytes(0),
            drives: in_scope.map(Slot::drive_view).collect(),
            devices: self.slots.values().map(Slot::device_view).collect(),
            config: self.setup.file.clone(),
            bays: self.setup.policy.named.iter().map(bay_view).collect(),
        }
    }

    fn slot(&mut self, ticket: &Ticket) -> Option<&mut Slot> {
        self.slots.get_mut(&ticket.key).filter(|slot| slot.attempt == ticket.attempt)
    }
}

fn bay_view(bay: &NamedBay) -> BayView {
    BayView { name: bay.name.clone(), path: bay.path.as_str().to_owned() }
}
