//! Media and masters: media that has been checked, masters that were looked for, presses that have ended.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use model::code::{FailureCode, ReasonCode};
use model::digest::Digest;
use model::drive::Geometry;
use model::failure::{Coded, Failure, Reason, Refusal};
use model::layout::Layout;
use model::manifest::{MasterId, Recipe};
use model::media::IntakeOutcome;
use model::offer::{Offer, OfferChange};
use model::record::{MediaRef, Record};
use model::units::{Bytes, SectorSize};
use model::verdict::Verdict;

use crate::Station;
use crate::catalog::MediaUnavailable;
use crate::drives::{minimum_size, recipe};
use crate::expiry;
use crate::insertion::{Insertion, Key, Phase};
use crate::message::{Answer, Effect, Reply};
use crate::press_queue::Priority;

impl<M: Clone> Station<M> {
    pub(crate) fn intake_ended(
        &mut self,
        path: &Path,
        result: Result<IntakeOutcome, Failure>,
    ) -> Vec<Effect<M>> {
        let mut effects = Vec::new();
        match &result {
            Ok(IntakeOutcome::Media(checked)) if checked.problems.is_empty() => {
                let (media, sha256) = (&checked.name, checked.sha256);
                let warnings: Vec<String> =
                    checked.warnings.iter().map(|finding| finding.code.to_string()).collect();
                let with = if warnings.is_empty() { "" } else { ", with warnings: " };
                let warnings = warnings.join(", ");
                tracing::info!(media, %sha256, "media {media} is valid{with}{warnings}");
                if let Some(doubt) = expiry::doubt(&self.setup.expires, media) {
                    tracing::warn!(media, "{}", doubt.detail);
                }
            }
            Ok(IntakeOutcome::Media(media)) => {
                let why: Vec<String> = media.problems.iter().map(Coded::sentence).collect();
                let (media, why) = (&media.name, why.join("; "));
                tracing::error!(media, "media {media} is not usable: {why}");
            }
            Ok(IntakeOutcome::LaterPart) => {}
            Err(failure) => {
                let media = path.to_string_lossy().replace(char::is_control, "?");
                tracing::error!(media, "cannot check {media}: {}", failure.sentence());
            }
        }
        let checked = match &result {
            Ok(IntakeOutcome::Media(media)) if media.problems.is_empty() => Some(media.sha256),
            _ => None,
        };
        effects.extend(self.catalog.checked(path, result).into_iter().map(Effect::Intake));
        effects.extend(checked.and_then(|media| self.look_ahead(media)));
        effects.extend(self.judge_changeable());
        effects
    }

    /// Tells the log which media drives get that nobody names, where that has changed.
    pub(crate) fn tell_media(&mut self) {
        let now = match self.catalog.choose(None) {
            Ok(media) => format!(
                "drives get {}, unless an order or an operator names other media",
                media.name
            ),
            Err(MediaUnavailable::Undecided) => return,
            Err(MediaUnavailable::Missing(refusal)) => {
                format!("drives get no media unless it is named: {}", refusal.sentence())
            }
        };
        if now != self.told_media {
            tracing::warn!("{now}");
            self.told_media = now;
        }
    }

    /// The question for which drives media that has come should be pressed ahead. What drives get only by hand is pressed
    /// when somebody asks for it: each master takes the room of others.
    fn look_ahead(&self, media: Digest) -> Option<Effect<M>> {
        let found = self.catalog.valid_with(media)?;
        let ahead = self.setup.press_ahead && self.catalog.offer(&found) == Offer::Automatic;
        ahead.then_some(Effect::LookForGeometries(media))
    }

    /// An operator's word about media is in the ledger: from now on it counts.
    pub(crate) fn offered(&mut self, change: OfferChange, reply: Reply) -> Vec<Effect<M>> {
        let OfferChange { media, sha256, offer, by, .. } = &change;
        tracing::warn!(media, PRESTAGED_OPERATOR = by, "{by} offers media {media}: {offer}");
        let sha256 = *sha256;
        self.catalog.take_offer(change);
        let mut effects = self.judge_changeable();
        effects.extend(sha256.and_then(|media| self.look_ahead(media)));
        effects.push(Effect::Answer(reply, Ok(Answer::Done)));
        effects
    }

    pub(crate) fn master_looked(
        &mut self,
        recipe: Recipe,
        found: Result<Option<M>, Failure>,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        let id = recipe.id();
        self.looking.remove(&id);
        match found {
            Ok(Some(master)) => self.master_ready(&id, master),
            Ok(None) if self.want_press(recipe, Priority::Drive) => Vec::new(),
            // Its media has just gone, or is being verified again.
            Ok(None) => self.judge_anew(&id),
            // The press of this master answers for it.
            Err(_) if self.presses.is_running_for(&id) => Vec::new(),
            Err(failure) => self.press_failed(&id, &failure, now),
        }
    }

