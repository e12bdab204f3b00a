//! The time of a decision.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A moment, and the date that it has in the station's time zone.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Time {
    pub at: Timestamp,
    pub day: Date,
}

/// The time of a decision, by two clocks. A clock that was wrong, once or now, makes nothing valid that is not: what begins at
/// a time begins by the earlier one, and what ends at a time has ended by the later one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Now {
    /// By this machine's clock.
    pub clock: Time,
    /// The latest time that is known: by this machine's clock, or that of the ledger's latest record, or of media that a
    /// trusted signer has signed. Never earlier than `clock`.
    pub latest: Time,
}

impl Now {
    /// A clock that is put right goes back by no more than this.
    const STEP: Duration = Duration::from_secs(120);

    /// A moment at which no later one is known.
    pub const fn at(time: Time) -> Self {
        Self { clock: time, latest: time }
    }

    /// By how much the latest time that is known is ahead of this machine's clock, if that is worth a word.
    pub fn ahead(&self) -> Option<SignedDuration> {
        let ahead = self.latest.at.duration_since(self.clock.at);
        (ahead.unsigned_abs() > Self::STEP).then_some(ahead)
    }

    /// What is to be said beside a date that is over by the later clock alone; empty if there is nothing.
    pub fn beside_an_end(&self) -> String {
        if self.ahead().is_none() {
            return String::new();
        }
        let (latest, clock) = (self.latest.at, self.clock.at);
        format!(
            "; the station goes by {latest:.0}, the latest time that it knows, and this machine's clock shows {clock:.0}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_are_not_told() {
        let time = |second| Time { at: Timestamp::constant(second, 0), day: Date::ZERO };
        let now = Now { clock: time(1_800_000_000), latest: time(1_800_000_120) };
        assert_eq!((now.ahead(), &*now.beside_an_end()), (None, ""));
        let now = Now { latest: time(1_800_000_121), ..now };
        assert_eq!(
            now.beside_an_end(),
            "; the station goes by 2027-01-15T08:02:01Z, the latest time that it knows, and this machine's clock shows \
             2027-01-15T08:00:00Z"
        );
    }
}
