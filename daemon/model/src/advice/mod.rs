//! What to do about each code: one line for the screen, what an operator does, and what an engineer does.
//!
//! The one table of it is the `match` of each enum in the files below, so a new code does not compile without its row.
//! `prestagectl explain`, prestaged-codes(7) and the hints on screen all read it.

mod commands;
mod denials;
mod failures;
mod findings;
mod reasons;
mod warnings;

use serde::Serialize;
use strum::VariantArray;

use crate::code::{CommandCode, DenialCode, FailureCode, FindingCode, ReasonCode, WarningCode};
use crate::failure::{Coded, Reason};
use crate::meaning::Meaning;
use crate::verdict::Verdict;

/// What to do about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Advice {
    /// What to do now, on one line, as a hint. `DRIVE` stands for any name of the drive in question, `DEVICE` for its device.
    #[serde(rename = "what_now")]
    pub now: &'static str,
    /// What whoever stands at the rack does.
    pub operator: &'static str,
    /// What whoever looks after the station can find out and mend.
    pub engineer: &'static str,
}

/// A code that says what to do about it.
pub trait Explained: Copy {
    /// The code's row of the table.
    fn advice(self) -> Advice;
}

impl<C: Explained> Coded<C> {
    /// What to do now: the hint, which knows the case, or else what is right for the code in general.
    pub fn what_now(&self) -> &str {
        self.hint.as_deref().unwrap_or(self.code.advice().now)
    }
}

impl Reason {
    /// The reason when the drive has gone: what was its device is another drive's by now, or soon, so that no command may
    /// name it.
    #[must_use]
    pub fn once_detached(mut self) -> Self {
        self.hint = self.hint.map(|hint| {
            let mut parts = hint.split("/dev/");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| {
                let end = part.find([' ', '`', ',', ';', ')']).unwrap_or(part.len());
                text + "DEVICE" + &part[end..]
            })
        });
        self
    }

    /// What to do now about the drive with this name.
    pub fn what_now_for(&self, drive: &str) -> String {
        match &self.hint {
            Some(hint) => hint.clone(),
            None => self.code.advice().now.replace("DRIVE", drive),
        }
    }
}

/// Where a code is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In the reason of a drive that has not passed.
    Drive,
    /// In the warnings of a record.
    RecordWarning,
    /// Among the problems of media.
    MediaProblem,
    /// Among the warnings of media.
    MediaWarning,
    /// In the failure of a press, an audit, or the store.
    Failure,
    /// In the answer to a request that was not carried out.
    Denial,
    /// In an error of prestagectl itself.
    Command,
}

impl Kind {
    /// Every kind, in the order of [`all`].
    pub const ALL: [Self; 7] = [
        Self::Drive,
        Self::RecordWarning,
        Self::MediaProblem,
        Self::MediaWarning,
        Self::Failure,
        Self::Denial,
        Self::Command,
    ];

    /// What has a code of this kind, in a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Drive => "drive",
            Self::RecordWarning => "warning in a record",
            Self::MediaProblem => "problem of media",
            Self::MediaWarning => "warning about media",
            Self::Failure => "failure",
            Self::Denial => "denied request",
            Self::Command => "error of prestagectl",
        }
    }
}

/// All that is to be said about a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Entry {
    /// The code as it stands on every wire.
    pub code: &'static str,
    /// Where it is met.
    pub kind: Kind,
    /// The verdicts that it goes with; none but for a drive.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub verdicts: &'static [Verdict],
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What it means to whoever stands at the rack; absent but for a drive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_the_rack: Option<Meaning>,
    /// What to do about it.
    #[serde(flatten)]
    pub advice: Advice,
}

/// Every code there is, by kind. Some have one name in several kinds.
pub fn all() -> Vec<Entry> {
    fn of<C: Explained + VariantArray + Into<&'static str>>(
        meaning: impl Fn(C) -> &'static str,
        kind: impl Fn(C) -> Kind,
        verdicts: impl Fn(C) -> &'static [Verdict],
        at_the_rack: impl Fn(C) -> Option<Meaning>,
    ) -> Vec<Entry> {
        let entry = |code: &C| Entry {
            code: (*code).into(),
            kind: kind(*code),
            verdicts: verdicts(*code),
            at_the_rack: at_the_rack(*code),
            meaning: meaning(*code),
            advice: code.advice(),
        };
        C::VARIANTS.iter().map(entry).collect()
    }
    let media = |code: FindingCode| {
        if code.is_warning() { Kind::MediaWarning } else { Kind::MediaProblem }
    };
    [
        of(
            ReasonCode::meaning,
            |_| Kind::Drive,
            ReasonCode::verdicts,
            |code| Some(code.at_the_rack()),
        ),
        of(WarningCode::meaning, |_| Kind::RecordWarning, |_| &[], |_| None),
        of(FindingCode::meaning, media, |_| &[], |_| None),
        of(FailureCode::meaning, |_| Kind::Failure, |_| &[], |_| None),
        of(DenialCode::meaning, |_| Kind::Denial, |_| &[], |_| None),
        of(CommandCode::meaning, |_| Kind::Command, |_| &[], |_| None),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Kind, all};
    use crate::code::ReasonCode;
    use crate::failure::Reason;

    /// Short enough for a line of a narrow screen; a sentence where it is one; nothing that only Rust would print.
    #[test]
    fn every_row_can_be_read() {
        for entry in all() {
            let (code, advice) = (entry.code, entry.advice);
            let now = advice.now;
            assert!((10..=100).contains(&now.chars().count()), "{code}: {now}");
            assert!(!now.ends_with('.') && !now.contains('\n'), "{code}: {now}");
            for text in [entry.meaning, advice.operator, advice.engineer] {
                assert!(text.ends_with('.') && text.len() > 10, "{code}: {text}");
            }
            for text in [entry.meaning, now, advice.operator, advice.engineer] {
                assert_eq!(text.matches('`').count() % 2, 0, "{code}: {text}");
                for debug in ["Some(", "None", "Error(", "Os {", "::", "  ", "\n"] {
                    assert!(!text.contains(debug), "{code}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_code_is_met_once_in_each_kind() {
        let entries = all();
        let names: BTreeSet<_> =
            entries.iter().map(|entry| (entry.kind.word(), entry.code)).collect();
        assert_eq!(names.len(), entries.len());
        let kinds: BTreeSet<_> = names.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, Kind::ALL.map(Kind::word).into());
    }

    #[test]
    fn no_command_names_the_device_of_a_drive_that_has_gone() {
        let reason = Reason::new(ReasonCode::NotBlank, "the drive holds ext4");
        let hinted =
            reason.clone().with_hint("`a -f /dev/sdb`, or `b /dev/disk/by-id/x`; /dev/sdc");
        let hint = hinted.once_detached().hint;
        assert_eq!(hint.as_deref(), Some("`a -f DEVICE`, or `b DEVICE`; DEVICE"));
        assert_eq!(reason.once_detached().hint, None);
    }

    #[test]
    fn a_hint_goes_first_and_a_drive_is_named() {
        let reason = Reason::new(ReasonCode::Mounted, "the drive is mounted at /mnt");
        assert!(reason.what_now_for("S4EV0001").ends_with("`prestagectl retry S4EV0001`"));
        let hinted = reason.with_hint("unmount it");
        assert_eq!(
            (hinted.what_now(), hinted.what_now_for("x")),
            ("unmount it", "unmount it".into())
        );
    }
}
