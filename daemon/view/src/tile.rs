//! A tile for each bay: what is in it, in one word, why, and what to do.

use jiff::Timestamp;
use model::api::snapshot::{BayHistory, DepartedView, DriveView, Snapshot};
use model::code::ReasonCode;
use model::job::State;
use model::meaning::{Meaning, Trouble};
use model::verdict::Verdict;
use strum::{Display, IntoStaticStr, VariantArray};

/// How an action begins that has been done with a drive that is not there any more.
const PULL: &str = "Pull it: ";

/// What a bay shows. In the order in which it needs somebody.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray, Display, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Light {
    /// The drive is not good, or the station could not image it.
    Failed,
    /// The job was ended early: the drive is neither good nor bad.
    Stopped,
    /// The station does not touch the drive.
    Refused,
    /// The drive is good and may be taken out.
    Passed,
    /// The drive is being judged or imaged, or waits for that.
    Running,
    /// No drive is in the bay.
    Empty,
}

impl Light {
    /// What a drive's bay shows.
    pub fn of(drive: &DriveView) -> Self {
        match drive.verdict {
            None => Self::Running,
            Some(Verdict::Passed) => Self::Passed,
            Some(Verdict::Failed) => Self::Failed,
            Some(Verdict::Stopped) => Self::Stopped,
            Some(Verdict::Refused) if has_passed_before(drive) => Self::Passed,
            Some(Verdict::Refused) => Self::Refused,
        }
    }

    /// The sign beside the word, which tells lights apart without colours.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Failed => "✕",
            Self::Stopped => "■",
            Self::Refused => "!",
            Self::Passed => "✓",
            Self::Running | Self::Empty => "",
        }
    }
}

/// Whether a drive is refused because it holds what it would get: it has passed in an earlier insertion.
pub fn has_passed_before(drive: &DriveView) -> bool {
    drive.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::AlreadyPassed)
}

/// What a drive is doing or how it ended, in a word that is read from two metres away.
pub fn word(drive: &DriveView) -> &'static str {
    if has_passed_before(drive) {
        return Verdict::Passed.word();
    }
    match (drive.verdict, drive.state) {
        (Some(verdict), _) => verdict.word(),
        (None, State::Judging) => "LOOKING",
        (None, State::WaitingForMedia | State::WaitingForMaster) => "WAITS",
        (None, State::Claiming) => "START",
        (None, State::Checking) => "CHECK",
        (None, State::Erasing) => "ERASE",
        (None, State::Writing) => "WRITE",
        (None, State::ReadingBack) => "READ BACK",
        (None, State::Committing) => "FINISH",
        // Cannot be: these states come with a verdict.
        (None, State::Refused | State::Passed | State::Failed | State::Stopped) => "DONE",
    }
}

/// One place for a drive.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// Its name; without one, the path of the place.
    pub bay: &'a str,
    #[expect(missing_docs, reason = "the name says it")]
    pub content: Content<'a>,
    /// How the last jobs in it have ended, if there were any.
    pub history: Option<&'a BayHistory>,
    /// Until when somebody looks for it, if somebody does.
    pub located: Option<Timestamp>,
}