    /// Judges the drives that wait for this master once more, now that it is at hand.
    fn master_ready(&mut self, id: &MasterId, master: M) -> Vec<Effect<M>> {
        let keys = self.awaiting(id);
        if !keys.is_empty() {
            self.ready.insert(id.clone(), master);
        }
        self.judge_all(&keys)
    }

    /// Decides once more which media the drives get that wait for this master.
    fn judge_anew(&mut self, id: &MasterId) -> Vec<Effect<M>> {
        let keys = self.awaiting(id);
        for key in &keys {
            if let Some(insertion) = self.insertions.get_mut(key) {
                insertion.enter(Phase::Judging);
            }
        }
        self.judge_all(&keys)
    }

    fn awaiting(&self, id: &MasterId) -> Vec<Key> {
        self.insertions.values().filter(|one| one.awaits(id)).map(Insertion::key).collect()
    }

    /// Queues a press; returns whether its media is still there and valid.
    pub(crate) fn want_press(&mut self, recipe: Recipe, priority: Priority) -> bool {
        let Some(media) = self.catalog.valid_with(recipe.media_sha256) else { return false };
        self.presses.add(recipe, media.files.clone(), media.inventory.least_bytes, priority);
        true
    }

    pub(crate) fn next_press(&mut self) -> Option<Effect<M>> {
        if self.draining {
            return None;
        }
        let (recipe, files, room) = self.presses.start()?;
        let mut in_use = self.awaited_masters();
        in_use.extend(self.insertions.values().filter_map(|one| match one.phase() {
            Phase::Running { master, .. } => Some(master.clone()),
            _ => None,
        }));
        Some(Effect::Press { recipe, files, room, in_use })
    }

    /// Drops the presses of media that has left the inbox or has changed, and judges the drives again that waited for
    /// them.
    pub(crate) fn drop_presses_without_media(&mut self) -> Vec<Effect<M>> {
        let valid: HashSet<Digest> =
            self.catalog.valid().iter().map(|media| media.sha256).collect();
        let cancelled = self.presses.drop_media_other_than(&valid);
        let mut lost = Vec::new();
        for (key, insertion) in &mut self.insertions {
            if let Phase::AwaitingMaster(recipe) = insertion.phase()
                && !valid.contains(&recipe.media_sha256)
            {
                // The drive gets other media, or waits for some.
                insertion.enter(Phase::Judging);
                lost.push(key.clone());
            }
        }
        let mut effects = self.judge_all(&lost);
        effects.extend(cancelled.then_some(Effect::CancelPress));
        effects
    }

    pub(crate) fn press_ended(
        &mut self,
        id: &MasterId,
        result: Result<M, Failure>,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        match result {
            Ok(master) => {
                self.presses.ended(id);
                self.master_ready(id, master)
            }
            Err(failure) => match failure.code {
                FailureCode::MediaChanged => self.recheck_pressed(id),
                FailureCode::Cancelled => self.press_cancelled(id, &failure, now),
                _ => self.press_failed(id, &failure, now),
            },
        }
    }

    /// The media has changed while it was pressed: it is verified again, and the drives wait for that.
    fn recheck_pressed(&mut self, id: &MasterId) -> Vec<Effect<M>> {
        let name = self.presses.ended(id).map(|recipe| recipe.media_name);
        let path = name.and_then(|name| self.catalog.recheck(&name));
        let mut effects: Vec<Effect<M>> = path.map(Effect::Intake).into_iter().collect();
        effects.extend(self.judge_anew(id));
        effects
    }

    /// A press was cancelled, by an operator or because the station ends.
    fn press_cancelled(
        &mut self,
        id: &MasterId,
        failure: &Failure,
        now: Timestamp,
    ) -> Vec<Effect<M>> {
        self.presses.ended(id);
        let keys = self.awaiting(id);
        if self.draining {
            return self.judge_all(&keys);
        }
        let reason = Reason::new(ReasonCode::OperatorStop, failure.detail.as_str());
        let close = |key| self.close_awaiting(key, Verdict::Stopped, &reason, now);
        keys.iter().filter_map(close).collect()
    }

