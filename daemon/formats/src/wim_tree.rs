//! The directory tree of an image, as it stands in the metadata of a WIM (layout: Microsoft's "Windows Imaging File Format"
//! paper, and wimlib's src/dentry.c).
//!
//! libwim reads it too. But it leaves out what no volume can hold without telling its caller, gives names in an encoding
//! that loses some of them, makes one file of all names that have a number in common, and tells no contents that lie behind
//! a reparse point.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::text;

/// `FILE_ATTRIBUTE_DIRECTORY`.
const DIRECTORY: u32 = 0x10;
/// `FILE_ATTRIBUTE_COMPRESSED`.
const COMPRESSED: u32 = 0x800;
/// Where the attributes stand in an entry.
const ATTRIBUTES: usize = 8;
/// `FILE_ATTRIBUTE_REPARSE_POINT`.
const REPARSE: u32 = 0x400;

/// Bytes of a directory entry before its names.
const ENTRY: usize = 102;
/// Bytes of a stream entry before its name.
const STREAM: usize = 38;

/// The metadata contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Something is longer than what it stands in.
    #[error("the directory tree is cut off at byte {0}")]
    Short(usize),
    /// No writer makes this; followed again and again, a small tree would become one without end.
    #[error("two folders share their entries, at byte {0}")]
    Shared(u64),
    /// The first entry is none of a folder.
    #[error("the directory tree has no root folder")]
    NoRoot,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its folder's place in [`Tree::entries`]; `None` for the root.
    pub folder: Option<usize>,
    /// Where it begins in the metadata.
    pub place: usize,
    /// Its name in UTF-16, which need not be valid.
    pub name: Box<[u16]>,
    /// Its short name; empty if it has none.
    pub short_name: Box<[u16]>,
    /// Windows file attributes.
    pub attributes: u32,
    /// Number of its security descriptor; negative if it has none.
    pub security: i32,
    /// Where its own entries begin in the metadata; 0 if it has none. Those of a file are not read.
    pub children: u64,
    /// Creation, last access and last write, in units of 100 ns since 1601.
    pub times: [u64; 3],
    /// The same number for all names of one file; 0 if it has one name, and for a reparse point.
    pub link_group: u64,
    /// The digests of the streams without a name: that of the reparse point first, if the entry is one. All zeros for an
    /// empty stream. Never empty.
    pub unnamed: Vec<[u8; 20]>,
    /// Its named streams.
    pub streams: Vec<Stream>,
    /// What follows its names, such as an object ID, as it stands there.
    pub items: Box<[u8]>,
}

/// A named stream of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stream {
    pub name: Box<[u16]>,
    pub sha1: [u8; 20],
}

impl Entry {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.attributes & DIRECTORY != 0
    }

    /// Whether it is a reparse point.
    pub fn is_reparse(&self) -> bool {
        self.attributes & REPARSE != 0
    }

    /// The digest of the contents that lie behind a reparse point; all zeros if they are empty. `None` if the entry is no
    /// reparse point, or has no contents.
    pub fn behind(&self) -> Option<[u8; 20]> {
        self.unnamed.get(1).copied().filter(|_| self.is_reparse())
    }

    /// Everything that all names of one file must agree on, but for its security descriptor's number.
    fn of_file(&self) -> impl PartialEq + '_ {
        let mut streams: Vec<&Stream> = self.streams.iter().collect();
        streams.sort();
        (self.attributes, self.security, self.times, streams, &self.items)
    }
}

/// The directory tree of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// All entries, each after its folder; the root is the first.
    pub entries: Vec<Entry>,
    /// The number of security descriptors.
    pub descriptors: u32,
    /// The digests of files' contents. Those of reparse points are not among them, nor are those of folders.
    pub contents: Vec<Contents>,
}

/// A digest of a file's contents, of 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Its file's place in [`Tree::entries`].
    pub entry: usize,
    /// Where it stands in the metadata.
    pub place: usize,
}

