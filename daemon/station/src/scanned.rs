//! Orders that were scanned: the next drive, or the one in a bay, belongs to such an order.
//!
//! An order waits for one drive, in memory and for a short time: it must not take a drive that comes the next day, when
//! nobody remembers. The drive must still meet the order's conditions.

use jiff::Timestamp;
use model::api::command::ImageOrder;
use model::api::scanned::ScannedOrder;
use model::code::DenialCode;
use model::drive::Bay;
use model::failure::Denial;
use model::operator::Operator;

use crate::Station;
use crate::insertion::Insertion;
use crate::message::{Answer, Effect};

/// An order that waits for a drive.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    view: ScannedOrder,
    by: Operator,
}

/// The orders that wait; one for each bay at most, and one for whichever drive is next.
#[derive(Debug, Default)]
pub(crate) struct Waitings(Vec<Waiting>);

impl Waitings {
    /// Has an order wait; returns the number of another one that waits no longer for the same place.
    fn wait(&mut self, view: ScannedOrder, by: Operator) -> Option<String> {
        let place =
            |waiting: &&Waiting| waiting.view.bay == view.bay && waiting.view.number != view.number;
        let before = self.0.iter().find(place).map(|waiting| waiting.view.number.clone());
        let goes = |waiting: &Waiting| {
            waiting.view.bay == view.bay
                // It has got a bay.
                || waiting.view.bay.is_none() && waiting.view.number == view.number
        };
        self.0.retain(|waiting| !goes(waiting));
        self.0.push(Waiting { view, by });
        before
    }

    /// The drive in this bay that an order was scanned for has gone without having passed: the order waits for the next
    /// one in the bay, unless another was scanned for it.
    pub(crate) fn give_back(&mut self, number: String, bay: &Bay, by: Operator, now: Timestamp) {
        if self.0.iter().all(|waiting| waiting.view.bay.as_ref() != Some(&bay.0)) {
            self.wait(ScannedOrder::new(number, Some(bay.0.clone()), &by, now), by);
        }
    }

    /// Forgets the orders whose time is over.
    pub(crate) fn age(&mut self, now: Timestamp) {
        self.0.retain(|waiting| waiting.view.until > now);
    }

    /// The order that a drive in this bay belongs to, and who has scanned it. It waits no longer.
    pub(crate) fn take(&mut self, bay: &Bay) -> Option<(String, Operator)> {
        let of_bay = |waiting: &Waiting| waiting.view.bay.as_ref() == Some(&bay.0);
        let at = self.0.iter().position(of_bay);
        let at = at.or_else(|| self.0.iter().position(|waiting| waiting.view.bay.is_none()))?;
        let Waiting { view, by } = self.0.remove(at);
        Some((view.number, by))
    }

    pub(crate) fn views(&self) -> Vec<ScannedOrder> {
        self.0.iter().map(|waiting| waiting.view.clone()).collect()
    }
}

impl<M: Clone> Station<M> {
    /// Has an order wait for the next drive, or for the one in a bay. One that is there already is begun.
    pub(crate) fn scan(
        &mut self,
        number: String,
        bay: Option<String>,
        by: Operator,
        now: Timestamp,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        self.open_order(&number)?;
        if let Some(bay) = &bay {
            self.known_bay(bay)?;
            self.order_is_for(&number, bay)?;
            let waits = |one: &&Insertion| {
                let here = one.drive.bay.0 == *bay && !one.departed;
                here && self.setup.policy.may_hold(&one.drive) && !one.has_passed()
            };
            let here = |one: &&Insertion| one.drive.bay.0 == *bay && !one.departed;
            if self.insertions.values().filter(here).count() > 1 {
                // Which of them is meant, nobody has said.
                self.find(bay)?;
            }
            if let Some(insertion) = self.insertions.values().find(waits) {
                let drive = insertion.drive.node.display().to_string();
                let (media, again, consent) = (None, false, None);
                let order = Some(number);
                return self.image(ImageOrder { drive, media, order, again, consent, by }, effects);
            }
        }
        let mut view = ScannedOrder::new(number, bay, &by, now);
        view.instead_of = self.scanned.wait(view.clone(), by);
        Ok(Answer::Scanned(view))
    }

