//! Drives: attached, judged, admitted or refused, detached.

use std::mem;

use jiff::Timestamp;
use model::admission::{
    self, Admission, Admitted, Candidate, Content, MaximumSize, MinimumSize, Overwrite, Policy,
    Wanted,
};
use model::api::snapshot::DepartedView;
use model::code::ReasonCode;
use model::drive::{Change, Drive, Geometry, Serial, Twin};
use model::failure::{Reason, Refusal};
use model::health::{HealthPolicy, HealthRecord};
use model::job::{Stop, StopReason};
use model::layout::{Layout, LayoutError};
use model::manifest::Recipe;
use model::media::Media;
use model::record::{MediaRef, Record};
use model::units::{Bytes, SectorSize};
use model::verdict::Verdict;

use crate::Station;
use crate::catalog::MediaUnavailable;
use crate::earlier;
use crate::insertion::{Insertion, Key, Phase};
use crate::message::{DriveFacts, Effect, JobOrder, Look, Ticket};
use crate::orders::{Choosing, Chosen};

impl<M: Clone> Station<M> {
    pub(crate) fn changed(&mut self, change: Change, now: Timestamp) -> Vec<Effect<M>> {
        match change {
            Change::Present(drive) => self.present(self.setup.policy.placed(*drive)),
            Change::Gone { name, diskseq } => self.gone(&(name, diskseq), now),
        }
    }

    /// Takes up a drive that has been attached, or whose properties have changed.
    fn present(&mut self, drive: Drive) -> Vec<Effect<M>> {
        let key = (drive.name.clone(), drive.diskseq);
        let Some(insertion) = self.insertions.get_mut(&key) else {
            let (device, serial, bay) = (drive.node.display(), drive.label(), &drive.bay);
            tracing::info!(%device, serial, %bay, "drive {serial} attached as {device} in bay {bay}");
            self.departed.follow(bay);
            self.located.end(bay);
            let mut insertion = Insertion::new(drive);
            if self.setup.policy.may_hold(&insertion.drive) && !self.draining {
                insertion.scanned_for(self.scanned.take(&insertion.drive.bay));
            }
            self.insertions.insert(key.clone(), insertion);
            // A drive that comes while the station ends is left to the next start.
            let judged = if self.draining { None } else { self.judge(&key) };
            return judged.into_iter().collect();
        };
        // The station's own writing shows up as a change, too. Only these properties matter for the decision.
        let decisive = |drive: &Drive| {
            (drive.size, drive.read_only, drive.logical_sector_bytes, drive.serial.clone())
        };
        let relevant = decisive(&insertion.drive) != decisive(&drive);
        insertion.drive = drive;
        if relevant {
            // Whoever has consented meant the drive as it was.
            insertion.consent = None;
        }
        // The drive may have been missing from only one look at the devices. Its job has been stopped all the same.
        insertion.departed = false;
        let undecided = match insertion.phase() {
            Phase::Judging | Phase::AwaitingMedia | Phase::Refused(_) => true,
            Phase::Done(verdict) => *verdict == Verdict::Refused,
            Phase::AwaitingMaster(_) | Phase::Running { .. } => false,
        };
        let again = (relevant && undecided).then(|| self.judge(&key)).flatten();
        again.into_iter().collect()
    }

    fn gone(&mut self, key: &Key, now: Timestamp) -> Vec<Effect<M>> {
        let Some(insertion) = self.insertions.get_mut(key) else { return Vec::new() };
        let drive = &insertion.drive;
        let (device, serial) = (drive.node.display(), drive.label());
        tracing::info!(%device, serial, "drive {serial} detached from {device}");
        let serial = drive.serial.clone();
        let mut effects = Vec::new();
        if let Phase::Running { stop, .. } = insertion.phase() {
            stop.request(StopReason::Unplugged);
            insertion.departed = true;
        } else {
            if matches!(insertion.phase(), Phase::AwaitingMaster(_)) {
                let detail = "the drive was detached before anything was written to it";
                let reason = Reason::new(ReasonCode::Unplugged, detail);
                let record = self.record_for(key, now);
                let record = record.map(|r| r.closed_with(Verdict::Failed, reason, now));
                effects.extend(record.map(|record| Effect::Record(Box::new(record))));
            }
            self.leave(key, now);
        }
        effects.extend(self.judge_former_twins(serial.as_ref()));
        effects
    }

