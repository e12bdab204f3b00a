//! `audit`: a drive compared with media.

use super::client::Client;
use super::output::{Output, paragraph};
use super::progress::follow;
use super::table::{Cell, Keep, Table};
use super::{CommandError, exit, words};
use model::api::answers::Audited;
use model::api::audit::{AuditReport, Outcome};
use model::api::requests::DriveRequest;

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    request: &DriveRequest,
) -> Result<u8, CommandError> {
    let lines = client.post_lines("/v1/audit", request).await?;
    let report: AuditReport = follow("audit", lines, !out.json).await?;
    let outcome = report.outcome();
    let audited = Audited { verdict: outcome, outcome, report: &report };
    out.print(&audited, |terminal| render(&report, terminal));
    Ok(match outcome {
        Outcome::Same => exit::DONE,
        Outcome::Incomplete => exit::INCOMPLETE,
        Outcome::Different => exit::FAILED,
    })
}

fn render(report: &AuditReport, terminal: Option<usize>) -> String {
    let mut text = String::new();
    for (title, listed, more, counted) in [
        ("DIFFERENCE", &report.differences, report.more_differences, "differences"),
        ("NOT KEPT", &report.not_kept, report.more_not_kept, "that were not kept"),
        ("NOT COMPARED", &report.not_compared, report.more_not_compared, "that were not compared"),
    ] {
        if !listed.is_empty() {
            let mut table = Table::new([("PATH", Keep::Always), (title, Keep::Text)]);
            for found in listed {
                table.row([Cell::new(&found.path), Cell::new(&found.what)]);
            }
            text += &table.render(terminal);
        }
        if more > 0 {
            text += &format!("and {more} more {counted}\n");
        }
    }
    let (verdict, style) = match report.outcome() {
        Outcome::Same => ("SAME", words::GOOD),
        Outcome::Incomplete => ("INCOMPLETE", words::NOTICE),
        Outcome::Different => ("DIFFERENT", words::BAD),
    };
    let counts = format!(
        "{verdict}: {} files and folders, {} streams, {} of data compared with {}\n",
        report.entries, report.streams, report.data_bytes, report.media
    );
    let counts = paragraph(&counts, terminal);
    text + &counts.replacen(verdict, &format!("{style}{verdict}{style:#}"), 1)
}

#[cfg(test)]
mod tests {
    use crate::fixture;
    use model::api::audit::{AuditReport, Difference};
    use model::units::Bytes;

    #[test]
    fn audit() {
        let same = AuditReport {
            media: "win11-23h2-factory.wim".into(),
            entries: 182_340,
            streams: 160_112,
            data_bytes: Bytes(18_200_000_000),
            ..AuditReport::default()
        };
        fixture::outputs("audit-same", |terminal| super::render(&same, terminal));
        let difference =
            |path: &str, what: &str| Difference { path: path.into(), what: what.into() };
        let different = AuditReport {
            differences: vec![
                difference(
                    "/Windows/System32/DriverStore/FileRepository/netrtwlane.inf_amd64_0f1/netrtwlane.sys",
                    "contents differ",
                ),
                difference("/Users/Public/Desktop", "is missing on the drive"),
            ],
            more_differences: 40,
            ..same.clone()
        };
        fixture::outputs("audit-different", |terminal| super::render(&different, terminal));
        let incomplete = AuditReport {
            not_kept: vec![difference(
                "/Users/Public/Documents/plan.docx",
                "attributes: 0x20 instead of 0x80020",
            )],
            not_compared: vec![difference(
                "/Windows/System32/stub.dll",
                "its contents lie behind a reparse point",
            )],
            more_not_compared: 7,
            ..same
        };
        fixture::outputs("audit-incomplete", |terminal| super::render(&incomplete, terminal));
    }
}