    /// A press has failed, or the look for a master has. The drives that wait for the master fail, too.
    fn press_failed(&mut self, id: &MasterId, failure: &Failure, now: Timestamp) -> Vec<Effect<M>> {
        tracing::error!(master = %id, "cannot press master {id}: {}", failure.sentence());
        self.presses.failed(id, failure);
        let keys = self.awaiting(id);
        // The drive's size is the reason, so nothing is wrong with the drive.
        let size = match failure.code {
            FailureCode::VolumeFull => Some((ReasonCode::TooSmall, "the content does not fit")),
            FailureCode::ImageTooLarge => Some((ReasonCode::TooLarge, "its master does not fit")),
            _ => None,
        };
        if let Some((code, why)) = size {
            let refusal = Refusal::new(code, format!("{why}: {}", failure.detail));
            let refusal = Refusal { hint: failure.hint.clone(), ..refusal };
            let refuse = |key| self.refuse(key, vec![refusal.clone()], now);
            return keys.iter().flat_map(refuse).collect();
        }
        let reason = Reason {
            hint: failure.hint.clone(),
            ..Reason::new(ReasonCode::PressFailed, failure.sentence())
        };
        let close = |key| self.close_awaiting(key, Verdict::Failed, &reason, now);
        keys.iter().filter_map(close).collect()
    }

    /// Closes the record of a drive that waited for a master; the drive has its verdict then.
    pub(crate) fn close_awaiting(
        &mut self,
        key: &Key,
        verdict: Verdict,
        reason: &Reason,
        now: Timestamp,
    ) -> Option<Effect<M>> {
        let record = self.record_for(key, now)?;
        let media = match self.insertions.get(key)?.phase() {
            Phase::AwaitingMaster(recipe) => Some(MediaRef::from(&**recipe)),
            _ => None,
        };
        let record = Record { media, ..record }.closed_with(verdict, reason.clone(), now);
        self.insertions.get_mut(key)?.finish(record.clone());
        Some(Effect::Record(Box::new(record)))
    }

    /// Queues presses of the media with this digest, for drives of these geometries; those that drives wait for come first.
    pub(crate) fn press_ahead(&mut self, media: Digest, geometries: &[Geometry]) {
        let Some(media) = self.catalog.valid_with(media) else { return };
        let wanted = match self.setup.derive {
            true => bases(&self.setup.layout, media.inventory.least_bytes, geometries),
            false => geometries.to_vec(),
        };
        for geometry in &wanted {
            let recipe = recipe(&self.usual(Arc::clone(&media)), *geometry);
            let least = minimum_size(&media, &recipe.layout, Some(*geometry)).least;
            let fits = recipe.layout.plan(*geometry).is_ok()
                && (least..=self.limit().most).contains(&geometry.size);
            if fits && !self.masters.iter().any(|master| master.id == recipe.id()) {
                self.want_press(recipe, Priority::Ahead);
            }
        }
    }

    /// Tells the bytes that a master in the store writes to each drive.
    pub(crate) fn payload(&self) -> impl Fn(&MasterId) -> Option<Bytes> {
        |id| self.masters.iter().find(|master| master.id == *id).map(|master| master.payload_bytes)
    }

    /// The masters that drives wait for.
    pub(crate) fn awaited_masters(&self) -> HashSet<MasterId> {
        let awaited = |one: &Insertion| match one.phase() {
            Phase::AwaitingMaster(recipe) => Some(recipe.id()),
            _ => None,
        };
        self.insertions.values().filter_map(awaited).collect()
    }
}

/// The geometries for which a press serves drives of these, and of any other capacity: one for drives with sectors of 512
/// bytes, one for those with other sectors that have been seen, and those for which no master can be derived.
fn bases(layout: &Layout, content: Bytes, seen: &[Geometry]) -> Vec<Geometry> {
    let base = |sector| layout.base_drive(content, sector);
    let mut all: Vec<Geometry> = base(SectorSize::B512).into_iter().collect();
    for geometry in seen {
        let plan = |geometry: Geometry| layout.plan(geometry).ok();
        let base = base(geometry.sector).filter(|base| {
            let plans = plan(*geometry).zip(plan(*base));
            plans.is_some_and(|(plan, base)| plan.moved_from(&base).is_some())
        });
        all.push(base.unwrap_or(*geometry));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_press_serves_all_capacities() {
        let layout = Layout::default();
        let content = Bytes(10 << 30);
        let drive = |gib: u64, sector| Geometry { size: Bytes(gib << 30), sector };
        let [b512, b4096] = [SectorSize::B512, SectorSize::B4096];
        let base = |sector| layout.base_drive(content, sector).unwrap();
        assert_eq!(bases(&layout, content, &[]), [base(b512)]);
        let seen = [drive(100, b512), drive(200, b4096), drive(20 << 10, b512), drive(11, b512)];
        let all = bases(&layout, content, &seen);
        // Beyond 16 TiB clusters are larger, and a volume does not shrink.
        assert_eq!(all, [base(b512), base(b512), base(b4096), seen[2], seen[3]]);
    }
}