    /// The order that was scanned last is for this bay.
    pub(crate) fn scan_bay(
        &mut self,
        bay: String,
        by: Operator,
        now: Timestamp,
        effects: &mut Vec<Effect<M>>,
    ) -> Result<Answer, Denial> {
        let next = self.scanned.0.iter().find(|waiting| waiting.view.bay.is_none());
        let Some(Waiting { view, .. }) = next else {
            let denial =
                Denial::new(DenialCode::UnclearScan, "no order was scanned before the bay");
            return Err(denial.with_hint("scan the order, then the bay that it is for"));
        };
        let number = view.number.clone();
        let answer = self.scan(number.clone(), Some(bay), by, now, effects)?;
        self.scanned.0.retain(|one| one.view.bay.is_some() || one.view.number != number);
        Ok(answer)
    }

    /// Forgets the orders that wait.
    pub(crate) fn forget_scans(&mut self) -> Answer {
        Answer::Forgotten(std::mem::take(&mut self.scanned.0).len())
    }

    /// Drives in the bay may belong to the order, as far as that can be known before one is in it.
    fn order_is_for(&self, number: &str, bay: &str) -> Result<(), Denial> {
        let named = self.setup.policy.named.iter().find(|named| named.name == bay);
        let path = named.map_or(bay, |named| named.path.as_str());
        // What has a place for anything may be any bay's.
        let is_open = path.contains(['*', '?', '[']);
        if is_open || self.orders.book.allows_bay(number, bay, path) {
            return Ok(());
        }
        let detail = format!("bay {bay:?} is not in match.bays of order {number}");
        let denial = Denial::new(DenialCode::UnclearScan, detail);
        Err(denial.with_hint(format!("`prestagectl order show {number}` has its conditions")))
    }

    /// The bay belongs to the station, as far as that can be known before a drive is in it.
    fn known_bay(&self, bay: &str) -> Result<(), Denial> {
        let policy = &self.setup.policy;
        let named = || policy.named.iter().map(|named| named.name.as_str());
        let known = match policy.named.is_empty() {
            true => policy.allows(bay, bay),
            false => named().any(|name| name == bay),
        };
        if known || self.insertions.values().any(|one| one.drive.bay.0 == bay) {
            return Ok(());
        }
        let denial = Denial::new(DenialCode::UnclearScan, format!("there is no bay {bay:?}"));
        let names: Vec<&str> = named().collect();
        Err(denial.with_hint(match names.is_empty() {
            true => "`admission.bays` has the bays of the station".to_owned(),
            false => format!("bays are {}", names.join(", ")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: &str, bay: Option<&str>, until: i64) -> (ScannedOrder, Operator) {
        let by = Operator { uid: 0, name: Some("anna".into()) };
        let until = Timestamp::from_second(until).unwrap();
        let view = ScannedOrder::new(number.into(), bay.map(str::to_owned), &by, until);
        (ScannedOrder { until, ..view }, by)
    }

    #[test]
    fn a_drive_takes_the_order_of_its_bay_or_else_the_next_and_each_is_taken_once() {
        let mut waitings = Waitings::default();
        for (number, bay) in
            [("1", None), ("2", Some("a")), ("3", Some("b")), ("4", None), ("5", Some("b"))]
        {
            let (view, by) = waiting(number, bay, 10);
            waitings.wait(view, by);
        }
        let mut take = |bay: &str| waitings.take(&Bay(bay.into())).map(|(number, _)| number);
        // What is scanned later for the same place counts.
        assert_eq!(take("b").as_deref(), Some("5"));
        assert_eq!(take("c").as_deref(), Some("4"));
        assert_eq!(take("c"), None);
        assert_eq!(take("a").as_deref(), Some("2"));
        assert_eq!(take("a"), None);
    }

    #[test]
    fn an_order_waits_for_ten_minutes_and_no_longer() {
        let mut waitings = Waitings::default();
        let (view, by) = waiting("1", None, 600);
        waitings.wait(view, by);
        waitings.age(Timestamp::from_second(599).unwrap());
        assert_eq!(waitings.views().len(), 1);
        waitings.age(Timestamp::from_second(600).unwrap());
        assert!(waitings.views().is_empty());
    }

    #[test]
    fn what_a_pulled_drive_gives_back_waits_for_its_bay_and_displaces_nothing() {
        let now = Timestamp::UNIX_EPOCH;
        let mut waitings = Waitings::default();
        let bay = Bay("a".into());
        let (_, by) = waiting("1", None, 10);
        waitings.give_back("1".into(), &bay, by.clone(), now);
        assert_eq!(waitings.views()[0].bay.as_deref(), Some("a"));
        waitings.give_back("2".into(), &bay, by, now);
        assert_eq!(waitings.views().len(), 1);
        let (view, by) = waiting("3", Some("a"), 10);
        assert_eq!(waitings.wait(view, by).as_deref(), Some("1"), "who scans hears what goes");
        assert_eq!(waitings.take(&bay).unwrap().0, "3");
    }
}
