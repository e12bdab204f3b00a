//! What the lamps of a bay show: less than its tile, and nothing that the tile does not show.

use jiff::Timestamp;
use model::meaning::Trouble;

use crate::tile::{Light, Tile};

/// Which of a bay's lamps are lit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lamp {
    /// The drive has failed. Not where the station is to blame: a red lamp sends a drive to the red bin.
    pub fault: bool,
    /// Somebody looks for the bay.
    pub locate: bool,
    /// The drive is there and has passed.
    pub passed: bool,
}

impl Lamp {
    /// What a bay's lamps show.
    pub fn of(tile: &Tile<'_>, now: Timestamp) -> Self {
        let blamed = tile.trouble() != Some(Trouble::Station);
        Self {
            fault: tile.light() == Light::Failed && blamed,
            locate: tile.is_located(now),
            passed: tile.light() == Light::Passed && tile.pulled().is_none(),
        }
    }

    /// What lamps show that belong to several drives: a failure of any, and that all have passed.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        Self {
            fault: self.fault || other.fault,
            locate: self.locate || other.locate,
            passed: self.passed && other.passed,
        }
    }

    /// What may stay lit when nothing is known of the station any more. A failed drive goes on to be one, and its bay would
    /// look like those beside it; that a drive has passed is not said without knowing it.
    #[must_use]
    pub fn without_news(self) -> Self {
        Self { fault: self.fault, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use model::api::snapshot::{DriveView, LocatedView, Snapshot};
    use model::code::ReasonCode;
    use model::drive::Bay;
    use model::failure::Reason;
    use model::verdict::Verdict;
    use strum::VariantArray as _;

    use super::*;
    use crate::fixture::{departed, drive};
    use crate::tile::tiles;

    fn lamp(snapshot: &Snapshot) -> Lamp {
        Lamp::of(&tiles(snapshot)[0], Timestamp::UNIX_EPOCH)
    }

    fn with(verdict: Option<Verdict>, code: Option<ReasonCode>) -> Snapshot {
        let reason = code.map(|code| Reason::new(code, "x"));
        let drives = vec![DriveView { reason, ..drive("a", verdict) }];
        Snapshot { drives, ..Snapshot::default() }
    }

    /// The red lamp is for the red bin and for drives that nobody knows the state of; never for what the station spoilt.
    #[test]
    fn the_fault_lamp_follows_the_tile() {
        for code in ReasonCode::VARIANTS.iter().copied() {
            for verdict in code.verdicts().iter().copied() {
                let shown = lamp(&with(Some(verdict), Some(code)));
                let station = code.at_the_rack().trouble == Trouble::Station;
                assert_eq!(shown.fault, verdict == Verdict::Failed && !station, "{code}");
                assert_eq!(shown.passed, code == ReasonCode::AlreadyPassed, "{code}");
            }
        }
        assert_eq!(lamp(&with(None, None)), Lamp::default());
        let passed = lamp(&with(Some(Verdict::Passed), None));
        assert_eq!(passed, Lamp { passed: true, ..Lamp::default() });
        assert_eq!(passed.without_news(), Lamp::default());
    }

    #[test]
    fn a_failure_that_was_pulled_stays_lit_and_what_has_passed_does_not() {
        let pulled = |verdict| {
            let departed = vec![departed(drive("a", Some(verdict)))];
            lamp(&Snapshot { departed, ..Snapshot::default() })
        };
        assert!(pulled(Verdict::Failed).fault && pulled(Verdict::Failed).without_news().fault);
        assert_eq!(pulled(Verdict::Passed), Lamp::default());
    }

    #[test]
    fn locating_ends() {
        let until = Timestamp::from_second(10).unwrap();
        let located = vec![LocatedView { bay: Bay("a".into()), until }];
        let snapshot = Snapshot { located, ..with(None, None) };
        let at = |second| {
            let now = Timestamp::from_second(second).unwrap();
            Lamp::of(&tiles(&snapshot)[0], now).locate
        };
        assert_eq!((at(9), at(10)), (true, false));
    }

    #[test]
    fn one_lamp_for_two_drives_shows_no_pass_that_is_not_both_s() {
        let [good, bad] = [(false, true), (true, false)].map(|(fault, passed)| Lamp {
            fault,
            passed,
            locate: false,
        });
        assert_eq!(good.beside(bad), Lamp { fault: true, ..Lamp::default() });
        assert!(good.beside(good).passed);
    }
}
