//! Drives: coming, being judged, admitted or refused, going.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::civil::Date;

use super::Station;
use super::message::{Effect, Facts, JobOrder, Ticket};
use super::shelf::Lacking;
use super::slot::{Key, Phase, Slot};
use crate::admission::{self, Admitted, Candidate, Code, Need, Refusal};
use crate::drive::{Geometry, Serial};
use crate::hotplug::Change;
use crate::job::{State, Stop, StopReason, Verdict};
use crate::layout::LayoutError;
use crate::master::{MasterId, Recipe};
use crate::media::Media;
use crate::record::Record;
use crate::replicate::progress::Progress;
use crate::units::{Bytes, SectorSize};
impl Station {
    pub(super) fn changed(&mut self, change: Change) -> Vec<Effect> {
        match change {
            Change::Present(drive) => {
                let drive = self.setup.policy.placed(*drive);
                let key = (drive.name.clone(), drive.diskseq);
                if let Some(slot) = self.slots.get_mut(&key) {
                    // Its own writing and partitioning show up as changes; the insertion is the same.
                    let relevant =
                        (slot.drive.size, slot.drive.read_only, slot.drive.logical_sector_bytes)
                            != (drive.size, drive.read_only, drive.logical_sector_bytes)
                            || slot.drive.serial != drive.serial;
                    slot.drive = drive;
                    // It may have been missing from one look only; its job has been stopped all the same.
                    slot.departed = false;
                    let undecided = matches!(
                        slot.phase,
                        Phase::Judging | Phase::AwaitingMedia | Phase::Refused(_)
                    );
                    let again = (relevant && undecided).then(|| self.judge(&key)).flatten();
                    return again.into_iter().collect();
                }
                tracing::info!(device = %drive.node.display(), serial = %drive.label(), bay = %drive.bay, "drive attached");
                self.slots.insert(key.clone(), Slot::new(drive));
                // What comes while the station ends is the next one's.
                let judged = if self.draining { None } else { self.judge(&key) };
                judged.into_iter().collect()
            }
            Change::Gone { name, diskseq } => {
                let key = (name, diskseq);
                let Some(slot) = self.slots.get_mut(&key) else { return Vec::new() };
                tracing::info!(device = %slot.drive.node.display(), serial = %slot.drive.label(), "drive detached");
                let serial = slot.drive.serial.clone();
                let mut effects = match &slot.phase {
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
                    Phase::Judging | Phase::AwaitingMedia | Phase::Refused(_) | Phase::Done => {
                        self.slots.remove(&key);
                        Vec::new()
                    }
                };
                effects.extend(self.judge_former_twins(serial.as_ref()));
                effects
            }
        }
    }

    /// Reads a drive's facts anew; the decision follows.
    pub(super) fn judge(&mut self, key: &Key) -> Option<Effect> {
        let slot = self.slots.get_mut(key)?;
        if matches!(slot.phase, Phase::Refused(_) | Phase::AwaitingMedia) {
            slot.phase = Phase::Judging;
        }
        let ticket = Ticket { key: key.clone(), attempt: slot.attempt };
        Some(Effect::Judge(ticket, Box::new(slot.drive.clone())))
    }

    pub(super) fn judge_all(&mut self, keys: &[Key]) -> Vec<Effect> {
        keys.iter().filter_map(|key| self.judge(key)).collect()
    }

    /// Judges again every drive that was refused for something the station lacked.
    pub(super) fn judge_waiting(&mut self) -> Vec<Effect> {
        let keys: Vec<Key> =
            self.slots.values().filter(|slot| slot.is_waiting()).map(Slot::key).collect();
        self.judge_all(&keys)
    }

    /// Judges again what was refused only because a drive of the same serial number was there too.
    fn judge_former_twins(&mut self, serial: Option<&Serial>) -> Vec<Effect> {
        let twin = |slot: &&Slot| {
            serial.is_some() && slot.drive.serial.as_ref() == serial && slot.is_refused_as_twin()
        };
        let keys: Vec<Key> = self.slots.values().filter(twin).map(Slot::key).collect();
        self.judge_all(&keys)
    }

