//! The rack as its operator sees it: a tile for each bay, in the configuration's order, and what it shows in one word.
//!
//! Made from a snapshot; views only lay it out, and none computes a verdict of its own.

use strum::VariantArray;

use crate::api::snapshot::{DepartedView, DriveView, Snapshot};
use crate::code::ReasonCode;
use crate::verdict::Verdict;

/// What a bay shows. In the order in which it needs somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
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
}

/// Whether a drive is refused because it holds what it would get: it has passed in an earlier insertion.
pub fn has_passed_before(drive: &DriveView) -> bool {
    drive.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::AlreadyPassed)
}

/// One place for a drive.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// Its name; without one, the path of the place.
    pub bay: &'a str,
    #[expect(missing_docs, reason = "the name says it")]
    pub content: Content<'a>,
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
    for bay in &snapshot.bays {
        let contents = contents(snapshot, &bay.name);
        let shown = if contents.is_empty() { vec![Content::Empty] } else { contents };
        tiles.extend(shown.into_iter().map(|content| Tile { bay: &bay.name, content }));
    }
    let named = |bay: &str| snapshot.bays.iter().any(|named| named.name == bay);
    let drives = snapshot.drives.iter().map(|drive| drive.bay.0.as_str());
    let departed = snapshot.departed.iter().map(|view| view.drive.bay.0.as_str());
    let mut others: Vec<&str> = drives.chain(departed).filter(|bay| !named(bay)).collect();
    others.sort_unstable_by(|a, b| natural(a).cmp(&natural(b)));
    others.dedup();
    for bay in others {
        let contents = contents(snapshot, bay);
        tiles.extend(contents.into_iter().map(|content| Tile { bay, content }));
    }
    tiles
}

fn contents<'a>(snapshot: &'a Snapshot, bay: &str) -> Vec<Content<'a>> {
    let drives = snapshot.drives.iter().filter(|drive| drive.bay.0 == bay);
    let drives: Vec<Content<'_>> = drives.map(Content::Drive).collect();
    if !drives.is_empty() {
        return drives;
    }
    let departed = snapshot.departed.iter().filter(|view| view.drive.bay.0 == bay);
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
    use crate::api::snapshot::BayView;
    use crate::drive::{Bay, Bus};
    use crate::failure::Reason;
    use crate::job::State;
    use crate::units::Bytes;

    fn drive(bay: &str, verdict: Option<Verdict>) -> DriveView {
        DriveView {
            serial: None,
            bay: Bay(bay.into()),
            device: "/dev/sda".into(),
            model: None,
            bus: Bus("ata".into()),
            size_bytes: Bytes(1 << 30),
            state: State::Judging,
            attempt: 1,
            percent: 0.0,
            bytes_per_second: None,
            limited_by: None,
            eta_seconds: None,
            verdict,
            reason: None,
            warnings: Vec::new(),
            job: None,
            order: None,
            order_attempt: None,
            media: None,
        }
    }

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
            departed: vec![DepartedView { drive: passed, since: jiff::Timestamp::UNIX_EPOCH }],
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
}
