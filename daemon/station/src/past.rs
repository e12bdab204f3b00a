//! How the last jobs in each bay have ended, so that a bad bay is told from a bad drive.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::admission::NamedBay;
use model::api::snapshot::{BayHistory, EndedView};
use model::drive::Bay;
use model::record::Record;
use model::verdict::Verdict;

/// Of bays without a name so many are kept, the latest; see [`crate::departed`].
const MOST_UNNAMED: usize = 32;

/// When a record was closed, as exactly as it is written down: a view must not change when the station is restarted.
pub(crate) fn closed(record: &Record) -> Option<Timestamp> {
    record.closed.map(|time| Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time))
}

/// The last jobs of each bay, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Past(BTreeMap<Bay, Vec<EndedView>>);

impl Past {
    /// What the records of earlier jobs tell, the oldest first.
    pub(crate) fn of(records: &[Record], named: &[NamedBay]) -> Self {
        let mut past = Self::default();
        records.iter().for_each(|record| past.note(record, named));
        past
    }

    /// A record has been closed. Refusals tell nothing of a bay; a job that gets another verdict has one all the same.
    pub(crate) fn note(&mut self, record: &Record, named: &[NamedBay]) {
        let Some(verdict) = record.verdict.filter(|verdict| *verdict != Verdict::Refused) else {
            return;
        };
        let jobs = self.0.entry(record.bay.clone()).or_default();
        jobs.retain(|ended| ended.job != record.job);
        jobs.push(EndedView {
            job: record.job,
            serial: record.serial.clone(),
            verdict,
            code: record.reason.as_ref().map(|reason| reason.code),
            at: closed(record).unwrap_or(record.opened),
        });
        let over = jobs.len().saturating_sub(BayHistory::MOST);
        jobs.drain(..over);
        self.forget_one(named);
    }

    fn forget_one(&mut self, named: &[NamedBay]) {
        let unnamed = |bay: &Bay| named.iter().all(|named| named.name != bay.0);
        let others: Vec<_> = self.0.iter().filter(|(bay, _)| unnamed(bay)).collect();
        if others.len() > MOST_UNNAMED
            && let Some((bay, _)) =
                others.into_iter().min_by_key(|(_, jobs)| jobs.last().map(|last| last.at))
        {
            let bay = bay.clone();
            self.0.remove(&bay);
        }
    }

    pub(crate) fn views(&self) -> Vec<BayHistory> {
        let view = |(bay, ended): (&Bay, &Vec<EndedView>)| BayHistory {
            bay: bay.clone(),
            ended: ended.clone(),
        };
        self.0.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::code::ReasonCode;
    use model::failure::Reason;

    use super::*;
    use crate::tests::drive;

    fn record(bay: &str, at: i64, verdict: Verdict) -> Record {
        let time = Timestamp::from_second(at).unwrap();
        let mut drive = drive("sdb", 1);
        drive.bay = Bay(bay.into());
        Record::open("x", &drive, time).closed_with(
            verdict,
            Reason::new(ReasonCode::Mismatch, "x"),
            time,
        )
    }

    #[test]
    fn ten_verdicts_of_a_bay_are_kept_each_job_s_last_one() {
        let mut past = Past::default();
        for at in 0..25 {
            past.note(&record("a", at, Verdict::Failed), &[]);
            past.note(&record("a", at, Verdict::Refused), &[]);
        }
        let once = record("a", 99, Verdict::Failed);
        past.note(&once, &[]);
        past.note(&Record { verdict: Some(Verdict::Stopped), ..once }, &[]);
        let [BayHistory { ended, .. }] = &past.views()[..] else { panic!() };
        let at: Vec<i64> = ended.iter().map(|ended| ended.at.as_second()).collect();
        assert_eq!(at, [16, 17, 18, 19, 20, 21, 22, 23, 24, 99]);
        assert!(ended.iter().all(|ended| ended.verdict != Verdict::Refused));
        assert_eq!(ended[9].verdict, Verdict::Stopped);
    }

    #[test]
    fn bays_without_names_are_not_remembered_for_ever() {
        let records: Vec<Record> =
            (0..100).map(|at| record(&format!("loop-{at}"), at, Verdict::Failed)).collect();
        let past = Past::of(&records, &[]);
        assert_eq!(past.views().len(), MOST_UNNAMED);
        assert!(past.0.contains_key(&Bay("loop-99".into())));
        assert!(!past.0.contains_key(&Bay("loop-0".into())));
    }
}
