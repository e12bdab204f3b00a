//! Random orders and drives: never two orders for one drive, and what explains a decision agrees with it.

use jiff::Timestamp;
use jiff::civil::Date;
use proptest::prelude::*;

use super::*;
use crate::code::ReasonCode as Code;
use crate::digest::Digest;
use crate::drive::{Bay, Bus, DeviceNumber, Diskseq, Drive, Serial};
use crate::now::{Now, Time};
use crate::offer::Offer;
use crate::units::{Bytes, Share};

const NOW: Now =
    Now::at(Time { at: Timestamp::constant(1_800_000_000, 0), day: Date::constant(2027, 1, 15) });

fn order(number: &str) -> Order {
    Order {
        number: number.into(),
        customer: None,
        part: None,
        media: Digest([1; 32]),
        media_name: None,
        image: None,
        layout: None,
        quantity: 2,
        overrun: 0,
        attempts: 3,
        first_article: 0,
        not_before: None,
        expires: None,
        offer: Offer::Automatic,
        label_template: None,
        conditions: Conditions::default(),
    }
}

fn drive(bay: &str, model: &str, serial: &str, gb: u64) -> Drive {
    Drive {
        name: "sdb".into(),
        node: "/dev/sdb".into(),
        number: DeviceNumber { major: 8, minor: 0 },
        diskseq: Diskseq(1),
        serial: Serial::new(serial),
        placeholder: None,
        transport: None,
        unit: None,
        wwn: None,
        model: Some(model.into()),
        firmware: None,
        bus: Bus("ata".into()),
        path: format!("pci-{bay}"),
        bay: Bay(bay.into()),
        size: Bytes(gb * 1_000_000_000),
        logical_sector_bytes: 512,
        read_only: false,
    }
}

fn texts(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(of).prop_map(str::to_owned), 0..3)
}

prop_compose! {
    fn conditions()(
        bays in texts(&["a", "b", "pci-*", "?"]),
        models in texts(&["Samsung*", "WDC*", "*"]),
        serials in texts(&["S1*", "S2?", "S33"]),
        listed in texts(&["S11", "S21", "S44"]),
        sizes in prop::collection::vec(prop::sample::select(&[512_u64, 1000][..]), 0..2),
    ) -> Conditions {
        let sizes = sizes.into_iter().map(|gb| Bytes(gb * 1_000_000_000)).collect();
        Conditions { bays, models, serials, listed_serials: listed.into_iter().collect(), sizes }
    }
}

prop_compose! {
    fn orders()(all in prop::collection::vec((conditions(), any::<bool>(), 0..3_u8), 0..6)) -> Vec<Order> {
        (0..).zip(all).map(|(at, (conditions, by_hand, time)): (u32, _)| Order {
            conditions,
            offer: if by_hand && at % 2 == 0 { Offer::ByHand } else { Offer::Automatic },
            not_before: (time == 1).then_some(Moment::Day(Date::constant(2027, 2, 1))),
            expires: (time == 2).then_some(Moment::Day(Date::constant(2027, 1, 1))),
            ..order(&format!("PO-{at}"))
        }).collect()
    }
}

prop_compose! {
    fn drives()(
        bay in prop::sample::select(&["a", "b", "cc"][..]),
        model in prop::sample::select(&["Samsung SSD", "WDC 1", "Other"][..]),
        serial in prop::sample::select(&["S11", "S21", "S33", "S44", "S9"][..]),
        gb in prop::sample::select(&[512_u64, 1000, 2000][..]),
    ) -> Drive {
        drive(bay, model, serial, gb)
    }
}

