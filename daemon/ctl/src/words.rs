//! The words for drives: what one is doing, how it ended, and why; with verdicts that are read from two metres away.

pub(super) use model::words::plural;
use std::time::Duration;

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::table::Cell;
use model::api::snapshot::{DepartedView, DriveView, Snapshot};
use model::failure::Coded;
use model::job::State;
use model::meaning::Trouble;
use model::units::ByteRate;
use model::verdict::Verdict;
use view::rack::Rack;
use view::tile::{self, Content, Light, Tile};

/// Passed, ready to use.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Failed, must not be used.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Somebody should look at it.
pub(super) const NOTICE: Style = AnsiColor::Yellow.on_default().bold();

/// The station's own trouble: the drive is kept.
pub(super) const STATION: Style = AnsiColor::Cyan.on_default().bold();

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
    /// What to do now, where somebody must do something: for this case, and at the rack in a few words.
    now: Option<(String, String)>,
}

impl Standing {
    /// The standing of what a bay shows.
    pub(super) fn of_tile(tile: &Tile<'_>) -> Self {
        match tile.content {
            Content::Empty => Self::plain("empty", Style::new().dimmed(), String::new()),
            Content::Drive(drive) => Self::of(drive),
            Content::Departed(DepartedView { drive, since, .. }) => {
                let standing = Self::of(drive);
                let pulled = format!("pulled at {}", clock(*since));
                let after = |text: &str| match text {
                    "" => pulled.clone(),
                    text => format!("{pulled}; {text}"),
                };
                let now = standing.now.as_ref().map(|(now, short)| (now.clone(), after(short)));
                Self { why: after(&standing.why), now, ..standing }
            }
        }
    }

    pub(super) fn of(drive: &DriveView) -> Self {
        if tile::has_passed_before(drive) {
            let detail = drive.reason.as_ref().map(|reason| reason.detail.clone());
            return Self::plain("PASS earlier", GOOD, detail.unwrap_or_default());
        }
        if let Some(ended) = drive.verdict {
            let (word, style) = verdict(ended);
            let meaning = drive.reason.as_ref().map(|reason| reason.code.at_the_rack());
            let lies_with_station =
                meaning.is_some_and(|meaning| meaning.trouble == Trouble::Station);
            let style = if lies_with_station { STATION } else { style };
            let now = drive.reason.as_ref().zip(meaning).map(|(reason, meaning)| {
                let whose = if lies_with_station { "station: " } else { "" };
                (reason.what_now_for(drive.name()), format!("{whose}{}", meaning.line()))
            });
            let why = why(drive.reason.as_ref(), &drive.warnings);
            return Self { now, ..Self::plain(word, style, why) };
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
        Self::plain(word, Style::new(), String::new())
    }

    fn plain(word: &'static str, style: Style, why: String) -> Self {
        Self { word, style, why, now: None }
    }

    /// Why. In a pipe, where each row stands for itself, also what to do now; a terminal has that below the table.
    pub(super) fn row(&self, terminal: Option<usize>) -> String {
        match &self.now {
            Some((now, _)) if terminal.is_none() => format!("{}; hint: {now}", self.why),
            _ => self.why.clone(),
        }
    }

    /// What to do now, where somebody must do something.
    pub(super) fn now(&self) -> Option<&str> {
        self.now.as_ref().map(|(now, _)| now.as_str())
    }

    /// What to do now, for a line that is short; why, where nothing is to be done.
    pub(super) fn in_short(&self) -> &str {
        self.now.as_ref().map_or(&self.why, |(_, short)| short)
    }

    pub(super) fn cell(&self) -> Cell {
        Cell::styled(self.word, self.style)
    }

    /// The word, for a screen that is read from two metres away: a verdict is a block of its colour.
    pub(super) fn block(&self) -> Cell {
        match self.style.get_fg_color() {
            Some(colour) if self.style != Style::new() => {
                let block = Style::new().fg_color(Some(AnsiColor::Black.into()));
                Cell::styled(format!(" {} ", self.word), block.bg_color(Some(colour)).bold())
            }
            _ => Cell::styled(format!(" {}", self.word), self.style),
        }
    }

    /// Both on one line.
    pub(super) fn line(&self) -> String {
        let Self { word, style, why, .. } = self;
        format!("{style}{word}{style:#} {why}").trim_end().to_owned()
    }
}

/// The order of a drive, and which attempt for it this is, if it is not the first: `PO-4711, attempt 2`.
pub(super) fn order(drive: &DriveView) -> Option<String> {
    let number = drive.order.as_ref()?;
    Some(match drive.order_attempt {
        Some(attempt) if attempt > 1 => format!("{number}, attempt {attempt}"),
        _ => number.clone(),
    })
}

/// Whether the station writes to drives.
pub(super) fn station(snapshot: &Snapshot) -> (&'static str, Style) {
    match (snapshot.draining, snapshot.armed) {
        (true, _) => ("ending: no new drives", NOTICE),
        (false, true) => ("ARMED", NOTICE),
        (false, false) => ("disarmed: watches and reports, writes to nothing", Style::new()),
    }
}

/// How far a drive has come, and how fast it goes on.
#[derive(Debug, Default)]
pub(super) struct Going {
    pub(super) done: Option<String>,
    pub(super) left: Option<String>,
    pub(super) rate: Option<ByteRate>,
}

impl Going {
    /// Nothing is said of a drive that has not been begun, and no rate of one that stands still.
    pub(super) fn of(drive: Option<&DriveView>) -> Self {
        let Some(drive) = drive else { return Self::default() };
        let under_way = drive.verdict.is_none();
        let done = (under_way || drive.percent > 0.0).then(|| format!("{:.0}%", drive.percent));
        let rate = drive.bytes_per_second.filter(|rate| under_way && *rate > ByteRate(0));
        let left = drive.eta_seconds.filter(|_| rate.is_some());
        Self { done, left: left.map(|left| duration(Duration::from_secs(left))), rate }
    }
}

/// How many bays show what: `2 FAIL, 1 refused, 3 running, 18 empty`.
pub(super) fn counts(counts: &[(Light, usize)]) -> String {
    let count = |(light, count): &(Light, usize)| {
        let (word, style) = light_word(*light);
        format!("{style}{count} {word}{style:#}")
    };
    counts.iter().map(count).collect::<Vec<_>>().join(", ")
}

/// What is to be said of the rack beside its bays: failures that nobody has acknowledged, bays that are suspect, orders that
/// wait for drives.
pub(super) fn remarks(rack: &Rack<'_>) -> Vec<String> {
    let unseen = rack.unseen().into_iter().map(|DepartedView { drive, .. }| {
        let name = drive.name();
        let acknowledge = format!("`prestagectl release {name}` once it is in the red bin");
        format!("{name} has failed in {}, and nobody has acknowledged it: {acknowledge}", drive.bay)
    });
    unseen.chain(rack.suspicions()).chain(rack.scanned()).chain(rack.clocks()).collect()
}

fn light_word(light: Light) -> (&'static str, Style) {
    match light {
        Light::Failed => verdict(Verdict::Failed),
        Light::Stopped => verdict(Verdict::Stopped),
        Light::Refused => verdict(Verdict::Refused),
        Light::Passed => verdict(Verdict::Passed),
        Light::Running => ("running", Style::new()),
        Light::Empty => ("empty", Style::new().dimmed()),
    }
}

/// A time of the day here.
pub(super) fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
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
