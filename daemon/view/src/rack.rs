//! The rack as a whole: its tiles, who needs hands next, how far the order is, and whether what is shown is so.

use std::time::Duration;

use jiff::Timestamp;
use model::api::orders::OrderView;
use model::api::scanned::ScannedOrder;
use model::api::snapshot::{DepartedView, Snapshot};
use model::now::Now;
use model::verdict::Verdict;

use crate::history::{self, Suspect};
use crate::tile::{self, Light, Tile};

/// Data that is older is shown by no view: a frozen screen with a green tile is a false PASS.
pub const NO_DATA_AFTER: Duration = Duration::from_secs(3);

/// All that views show of a station, borrowed from its snapshot.
#[derive(Clone, Debug)]
pub struct Rack<'a> {
    #[expect(missing_docs, reason = "the name says it")]
    pub snapshot: &'a Snapshot,
    /// In the rack's own order.
    pub tiles: Vec<Tile<'a>>,
}

impl<'a> Rack<'a> {
    #[expect(missing_docs, reason = "the name says it")]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, tiles: tile::tiles(snapshot) }
    }

    /// How often each light is shown.
    pub fn counts(&self) -> Vec<(Light, usize)> {
        tile::count(&self.tiles)
    }

    /// How many bays show this.
    pub fn count(&self, light: Light) -> usize {
        self.tiles.iter().filter(|tile| tile.light() == light).count()
    }

    /// The bays that need somebody, who needs it most first; of those that need it alike, who has waited longest.
    pub fn hands(&self) -> Vec<&Tile<'a>> {
        let mut tiles: Vec<_> = self.tiles.iter().filter(|tile| tile.needs_hands()).collect();
        let ended = |tile: &Tile<'_>| tile.drive().and_then(|drive| drive.ended);
        tiles.sort_by_key(|tile| (tile.light(), ended(tile).unwrap_or(Timestamp::MAX)));
        tiles
    }

    /// Drives that have failed and were pulled, while another drive came into their bays before anybody said that they
    /// saw it: they are somewhere, and not to be mixed up with others.
    pub fn unseen(&self) -> Vec<&'a DepartedView> {
        let failed =
            |view: &&DepartedView| view.followed && view.drive.verdict == Some(Verdict::Failed);
        self.snapshot.departed.iter().filter(failed).collect()
    }

    /// Whom the failures in a tile's bay point at.
    pub fn suspect(&self, tile: &Tile<'_>) -> Suspect {
        let serial = tile.drive().and_then(|drive| drive.serial.as_ref());
        history::suspect(tile.bay, serial, &self.snapshot.history)
    }

    /// The bays that are suspect, each with why.
    pub fn suspicions(&self) -> Vec<String> {
        let bays = self.snapshot.history.iter().map(|history| history.bay.0.as_str());
        let suspect = |bay| history::suspect(bay, None, &self.snapshot.history).sentence(bay);
        bays.filter_map(suspect).collect()
    }

    /// The orders that drives can belong to, with how far they are: `4711 312/500`.
    pub fn orders(&self) -> Vec<String> {
        let open = |order: &&OrderView| order.state.is_in_force();
        let line =
            |order: &OrderView| format!("{} {}/{}", order.number, order.passed, order.quantity);
        self.snapshot.orders.iter().filter(open).map(line).collect()
    }

    /// The orders that were scanned and wait for drives, each with the drive that it waits for.
    pub fn scanned(&self) -> Vec<String> {
        let line = |order: &ScannedOrder| {
            let drive = match &order.bay {
                Some(bay) => format!("the next drive in {bay}"),
                None => "the next drive".to_owned(),
            };
            format!("{drive} is for order {}, which {} has scanned", order.number, order.by)
        };
        self.snapshot.scanned.iter().map(line).collect()
    }

    /// What is to be said of the clocks; usually nothing.
    pub fn clocks(&self) -> Option<String> {
        let Now { clock, latest } = self.snapshot.clock?;
        Some(format!(
            "this machine's clock shows {:.0}, and the station has known a time as late as {:.0}: until that has come, \
             orders and media end by it, and begin by the clock",
            clock.at, latest.at
        ))
    }

    /// The media that drives get by themselves, or why they get none.
    pub fn media(&self) -> &'a str {
        let current = self.snapshot.media.iter().find(|media| media.current);
        let why = self.snapshot.no_media.as_ref().map(|reason| reason.code.at_the_rack().short);
        current.map(|media| media.name.as_str()).or(why).unwrap_or("no media")
    }

    /// The tile of a bay, by its name.
    pub fn tile(&self, bay: &str) -> Option<&Tile<'a>> {
        self.tiles.iter().find(|tile| tile.bay == bay)
    }
}

/// How much of a duration has gone by, in the words of a clock that somebody glances at.
pub fn ago(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use model::api::snapshot::{BayView, DriveView};

    use super::*;
    use crate::fixture::{departed, drive};

    #[test]
    fn who_needs_hands_next_comes_first() {
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        let ended =
            |bay, verdict, seconds| DriveView { ended: at(seconds), ..drive(bay, Some(verdict)) };
        let pulled = |bay, verdict| departed(drive(bay, Some(verdict)));
        let bay = |name: &str| BayView { name: name.into(), path: "x".into() };
        let snapshot = Snapshot {
            bays: ["a", "b", "c", "d", "e", "f", "g"].map(bay).into(),
            drives: vec![
                ended("a", Verdict::Passed, 20),
                ended("b", Verdict::Passed, 10),
                drive("c", None),
                ended("d", Verdict::Failed, 30),
            ],
            departed: vec![pulled("e", Verdict::Passed), pulled("f", Verdict::Failed)],
            ..Snapshot::default()
        };
        let rack = Rack::of(&snapshot);
        let hands: Vec<_> = rack.hands().iter().map(|tile| tile.bay).collect();
        // A failure that was pulled is to be acknowledged; a drive that has passed and is gone needs nobody.
        assert_eq!(hands, ["d", "f", "b", "a"]);
        assert!(rack.unseen().is_empty());
    }

    #[test]
    fn a_failure_that_nobody_has_seen_is_not_forgotten_with_its_tile() {
        let gone = DepartedView { followed: true, ..departed(drive("a", Some(Verdict::Failed))) };
        let snapshot = Snapshot {
            drives: vec![drive("a", None)],
            departed: vec![gone],
            ..Snapshot::default()
        };
        let rack = Rack::of(&snapshot);
        assert_eq!((rack.tiles.len(), rack.tiles[0].light()), (1, Light::Running));
        assert_eq!(rack.unseen().len(), 1);
    }

    #[test]
    fn how_long_ago() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let said = [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7300, "2 h ago")];
        for (seconds, text) in said {
            assert_eq!(ago(at(1000), at(1000 + seconds)), text);
        }
        // The clocks of two machines need not agree.
        assert_eq!(ago(at(1000), at(900)), "0 s ago");
    }
}
