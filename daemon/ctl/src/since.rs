//! The times that `--since` takes.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// `8h`, `2026-11-22` or `2026-11-22T08:00:00Z` as an RFC 3339 time.
pub(super) fn parse(text: &str) -> Result<String, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_string());
    }
    if let Ok(date) = text.parse::<Date>() {
        let start = date.to_zoned(TimeZone::system()).map_err(|e| e.to_string())?;
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
    use super::parse;

    #[test]
    fn dates_times_and_ages() {
        assert_eq!(parse("2026-11-22T08:00:00Z").unwrap(), "2026-11-22T08:00:00Z");
        assert!(parse("8h").is_ok() && parse("2026-11-22").is_ok());
        assert!(parse("yesterday").is_err());
    }
}
