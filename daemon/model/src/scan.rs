//! What a barcode scanner reads: the number of an order, the serial number of a drive, the name of a bay, or a command card.
//!
//! A command card is printed by whoever sets up the station. Its text begins with [`CARD`], so that no serial number and no
//! order is taken for one.

use std::fmt;

/// What the text of a command card begins with.
pub const CARD: &str = "prestaged:";
/// The longest text that is looked at, in characters: labels of drives have no longer ones.
pub const LONGEST: usize = 128;

/// What was scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A command card.
    Card(Card),
    /// The name of something.
    Name(String),
}

/// What a command card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Card {
    /// The name of an order, whatever else is called so.
    Order(String),
    /// A serial number, whatever else is called so.
    Serial(String),
    /// The order that was scanned last is for this bay.
    Bay(String),
    /// What this bay shows of a drive that was pulled is acknowledged.
    Release(String),
    /// The drive in this bay is imaged once more.
    Retry(String),
    /// The drive in this bay is stopped.
    Stop(String),
    /// The orders that were scanned and wait for drives are forgotten.
    Forget,
    /// The station writes to no further drive.
    Disarm,
}

/// A text that no label and no card has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Nothing but spaces.
    #[error("nothing was scanned")]
    Empty,
    /// Longer than [`LONGEST`].
    #[error("what was scanned is longer than {LONGEST} characters")]
    TooLong,
    /// With characters that do not print.
    #[error("what was scanned has characters that do not print: {0}")]
    Control(String),
    /// A card that says nothing known.
    #[error("there is no command card {0:?}")]
    Card(String),
}

impl ScanError {
    /// What would make it right.
    pub fn hint(&self) -> String {
        match self {
            Self::Card(_) => format!("cards are {}", Card::FORMS.join(", ")),
            _ => "scan the number of an order, a serial number, a bay's name or a command card"
                .into(),
        }
    }
}

impl Card {
    /// The texts of cards; words in capitals stand for names.
    pub const FORMS: [&str; 8] = [
        "prestaged:order:NUMBER",
        "prestaged:serial:SERIAL",
        "prestaged:bay:BAY",
        "prestaged:release:BAY",
        "prestaged:retry:BAY",
        "prestaged:stop:BAY",
        "prestaged:forget",
        "prestaged:disarm",
    ];

    fn read(text: &str) -> Option<Self> {
        let (verb, name) = match text.split_once(':') {
            Some((verb, name)) => (verb, Some(name.trim().to_owned())),
            None => (text, None),
        };
        Some(match (verb.to_ascii_lowercase().as_str(), name.filter(|name| !name.is_empty())) {
            ("order", Some(name)) => Self::Order(name),
            ("serial", Some(name)) => Self::Serial(name),
            ("bay", Some(name)) => Self::Bay(name),
            ("release", Some(name)) => Self::Release(name),
            ("retry", Some(name)) => Self::Retry(name),
            ("stop", Some(name)) => Self::Stop(name),
            ("forget", None) if !text.contains(':') => Self::Forget,
            ("disarm", None) if !text.contains(':') => Self::Disarm,
            _ => return None,
        })
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CARD)?;
        match self {
            Self::Order(name) => write!(f, "order:{name}"),
            Self::Serial(name) => write!(f, "serial:{name}"),
            Self::Bay(name) => write!(f, "bay:{name}"),
            Self::Release(name) => write!(f, "release:{name}"),
            Self::Retry(name) => write!(f, "retry:{name}"),
            Self::Stop(name) => write!(f, "stop:{name}"),
            Self::Forget => f.write_str("forget"),
            Self::Disarm => f.write_str("disarm"),
        }
    }
}

impl Scan {
    /// Reads what a scanner has sent. Scanners put spaces round it; which letters are large, a card does not mind.
    ///
    /// # Errors
    /// [`ScanError`]
    pub fn read(text: &str) -> Result<Self, ScanError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ScanError::Empty);
        }
        if text.chars().count() > LONGEST {
            return Err(ScanError::TooLong);
        }
        if text.contains(char::is_control) {
            return Err(ScanError::Control(text.escape_default().to_string()));
        }
        match text.get(..CARD.len()).filter(|head| head.eq_ignore_ascii_case(CARD)) {
            Some(_) => match Card::read(&text[CARD.len()..]) {
                Some(card) => Ok(Self::Card(card)),
                None => Err(ScanError::Card(text.to_owned())),
            },
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Card, LONGEST, Scan, ScanError};

    #[test]
    fn what_scanners_send_is_read() {
        let name = |text: &str| Ok(Scan::Name(text.into()));
        let card = |card| Ok(Scan::Card(card));
        assert_eq!(Scan::read("PO-4711"), name("PO-4711"));
        assert_eq!(Scan::read(" S4EVNX0M\r\n"), name("S4EVNX0M"));
        assert_eq!(Scan::read("prestaged:bay:Row 1, 3"), card(Card::Bay("Row 1, 3".into())));
        assert_eq!(Scan::read("PRESTAGED:DISARM"), card(Card::Disarm));
        assert_eq!(Scan::read("prestaged:serial: a:b "), card(Card::Serial("a:b".into())));
        assert_eq!(Scan::read(" \t"), Err(ScanError::Empty));
        assert_eq!(Scan::read(&"x".repeat(LONGEST + 1)), Err(ScanError::TooLong));
        assert_eq!(Scan::read("a\u{1d}b"), Err(ScanError::Control("a\\u{1d}b".into())));
        for none in ["", "bay", "bay:", "bay: ", "arm", "disarm:", "disarm:now", "forget:3", ":"] {
            let text = format!("prestaged:{none}");
            assert_eq!(Scan::read(&text), Err(ScanError::Card(text.trim().to_owned())), "{text}");
        }
    }

    /// The list that people read has a card of each kind, and each is read back.
    #[test]
    fn every_form_is_a_card() {
        for form in Card::FORMS {
            let Ok(Scan::Card(card)) = Scan::read(form) else { panic!("{form}") };
            assert_eq!(card.to_string(), form);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            match Scan::read(&text) {
                Ok(Scan::Name(name)) => prop_assert_eq!(name, text.trim()),
                Ok(Scan::Card(card)) => prop_assert_eq!(Scan::read(&card.to_string()), Ok(Scan::Card(card))),
                Err(error) => prop_assert!(!error.hint().is_empty()),
            }
        }
    }
}
