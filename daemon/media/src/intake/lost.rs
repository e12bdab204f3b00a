//! What of files and folders is lost on a drive: attributes and short names.
//!
//! The drive has all of the content. What is lost here, a comparison of the drive with the media lists as not kept.

use std::collections::{BTreeMap, HashSet};

use model::code::FindingCode as Code;
use model::failure::Finding;

use crate::compare::entry::NOT_KEPT;
use crate::wim::Entry;

/// The names of attributes that are not kept.
const NAMES: [(u32, &str); 8] = [
    (SPARSE, "sparse (which stays where a file has holes)"),
    (COMPRESSED, "compressed"),
    (0x8000, "integrity stream"),
    (0x2_0000, "no scrub data"),
    (0x4_0000, "recall on open"),
    (0x8_0000, "pinned"),
    (0x10_0000, "unpinned"),
    (0x40_0000, "recall on data access"),
];
const SPARSE: u32 = 0x200;
const COMPRESSED: u32 = 0x800;
const DIRECTORY: u32 = 0x10;
/// The length of a short name, as 8.3 with its dot.
const SHORT: usize = 12;

/// What is lost, as it is counted.
#[derive(Default)]
pub(super) struct Lost {
    attributes: Group,
    /// All attributes that are lost somewhere.
    all: u32,
    short_names: Group,
    /// What is compressed or not, by folder.
    folders: BTreeMap<String, Compression>,
    /// The groups of hard links that have a short name.
    named: HashSet<u64>,
}

/// The compression of a folder and of the files in it.
#[derive(Default)]
struct Compression {
    is_compressed: bool,
    compressed: Group,
    has_others: bool,
}

/// How many files there are, and the first.
#[derive(Default)]
struct Group {
    count: u64,
    first: String,
}

impl Group {
    fn add(&mut self, path: &str) {
        if self.count == 0 {
            path.clone_into(&mut self.first);
        }
        self.count += 1;
    }

    fn extend(&mut self, other: &Self) {
        if self.count == 0 {
            self.first.clone_from(&other.first);
        }
        self.count += other.count;
    }
}

impl Lost {
    /// Counts what an entry loses; its folder comes before it.
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        let lost = entry.attributes & NOT_KEPT & !COMPRESSED;
        let is_folder = entry.attributes & DIRECTORY != 0;
        let is_compressed = entry.attributes & COMPRESSED != 0;
        if is_folder {
            let own = entry.path.trim_end_matches('/').to_owned();
            self.folders.entry(own).or_default().is_compressed = is_compressed;
        } else {
            let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folder = self.folders.entry(folder.to_owned()).or_default();
            if is_compressed {
                folder.compressed.add(entry.path);
            } else {
                folder.has_others = true;
            }
        }
        if lost != 0 && !(is_folder && lost == SPARSE) {
            self.all |= lost;
            self.attributes.add(entry.path);
        }
        if let Some(name) = entry.short_name {
            let is_second = entry.links > 1 && !self.named.insert(entry.link_group);
            if is_second || name.encode_utf16().count() > SHORT {
                self.short_names.add(entry.path);
            }
        }
    }

    /// The folders and files that are not compressed any more: NTFS compresses what is made in a compressed folder, and
    /// nothing else, so a folder with a file that is not compressed must not be, either.
    fn uncompressed(&self) -> Group {
        let mut all = Group::default();
        for (path, folder) in &self.folders {
            if folder.is_compressed && folder.has_others {
                all.add(if path.is_empty() { "/" } else { path });
            }
            if !folder.is_compressed || folder.has_others {
                all.extend(&folder.compressed);
            }
        }
        all
    }

    /// The warnings.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        let uncompressed = self.uncompressed();
        let lost = if uncompressed.count > 0 { self.all | COMPRESSED } else { self.all };
        let mut attributes = Group::default();
        attributes.extend(&self.attributes);
        attributes.extend(&uncompressed);
        let Group { count, first } = attributes;
        if count > 0 {
            let names = NAMES.iter().filter(|(attribute, _)| lost & attribute != 0);
            let names: Vec<&str> = names.map(|(_, name)| *name).collect();
            let detail = format!(
                "{count} files or folders have attributes that no press keeps: {}; first {first}",
                names.join(", ")
            );
            all.push(Finding::new(Code::AttributesNotKept, detail));
        }
        let Group { count, first } = &self.short_names;
        if *count > 0 {
            let detail = format!("{count} short names are not kept, or cut off; first of {first}");
            all.push(Finding::new(Code::ShortNamesNotKept, detail));
        }
        all
    }
}
