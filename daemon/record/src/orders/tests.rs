//! Places in orders: never one too many, whatever happens.

use std::sync::{Arc, Barrier};
use std::thread;

use jiff::Timestamp;
use jiff::civil::Date;
use model::code::ReasonCode as Code;
use model::digest::Digest;
use model::drive::Serial;
use model::failure::Reason;
use model::layout::Layout;
use model::now::{Now, Time};
use model::offer::Offer;
use model::operator::Operator;
use model::orders::{Articles, Conditions, OrderAct, OrderChange};
use model::record::MediaRef;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::ledger::{Filter, Location};

const NOW: Now =
    Now::at(Time { at: Timestamp::constant(1_800_000_000, 0), day: Date::constant(2027, 1, 15) });

fn articles() -> Articles {
    Articles { layouts: vec![Layout::default()], image: 1 }
}

fn order(quantity: u32) -> Order {
    Order {
        number: "PO-1".into(),
        customer: None,
        part: None,
        media: Digest([1; 32]),
        media_name: None,
        image: None,
        layout: None,
        quantity,
        overrun: 0,
        attempts: 2,
        first_article: 0,
        not_before: None,
        expires: None,
        offer: Offer::Automatic,
        label_template: None,
        conditions: Conditions::default(),
    }
}

fn act(act: OrderAct) -> OrderChange {
    let by = Operator { uid: 1000, name: Some("anna".into()) };
    let reason = Some("a test".to_owned());
    OrderChange { number: "PO-1".into(), act, reason, by, at: Timestamp::UNIX_EPOCH }
}

fn change(ledger: &Ledger, what: OrderAct) -> Changed {
    ledger.change_orders(&[act(what)], &|order| articles().of(order)).unwrap()
}

fn opened(path: &std::path::Path) -> Ledger {
    Ledger::open(&Location::new(path, crate::log::tests::key()), "boot").unwrap()
}

fn place(order: &Order) -> OrderPlace {
    let article = articles().of(order).unwrap();
    OrderPlace { number: order.number.clone(), article, now: NOW }
}

fn record(serial: &str) -> Record {
    let text = include_str!("../../../model/src/schema1.json");
    let record: Record = serde_json::from_str(text).unwrap();
    let media = MediaRef { sha256: Digest([1; 32]), ..record.media.clone().unwrap() };
    Record {
        job: Uuid::now_v7(),
        serial: Serial::new(serial),
        media: Some(media),
        order: Some("PO-1".into()),
        verdict: None,
        closed: None,
        ..record
    }
}

fn code(result: Result<Record, LedgerError>) -> Result<Record, Code> {
    result.map_err(|error| match error {
        LedgerError::Order { refusal } => refusal.code,
        other => panic!("{other:?}"),
    })
}

fn begin(ledger: &Ledger, order: &Order, serial: &str) -> Result<Record, Code> {
    code(ledger.open_job(record(serial), &place(order)))
}

fn pass(ledger: &Ledger, record: Record) {
    ledger.put(&Record { verdict: Some(Verdict::Passed), ..record }).unwrap();
}

fn fail(ledger: &Ledger, record: Record, code: Code) {
    let reason = Reason::new(code, "x");
    ledger.put(&record.closed_with(code.verdicts()[0], reason, Timestamp::UNIX_EPOCH)).unwrap();
}

fn standing(ledger: &Ledger) -> Standing {
    let article = articles().of(&order(1));
    ledger.standing("PO-1", article.as_ref()).unwrap().unwrap()
}

/// A drive goes on counting, and whoever ships the order is told what was done to it since.
#[test]
fn drives_that_are_not_as_they_passed_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = opened(&folder.path().join("ledger.db"));
    let many = order(9);
    change(&ledger, OrderAct::Add(Box::new(many.clone()))).unwrap();
    let told = || {
        let all = ledger.counted("PO-1", Digest([1; 32])).unwrap().not_as_passed;
        let line = |later: &model::api::orders::LaterJob| {
            let verdict = later.verdict.map_or("running".into(), |verdict| verdict.to_string());
            format!("{} {verdict} {}", later.serial, later.order.as_deref().unwrap_or("-"))
        };
        all.iter().map(line).collect::<Vec<_>>().join(", ")
    };
    for serial in ["A", "B", "C", "D"] {
        pass(&ledger, begin(&ledger, &many, serial).unwrap());
    }
    assert_eq!(told(), "");
    let runs = begin(&ledger, &many, "A").unwrap();
    assert_eq!(told(), "A running PO-1");
    fail(&ledger, runs, Code::WriteError);
    assert_eq!(told(), "A failed PO-1");
    // Other media, no order, another order; a refusal changes nothing, nor does a drive that does not count.
    let other = Record { media: None, verdict: Some(Verdict::Passed), ..record("B") };
    ledger.put(&other).unwrap();
    ledger.put(&Record { order: None, verdict: Some(Verdict::Passed), ..record("C") }).unwrap();
    ledger.put(&Record { verdict: Some(Verdict::Refused), ..record("D") }).unwrap();
    ledger.put(&Record { verdict: Some(Verdict::Stopped), ..record("E") }).unwrap();
    assert_eq!(told(), "A failed PO-1, B passed PO-1, C passed -");
    let to_ship = ledger.counted("PO-1", Digest([1; 32])).unwrap().to_ship;
    assert_eq!(to_ship.iter().map(Serial::as_str).collect::<Vec<_>>(), ["D"]);
    pass(&ledger, begin(&ledger, &many, "A").unwrap());
    assert_eq!(told(), "B passed PO-1, C passed -", "it is again");
    assert_eq!(standing(&ledger).passed, 4);
}

