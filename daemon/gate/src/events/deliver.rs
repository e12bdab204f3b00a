//! One receiver, entry after entry: each again and again until it is taken, and then remembered before the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use model::api::evidence::{LogEntry, LogPage};
use model::failure::chain;
use tokio::time::sleep;

use super::cloud::{self, CloudEvent};
use super::cursor::{Cursor, Place};
use super::log::{End, Log};
use super::receiver::Receiver;
use super::{Standing, Wanted};

/// How long to wait after the first failure; twice as long after each further one, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(300);

/// How long to wait after so many failures in a row. `chance` is anything from 0 to 1: many gates whose receiver comes back
/// do not all ask at once.
fn pause(failures: u32, chance: f64, asked: Option<Duration>) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(20)));
    let longest = doubled.min(LONGEST);
    longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0).max(asked.unwrap_or_default().min(LONGEST))
}

/// Anything from 0 to 1.
fn chance() -> f64 {
    let mut byte = [0_u8];
    // Without chance all wait alike.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

/// A receiver with all that it takes to tell it what has happened.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) receiver: Receiver,
    pub(super) cursor: Cursor,
    pub(super) log: Log,
    pub(super) wanted: Wanted,
    /// Whether it also gets what the log held when it was first named.
    pub(super) history: bool,
    pub(super) standing: Arc<Standing>,
}

impl Line {
    /// Tells it everything, for as long as the gate runs.
    pub(super) async fn run(mut self) {
        loop {
            let place = match self.log.end() {
                Some(end) => self.go_on_at(end).await,
                None => None,
            };
            match place {
                Some((place, end)) if place.seq < end.size => {
                    if !self.tell_page(place).await {
                        return;
                    }
                }
                _ => {
                    let is_followed = tokio::select! {
                        is_followed = self.log.grown() => is_followed,
                        () = self.receiver.rest() => true,
                    };
                    if !is_followed {
                        return;
                    }
                }
            }
        }
    }

    /// Where to go on in the log that ends there.
    async fn go_on_at(&mut self, end: End) -> Option<(Place, End)> {
        let End { ledger, size } = end;
        let name = &self.standing.name;
        let place = match self.cursor.place() {
            Some(place) if place.ledger == ledger => place,
            Some(former) => {
                let Place { ledger: before, seq } = former;
                let missed = self.standing.pending.load(Ordering::Relaxed);
                tracing::error!(
                    "events: the log is another one now: {ledger}, not {before}. {name} had been told {seq} entries of that; \
                     what came after them, {missed} that this gate knows of, is not sent"
                );
                Place { ledger, seq: 0 }
            }
            None => {
                let seq = if self.history { 0 } else { size };
                tracing::info!("events: {name} is new, and is told what comes after entry {seq}");
                Place { ledger, seq }
            }
        };
        self.standing.pending.store(size.saturating_sub(place.seq), Ordering::Relaxed);
        self.remember(place).await;
        Some((place, end))
    }

    /// Tells it the entries after a place; `false` if it wants nothing more.
    async fn tell_page(&mut self, Place { ledger, seq }: Place) -> bool {
        let page = match self.log.after(seq).await {
            Ok(page) => page,
            Err(error) => {
                tracing::debug!("events: {}", chain(&error));
                sleep(FIRST).await;
                return true;
            }
        };
        let LogPage { ledger: now, station, size, entries } = page;
        if now != ledger {
            // The end is looked at again soon.
            sleep(FIRST).await;
            return true;
        }
        let (mut told, mut expected) = (seq, seq + 1);
        for entry in &entries {
            if entry.seq != expected {
                tracing::error!("events: entry {expected} is missing from the log");
                sleep(LONGEST).await;
                return true;
            }
            expected += 1;
            if self.wanted.has(&cloud::kind(&entry.said)) {
                let event = CloudEvent::of(&station, ledger, entry);
                if !self.tell(&event, entry).await {
                    return false;
                }
                self.remember(Place { ledger, seq: entry.seq }).await;
            }
            told = entry.seq;
            self.standing.pending.store(size.saturating_sub(told), Ordering::Relaxed);
        }
        self.remember(Place { ledger, seq: told }).await;
        true
    }

    /// Tells it one thing until it has taken it; `false` if it wants nothing more.
    async fn tell(&mut self, event: &CloudEvent, entry: &LogEntry) -> bool {
        let (name, seq) = (self.standing.name.clone(), entry.seq);
        let mut failures: u32 = 0;
        let mut last = String::new();
        loop {
            let seconds = Timestamp::now().as_second();
            let error = match self.receiver.deliver(event, seconds).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(
                            "events: {name} has taken entry {seq}, at attempt {}",
                            failures + 1
                        );
                    }
                    self.standing.takes();
                    return true;
                }
                Err(error) => error,
            };
            failures = failures.saturating_add(1);
            self.standing.fails();
            let why = chain(&error);
            if why != last {
                match error.is_hopeless() {
                    true => tracing::error!(
                        "events: {name} cannot take entry {seq}, nor what comes after it, until somebody mends this: {why}"
                    ),
                    false => tracing::warn!("events: {name} has not taken entry {seq}: {why}"),
                }
                last = why;
            }
            if error.is_farewell() {
                tracing::error!(
                    "events: {name} is told nothing more until the gate is started again"
                );
                self.standing.gone.store(true, Ordering::Relaxed);
                return false;
            }
            sleep(pause(failures, chance(), error.wait())).await;
        }
    }

    /// Remembers a place, and goes on only then: what is told after it would be told again for ever.
    async fn remember(&mut self, place: Place) {
        let mut failures: u32 = 0;
        // A disk that takes its time must not hold up the pages.
        while let Err(error) = tokio::task::block_in_place(|| self.cursor.set(place)) {
            if failures == 0 {
                tracing::error!("events: {}", chain(&error));
            }
            failures = failures.saturating_add(1);
            sleep(pause(failures, chance(), None)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_is_asked_less_and_less_often() {
        let at = |failures| pause(failures, 1.0, None);
        assert_eq!(at(1), FIRST);
        assert_eq!(at(4), FIRST * 8);
        assert_eq!(at(30), LONGEST);
        assert_eq!(at(u32::MAX), LONGEST);
        // By chance, and never at once.
        assert_eq!(pause(4, 0.0, None), FIRST * 4);
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
        // What the receiver asks for counts, as long as it is not for ever.
        assert_eq!(pause(1, 0.0, Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(pause(1, 0.0, Some(Duration::MAX)), LONGEST);
    }
}
