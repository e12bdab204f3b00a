//! Which records are asked for, and in what form.

use clap::{Args, Subcommand, ValueEnum};
use model::verdict::Verdict;

use crate::client::segment;
use crate::{completing, since};

#[derive(Debug, Default, Args)]
pub(crate) struct RecordsArguments {
    /// Take only records of the drive with this serial number.
    #[arg(long, global = true, add = completing::serials())]
    pub(crate) serial: Option<String>,
    /// Take only records opened since then: `today`, a time of the day such as 17:00, a date, an RFC 3339 time, or how long ago, such as 8h.
    #[arg(long, global = true, value_name = "TIME", value_parser = since::parse)]
    pub(crate) since: Option<String>,
    /// Take only records opened before that time, which is written as with --since.
    #[arg(long, global = true, value_name = "TIME", value_parser = since::parse)]
    pub(crate) until: Option<String>,
    /// Take only records of the order with this number.
    #[arg(long, global = true, value_name = "NUMBER", add = completing::orders())]
    pub(crate) order: Option<String>,
    /// Take only records of drives in the bay with this name.
    #[arg(long, global = true, value_name = "NAME", add = completing::bays())]
    pub(crate) bay: Option<String>,
    /// List only records with this verdict.
    #[arg(long, ignore_case = true)]
    pub(crate) verdict: Option<VerdictFilter>,
    /// List only the last so many of them.
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<u64>,
    /// List only the first so many of them.
    #[arg(long, value_name = "N", conflicts_with = "last")]
    pub(crate) limit: Option<u64>,
    /// List only those after the record of this job, such as the last one of a page.
    #[arg(long, value_name = "JOB", conflicts_with = "last")]
    pub(crate) after: Option<String>,
    /// Print comma-separated values, with a line of column names first.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print a JSON document on each line.
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub(crate) lines: bool,
    #[command(subcommand)]
    pub(crate) what: Option<RecordsVerb>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecordsVerb {
    /// Count verdicts by shift, causes, and bays, with rates.
    Summary {
        /// When shifts begin.
        #[arg(long, value_name = "TIMES", value_delimiter = ',', default_value = "06:00,14:00,22:00", value_parser = since::time_of_day)]
        shifts: Vec<jiff::civil::Time>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum VerdictFilter {
    #[value(alias = "pass")]
    Passed,
    #[value(alias = "fail")]
    Failed,
    Refused,
    Stopped,
}

impl From<VerdictFilter> for Verdict {
    fn from(filter: VerdictFilter) -> Self {
        match filter {
            VerdictFilter::Passed => Self::Passed,
            VerdictFilter::Failed => Self::Failed,
            VerdictFilter::Refused => Self::Refused,
            VerdictFilter::Stopped => Self::Stopped,
        }
    }
}

impl RecordsArguments {
    /// Whether a drive, an order or a bay is named, in whose name there may be a slip of the finger.
    pub(super) fn names_something(&self) -> bool {
        self.serial.is_some() || self.order.is_some() || self.bay.is_some()
    }

    /// The daemon's path of the records that are asked for.
    pub(super) fn path(&self) -> String {
        let verdict = self.verdict.map(|verdict| Verdict::from(verdict).to_string());
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let (limit, last) = (number(self.limit), number(self.last));
        let pairs = [
            ("serial", self.serial.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("order", self.order.as_deref()),
            ("bay", self.bay.as_deref()),
            ("verdict", verdict.as_deref()),
            ("limit", limit.as_deref()),
            ("after", self.after.as_deref()),
            ("last", last.as_deref()),
        ];
        let query: Vec<String> = pairs
            .iter()
            .filter_map(|(key, value)| value.map(|value| format!("{key}={}", segment(value))))
            .collect();
        format!("/v1/records?{}", query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_go_into_the_query() {
        let arguments = RecordsArguments {
            serial: Some("S4/EV 1".into()),
            since: None,
            until: None,
            verdict: Some(VerdictFilter::Failed),
            order: None,
            bay: Some("bay 3".into()),
            last: Some(20),
            limit: None,
            after: None,
            csv: false,
            lines: false,
            what: None,
        };
        let expected = "/v1/records?serial=S4%2FEV%201&bay=bay%203&verdict=failed&last=20";
        assert_eq!(arguments.path(), expected);
    }
}
