//! What bays go on showing of drives that have been detached: a verdict must not go with the drive, before anybody has
//! read it.

use std::collections::BTreeMap;

use model::admission::NamedBay;
use model::api::snapshot::DepartedView;
use model::drive::Bay;

/// Of bays without a name so many are kept, the latest; they are as many as there are places, and for loop devices, files.
const MOST_UNNAMED: usize = 32;

/// The last drive of each bay that is empty now.
#[derive(Debug, Default)]
pub(crate) struct Departed(BTreeMap<Bay, DepartedView>);

impl Departed {
    /// A drive with a verdict has been detached.
    pub(crate) fn keep(&mut self, view: DepartedView, named: &[NamedBay]) {
        self.0.insert(view.drive.bay.clone(), view);
        let unnamed = |bay: &Bay| named.iter().all(|named| named.name != bay.0);
        let others: Vec<_> = self.0.iter().filter(|(bay, _)| unnamed(bay)).collect();
        if others.len() > MOST_UNNAMED
            && let Some((bay, _)) = others.into_iter().min_by_key(|(_, view)| view.since)
        {
            let bay = bay.clone();
            self.0.remove(&bay);
        }
    }

    /// Another drive has come into the bay, or an operator has seen enough. Returns whether there was anything to forget.
    pub(crate) fn forget(&mut self, bay: &Bay) -> bool {
        self.0.remove(bay).is_some()
    }

    pub(crate) fn views(&self) -> Vec<DepartedView> {
        self.0.values().cloned().collect()
    }
}