proptest! {
    #[test]
    fn what_explains_a_decision_agrees_with_it(all in orders(), drive in drives()) {
        let tolerance = Share::percent(1);
        let book = Book::new(all.clone());
        let fits = |order: &&Order| {
            book.differences(&order.number, (&drive).into(), tolerance).unwrap().is_empty()
        };
        let automatic = |order: &&Order| order.offer == Offer::Automatic;
        let fitting: Vec<&Order> = all.iter().filter(automatic).filter(fits).collect();
        let in_time: Vec<&&Order> = fitting.iter().filter(|order| order.is_in_time(NOW)).collect();
        match book.choose((&drive).into(), tolerance, None, NOW) {
            Choice::One(one) => {
                prop_assert!(fits(&one));
                let rivals = if in_time.is_empty() { fitting.len() } else { in_time.len() };
                prop_assert_eq!(rivals, 1, "never two");
            }
            Choice::None => {
                prop_assert!(fitting.is_empty());
                let code = book.nothing_for((&drive).into(), tolerance).code;
                prop_assert!(matches!(code, Code::NoOrder | Code::SerialNotAllowed));
            }
            Choice::Refused(refusal) => {
                prop_assert_eq!(refusal.code, Code::OrderAmbiguous);
                prop_assert!(fitting.len() > 1 && in_time.len() != 1);
                prop_assert!(refusal.detail.contains(&fitting[0].number) || !in_time.is_empty());
            }
        }
        for order in &all {
            let named = book.choose((&drive).into(), tolerance, Some(&order.number), NOW);
            prop_assert_eq!(matches!(named, Choice::One(_)), fits(&order), "{}", &order.number);
        }
    }

    /// Places are never given away twice, and everything that speaks against a drive has its code.
    #[test]
    fn no_more_are_begun_than_there_are_places(
        (quantity, overrun, first) in (1..5_u32, 0..3_u32, 0..3_u32),
        (passed, running, articles) in (0..8_u32, 0..4_u32, 0..3_u32),
        (unit_passed, failures, approved) in (any::<bool>(), 0..5_u32, any::<bool>()),
        state in prop::sample::select(&[OrderState::Open, OrderState::Held, OrderState::Closed][..]),
    ) {
        let order = Order { quantity, overrun, first_article: first, ..order("PO-1") };
        let article = Article("x".into());
        let approved = approved.then(|| "x".to_owned());
        let standing = Standing { state, reason: None, passed, running, articles, approved };
        let unit = Unit { passed: unit_passed, attempts: failures, failures };
        match objection(&order, &standing, unit, &article, NOW) {
            None => {
                prop_assert_eq!(state, OrderState::Open);
                prop_assert!(failures < order.attempts);
                prop_assert!(unit_passed || passed + running < quantity + overrun);
                let waits = first > 0 && standing.approved.is_none() && articles >= first;
                prop_assert!(unit_passed || !waits);
            }
            Some(refusal) => {
                let expected = match refusal.code {
                    Code::OrderHeld => state == OrderState::Held,
                    Code::NoOrder => state == OrderState::Closed,
                    Code::AttemptsExhausted => failures >= order.attempts,
                    Code::OrderComplete => passed + running >= order.places() && !unit_passed,
                    Code::FirstArticlePending => articles >= first && !unit_passed,
                    _ => false,
                };
                prop_assert!(expected, "{:?}", refusal);
            }
        }
    }
}

#[test]
fn an_order_has_its_time() {
    let article = Article("x".into());
    let open = Standing::default();
    let why = |order: &Order| {
        objection(order, &open, Unit::default(), &article, NOW).map(|refusal| refusal.code)
    };
    let with = |from: Option<&str>, to: Option<&str>| Order {
        not_before: from.map(|text| text.parse().unwrap()),
        expires: to.map(|text| text.parse().unwrap()),
        ..order("PO-1")
    };
    assert_eq!(why(&with(Some("2027-01-15"), Some("2027-01-15"))), None, "all of the day");
    assert_eq!(why(&with(Some("2027-01-16"), None)), Some(Code::OrderNotYetValid));
    assert_eq!(why(&with(None, Some("2027-01-14"))), Some(Code::OrderExpired));
    assert_eq!(why(&with(None, Some("2027-01-15T07:59:59Z"))), Some(Code::OrderExpired));
    assert_eq!(why(&with(None, Some("2027-01-15T08:00:00Z"))), None);
    assert!(with(Some("2027-02-01"), Some("2027-01-01")).check().is_err());
    for wrong in ["soon", "2027-13-01", "2027-01-15T08:00", "2027-1-1", ""] {
        assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
    }
    // The order in its time is the one, whatever stands beside it.
    let next = Order { number: "PO-2".into(), ..with(Some("2027-02-01"), None) };
    let book = Book::new([order("PO-1"), next]);
    let drive = drive("a", "m", "S1", 512);
    let chosen = book.choose((&drive).into(), Share::percent(1), None, NOW);
    assert!(matches!(chosen, Choice::One(order) if order.number == "PO-1"));
}

#[test]
fn numbers_stand_in_paths_and_on_labels() {
    for (number, is) in [
        ("PO-4711", true),
        ("4711.a_b+c#1", true),
        ("", false),
        ("PO 1", false),
        ("../x", false),
        (".hidden", false),
        ("Ü", false),
        ("a/b", false),
        ("a\n", false),
    ] {
        assert_eq!(Order::is_number(number), is, "{number:?}");
    }
    assert!(!Order::is_number(&"x".repeat(65)));
}

/// A thousand orders with ten thousand serial numbers each are looked through at once.
#[test]
fn a_full_book_is_read_fast() {
    let listed = |at: u32| (0..10_000).map(|n| format!("S{at:04}{n:06}")).collect();
    let all = (0..1000).map(|at| Order {
        conditions: Conditions { listed_serials: listed(at), ..Conditions::default() },
        ..order(&format!("PO-{at:04}"))
    });
    let book = Book::new(all);
    let drive = drive("a", "m", "S0999009999", 512);
    let chosen = book.choose((&drive).into(), Share::percent(1), None, NOW);
    assert!(matches!(chosen, Choice::One(order) if order.number == "PO-0999"));
}
