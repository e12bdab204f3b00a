//! What becomes of the data that a drive held before, where the master writes nothing.
//!
//! Nothing here says that a drive is sanitised: only the places that the drive shows can be overwritten or looked at.

use serde::{Deserialize, Serialize};

use crate::code::WarningCode;
use crate::units::Bytes;

/// What a job does about the space that no chunk of its master covers.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OldDataPolicy {
    /// Tells the drive to discard everything, and looks at samples.
    #[default]
    Discard,
    /// Writes zeros, and reads all of them back.
    Overwrite,
    /// Nothing; looks at samples.
    Leave,
}

/// What has become of the old data.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OldDataFate {
    /// The drive took the discard, and no sampled place holds data.
    Discarded,
    /// Every byte was overwritten with a zero that was read back.
    Overwritten,
    /// It stands where it stood, as far as is known.
    Left,
}

/// What a record says about old data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OldData {
    /// What was asked for: `replicate.old_data`.
    pub policy: OldDataPolicy,
    /// Absent if the job ended before that was known.
    pub fate: Option<OldDataFate>,
    /// Size of the space that no chunk of the master covers. Where it was overwritten these bytes come on top of the
    /// record's written and verified ones, which are the master's.
    pub bytes: Bytes,
    /// How many places of that space were looked at, at random.
    pub sampled_places: u64,
    /// How many of them hold data, or cannot be read. A place that repeats one byte holds none.
    pub places_with_data: u64,
}

impl OldData {
    /// Nothing is known yet of these bytes.
    pub fn new(policy: OldDataPolicy, bytes: Bytes) -> Self {
        Self { policy, fate: None, bytes, sampled_places: 0, places_with_data: 0 }
    }

    /// Counts a place that was looked at.
    pub fn saw(&mut self, place: &[u8]) {
        self.sampled_places += 1;
        self.places_with_data += u64::from(holds_data(place));
    }

    /// Counts a place that could not be read.
    pub fn could_not_see(&mut self) {
        self.sampled_places += 1;
        self.places_with_data += 1;
    }

    /// Draws the conclusion from the samples. Returns a warning if a discard was asked for and has left something.
    pub fn conclude(&mut self, discard: Discard) -> Option<String> {
        let clear = self.places_with_data == 0;
        let gone = discard == Discard::Taken && clear;
        self.fate = Some(if gone { OldDataFate::Discarded } else { OldDataFate::Left });
        let what = match discard {
            Discard::Taken => "the drive took the discard",
            Discard::Refused => "the drive takes no discard",
            Discard::NotAsked => return None,
        };
        (!clear).then(|| {
            WarningCode::OldDataLeft.says(format_args!(
                "{what}, and {} of {} sampled places still hold data",
                self.places_with_data, self.sampled_places
            ))
        })
    }
}

/// What a drive made of the discard of all that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// It took notice, or said so.
    Taken,
    /// It cannot, or not everywhere.
    Refused,
    /// The policy asks for none.
    NotAsked,
}

/// Whether a place holds anything but one byte, repeated: flash that was erased shows zeros or ones.
fn holds_data(place: &[u8]) -> bool {
    place.first().is_some_and(|first| place.iter().any(|byte| byte != first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(places: &[&[u8]]) -> OldData {
        let mut old_data = OldData::new(OldDataPolicy::Discard, Bytes::mib(1));
        places.iter().for_each(|place| old_data.saw(place));
        old_data
    }

    #[test]
    fn only_a_discard_that_left_nothing_has_discarded() {
        let clear: [&[u8]; 2] = [&[0; 8], &[0xff; 8]];
        let left: [&[u8]; 2] = [&[0; 8], &[0, 0, 0, 1]];
        for (places, discard, fate, warns) in [
            (clear, Discard::Taken, OldDataFate::Discarded, false),
            (left, Discard::Taken, OldDataFate::Left, true),
            // Nobody saw data, but nothing was done about it either.
            (clear, Discard::Refused, OldDataFate::Left, false),
            (left, Discard::Refused, OldDataFate::Left, true),
            // Nobody asked for it to go.
            (left, Discard::NotAsked, OldDataFate::Left, false),
        ] {
            let mut old_data = seen(&places);
            let warning = old_data.conclude(discard);
            assert_eq!((old_data.fate, warning.is_some()), (Some(fate), warns), "{discard:?}");
        }
    }

    #[test]
    fn the_warning_has_the_numbers() {
        let warning = seen(&[&[1, 2], &[3, 3], &[4, 5]]).conclude(Discard::Taken).unwrap();
        assert_eq!(
            warning,
            "old_data_left: the drive took the discard, and 2 of 3 sampled places still hold data"
        );
    }
}
