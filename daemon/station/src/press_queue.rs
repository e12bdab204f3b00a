//! The queue of presses. One press runs at a time; those that drives wait for come first.

use std::collections::HashSet;

use model::api::line::Progress;
use model::api::snapshot::{PressState, PressView};
use model::digest::Digest;
use model::failure::Failure;
use model::manifest::{MasterId, Recipe};
use model::media::MediaFile;
use model::units::Bytes;

/// Why a press is wanted. The order of the variants is the order in which presses run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// A drive waits for it.
    Drive,
    /// The operator asked for it.
    Operator,
    /// A drive may need it later.
    Ahead,
}

#[derive(Debug)]
struct Press {
    recipe: Recipe,
    files: Vec<MediaFile>,
    room: Bytes,
    priority: Priority,
    step: String,
    fraction: f64,
}

/// Presses that are queued, run or have failed.
#[derive(Debug, Default)]
pub(crate) struct PressQueue {
    queued: Vec<Press>,
    running: Option<Press>,
    /// Presses that have failed and have not been wanted again.
    failed: Vec<(Recipe, Failure)>,
}

impl PressQueue {
    pub(crate) fn add(
        &mut self,
        recipe: Recipe,
        files: Vec<MediaFile>,
        room: Bytes,
        priority: Priority,
    ) {
        let id = recipe.id();
        let had_failed = self.failed.iter().any(|(failed, _)| failed.id() == id);
        if had_failed && priority == Priority::Ahead {
            return;
        }
        self.failed.retain(|(failed, _)| failed.id() != id);
        if self.running.as_ref().is_some_and(|press| press.recipe.id() == id) {
            return;
        }
        if let Some(press) = self.queued.iter_mut().find(|press| press.recipe.id() == id) {
            press.priority = press.priority.min(priority);
        } else {
            let step = String::new();
            self.queued.push(Press { recipe, files, room, priority, step, fraction: 0.0 });
        }
        self.queued.sort_by_key(|press| press.priority);
    }

    /// Starts the next press, if none runs.
    pub(crate) fn start(&mut self) -> Option<(Recipe, Vec<MediaFile>, Bytes)> {
        if self.running.is_some() || self.queued.is_empty() {
            return None;
        }
        let press = self.queued.remove(0);
        let order = (press.recipe.clone(), press.files.clone(), press.room);
        self.running = Some(press);
        Some(order)
    }

    pub(crate) fn progress(&mut self, id: &MasterId, progress: Progress) {
        if let Some(press) = self.running.as_mut().filter(|press| press.recipe.id() == *id) {
            press.step = progress.step;
            press.fraction = progress.fraction;
        }
    }

    /// Removes the press that has ended; returns its recipe.
    pub(crate) fn ended(&mut self, id: &MasterId) -> Option<Recipe> {
        let press = self.running.take_if(|press| press.recipe.id() == *id)?;
        Some(press.recipe)
    }

    pub(crate) fn failed(&mut self, id: &MasterId, failure: &Failure) {
        if let Some(recipe) = self.ended(id) {
            self.failed.push((recipe, failure.clone()));
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn is_running_for(&self, id: &MasterId) -> bool {
        self.running.as_ref().is_some_and(|press| press.recipe.id() == *id)
    }

    /// Empties the queue; returns whether a press runs and must be cancelled.
    pub(crate) fn cancel_all(&mut self) -> bool {
        self.queued.clear();
        self.is_running()
    }

    /// Removes queued and failed presses of media that is no longer valid; returns whether the running press is of such
    /// media and must be cancelled.
    pub(crate) fn drop_media_other_than(&mut self, valid: &HashSet<Digest>) -> bool {
        self.queued.retain(|press| valid.contains(&press.recipe.media_sha256));
        self.failed.retain(|(recipe, _)| valid.contains(&recipe.media_sha256));
        self.running.as_ref().is_some_and(|press| !valid.contains(&press.recipe.media_sha256))
    }

    pub(crate) fn views(&self) -> Vec<PressView> {
        let view = |recipe: &Recipe, state, step: &str, fraction: f64, error| PressView {
            id: recipe.id(),
            media: recipe.media_name.clone(),
            geometry: recipe.geometry,
            state,
            step: step.to_owned(),
            percent: fraction * 100.0,
            error,
        };
        let live =
            |press: &Press, state| view(&press.recipe, state, &press.step, press.fraction, None);
        let running = self.running.iter().map(|press| live(press, PressState::Running));
        let queued = self.queued.iter().map(|press| live(press, PressState::Queued));
        let failed = self.failed.iter().map(|(recipe, failure)| {
            view(recipe, PressState::Failed, "", 0.0, Some(failure.clone()))
        });
        running.chain(queued).chain(failed).collect()
    }
}
