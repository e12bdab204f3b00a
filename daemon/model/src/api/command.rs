//! What an operator may ask the station for.

use crate::drive::Geometry;
use crate::manifest::MasterId;

/// What an operator asks for.
#[derive(Debug)]
pub enum Command {
    /// Allow or forbid writing.
    Arm(bool),
    /// Image a drive once more.
    Retry {
        /// Its serial number.
        serial: String,
    },
    /// Image a drive by hand, through the same admission.
    Image {
        /// Device node or kernel name.
        device: String,
        /// Media name; the newest valid one if absent.
        media: Option<String>,
    },
    /// Stop a drive's job.
    Stop {
        /// Its serial number.
        serial: String,
    },
    /// Check media again.
    VerifyMedia {
        /// Its name.
        name: String,
    },
    /// Press a master ahead.
    Press {
        /// Media name.
        media: String,
        /// For drives of this geometry.
        geometry: Geometry,
    },
    /// Remove a master, or cancel its press.
    RemoveMaster {
        /// Its name.
        id: MasterId,
    },
    /// Compare a drive with its media.
    Audit {
        /// Device node or kernel name.
        device: String,
        /// Media name.
        media: Option<String>,
    },
}
