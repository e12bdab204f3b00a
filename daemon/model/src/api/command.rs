//! The commands that an operator can give to the station.

use crate::drive::Geometry;
use crate::manifest::MasterId;

/// A command of an operator. `device` is a device node or a kernel name, `media` the name of a media; `drive` may also be a serial
/// number or a bay.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Arm the station (true) or disarm it.
    Arm(bool),
    /// Image a drive once more.
    Retry { drive: String },
    /// Image a drive, if admission allows it; with the newest valid media if none is named.
    Image { device: String, media: Option<String> },
    /// Stop the job of a drive.
    Stop { drive: String },
    /// Forget what a bay shows of a drive that has been detached.
    Release { bay: String },
    /// Verify a media again.
    VerifyMedia { name: String },
    /// Press a master for drives of this geometry, before there is one.
    Press { media: String, geometry: Geometry },
    /// Remove a master, or cancel its press.
    RemoveMaster { id: MasterId },
    /// Compare a drive with a media; with the one in its record if none is named.
    Audit { device: String, media: Option<String> },
}
