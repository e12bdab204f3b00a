//! Looking at single paths of an image.

use super::{Entry, Wim, sys};

/// The attribute of a folder.
const DIRECTORY: u32 = 0x10;
/// The attribute of a reparse point.
const REPARSE: u32 = 0x400;

/// What an image has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Thing {
    Folder,
    /// A file with this many bytes.
    File(u64),
    /// A reparse point with this tag, file or folder. Whatever it stands for is not in its unnamed stream.
    Reparse(u32),
}

impl Thing {
    /// What an entry is.
    pub fn of(entry: &Entry<'_>) -> Self {
        if entry.attributes & REPARSE != 0 {
            Self::Reparse(entry.reparse_tag)
        } else if entry.attributes & DIRECTORY != 0 {
            Self::Folder
        } else {
            Self::File(entry.streams.first().map_or(0, |stream| stream.size))
        }
    }
}

impl Wim {
    /// What is at a path with backslashes, whatever the case of its letters.
    pub fn thing(&mut self, image: u32, path: &str) -> Option<Thing> {
        let mut thing = None;
        self.iterate(image, path, 0, |entry: &Entry<'_>| thing = Some(Thing::of(entry))).ok()?;
        thing
    }

    /// The path by long names of what NTFS has at a path, whose names may be short ones (8.3).
    pub fn long(&mut self, image: u32, path: &str) -> Option<String> {
        let mut place = String::new();
        for wanted in path.strip_prefix('\\')?.split('\\') {
            let same = |name: &str| name.to_lowercase() == wanted.to_lowercase();
            let mut found = None;
            let each = |entry: &Entry<'_>| {
                if same(entry.name) || entry.short_name.is_some_and(same) {
                    found.get_or_insert_with(|| entry.name.to_owned());
                }
            };
            let folder = if place.is_empty() { "\\" } else { &place };
            self.iterate(image, folder, sys::ITERATE_FLAG_CHILDREN, each).ok()?;
            place = format!("{place}\\{}", found?);
        }
        Some(place)
    }

    /// Calls `each` for a folder and everything below it, parents first; not at all if there is none.
    pub fn below(&mut self, image: u32, folder: &str, each: impl FnMut(&Entry<'_>)) {
        // If the path does not exist, nothing is there.
        let _ = self.iterate(image, folder, sys::ITERATE_FLAG_RECURSIVE, each);
    }
}
