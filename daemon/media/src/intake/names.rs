//! Judges the names in an image as they stand in its metadata, in UTF-16. libwim leaves entries out that no volume can hold,
//! and tells only that half of a surrogate pair is no text.

use std::collections::{HashMap, HashSet};

use formats::wim_tree::Tree;
use model::code::FindingCode as Code;
use model::failure::Finding;

/// Whether Windows allows a unit of UTF-16 in no name. Files with such names could not be opened on the drive.
fn is_never_in_names(unit: u16) -> bool {
    unit < u16::from(b' ') || [b'/', b'\\', b':'].map(u16::from).contains(&unit)
}

/// Whether Windows takes a name, or libwim leaves it out, for the folder itself or the one above it.
fn is_no_name(name: &[u16]) -> bool {
    const DOT: u16 = 0x2e;
    matches!(name, [] | [DOT] | [DOT, DOT])
}

/// The longest name on an NTFS volume, of a file or of a stream, in units of UTF-16.
const LONGEST: usize = 255;

/// Whether Windows allows a name of a file or of a stream.
fn is_allowed(name: &[u16]) -> bool {
    name.len() <= LONGEST && !name.iter().any(|unit| is_never_in_names(*unit))
}

/// What several entries have in common: how many there are, and the first in words.
#[derive(Default)]
struct Group {
    count: usize,
    first: String,
}

impl Group {
    fn add(&mut self, words: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = words();
        }
        self.count += 1;
    }

    /// The finding about all of them; none if there are none. `what` follows their number.
    fn finding(&self, code: Code, what: &str, hint: &str) -> Option<Finding> {
        let Self { count, first } = self;
        let detail = format!("{count} files or folders {what}, first {first}");
        (*count > 0).then(|| Finding::new(code, detail).with_hint(hint))
    }
}

/// The problems with names and places in a tree. `upcase` gives the capital of a letter, as the volume has it.
pub(super) fn problems(tree: &Tree, upcase: impl Fn(u16) -> u16) -> Vec<Finding> {
    let [mut misnamed, mut twice, mut lost, mut astray] = [(); 4].map(|()| Group::default());
    let mut taken: HashMap<(usize, Vec<u16>), usize> = HashMap::new();
    let capitals = |name: &[u16]| -> Vec<u16> { name.iter().map(|unit| upcase(*unit)).collect() };
    let descriptors = i64::from(tree.descriptors);
    for (place, entry) in tree.entries.iter().enumerate() {
        let path = || tree.path(place);
        if !entry.is_folder() && entry.children != 0 {
            lost.add(path);
        }
        if i64::from(entry.security) >= descriptors {
            astray.add(path);
        }
        let stream = |name: &[u16]| format!("{}:{}", path(), String::from_utf16_lossy(name));
        let mut streams = HashSet::new();
        for name in &entry.streams {
            if !is_allowed(name) {
                misnamed.add(|| stream(name));
            } else if !streams.insert(capitals(name)) {
                twice.add(|| format!("{}, a stream that is there twice", stream(name)));
            }
        }
        let Some(folder) = entry.folder else { continue };
        if is_no_name(&entry.name) || !is_allowed(&entry.name) {
            misnamed.add(path);
            continue;
        }
        let key = (folder, capitals(&entry.name));
        match taken.get(&key) {
            None => drop(taken.insert(key, place)),
            Some(other) if tree.entries[*other].name == entry.name => {
                twice.add(|| format!("{}, which is there twice", path()));
            }
            Some(other) => twice.add(|| {
                format!("{}, which differs from {} only in case", path(), tree.path(*other))
            }),
        }
    }
    let without = "capture the media without them";
    let found = [
        misnamed.finding(
            Code::NamesInvalid,
            "have names that Windows does not allow: with a slash, a backslash, a colon or a control character, of more than 255 letters, \".\", \"..\" or empty",
            without,
        ),
        twice.finding(
            Code::NamesTwice,
            "have the name of another one in the same folder",
            "capture the media with one of each; only one of them could be opened on the drive",
        ),
        lost.finding(Code::WimDamaged, "are no folders, but have entries", "make the media anew"),
        astray.finding(
            Code::WimDamaged,
            "have a security descriptor that is not in the media",
            "make the media anew",
        ),
    ];
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use formats::wim_tree::Entry;

    use super::*;

    fn tree(names: &[(usize, &str)]) -> Tree {
        let entry = |folder, name: &str| Entry {
            folder,
            place: 0,
            name: name.encode_utf16().collect(),
            attributes: 0x10,
            security: -1,
            children: 0,
            streams: Vec::new(),
        };
        let mut entries = vec![entry(None, "")];
        entries.extend(names.iter().map(|(folder, name)| entry(Some(*folder), name)));
        Tree { entries, ..Tree::default() }
    }

    fn upcase(unit: u16) -> u16 {
        u8::try_from(unit).map_or(unit, |byte| byte.to_ascii_uppercase().into())
    }

    fn details(tree: &Tree) -> Vec<String> {
        problems(tree, upcase).iter().map(Finding::sentence).collect()
    }

    #[test]
    fn names_are_told_with_the_first() {
        let sound = tree(&[(0, "a"), (1, "a"), (0, "b."), (0, "...")]);
        assert_eq!(details(&sound), [""; 0]);
        let odd = tree(&[(0, "dir"), (1, "One"), (1, "ONE"), (1, "One"), (0, ".."), (0, "a:b")]);
        let text = details(&odd).join("\n");
        assert!(text.contains("names_invalid: 2 files") && text.contains("first /.."), "{text}");
        assert!(
            text.contains("first /dir/ONE, which differs from /dir/One only in case"),
            "{text}"
        );
    }

    #[test]
    fn half_a_pair_hides_nothing() {
        let mut odd = tree(&[(0, "x")]);
        odd.entries[1].name = [0xd800, 0x2f, 0x65].into();
        assert_eq!(problems(&odd, upcase).len(), 1);
    }

    #[test]
    fn streams_have_names_as_well() {
        let mut odd = tree(&[(0, "a"), (0, "b")]);
        odd.entries[1].streams = vec![[0x3a].into(), vec![0x41; 256].into(), [0x41].into()];
        odd.entries[2].streams = vec![[0x41].into(), [0x61].into()];
        let text = details(&odd).join("\n");
        assert!(text.contains("names_invalid: 2 files") && text.contains("first /a::"), "{text}");
        assert!(text.contains("names_twice: 1 files") && text.contains("first /b:a"), "{text}");
    }

    #[test]
    fn entries_that_lead_nowhere_are_told() {
        let mut odd = tree(&[(0, "file"), (0, "other")]);
        odd.entries[1].attributes = 0x20;
        odd.entries[1].children = 96;
        odd.entries[2].security = 0;
        let text = details(&odd).join("\n");
        assert!(text.contains("first /file") && text.contains("first /other"), "{text}");
    }
}
