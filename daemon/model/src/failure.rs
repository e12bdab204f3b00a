//! Failures as they are passed on: a code that programs act on, a sentence for people, and a hint how to mend it.
//!
//! The codes are in [`crate::code`]. When an error is turned into a [`Coded`], its causes are written into `detail`, so
//! that they reach the record, the log and the terminal.

use std::error::Error;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::code::{DenialCode, FailureCode, FindingCode, ReasonCode};
use crate::hint::Hint;

/// A failure with its code. In JSON it is `{"code", "detail"}`, with `"hint"` if there is one.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, schemars::JsonSchema,
)]
#[error("{detail}")]
#[schemars(rename = "Coded{C}")]
pub struct Coded<C> {
    /// Stable snake_case code.
    pub code: C,
    /// What happened and what caused it, for a person; one line.
    pub detail: String,
    /// How to mend it, for a person; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Why a drive did not pass.
pub type Reason = Coded<ReasonCode>;
/// Why a drive is not touched: the reason of the verdict `refused`.
pub type Refusal = Reason;
/// A problem or a warning that intake found in media.
pub type Finding = Coded<FindingCode>;
/// Why a worker or the store failed at its task.
pub type Failure = Coded<FailureCode>;
/// Why an operator's request was not carried out.
pub type Denial = Coded<DenialCode>;

impl<C> Coded<C> {
    /// A failure with this detail. Names of files and drives may contain control characters; these are replaced by `?`,
    /// so that a detail cannot forge a log line.
    pub fn new(code: C, detail: impl Into<String>) -> Self {
        Self { code, detail: printable(&detail.into()), hint: None }
    }

    /// A failure whose detail is the error and all its causes.
    pub fn of(code: C, error: &dyn Error) -> Self {
        Self { code, detail: chain(error), hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(printable(&hint.into())), ..self }
    }

    /// Adds the hint of the error, if it has one.
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

/// An error and all its causes on one line, joined by colons.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    printable(&without_errno(&text))
}

/// The system's errors in words only: a number says nothing to who reads it.
fn without_errno(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                words.push_str(rest);
            }
            _ => {
                words.push_str(" (os error ");
                words.push_str(part);
            }
        }
    }
    words
}

fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_system_error_is_not_told() {
        let gone = std::io::Error::from_raw_os_error(2);
        assert_eq!(chain(&gone), "No such file or directory");
        for (text, words) in [
            ("open a: Gone (os error 19): and b (os error 5)", "open a: Gone: and b"),
            ("a file (os error x).wim", "a file (os error x).wim"),
            ("x (os error 2", "x (os error 2"),
        ] {
            assert_eq!(without_errno(text), words);
        }
    }

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
