//! What values keys take, in the words of messages, and what holds without one.

use super::near;
use model::units::UnitError;

/// What holds where a key is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value, in TOML.
    Value(&'static str),
    /// No value; the text tells what that means.
    Absent(&'static str),
    /// The key must be given.
    Required,
}

impl Fallback {
    /// The text for people, in Markdown.
    pub fn shown(self) -> String {
        match self {
            Self::Value(toml) => format!("`{toml}`"),
            Self::Absent(words) => words.to_owned(),
            Self::Required => "must be given".to_owned(),
        }
    }
}

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Text,
    Path,
    Switch,
    Count,
    /// File permissions in octal, as text.
    Mode,
    Size,
    Rate,
    Share,
    Time,
    Texts,
    Sizes,
    Date,
    /// A table of dates.
    Dates,
    /// A table of offers.
    Offers,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    Table,
    /// A list of tables.
    Tables,
    /// A list of tables with signers.
    Signers,
    /// A list of tables with receivers of events.
    Webhooks,
    /// A list of tables with brokers, which pass events on.
    Brokers,
    PartitionSize,
    /// The attribute bits of a partition, in hexadecimal, as text.
    AttributeBits,
}

impl Kind {
    /// The kind of what such a value holds; itself if it holds nothing.
    pub(crate) fn element(self) -> Self {
        match self {
            Self::Texts => Self::Text,
            Self::Sizes => Self::Size,
            Self::Dates => Self::Date,
            Self::Offers => Self::OneOf(&["automatic", "by_hand", "hidden"]),
            Self::Tables => Self::Table,
            alone => alone,
        }
    }

    /// With its article, as in "is not a size".
    pub(crate) fn noun(self) -> String {
        match self {
            Self::Text => "text",
            Self::Path => "a path",
            Self::Switch => "true or false",
            Self::Count => "a whole number from 0 to 4294967295",
            Self::Mode => "a file mode in octal",
            Self::Size => "a size",
            Self::Rate => "a rate",
            Self::Share => "a share",
            Self::Time => "a length of time",
            Self::Texts => "a list of texts",
            Self::Sizes => "a list of sizes",
            Self::Date => "a date",
            Self::Dates => "a table of dates",
            Self::Offers => "a table of offers",
            Self::OneOf(choices) => {
                let choices: Vec<String> = choices.iter().map(|c| format!("{c:?}")).collect();
                return format!("one of {}", choices.join(", "));
            }
            Self::Table => "a table",
            Self::Tables | Self::Signers | Self::Webhooks | Self::Brokers => "a list of tables",
            Self::PartitionSize => "a partition size",
            Self::AttributeBits => "a set of attribute bits",
        }
        .to_owned()
    }

    /// How to write such a value, for somebody who has written another.
    pub(crate) fn hint(self, written: &str) -> Option<String> {
        let hint = match self {
            Self::Text | Self::Path => "text stands in double quotes",
            Self::Switch => "write true or false, without quotes",
            Self::Count => "write for example 1, without quotes",
            Self::Mode => "write for example \"0660\"",
            Self::Size => UnitError::SIZE,
            Self::Rate => UnitError::RATE,
            Self::Share => UnitError::SHARE,
            Self::Time => UnitError::PERIOD,
            Self::Texts | Self::Sizes if written.starts_with('"') => {
                return Some(format!("write [{written}]"));
            }
            Self::Texts => "write for example [\"one\", \"two\"]",
            Self::Sizes => "write for example [\"512GB\", \"1TB\"]",
            Self::Date => "write for example \"2027-06-30\"",
            Self::Dates => "write for example { \"win11.wim\" = \"2027-06-30\" }",
            Self::Offers => "write for example { \"win11.wim\" = \"by_hand\" }",
            Self::OneOf(choices) => {
                let near = near(written.trim_matches(['"', '\'']), choices)?;
                return Some(format!("did you mean {near:?}?"));
            }
            Self::Table => "write for example { type = \"windows\", size = \"rest\" }",
            Self::Signers => "write [[media.signers]], and its keys on the lines below",
            Self::Webhooks => "write [[gate.webhooks]], and its keys on the lines below",
            Self::Brokers => "write [[gate.brokers]], and its keys on the lines below",
            Self::Tables => "write for example [{ type = \"windows\", size = \"rest\" }]",
            Self::PartitionSize => {
                "write for example \"300MiB\", or \"rest\" for what the other partitions leave"
            }
            Self::AttributeBits => "write for example \"0x8000000000000001\"",
        };
        Some(hint.to_owned())
    }
}
