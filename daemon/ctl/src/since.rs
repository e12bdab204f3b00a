//! The times that `--since` takes.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// `today`, `17:00` (the last time that it was so late), `8h`, `2026-11-22`, `2026-11-22T08:00` (all in the local time
/// zone) or `2026-11-22T08:00:00Z` as an RFC 3339 time.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let now = Timestamp::now().to_zoned(TimeZone::system());
    Ok(at(text, &now)?.to_string())
}

fn at(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = |time: DateTime| {
        let zoned = time.to_zoned(now.time_zone().clone()).map_err(|error| error.to_string())?;
        Ok(zoned.timestamp())
    };
    if text == "today" {
        return local(now.date().to_datetime(Time::midnight()));
    }
    if let Ok(time) = time_of_day(text) {
        let today = local(now.date().to_datetime(time))?;
        let yesterday = now.date().yesterday().map_err(|error| error.to_string())?;
        return if today <= now.timestamp() {
            Ok(today)
        } else {
            local(yesterday.to_datetime(time))
        };
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return local(time);
    }
    let ago: SignedDuration = text.parse().map_err(|_| {
        "write today, 17:00, 8h, a date such as 2026-11-22, or an RFC 3339 time".to_owned()
    })?;
    now.timestamp().checked_sub(ago).map_err(|error| error.to_string())
}

/// `17:00` or `17:00:30`.
pub(super) fn time_of_day(text: &str) -> Result<Time, String> {
    let is_time = text.len() >= 5 && text.as_bytes()[2] == b':';
    let time = text.parse::<Time>().ok().filter(|_| is_time);
    time.ok_or_else(|| "write a time of the day, such as 06:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_ages() {
        let now: Zoned = "2026-11-22T16:30:00+01:00[+01:00]".parse().unwrap();
        let utc = |text: &str| at(text, &now).map(|time| time.to_string());
        for (text, time) in [
            ("2026-11-22T08:00:00Z", "2026-11-22T08:00:00Z"),
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            ("2026-11-22T09:30", "2026-11-22T08:30:00Z"),
            ("2026-11-22 09:30:00", "2026-11-22T08:30:00Z"),
            ("8h", "2026-11-22T07:30:00Z"),
            ("2h 30m", "2026-11-22T13:00:00Z"),
            ("today", "2026-11-21T23:00:00Z"),
            ("16:30", "2026-11-22T15:30:00Z"),
            ("17:00", "2026-11-21T16:00:00Z"),
            ("06:00:30", "2026-11-22T05:00:30Z"),
        ] {
            assert_eq!(utc(text), Ok(time.to_owned()), "{text}");
        }
        for wrong in ["yesterday", "T09:30", "9", "25:00", ""] {
            assert!(utc(wrong).is_err(), "{wrong}");
        }
    }
}