impl Tree {
    /// Reads the metadata of an image.
    ///
    /// # Errors
    /// [`TreeError`] if a length or an offset in it leads elsewhere.
    pub fn parse(data: &[u8]) -> Result<Self, TreeError> {
        let metadata = Metadata(data);
        let mut tree = Self { descriptors: metadata.u32(4)?, ..Self::default() };
        let security = usize::try_from(metadata.u32(0)?).map_err(|_| TreeError::Short(0))?;
        let mut at = security.max(8).checked_next_multiple_of(8).ok_or(TreeError::Short(0))?;
        let mut folders = VecDeque::new();
        match metadata.entry(&mut at, None)? {
            Some((root, _)) if root.is_folder() => {
                folders.push_back((0, root.children));
                tree.entries.push(root);
            }
            _ => return Err(TreeError::NoRoot),
        }
        let mut seen = HashSet::new();
        while let Some((folder, children)) = folders.pop_front() {
            if children == 0 {
                continue;
            }
            if !seen.insert(children) {
                return Err(TreeError::Shared(children));
            }
            let mut at = usize::try_from(children).map_err(|_| TreeError::Short(usize::MAX))?;
            while let Some((entry, contents)) = metadata.entry(&mut at, Some(folder))? {
                let own = tree.entries.len();
                if entry.is_folder() {
                    folders.push_back((own, entry.children));
                } else {
                    let contents = contents.into_iter();
                    tree.contents.extend(contents.map(|place| Contents { entry: own, place }));
                }
                tree.entries.push(entry);
            }
        }
        Ok(tree)
    }

    /// The places of the attributes of folders that would spread what they have to files that lack it: NTFS compresses
    /// whatever is made in a compressed folder. Each with the attributes that spread nothing.
    pub fn spreading(&self) -> Vec<(usize, u32)> {
        let files = self.entries.iter().filter(|entry| !entry.is_folder());
        let plain = files.filter(|file| file.attributes & COMPRESSED == 0);
        let folders: BTreeSet<usize> = plain.filter_map(|file| file.folder).collect();
        let folders = folders.into_iter().filter_map(|folder| self.entries.get(folder));
        folders
            .filter(|folder| folder.attributes & COMPRESSED != 0)
            .map(|folder| (folder.place + ATTRIBUTES, folder.attributes & !COMPRESSED))
            .collect()
    }

    /// The names of files that say something else of their file than an earlier name of it does, each with that one.
    /// A volume has one file for all of them. Which names are of one file is decided as Windows and libwim do (wimlib's
    /// src/inode_fixup.c): they have the same number and the same contents.
    pub fn contradictions(&self) -> Vec<(usize, usize)> {
        let mut first: HashMap<(u64, [u8; 20]), usize> = HashMap::new();
        let mut found = Vec::new();
        for (place, entry) in self.entries.iter().enumerate() {
            if entry.link_group == 0 || entry.is_folder() || entry.is_reparse() {
                continue;
            }
            let group = (entry.link_group, entry.unnamed[0]);
            let other = *first.entry(group).or_insert(place);
            if self.entries[other].of_file() != entry.of_file() {
                found.push((place, other));
            }
        }
        found
    }

    /// The path of an entry, with `/` between names, each as [`text`] writes it; `/` for the root.
    pub fn path(&self, place: usize) -> String {
        let mut names = Vec::new();
        let mut next = self.entries.get(place);
        while let Some(entry) = next
            && let Some(folder) = entry.folder
        {
            names.push(text::of_units(entry.name.iter().copied()));
            next = self.entries.get(folder);
        }
        match names[..] {
            [] => "/".to_owned(),
            _ => names.iter().rev().map(|name| format!("/{name}")).collect(),
        }
    }
}

/// The metadata of an image, read with care.
struct Metadata<'a>(&'a [u8]);

