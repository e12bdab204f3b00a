//! Whether the image that was written holds what it should: what the operating system image holds, but for what was taken
//! out, and everything that was added; nothing else.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};

use super::listing::{Item, Listing};
use super::names::capitals;
use crate::wim::{Entry, Wim, WimError};

/// The attribute of a folder.
const DIRECTORY: u32 = 0x10;
/// The attribute of a link, which may have that of a folder, too.
const REPARSE: u32 = 0x400;

/// What an image holds, by path.
pub(super) struct Tree(HashMap<String, Held>);

/// What is remembered of an entry.
struct Held {
    /// A digest of all that it says of itself.
    all: u64,
    is_folder: bool,
    is_link: bool,
    size: u64,
    sha1: [u8; 20],
}

impl Tree {
    /// Reads the tree of an image.
    pub(super) fn of(wim: &mut Wim, image: u32) -> Result<Self, WimError> {
        let mut held = HashMap::new();
        wim.entries(image, |entry| {
            held.insert(entry.path.replace('/', "\\"), Held::of(entry));
        })?;
        Ok(Self(held))
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every path in capitals, with whether it is a folder; what leads elsewhere is none.
    pub(super) fn by_capitals(&self) -> HashMap<String, bool> {
        self.0
            .iter()
            .map(|(path, held)| (capitals(path), held.is_folder && !held.is_link))
            .collect()
    }

    /// The first thing in which the image that was written is not what it should be, in words.
    pub(super) fn differs(
        &self,
        before: &Self,
        listing: &Listing,
        removed: &[String],
    ) -> Option<String> {
        let gone = Below::of(removed);
        let items: HashMap<String, &Item> =
            listing.items.iter().map(|item| (capitals(&item.to), item)).collect();
        let implied: HashSet<String> = listing.places.implied().map(capitals).collect();
        let mut met = 0;
        for (path, held) in &self.0 {
            let key = capitals(path);
            if let Some(item) = items.get(&key) {
                met += 1;
                if let Some(what) = held.differs(item, path) {
                    return Some(format!("{path} {what}"));
                }
            } else if let Some(old) = before.0.get(path).filter(|_| !gone.covers(&key)) {
                if old.all != held.all {
                    return Some(format!("{path} is not as it was"));
                }
            } else if !implied.contains(&key) {
                return Some(format!("{path} is there and should not be"));
            }
        }
        if met < items.len() {
            let here: HashSet<String> = self.0.keys().map(|path| capitals(path)).collect();
            let lost = items.iter().find(|(key, _)| !here.contains(*key));
            return lost.map(|(_, item)| format!("{} is not there", item.to));
        }
        let kept = before.0.keys().find(|path| {
            let key = capitals(path);
            !self.0.contains_key(*path) && !gone.covers(&key) && !items.contains_key(&key)
        });
        kept.map(|path| format!("{path} is not there any more"))
    }
}

/// Paths that were taken out, with everything below them.
struct Below(HashSet<String>);

impl Below {
    fn of(removed: &[String]) -> Self {
        Self(removed.iter().map(|path| capitals(path)).collect())
    }

    fn covers(&self, key: &str) -> bool {
        let ends = key.match_indices('\\').map(|(at, _)| at).skip(1).chain([key.len()]);
        ends.into_iter().any(|end| self.0.contains(&key[..end]))
    }
}

impl Held {
    fn of(entry: &Entry<'_>) -> Self {
        let mut hash = DefaultHasher::new();
        let is_folder = entry.attributes & DIRECTORY != 0;
        (entry.raw_name, entry.short_name, entry.attributes, entry.reparse_tag).hash(&mut hash);
        (entry.security, entry.times, entry.object_id).hash(&mut hash);
        for stream in &entry.streams {
            (stream.name, stream.size, stream.sha1).hash(&mut hash);
        }
        let first = entry.streams.first();
        Self {
            all: hash.finish(),
            is_folder,
            is_link: entry.attributes & REPARSE != 0,
            size: first.map_or(0, |stream| stream.size),
            sha1: first.map_or([0; 20], |stream| stream.sha1),
        }
    }

    /// In what an entry is not what was added, in words.
    fn differs(&self, item: &Item, path: &str) -> Option<&'static str> {
        let name = |path: &str| path.rsplit('\\').next().map(str::to_owned);
        match &item.file {
            _ if self.is_link => Some("is a link, which was none when it was listed"),
            None => (!self.is_folder).then_some("is no folder"),
            Some(_) if self.is_folder => Some("is a folder"),
            Some(_) if name(path) != name(&item.to) => Some("has its name in other letters"),
            Some(file) if file.size.0 != self.size || file.sha1 != self.sha1 => {
                Some("has other contents than its file had when it was listed")
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::listing::Contents;
    use model::units::Bytes;

    fn held(all: u64, is_folder: bool, size: u64) -> Held {
        Held { all, is_folder, is_link: false, size, sha1: [u8::try_from(size).unwrap(); 20] }
    }

    fn tree(entries: &[(&str, Held)]) -> Tree {
        let copy =
            |(path, h): &(&str, Held)| ((*path).to_owned(), held(h.all, h.is_folder, h.size));
        Tree(entries.iter().map(copy).collect())
    }

    fn file(to: &str, size: u64) -> Item {
        let sha1 = [u8::try_from(size).unwrap(); 20];
        let file = Some(Contents { size: Bytes(size), sha1 });
        Item { from: "/x".into(), to: to.into(), file }
    }

    #[test]
    fn whatever_is_lost_added_or_changed_is_seen() {
        let folder = || held(1, true, 0);
        let before = tree(&[
            ("\\", folder()),
            ("\\Windows", folder()),
            ("\\old", folder()),
            ("\\old\\x", held(5, false, 5)),
        ]);
        let mut listing = Listing { items: vec![file("\\windows\\new", 7)], ..Listing::default() };
        listing.places.take_way(&["windows".into(), "new".into()]);
        let removed = ["\\OLD".to_owned()];
        let good = || {
            vec![("\\", folder()), ("\\Windows", folder()), ("\\Windows\\new", held(9, false, 7))]
        };
        let differs = |entries: &[(&str, Held)]| tree(entries).differs(&before, &listing, &removed);
        assert_eq!(differs(&good()), None);
        let mut lacks = good();
        lacks.pop();
        assert_eq!(differs(&lacks).as_deref(), Some("\\windows\\new is not there"));
        for (path, entry, what) in [
            ("\\old\\x", held(5, false, 5), "\\old\\x is there and should not be"),
            ("\\stray", held(5, false, 5), "\\stray is there and should not be"),
        ] {
            let mut all = good();
            all.push((path, entry));
            assert_eq!(differs(&all).as_deref(), Some(what));
        }
        for (at, entry, what) in [
            (1, held(2, true, 0), "\\Windows is not as it was"),
            (
                2,
                held(9, false, 8),
                "\\Windows\\new has other contents than its file had when it was listed",
            ),
            (2, held(9, true, 7), "\\Windows\\new is a folder"),
        ] {
            let mut all = good();
            all[at].1 = entry;
            assert_eq!(differs(&all).as_deref(), Some(what));
        }
        let mut spelt = good();
        spelt[2].0 = "\\Windows\\NEW";
        assert!(differs(&spelt).is_some_and(|what| what.contains("other letters")));
        let mut gone = good();
        gone.remove(1);
        assert_eq!(differs(&gone).as_deref(), Some("\\Windows is not there any more"));
    }
}
