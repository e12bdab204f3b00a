//! What of files and folders is lost on a drive: attributes and short names.
//!
//! The drive has all of the content. What is lost here, a comparison of the drive with the media lists as not kept.

use std::collections::HashSet;

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
    /// The paths of compressed folders.
    compressed: HashSet<String>,
    /// The groups of hard links that have a short name.
    named: HashSet<u64>,
}

/// How many files there are, and the first.
#[derive(Default)]
struct Group {
    count: u64,
    first: String,
}

impl Group {
    fn add(&mut self, entry: &Entry<'_>) {
        if self.count == 0 {
            entry.path.clone_into(&mut self.first);
        }
        self.count += 1;
    }
}

impl Lost {
    /// Counts what an entry loses; its folder comes before it.
    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        let mut lost = entry.attributes & NOT_KEPT & !COMPRESSED;
        let is_folder = entry.attributes & DIRECTORY != 0;
        let is_compressed = entry.attributes & COMPRESSED != 0;
        let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if is_folder && is_compressed {
            self.compressed.insert(entry.path.trim_end_matches('/').to_owned());
        } else if !is_folder && is_compressed != self.compressed.contains(folder) {
            // A file is compressed with its folder; where it should not be, the folder is not, either.
            lost |= COMPRESSED;
        }
        if lost != 0 && !(is_folder && lost == SPARSE) {
            self.all |= lost;
            self.attributes.add(entry);
        }
        if let Some(name) = entry.short_name {
            let is_second = entry.links > 1 && !self.named.insert(entry.link_group);
            if is_second || name.encode_utf16().count() > SHORT {
                self.short_names.add(entry);
            }
        }
    }

    /// The warnings.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        let Group { count, first } = &self.attributes;
        if *count > 0 {
            let names = NAMES.iter().filter(|(attribute, _)| self.all & attribute != 0);
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
