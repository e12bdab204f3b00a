//! How far one drive has come; written by its thread, read by the station.

use std::time::{Duration, Instant};

use model::job::{IllegalTransition, Reading, State};
use model::units::{ByteRate, Bytes};
use parking_lot::Mutex;

use crate::bottleneck::TimeSpent;

/// Progress of one job.
#[derive(Debug)]
pub struct Progress(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    /// Bytes that will be moved in all, to the drive and back.
    total: Bytes,
    done: Bytes,
    /// Start of the current state, and what had been done by then.
    since: Instant,
    before: Bytes,
    /// Where the time of one of the drive's threads has gone in this state.
    spent: TimeSpent,
}

impl Progress {
    /// Nothing done of `total` bytes.
    pub fn new(state: State, total: Bytes) -> Self {
        let since = Instant::now();
        Self(Mutex::new(Inner {
            state,
            total,
            done: Bytes(0),
            since,
            before: Bytes(0),
            spent: TimeSpent::default(),
        }))
    }

    /// So many bytes more will be moved than was expected.
    pub fn add_work(&self, bytes: Bytes) {
        self.0.lock().total += bytes;
    }

    /// Enters a state.
    ///
    /// # Errors
    /// [`IllegalTransition`] if it may not follow the current one; then nothing has changed.
    pub fn enter(&self, state: State) -> Result<(), IllegalTransition> {
        let mut inner = self.0.lock();
        inner.state = inner.state.advance(state)?;
        inner.since = Instant::now();
        inner.before = inner.done;
        inner.spent = TimeSpent::default();
        Ok(())
    }

    /// The state that was entered last.
    pub fn state(&self) -> State {
        self.0.lock().state
    }

    /// Counts bytes.
    pub fn add(&self, bytes: Bytes) {
        self.0.lock().done += bytes;
    }

    /// Notes where the time of one of the drive's threads has gone so far.
    pub fn spent(&self, spent: TimeSpent) {
        self.0.lock().spent = spent;
    }

    /// Looks.
    #[expect(clippy::cast_precision_loss, reason = "for a progress bar")]
    pub fn read(&self) -> Reading {
        let inner = self.0.lock();
        let moved = inner.done - inner.before;
        let rate = ByteRate::mean(moved, inner.since.elapsed());
        let left = inner.total.0.saturating_sub(inner.done.0);
        let left = (rate.0 > 0).then(|| Duration::from_secs(left / rate.0));
        let percent = match inner.total.0 {
            0 => 0.0,
            total => (inner.done.0 as f64 / total as f64 * 100.0).min(100.0),
        };
        let moving = matches!(inner.state, State::Writing | State::ReadingBack);
        let moving = moving && moved > Bytes(0);
        let bottleneck = moving.then(|| inner.spent.bottleneck(false));
        Reading { state: inner.state, percent, rate, left, bottleneck }
    }
}