#[test]
fn a_place_is_reserved_and_settled_and_nothing_is_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = opened(&path);
    let two = order(2);
    change(&ledger, OrderAct::Add(Box::new(two.clone()))).unwrap();
    let first = begin(&ledger, &two, "A").unwrap();
    assert_eq!(
        (first.attempt, begin(&ledger, &two, "A").unwrap_err()),
        (Some(1), Code::DuplicateSerial)
    );
    let second = begin(&ledger, &two, "B").unwrap();
    assert_eq!(begin(&ledger, &two, "C").unwrap_err(), Code::OrderComplete, "both places run");
    fail(&ledger, second, Code::Mismatch);
    let third = begin(&ledger, &two, "C").unwrap();
    pass(&ledger, first);
    pass(&ledger, third);
    assert_eq!(begin(&ledger, &two, "B").unwrap_err(), Code::OrderComplete);
    // A second pass of the same serial number takes no place and adds none.
    let again = begin(&ledger, &two, "A").unwrap();
    assert_eq!((again.attempt, standing(&ledger).running), (Some(2), 0));
    pass(&ledger, again);
    assert_eq!((standing(&ledger).passed, standing(&ledger).running), (2, 0));
    // The record has it, and the ledger's own copy.
    let filter = Filter { order: Some("PO-1".into()), ..Filter::default() };
    let kept: Vec<Record> = ledger.all(&filter).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|record| record.attempt.is_some()), "as the ledger has it");
    let more = change(&ledger, OrderAct::Quantity(3));
    more.unwrap();
    let three = Order { quantity: 3, ..two };
    let left = begin(&ledger, &three, "D").unwrap();
    // The station is killed: the next start closes the record, and the place is free.
    drop(ledger);
    let ledger = opened(&path);
    assert_eq!(standing(&ledger).running, 1);
    assert_eq!(ledger.close_interrupted().unwrap()[0].job, left.job);
    assert_eq!((standing(&ledger).passed, standing(&ledger).running), (2, 0));
    assert_eq!(begin(&ledger, &three, "D").unwrap().attempt, Some(2));
}

