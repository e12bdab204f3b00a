//! The size of a partition as an operator writes it.

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// The size of a partition in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// This size, rounded up to whole mebibytes.
    Fixed(Bytes),
    /// The space that the other partitions leave.
    Rest,
}

impl Serialize for Extent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => size.serialize(to),
            Self::Rest => to.serialize_str("rest"),
        }
    }
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            Number(u64),
            Words(String),
        }
        match Text::deserialize(from)? {
            Text::Number(bytes) => Ok(Self::Fixed(Bytes(bytes))),
            Text::Words(text) if text == "rest" => Ok(Self::Rest),
            Text::Words(text) => text
                .parse()
                .map(Self::Fixed)
                .map_err(|_| serde::de::Error::custom(format!("{text:?} is not a partition size"))),
        }
    }
}
