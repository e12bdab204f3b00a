//! What went wrong: with a code that programs act on, a sentence for people, and what would make it right.
//!
//! The codes are in [`crate::code`]. An error that becomes a [`Coded`] says its causes in `detail`, so that nothing is
//! lost on the way to a record, a log or a terminal.

use std::error::Error;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::code::{DenialCode, FailureCode, FindingCode, ReasonCode};

/// What went wrong. On the wire `{"code", "detail"}`, and `"hint"` where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Coded<C> {
    /// Stable snake_case code.
    pub code: C,
    /// For a person: what happened, with its causes. One line.
    pub detail: String,
    /// For a person: what would make it right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Why a drive did not pass.
pub type Reason = Coded<ReasonCode>;
/// Why a drive is not touched: the reason of a verdict "refused".
pub type Refusal = Reason;
/// A problem or a warning that intake found in media.
pub type Finding = Coded<FindingCode>;
/// Why a worker or the store could not do its task.
pub type Failure = Coded<FailureCode>;
/// Why a request of an operator was not carried out.
pub type Denial = Coded<DenialCode>;

impl<C> Coded<C> {
    /// Control characters, which names of files and drives may hold, become `?`: a detail cannot forge a log line.
    pub fn new(code: C, detail: impl Into<String>) -> Self {
        Self { code, detail: printable(&detail.into()), hint: None }
    }

    /// An error with all its causes as the detail.
    pub fn of(code: C, error: &dyn Error) -> Self {
        Self { code, detail: chain(error), hint: None }
    }

    /// Adds what would make it right.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(printable(&hint.into())), ..self }
    }

    /// Adds what would make it right, where that is known.
    #[must_use]
    pub fn with_hint_of(self, error: &impl Hint) -> Self {
        match error.hint() {
            Some(hint) => self.with_hint(hint),
            None => self,
        }
    }
}

impl<C: Display> Coded<C> {
    /// Code and detail as one sentence.
    pub fn sentence(&self) -> String {
        format!("{}: {}", self.code, self.detail)
    }
}

/// An error that may know what would make it right. Its `Display` says only what happened, so that its cause can follow
/// it; the hint stands on a line of its own.
pub trait Hint: Error {
    /// What would make it right, as one or more sentences.
    fn hint(&self) -> Option<String>;
}

/// An error and what caused it, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    printable(&text)
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_names_every_cause_and_forges_no_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("open {0}")]
        struct Open(&'static str, #[source] std::io::Error);
        let error = Open("a\nb.wim", std::io::Error::other("no"));
        let failure = Failure::of(FailureCode::MediaUnreadable, &error).with_hint("rename\tit");
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(
            text,
            r#"{"code":"media_unreadable","detail":"open a?b.wim: no","hint":"rename?it"}"#
        );
        let plain: Failure = serde_json::from_str(r#"{"code":"cancelled","detail":"x"}"#).unwrap();
        assert_eq!(plain.sentence(), "cancelled: x");
    }
}