    pub(super) fn judged(
        &mut self,
        ticket: &Ticket,
        facts: Result<Box<Facts>, Refusal>,
    ) -> Vec<Effect> {
        let Some(slot) = self.slot(ticket) else { return Vec::new() };
        if !matches!(slot.phase, Phase::Judging | Phase::Waiting(_)) {
            return Vec::new();
        }
        let facts = match facts {
            Ok(facts) => facts,
            Err(refusal) => return self.refuse(&ticket.key, vec![refusal]),
        };
        if let Some(previous) = facts.previous.filter(|_| !slot.imaged) {
            // A refusal since the station's start does not undo what was done before it.
            let imaged = previous.verdict.is_some_and(|verdict| verdict != Verdict::Refused);
            if imaged || slot.record.is_none() {
                (slot.record, slot.imaged) = (Some(previous), imaged);
            }
        }
        if slot.imaged && !slot.by_hand {
            // By this station, before it was restarted.
            slot.phase = Phase::Done;
            return Vec::new();
        }
        let (drive, wish, by_hand) = (slot.drive.clone(), slot.wish.clone(), slot.by_hand);
        let chosen = self.shelf.choose(wish.as_deref());
        let wanted = match &chosen {
            Ok(media) => {
                self.unexpired(media, facts.today).map(|()| self.need(media, drive.geometry()))
            }
            Err(lacking) => Err(lacking.clone().refusal()),
        };
        let attached = self.slots.values().filter(|other| !other.departed);
        let twins = drive.twins(attached.map(|other| &other.drive));
        let twins = twins.map(|other| other.name.clone()).collect();
        let passed = match (&chosen, drive.geometry()) {
            (Ok(media), Some(geometry)) if !by_hand => facts.last.filter(|last| {
                let master = last.master.as_ref().map(|master| &master.id);
                last.verdict == Some(Verdict::Passed)
                    && master == Some(&self.recipe(media, geometry).id())
            }),
            _ => None,
        };
        let passed = passed.and_then(|last| Some(format!("{:.0}, job {}", last.closed?, last.job)));
        let Facts { usage, content, .. } = *facts;
        let candidate = Candidate { drive, usage, content, twins, passed, wanted };
        match (admission::admit(candidate, &self.setup.policy), chosen) {
            (Ok(admitted), Ok(media)) => self.admitted(ticket, admitted, &media),
            (Err(refusals), Err(Lacking::Undecided)) if refusals.len() == 1 => {
                // Nothing else speaks against the drive: the decision waits for the media.
                if let Some(slot) = self.slot(ticket) {
                    slot.phase = Phase::AwaitingMedia;
                }
                Vec::new()
            }
            (Err(refusals), _) => self.refuse(&ticket.key, refusals),
            (Ok(_), Err(lacking)) => self.refuse(&ticket.key, vec![lacking.refusal()]),
        }
    }

    /// What stands on the media's order, not in the media.
    fn unexpired(&self, media: &Media, today: Date) -> Result<(), Refusal> {
        match self.setup.expires.get(&media.name) {
            Some(last) if today > *last => {
                let detail = format!(
                    "the certificate in {} was valid until {last} (media.expires); order new media",
                    media.name
                );
                Err(Refusal::new(Code::MediaExpired, detail))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn need(&self, media: &Media, geometry: Option<Geometry>) -> Need {
        let sector = geometry.map_or(SectorSize::B512, |g| g.sector);
        let content = media.inventory.least_bytes;
        let (least, arithmetic) = self.setup.layout.least_drive(content, sector);
        Need { least, arithmetic }
    }

    pub(super) fn recipe(&self, media: &Media, geometry: Geometry) -> Recipe {
        Recipe {
            media_name: media.name.clone(),
            media_sha256: media.sha256,
            image: self.setup.image,
            layout: self.setup.layout.clone(),
            geometry,
        }
    }

    /// The first time a drive passes admission its master is looked for; when that is at hand the drive is judged once
    /// more, and this proof is the one that is used.
    pub(super) fn admitted(
        &mut self,
        ticket: &Ticket,
        admitted: Admitted,
        media: &Media,
    ) -> Vec<Effect> {
        let recipe = self.recipe(media, admitted.geometry());
        let id = recipe.id();
        if let Err(error) = recipe.layout.plan(recipe.geometry) {
            let code = match &error {
                LayoutError::DriveTooSmall { .. } => Code::TooSmall,
                // The layout does not work with this drive's sectors.
                _ => Code::SectorSize,
            };
            return self.refuse(&ticket.key, vec![Refusal::new(code, error.to_string())]);
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
    pub(super) fn forget_ready(&mut self) {
        let waited = self.waited_for();
        self.ready.retain(|master| waited.contains(&master.manifest.id));
    }

    pub(super) fn waited_for(&self) -> HashSet<MasterId> {
        self.slots
            .values()
            .filter_map(|slot| match &slot.phase {
                Phase::Waiting(recipe) => Some(recipe.id()),
                _ => None,
            })
            .collect()
    }

    /// A record for this attempt: the one a refusal has left, or a new one.
    pub(super) fn record_for(&self, key: &Key) -> Option<Record> {
        let slot = self.slots.get(key)?;
        let fresh = Record::open(&self.setup.name, &slot.drive);
        let refused = slot.record.as_ref().filter(|r| r.verdict == Some(Verdict::Refused));
        Some(match refused {
            Some(old) => Record { job: old.job, ..fresh },
            None => fresh,
        })
    }

    pub(super) fn refuse(&mut self, key: &Key, refusals: Vec<Refusal>) -> Vec<Effect> {
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

    pub(super) fn job_ended(&mut self, ticket: &Ticket, record: Record) -> Vec<Effect> {
        let Some(slot) = self.slots.get_mut(&ticket.key) else { return Vec::new() };
        slot.imaged |= record.verdict != Some(Verdict::Refused);
        slot.record = Some(record);
        slot.phase = Phase::Done;
        if slot.departed {
            self.slots.remove(&ticket.key);
        }
        Vec::new()
    }
}