    /// Takes out a drive that has been detached. Its bay goes on showing its verdict, unless another drive is in it.
    fn leave(&mut self, key: &Key, now: Timestamp) {
        let Some(insertion) = self.insertions.remove(key) else { return };
        self.located.end(&insertion.drive.bay);
        if let Some((order, by)) = insertion.unserved_scan() {
            // A plug that bounces, or is seated anew, must not lose what was scanned for it.
            self.scanned.give_back(order, &insertion.drive.bay, by, now);
        }
        let ours = self.setup.policy.may_hold(&insertion.drive) && !insertion.is_out_of_scope();
        let drive = insertion.detached().drive_view(&|_| None, self.payload());
        let alone = !self.insertions.values().any(|other| other.drive.bay == drive.bay);
        if ours && alone && drive.verdict.is_some() {
            self.departed.keep(
                DepartedView { drive, since: now, followed: false },
                &self.setup.policy.named,
            );
        }
    }

    /// Has the facts about a drive gathered, after which the drive is judged.
    pub(crate) fn judge(&mut self, key: &Key) -> Option<Effect<M>> {
        let look = self.look(key)?;
        let asked = self.asked_orders(self.insertions.get(key)?);
        let insertion = self.insertions.get_mut(key)?;
        if matches!(
            insertion.phase(),
            Phase::Refused(_) | Phase::Done(Verdict::Refused) | Phase::AwaitingMedia
        ) {
            insertion.enter(Phase::Judging);
        }
        insertion.health = None;
        let (ticket, drive) = (insertion.ticket(), Box::new(insertion.drive.clone()));
        Some(Effect::Judge(ticket, drive, look, asked))
    }

    /// How closely a drive may be looked at, by what is known of it now.
    fn look(&self, key: &Key) -> Option<Look> {
        let insertion = self.insertions.get(key)?;
        let drive = &insertion.drive;
        let media = self.expected(insertion);
        let wanted = self.wanted(&media, drive.geometry());
        let (twins, limit) = (self.twins(drive), self.limit());
        let inside = admission::may_be_read(drive, &twins, &wanted, &limit, &self.setup.policy);
        Some(if inside { Look::Inside } else { Look::Outside })
    }

    pub(crate) fn judge_all(&mut self, keys: &[Key]) -> Vec<Effect<M>> {
        keys.iter().filter_map(|key| self.judge(key)).collect()
    }

    fn judge_those(&mut self, which: impl Fn(&Insertion) -> bool) -> Vec<Effect<M>> {
        let keys: Vec<Key> =
            self.insertions.values().filter(|one| which(one)).map(Insertion::key).collect();
        self.judge_all(&keys)
    }

    /// Judges again every drive about which the decision may change with the state of the station. One that waits for the
    /// ledger is judged when that is back: until then it would be begun and refused for nothing, at each change of an order.
    pub(crate) fn judge_changeable(&mut self) -> Vec<Effect<M>> {
        let lacking = self.ledger_trouble.is_some();
        self.judge_those(|one| one.may_change() && !one.awaits_ledger(lacking))
    }

    /// The ledger has become unusable, or usable.
    pub(crate) fn ledger_changed(&mut self, trouble: Option<Refusal>) -> Vec<Effect<M>> {
        self.ledger_trouble = trouble;
        let tampered = self.tampering().is_some();
        if tampered {
            self.setup.policy.armed = false;
        }
        match self.ledger_trouble.is_none() || tampered {
            true => self.judge_those(Insertion::may_change),
            false => Vec::new(),
        }
    }

    /// Judges again the drives that were refused because a drive with this serial number, now detached, was there, too.
    fn judge_former_twins(&mut self, serial: Option<&Serial>) -> Vec<Effect<M>> {
        self.judge_those(|one| {
            serial.is_some() && one.drive.serial.as_ref() == serial && one.is_refused_as_twin()
        })
    }

