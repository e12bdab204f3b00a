//! What has come about since the gate was started, counted for [`crate::metrics`].
//!
//! The books are the ledger's: these counts begin at nothing with the gate, and know of each bay no more than its last ten
//! jobs when the gate has news again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::api::snapshot::{DriveView, EndedView, Snapshot};
use model::code::ReasonCode;
use model::job::State;
use model::verdict::Verdict;
use uuid::Uuid;

/// The limits of the histogram of durations, in seconds.
pub(crate) const LIMITS: [u64; 9] = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
/// So many jobs are known by their names. Each bay shows ten, so those that are forgotten do not come again.
const REMEMBERED: usize = 10_000;

/// How long jobs took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Durations {
    /// How many took no longer than each of [`LIMITS`].
    pub(crate) within: [u64; LIMITS.len()],
    pub(crate) count: u64,
    pub(crate) sum: Duration,
}

impl Durations {
    fn add(&mut self, took: Duration) {
        for (count, limit) in self.within.iter_mut().zip(LIMITS) {
            *count += u64::from(took <= Duration::from_secs(limit));
        }
        self.count += 1;
        self.sum += took;
    }
}

/// The counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Verdicts, with why they are not PASS.
    pub(crate) verdicts: BTreeMap<(&'static str, Option<ReasonCode>), u64>,
    /// Verdicts of jobs in each bay. Refusals, which tell nothing of a bay, are left out.
    pub(crate) bays: BTreeMap<(String, &'static str), u64>,
    pub(crate) durations: Durations,
}

/// The name of a verdict in metrics.
pub(crate) fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::Refused => "refused",
        Verdict::Stopped => "stopped",
    }
}

/// What tells an attempt from any other: the bay, the drive, and the how-manieth it is.
type Attempt = (String, String, u64);

fn attempt(drive: &DriveView) -> Attempt {
    (drive.bay.0.clone(), drive.name().to_owned(), drive.attempt)
}

/// Counts what is new in each snapshot.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The jobs that are counted, or were over before; absent before the first snapshot.
    known: Option<BTreeSet<Uuid>>,
    /// The drives that were refused in the latest snapshot.
    refused: BTreeSet<Attempt>,
    counts: Counts,
}

impl Tally {
    /// The counts with what has come about since the last snapshot; what the first one tells of has been before.
    pub(crate) fn with(&mut self, snapshot: &Snapshot) -> &Counts {
        let ended = || snapshot.history.iter().flat_map(|bay| &bay.ended);
        let departed = snapshot.departed.iter().map(|view| &view.drive);
        let refused: BTreeMap<Attempt, &DriveView> = snapshot
            .drives
            .iter()
            .chain(departed)
            .filter(|drive| drive.state == State::Refused)
            .map(|drive| (attempt(drive), drive))
            .collect();
        match &mut self.known {
            None => self.known = Some(ended().map(|ended| ended.job).collect()),
            Some(known) => {
                for bay in &snapshot.history {
                    for ended in bay.ended.iter().filter(|ended| known.insert(ended.job)) {
                        self.counts.job(&bay.bay.0, ended);
                    }
                }
                while known.len() > REMEMBERED {
                    known.pop_first();
                }
                let new = refused.iter().filter(|(attempt, _)| !self.refused.contains(*attempt));
                for (_, drive) in new {
                    let code = drive.reason.as_ref().map(|reason| reason.code);
                    self.counts.verdict(Verdict::Refused, code);
                }
            }
        }
        self.refused = refused.into_keys().collect();
        &self.counts
    }
}

impl Counts {
    fn verdict(&mut self, verdict: Verdict, code: Option<ReasonCode>) {
        *self.verdicts.entry((name(verdict), code)).or_default() += 1;
    }

    fn job(&mut self, bay: &str, ended: &EndedView) {
        self.verdict(ended.verdict, ended.code);
        *self.bays.entry((bay.to_owned(), name(ended.verdict))).or_default() += 1;
        // A job's name has the time at which it was opened.
        let opened = ended.job.get_timestamp().map(|time| time.to_unix());
        let closed = Duration::try_from(ended.at.as_duration()).ok();
        if let (Some((seconds, nanoseconds)), Some(closed)) = (opened, closed) {
            self.durations.add(closed.saturating_sub(Duration::new(seconds, nanoseconds)));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::api::snapshot::BayHistory;
    use model::drive::Bay;
    use model::record::job_id;

    use super::*;

    fn job(opened: i64, seconds: i64, verdict: Verdict) -> EndedView {
        let at = Timestamp::from_second(opened + seconds).unwrap();
        let job = job_id(Timestamp::from_second(opened).unwrap());
        let code = (verdict == Verdict::Failed).then_some(ReasonCode::Mismatch);
        EndedView { job, serial: None, verdict, code, at }
    }

    fn station(jobs: &[EndedView]) -> Snapshot {
        let history = vec![BayHistory { bay: Bay("left".into()), ended: jobs.to_vec() }];
        Snapshot { history, ..Snapshot::default() }
    }

    #[test]
    fn a_job_is_counted_once_and_only_if_it_ended_since() {
        let mut tally = Tally::default();
        let all = [
            job(1_000_000, 50, Verdict::Passed),
            job(1_000_100, 70, Verdict::Failed),
            job(1_000_200, 10, Verdict::Passed),
        ];
        assert_eq!(*tally.with(&station(&all[..1])), Counts::default(), "it was over before");
        let counts = tally.with(&station(&all[..2])).clone();
        assert_eq!(counts, *tally.with(&station(&all[1..2])), "the first has been pushed out");
        // A daemon that begins anew and has not read its ledger yet.
        assert_eq!(counts, *tally.with(&Snapshot::default()));
        let counts = tally.with(&station(&all));
        assert_eq!(counts.verdicts[&("failed", Some(ReasonCode::Mismatch))], 1);
        assert_eq!(counts.verdicts[&("passed", None)], 1);
        assert_eq!(counts.bays[&("left".to_owned(), "passed")], 1);
        let Durations { within, count, sum } = counts.durations.clone();
        assert_eq!((within, count), ([1, 1, 2, 2, 2, 2, 2, 2, 2], 2));
        assert_eq!(sum, Duration::from_secs(80));
    }

    #[test]
    fn a_refusal_is_counted_once_for_each_attempt() {
        let mut tally = Tally::default();
        let drive = |attempt: u64, state: &str| -> DriveView {
            serde_json::from_value(serde_json::json!({
                "serial": "S1", "bay": "left", "device": "/dev/sda", "bus": "ata", "size_bytes": 1, "state": state,
                "attempt": attempt, "percent": 0.0, "warnings": [],
                "reason": { "code": "not_blank", "detail": "x" }
            }))
            .unwrap()
        };
        let with = |drive| Snapshot { drives: vec![drive], ..Snapshot::default() };
        let refused = |counts: &Counts| -> u64 { counts.verdicts.values().sum() };
        assert_eq!(refused(tally.with(&with(drive(1, "refused")))), 0, "it was there before");
        assert_eq!(refused(tally.with(&with(drive(2, "judging")))), 0);
        assert_eq!(refused(tally.with(&with(drive(2, "refused")))), 1);
        assert_eq!(refused(tally.with(&with(drive(2, "refused")))), 1);
        assert_eq!(refused(tally.with(&Snapshot::default())), 1);
        let counts = tally.with(&with(drive(1, "refused")));
        assert_eq!(
            counts.verdicts[&("refused", Some(ReasonCode::NotBlank))],
            2,
            "plugged in again"
        );
    }
}