#[test]
fn the_life_of_an_order() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = opened(&folder.path().join("ledger.db"));
    let first = Order { first_article: 1, ..order(5) };
    let denied = |what| change(&ledger, what).unwrap_err().code.to_string();
    assert_eq!(denied(OrderAct::Hold), "no_such_order");
    change(&ledger, OrderAct::Add(Box::new(first.clone()))).unwrap();
    let record = begin(&ledger, &first, "A").unwrap();
    assert_eq!(denied(OrderAct::Approve), "order_unchangeable", "it still runs");
    assert_eq!(begin(&ledger, &first, "B").unwrap_err(), Code::FirstArticlePending);
    pass(&ledger, record);
    assert_eq!(begin(&ledger, &first, "B").unwrap_err(), Code::FirstArticlePending);
    change(&ledger, OrderAct::Approve).unwrap();
    fail(&ledger, begin(&ledger, &first, "B").unwrap(), Code::StoreError);
    fail(&ledger, begin(&ledger, &first, "B").unwrap(), Code::Mismatch);
    fail(&ledger, begin(&ledger, &first, "B").unwrap(), Code::OperatorStop);
    let fourth = begin(&ledger, &first, "B").unwrap();
    assert_eq!(fourth.attempt, Some(4), "neither the store nor an operator is held against it");
    fail(&ledger, fourth, Code::WriteError);
    assert_eq!(begin(&ledger, &first, "B").unwrap_err(), Code::AttemptsExhausted);
    assert_eq!(standing(&ledger).passed, 1);
    assert_eq!(denied(OrderAct::Release("Z".into())), "order_unchangeable");
    change(&ledger, OrderAct::Release("B".into())).unwrap();
    pass(&ledger, begin(&ledger, &first, "B").unwrap());
    change(&ledger, OrderAct::Hold).unwrap();
    assert_eq!(begin(&ledger, &first, "C").unwrap_err(), Code::OrderHeld);
    change(&ledger, OrderAct::Resume).unwrap();
    // Another layout makes another drive.
    let other =
        Articles { layouts: vec![Layout { name: "other".into(), ..Layout::default() }], image: 1 };
    let strange = OrderPlace { article: other.of(&first).unwrap(), ..place(&first) };
    let next = code(ledger.open_job(self::record("C"), &strange)).unwrap();
    pass(&ledger, next);
    let next = code(ledger.open_job(self::record("D"), &strange));
    assert_eq!(next.unwrap_err(), Code::FirstArticlePending);
    // Fewer than have passed closes it, and closed it stays.
    change(&ledger, OrderAct::Quantity(2)).unwrap();
    assert_eq!(standing(&ledger).state, OrderState::Closed);
    assert_eq!(begin(&ledger, &first, "D").unwrap_err(), Code::NoOrder);
    let changed = Order { quantity: 9, ..first.clone() };
    for what in [OrderAct::Resume, OrderAct::Add(Box::new(changed))] {
        assert_eq!(denied(what), "order_unchangeable");
    }
    change(&ledger, OrderAct::Add(Box::new(first))).unwrap();
    let history = ledger.order_history("PO-1").unwrap();
    let acts: Vec<&str> = history.iter().map(|entry| entry.act.as_str()).collect();
    assert_eq!(acts, ["add", "approve", "release", "hold", "resume", "quantity"]);
    assert_eq!(history[1].detail.as_deref(), Some("A"), "approved were these");
    assert!(history.iter().all(|entry| entry.by == "anna"));
}

/// What a file says is taken up when the file says something else than before, whatever was done to the order since.
#[test]
fn a_file_that_says_the_same_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = opened(&path);
    let by_file = |ledger: &Ledger, quantity| {
        change(ledger, OrderAct::AddByFile(Box::new(order(quantity)))).unwrap();
        ledger.orders(AlsoClosed::Yes, &|order| articles().of(order)).unwrap()[0].order.quantity
    };
    assert_eq!(by_file(&ledger, 5), 5);
    change(&ledger, OrderAct::Add(Box::new(order(2)))).unwrap();
    assert_eq!(by_file(&ledger, 5), 2, "an operator has the last word");
    drop(ledger);
    let ledger = opened(&path);
    assert_eq!(by_file(&ledger, 5), 2, "also after a restart");
    assert_eq!(by_file(&ledger, 6), 6, "it says something else");
    assert_eq!(ledger.order_history("PO-1").unwrap().len(), 3);
    // Fewer than have passed closes it, as `quantity` does.
    for serial in ["A", "B"] {
        pass(&ledger, begin(&ledger, &order(6), serial).unwrap());
    }
    by_file(&ledger, 1);
    assert_eq!(standing(&ledger).state, OrderState::Closed);
}

/// Of several changes all are made, or none.
#[test]
fn nothing_is_half_applied() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = opened(&folder.path().join("ledger.db"));
    let add = act(OrderAct::Add(Box::new(order(1))));
    let wrong = OrderChange { number: "PO-2".into(), ..act(OrderAct::Hold) };
    let made = ledger.change_orders(&[add, wrong], &|_| None).unwrap();
    assert_eq!(made.unwrap_err().code.to_string(), "no_such_order");
    assert!(ledger.orders(AlsoClosed::Yes, &|_| None).unwrap().is_empty());
    assert!(ledger.order_history("PO-1").unwrap().is_empty());
}

/// Two bays at the last place, a thousand times.
#[test]
fn two_bays_never_get_the_last_place() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = opened(&folder.path().join("ledger.db"));
    let rounds = 1000;
    for round in 0..rounds {
        let number = format!("PO-{round}");
        let one = Order { number: number.clone(), ..order(1) };
        let add = OrderChange { number, ..act(OrderAct::Add(Box::new(one.clone()))) };
        ledger.change_orders(&[add], &|_| None).unwrap().unwrap();
        let gate = Arc::new(Barrier::new(2));
        let bays: Vec<_> = ["A", "B"]
            .map(|serial| {
                let (ledger, gate, place) = (ledger.clone(), Arc::clone(&gate), place(&one));
                let record = record(serial);
                thread::spawn(move || {
                    gate.wait();
                    code(ledger.open_job(record, &place)).is_ok()
                })
            })
            .into();
        let begun = bays.into_iter().filter_map(|bay| bay.join().ok()).filter(|ok| *ok).count();
        assert_eq!(begun, 1, "round {round}");
    }
    ledger.verify().unwrap();
}

