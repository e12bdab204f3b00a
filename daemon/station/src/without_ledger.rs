//! Drives that were refused because no record could be kept.

use model::api::command::Command;
use model::code::{DenialCode, ReasonCode};
use model::failure::Refusal;

use crate::tests::by_hand::give;
use crate::tests::{NOW, attach, facts, judge, judged_again, refusal, station, with_media};
use crate::{Effect, Event};

/// Somebody has changed the ledger: nothing begins, and nobody arms the station before that is acknowledged.
#[test]
fn a_station_whose_ledger_was_changed_is_disarmed() {
    let tampered = || Refusal::new(ReasonCode::LedgerTampered, "x");
    let mut station = station();
    with_media(&mut station);
    station.apply(Event::Ledger(Some(tampered())));
    assert!(!station.0.snapshot(&|_| None).armed);
    let ticket = attach(&mut station, "sdc", 2);
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert_eq!(refusal(&effects), ReasonCode::LedgerTampered);
    let (_, answer) = give(&mut station, Command::Arm(true));
    assert_eq!(answer.unwrap_err().code, DenialCode::LedgerTampered);
    let ticket = judge(station.apply(Event::Ledger(None)));
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert_eq!(refusal(&effects), ReasonCode::NotArmed, "a person arms it");
    give(&mut station, Command::Arm(true)).1.unwrap();
}

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