/// What is in a bay.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// No drive.
    Empty,
    /// A drive.
    Drive(&'a DriveView),
    /// No drive; the verdict of the last one is still shown.
    Departed(&'a DepartedView),
}

impl<'a> Tile<'a> {
    #[expect(missing_docs, reason = "the name says it")]
    pub fn light(&self) -> Light {
        self.drive().map_or(Light::Empty, Light::of)
    }

    /// The word that it shows.
    pub fn word(&self) -> &'static str {
        self.drive().map_or("empty", word)
    }

    /// What the code of its drive's reason means, where there is one and the drive is not good all the same.
    pub fn meaning(&self) -> Option<Meaning> {
        self.drive()?.reason.as_ref().map(|reason| reason.code.at_the_rack())
    }

    /// Whose trouble it is, where there is some.
    pub fn trouble(&self) -> Option<Trouble> {
        self.meaning().map(|meaning| meaning.trouble).filter(|_| self.light() != Light::Passed)
    }

    /// What to do now; nothing where there is nothing to do.
    pub fn action(&self) -> &'static str {
        match (self.light(), self.meaning()) {
            (Light::Running | Light::Empty, _) => "",
            (Light::Passed, _) if self.pulled().is_some() => "",
            (Light::Passed, None) => "Take it out",
            (_, Some(Meaning { action, .. })) if self.pulled().is_some() => {
                action.strip_prefix(PULL).unwrap_or(action)
            }
            (_, Some(meaning)) => meaning.action,
            (_, None) => "Call the lead",
        }
    }

    /// Since when nothing but a verdict is there: the drive was pulled.
    pub fn pulled(&self) -> Option<Timestamp> {
        match self.content {
            Content::Departed(view) => Some(view.since),
            Content::Empty | Content::Drive(_) => None,
        }
    }

    /// Whether somebody has to come: to take a drive out, or to say that a failure was seen.
    pub fn needs_hands(&self) -> bool {
        match self.content {
            Content::Empty => false,
            Content::Drive(drive) => drive.verdict.is_some(),
            Content::Departed(view) => view.drive.verdict == Some(Verdict::Failed),
        }
    }

    /// Whether somebody looks for it.
    pub fn is_located(&self, now: Timestamp) -> bool {
        self.located.is_some_and(|until| now < until)
    }

    /// Whether both are the same place, with the same drive.
    pub fn is(&self, other: &Self) -> bool {
        let node = |tile: &Self| tile.drive().map(|drive| &drive.device);
        self.bay == other.bay && node(self) == node(other)
    }

    /// The drive that is in the bay, or was in it last.
    pub fn drive(&self) -> Option<&'a DriveView> {
        match self.content {
            Content::Empty => None,
            Content::Drive(drive) => Some(drive),
            Content::Departed(view) => Some(&view.drive),
        }
    }
}

/// All bays: those that have names in the configuration's order, then the other places with drives in them, by their
/// paths. A bay whose pattern matches several places has a tile for each drive.
pub fn tiles(snapshot: &Snapshot) -> Vec<Tile<'_>> {
    let mut tiles = Vec::new();
    let tile = |bay, content| Tile {
        bay,
        content,
        history: history(snapshot, bay),
        located: located(snapshot, bay),
    };
    for bay in &snapshot.bays {
        let contents = contents(snapshot, &bay.name);
        let shown = if contents.is_empty() { vec![Content::Empty] } else { contents };
        tiles.extend(shown.into_iter().map(|content| tile(&*bay.name, content)));
    }
    let named = |bay: &str| snapshot.bays.iter().any(|named| named.name == bay);
    let drives = snapshot.drives.iter().map(|drive| drive.bay.0.as_str());
    let departed = latched(snapshot).map(|view| view.drive.bay.0.as_str());
    let mut others: Vec<&str> = drives.chain(departed).filter(|bay| !named(bay)).collect();
    others.sort_unstable_by(|a, b| natural(a).cmp(&natural(b)));
    others.dedup();
    for bay in others {
        let contents = contents(snapshot, bay);
        tiles.extend(contents.into_iter().map(|content| tile(bay, content)));
    }
    tiles
}

fn history<'a>(snapshot: &'a Snapshot, bay: &str) -> Option<&'a BayHistory> {
    snapshot.history.iter().find(|history| history.bay.0 == bay)
}

fn located(snapshot: &Snapshot, bay: &str) -> Option<Timestamp> {
    snapshot.located.iter().find(|view| view.bay.0 == bay).map(|view| view.until)
}

/// The verdicts that bays go on showing.
fn latched(snapshot: &Snapshot) -> impl Iterator<Item = &DepartedView> {
    snapshot.departed.iter().filter(|view| !view.followed)
}

fn contents<'a>(snapshot: &'a Snapshot, bay: &str) -> Vec<Content<'a>> {
    let drives = snapshot.drives.iter().filter(|drive| drive.bay.0 == bay);
    let drives: Vec<Content<'_>> = drives.map(Content::Drive).collect();
    if !drives.is_empty() {
        return drives;
    }
    let departed = latched(snapshot).filter(|view| view.drive.bay.0 == bay);
    departed.map(Content::Departed).collect()
}

