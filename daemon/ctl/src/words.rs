//! The words for drives: what one is doing, how it ended, and why; with verdicts that are read from two metres away.

use std::time::Duration;

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use super::table::Cell;
use model::api::snapshot::DriveView;
use model::failure::Coded;
use model::job::State;
use model::verdict::Verdict;

/// Passed, ready to use.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Failed, must not be used.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Somebody should look at it.
pub(super) const NOTICE: Style = AnsiColor::Yellow.on_default().bold();

pub(super) fn verdict(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::Passed => ("PASS", GOOD),
        Verdict::Failed => ("FAIL", BAD),
        Verdict::Refused => ("refused", AnsiColor::Yellow.on_default()),
        Verdict::Stopped => ("STOPPED", NOTICE),
    }
}

/// What a drive is doing or how it ended, in a word or two, and why.
pub(super) struct Standing {
    word: &'static str,
    style: Style,
    pub(super) why: String,
}

impl Standing {
    pub(super) fn of(drive: &DriveView) -> Self {
        if let Some(ended) = drive.verdict {
            let (word, style) = verdict(ended);
            return Self { word, style, why: why(drive.reason.as_ref(), &drive.warnings) };
        }
        let word = match drive.state {
            State::WaitingForMaster => "awaits master",
            State::WaitingForMedia => "awaits media",
            State::Judging => "being judged",
            State::Claiming => "starting",
            State::Checking => "being checked",
            State::Erasing => "erasing",
            State::Writing => "writing",
            State::ReadingBack => "reading back",
            State::Committing => "committing",
            State::Refused | State::Passed | State::Failed | State::Stopped => "done",
        };
        Self { word, style: Style::new(), why: String::new() }
    }

    pub(super) fn cell(&self) -> Cell {
        Cell::styled(self.word, self.style)
    }

    /// Both on one line.
    pub(super) fn line(&self) -> String {
        let Self { word, style, why } = self;
        format!("{style}{word}{style:#} {why}").trim_end().to_owned()
    }
}

/// Why a drive did not pass, and what to know about it.
pub(super) fn why<C: Display>(reason: Option<&Coded<C>>, warnings: &[String]) -> String {
    let reason = reason.map(|reason| format!("{}: {}", reason.code, reason.detail));
    let warnings =
        (!warnings.is_empty()).then(|| format!("with warnings: {}", warnings.join("; ")));
    [reason, warnings].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

pub(super) fn duration(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}
