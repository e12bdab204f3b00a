//! Judges names and places in an image as they stand in its metadata, in UTF-16. libwim leaves entries out that no volume can
//! hold, tells only that half of a surrogate pair is no text, and makes one file of names that contradict each other.

use std::collections::{HashMap, HashSet};

use formats::wim_tree::{Entry, Tree};
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

/// The files of an NTFS volume's own, in its root folder.
const SYSTEM: [&str; 11] = [
    "$MFT", "$MFTMIRR", "$LOGFILE", "$VOLUME", "$ATTRDEF", "$BITMAP", "$BOOT", "$BADCLUS",
    "$SECURE", "$UPCASE", "$EXTEND",
];

/// Whether a name in capitals is that of a file of an NTFS volume's own, in its root folder.
pub(crate) fn is_of_the_volume(name: &str) -> bool {
    SYSTEM.contains(&name)
}

/// The longest list of a file's attributes that NTFS takes, in bytes, less what the places of its data may need.
const LONGEST_LIST: usize = (256 << 10) - (16 << 10);

/// How long the list of a file's attributes is at least, with an entry for each of its streams (26 bytes and the name, to a
/// multiple of 8).
fn attribute_list(entry: &Entry) -> usize {
    entry.streams.iter().map(|stream| (26 + 2 * stream.name.len()).next_multiple_of(8)).sum()
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

/// What is wrong or odd with names and places in a tree. `upcase` gives the capital of a letter, as the volume has it.
pub(super) fn findings(tree: &Tree, upcase: impl Fn(u16) -> u16) -> Vec<Finding> {
    let [mut misnamed, mut twice, mut lost, mut astray, mut crowded, mut behind] =
        [(); 6].map(|()| Group::default());
    // Who has a name in a folder, long or short.
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
        if attribute_list(entry) > LONGEST_LIST {
            crowded.add(path);
        }
        let is_stub = |folder: &Entry| folder.is_folder() && folder.is_reparse();
        if entry.folder.is_some_and(|folder| is_stub(&tree.entries[folder])) {
            behind.add(path);
        }
        if !entry.is_reparse() && entry.unnamed.len() > 1 {
            twice.add(|| format!("{}, which has contents twice", path()));
        }
        let stream = |name: &[u16]| format!("{}:{}", path(), String::from_utf16_lossy(name));
        let mut streams = HashSet::new();
        for name in entry.streams.iter().map(|stream| &stream.name) {
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
        let name = capitals(&entry.name);
        if folder == 0 && SYSTEM.iter().any(|own| own.encode_utf16().eq(name.iter().copied())) {
            twice.add(|| format!("{}, a file of the volume's own", path()));
        }
        let key = (folder, name);
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
    // A folder finds a file by either of its names, so a short one may be no other file's.
    for (place, entry) in tree.entries.iter().enumerate() {
        let Some(folder) = entry.folder.filter(|_| !entry.short_name.is_empty()) else { continue };
        let other = *taken.entry((folder, capitals(&entry.short_name))).or_insert(place);
        if other != place {
            let short = String::from_utf16_lossy(&entry.short_name);
            let words = |path: String| format!("{path}, whose short name {short:?} is another's");
            twice.add(|| words(tree.path(place)));
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
        crowded.finding(
            Code::NotApplicable,
            "have so many streams with such long names that NTFS has no room for the list of them",
            without,
        ),
        behind.finding(
            Code::NotApplicable,
            "lie in folders that are reparse points, such as those of OneDrive, and would be left out",
            without,
        ),
        astray.finding(
            Code::WimDamaged,
            "have a security descriptor that is not in the media",
            "make the media anew",
        ),
    ];
    found.into_iter().flatten().chain(contradictions(tree)).collect()
}

/// A warning if names of one file do not say the same of it.
fn contradictions(tree: &Tree) -> Option<Finding> {
    let found = tree.contradictions();
    let (place, other) = found.first()?;
    let detail = format!(
        "{} names of files say something else of their file than another name of it, first {} and {}",
        found.len(),
        tree.path(*place),
        tree.path(*other)
    );
    Some(Finding::new(Code::LinksDiffer, detail))
}

#[cfg(test)]
mod tests {
    use formats::wim_tree::Stream;

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
            short_name: Box::default(),
            times: [0; 3],
            link_group: 0,
            unnamed: vec![[0; 20]],
            items: Box::default(),
        };
        let mut entries = vec![entry(None, "")];
        entries.extend(names.iter().map(|(folder, name)| entry(Some(*folder), name)));
        Tree { entries, ..Tree::default() }
    }

    fn upcase(unit: u16) -> u16 {
        u8::try_from(unit).map_or(unit, |byte| byte.to_ascii_uppercase().into())
    }

    fn details(tree: &Tree) -> Vec<String> {
        findings(tree, upcase).iter().map(Finding::sentence).collect()
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
        assert_eq!(findings(&odd, upcase).len(), 1);
    }

    #[test]
    fn streams_have_names_as_well() {
        let mut odd = tree(&[(0, "a"), (0, "b")]);
        let stream = |name: Vec<u16>| Stream { name: name.into(), sha1: [1; 20] };
        odd.entries[1].streams = [vec![0x3a], vec![0x41; 256], vec![0x41]].map(stream).into();
        odd.entries[2].streams = [vec![0x41], vec![0x61]].map(stream).into();
        let text = details(&odd).join("\n");
        assert!(text.contains("names_invalid: 2 files") && text.contains("first /a::"), "{text}");
        assert!(text.contains("names_twice: 1 files") && text.contains("first /b:a"), "{text}");
    }

    #[test]
    fn short_names_and_the_volume_s_own_are_names_as_well() {
        let short = |tree: &mut Tree, place: usize, name: &str| {
            tree.entries[place].short_name = name.encode_utf16().collect();
        };
        let mut odd =
            tree(&[(0, "Long one"), (0, "long.two"), (0, "LONGON~1"), (0, "d"), (4, "$MFT")]);
        short(&mut odd, 2, "LONG.TWO");
        assert_eq!(details(&odd), [""; 0], "a short name may be the long one");
        short(&mut odd, 1, "longon~1");
        let text = details(&odd).join("\n");
        assert!(
            text.contains("names_twice: 1 files") && text.contains("first /Long one,"),
            "{text}"
        );
        let mut same = tree(&[(0, "first"), (0, "second"), (0, "$bitmap")]);
        short(&mut same, 1, "F~1");
        short(&mut same, 2, "f~1");
        let text = details(&same).join("\n");
        assert!(
            text.contains("names_twice: 2 files") && text.contains("/$bitmap, a file of"),
            "{text}"
        );
    }

    #[test]
    fn names_of_one_file_say_the_same() {
        let mut links = tree(&[(0, "a"), (0, "b"), (0, "c"), (0, "d")]);
        for entry in &mut links.entries[1..] {
            (entry.attributes, entry.link_group, entry.unnamed) = (0x20, 7, vec![[1; 20]]);
        }
        // Other contents make it another file.
        links.entries[4].unnamed = vec![[2; 20]];
        links.entries[4].attributes = 0x21;
        assert_eq!(details(&links), [""; 0]);
        links.entries[3].times[2] = 1;
        let text = details(&links).join("\n");
        assert!(text.starts_with("links_differ: 1 names") && text.ends_with("/c and /a"), "{text}");
    }

    #[test]
    fn a_file_has_room_for_so_many_streams() {
        let mut odd = tree(&[(0, "a")]);
        let stream = |at: u16| Stream { name: vec![0x100 + at; 200].into(), sha1: [1; 20] };
        odd.entries[1].streams = (0..560).map(stream).collect();
        assert_eq!(details(&odd), [""; 0]);
        odd.entries[1].streams = (0..580).map(stream).collect();
        assert!(details(&odd)[0].starts_with("not_applicable: 1 files"), "{:?}", details(&odd));
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
