//! Drives that were refused because no record could be kept.

use model::code::ReasonCode;
use model::failure::Refusal;

use crate::tests::{NOW, attach, facts, judge, judged_again, refusal, station, with_media};
use crate::{Effect, Event};

/// Refused when it was judged, and when it was claimed.
#[test]
fn a_drive_that_was_refused_without_a_ledger_is_taken_up_when_it_is_back() {
    let lost = || Refusal::new(ReasonCode::LedgerUnavailable, "x");
    let mut station = station();
    with_media(&mut station);
    let ticket = attach(&mut station, "sdc", 2);
    let effects = station.apply(Event::Judged(ticket, Err(lost())));
    assert_eq!(refusal(&effects), ReasonCode::LedgerUnavailable);
    assert!(station.apply(Event::Ledger(Some(lost()))).is_empty());
    assert!(station.0.snapshot(&|_| None).ledger.is_some());
    let ticket = judge(station.apply(Event::Ledger(None)));
    let facts_fail = Event::Judged(ticket, Err(Refusal::new(ReasonCode::Stalled, "x")));
    station.apply(facts_fail);
    assert!(station.apply(Event::Ledger(None)).is_empty(), "this one lies with the drive");
    let ticket = judged_again(&mut station);
    let Some(Effect::Job(order)) = station.apply(Event::Judged(ticket, facts())).pop() else {
        panic!("a job")
    };
    let record = order.record.refused(lost(), NOW);
    station.apply(Event::JobEnded(order.ticket, Box::new(record)));
    judge(station.apply(Event::Ledger(None)));
}
