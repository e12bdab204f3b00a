//! Who has asked for something, and what somebody has consented to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The user at the other end of the control socket, as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Operator {
    pub uid: u32,
    /// The user's name; absent if this machine knows none for the number.
    pub name: Option<String>,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// Somebody's consent that what one drive holds is lost. It is good for one attempt at the drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Consent {
    /// Why the data may go, in the operator's words.
    pub reason: String,
    /// Who has consented.
    pub user: String,
    /// The number of that user.
    pub uid: u32,
    /// What the drive held when it was looked at for the last time; absent if there was nothing to consent to.
    #[serde(default)]
    pub held: Option<String>,
}

/// The longest reason that is kept, in characters.
pub const LONGEST_REASON: usize = 500;

/// A reason that says nothing, or too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReason {
    /// Nothing but spaces.
    #[error("the reason is empty; say why the data may go")]
    Empty,
    /// Longer than [`LONGEST_REASON`].
    #[error("the reason is longer than {LONGEST_REASON} characters")]
    TooLong,
}

impl Consent {
    /// An operator's consent.
    ///
    /// # Errors
    /// [`NoReason`] if the reason is none.
    pub fn new(reason: &str, by: &Operator) -> Result<Self, NoReason> {
        let reason = reason.trim().replace(char::is_control, "?");
        if reason.is_empty() {
            return Err(NoReason::Empty);
        }
        if reason.chars().count() > LONGEST_REASON {
            return Err(NoReason::TooLong);
        }
        Ok(Self { reason, user: by.to_string(), uid: by.uid, held: None })
    }
}

#[cfg(test)]
mod tests {
    use super::{Consent, LONGEST_REASON, NoReason, Operator};

    #[test]
    fn a_consent_has_a_reason_and_a_name() {
        let anna = Operator { uid: 1000, name: Some("anna".into()) };
        let consent = Consent::new(" returned lease,\nwiped list 7 ", &anna).unwrap();
        assert_eq!(
            serde_json::to_string(&consent).unwrap(),
            r#"{"reason":"returned lease,?wiped list 7","user":"anna","uid":1000,"held":null}"#
        );
        let nobody = Operator { uid: 1001, name: None };
        assert_eq!(Consent::new("x", &nobody).unwrap().user, "uid 1001");
        assert_eq!(Consent::new(" \n", &anna), Err(NoReason::Empty));
        let long = "x".repeat(LONGEST_REASON + 1);
        assert_eq!(Consent::new(&long, &anna), Err(NoReason::TooLong));
    }
}
