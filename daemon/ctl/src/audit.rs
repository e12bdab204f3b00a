//! `audit`: a drive compared with media.

use super::client::{Client, ClientError, Lines};
use super::output::{Output, paragraph};
use super::progress::Progress;
use super::table::{Cell, Keep, Table};
use super::{CommandError, exit, words};
use model::api::audit::AuditReport;
use model::api::line::Line;
use model::api::requests::DriveRequest;

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    request: &DriveRequest,
) -> Result<u8, CommandError> {
    let lines = client.post_lines("/v1/audit", request).await?;
    let report = follow(lines, !out.json).await?;
    out.print(&report, |terminal| render(&report, terminal));
    Ok(if report.is_same() { exit::DONE } else { exit::FAILED })
}

/// Waits until everything has been compared.
async fn follow(mut lines: Lines, shown: bool) -> Result<AuditReport, CommandError> {
    let bar = Progress::new("audit", shown);
    while let Some(line) = lines.next::<Line>().await? {
        match line {
            Line::Progress(progress) => bar.set(progress.fraction * 100.0, progress.step),
            Line::Done(report) => {
                return Ok(serde_json::from_value(report).map_err(ClientError::from)?);
            }
            Line::Failed(failure) => return Err(CommandError::failed("audit", failure)),
        }
    }
    Err(CommandError::new(exit::UNAVAILABLE, "the audit ended early"))
}

fn render(report: &AuditReport, terminal: Option<usize>) -> String {
    let mut text = String::new();
    if !report.differences.is_empty() {
        let mut table = Table::new([("PATH", Keep::Always), ("DIFFERENCE", Keep::Text)]);
        for difference in &report.differences {
            table.row([Cell::new(&difference.path), Cell::new(&difference.what)]);
        }
        text += &table.render(terminal);
    }
    if report.more_differences > 0 {
        text += &format!("and {} more differences\n", report.more_differences);
    }
    if !report.not_compared.is_empty() {
        let mut table = Table::new([("PATH", Keep::Always), ("NOT COMPARED", Keep::Text)]);
        for skipped in &report.not_compared {
            table.row([Cell::new(&skipped.path), Cell::new(&skipped.what)]);
        }
        text += &table.render(terminal);
    }
    if report.more_not_compared > 0 {
        text += &format!("and {} more that were not compared\n", report.more_not_compared);
    }
    let (verdict, style) =
        if report.is_same() { ("SAME", words::GOOD) } else { ("DIFFERENT", words::BAD) };
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
            ..same
        };
        fixture::outputs("audit-different", |terminal| super::render(&different, terminal));
    }
}