    /// Decides about a drive from the facts that were gathered.
    pub(crate) fn judged(
        &mut self,
        ticket: &Ticket,
        facts: Result<Box<DriveFacts>, Refusal>,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        let Some(insertion) = self.insertion(ticket) else { return Vec::new() };
        if !insertion.is_being_judged() {
            return Vec::new();
        }
        let mut facts = match facts {
            Ok(facts) => facts,
            Err(refusal) => {
                let Some(insertion) = self.insertions.get_mut(&ticket.key) else {
                    return Vec::new();
                };
                // Of drives that are not the station's there are no records.
                if self.setup.policy.may_hold(&insertion.drive) {
                    return self.refuse(&ticket.key, vec![refusal], now);
                }
                insertion.enter(Phase::Refused(vec![refusal]));
                return Vec::new();
            }
        };
        let previous = mem::take(&mut facts.previous);
        let previous = earlier::believed(previous, &insertion.drive, &facts.content);
        let job = previous.iter().rfind(|record| !record.is_refusal()).cloned();
        let held = job.as_ref().or(facts.last.as_ref()).and_then(|record| record.media.clone());
        insertion.held = held.or(insertion.held.take());
        if insertion.recall(previous) {
            return self.clean(&ticket.key, job, *facts).into_iter().collect();
        }
        if facts.look == Look::Outside && self.look(&ticket.key) == Some(Look::Inside) {
            // What kept it from being opened has gone meanwhile, such as its twin.
            return self.judge(&ticket.key).into_iter().collect();
        }
        let Some(insertion) = self.insertions.get(&ticket.key) else { return Vec::new() };
        let (media, order) = self.choose(insertion, &facts);
        if let Some(insertion) = self.insertions.get_mut(&ticket.key) {
            insertion.order = order;
            insertion.health.clone_from(&facts.health);
        }
        let Some(candidate) = self.candidate(&ticket.key, *facts, &media) else {
            return Vec::new();
        };
        match (admission::admit(candidate, &self.setup.policy), media) {
            (Admission::Admitted(admitted), Ok(chosen)) => match self.ledger_trouble.clone() {
                Some(trouble) => self.refuse(&ticket.key, vec![trouble], now),
                None => self.admitted(ticket, *admitted, &chosen, now),
            },
            // Cannot happen: without media, `admit` refuses.
            (Admission::Admitted(_), Err(missing)) => {
                self.refuse(&ticket.key, vec![missing.refusal()], now)
            }
            (Admission::Pending, _) => {
                if let Some(insertion) = self.insertion(ticket) {
                    insertion.enter(Phase::AwaitingMedia);
                }
                Vec::new()
            }
            (Admission::Refused(refusals), _) => {
                let refusals = refusals.into_iter().map(|one| self.or_tampered(one)).collect();
                self.refuse(&ticket.key, refusals, now)
            }
        }
    }

    /// Where the station is disarmed because somebody has changed its ledger, that is why.
    fn or_tampered(&self, refusal: Refusal) -> Refusal {
        let disarmed = refusal.code == ReasonCode::NotArmed;
        self.tampering().filter(|_| disarmed).cloned().unwrap_or(refusal)
    }

    /// The cleaning of a drive whose job was ended by the end of the station itself. What the drive holds is not asked for:
    /// nothing but tables that are proven to be of that job is overwritten.
    fn clean(&self, key: &Key, job: Option<Record>, facts: DriveFacts) -> Option<Effect<M>> {
        let record = job?;
        let code = record.reason.as_ref().map(|reason| reason.code);
        if code != Some(ReasonCode::StationInterrupted) || record.identity.is_none() {
            return None;
        }
        let missing = Err(MediaUnavailable::Undecided);
        let wanted = Wanted::Known(MinimumSize { least: Bytes(0), arithmetic: String::new() });
        let candidate = Candidate { wanted, ..self.candidate(key, facts, &missing)? };
        let policy = Policy {
            overwrite: Overwrite::Any,
            health: HealthPolicy::default(),
            ..self.setup.policy.clone()
        };
        let same = candidate.drive.serial.is_some() && candidate.drive.serial == record.serial;
        match admission::admit(candidate, &policy) {
            Admission::Admitted(admitted) if same => {
                Some(Effect::Clean(admitted, Box::new(record)))
            }
            _ => {
                let serial = record.serial.as_ref().map(Serial::as_str).unwrap_or_default();
                tracing::warn!(serial, "{serial} may hold tables of a job that did not end");
                None
            }
        }
    }

