//! All lamps of the rack: which bay has which, what they were told last, and what they do not do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use config::{Config, PassedLamp};
use model::api::requests::LampsReport;
use model::api::snapshot::LampTrouble;
use model::failure::chain;
use model::lamp::Place;
use view::lamp::Lamp;

use crate::memory::Memory;
use crate::tree::{Lit, Tree};

/// How often lamps are read again that have not changed: other programs write to them, and enclosures forget.
const AGAIN: Duration = Duration::from_secs(30);

/// What the lamps of a bay are to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) bay: String,
    /// The node of the drive that is in it.
    pub(crate) device: Option<String>,
    pub(crate) lamp: Lamp,
}

impl Wish {
    pub(crate) fn without_news(self) -> Self {
        Self { device: None, lamp: self.lamp.without_news(), ..self }
    }
}

/// The lamps.
#[derive(Debug)]
pub(crate) struct Panel {
    tree: Tree,
    config: Config,
    memory: Memory,
    /// What each place was told last, and since when it is as it was told.
    told: BTreeMap<Place, (Lit, Instant)>,
    /// What the lamps of each place do not do.
    troubles: BTreeMap<Place, Vec<String>>,
    /// What the log was told of.
    logged: BTreeSet<LampTrouble>,
}

impl Panel {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            tree: Tree::of(&config.lamps.sysfs),
            memory: Memory::open(&config.lamps.state),
            config: config.clone(),
            told: BTreeMap::new(),
            troubles: BTreeMap::new(),
            logged: BTreeSet::new(),
        }
    }

    /// The lamps of a bay: as the configuration names them; where the drive in it is; where the last one was.
    fn place(&mut self, wish: &Wish) -> Option<Place> {
        let named = self.config.lamp_of(&wish.bay);
        let of_drive = || self.tree.of_drive(wish.device.as_deref()?);
        let (place, is_learned) = match named {
            Some(place) => (place, false),
            None => match of_drive() {
                Some(place) => (place, true),
                None => (self.memory.known.bays.get(&wish.bay)?.clone(), false),
            },
        };
        self.memory.note(&wish.bay, &place, is_learned);
        Some(place)
    }

    fn lit(&self, lamp: Lamp) -> Lit {
        let passed = |which| lamp.passed && self.config.lamps.passed == which;
        Lit {
            fault: lamp.fault,
            locate: lamp.locate || passed(PassedLamp::Locate),
            ok: passed(PassedLamp::Ok),
        }
    }

    /// Has the lamps show this, and all other lamps that were ever used nothing; says what they do not do.
    pub(crate) fn show(&mut self, wishes: &[Wish]) -> LampsReport {
        let mut places: BTreeMap<Place, (BTreeSet<&str>, Lamp)> = BTreeMap::new();
        for wish in wishes {
            let Some(place) = self.place(wish) else { continue };
            places
                .entry(place)
                .and_modify(|(bays, lamp)| {
                    bays.insert(&wish.bay);
                    *lamp = lamp.beside(wish.lamp);
                })
                .or_insert_with(|| (BTreeSet::from([wish.bay.as_str()]), wish.lamp));
        }
        let bays: BTreeSet<&str> = places.values().flat_map(|(bays, _)| bays).copied().collect();
        let mut wanted: BTreeMap<Place, Lit> =
            places.iter().map(|(place, (_, lamp))| (place.clone(), self.lit(*lamp))).collect();
        let configured: Vec<Place> =
            self.config.bay.iter().filter_map(|bay| self.config.lamp_of(bay.name.trim())).collect();
        for place in self.memory.known.places.iter().chain(&configured) {
            wanted.entry(place.clone()).or_default();
        }
        self.memory.keep();
        for (place, lit) in &wanted {
            let as_told = self.told.get(place);
            if as_told.is_some_and(|(told, at)| told == lit && at.elapsed() < AGAIN) {
                continue;
            }
            let errors = self.tree.show(place, *lit);
            self.told.insert(place.clone(), (*lit, Instant::now()));
            self.troubles.insert(place.clone(), errors.iter().map(|error| chain(error)).collect());
        }
        let troubles = self.troubles_of(&places);
        LampsReport { bays: bays.len(), troubles }
    }

    /// What is to be said of lamps that belong to a bay; to the log, once.
    fn troubles_of(
        &mut self,
        places: &BTreeMap<Place, (BTreeSet<&str>, Lamp)>,
    ) -> Vec<LampTrouble> {
        let mut all = Vec::new();
        for (place, (bays, _)) in places {
            let shared = (bays.len() > 1).then(|| {
                let bays: Vec<&str> = bays.iter().copied().collect();
                format!("{} have the same lamps", bays.join(" and "))
            });
            let own = self.troubles.get(place).into_iter().flatten().cloned();
            let bay = bays.first().copied().unwrap_or_default();
            let trouble = |what| LampTrouble { bay: bay.to_owned(), lamp: place.to_string(), what };
            all.extend(own.chain(shared).map(trouble));
        }
        all.sort();
        for trouble in &all {
            if self.logged.insert(trouble.clone()) {
                let LampTrouble { bay, lamp, what } = trouble;
                tracing::warn!("the lamps of {bay} ({lamp}): {what}");
            }
        }
        all
    }
}

#[cfg(test)]
#[path = "panel/tests.rs"]
mod tests;
