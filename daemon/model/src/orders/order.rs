//! What an order says.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::hint::Hint;
use crate::label::Template;
use crate::now::Now;
use crate::offer::Offer;
use crate::units::Bytes;

/// The longest text in an order, in characters.
const LONGEST: usize = 100;
/// So many patterns and serial numbers an order may have.
const MOST_LISTED: usize = 100_000;
/// No order is larger.
const MOST_UNITS: u32 = 10_000_000;

/// A production order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Its number, by which everybody calls it.
    pub number: String,
    /// For whom it is.
    #[serde(default)]
    pub customer: Option<String>,
    /// The part that the drives become.
    #[serde(default)]
    pub part: Option<String>,
    /// Digest of the media that its drives get.
    pub media: Digest,
    /// The name of that media, for people.
    #[serde(default)]
    pub media_name: Option<String>,
    /// Index of the image; `media.image` if absent.
    #[serde(default)]
    pub image: Option<u32>,
    /// Name of the layout; the first of the configuration if absent.
    #[serde(default)]
    pub layout: Option<String>,
    /// How many drives are wanted.
    pub quantity: u32,
    /// How many more may be made.
    #[serde(default)]
    pub overrun: u32,
    /// How often a drive may fail before it is refused.
    #[serde(default = "attempts")]
    pub attempts: u32,
    /// After so many drives the order is held until they are approved; 0 for none.
    #[serde(default)]
    pub first_article: u32,
    /// No drive is begun before.
    #[serde(default)]
    pub not_before: Option<Moment>,
    /// No drive is begun after.
    #[serde(default)]
    pub expires: Option<Moment>,
    /// Whether drives belong to it as soon as they are plugged in, or only when somebody says so.
    #[serde(default)]
    pub offer: Offer,
    /// The template of the labels of its drives, in ZPL ([`crate::label`]); the station's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_template: Option<String>,
    /// Which drives belong to it.
    #[serde(default, rename = "match")]
    pub conditions: Conditions,
}

fn attempts() -> u32 {
    Order::ATTEMPTS
}

/// Which drives belong to an order: those for which every condition holds that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Names of bays, or patterns over their paths.
    pub bays: Vec<String>,
    /// Patterns over models.
    pub models: Vec<String>,
    /// Capacities as sold.
    pub sizes: Vec<Bytes>,
    /// Patterns over serial numbers.
    pub serials: Vec<String>,
    /// Serial numbers from a list.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub listed_serials: BTreeSet<String>,
}

/// A moment, or a whole day in the station's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Moment {
    /// All of this day.
    Day(Date),
    /// This moment.
    At(Timestamp),
}

impl Moment {
    /// How a moment is written, as a hint.
    pub const HINT: &str = "write 2027-06-30, or with a time zone 2027-06-30T17:00:00Z";

    /// Whether it has not come yet.
    pub fn is_to_come(self, now: Now) -> bool {
        match self {
            Self::Day(day) => now.clock.day < day,
            Self::At(at) => now.clock.at < at,
        }
    }

    /// Whether it is over.
    pub fn is_over(self, now: Now) -> bool {
        match self {
            Self::Day(day) => now.latest.day > day,
            Self::At(at) => now.latest.at > at,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => write!(f, "{day}"),
            Self::At(at) => write!(f, "{at:.0}"),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

impl FromStr for Moment {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let day = |text: &str| (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten();
        let at = |text: &str| text.parse::<Timestamp>().ok().map(Self::At);
        let wrong = || OrderError::new("", format!("{text:?} is neither a date nor a time"));
        let moment = day(text).map(Self::Day).or_else(|| at(text));
        moment.ok_or_else(|| wrong().with_hint(Self::HINT))
    }
}

impl TryFrom<String> for Moment {
    type Error = OrderError;

    fn try_from(text: String) -> Result<Self, OrderError> {
        text.parse()
    }
}

/// An order that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct OrderError {
    /// The key that is wrong, such as `match.sizes`; empty if it is the whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    hint: Option<String>,
}

impl OrderError {
    /// A mistake in the value of a key.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), hint: None }
    }

    /// The same with what would make it right.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl Hint for OrderError {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl Order {
    /// How often a drive may fail if the order does not say it.
    pub const ATTEMPTS: u32 = 3;

    /// Every number has this form: it stands in paths, in file names and on labels.
    pub fn is_number(text: &str) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+#".contains(c);
        (1..=64).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('.')
    }

