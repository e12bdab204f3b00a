//! What the records come to: verdicts by shift, causes, and bays, with rates. It takes a few numbers for each record, and no
//! more.

use std::collections::BTreeMap;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use model::record::Record;
use model::units::ByteRate;
use model::verdict::Verdict;
use serde::Serialize;
use serde::ser::SerializeStruct as _;

use crate::output::paragraph;
use crate::table::{Cell, Keep, Table};
use crate::words;

/// How many records ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    stopped: u64,
    refused: u64,
}

impl Tally {
    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Failed => &mut self.failed,
            Verdict::Stopped => &mut self.stopped,
            Verdict::Refused => &mut self.refused,
        } += 1;
    }

    /// How many of a hundred drives that were imaged to a verdict about themselves have passed.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn yield_percent(&self) -> Option<f64> {
        let judged = self.passed + self.failed;
        (judged > 0).then(|| self.passed as f64 * 100.0 / judged as f64)
    }

    fn cells(&self) -> [Cell; 5] {
        let count = |count: u64| Cell::new(count);
        let share = self.yield_percent().map(|percent| format!("{percent:.1} %"));
        let [passed, failed, stopped, refused] =
            [self.passed, self.failed, self.stopped, self.refused].map(count);
        [passed, failed, stopped, refused, Cell::perhaps(share)]
    }
}

impl Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_struct("Tally", 5)?;
        all.serialize_field("passed", &self.passed)?;
        all.serialize_field("failed", &self.failed)?;
        all.serialize_field("stopped", &self.stopped)?;
        all.serialize_field("refused", &self.refused)?;
        all.serialize_field("yield_percent", &self.yield_percent())?;
        all.end()
    }
}

/// Rates of drives that have passed.
#[derive(Clone, Debug, Default)]
struct Rates(Vec<u64>);

impl Rates {
    fn add(&mut self, rate: Option<ByteRate>) {
        self.0.extend(rate.map(|rate| rate.0));
    }

    fn median(&self) -> Option<ByteRate> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map(|rate| ByteRate(*rate))
    }
}

impl Serialize for Rates {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.median().map(|rate| rate.0).serialize(serializer)
    }
}

/// The records of one bay.
#[derive(Clone, Debug, Default, Serialize)]
struct Bay {
    #[serde(flatten)]
    tally: Tally,
    /// Medians.
    write_bytes_per_second: Rates,
    verify_bytes_per_second: Rates,
}

/// What was counted.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// When shifts begin, in order.
    #[serde(skip)]
    starts: Vec<Time>,
    total: Tally,
    /// By when the shift began, in local time.
    shifts: BTreeMap<DateTime, Tally>,
    /// By code, of all that have not passed.
    causes: BTreeMap<String, u64>,
    bays: BTreeMap<String, Bay>,
}

impl Summary {
    /// Nothing yet. Shifts begin at these times of the day.
    pub(super) fn of(starts: &[Time]) -> Self {
        let mut starts = starts.to_vec();
        starts.sort_unstable();
        starts.dedup();
        Self {
            starts,
            total: Tally::default(),
            shifts: BTreeMap::new(),
            causes: BTreeMap::new(),
            bays: BTreeMap::new(),
        }
    }

    /// Counts a record; one without a verdict, of a job that runs, does not count yet.
    pub(super) fn add(&mut self, record: &Record, zone: &TimeZone) {
        let Some(verdict) = record.verdict else { return };
        self.total.add(verdict);
        let shift = self.shift(record.opened.to_zoned(zone.clone()).datetime());
        self.shifts.entry(shift).or_default().add(verdict);
        if let Some(reason) = &record.reason {
            *self.causes.entry(reason.code.to_string()).or_default() += 1;
        }
        let bay = self.bays.entry(record.bay.0.clone()).or_default();
        bay.tally.add(verdict);
        if verdict == Verdict::Passed {
            bay.write_bytes_per_second.add(record.write_bytes_per_second);
            bay.verify_bytes_per_second.add(record.verify_bytes_per_second);
        }
    }

