//! What each code means to whoever stands at the rack: whose trouble it is, why in a few words, and what to do now.
//!
//! One table, the `match` below, so a new code does not compile without its row. Screens, terminals, labels and lamps read
//! it; [`crate::advice`] says more to whoever has time to read.

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

use crate::code::ReasonCode;
use crate::verdict::Verdict;

/// Whose trouble it is that a drive has not passed, and so what hands have to do.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    IntoStaticStr,
    VariantArray,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Trouble {
    /// The drive is not good: only these go into the red bin.
    Drive,
    /// Somebody or something has interrupted it: the drive may be as good as any other.
    Handling,
    /// The station cannot do it: the drive is kept, and somebody looks after the station.
    Station,
    /// It is not a drive for this bay, this order or this station, or must not be touched.
    Refused,
}

/// The longest reason on a tile, in characters.
pub const LONGEST_SHORT: usize = 28;
/// The longest line that says what to do, in characters.
pub const LONGEST_ACTION: usize = 36;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Meaning {
    /// Whose trouble it is.
    pub trouble: Trouble,
    /// Why, in a few words: [`LONGEST_SHORT`] characters at most.
    pub short: &'static str,
    /// What to do now: [`LONGEST_ACTION`] characters at most.
    pub action: &'static str,
}

impl Meaning {
    /// Both on one line.
    pub fn line(&self) -> String {
        format!("{}. {}", self.short, self.action)
    }
}

impl ReasonCode {
    /// What the code means at the rack.
    pub fn at_the_rack(self) -> Meaning {
        use Trouble::{Drive, Handling, Refused, Station};
        let row = |trouble, short, action| Meaning { trouble, short, action };
        match self {
            Self::Mismatch => row(Drive, "reads back wrong", "Pull it: red bin"),
            Self::ReadError => row(Drive, "cannot be read", "Pull it: red bin"),
            Self::WriteError => row(Drive, "cannot be written", "Pull it: red bin"),
            Self::Stalled => row(Drive, "does not answer", "Pull it: red bin"),
            Self::TooSlow => row(Drive, "too slow", "Try one other bay, then red bin"),
            Self::NoMedium => row(Drive, "reports no capacity", "Plug in again, then red bin"),
            Self::Unplugged => row(Handling, "pulled too early", "Plug it in again"),
            Self::OperatorStop => {
                row(Handling, "stopped by an operator", "Retry it, or plug in again")
            }
            Self::StationShutdown => {
                row(Handling, "the station was ended", "Retry it, or plug in again")
            }
            Self::StationInterrupted => {
                row(Handling, "the station was cut off", "Retry it, or plug in again")
            }
            Self::ForeignWrite => row(Station, "something else wrote to it", KEEP),
            Self::BootConfiguration => row(Station, "boot entries came out wrong", KEEP),
            Self::PressFailed => row(Station, "no master could be made", KEEP),
            Self::StoreError => row(Station, "the store has failed", KEEP),
            Self::OutOfMemory => row(Station, "no memory for the job", KEEP),
            Self::InternalError => row(Station, "the station made a mistake", KEEP),
            Self::LedgerUnavailable => row(Station, "no record can be kept", KEEP),
            Self::LedgerTampered => row(Station, "ledger was changed", KEEP),
            Self::UsageUnknown => row(Station, "cannot tell who uses it", KEEP),
            Self::NotArmed => row(Station, "the station is disarmed", "Look at all bays, then arm"),
            Self::NoMedia => row(Station, "no media for it", KEEP),
            Self::MediaAmbiguous => row(Station, "several media, none chosen", KEEP),
            Self::MediaInvalid => row(Station, "the media has a problem", KEEP),
            Self::MediaExpired => row(Station, "the media has expired", KEEP),
            Self::MediaNotYetValid => row(Station, "the media is not yet valid", KEEP),
            Self::MediaUnsigned => row(Station, "the media is not signed", KEEP),
            Self::SignerUnknown => row(Station, "the media's signer: unknown", KEEP),
            Self::MediaRollback => row(Station, "the media is an old version", KEEP),
            Self::OrderAmbiguous => row(Station, "fits several orders", KEEP),
            Self::OrderHeld => row(Station, "its order is held", "Keep the drive. Wait"),
            Self::OrderNotYetValid => {
                row(Station, "its order begins later", "Keep the drive. Wait")
            }
            Self::OrderExpired => row(Station, "its order has expired", KEEP),
            Self::FirstArticlePending => {
                row(Station, "first drives not approved", "Keep the drive. Wait")
            }
            Self::NotBlank => row(Refused, "holds data", "Wrong drive? Ask whose data it is"),
            Self::SystemDisk => row(Refused, "the station runs from it", "Leave it alone"),
            Self::Mounted => row(Refused, "in use: mounted", "Ask who uses it, then retry"),
            Self::InUse => row(Refused, "in use", "Ask who uses it, then retry"),
            Self::DriveChanged => row(Refused, "changed while it was judged", "Plug it in again"),
            Self::DuplicateSerial => {
                row(Refused, "serial number is there twice", "Take one of the two out")
            }
            Self::NoSerial => row(Refused, "no serial number", "Try without an adapter"),
            Self::ReadOnly => row(Refused, "write-protected", "Take the protection off"),
            Self::TooSmall => row(Refused, "too small", "Wrong drive? Use a larger one"),
            Self::TooLarge => row(Refused, "too large", "Wrong drive? Use a smaller one"),
            Self::SizeNotAllowed => row(Refused, "not a capacity for this", WRONG),
            Self::SectorSize => row(Refused, "sectors of another size", WRONG),
            Self::ModelNotAllowed => row(Refused, "not a model for this", WRONG),
            Self::SerialNotAllowed => row(Refused, "serial number not listed", WRONG),
            Self::BusNotAllowed => {
                row(Refused, "not on a bus for this", "Use a bay of the station")
            }
            Self::BayNotAllowed => {
                row(Refused, "not in a bay for this", "Use a bay of the station")
            }
            Self::NoOrder => row(Refused, "belongs to no order", "Right bay? Ask for its order"),
            Self::OrderComplete => {
                row(Refused, "its order is full", "Take it out. Ask for an order")
            }
            Self::AttemptsExhausted => {
                row(Refused, "has failed too often", "Set it aside. Ask the lead")
            }
            Self::Health => row(Refused, "its health is not enough", "Set it aside. Ask the lead"),
            Self::AlreadyPassed => row(Refused, "has passed before", "Take it out: it is good"),
        }
    }
}