impl Metadata<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], TreeError> {
        let bytes = at.checked_add(N).and_then(|end| self.0.get(at..end));
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(TreeError::Short(at))
    }

    fn u16(&self, at: usize) -> Result<usize, TreeError> {
        Ok(u16::from_le_bytes(self.bytes(at)?).into())
    }

    fn u32(&self, at: usize) -> Result<u32, TreeError> {
        Ok(u32::from_le_bytes(self.bytes(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64, TreeError> {
        Ok(u64::from_le_bytes(self.bytes(at)?))
    }

    /// The end of what begins at `at` and says how long it is: at least `least` bytes.
    fn end(&self, at: usize, least: usize) -> Result<usize, TreeError> {
        let length = usize::try_from(self.u64(at)?).map_err(|_| TreeError::Short(at))?;
        let end = length.checked_next_multiple_of(8).and_then(|length| at.checked_add(length));
        end.filter(|end| length >= least && *end <= self.0.len()).ok_or(TreeError::Short(at))
    }

    /// The name of so many bytes at `at`, which ends before `end`.
    fn name(&self, at: usize, length: usize, end: usize) -> Result<Box<[u16]>, TreeError> {
        let name = at.checked_add(length).filter(|last| *last <= end);
        let name = name.and_then(|last| self.0.get(at..last)).ok_or(TreeError::Short(at))?;
        let (units, rest) = name.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(TreeError::Short(at));
        }
        Ok(units.iter().map(|unit| u16::from_le_bytes(*unit)).collect())
    }

    /// Reads the entry at `at` and moves on to the next; `None` at the end of a folder. With it come the places of the
    /// digests of its contents, but for that of a reparse point.
    fn entry(
        &self,
        at: &mut usize,
        folder: Option<usize>,
    ) -> Result<Option<(Entry, Vec<usize>)>, TreeError> {
        let start = *at;
        if self.u64(start)? <= 8 {
            return Ok(None);
        }
        let end = self.end(start, ENTRY)?;
        let attributes = self.u32(start + 8)?;
        let length = self.u16(start + 100)?;
        let name = self.name(start + ENTRY, length, end)?;
        // A name is followed by a zero that its length does not count.
        let after = |at: usize, length: usize| if length == 0 { at } else { at + length + 2 };
        let short = after(start + ENTRY, length);
        let short_length = self.u16(start + 98)?;
        let short_name = self.name(short, short_length, end)?;
        let items = after(short, short_length).next_multiple_of(8);
        let items = self.0.get(items..end).unwrap_or_default().into();
        let times = [self.u64(start + 40)?, self.u64(start + 48)?, self.u64(start + 56)?];
        let is_reparse = attributes & REPARSE != 0;
        let link_group = if is_reparse { 0 } else { self.u64(start + 88)? };
        let security = i32::from_le_bytes(self.bytes(start + 12)?);
        let children = self.u64(start + 16)?;

        let mut unnamed = vec![start + 64];
        let (mut named, mut streams) = (Vec::new(), Vec::new());
        *at = end;
        for _ in 0..self.u16(start + 96)? {
            let next = self.end(*at, STREAM)?;
            match self.u16(*at + 36)? {
                0 => unnamed.push(*at + 16),
                length => {
                    named.push(*at + 16);
                    let name = self.name(*at + STREAM, length, next)?;
                    streams.push(Stream { name, sha1: self.bytes(*at + 16)? });
                }
            }
            *at = next;
        }
        // The digest in the entry itself counts if it is not zero; otherwise it stands for what no other one does.
        if unnamed.len() > 1 && self.bytes::<20>(unnamed[0])? == [0; 20] {
            unnamed.remove(0);
        }
        let digests = unnamed.iter().map(|at| self.bytes(*at)).collect::<Result<_, _>>()?;
        let entry = Entry {
            folder,
            place: start,
            name,
            short_name,
            attributes,
            security,
            children,
            times,
            link_group,
            unnamed: digests,
            streams,
            items,
        };
        let mut contents = named;
        contents.extend(unnamed.into_iter().skip(usize::from(is_reparse)));
        Ok(Some((entry, contents)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A directory entry with streams of these names.
    fn entry(name: &str, attributes: u32, children: u64, streams: &[&str]) -> Vec<u8> {
        let mut data = vec![0; ENTRY];
        data[8..12].copy_from_slice(&attributes.to_le_bytes());
        data[12..16].copy_from_slice(&(-1_i32).to_le_bytes());
        data[16..24].copy_from_slice(&children.to_le_bytes());
        data[64..84].fill(1);
        data[96] = u8::try_from(streams.len()).unwrap();
        data[100] = u8::try_from(name.len() * 2).unwrap();
        data.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        data.resize((data.len() + 2).next_multiple_of(8), 0);
        let length = u64::try_from(data.len()).unwrap();
        data[..8].copy_from_slice(&length.to_le_bytes());
        for name in streams {
            let mut stream = vec![0; STREAM];
            stream[16..36].fill(2);
            stream[36] = u8::try_from(name.len() * 2).unwrap();
            stream.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
            stream.resize(stream.len().next_multiple_of(8), 0);
            let length = u64::try_from(stream.len()).unwrap();
            stream[..8].copy_from_slice(&length.to_le_bytes());
            data.extend(stream);
        }
        data
    }

    /// The metadata of a root folder with these entries.
    fn metadata(entries: &[Vec<u8>]) -> Vec<u8> {
        let root = entry("", DIRECTORY, 8 + 104 + 8, &[]);
        [&[0; 8][..], &root, &[0; 8], &entries.concat(), &[0; 8]].concat()
    }

    #[test]
    fn a_compressed_folder_spreads_only_to_files_that_are_not() {
        let spreads = |file: u32, folder: u32| {
            let data = metadata(&[entry("f", file, 0, &[])]);
            let mut tree = Tree::parse(&data).unwrap();
            tree.entries[0].attributes = folder;
            tree.spreading()
        };
        assert_eq!(spreads(0x20, 0x810), [(8 + ATTRIBUTES, 0x10)]);
        assert_eq!(spreads(0x820, 0x810), []);
        assert_eq!(spreads(0x20, 0x10), []);
        assert_eq!(spreads(DIRECTORY, 0x810), []);
    }

    #[test]
    fn entries_come_with_their_folders() {
        let data = metadata(&[
            entry("a", 0x20, 0, &["", "zone"]),
            entry("link", 0x420, 0, &[""]),
            entry("both", 0x420, 0, &["", "zone"]),
            entry("dir", DIRECTORY, 0, &["zone"]),
        ]);
        let tree = Tree::parse(&data).unwrap();
        let paths: Vec<String> = (0..tree.entries.len()).map(|place| tree.path(place)).collect();
        assert_eq!(paths, ["/", "/a", "/link", "/both", "/dir"]);
        let zone = Stream { name: "zone".encode_utf16().collect(), sha1: [2; 20] };
        assert_eq!(tree.entries[1].streams, [zone]);
        let behind: Vec<_> = tree.entries.iter().map(Entry::behind).collect();
        assert_eq!(behind, [None, None, Some([2; 20]), Some([2; 20]), None]);
        // Of the reparse points, the digest in the entry is that of the reparse data.
        assert_eq!(tree.contents.len(), 3 + 1 + 2);
        assert!(tree.contents.iter().all(|found| [1, 2].contains(&data[found.place])));
        let own = tree.contents.iter().filter(|found| data[found.place] == 1).count();
        assert_eq!(own, 1);
        let of: Vec<usize> = tree.contents.iter().map(|found| found.entry).collect();
        assert_eq!(of, [1, 1, 1, 2, 3, 3]);
    }

    #[test]
    fn what_leads_elsewhere_is_an_error() {
        let shared = [entry("a", DIRECTORY, 120, &[]), entry("b", DIRECTORY, 0, &[])];
        assert_eq!(Tree::parse(&metadata(&shared)), Err(TreeError::Shared(120)));
        let beyond = metadata(&[entry("a", DIRECTORY, 1 << 20, &[])]);
        assert_eq!(Tree::parse(&beyond), Err(TreeError::Short(1 << 20)));
        let file = [&[0; 8][..], &entry("", 0x20, 0, &[])].concat();
        assert_eq!(Tree::parse(&file), Err(TreeError::NoRoot));
        assert_eq!(Tree::parse(&[]), Err(TreeError::Short(4)));
    }

    proptest! {
        /// Neither cut off nor changed anywhere does it panic, and the digests lie within.
        #[test]
        fn hostile_metadata_is_read_with_care(cut in 0_usize..700, at in 0_usize..600, value: u64) {
            let mut data = metadata(&[entry("a", 0x420, 0, &["", "zone"]), entry("d", 0x10, 0, &[])]);
            data.truncate(cut);
            if let Some(place) = data.get_mut(at..at + 8) {
                place.copy_from_slice(&value.to_le_bytes());
            }
            if let Ok(tree) = Tree::parse(&data) {
                prop_assert!(tree.contents.iter().all(|found| found.place + 20 <= data.len()));
            }
        }
    }
}
