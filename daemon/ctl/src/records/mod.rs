//! `records`: the ledger, as a table or as comma-separated values, or summed up.

pub(super) mod query;
mod summary;

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::client::{Client, ClientError, Records};
use crate::output::{Output, paragraph, put_part, put_styled, terminal};
use crate::table::{Cell, Keep, Table};
use crate::{CommandError, csv, exit, explain, hinted, output, words};
use model::api::line::RecordLine;
use model::api::snapshot::Snapshot;
use model::drive::Serial;
use model::failure::{Denial, Reason};
use model::record::Record;
use query::{RecordsArguments, RecordsVerb};
use summary::Summary;

/// How many rows of the table are laid out at once: memory does not grow with the ledger.
const PAGE: usize = 500;

/// Lists the records as they come. Rows that cannot be read are told on standard error, and make the exit code 1.
pub(super) async fn perform(
    client: &Client,
    out: &Output,
    arguments: &RecordsArguments,
) -> Result<u8, CommandError> {
    let mut rows = client.records(&arguments.path()).await?;
    if let Some(RecordsVerb::Summary { shifts }) = &arguments.what {
        return summarise(rows, out, Summary::of(shifts)).await;
    }
    let mut listing = if arguments.csv {
        Listing::csv(csv::heads().map_err(broken)?)
    } else if arguments.lines {
        Listing::Lines(String::new())
    } else if out.json {
        Listing::json()
    } else {
        Listing::table(terminal())
    };
    let mut seen = false;
    let code = each(&mut rows, |record| {
        seen = true;
        listing.take(record)
    })
    .await?;
    let text = listing.end();
    listing.show(&text);
    // Programs ask for what is not there, too, and mean it.
    let is_read = !(out.json || arguments.csv || arguments.lines);
    if !seen && is_read && arguments.names_something() {
        let snapshot: Snapshot = client.get("/v1/status").await?;
        unknown(arguments, &snapshot).iter().for_each(|text| remark(text));
    }
    Ok(code)
}

/// Filters by which nothing was found and which name nothing that the station knows now, so that a slip of the finger does
/// not look like an empty shift.
fn unknown(arguments: &RecordsArguments, snapshot: &Snapshot) -> Vec<String> {
    let mut unknown = Vec::new();
    let bays = || {
        let named = snapshot.bays.iter().map(|bay| bay.name.as_str());
        named.chain(snapshot.devices.iter().map(|device| device.bay.0.as_str()))
    };
    if let Some(bay) = arguments.bay.as_deref().filter(|bay| bays().all(|known| known != *bay)) {
        unknown.push(format!("no bay is called {bay:?}; see `prestagectl bays list`"));
    }
    let is_serial = |serial: &str| {
        let mut attached = snapshot.devices.iter().filter_map(|device| device.serial.as_ref());
        attached.any(|known| known.as_str() == serial)
    };
    if let Some(serial) = arguments.serial.as_deref().filter(|serial| !is_serial(serial)) {
        unknown.push(format!("no drive with the serial number {serial:?} is attached"));
    }
    let is_order = |number: &str| snapshot.orders.iter().any(|order| order.number == number);
    if let Some(number) = arguments.order.as_deref().filter(|number| !is_order(number)) {
        unknown
            .push(format!("no open order has the number {number:?}; see `prestagectl order list`"));
    }
    unknown
}

#[expect(clippy::print_stderr, reason = "what is said beside the records")]
fn remark(text: &str) {
    eprintln!("prestagectl: {text}");
}

/// Gives every record to `take`, as it comes. Returns the exit code: 1 if a row cannot be read.
async fn each(
    rows: &mut Records,
    mut take: impl FnMut(Record) -> Result<(), CommandError>,
) -> Result<u8, CommandError> {
    let mut code = exit::DONE;
    while let Some(row) = rows.next().await? {
        match row {
            RecordLine::Record(record) => take(*record)?,
            RecordLine::Unreadable(denial) => {
                code = exit::FAILED;
                warn(&denial);
            }
            RecordLine::Failed(denial) => return Err(ClientError::from(denial).into()),
        }
    }
    Ok(code)
}

async fn summarise(
    mut rows: Records,
    out: &Output,
    mut summary: Summary,
) -> Result<u8, CommandError> {
    let code = each(&mut rows, |record| {
        summary.add(&record, &TimeZone::system());
        Ok(())
    })
    .await?;
    out.print(&summary, |terminal| summary.render(terminal));
    Ok(code)
}