/// How often each light is shown, in their order; lights that no bay shows are left out.
pub fn count<'a>(tiles: impl IntoIterator<Item = &'a Tile<'a>>) -> Vec<(Light, usize)> {
    let lights: Vec<Light> = tiles.into_iter().map(Tile::light).collect();
    let of = |light: &Light| (*light, lights.iter().filter(|shown| *shown == light).count());
    Light::VARIANTS.iter().map(of).filter(|(_, count)| *count > 0).collect()
}

/// Texts in the order that people expect: `bay 9` comes before `bay 10`.
fn natural(text: &str) -> Vec<(&str, u64)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, next) = tail.split_at(end);
        parts.push((word, number.parse().unwrap_or(u64::MAX)));
        rest = next;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::snapshot::BayView;
    use model::failure::Reason;

    use crate::fixture::{departed, drive};

    #[test]
    fn every_bay_has_its_tile_in_the_order_of_the_configuration() {
        let bay = |name: &str| BayView { name: name.into(), path: "pci-*".into() };
        let passed = drive("two", Some(Verdict::Passed));
        let snapshot = Snapshot {
            bays: ["two", "one", "ten"].map(bay).into(),
            drives: vec![
                drive("pci-10", None),
                drive("one", Some(Verdict::Failed)),
                drive("pci-9", None),
                drive("one", None),
            ],
            departed: vec![departed(passed)],
            ..Snapshot::default()
        };
        let tiles = tiles(&snapshot);
        let shown: Vec<_> = tiles.iter().map(|tile| (tile.bay, tile.light())).collect();
        let expected = [
            ("two", Light::Passed),
            ("one", Light::Failed),
            ("one", Light::Running),
            ("ten", Light::Empty),
            ("pci-9", Light::Running),
            ("pci-10", Light::Running),
        ];
        assert_eq!(shown, expected);
        let counts =
            [(Light::Failed, 1), (Light::Passed, 1), (Light::Running, 3), (Light::Empty, 1)];
        assert_eq!(count(&tiles), counts);
    }

    #[test]
    fn only_a_drive_that_has_passed_is_shown_as_passed() {
        let refused = |code| DriveView {
            reason: Some(Reason::new(code, "x")),
            ..drive("a", Some(Verdict::Refused))
        };
        for code in ReasonCode::VARIANTS.iter().copied() {
            let light = Light::of(&refused(code));
            assert_eq!(light == Light::Passed, code == ReasonCode::AlreadyPassed, "{code}");
        }
        assert_eq!(Light::of(&drive("a", None)), Light::Running);
    }

    #[test]
    fn a_tile_says_what_to_do_wherever_it_has_a_verdict() {
        for code in ReasonCode::VARIANTS.iter().copied() {
            for verdict in code.verdicts().iter().copied() {
                let drive =
                    DriveView { reason: Some(Reason::new(code, "x")), ..drive("a", Some(verdict)) };
                let content = Content::Drive(&drive);
                let tile = Tile { bay: "a", content, history: None, located: None };
                assert!(!tile.action().is_empty() && tile.needs_hands(), "{code}");
                assert_eq!(tile.trouble().is_none(), code == ReasonCode::AlreadyPassed, "{code}");
                assert!(!tile.light().mark().is_empty(), "{code}");
            }
        }
        let running = drive("a", None);
        let content = Content::Drive(&running);
        let tile = Tile { bay: "a", content, history: None, located: None };
        assert_eq!((tile.action(), tile.needs_hands()), ("", false));
    }

    /// A verdict of the drive before must not stand on the bay of a new one, nor come back when that is pulled.
    #[test]
    fn what_another_drive_has_followed_is_on_no_tile() {
        let failed = departed(drive("one", Some(Verdict::Failed)));
        let followed = DepartedView { followed: true, ..failed.clone() };
        let of = |view: DepartedView| {
            let snapshot = Snapshot { departed: vec![view], ..Snapshot::default() };
            tiles(&snapshot).len()
        };
        assert_eq!((of(failed), of(followed)), (1, 0));
    }
}
