//! What somebody has asked for a drive, and what of that outlives an attempt.

use model::digest::Digest;
use model::operator::{Consent, Operator};

use crate::insertion::Insertion;

/// What an operator wants of another attempt at a drive.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Name of the media.
    pub(crate) media: Option<String>,
    /// Number of the order.
    pub(crate) order: Option<String>,
    /// Also if the drive has passed.
    pub(crate) even_if_passed: bool,
    pub(crate) consent: Option<Consent>,
    pub(crate) by: Operator,
}

impl Insertion {
    /// Whether the drive was imaged with other media than this.
    pub(crate) fn holds_other(&self, wanted: Option<Digest>) -> bool {
        let held = self.record.as_ref().and_then(|record| record.media.as_ref());
        held.zip(wanted).is_some_and(|(held, wanted)| held.sha256 != wanted)
    }

    /// Media and order of the attempt that a retry repeats: those that somebody has named, or the order for which a job has
    /// written to the drive. Without either the drive is judged like one that has just come.
    pub(crate) fn repeated(&self) -> (Option<String>, Option<String>) {
        if let Some(media) = &self.requested_media {
            return (Some(media.clone()), None);
        }
        let job = self.record.as_ref().filter(|record| !record.is_refusal());
        let order = || job.and_then(|record| record.order.clone());
        (None, self.requested_order.clone().or_else(order))
    }

    /// The order that was scanned for the drive, and by whom, as long as the drive has not passed.
    pub(crate) fn unserved_scan(&self) -> Option<(String, Operator)> {
        let waits = !self.by_hand && !self.has_passed();
        let order = self.requested_order.clone().filter(|_| waits)?;
        Some((order, self.operator.clone()?))
    }

    /// The drive belongs to an order that somebody has scanned for it.
    pub(crate) fn scanned_for(&mut self, scanned: Option<(String, Operator)>) {
        if let Some((order, by)) = scanned {
            (self.requested_order, self.operator) = (Some(order), Some(by));
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::code::ReasonCode;
    use model::failure::Reason;
    use model::record::Record;
    use model::verdict::Verdict;

    use crate::insertion::Insertion;
    use crate::tests::{drive, somebody};

    /// A closed record of the drive, of an order.
    fn record(verdict: Verdict, code: ReasonCode, by: Option<&str>) -> Record {
        let open = Record::open("x", &drive("sdb", 1), Timestamp::UNIX_EPOCH);
        let open = Record { order: Some("R1".into()), operator: by.map(str::to_owned), ..open };
        open.closed_with(verdict, Reason::new(code, "x"), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_retry_repeats_the_order_of_a_job_and_what_somebody_has_named() {
        let mut one = Insertion::new(drive("sdb", 1));
        assert_eq!(one.repeated(), (None, None));
        one.record = Some(record(Verdict::Refused, ReasonCode::OrderHeld, None));
        assert_eq!(one.repeated(), (None, None), "a refusal has written nothing");
        one.record = Some(record(Verdict::Stopped, ReasonCode::OperatorStop, None));
        assert_eq!(one.repeated(), (None, Some("R1".into())));
        one.requested_order = Some("R2".into());
        assert_eq!(one.repeated(), (None, Some("R2".into())));
        one.requested_media = Some("b.wim".into());
        assert_eq!(one.repeated(), (Some("b.wim".into()), None));
    }

    #[test]
    fn an_order_that_somebody_named_outlives_a_restart() {
        for (by, kept) in [(Some("anna"), Some("R1".to_owned())), (None, None)] {
            let mut one = Insertion::new(drive("sdb", 1));
            assert!(!one.recall(vec![record(Verdict::Refused, ReasonCode::OrderHeld, by)]));
            assert_eq!(one.requested_order, kept, "{by:?}");
        }
    }

    #[test]
    fn a_scan_is_served_when_its_drive_has_passed() {
        let mut one = Insertion::new(drive("sdb", 1));
        assert!(one.unserved_scan().is_none());
        one.scanned_for(Some(("R1".into(), somebody())));
        assert_eq!(one.unserved_scan().unwrap().0, "R1");
        one.finish(record(Verdict::Failed, ReasonCode::Unplugged, Some("anna")));
        assert_eq!(one.unserved_scan().unwrap().0, "R1");
        let passed = record(Verdict::Failed, ReasonCode::Unplugged, Some("anna"));
        one.finish(Record { verdict: Some(Verdict::Passed), reason: None, ..passed });
        assert!(one.unserved_scan().is_none());
    }
}