fn broken(error: ::csv::Error) -> CommandError {
    CommandError::new(exit::FAILED, error.to_string())
}

#[expect(clippy::print_stderr, reason = "errors go to standard error")]
fn warn(denial: &Denial) {
    eprintln!("prestagectl: {}", denial.detail);
    eprintln!("{}", output::hint(denial.what_now(), output::error_terminal()));
}

/// A listing that is being written.
enum Listing {
    Csv(String),
    /// A document on each line.
    Lines(String),
    /// An array. The comma after a record is written when another follows.
    Json {
        text: String,
        is_empty: bool,
    },
    Table {
        terminal: Option<usize>,
        page: Vec<Record>,
        is_first: bool,
    },
}

impl Listing {
    fn csv(heads: String) -> Self {
        Self::Csv(heads)
    }

    fn json() -> Self {
        Self::Json { text: "[".into(), is_empty: true }
    }

    fn table(terminal: Option<usize>) -> Self {
        Self::Table { terminal, page: Vec::new(), is_first: true }
    }

    /// Takes a record; returns what is to be shown now.
    fn add(&mut self, record: Record) -> Result<Option<String>, CommandError> {
        match self {
            Self::Csv(text) => *text += &csv::row(&record).map_err(broken)?,
            Self::Lines(text) => {
                *text += &serde_json::to_string(&hinted::record(record)).unwrap_or_default();
                text.push('\n');
            }
            Self::Json { text, is_empty } => {
                let record = hinted::record(record);
                let one = serde_json::to_string_pretty(&record).unwrap_or_default();
                *text += if *is_empty { "\n  " } else { ",\n  " };
                *text += &one.replace('\n', "\n  ");
                *is_empty = false;
            }
            Self::Table { page, .. } => page.push(record),
        }
        Ok(self.full())
    }

    /// Takes a record, and shows what is to be shown now.
    fn take(&mut self, record: Record) -> Result<(), CommandError> {
        if let Some(text) = self.add(record)? {
            self.show(&text);
        }
        Ok(())
    }

    /// What has been gathered, if it is enough to be shown.
    fn full(&mut self) -> Option<String> {
        match self {
            Self::Csv(text) | Self::Lines(text) | Self::Json { text, .. } => {
                (text.len() > 1 << 16).then(|| std::mem::take(text))
            }
            Self::Table { terminal, page, is_first } => (page.len() >= PAGE).then(|| {
                let page = std::mem::take(page);
                let is_first = std::mem::take(is_first);
                let render = if is_first { render } else { render_more };
                render(&page, *terminal, &TimeZone::system())
            }),
        }
    }

    /// What is left to be shown at the end.
    fn end(&mut self) -> String {
        match self {
            Self::Csv(text) | Self::Lines(text) => std::mem::take(text),
            Self::Json { text, is_empty } => {
                let end = if *is_empty { "]\n" } else { "\n]\n" };
                std::mem::take(text) + end
            }
            Self::Table { terminal, page, is_first: true } => {
                render(page, *terminal, &TimeZone::system())
            }
            Self::Table { page, .. } if page.is_empty() => String::new(),
            Self::Table { terminal, page, .. } => render_more(page, *terminal, &TimeZone::system()),
        }
    }

    fn show(&self, text: &str) {
        match self {
            Self::Csv(_) | Self::Lines(_) | Self::Json { .. } => put_part(text),
            Self::Table { .. } if text.is_empty() => {}
            Self::Table { .. } => put_styled(text.trim_end()),
        }
    }
}

const COLUMNS: [(&str, Keep); 10] = [
    ("OPENED", Keep::Always),
    ("VERDICT", Keep::Always),
    ("SERIAL", Keep::Always),
    ("BAY", Keep::Useful),
    ("MEDIA", Keep::Useful),
    ("TOOK", Keep::Useful),
    ("WRITTEN", Keep::Spare),
    ("WRITE", Keep::Spare),
    ("READ BACK", Keep::Spare),
    ("WHY", Keep::Text),
];

/// The first page of the table, or all of it.
fn render(records: &[Record], terminal: Option<usize>, zone: &TimeZone) -> String {
    if records.is_empty() {
        return paragraph("no records\n", terminal);
    }
    fill(Table::new(COLUMNS), records, terminal, zone)
}

/// A further page, which has no heads.
fn render_more(records: &[Record], terminal: Option<usize>, zone: &TimeZone) -> String {
    fill(Table::headless(COLUMNS.map(|(_, keep)| keep)), records, terminal, zone)
}

