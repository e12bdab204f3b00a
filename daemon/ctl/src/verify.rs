//! `verify`: a drive compared with its own record.

use model::api::requests::VerifyRequest;
use model::api::verify::{ComparedBy, Sameness, VerifyReport};

use super::client::Client;
use super::output::{Output, paragraph};
use super::progress::follow;
use super::table::{Cell, Keep, Table};
use super::{CommandError, exit, words};

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    request: &VerifyRequest,
) -> Result<u8, CommandError> {
    let lines = client.post_lines("/v1/verify", request).await?;
    let report: VerifyReport = follow("verify", lines, !out.json).await?;
    out.print(&report, |terminal| render(&report, terminal));
    Ok(match report.outcome {
        Sameness::Same => exit::DONE,
        Sameness::StartedSince | Sameness::Different => exit::FAILED,
    })
}

fn render(report: &VerifyReport, terminal: Option<usize>) -> String {
    let VerifyReport { outcome, record, later, comparison } = report;
    let mut text = String::new();
    if !comparison.ranges.is_empty() {
        let columns = [
            ("OFFSET", Keep::Always),
            ("LENGTH", Keep::Always),
            ("BY USE", Keep::Text),
            ("WHAT", Keep::Text),
        ];
        let mut table = Table::new(columns);
        for range in &comparison.ranges {
            let by_use = if range.by_use { "yes" } else { "no" };
            let (offset, length) = (range.offset.0, range.length.0);
            table.row([
                Cell::new(offset),
                Cell::new(length),
                Cell::new(by_use),
                Cell::new(&range.what),
            ]);
        }
        text += &table.render(terminal);
    }
    if comparison.more_ranges > 0 {
        text += &format!("and {} more ranges\n", comparison.more_ranges);
    }
    if !comparison.files.is_empty() {
        let mut table = Table::new([("FILE", Keep::Always), ("DIFFERENCE", Keep::Text)]);
        for file in &comparison.files {
            table.row([Cell::new(&file.path), Cell::new(&file.what)]);
        }
        text += &table.render(terminal);
    }
    if comparison.more_files > 0 {
        text += &format!("and {} more files\n", comparison.more_files);
    }
    let (verdict, style) = match outcome {
        Sameness::Same => ("SAME", words::GOOD),
        Sameness::StartedSince => ("STARTED SINCE", words::NOTICE),
        Sameness::Different => ("DIFFERENT", words::BAD),
    };
    let by = match comparison.compared_by {
        ComparedBy::Master => "the master",
        ComparedBy::Digests => "its digests",
    };
    let closed = record.closed.map_or_else(String::new, |closed| format!(", passed {closed:.0}"));
    let media = record.media.as_deref().unwrap_or("unnamed media");
    let mut sentence = format!(
        "{verdict}: {} compared by {by} with job {} ({media}{closed})",
        comparison.compared_bytes, record.job
    );
    if comparison.different_bytes.0 > 0 {
        sentence += &format!("; {} differ", comparison.different_bytes);
    }
    if *outcome == Sameness::Different && comparison.started_since {
        sentence += "; it was started since, which does not explain all of it";
    }
    if let Some(later) = later {
        let how = later.verdict.map_or_else(|| "runs".to_owned(), |verdict| verdict.to_string());
        sentence += &format!("; a later job, {}, {how}, has written to it", later.job);
    }
    let sentence = paragraph(&(sentence + "\n"), terminal);
    text + &sentence.replacen(verdict, &format!("{style}{verdict}{style:#}"), 1)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::api::verify::{
        ComparedBy, ComparedRecord, Comparison, LaterJob, Sameness, VerifyReport,
    };
    use model::drive::{Bay, Serial};
    use model::ranges::Range;
    use model::units::Bytes;
    use model::verdict::Verdict;
    use uuid::Uuid;

    use crate::fixture;

    fn report(comparison: Comparison) -> VerifyReport {
        let closed: Timestamp = "2026-03-02T09:30:00Z".parse().unwrap();
        let record = ComparedRecord {
            job: Uuid::from_u128(0x0198_9a3c_5a7e_7c3f_9d11_0242_ac12_0002),
            serial: Serial::new("S4EVNX0M"),
            station: "rack-01".into(),
            bay: Bay("bay 3".into()),
            closed: Some(closed),
            media: Some("win11-23h2-factory.wim".into()),
            order: None,
        };
        VerifyReport { outcome: comparison.outcome(), record, later: None, comparison }
    }

    #[test]
    fn verify() {
        let same = report(Comparison::new(ComparedBy::Digests, Bytes(18_200_000_000)));
        fixture::outputs("verify-same", |terminal| super::render(&same, terminal));
        let mut found = Comparison::new(ComparedBy::Master, Bytes(18_200_000_000));
        let range = |at, length| Range::at(Bytes(at), Bytes(length));
        found.differs(range(9_437_184_000, 512), "data in the windows partition", false);
        found.differs(
            range(340_000_768, 4096),
            "the file table ($MFT) of the windows partition",
            true,
        );
        found.started_since = true;
        found.differs_in("/Windows/System32/drivers/stornvme.sys", "its contents differ");
        let mut different = report(found.clone());
        different.later = Some(LaterJob {
            job: Uuid::from_u128(0x0198_9a3c_5a7e_7c3f_9d11_0242_ac12_0003),
            verdict: Some(Verdict::Failed),
            opened: Timestamp::UNIX_EPOCH,
        });
        fixture::outputs("verify-different", |terminal| super::render(&different, terminal));
        found.ranges.remove(0);
        found.unexplained_ranges = 0;
        found.more_ranges = 60;
        found.more_files = 700;
        let started = report(found);
        assert_eq!(started.outcome, Sameness::StartedSince);
        fixture::outputs("verify-started", |terminal| super::render(&started, terminal));
    }
}
