//! Whose signatures count under media, and lists of them that take the place of an earlier list.

use glob::Pattern;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hint::Hint;
use crate::units::Bytes;

/// The type of what is signed as a list of signers.
pub const SIGNERS_TYPE: &str = "application/vnd.prestaged.signers.v1+json";
/// No list is longer, as an envelope.
pub const LARGEST_LIST: Bytes = Bytes::mib(1);

/// Somebody whose signature under media counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ListedSigner {
    pub name: String,
    /// The public key, as PEM.
    pub key: String,
    /// Patterns for the products that it may vouch for; all if there are none.
    #[serde(default)]
    pub products: Vec<String>,
    /// How many of those who may vouch for one of these products must do so.
    #[serde(default = "one")]
    pub threshold: u32,
}

fn one() -> u32 {
    1
}

/// A list of signers, as it is signed. It takes the place of the list before it, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SignerList {
    /// Counted from 1: the list that takes the place of the configuration's signers.
    pub number: u64,
    pub created: Timestamp,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub signers: Vec<ListedSigner>,
}

/// A list of signers that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ListMistake {
    #[error("it is no list of signers")]
    Json(#[from] serde_json::Error),
    #[error("lists are counted from 1")]
    Number,
    #[error("it names nobody, so that no signature would be asked for")]
    Empty,
    #[error("{0:?} is not a name")]
    Name(String),
    #[error("two signers have the name {0:?}")]
    Twice(String),
    #[error("{name}: {pattern:?} is not a pattern")]
    Pattern {
        name: String,
        pattern: String,
        #[source]
        source: glob::PatternError,
    },
    #[error("{name}: {threshold} of {most} signers cannot be met")]
    Threshold { name: String, threshold: u32, most: u32 },
}

impl Hint for ListMistake {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Json(_) => "make it with `prestagectl key list`".into(),
            Self::Number => {
                "give the first list the number 1, and each further one the next".into()
            }
            Self::Empty => {
                "write a table [[media.signers]] for each signer, as in the configuration".into()
            }
            Self::Name(_) | Self::Twice(_) => {
                "give each signer a name of its own, on one line".into()
            }
            Self::Pattern { .. } => "write a glob pattern such as acme-*".into(),
            Self::Threshold { most, .. } => format!("write 1 to {most}"),
        })
    }
}

impl SignerList {
    /// Reads what was signed.
    ///
    /// # Errors
    /// [`ListMistake`]
    pub fn parse(payload: &[u8]) -> Result<Self, ListMistake> {
        let list: Self = serde_json::from_slice(payload)?;
        list.check()?;
        Ok(list)
    }

    /// Checks what can be known without the keys.
    ///
    /// # Errors
    /// The first [`ListMistake`].
    pub fn check(&self) -> Result<(), ListMistake> {
        if self.number == 0 {
            return Err(ListMistake::Number);
        }
        if self.signers.is_empty() {
            return Err(ListMistake::Empty);
        }
        let most = u32::try_from(self.signers.len()).unwrap_or(u32::MAX);
        for (at, signer) in self.signers.iter().enumerate() {
            let name = || signer.name.clone();
            if signer.name.trim().is_empty() || signer.name.contains(char::is_control) {
                return Err(ListMistake::Name(name()));
            }
            if self.signers[..at].iter().any(|other| other.name == signer.name) {
                return Err(ListMistake::Twice(name()));
            }
            for text in &signer.products {
                let (name, pattern) = (name(), text.clone());
                let wrong = |source| ListMistake::Pattern { name, pattern, source };
                Pattern::new(text).map_err(wrong)?;
            }
            if !(1..=most).contains(&signer.threshold) {
                let (name, threshold) = (name(), signer.threshold);
                return Err(ListMistake::Threshold { name, threshold, most });
            }
        }
        Ok(())
    }
}