    /// Checks all values, alone and beside each other.
    ///
    /// # Errors
    /// The first mistake, with its key.
    pub fn check(&self) -> Result<(), OrderError> {
        let wrong = |key: &str, what: String| Err(OrderError::new(key, what));
        if !Self::is_number(&self.number) {
            let what = format!("{:?} is not a number of an order", self.number);
            let hint = "write 1 to 64 letters, digits, and - _ . + #, without spaces";
            return Err(OrderError::new("number", what).with_hint(hint));
        }
        let texts = [
            ("customer", &self.customer),
            ("part", &self.part),
            ("media_name", &self.media_name),
            ("layout", &self.layout),
        ];
        for (key, text) in texts {
            let Some(text) = text else { continue };
            if text.trim().is_empty() {
                return wrong(key, "it is blank".into());
            }
            if text.contains(char::is_control) {
                return wrong(key, "it has control characters".into());
            }
            if text.chars().count() > LONGEST {
                return wrong(key, format!("it is longer than {LONGEST} characters"));
            }
        }
        if self.image == Some(0) {
            return wrong("image", "images are counted from 1".into());
        }
        for (key, count, least) in [
            ("quantity", self.quantity, 1),
            ("overrun", self.overrun, 0),
            ("attempts", self.attempts, 1),
            ("first_article", self.first_article, 0),
        ] {
            if count < least {
                return wrong(key, format!("{count} is too few; write {least} or more"));
            }
            if count > MOST_UNITS {
                return wrong(key, format!("{count} is too many"));
            }
        }
        if self.first_article > self.quantity {
            let what = format!("{} are more than the quantity", self.first_article);
            return wrong("first_article", what);
        }
        self.check_times()?;
        self.check_label()?;
        self.conditions.check()
    }

    /// Now, and not when the first drive is in somebody's hand.
    fn check_label(&self) -> Result<(), OrderError> {
        let Some(text) = &self.label_template else { return Ok(()) };
        let wrong = |what| OrderError::new("label_template", what);
        if text.trim().is_empty() {
            return Err(wrong("it is blank".into()));
        }
        text.parse::<Template>().map(drop).map_err(|error| {
            let wrong = wrong(error.to_string());
            OrderError { hint: error.hint(), ..wrong }
        })
    }

    fn check_times(&self) -> Result<(), OrderError> {
        let (Some(from), Some(to)) = (self.not_before, self.expires) else { return Ok(()) };
        let never = match (from, to) {
            (Moment::Day(from), Moment::Day(to)) => from > to,
            (Moment::At(from), Moment::At(to)) => from >= to,
            // Which comes first depends on the station's time zone.
            _ => false,
        };
        if never {
            let what = format!("{to} is before not_before, {from}");
            return Err(OrderError::new("expires", what));
        }
        Ok(())
    }
}

impl Conditions {
    fn check(&self) -> Result<(), OrderError> {
        let patterns = [
            ("match.bays", &self.bays),
            ("match.models", &self.models),
            ("match.serials", &self.serials),
        ];
        for (key, list) in patterns {
            for text in list {
                if text.trim().is_empty() {
                    return Err(OrderError::new(key, "an empty pattern matches no drive"));
                }
                glob::Pattern::new(text).map_err(|error| {
                    let what = format!("{text:?} is not a glob pattern: {}", error.msg);
                    let hint = "* stands for any text, ? for one character, [ab] for a or b";
                    OrderError::new(key, what).with_hint(hint)
                })?;
            }
            if list.len() > MOST_LISTED {
                return Err(OrderError::new(key, "the list is too long"));
            }
        }
        if self.listed_serials.len() > MOST_LISTED {
            let what = format!("more than {MOST_LISTED} serial numbers");
            return Err(OrderError::new("match.serials", what));
        }
        match self.sizes.iter().find(|size| size.0 < 1 << 20) {
            Some(size) => {
                let what = format!("no drive has {} bytes", size.0);
                Err(OrderError::new("match.sizes", what).with_hint("write for example \"512GB\""))
            }
            None => Ok(()),
        }
    }
}
