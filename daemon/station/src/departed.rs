//! What bays go on showing of drives that have been detached: a verdict must not go with the drive, before anybody has
//! read it. That a drive has failed is kept even when another drive comes: it lies somewhere, and must not be shipped.

use model::admission::NamedBay;
use model::api::snapshot::DepartedView;
use model::drive::{Bay, Serial};
use model::failure::Reason;
use model::verdict::Verdict;

/// Of bays without a name so many are kept, the latest; they are as many as there are places, and for loop devices, files.
const MOST_UNNAMED: usize = 32;
/// Of failures that nobody has acknowledged so many are kept, the latest.
const MOST_FOLLOWED: usize = 64;

/// The last drive of each bay that is empty now, and failures before it.
#[derive(Debug, Default)]
pub(crate) struct Departed(Vec<DepartedView>);

impl Departed {
    /// A drive with a verdict has been detached.
    pub(crate) fn keep(&mut self, mut view: DepartedView, named: &[NamedBay]) {
        view.drive.reason = view.drive.reason.map(Reason::once_detached);
        self.follow(&view.drive.bay);
        self.0.push(view);
        let unnamed =
            |view: &DepartedView| named.iter().all(|named| named.name != view.drive.bay.0);
        self.limit(MOST_UNNAMED, |view| !view.followed && unnamed(view));
    }

    /// Another drive has come into the bay, which does not show the verdict any more.
    pub(crate) fn follow(&mut self, bay: &Bay) {
        let failed = |view: &DepartedView| view.drive.verdict == Some(Verdict::Failed);
        self.0.retain(|view| view.drive.bay != *bay || failed(view));
        for view in self.0.iter_mut().filter(|view| view.drive.bay == *bay) {
            view.followed = true;
        }
        self.limit(MOST_FOLLOWED, |view| view.followed);
    }

    /// A drive with this serial number has passed, so it lies in no red bin.
    pub(crate) fn passed(&mut self, serial: &Serial) {
        self.0.retain(|view| !view.followed || view.drive.serial.as_ref() != Some(serial));
    }

    /// Drops the oldest of those that are too many.
    fn limit(&mut self, most: usize, which: impl Fn(&DepartedView) -> bool) {
        let those = self.0.iter().enumerate().filter(|(_, view)| which(view));
        let those: Vec<_> = those.map(|(at, view)| (view.since, at)).collect();
        if those.len() > most
            && let Some((_, at)) = those.into_iter().min()
        {
            self.0.remove(at);
        }
    }

    /// An operator has seen enough of a bay, or of the drive with this serial number. Returns whether there was anything to
    /// forget.
    pub(crate) fn forget(&mut self, bay_or_serial: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|DepartedView { drive, .. }| {
            let serial = drive.serial.as_ref().map(Serial::as_str);
            drive.bay.0 != bay_or_serial && serial != Some(bay_or_serial)
        });
        self.0.len() < before
    }

    pub(crate) fn views(&self) -> Vec<DepartedView> {
        let mut views = self.0.clone();
        views.sort_by(|a, b| a.drive.bay.cmp(&b.drive.bay).then(a.since.cmp(&b.since)));
        views
    }
}
