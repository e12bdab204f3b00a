//! The commands that an operator can give to the station.

use crate::drive::Geometry;
use crate::manifest::MasterId;

/// A command of an operator. `device` is a device node or a kernel name, `media` the name of a media.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Command {
    /// Arm the station (true) or disarm it.
    Arm(bool),
    /// Image the drive with this serial number once more.
    Retry { serial: String },
    /// Image a drive, if admission allows it; with the newest valid media if none is named.
    Image { device: String, media: Option<String> },
    /// Stop the job of the drive with this serial number.
    Stop { serial: String },
    /// Verify a media again.
    VerifyMedia { name: String },
    /// Press a master for drives of this geometry, before there is one.
    Press { media: String, geometry: Geometry },
    /// Remove a master, or cancel its press.
    RemoveMaster { id: MasterId },
    /// Compare a drive with a media; with the one in its record if none is named.
    Audit { device: String, media: Option<String> },
}
