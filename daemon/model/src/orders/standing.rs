//! How an order stands, and whether a drive may be begun for it.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use super::order::Order;
use crate::code::ReasonCode as Code;
use crate::digest::Digest;
use crate::failure::Refusal;
use crate::layout::Layout;
use crate::now::Now;
use crate::words::plural;

/// Whether drives may be begun for an order.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OrderState {
    /// They may.
    #[default]
    Open,
    /// Not until somebody resumes it.
    Held,
    /// Never again.
    Closed,
}

/// How an order stands, by the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Standing {
    /// Whether drives may be begun.
    pub state: OrderState,
    /// Why it is held or closed.
    pub reason: Option<String>,
    /// How many serial numbers have passed with its media.
    pub passed: u32,
    /// How many others are being imaged.
    pub running: u32,
    /// How many drives have passed or run as first articles, of what is to be approved now.
    pub articles: u32,
    /// What was approved last; absent if nothing was.
    pub approved: Option<String>,
}

/// How one serial number stands within an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// It has passed with the order's media.
    pub passed: bool,
    /// How many jobs it has had.
    pub attempts: u32,
    /// How many of them it has failed, since it was released.
    pub failures: u32,
}

/// What a first article stands for: another media, image, layout or program makes another drive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Article(pub String);

impl Article {
    /// What drives of this media become.
    pub fn of(media: Digest, image: u32, layout: &Layout) -> Self {
        let layout = serde_json::to_string(layout).unwrap_or_default();
        let text = format!("{media} {image} {layout} {}", env!("CARGO_PKG_VERSION"));
        Self(Digest::of(text.as_bytes()).to_string())
    }
}

/// What drives of each order become.
#[derive(Clone, Debug, Default)]
pub struct Articles {
    /// The layouts of the configuration; an order that names none gets the first.
    pub layouts: Vec<Layout>,
    /// The image of orders that name none.
    pub image: u32,
}

impl Articles {
    /// The layout of an order; `None` if the configuration has none of that name.
    pub fn layout(&self, order: &Order) -> Option<&Layout> {
        match &order.layout {
            Some(name) => self.layouts.iter().find(|layout| layout.name == *name),
            None => self.layouts.first(),
        }
    }

    /// The index of the image of an order.
    pub fn image(&self, order: &Order) -> u32 {
        order.image.unwrap_or(self.image)
    }

    /// What drives of an order become; `None` if its layout is not known.
    pub fn of(&self, order: &Order) -> Option<Article> {
        Some(Article::of(order.media, self.image(order), self.layout(order)?))
    }
}

/// The place that a job needs in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OrderPlace {
    pub number: String,
    pub article: Article,
    /// The time of the decision.
    pub now: Now,
}

/// What speaks against beginning a drive for its order, if anything does. The ledger asks the same once more, in the
/// transaction that reserves the place.
pub fn objection(
    order: &Order,
    standing: &Standing,
    unit: Unit,
    article: &Article,
    now: Now,
) -> Option<Refusal> {
    let number = &order.number;
    let why = || standing.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let refusal = |code, detail: String| Some(Refusal::new(code, detail));
    match standing.state {
        OrderState::Open => {}
        OrderState::Held => {
            let hint =
                format!("`prestagectl order resume {number}`, once what it is held for is mended");
            let held = refusal(Code::OrderHeld, format!("order {number} is held{}", why()));
            return held.map(|refusal| refusal.with_hint(hint));
        }
        OrderState::Closed => {
            return refusal(Code::NoOrder, format!("order {number} is closed{}", why()));
        }
    }
    if let Some(from) = order.not_before.filter(|from| from.is_to_come(now)) {
        return refusal(Code::OrderNotYetValid, format!("order {number} begins at {from}"));
    }
    if let Some(to) = order.expires.filter(|to| to.is_over(now)) {
        let detail = format!("order {number} was valid until {to}{}", now.beside_an_end());
        return refusal(Code::OrderExpired, detail);
    }
    if unit.failures >= order.attempts {
        let detail = format!("the drive has failed {} times for order {number}", unit.failures);
        return refusal(Code::AttemptsExhausted, detail);
    }
    // Once more a drive that counts already takes no place.
    if unit.passed {
        return None;
    }
    let (taken, places) = (standing.passed + standing.running, order.places());
    if taken >= places {
        let running = match standing.running {
            0 => String::new(),
            running => format!(", and {running} are being imaged"),
        };
        let passed = standing.passed;
        let detail = format!("{passed} of {places} drives of order {number} have passed{running}");
        return refusal(Code::OrderComplete, detail);
    }
    let first = order.first_article;
    let approved = standing.approved.as_ref() == Some(&article.0);
    if first > 0 && !approved && standing.articles >= first {
        let wait = if first == 1 { "waits" } else { "wait" };
        let first = plural(first, "first article", "first articles");
        let detail = format!("{first} of order {number} {wait} for approval");
        let hint = format!(
            "have the drives of `prestagectl records --order {number}` checked, then `prestagectl order approve {number}`"
        );
        return refusal(Code::FirstArticlePending, detail).map(|found| found.with_hint(hint));
    }
    None
}

/// How far an order is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStage {
    /// Drives may be begun.
    Open,
    /// Not until somebody resumes it.
    Held,
    /// Not until its first articles are approved.
    AwaitsApproval,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// As many drives have passed as are wanted; no more are begun than its overrun allows.
    Complete,
    /// Never again.
    Closed,
}

impl OrderStage {
    /// Whether somebody may hold it: nobody has held or closed it.
    pub fn is_in_force(self) -> bool {
        !matches!(self, Self::Held | Self::Closed)
    }

    /// The word for it in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::AwaitsApproval => "awaits approval",
            Self::NotYetValid => "not yet valid",
            Self::Expired => "expired",
            Self::Complete => "complete",
            Self::Closed => "closed",
        }
    }
}

impl Order {
    /// How far the order is. `article` is what its drives become now.
    pub fn stage(&self, standing: &Standing, article: Option<&Article>, now: Now) -> OrderStage {
        let approved =
            article.is_some_and(|article| standing.approved.as_ref() == Some(&article.0));
        let first = self.first_article;
        match standing.state {
            OrderState::Closed => OrderStage::Closed,
            OrderState::Held => OrderStage::Held,
            OrderState::Open if standing.passed >= self.quantity => OrderStage::Complete,
            OrderState::Open if self.expires.is_some_and(|to| to.is_over(now)) => {
                OrderStage::Expired
            }
            OrderState::Open if self.not_before.is_some_and(|from| from.is_to_come(now)) => {
                OrderStage::NotYetValid
            }
            OrderState::Open if first > 0 && !approved && standing.articles >= first => {
                OrderStage::AwaitsApproval
            }
            OrderState::Open => OrderStage::Open,
        }
    }

    /// How many drives may be made.
    pub fn places(&self) -> u32 {
        self.quantity.saturating_add(self.overrun)
    }
}
