//! Drives of one model that get the same master, at the same time or one after the other: a batch. One that is much
//! slower than its batch is suspect, whatever the floor.

use std::collections::{BTreeMap, HashMap, VecDeque};

use model::job;
use model::manifest::MasterId;
use model::units::ByteRate;
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::bottleneck;

/// What makes drives comparable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Master they get.
    pub master: MasterId,
    /// Model as reported.
    pub model: Option<String>,
    /// What they are doing.
    pub state: job::State,
}

/// With fewer others than this there is no telling which of them is the odd one.
const LEAST_OTHERS: usize = 2;

/// So many drives that have finished are remembered: a slow drive is often alone at the end.
const REMEMBERED: usize = 16;

#[derive(Debug, Default)]
struct Batch {
    running: BTreeMap<Uuid, ByteRate>,
    /// Last rates of drives that have finished, the latest last.
    finished: VecDeque<ByteRate>,
}

#[derive(Debug, Default)]
struct State {
    batches: HashMap<Key, Batch>,
    /// The best that a model has shown.
    best: HashMap<(Option<String>, job::State), ByteRate>,
    /// The controller of each drive that runs.
    controllers: HashMap<Uuid, String>,
}

/// The latest rates of all drives that run, and of the last ones that did.
#[derive(Debug, Default)]
pub struct Batches(Mutex<State>);

impl Batches {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Notes a drive's latest rate; returns the median of the others in its batch, if they are enough to compare with:
    /// of those that run now, since they share its bus, or else of the last ones that have finished.
    pub fn compare(&self, key: &Key, drive: Uuid, rate: ByteRate) -> Option<ByteRate> {
        let mut all = self.lock();
        let batch = all.batches.entry(key.clone()).or_default();
        batch.running.insert(drive, rate);
        let others = batch.running.iter().filter(|(other, _)| **other != drive);
        let mut rates: Vec<ByteRate> = others.map(|(_, rate)| *rate).collect();
        if rates.len() < LEAST_OTHERS {
            rates.extend(&batch.finished);
        }
        rates.sort_unstable();
        (rates.len() >= LEAST_OTHERS).then(|| rates[rates.len() / 2])
    }

    /// A drive does not run any more.
    pub fn finish(&self, key: &Key, drive: Uuid) {
        let mut all = self.lock();
        let Some(batch) = all.batches.get_mut(key) else { return };
        if let Some(rate) = batch.running.remove(&drive) {
            batch.finished.push_back(rate);
            let excess = batch.finished.len().saturating_sub(REMEMBERED);
            batch.finished.drain(..excess);
        }
    }
}

/// The part of a path that drives on one controller or hub share: `pci-0000:03:00.0` of `pci-0000:03:00.0-sas-phy3-lun-0`.
fn controller(path: &str) -> &str {
    let marks = ["-ata-", "-sas-", "-scsi-", "-usb-", "-nvme-"];
    let ends = marks.iter().filter_map(|mark| path.find(mark));
    ends.min().map_or(path, |end| &path[..end])
}

impl Batches {
    /// A drive's job begins.
    pub fn attend(&self, drive: Uuid, path: &str) {
        self.lock().controllers.insert(drive, controller(path).to_owned());
    }

    /// A drive's job has ended.
    pub fn leave(&self, drive: Uuid) {
        self.lock().controllers.remove(&drive);
    }

    /// Whether a drive that went at `rate` in a state looks as if others on its controller had taken part of it.
    pub fn is_shared(&self, key: &Key, drive: Uuid, rate: ByteRate) -> bool {
        let mut all = self.lock();
        let own = all.controllers.get(&drive).cloned();
        let beside = all
            .controllers
            .iter()
            .filter(|(other, at)| **other != drive && Some(*at) == own.as_ref());
        let neighbours = beside.count();
        let best = all.best.entry((key.model.clone(), key.state)).or_default();
        *best = rate.max(*best);
        bottleneck::is_shared(rate.0, best.0, neighbours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_on_one_controller_take_from_each_other() {
        let batches = Batches::default();
        let key = Key { master: MasterId("m".into()), model: None, state: job::State::Writing };
        let names: Vec<Uuid> = (0..2).map(Uuid::from_u128).collect();
        batches.attend(names[0], "pci-0000:03:00.0-sas-phy0-lun-0");
        assert!(!batches.is_shared(&key, names[0], ByteRate(500)), "alone");
        assert!(!batches.is_shared(&key, names[0], ByteRate(200)), "slow, but alone");
        batches.attend(names[1], "pci-0000:03:00.0-sas-phy1-lun-0");
        assert!(batches.is_shared(&key, names[1], ByteRate(200)));
        batches.leave(names[0]);
        assert!(!batches.is_shared(&key, names[1], ByteRate(200)));
    }

    #[test]
    fn a_drive_is_compared_with_the_others_of_its_batch() {
        let batches = Batches::default();
        let key = |model: &str| Key {
            master: MasterId("m".into()),
            model: Some(model.into()),
            state: job::State::Writing,
        };
        let names: Vec<Uuid> = (0..4).map(Uuid::from_u128).collect();
        let post = |n: usize, rate| batches.compare(&key("a"), names[n], ByteRate(rate));
        assert_eq!((post(0, 100), post(1, 110)), (None, None));
        assert_eq!(post(2, 5), Some(ByteRate(110)));
        assert_eq!(batches.compare(&key("b"), names[3], ByteRate(5)), None, "another model");
        for name in &names[..2] {
            batches.finish(&key("a"), *name);
        }
        assert_eq!(post(2, 5), Some(ByteRate(110)), "those that were faster are remembered");
        for n in 100..200 {
            let drive = Uuid::from_u128(n);
            batches.compare(&key("a"), drive, ByteRate(7));
            batches.finish(&key("a"), drive);
        }
        assert_eq!(post(2, 5), Some(ByteRate(7)), "but not for ever");
    }
}
