//! What begins and ends at a time, by two clocks.

use jiff::civil::Date;
use model::offer::Offer;
use model::orders::Conditions;

use super::*;

#[test]
fn media_past_its_day_is_not_used() {
    let mut station = station();
    with_media(&mut station);
    let ticket = attach(&mut station, "sdb", 1);
    let tomorrow = on(Date::constant(2027, 7, 1));
    let effects = station.0.apply(Event::Judged(ticket, facts()), tomorrow);
    assert_eq!(refusal(&effects), ReasonCode::MediaExpired);
}

/// A clock that was ahead once begins nothing early; one that was set back ends nothing late.
#[test]
fn orders_begin_by_the_clock_and_end_by_the_latest_time() {
    let time = |text: &str| {
        let at: Timestamp = format!("{text}T12:00:00Z").parse().unwrap();
        Time { at, day: text.parse().unwrap() }
    };
    let order = |number: &str, not_before: Option<&str>, expires: Option<&str>| {
        let moment = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        Order {
            number: number.into(),
            customer: None,
            part: None,
            media: Digest([1; 32]),
            media_name: None,
            image: None,
            layout: None,
            quantity: 1,
            overrun: 0,
            attempts: 1,
            first_article: 0,
            not_before: moment(not_before),
            expires: moment(expires),
            offer: Offer::Automatic,
            label_template: None,
            conditions: Conditions::default(),
        }
    };
    let orders = [
        order("LATER", Some("2027-06-02"), None),
        order("OVER", None, Some("2027-06-29")),
        order("OPEN", None, Some("2027-06-30")),
    ];
    let told = |clock: &str, latest: &str| {
        let mut station = station();
        let now = Now { clock: time(clock), latest: time(latest) };
        let known = orders.iter().map(|order| (order.clone(), Standing::default())).collect();
        station.0.apply(Event::Orders(known, None), now);
        let snapshot = station.0.snapshot(&|_| None);
        let states: Vec<&str> = snapshot.orders.iter().map(|order| order.state.word()).collect();
        (states.join(", "), snapshot.clock.is_some())
    };
    // By name: LATER, OPEN, OVER.
    let all = |states: &str, is_told| (states.to_owned(), is_told);
    assert_eq!(told("2027-06-01", "2027-06-01"), all("not yet valid, open, open", false));
    assert_eq!(told("2027-06-01", "2027-06-30"), all("not yet valid, open, expired", true));
    assert_eq!(told("2027-06-30", "2027-06-30"), all("open, open, expired", false));
    assert_eq!(told("2027-06-30", "2028-01-01"), all("open, expired, expired", true));
}
