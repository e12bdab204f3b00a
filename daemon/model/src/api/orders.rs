//! Orders as views show them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::drive::{Bay, Serial};
use crate::now::Now;
use crate::offer::Offer;
use crate::orders::{Article, HistoryEntry, Moment, Order, OrderStage, Standing};
use crate::verdict::Verdict;

/// An order in a list: what it says, without its conditions, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OrderView {
    pub number: String,
    pub customer: Option<String>,
    pub part: Option<String>,
    pub media: Digest,
    pub media_name: Option<String>,
    pub quantity: u32,
    pub overrun: u32,
    /// How many first articles are to be approved.
    pub first_article: u32,
    pub not_before: Option<Moment>,
    pub expires: Option<Moment>,
    pub offer: Offer,
    pub state: OrderStage,
    /// Why it is held or closed.
    pub reason: Option<String>,
    /// How many serial numbers have passed.
    pub passed: u32,
    /// How many others are being imaged.
    pub running: u32,
    /// How many of those that have passed are not as they passed ([`LaterJob`]); absent where nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_as_passed: Option<usize>,
}

impl OrderView {
    /// An order as a list shows it. `article` is what its drives become now.
    pub fn of(order: &Order, standing: &Standing, article: Option<&Article>, now: Now) -> Self {
        Self {
            number: order.number.clone(),
            customer: order.customer.clone(),
            part: order.part.clone(),
            media: order.media,
            media_name: order.media_name.clone(),
            quantity: order.quantity,
            overrun: order.overrun,
            first_article: order.first_article,
            not_before: order.not_before,
            expires: order.expires,
            offer: order.offer,
            state: order.stage(standing, article, now),
            reason: standing.reason.clone(),
            passed: standing.passed,
            running: standing.running,
            not_as_passed: None,
        }
    }
}

/// A file in the folder of orders that is not taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrderFileView {
    /// Its name.
    pub name: String,
    /// Whether it is still being written.
    pub waiting: bool,
    /// What is wrong with it, with the line.
    pub problem: Option<String>,
    /// What would make it right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Everything about one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrderDetail {
    /// What it says.
    pub order: Order,
    /// How it stands.
    pub standing: OrderView,
    /// What was done to it, the oldest first.
    pub history: Vec<HistoryEntry>,
    /// The drives that have passed for it, and are as they passed.
    #[serde(default)]
    pub to_ship: Vec<Serial>,
    /// The drives that have passed for it, and are not as they passed: the latest job on each.
    #[serde(default)]
    pub not_as_passed: Vec<LaterJob>,
    /// Every attached drive of the station, and why it does or does not belong to the order.
    pub drives: Vec<OrderDrive>,
}

/// The latest job on a drive that counts for an order, where that job was not a pass for this order and its media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LaterJob {
    pub serial: Serial,
    pub job: Uuid,
    /// Absent while it runs.
    pub verdict: Option<Verdict>,
    /// The order that it was for, if it was for one.
    pub order: Option<String>,
    /// Name of the media that it applied.
    pub media: Option<String>,
}

/// A drive beside an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OrderDrive {
    pub device: String,
    pub serial: Option<Serial>,
    pub bay: Bay,
    /// Whether every condition of the order holds for it.
    pub matches: bool,
    /// The conditions that do not.
    pub why: Vec<String>,
}
