//! The times that `--since` takes.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `8h`, `2026-11-22`, `2026-11-22T08:00` (in the local time zone) or `2026-11-22T08:00:00Z` as an RFC 3339 time.
pub(super) fn parse(text: &str) -> Result<String, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_string());
    }
    if let Ok(time) = text.parse::<DateTime>() {
        let start = time.to_zoned(TimeZone::system()).map_err(|e| e.to_string())?;
        return Ok(start.timestamp().to_string());
    }
    let ago: SignedDuration = text.parse().map_err(|_| {
        "write a date, an RFC 3339 time, or how long ago, such as 2026-11-22 or 8h".to_owned()
    })?;
    let time = Timestamp::now().checked_sub(ago).map_err(|e| e.to_string())?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_ages() {
        assert_eq!(parse("2026-11-22T08:00:00Z").unwrap(), "2026-11-22T08:00:00Z");
        assert!(parse("8h").is_ok() && parse("2026-11-22").is_ok());
        let (day, hour) = (parse("2026-11-22").unwrap(), parse("2026-11-22T09:30").unwrap());
        let since = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(since(&hour).duration_since(since(&day)).as_mins(), 9 * 60 + 30);
        assert_eq!(parse("2026-11-22 09:30:00"), Ok(hour));
        assert!(parse("yesterday").is_err() && parse("T09:30").is_err());
    }
}
