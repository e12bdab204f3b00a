//! What can be used as it stands, and is probably not meant. None of it keeps the station from starting.

use std::path::PathBuf;

use super::error::{Doubt, Place};
use super::keys::{KEYS, Kind};
use super::{Config, NamedPath, learned};
use model::layout::{Extent, Role};
use model::units::{ByteRate, Bytes, MIB};

/// No floor for drives is below the first, and hardly a drive reaches the second: PCIe 5 has 16 GB/s for one.
const LIKELY_RATES: [ByteRate; 2] = [ByteRate(1_000_000), ByteRate(16_000_000_000)];
/// Of drives that are alike, half are below the median.
const LIKELY_SHARE: u64 = 90;
/// What partitions beside Windows have at most, by Microsoft's guidance and a wide margin.
const LIKELY_SIZES: [(Role, Bytes); 3] = [
    (Role::Esp, Bytes::mib(4 << 10)),
    (Role::Msr, Bytes::mib(1 << 10)),
    (Role::Recovery, Bytes::mib(64 << 10)),
];

impl Config {
    /// The doubts that the files show alone, without a look at the machine.
    pub fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = self.of_files();
        doubts.extend(self.of_paths());
        doubts.extend(self.of_lists());
        doubts.extend(self.of_bays());
        doubts.extend(self.of_layouts());
        doubts.extend(self.of_rates());
        doubts
    }

    /// Files among the drop-ins that are not read, and entries of lists that a later file leaves out.
    fn of_files(&self) -> Vec<Doubt> {
        let ignored = self.origin.ignored.iter();
        // What an interrupted `bays learn` has left is nobody's mistake.
        let ignored = ignored.filter(|file| !file.ends_with(learned::UNFINISHED));
        let told = "is ignored: names of drop-ins end in .toml";
        let mut doubts: Vec<Doubt> =
            ignored.map(|file| Doubt::of_file(file.clone(), told)).collect();
        for key in KEYS.iter().filter(|key| key.kind == Kind::Texts) {
            let giving = self.origin.sources.iter().rev();
            let mut lists = giving.filter_map(|source| {
                source.texts(key.section, key.name).map(|list| (source, list))
            });
            let Some((last, kept)) = lists.next() else { continue };
            for (source, list) in lists {
                if let Some(lost) = list.iter().find(|text| !kept.contains(text)) {
                    let winner = last.place_of(&key.path()).unwrap_or_default();
                    let what = format!(
                        "{lost:?} has no effect, because {winner} gives the whole list anew and leaves it out"
                    );
                    doubts.push(Doubt::new(source.place_of(&key.path()), &key.path(), what));
                }
            }
        }
        doubts
    }

    fn of_paths(&self) -> Vec<Doubt> {
        let paths = [
            ("media.inbox", &self.media.inbox),
            ("store.path", &self.store.path),
            ("ledger.path", &self.ledger.path),
            ("control.socket", &self.control.socket),
        ];
        let more = [
            ("orders.inbox", &self.orders.inbox),
            ("orders.results", &self.orders.results),
            ("labels.template", &self.labels.template),
        ];
        let more = more.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let relative = paths.into_iter().chain(more).filter(|(_, path)| path.is_relative());
        let told = |(key, path): (&str, &PathBuf)| {
            self.doubt(
                key,
                format!("{path:?} depends on the folder in which the station is started"),
            )
        };
        let mut doubts: Vec<Doubt> = relative.map(told).collect();
        let (ledger, store) = (&self.ledger.path, &self.store.path);
        if ledger.starts_with(store) {
            let what = format!(
                "{} lies in the store, {}, where only masters should",
                ledger.display(),
                store.display()
            );
            doubts.push(self.doubt("ledger.path", what));
        }
        let expires = self.media.expires.keys().map(|name| ("media.expires", name));
        let names = expires.chain(self.media.offers.keys().map(|name| ("media.offers", name)));
        doubts.extend(names.filter(|(_, name)| name.contains('/')).map(|(key, name)| {
            let what = format!("{name:?}: write the name of the file alone, without its folder");
            self.doubt(key, what)
        }));
        doubts
    }

    /// Lists that nothing can match, and a station that is armed for nothing.
    fn of_lists(&self) -> Vec<Doubt> {
        let admission = &self.admission;
        let patterns = [
            ("admission.bays", &admission.bays),
            ("admission.models", &admission.models),
            ("admission.serials", &admission.serials),
        ];
        let mut doubts = Vec::new();
        for (key, list) in patterns {
            let empty = list.iter().enumerate().filter(|(_, text)| text.trim().is_empty());
            doubts.extend(
                empty.map(|(at, _)| {
                    self.item(key, at, "an empty pattern matches no drive".to_owned())
                }),
            );
        }
        if admission.armed && (admission.buses.is_empty() || admission.bays.is_empty()) {
            let key = if admission.buses.is_empty() { "admission.buses" } else { "admission.bays" };
            let what = format!("the station is armed from its start, and {key} allows no drive");
            doubts.push(self.doubt("admission.armed", what));
        }
        doubts
    }

    /// Bays that are allowed and that there are not, and names that no drive can get.
    fn of_bays(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for (at, text) in self.admission.bays.iter().enumerate() {
            if text.trim().is_empty() || self.may_match(text) {
                continue;
            }
            let what = if text.contains(PATTERN) {
                format!("no bay has a name like {text:?}, and no path of udev begins so")
            } else if text.starts_with("/dev/") {
                format!(
                    "{text:?} is no bay: write the path as udev's ID_PATH has it, without its folder"
                )
            } else {
                let names = self.bay.iter().map(|bay| bay.name.trim());
                let near = names.map(|name| {
                    (strsim::jaro_winkler(&name.to_lowercase(), &text.to_lowercase()), name)
                });
                let near = near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|near| near.0 > 0.8);
                match near {
                    Some((_, name)) => {
                        format!("no bay has the name {text:?}; did you mean {name:?}?")
                    }
                    None => format!(
                        "no bay has the name {text:?}; `prestagectl bays learn` gives names"
                    ),
                }
            };
            doubts.push(self.item("admission.bays", at, what));
        }
        for (at, bay) in self.bay.iter().enumerate() {
            if bay.path.contains(PATTERN) {
                continue;
            }
            let covers = |other: &&NamedPath| {
                glob::Pattern::new(&other.path).is_ok_and(|pattern| pattern.matches(&bay.path))
            };
            if let Some(other) = self.bay[..at].iter().find(covers) {
                let (name, first) = (bay.name.trim(), other.name.trim());
                let what = format!(
                    "{name:?} is never used, because {first:?} before it has the path {}, which matches",
                    other.path
                );
                doubts.push(Doubt::new(
                    self.origin.place_in_bay(name, "path"),
                    "[[bay]] path",
                    what,
                ));
            }
        }
        doubts
    }

    /// Whether an entry of `admission.bays` can match a bay's name, or a path of udev.
    fn may_match(&self, text: &str) -> bool {
        let fixed = text.find(PATTERN).map_or(text, |at| &text[..at]);
        let path =
            |place: &str| text.starts_with(place) || (fixed != text && place.starts_with(fixed));
        let named = |bay: &NamedPath| {
            let pattern = glob::Pattern::new(text);
            pattern.is_ok_and(|p| {
                p.matches(bay.name.trim()) || p.matches(&bay.path) || bay.path == text
            })
        };
        learned::PLACES.iter().any(|place| path(place)) || self.bay.iter().any(named)
    }

    /// Layouts that no drive gets, and partitions far larger than they need be.
    fn of_layouts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for (at, layout) in self.layout.iter().enumerate() {
            if at > 0 {
                let first = &self.layout[0].name;
                let what = format!(
                    "{:?} is never used: drives get the first layout, {first:?}",
                    layout.name
                );
                doubts.push(Doubt::new(self.layout_place(at, "name"), "[[layout]] name", what));
            }
            for (number, partition) in layout.partitions.iter().enumerate() {
                let likely = LIKELY_SIZES.iter().find(|(role, _)| *role == partition.role);
                let (Extent::Fixed(size), Some((role, most))) = (partition.size, likely) else {
                    continue;
                };
                if size > *most {
                    let what = format!(
                        "{size} for the {role} partition; hardly one needs more than {}MiB",
                        most.0 / MIB.0
                    );
                    let place = self.layout_place(at, &format!("partitions.{number}.size"));
                    doubts.push(Doubt::new(place, "[[layout]] partitions.size", what));
                }
            }
        }
        doubts
    }

    fn of_rates(&self) -> Vec<Doubt> {
        let [least, most] = LIKELY_RATES;
        let rate = self.replicate.min_write_rate;
        let told = match rate {
            Some(rate) if rate < least => {
                Some(format!("every drive is faster than {rate}; write 30MB/s or the like"))
            }
            Some(rate) if rate > most => {
                Some(format!("hardly a drive reaches {rate}, so all would fail"))
            }
            _ => None,
        };
        let share = self.replicate.min_batch_share;
        let share = share.filter(|share| share.of(Bytes(100)).0 > LIKELY_SHARE);
        let share = share.map(|share| {
            self.doubt(
                "replicate.min_batch_share",
                format!("{share} fails drives that are as good as the others; write 50% or less"),
            )
        });
        told.map(|told| self.doubt("replicate.min_write_rate", told))
            .into_iter()
            .chain(share)
            .collect()
    }

    fn layout_place(&self, at: usize, key: &str) -> Option<Place> {
        self.origin.place(&format!("layout.{at}.{key}"))
    }

    /// A doubt about one item of a list.
    fn item(&self, key: &str, at: usize, what: String) -> Doubt {
        Doubt::new(self.origin.place(&format!("{key}.{at}")), key, what)
    }
}

/// What makes a text a pattern.
const PATTERN: [char; 3] = ['*', '?', '['];
