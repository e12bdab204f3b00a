//! A clock that never goes back: a station whose system clock was set back must not take expired media for good.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

/// The latest time that is known. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Timestamp>>);

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

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.saw(Timestamp::now());
        *self.0.lock()
    }

    /// The date in the station's time zone.
    pub fn today(&self) -> Date {
        self.now().to_zoned(TimeZone::system()).date()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let now = Timestamp::now();
        let clock = Clock::new(Timestamp::UNIX_EPOCH);
        assert!(clock.today() >= now.to_zoned(TimeZone::system()).date());
        let late: Timestamp = "2199-01-02T12:00:00Z".parse().unwrap();
        clock.saw(late);
        clock.saw(now);
        assert_eq!(clock.clone().today(), late.to_zoned(TimeZone::system()).date());
    }
}
