//! All open orders, and which one a drive belongs to.

use std::collections::BTreeMap;

use super::matching::{Difference, Matcher, Seen};
use super::order::Order;
use crate::code::ReasonCode as Code;
use crate::failure::Refusal;
use crate::now::Now;
use crate::offer::Offer;
use crate::units::Share;

/// All orders that are not closed.
#[derive(Clone, Debug, Default)]
pub struct Book(BTreeMap<String, (Order, Matcher)>);

/// The order of a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// It belongs to this one.
    One(&'a Order),
    /// It belongs to none.
    None,
    /// It cannot be begun.
    Refused(Refusal),
}

impl Book {
    /// A book of these orders.
    pub fn new(orders: impl IntoIterator<Item = Order>) -> Self {
        let entry = |order: Order| {
            let matcher = Matcher::new(&order.conditions);
            (order.number.clone(), (order, matcher))
        };
        Self(orders.into_iter().map(entry).collect())
    }

    /// Whether there is no order.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The order with this number.
    pub fn get(&self, number: &str) -> Option<&Order> {
        self.0.get(number).map(|(order, _)| order)
    }

    /// All orders, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Order> {
        self.0.values().map(|(order, _)| order)
    }

    /// Why a drive does not belong to the order with this number; `None` if there is no such order.
    pub fn differences(
        &self,
        number: &str,
        drive: Seen<'_>,
        tolerance: Share,
    ) -> Option<Vec<Difference>> {
        self.0.get(number).map(|(_, matcher)| matcher.differences(drive, tolerance))
    }

    /// Whether drives in a bay may belong to an order, whatever else they are.
    pub fn allows_bay(&self, number: &str, bay: &str, path: &str) -> bool {
        self.0.get(number).is_some_and(|(_, matcher)| matcher.allows_bay(bay, path))
    }

    /// The order that a drive belongs to: the one that somebody has named, or the one whose conditions all hold. Two such
    /// orders are none. Orders whose time has not come, or is over, give way to one in its time.
    pub fn choose(
        &self,
        drive: Seen<'_>,
        tolerance: Share,
        named: Option<&str>,
        now: Now,
    ) -> Choice<'_> {
        if let Some(number) = named {
            return self.named(number, drive, tolerance);
        }
        let fits = |(order, matcher): &&(Order, Matcher)| {
            order.offer == Offer::Automatic && matcher.differences(drive, tolerance).is_empty()
        };
        let fitting: Vec<&Order> = self.0.values().filter(fits).map(|(order, _)| order).collect();
        let timely = |order: &&&Order| order.is_in_time(now);
        let in_time: Vec<&Order> = fitting.iter().filter(timely).copied().collect();
        let those = if in_time.is_empty() { fitting } else { in_time };
        match &those[..] {
            [] => Choice::None,
            [one] => Choice::One(one),
            several => {
                let numbers: Vec<&str> = several.iter().map(|o| o.number.as_str()).collect();
                let shown = numbers[..numbers.len().min(8)].join(", ");
                let detail = format!("the drive belongs to {} orders: {shown}", numbers.len());
                let hint = "close the order that is done, or narrow its [match]; \
                            `prestagectl order show NUMBER` says why a drive belongs to it";
                Choice::Refused(Refusal::new(Code::OrderAmbiguous, detail).with_hint(hint))
            }
        }
    }

    fn named(&self, number: &str, drive: Seen<'_>, tolerance: Share) -> Choice<'_> {
        let Some((order, matcher)) = self.0.get(number) else {
            let detail = format!("there is no open order {number}");
            let refusal = Refusal::new(Code::NoOrder, detail);
            return Choice::Refused(refusal.with_hint("see `prestagectl order list`"));
        };
        let differences = matcher.differences(drive, tolerance);
        match &differences[..] {
            [] => Choice::One(order),
            [Difference::Serial(_)] => Choice::Refused(not_listed(order, &differences)),
            _ => {
                let detail =
                    format!("the drive does not belong to order {number}: {}", words(&differences));
                Choice::Refused(Refusal::new(Code::NoOrder, detail))
            }
        }
    }

    /// All orders that a drive may turn out to belong to, whatever the time is.
    pub fn candidates(
        &self,
        drive: Seen<'_>,
        tolerance: Share,
        named: Option<&str>,
    ) -> Vec<&Order> {
        let fits = |(order, matcher): &&(Order, Matcher)| match named {
            Some(number) => order.number == number,
            None => {
                order.offer == Offer::Automatic && matcher.differences(drive, tolerance).is_empty()
            }
        };
        self.0.values().filter(fits).map(|(order, _)| order).collect()
    }

    /// Why a drive that belongs to no order gets no media either.
    pub fn nothing_for(&self, drive: Seen<'_>, tolerance: Share) -> Refusal {
        let automatic = self.0.values().filter(|(order, _)| order.offer == Offer::Automatic);
        let found: Vec<(&Order, Vec<Difference>)> = automatic
            .map(|(order, matcher)| (order, matcher.differences(drive, tolerance)))
            .collect();
        let by_serial =
            |(_, why): &&(&Order, Vec<Difference>)| matches!(why[..], [Difference::Serial(_)]);
        if let Some((order, why)) = found.iter().find(by_serial) {
            return not_listed(order, why);
        }
        let nearest = found.iter().min_by_key(|(_, why)| why.len());
        let why = nearest.map(|(order, why)| format!("; order {}: {}", order.number, words(why)));
        let count = self.0.len();
        let detail =
            format!("the drive belongs to none of {count} open orders{}", why.unwrap_or_default());
        Refusal::new(Code::NoOrder, detail)
    }
}

impl Order {
    /// Whether the time of the order has come and is not over.
    pub fn is_in_time(&self, now: Now) -> bool {
        !self.not_before.is_some_and(|from| from.is_to_come(now))
            && !self.expires.is_some_and(|to| to.is_over(now))
    }
}

fn not_listed(order: &Order, why: &[Difference]) -> Refusal {
    let detail = format!("order {}: {}", order.number, words(why));
    let hint = "use a drive of the order, or add its serial number to the order";
    Refusal::new(Code::SerialNotAllowed, detail).with_hint(hint)
}

fn words(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
