//! `records`: the ledger, as a table or as comma-separated values.

use super::arguments::{RecordsArguments, VerdictFilter};
use super::client::{Client, segment};
use super::output::{Output, paragraph, put};
use super::table::{Cell, Keep, Table};
use super::{CommandError, csv, exit, words};
use model::record::Record;
use model::verdict::Verdict;

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    arguments: &RecordsArguments,
) -> Result<u8, CommandError> {
    let records: Vec<Record> = client.get(&path(arguments)).await?;
    if arguments.csv {
        let failed = |error: ::csv::Error| CommandError::new(exit::FAILED, error.to_string());
        put(csv::render(&records).map_err(failed)?.trim_end());
    } else {
        out.print(&records, |terminal| render(&records, terminal));
    }
    Ok(exit::DONE)
}

fn path(arguments: &RecordsArguments) -> String {
    let verdict = arguments.verdict.map(|verdict| match verdict {
        VerdictFilter::Passed => Verdict::Passed.to_string(),
        VerdictFilter::Failed => Verdict::Failed.to_string(),
        VerdictFilter::Refused => Verdict::Refused.to_string(),
        VerdictFilter::Stopped => Verdict::Stopped.to_string(),
    });
    let pairs = [
        ("serial", arguments.serial.as_deref()),
        ("since", arguments.since.as_deref()),
        ("verdict", verdict.as_deref()),
    ];
    let query: Vec<String> = pairs
        .iter()
        .filter_map(|(key, value)| value.map(|value| format!("{key}={}", segment(value))))
        .collect();
    format!("/v1/records?{}", query.join("&"))
}

fn render(records: &[Record], terminal: Option<usize>) -> String {
    if records.is_empty() {
        return paragraph("no records\n", terminal);
    }
    let mut table = Table::new([
        ("OPENED", Keep::Always),
        ("VERDICT", Keep::Always),
        ("SERIAL", Keep::Always),
        ("BAY", Keep::Useful),
        ("MEDIA", Keep::Useful),
        ("WRITTEN", Keep::Spare),
        ("WRITE", Keep::Spare),
        ("READ BACK", Keep::Spare),
        ("WHY", Keep::Text),
    ]);
    for record in records {
        let verdict = match record.verdict.map(words::verdict) {
            Some((word, style)) => Cell::styled(word, style),
            None => Cell::new("RUNNING"),
        };
        let written = (record.written_bytes.0 > 0).then_some(record.written_bytes);
        table.row([
            Cell::new(format!("{:.3}", record.opened)),
            verdict,
            Cell::perhaps(record.serial.as_ref()),
            Cell::new(&record.bay),
            Cell::perhaps(record.media.as_ref().map(|media| &media.name)),
            Cell::perhaps(written),
            Cell::perhaps(record.write_bytes_per_second),
            Cell::perhaps(record.verify_bytes_per_second),
            Cell::new(words::why(record.reason.as_ref(), &record.warnings)),
        ]);
    }
    table.render(terminal)
}

#[cfg(test)]
mod tests {
    use super::{path, render};
    use crate::arguments::{RecordsArguments, VerdictFilter};
    use crate::fixture;

    #[test]
    fn records() {
        let records = fixture::records();
        fixture::outputs("records", |terminal| render(&records, terminal));
        fixture::outputs("records-none", |terminal| render(&[], terminal));
    }

    #[test]
    fn filters_go_into_the_query() {
        let arguments = RecordsArguments {
            serial: Some("S4/EV 1".into()),
            since: None,
            verdict: Some(VerdictFilter::Failed),
            csv: false,
        };
        assert_eq!(path(&arguments), "/v1/records?serial=S4%2FEV%201&verdict=failed");
    }
}
