//! What comes of a scan.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::requests::{Armed, Attempt, Stopped};
use super::snapshot::DriveView;
use crate::operator::Operator;
use crate::record::Record;

/// An order that was scanned, and waits for a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ScannedOrder {
    /// Number of the order.
    pub number: String,
    /// The bay that the drive must come into; any, if absent.
    #[serde(default)]
    pub bay: Option<String>,
    /// Who has scanned it.
    pub by: String,
    /// It is forgotten at this time.
    pub until: Timestamp,
    /// The number of the order that waited for the same place until now, and waits no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

impl ScannedOrder {
    /// How long an order waits for its drive.
    pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

    /// An order that waits from now on.
    pub fn new(number: String, bay: Option<String>, by: &Operator, now: Timestamp) -> Self {
        let until = now.saturating_add(Self::PATIENCE).unwrap_or(now);
        Self { number, bay, by: by.to_string(), until, instead_of: None }
    }
}

/// What was scanned, and what came of it.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scanned {
    /// An order, which waits for its drive now.
    Order {
        /// What waits.
        order: ScannedOrder,
    },
    /// An attempt at the drive in a bay has begun: for the order that was scanned for this bay, or by a card.
    Attempt {
        /// The attempt.
        attempt: Attempt,
    },
    /// The serial number of a drive in a bay.
    Drive {
        /// The drive.
        drive: Box<DriveView>,
    },
    /// The serial number of a drive that is not here, but was.
    Record {
        /// Its latest record; of those that are no refusals, if there is one.
        record: Box<Record>,
    },
    /// The name of a bay.
    Bay {
        /// The bay.
        bay: String,
        /// The drive that it shows.
        drive: Option<Box<DriveView>>,
    },
    /// A card that stops a drive.
    Stopped {
        /// What was stopped.
        stopped: Stopped,
    },
    /// A card that disarms the station.
    Disarmed {
        /// What that changes.
        disarmed: Armed,
    },
    /// A card that takes a verdict off a bay.
    Released {
        /// The bay.
        bay: String,
    },
    /// A card that forgets scanned orders.
    Forgotten {
        /// How many waited for drives.
        orders: usize,
    },
}
