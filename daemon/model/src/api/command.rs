//! The commands that an operator can give to the station.

use super::requests::LampsReport;
use crate::drive::Geometry;
use crate::manifest::MasterId;
use crate::offer::Offer;
use crate::operator::{Consent, Operator};
use crate::orders::OrderChange;

/// A command of an operator. `drive` is any name of an attached drive ([`crate::naming`]), `media` the name of a media, `by` who
/// gives the command.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Arm the station (true) or disarm it.
    Arm(bool),
    /// Image a drive once more.
    Retry { drive: String, by: Operator },
    /// Image a drive, if admission allows it.
    Image(ImageOrder),
    /// Stop the job of a drive.
    Stop { drive: String },
    /// Forget what a bay shows of a drive that has been detached.
    Release { bay: String },
    /// Have the lamp of a bay blink, or no longer; of the bay itself, or of a drive that is or was in it.
    Locate { called: String, off: bool },
    /// Take up what is said of the lamps.
    Lamps(LampsReport),
    /// Verify a media again.
    VerifyMedia { name: String },
    /// Make media available to other drives than before.
    Offer { media: String, offer: Offer, by: Operator },
    /// Let media be used although later media of its product has been seen.
    AcceptMedia { name: String, reason: String, by: Operator },
    /// Change orders, all of them or none.
    Orders(Vec<OrderChange>),
    /// The next drive, or the one in this bay, belongs to an order.
    Scan { order: String, bay: Option<String>, by: Operator },
    /// The order that was scanned last is for this bay.
    ScanBay { bay: String, by: Operator },
    /// Forget the orders that were scanned and wait for drives.
    ForgetScans,
    /// Press a master for drives of this geometry, before there is one.
    Press { media: String, geometry: Geometry },
    /// Remove a master, or cancel its press.
    RemoveMaster { id: MasterId },
    /// Compare a drive with a media; with the one in its record if none is named.
    Audit { drive: String, media: Option<String> },
    /// Compare a drive with its own last record that has passed.
    Verify { drive: String },
}

/// What an operator wants of one drive.
#[derive(Debug)]
pub struct ImageOrder {
    /// Any name of the drive.
    pub drive: String,
    /// The name of the media; the one that is offered automatically if none is named.
    pub media: Option<String>,
    /// The number of the order that the drive shall belong to.
    pub order: Option<String>,
    /// Also if the drive has passed.
    pub again: bool,
    /// Consent to lose what the drive holds.
    pub consent: Option<Consent>,
    /// Who gives the order.
    pub by: Operator,
}
