//! Drives of one model that get the same master at the same time: a batch. One that is much slower than its batch is
//! suspect, whatever the floor.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::job::State;
use crate::master::MasterId;
use crate::units::ByteRate;

/// What makes drives comparable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Master they get.
    pub master: MasterId,
    /// Model as reported.
    pub model: Option<String>,
    /// What they are doing.
    pub state: State,
}

/// With fewer others than this there is no telling which of them is the odd one.
const LEAST_OTHERS: usize = 2;

/// The latest rates of all drives that run.
#[derive(Debug, Default)]
pub struct Batches(Mutex<HashMap<Key, BTreeMap<Uuid, ByteRate>>>);

impl Batches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeMap<Uuid, ByteRate>>> {
        // Each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a drive's latest rate; returns the median of the others in its batch, if they are enough to compare with.
    pub fn compare(&self, key: &Key, drive: Uuid, rate: ByteRate) -> Option<ByteRate> {
        let mut all = self.lock();
        let batch = all.entry(key.clone()).or_default();
        batch.insert(drive, rate);
        let others = batch.iter().filter(|(other, _)| **other != drive);
        let mut rates: Vec<ByteRate> = others.map(|(_, rate)| *rate).collect();
        rates.sort_unstable();
        (rates.len() >= LEAST_OTHERS).then(|| rates[rates.len() / 2])
    }

    /// Forgets a drive.
    pub fn leave(&self, drive: Uuid) {
        self.lock().retain(|_, batch| {
            batch.remove(&drive);
            !batch.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_compared_with_the_others_of_its_batch() {
        let batches = Batches::default();
        let key = |model: &str| Key {
            master: MasterId("m".into()),
            model: Some(model.into()),
            state: State::Writing,
        };
        let names: Vec<Uuid> = (0..4).map(Uuid::from_u128).collect();
        let post = |n: usize, rate| batches.compare(&key("a"), names[n], ByteRate(rate));
        assert_eq!((post(0, 100), post(1, 110)), (None, None));
        assert_eq!(post(2, 5), Some(ByteRate(110)));
        assert_eq!(batches.compare(&key("b"), names[3], ByteRate(5)), None, "another model");
        batches.leave(names[0]);
        assert_eq!(post(2, 5), None);
    }
}
