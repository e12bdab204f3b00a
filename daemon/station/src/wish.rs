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
