//! Drives that were refused because no record could be kept.

use std::collections::BTreeMap;

use model::api::command::Command;
use model::code::{DenialCode, ReasonCode};
use model::digest::Digest;
use model::failure::Refusal;
use model::offer::Offer;
use model::orders::{Conditions, Order, OrderState, Standing};

use crate::tests::by_hand::give;
use crate::tests::{
    NOW, attach, facts, judge, judged_again, nothing_known, refusal, somebody, station, with_media,
};
use crate::{DriveFacts, Effect, Event};

/// Nobody's word for other media: the order that a drive waits for is closed.
#[test]
fn a_drive_that_waited_for_an_order_gets_no_other_media_by_itself() {
    let mut station = station();
    with_media(&mut station);
    let order = Order {
        number: "PO-1".into(),
        customer: None,
        part: None,
        media: Digest([7; 32]),
        media_name: None,
        image: None,
        layout: None,
        quantity: 5,
        overrun: 0,
        attempts: 2,
        first_article: 0,
        not_before: None,
        expires: None,
        offer: Offer::Automatic,
        label_template: None,
        conditions: Conditions::default(),
    };
    let held = Standing {
        state: OrderState::Held,
        reason: None,
        passed: 0,
        running: 0,
        articles: 0,
        approved: None,
    };
    station.apply(Event::Orders(vec![(order, held.clone())], None));
    let ticket = attach(&mut station, "sdc", 2);
    let orders = BTreeMap::from([("PO-1".to_owned(), held)]);
    let with_order = Box::new(DriveFacts { orders, ..nothing_known() });
    let effects = station.apply(Event::Judged(ticket, Ok(with_order)));
    assert_eq!(refusal(&effects), ReasonCode::OrderHeld);
    let ticket = judge(station.apply(Event::Orders(Vec::new(), None)));
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert_eq!(refusal(&effects), ReasonCode::NoOrder);
    // An operator's word is one.
    let retry = Command::Retry { drive: "S2".into(), by: somebody() };
    let ticket = judge(give(&mut station, retry).0);
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert!(matches!(effects[..], [Effect::LookForMaster(_)]), "{effects:?}");
}

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

/// A disk that is full lets the small record of a refusal through and not that of a job, and each end of a job has orders looked
/// at, which has drives judged again.
#[test]
fn a_drive_is_refused_once_while_the_ledger_is_full() {
    let full = || Refusal::new(ReasonCode::LedgerUnavailable, "full");
    let mut station = station();
    with_media(&mut station);
    let ticket = judged_again(&mut station);
    let Some(Effect::Job(order)) = station.apply(Event::Judged(ticket, facts())).pop() else {
        panic!("a job")
    };
    let record = order.record.refused(full(), NOW);
    station.apply(Event::JobEnded(order.ticket, Box::new(record)));
    // What is told before the ledger's own thread has found it full.
    assert!(station.apply(Event::Standings(Vec::new())).is_empty());
    assert!(station.apply(Event::Ledger(Some(full()))).is_empty());
    assert!(station.apply(Event::Standings(Vec::new())).is_empty());
    // Another drive is not begun either, and does not come up again.
    let ticket = attach(&mut station, "sdd", 3);
    let effects = station.apply(Event::Judged(ticket, facts()));
    assert_eq!(refusal(&effects), ReasonCode::LedgerUnavailable);
    assert!(station.apply(Event::Orders(Vec::new(), None)).is_empty());
    let effects = station.apply(Event::Ledger(None));
    let judged = effects.iter().filter(|effect| matches!(effect, Effect::Judge(..)));
    assert_eq!(judged.count(), 2, "{effects:?}");
}