    /// All facts that the decision about a drive is made from.
    fn candidate(&self, key: &Key, facts: DriveFacts, media: &Choosing) -> Option<Candidate> {
        let insertion = self.insertions.get(key)?;
        let drive = insertion.drive.clone();
        let twins = self.twins(&drive);
        let last = facts.last.filter(|_| !insertion.even_if_passed);
        let passed = match (media, drive.geometry()) {
            (Ok(chosen), Some(geometry)) => {
                // The record alone does not say what stands on the drive, or that it is this drive.
                let last = last.filter(|last| facts.content == Content::Ours(last.job));
                last.and_then(|last| self.passed_with(&last, chosen, geometry))
            }
            _ => None,
        };
        let wanted = self.wanted(media, drive.geometry());
        let DriveFacts { usage, content, health, .. } = facts;
        let limit =
            self.limit_of(media.as_ref().map_or(&self.setup.layout, |chosen| &chosen.layout));
        let consent = insertion.consent.clone();
        Some(Candidate { drive, usage, content, twins, passed, wanted, limit, consent, health })
    }

    /// The other attached drives with the same serial number.
    fn twins(&self, drive: &Drive) -> Vec<Twin> {
        let attached = self.insertions.values().filter(|other| !other.departed);
        drive.twins(attached.map(|other| &other.drive)).collect()
    }

    fn wanted(&self, media: &Choosing, geometry: Option<Geometry>) -> Wanted {
        match media {
            Ok(chosen) => Wanted::Known(minimum_size(&chosen.media, &chosen.layout, geometry)),
            Err(MediaUnavailable::Undecided) => Wanted::Undecided,
            Err(MediaUnavailable::Missing(refusal)) => Wanted::Missing(refusal.clone()),
        }
    }

    /// The time and the job in which a drive has passed with the master that it would get now, if that was its last
    /// job.
    fn passed_with(&self, last: &Record, chosen: &Chosen, geometry: Geometry) -> Option<String> {
        let same = last.master.as_ref()?.id == recipe(chosen, geometry).id();
        let passed = same && last.verdict == Some(Verdict::Passed);
        let closed = last.closed.filter(|_| passed)?;
        Some(format!("{closed:.0}, job {}", last.job))
    }

    /// For which drives a master can be made: layout and store both set a limit.
    pub(crate) fn limit(&self) -> MaximumSize {
        self.limit_of(&self.setup.layout)
    }

    fn limit_of(&self, layout: &Layout) -> MaximumSize {
        let image = self.setup.largest_image;
        let (layout, arithmetic) = layout.largest_drive();
        if layout <= image {
            return MaximumSize { most: layout, why: arithmetic, hint: None };
        }
        let why = "a master's image is as large as the drive, and the store's file system holds no larger file";
        let hint =
            "put the store on a file system with larger files, such as XFS or btrfs (store.path)";
        MaximumSize { most: image, why: why.into(), hint: Some(hint.into()) }
    }

    /// Goes on with a drive that is admitted. The first time, its master is looked for. When the master is at hand, the
    /// drive is judged once more, and the proof of that second admission is used for the job.
    fn admitted(
        &mut self,
        ticket: &Ticket,
        admitted: Admitted,
        chosen: &Chosen,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        let recipe = recipe(chosen, admitted.geometry());
        if let Err(error) = recipe.layout.plan(recipe.geometry) {
            let code = match &error {
                LayoutError::DriveTooSmall { .. } => ReasonCode::TooSmall,
                LayoutError::Large { .. } => ReasonCode::TooLarge,
                // The layout does not work with this drive's sectors.
                _ => ReasonCode::SectorSize,
            };
            return self.refuse(&ticket.key, vec![Refusal::of(code, &error)], now);
        }
        let id = recipe.id();
        let master = self.ready.get(&id).cloned();
        let Some(mut record) = self.record_for(&ticket.key, now) else { return Vec::new() };
        let Some(insertion) = self.insertion(ticket) else { return Vec::new() };
        let Some(master) = master else {
            insertion.enter(Phase::AwaitingMaster(Box::new(recipe.clone())));
            // One look serves all drives that wait for this master, and damage is found once.
            return match self.looking.insert(id) {
                true => vec![Effect::LookForMaster(recipe)],
                false => Vec::new(),
            };
        };
        let stop = Stop::default();
        let warnings = chosen.media.warnings.iter().map(|finding| finding.code).collect();
        let media = MediaRef { warnings, ..MediaRef::from(&recipe) };
        record.media = Some(media.clone());
        insertion.enter(Phase::Running { stop: stop.clone(), job: record.job, master: id, media });
        self.forget_ready();
        let place = chosen.order.as_ref().map(|(_, place)| place.clone());
        let order = JobOrder { ticket: ticket.clone(), admitted, master, record, place, stop };
        vec![Effect::Job(Box::new(order))]
    }

