//! A clock that never goes back: a station whose system clock was set back must not take expired media for good.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use model::now::{Now, Time};
use parking_lot::Mutex;

/// So far may what others have signed be ahead of the system's clock and still be believed.
const LEEWAY: SignedDuration = SignedDuration::from_hours(24);

/// The latest time that is known. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Timestamp>>);

/// How far the time that somebody has signed is ahead of the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// By so much.
    pub by: SignedDuration,
    /// Whether the station's clock goes on to it.
    pub believed: bool,
}

impl Clock {
    /// A clock that shows no earlier time than this.
    pub fn new(least: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(least)))
    }

    /// Takes up a time that has been, by somebody who is trusted.
    pub fn saw(&self, time: Timestamp) {
        let mut latest = self.0.lock();
        *latest = time.max(*latest);
    }

    /// Takes up the time that a trusted signer has written, if the clock of this machine makes it likely; returns by how much
    /// it is ahead of that, unless it is over. A time far ahead comes from a clock that is wrong, there or here, and nobody
    /// can tell which: media that is right would be expired here for good by somebody else's clock, and no later restart
    /// or repair of it would bring the time back. Such media is not used (`media_not_yet_valid`), so nothing depends on it.
    pub fn signed_at(&self, time: Timestamp) -> Option<Ahead> {
        let by = time.duration_since(Timestamp::now());
        if by > LEEWAY {
            return Some(Ahead { by, believed: false });
        }
        self.saw(time);
        by.is_positive().then_some(Ahead { by, believed: true })
    }

    /// The time.
    pub fn now(&self) -> Now {
        let clock = Timestamp::now();
        self.saw(clock);
        let local = |at: Timestamp| Time { at, day: at.to_zoned(TimeZone::system()).date() };
        Now { clock: local(clock), latest: local(*self.0.lock()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let now = Timestamp::now();
        let clock = Clock::new(Timestamp::UNIX_EPOCH);
        assert!(clock.now().clock.at >= now && clock.now().ahead().is_none());
        let late: Timestamp = "2199-01-02T12:00:00Z".parse().unwrap();
        clock.saw(late);
        clock.saw(now);
        let read = clock.clone().now();
        assert_eq!(read.latest.at, late);
        assert!(read.clock.at < late && read.ahead().is_some());
    }

    /// A clock that is wrong elsewhere does not expire what is right here.
    #[test]
    fn a_signed_time_far_ahead_does_not_move_it() {
        let hours = |hours: i64| Timestamp::now() + SignedDuration::from_hours(hours);
        let clock = Clock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.signed_at(hours(-1)), None);
        let far = clock.signed_at(hours(25)).unwrap();
        assert!(!far.believed && clock.now().latest.at < hours(1), "{far:?}");
        let near = clock.signed_at(hours(23)).unwrap();
        assert!(near.believed && clock.now().latest.at > hours(22), "{near:?}");
        // Step by step it does not get further either: it is the system's clock that is compared with.
        assert!(!clock.signed_at(hours(40)).unwrap().believed && clock.now().latest.at < hours(24));
    }
}