    /// When the shift began in which this time lies: the last of yesterday goes on after midnight.
    fn shift(&self, time: DateTime) -> DateTime {
        let today = self.starts.iter().rev().find(|start| **start <= time.time());
        let (date, start) = match (today, self.starts.last()) {
            (Some(start), _) => (time.date(), *start),
            (None, Some(last)) => (time.date().yesterday().unwrap_or(time.date()), *last),
            (None, None) => (time.date(), Time::midnight()),
        };
        date.to_datetime(start)
    }

    pub(super) fn render(&self, terminal: Option<usize>) -> String {
        if self.shifts.is_empty() {
            return paragraph("no records\n", terminal);
        }
        let [pass, fail, stopped, refused] =
            [Verdict::Passed, Verdict::Failed, Verdict::Stopped, Verdict::Refused]
                .map(|verdict| words::verdict(verdict).0);
        let counts = [pass, fail, stopped, refused, "YIELD"].map(|head| (head, Keep::Always));
        let [c1, c2, c3, c4, c5] = counts;
        let mut shifts = Table::new([("SHIFT", Keep::Always), c1, c2, c3, c4, c5]);
        let rows = self
            .shifts
            .iter()
            .map(|(start, tally)| (start.strftime("%Y-%m-%d %H:%M").to_string(), tally));
        for (name, tally) in rows.chain([("all".to_owned(), &self.total)]) {
            let [a, b, c, d, e] = tally.cells();
            shifts.row([Cell::new(name), a, b, c, d, e]);
        }
        let mut causes = Table::new([("CAUSE", Keep::Always), ("RECORDS", Keep::Always)]);
        let mut order: Vec<(&String, &u64)> = self.causes.iter().collect();
        order.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), *code));
        for (code, count) in &order {
            causes.row([Cell::new(code), Cell::new(count)]);
        }
        let mut bays = Table::new([
            ("BAY", Keep::Always),
            c1,
            c2,
            c3,
            c4,
            c5,
            ("WRITE", Keep::Spare),
            ("READ BACK", Keep::Spare),
        ]);
        for (name, bay) in &self.bays {
            let [a, b, c, d, e] = bay.tally.cells();
            let rates = [&bay.write_bytes_per_second, &bay.verify_bytes_per_second];
            let [write, verify] = rates.map(|rates| Cell::perhaps(rates.median()));
            bays.row([Cell::new(name), a, b, c, d, e, write, verify]);
        }
        let causes = if order.is_empty() { None } else { Some(causes.render(terminal)) };
        let tables = [Some(shifts.render(terminal)), causes, Some(bays.render(terminal))];
        tables.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::fixture;

    fn summary(records: &[Record]) -> Summary {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let mut summary = Summary::of(&[14, 6, 22].map(|hour| Time::constant(hour, 0, 0, 0)));
        records.iter().for_each(|record| summary.add(record, &zone));
        summary
    }

    #[test]
    fn records_come_to_this() {
        let mut records = fixture::records();
        let night: Timestamp = "2026-11-23T00:30:00Z".parse().unwrap();
        records.extend(
            fixture::records().into_iter().map(|record| Record { opened: night, ..record }),
        );
        let summary = summary(&records);
        fixture::outputs("records-summary", |terminal| summary.render(terminal));
        fixture::snapshot("records-summary-json", &serde_json::to_string_pretty(&summary).unwrap());
        fixture::outputs("records-summary-none", |terminal| Summary::of(&[]).render(terminal));
    }

    #[test]
    fn a_shift_goes_on_after_midnight() {
        let summary = summary(&[]);
        let shift = |time: &str| summary.shift(time.parse().unwrap()).to_string();
        assert_eq!(shift("2026-11-23T01:30:00"), "2026-11-22T22:00:00");
        assert_eq!(shift("2026-11-23T05:59:59"), "2026-11-22T22:00:00");
        assert_eq!(shift("2026-11-23T06:00:00"), "2026-11-23T06:00:00");
        assert_eq!(shift("2026-11-23T23:00:00"), "2026-11-23T22:00:00");
    }
}
