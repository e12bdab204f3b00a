//! The packages in an image's cache, `\_SMSTaskSequence\Packages`, and the digests by which they are compared.

use std::fmt::Write as _;

use model::digest::Digest;
use model::media::{CachedPackage, LISTED};
use model::units::Bytes;
use sha1::{Digest as _, Sha1};

use crate::wim::{Entry, Thing, hex};

/// The folders in which packages lie, in whatever case.
const CACHE: [&str; 2] = ["_SMSTaskSequence", "Packages"];

/// The packages of an image, whose entries come folder by folder.
#[derive(Default)]
pub(crate) struct Packages {
    listed: Vec<Package>,
    /// How many come after those.
    more: u64,
}

struct Package {
    /// As it is shown.
    id: String,
    /// Where it begins in the image.
    place: String,
    size: Bytes,
    /// Paths below the package as `find .` prints them, and the SHA-1 of what they hold.
    files: Vec<(String, [u8; 20])>,
}

impl Packages {
    /// Takes an entry that is, or is in, one of the first [`LISTED`] packages.
    pub(crate) fn add(&mut self, entry: &Entry<'_>) {
        let Some(below) = in_cache(entry.path) else { return };
        if !below.contains('/') {
            if Bytes::of(self.listed.len()).0 >= LISTED.into() {
                self.more += 1;
                return;
            }
            let id = entry.name.replace(char::is_control, "?");
            let place = entry.path.to_owned();
            self.listed.push(Package { id, place, size: Bytes(0), files: Vec::new() });
        }
        let Some(package) = self.listed.last_mut() else { return };
        let inside = entry.path.strip_prefix(&package.place);
        let inside = inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if let (true, Thing::File(size)) = (inside, Thing::of(entry)) {
            package.size = package.size.saturating_add(Bytes(size));
            package.files.push((path(entry), sha1(entry)));
        }
    }

    /// Those that are listed, in the image's order, and how many more there are.
    pub(crate) fn listed(self) -> (Vec<CachedPackage>, u64) {
        let listed = self.listed.into_iter().map(|mut package| {
            package.files.sort_unstable();
            let mut list = String::new();
            for (path, sha1) in &package.files {
                // Nothing fails that writes into a string.
                let _ = writeln!(list, "{}  {path}", hex(sha1));
            }
            CachedPackage {
                id: package.id,
                files: Bytes::of(package.files.len()).0,
                size_bytes: package.size,
                sha256_of_list: Digest::of(list.as_bytes()),
            }
        });
        (listed.collect(), self.more)
    }
}

/// What a path in the cache is there.
fn in_cache(path: &str) -> Option<&str> {
    let mut below = path.strip_prefix('/')?;
    for folder in CACHE {
        let (first, rest) = below.split_once('/')?;
        below = rest;
        if !first.eq_ignore_ascii_case(folder) {
            return None;
        }
    }
    Some(below)
}

/// A file's path below its package, which is the third folder. A package that is a file itself has none but its name.
fn path(entry: &Entry<'_>) -> String {
    format!("./{}", entry.path.splitn(5, '/').nth(4).unwrap_or(entry.name))
}

/// The SHA-1 of a file's contents; an empty file has no blob.
fn sha1(entry: &Entry<'_>) -> [u8; 20] {
    let unnamed = entry.streams.iter().find(|stream| stream.name.is_empty());
    match unnamed.map(|stream| stream.sha1) {
        Some(sha1) if sha1 != [0; 20] => sha1,
        _ => Sha1::digest([]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wim::Stream;

    fn added(entries: &[(&str, u32, u64)]) -> (Vec<CachedPackage>, u64) {
        let mut packages = Packages::default();
        for (path, attributes, size) in entries {
            let name = path.rsplit('/').next().unwrap();
            let sha1 = if *size == 0 { [0; 20] } else { [1; 20] };
            let streams = vec![Stream { name: "", size: *size, sha1, missing: false }];
            packages.add(&Entry {
                path,
                name,
                raw_name: name.as_bytes(),
                short_name: None,
                attributes: *attributes,
                reparse_tag: 0,
                security: &[],
                links: 1,
                link_group: 0,
                times: [0; 3],
                object_id: [0; 16],
                streams,
            });
        }
        packages.listed()
    }

    #[test]
    fn the_digest_is_of_what_find_and_sha1sum_print() {
        let (all, _) = added(&[
            ("/_SMSTaskSequence", 0x10, 0),
            ("/_SMSTaskSequence/Packages", 0x10, 0),
            ("/_SMSTaskSequence/Packages/PRE1", 0x10, 0),
            ("/_SMSTaskSequence/Packages/PRE1/b", 0x20, 3),
            ("/_SMSTaskSequence/Packages/PRE1/A", 0x10, 0),
            ("/_SMSTaskSequence/Packages/PRE1/A/empty", 0x20, 0),
            ("/_SMSTaskSequence/Packages/PRE1/A/link", 0x420, 9),
            ("/_smstasksequence/packages/pre2.exe", 0x20, 5),
            ("/_SMSTaskSequence/PackagesOther/x", 0x20, 7),
            ("/Windows/_SMSTaskSequence/Packages/x", 0x20, 7),
            // The sign for kelvin is no K to Windows.
            ("/_SMSTas\u{212a}Sequence/Packages/PRE3", 0x10, 7),
        ]);
        let ones = "01".repeat(20);
        let nothing = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let list = format!("{nothing}  ./A/empty\n{ones}  ./b\n");
        assert_eq!(
            all,
            [
                CachedPackage {
                    id: "PRE1".into(),
                    files: 2,
                    size_bytes: Bytes(3),
                    sha256_of_list: Digest::of(list.as_bytes()),
                },
                CachedPackage {
                    id: "pre2.exe".into(),
                    files: 1,
                    size_bytes: Bytes(5),
                    sha256_of_list: Digest::of(format!("{ones}  ./pre2.exe\n").as_bytes()),
                },
            ]
        );
        assert!(added(&[("/Windows/a", 0x20, 1)]).0.is_empty());
    }

    #[test]
    fn no_more_are_listed_than_a_status_may_have() {
        let paths: Vec<String> =
            (0..300).map(|n| format!("/_SMSTaskSequence/Packages/{n}")).collect();
        let mut entries = Vec::new();
        let inside: Vec<String> = paths.iter().map(|path| format!("{path}/x")).collect();
        for (folder, file) in paths.iter().zip(&inside) {
            entries.push((folder.as_str(), 0x10, 0));
            entries.push((file.as_str(), 0x20, 1));
        }
        let (all, more) = added(&entries);
        assert_eq!((all.len(), more), (256, 44));
        assert!(all.iter().all(|package| package.files == 1), "{:?}", all.last());
    }
}
