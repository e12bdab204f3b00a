//! Media and masters: what has arrived, what must be pressed, what has come of it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::Station;
use super::message::{CANCELLED, Effect};
use super::press_queue::Wish;
use super::slot::{Key, Phase, Slot};
use crate::admission::{Code, Refusal};
use crate::drive::Geometry;
use crate::job::Verdict;
use crate::master::store::Master;
use crate::master::{MasterId, Recipe};
use crate::media::Media;
use crate::media::intake::Outcome;
use crate::worker::Failure;
impl Station {
    pub(super) fn intake_ended(
        &mut self,
        path: &Path,
        result: Result<Outcome, Failure>,
    ) -> Vec<Effect> {
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
                let name = path.to_string_lossy().replace(char::is_control, "?");
                tracing::error!(
                    media = name,
                    "media is not usable: {}: {}",
                    failure.code,
                    failure.detail
                );
            }
        }
        let arrived = match &result {
            Ok(Outcome::Media(media)) if media.problems.is_empty() && self.setup.press_ahead => {
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

    pub(super) fn master_looked(
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

    pub(super) fn waiting_for(&self, id: &MasterId) -> Vec<Key> {
        self.slots
            .values()
            .filter(|slot| matches!(&slot.phase, Phase::Waiting(r) if r.id() == *id))
            .map(Slot::key)
            .collect()
    }

    /// Queues a press, if the media is still there.
    pub(super) fn want_press(&mut self, recipe: Recipe, wish: Wish) {
        let media = self.shelf.valid().into_iter().find(|m| m.sha256 == recipe.media_sha256);
        if let Some(media) = media {
            self.presses.add(recipe, media.files.clone(), media.inventory.least_bytes, wish);
        }
    }

    pub(super) fn next_press(&mut self) -> Option<Effect> {
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
    pub(super) fn drop_presses_without_media(&mut self) -> Vec<Effect> {
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

    pub(super) fn press_ended(
        &mut self,
        id: &MasterId,
        result: Result<(), Failure>,
    ) -> Vec<Effect> {
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
    pub(super) fn recheck_pressed(&mut self, id: &MasterId) -> Vec<Effect> {
        let name = self.presses.ended(id).map(|recipe| recipe.media_name);
        let path = name.and_then(|name| self.shelf.recheck(&name));
        let mut effects: Vec<Effect> = path.map(Effect::Intake).into_iter().collect();
        let keys = self.waiting_for(id);
        effects.extend(self.judge_all(&keys));
        effects
    }

    /// Queues a press for each geometry, after those that drives wait for.
    pub(super) fn press_ahead(&mut self, media: &Media, geometries: &[Geometry]) {
        for geometry in geometries {
            let recipe = self.recipe(media, *geometry);
            let fits = recipe.layout.plan(*geometry).is_ok();
            if fits && !self.masters.iter().any(|master| master.id == recipe.id()) {
                self.want_press(recipe, Wish::Ahead);
            }
        }
    }
}