/// The drive is not to blame.
const KEEP: &str = "Keep the drive. Call the lead";
/// It is perhaps another drive than somebody thinks.
const WRONG: &str = "Wrong drive? Check the order";

impl Verdict {
    /// The word on a tile.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "PASS",
            Self::Failed => "FAIL",
            Self::Refused => "REFUSED",
            Self::Stopped => "STOPPED",
        }
    }

    /// The sign beside the word, which tells verdicts apart without colours.
    pub fn mark(self) -> char {
        match self {
            Self::Passed => '✓',
            Self::Failed => '✕',
            Self::Refused => '!',
            Self::Stopped => '■',
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The compiler sees to it that there is a row; this, that it says something, and fits.
    #[test]
    fn every_code_has_a_row_that_fits_its_tile() {
        let mut shorts = BTreeMap::new();
        for code in ReasonCode::VARIANTS {
            let Meaning { short, action, .. } = code.at_the_rack();
            let length = |text: &str| text.chars().count();
            assert!((5..=LONGEST_SHORT).contains(&length(short)), "{code}: {short}");
            assert!((8..=LONGEST_ACTION).contains(&length(action)), "{code}: {action}");
            assert!(!short.ends_with('.') && !action.ends_with('.'), "{code}");
            let begins = |text: &str| text.chars().next().unwrap();
            assert!(begins(short).is_lowercase() && begins(action).is_uppercase(), "{code}");
            if let Some(other) = shorts.insert(short, code) {
                panic!("{code} and {other} are told in the same words");
            }
        }
    }

    /// A good drive in the red bin is lost; a bad one that is kept is shipped.
    #[test]
    fn only_a_drive_s_own_trouble_goes_to_the_red_bin() {
        for code in ReasonCode::VARIANTS {
            let Meaning { trouble, action, .. } = code.at_the_rack();
            assert_eq!(action.contains("red bin"), trouble == Trouble::Drive, "{code}: {action}");
            if trouble == Trouble::Station {
                let kept = action.contains("Keep the drive") || *code == ReasonCode::NotArmed;
                assert!(kept, "{code}: {action}");
            }
        }
    }

    /// What the station takes upon itself when it judges is not the drive's trouble here either.
    #[test]
    fn what_lies_with_the_station_is_no_trouble_of_the_drive() {
        for code in ReasonCode::VARIANTS {
            let trouble = code.at_the_rack().trouble;
            if code.lies_with_station() || !code.is_of_drive() {
                assert_ne!(trouble, Trouble::Drive, "{code}");
            }
            if trouble == Trouble::Refused {
                assert!(code.verdicts().contains(&Verdict::Refused), "{code}");
            }
            if trouble == Trouble::Handling {
                assert!(!code.verdicts().contains(&Verdict::Refused), "{code}");
            }
        }
    }
}
