//! Presses: one runs at a time, those that drives wait for first. Pure state.

use std::collections::HashSet;

use super::snapshot::{PressState, PressView};
use crate::digest::Digest;
use crate::job::Reason;
use crate::master::{MasterId, Recipe};
use crate::media::MediaFile;
use crate::units::Bytes;
use crate::worker::{Failure, Progress};

/// Who wants a press; the order is the order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// A drive waits for it.
    Drive,
    /// The operator asked for it.
    Operator,
    /// It may be needed later.
    Ahead,
}

#[derive(Debug)]
struct Press {
    recipe: Recipe,
    files: Vec<MediaFile>,
    room: Bytes,
    wish: Wish,
    step: String,
    fraction: f64,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct PressQueue {
    queued: Vec<Press>,
    running: Option<Press>,
    /// Presses that failed, until they are wished for again.
    failed: Vec<(Recipe, Reason)>,
}

impl PressQueue {
    pub(super) fn add(&mut self, recipe: Recipe, files: Vec<MediaFile>, room: Bytes, wish: Wish) {
        let id = recipe.id();
        let had_failed = self.failed.iter().any(|(failed, _)| failed.id() == id);
        if had_failed && wish == Wish::Ahead {
            return;
        }
        self.failed.retain(|(failed, _)| failed.id() != id);
        if self.running.as_ref().is_some_and(|press| press.recipe.id() == id) {
            return;
        }
        if let Some(press) = self.queued.iter_mut().find(|press| press.recipe.id() == id) {
            press.wish = press.wish.min(wish);
        } else {
            let step = String::new();
            self.queued.push(Press { recipe, files, room, wish, step, fraction: 0.0 });
        }
        self.queued.sort_by_key(|press| press.wish);
    }

    /// Starts the next press, if none runs.
    pub(super) fn start(&mut self) -> Option<(Recipe, Vec<MediaFile>, Bytes)> {
        if self.running.is_some() || self.queued.is_empty() {
            return None;
        }
        let press = self.queued.remove(0);
        let order = (press.recipe.clone(), press.files.clone(), press.room);
        self.running = Some(press);
        Some(order)
    }

    pub(super) fn progress(&mut self, id: &MasterId, progress: Progress) {
        if let Some(press) = self.running.as_mut().filter(|press| press.recipe.id() == *id) {
            press.step = progress.step;
            press.fraction = progress.fraction;
        }
    }

    /// Takes the finished press out.
    pub(super) fn ended(&mut self, id: &MasterId) -> Option<Recipe> {
        let press = self.running.take_if(|press| press.recipe.id() == *id)?;
        Some(press.recipe)
    }

    pub(super) fn failed(&mut self, id: &MasterId, failure: &Failure) {
        if let Some(recipe) = self.ended(id) {
            let reason = Reason { code: failure.code.clone(), detail: failure.detail.clone() };
            self.failed.push((recipe, reason));
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn is_running_for(&self, id: &MasterId) -> bool {
        self.running.as_ref().is_some_and(|press| press.recipe.id() == *id)
    }

    pub(super) fn cancel(&mut self, id: &MasterId) {
        self.queued.retain(|press| press.recipe.id() != *id);
    }

    /// Empties the queue; returns whether a running press must be ended.
    pub(super) fn cancel_all(&mut self) -> bool {
        self.queued.clear();
        self.is_running()
    }

    /// Forgets presses of media that is not valid any more; returns whether the running one is among them.
    pub(super) fn drop_media_other_than(&mut self, valid: &HashSet<Digest>) -> bool {
        self.queued.retain(|press| valid.contains(&press.recipe.media_sha256));
        self.failed.retain(|(recipe, _)| valid.contains(&recipe.media_sha256));
        self.running.as_ref().is_some_and(|press| !valid.contains(&press.recipe.media_sha256))
    }

    pub(super) fn views(&self) -> Vec<PressView> {
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
        let failed = self.failed.iter().map(|(recipe, reason)| {
            view(recipe, PressState::Failed, "", 0.0, Some(reason.clone()))
        });
        running.chain(queued).chain(failed).collect()
    }
}