/// A million records, and a count at once.
#[test]
fn counting_takes_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = opened(&path);
    change(&ledger, OrderAct::Add(Box::new(order(2_000_000)))).unwrap();
    let many = if std::env::var_os("PRESTAGED_LONG").is_some() { 1_000_000 } else { 20_000 };
    let media = Digest([1; 32]).to_string();
    ledger
        .change("fill it", |db| {
            let sql = "INSERT INTO units (number, media, serial, attempts, passed)
                       VALUES ('PO-1', ?1, ?2, 1, 1)";
            let mut insert = db.prepare(sql)?;
            (0..many).try_for_each(|n| insert.execute([&media, &format!("S{n}")]).map(|_| ()))
        })
        .unwrap();
    let plan: String = ledger
        .read(|db| {
            let sql = "EXPLAIN QUERY PLAN SELECT passed FROM tallies WHERE number = 'PO-1' AND media = ?1";
            Ok(db.query_row(sql, [&media], |row| row.get(3)).unwrap())
        })
        .unwrap();
    assert!(plan.starts_with("SEARCH tallies USING PRIMARY KEY"), "{plan}");
    assert_eq!(standing(&ledger).passed, many);
}

/// One thing that happens to an order of three, with one over.
#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    Close(u8, u8),
    Kill,
    Quantity(u32),
    Edit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u8).prop_map(Step::Begin),
        6 => (0..6_u8, 0..4_u8).prop_map(|(drive, how)| Step::Close(drive, how)),
        1 => Just(Step::Kill),
        1 => (1..6_u32).prop_map(Step::Quantity),
        1 => (1..6_u32).prop_map(Step::Edit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_count_is_that_of_the_records(steps in prop::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let mut ledger = opened(&path);
        let mut now = Order { overrun: 1, attempts: 100, ..order(3) };
        change(&ledger, OrderAct::Add(Box::new(now.clone()))).unwrap();
        let mut running: Vec<(u8, Record)> = Vec::new();
        for step in steps {
            let before = standing(&ledger);
            match step {
                Step::Begin(drive) => {
                    if let Ok(record) = begin(&ledger, &now, &format!("S{drive}")) {
                        running.push((drive, record));
                        let after = standing(&ledger);
                        let grown = after.passed + after.running > before.passed + before.running;
                        let full = after.passed + after.running > now.places();
                        prop_assert!(!(grown && full), "{after:?}");
                    }
                }
                Step::Close(drive, how) => {
                    let Some(at) = running.iter().position(|(of, _)| *of == drive) else { continue };
                    let (_, record) = running.remove(at);
                    match how {
                        0 => fail(&ledger, record, Code::Mismatch),
                        1 => fail(&ledger, record, Code::OperatorStop),
                        _ => pass(&ledger, record),
                    }
                }
                Step::Kill => {
                    drop(ledger);
                    ledger = opened(&path);
                    prop_assert!(ledger.tampered().is_none(), "the seal is kept up by every change");
                    let closed = ledger.close_interrupted().unwrap().len();
                    prop_assert_eq!(closed, running.len());
                    running.clear();
                }
                Step::Quantity(quantity) => {
                    if change(&ledger, OrderAct::Quantity(quantity)).is_ok() {
                        now.quantity = quantity;
                    }
                }
                Step::Edit(quantity) => {
                    let edited = Order { quantity, ..now.clone() };
                    if change(&ledger, OrderAct::Add(Box::new(edited))).is_ok() {
                        // A file that is as it was leaves what was changed since.
                        let all = ledger.orders(AlsoClosed::Yes, &|_| None).unwrap();
                        now = all[0].order.clone();
                    }
                }
            }
            // What is counted is what the records say.
            let all = ledger.all(&Filter::default()).unwrap();
            let passed: std::collections::BTreeSet<String> = all
                .into_iter()
                .map(Result::unwrap)
                .filter(|record| record.verdict == Some(Verdict::Passed))
                .filter_map(|record| Some(record.serial?.as_str().to_owned()))
                .collect();
            let standing = standing(&ledger);
            prop_assert_eq!(usize::try_from(standing.passed).unwrap(), passed.len());
            let fresh = |(drive, _): &&(u8, Record)| !passed.contains(&format!("S{drive}"));
            let others = running.iter().filter(fresh).count();
            prop_assert_eq!(usize::try_from(standing.running).unwrap(), others);
        }
    }
}
