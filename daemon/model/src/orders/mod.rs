//! Production orders: which media goes to which drive, how often, and for whom. A pure decision: the counts come from the
//! ledger, the time from the caller.
//!
//! [`book`] finds the one order that a drive belongs to, [`standing`] decides whether a drive may be begun for it.

mod book;
mod matching;
mod order;
mod standing;
#[cfg(test)]
mod tests;

pub use book::{Book, Choice};
pub use matching::{Difference, Matcher, Seen};
pub use order::{Conditions, Moment, Order, OrderError};
pub use standing::{
    Article, Articles, OrderPlace, OrderStage, OrderState, Standing, Unit, objection,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::operator::Operator;

/// What is done to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OrderAct {
    /// It is new, or takes the place of the one with its number.
    Add(Box<Order>),
    /// The same, by a file in the folder of orders; as long as the file says the same, it happens once.
    AddByFile(Box<Order>),
    Hold,
    Resume,
    /// The first articles are good.
    Approve,
    Close,
    Quantity(u32),
    /// A serial number may try again.
    Release(String),
}

impl OrderAct {
    /// The word for it in the history.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Add(_) | Self::AddByFile(_) => "add",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Close => "close",
            Self::Quantity(_) => "quantity",
            Self::Release(_) => "release",
        }
    }
}

/// A change of an order, with who, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OrderChange {
    pub number: String,
    pub act: OrderAct,
    pub reason: Option<String>,
    pub by: Operator,
    pub at: Timestamp,
}

/// One line of an order's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct HistoryEntry {
    /// `add`, `hold`, `resume`, `approve`, `close`, `quantity` or `release`.
    pub act: String,
    pub reason: Option<String>,
    /// What it was about: the new quantity, the first articles that were approved, the serial number that was released.
    pub detail: Option<String>,
    pub by: String,
    pub at: Timestamp,
}