fn fill(
    mut table: Table<10>,
    records: &[Record],
    terminal: Option<usize>,
    zone: &TimeZone,
) -> String {
    for record in records {
        let verdict = match record.verdict.map(words::verdict) {
            Some((word, style)) => Cell::styled(word, style),
            None => Cell::new("RUNNING"),
        };
        let written = (record.written_bytes.0 > 0).then_some(record.written_bytes);
        table.row([
            Cell::new(opened(record, zone)),
            verdict,
            Cell::perhaps(record.serial.as_ref()),
            Cell::new(&record.bay),
            Cell::perhaps(record.media.as_ref().map(|media| &media.name)),
            Cell::perhaps(took(record)),
            Cell::perhaps(written),
            Cell::perhaps(record.write_bytes_per_second),
            Cell::perhaps(record.verify_bytes_per_second),
            Cell::new(why(record, terminal)),
        ]);
    }
    let hints = explain::hints(reasons(records), terminal);
    match terminal {
        Some(_) if !hints.is_empty() => format!("{}\n{hints}", table.render(terminal)),
        _ => table.render(terminal),
    }
}

/// When a record was opened, in the time of this place; the offset tells UTC.
fn opened(record: &Record, zone: &TimeZone) -> String {
    record.opened.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
}

fn took(record: &Record) -> Option<String> {
    let seconds = record.closed?.duration_since(record.opened).as_secs();
    Some(words::duration(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

fn reasons(records: &[Record]) -> impl Iterator<Item = &Reason> {
    records.iter().filter_map(|record| record.reason.as_ref())
}

/// Why a drive did not pass. In a pipe each row stands for itself, so it also says what to do; on a terminal that is said
/// once for each code.
fn why(record: &Record, terminal: Option<usize>) -> String {
    let why = words::why(record.reason.as_ref(), &record.warnings);
    match &record.reason {
        Some(reason) if terminal.is_none() => {
            let drive = record.serial.as_ref().map_or("DRIVE", Serial::as_str);
            // A record outlives its drive's stay in the bay.
            format!("{why}; hint: {}", reason.clone().once_detached().what_now_for(drive))
        }
        _ => why,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{Listing, RecordsArguments, render, unknown};
    use crate::{fixture, hinted};

    #[test]
    fn records() {
        let records = fixture::records();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        fixture::outputs("records", |terminal| render(&records, terminal, &zone));
        fixture::outputs("records-none", |terminal| render(&[], terminal, &zone));
    }

    #[test]
    fn a_filter_that_names_nothing_known_is_told() {
        let station = fixture::station();
        let device = station.devices.iter().find(|device| device.serial.is_some()).unwrap();
        let slip = RecordsArguments {
            serial: Some("newc9".into()),
            bay: Some("bay to".into()),
            order: Some("PO1".into()),
            ..RecordsArguments::default()
        };
        let told = unknown(&slip, &station);
        assert_eq!(told.len(), 3, "{told:?}");
        for (told, name) in told.iter().zip(["\"bay to\"", "\"newc9\"", "\"PO1\""]) {
            assert!(told.contains(name), "{told}");
        }
        let right = RecordsArguments {
            serial: device.serial.as_ref().map(ToString::to_string),
            bay: Some(device.bay.0.clone()),
            order: station.orders.first().map(|order| order.number.clone()),
            ..RecordsArguments::default()
        };
        assert!(right.names_something() && !RecordsArguments::default().names_something());
        assert_eq!(unknown(&right, &station), Vec::<String>::new());
    }

    /// What is printed is one JSON document, and the one that was printed when records came all at once.
    #[test]
    fn an_array_is_written_as_it_comes() {
        for count in [0, 1, 3, 100] {
            let records = vec![hinted::record(fixture::record()); count];
            let mut listing = Listing::json();
            let mut text = String::new();
            for record in &records {
                text += &listing.add(record.clone()).unwrap().unwrap_or_default();
            }
            text += &listing.end();
            assert_eq!(text.trim_end(), serde_json::to_string_pretty(&records).unwrap());
        }
    }

    #[test]
    fn a_long_table_has_its_heads_once() {
        let mut listing = Listing::table(None);
        let mut pages = Vec::new();
        for _ in 0..2 * super::PAGE {
            pages.extend(listing.add(fixture::record()).unwrap());
        }
        assert_eq!(pages.len(), 2);
        assert!(pages[0].contains("OPENED") && !pages[1].contains("OPENED"));
        assert_eq!(pages.concat().lines().count(), 2 * super::PAGE + 1);
        assert_eq!(listing.end(), "");
    }
}
