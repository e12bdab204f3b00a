//! What comes of a scan.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::requests::{Armed, Attempt, Stopped};
use super::snapshot::DriveView;
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