    /// Drops the opened masters that no drive waits for.
    fn forget_ready(&mut self) {
        let awaited = self.awaited_masters();
        self.ready.retain(|id, _| awaited.contains(id));
    }

    /// A new record for this attempt. If the drive was refused before, it replaces the record of the refusal.
    pub(crate) fn record_for(&self, key: &Key, now: Timestamp) -> Option<Record> {
        let insertion = self.insertions.get(key)?;
        let fresh = Record {
            order: insertion.order.as_ref().map(|order| order.number.clone()),
            operator: insertion.operator.as_ref().map(ToString::to_string),
            consent: insertion.consent.clone(),
            health: insertion.health.clone().map(|before| HealthRecord { before, after: None }),
            ..Record::open(&self.setup.name, &insertion.drive, now)
        };
        let refused = insertion.record.as_ref().filter(|record| record.is_refusal());
        Some(match refused {
            Some(old) => Record { job: old.job, ..fresh },
            None => fresh,
        })
    }

    pub(crate) fn refuse(
        &mut self,
        key: &Key,
        refusals: Vec<Refusal>,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        let Some(record) = self.record_for(key, now) else { return Vec::new() };
        let Some(insertion) = self.insertions.get_mut(key) else { return Vec::new() };
        let first = refusals.first().cloned();
        insertion.consent = None;
        insertion.enter(Phase::Refused(refusals));
        let Some(first) = first.filter(|_| !insertion.is_out_of_scope()) else {
            return Vec::new();
        };
        let same = |record: &Record| {
            record.verdict == Some(Verdict::Refused)
                && record.reason.as_ref().is_some_and(|reason| reason.code == first.code)
        };
        if insertion.record.as_ref().is_some_and(same) {
            return Vec::new();
        }
        let record = record.refused(first, now);
        insertion.record = Some(record.clone());
        vec![Effect::Record(Box::new(record))]
    }

    pub(crate) fn job_ended(
        &mut self,
        ticket: &Ticket,
        record: Record,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        self.past.note(&record, &self.setup.policy.named);
        if record.verdict == Some(Verdict::Passed)
            && let Some(serial) = &record.serial
        {
            self.departed.passed(serial);
        }
        let looked = record.order.as_deref().and_then(|number| self.look_at_order(number));
        let Some(insertion) = self.insertions.get_mut(&ticket.key) else {
            return looked.into_iter().collect();
        };
        let store_failed =
            record.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::StoreError);
        if store_failed && let Phase::Running { master, .. } = insertion.phase() {
            // Whoever waits for this master gets it only after another look.
            self.ready.remove(master);
        }
        insertion.finish(record);
        if insertion.departed {
            self.leave(&ticket.key, now);
            return looked.into_iter().collect();
        }
        // The drive is not to blame, so it is imaged once more, by itself; a store that goes on failing ends that.
        let may_write = self.setup.policy.armed && !self.draining;
        if store_failed && may_write && insertion.begin_again() {
            return self.judge(&ticket.key).into_iter().chain(looked).collect();
        }
        looked.into_iter().collect()
    }
}

/// The recipe of what a drive of this geometry gets.
pub(crate) fn recipe(chosen: &Chosen, geometry: Geometry) -> Recipe {
    Recipe {
        media_name: chosen.media.name.clone(),
        media_sha256: chosen.media.sha256,
        image: chosen.image,
        layout: chosen.layout.clone(),
        geometry,
    }
}

/// The least capacity with which a drive holds this media.
pub(crate) fn minimum_size(
    media: &Media,
    layout: &Layout,
    geometry: Option<Geometry>,
) -> MinimumSize {
    let sector = geometry.map_or(SectorSize::B512, |geometry| geometry.sector);
    let content = media.inventory.least_bytes;
    let (least, arithmetic) = layout.least_drive(content, sector);
    MinimumSize { least, arithmetic }
}
