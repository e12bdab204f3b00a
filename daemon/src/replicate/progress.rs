//! How far one drive has come; written by its thread, read by the station.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bound::Spent;
use crate::job::{Bound, State};
use crate::units::{ByteRate, Bytes};

/// Progress of one job.
#[derive(Debug)]
pub struct Progress(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    /// Bytes that will be moved in all: written and read back.
    total: Bytes,
    done: Bytes,
    /// Start of the current state, and what had been done by then.
    since: Instant,
    before: Bytes,
    /// Where the time of one of the drive's lanes has gone in this state.
    spent: Spent,
}

/// What the station shows of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// State of the job.
    pub state: State,
    /// Share of the whole job, 0 to 100.
    pub percent: f64,
    /// Mean rate in the current state.
    pub rate: ByteRate,
    /// Estimated time left, at that rate.
    pub left: Option<Duration>,
    /// What limits the drive in the current state, if bytes move.
    pub bound: Option<Bound>,
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
            spent: Spent::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a state.
    ///
    /// # Panics
    /// In debug builds, if the state may not follow the current one.
    pub fn enter(&self, state: State) {
        let mut inner = self.lock();
        debug_assert!(inner.state.may_become(state), "{:?} to {state:?}", inner.state);
        inner.state = state;
        inner.since = Instant::now();
        inner.before = inner.done;
        inner.spent = Spent::default();
    }

    /// Counts bytes.
    pub fn add(&self, bytes: Bytes) {
        self.lock().done.0 += bytes.0;
    }

    /// Notes where the time of one of the drive's lanes has gone so far.
    pub fn spent(&self, spent: Spent) {
        self.lock().spent = spent;
    }

    /// Looks.
    #[expect(clippy::cast_precision_loss, reason = "for a progress bar")]
    pub fn read(&self) -> Reading {
        let inner = self.lock();
        let moved = Bytes(inner.done.0 - inner.before.0);
        let rate = ByteRate::mean(moved, inner.since.elapsed());
        let left = inner.total.0.saturating_sub(inner.done.0);
        let left = (rate.0 > 0).then(|| Duration::from_secs(left / rate.0));
        let percent = match inner.total.0 {
            0 => 0.0,
            total => (inner.done.0 as f64 / total as f64 * 100.0).min(100.0),
        };
        let moving = matches!(inner.state, State::Writing | State::ReadingBack);
        let bound = (moving && moved > Bytes(0)).then(|| inner.spent.bound(None, false));
        Reading { state: inner.state, percent, rate, left, bound }
    }
}
