//! Security descriptors of what media has none for.
//!
//! Whatever is added to a WIM on Linux has no descriptor there, and libntfs-3g would let everybody do everything with it.
//! Here it gets what Windows would give it in its folder ([`formats::security`]); if the root folder has none, it gets
//! one by which users read and administrators change. The press writes these descriptors, and the comparison with the
//! media expects them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use formats::security::{self, Kind};

use crate::wim::secure::{self, Given};
use crate::wim::{Entry, Wim, WimError};

/// The attribute of a folder.
const DIRECTORY: u32 = 0x10;

/// A folder on the way to the last entry.
#[derive(Debug)]
struct Folder {
    descriptor: Arc<[u8]>,
    /// What its files and its folders get that have none; computed when there is one.
    files: Option<Arc<[u8]>>,
    folders: Option<Arc<[u8]>>,
}

/// Follows a directory tree, entry by entry: each folder before what is in it, and all of that before anything else.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// The root first.
    way: Vec<Folder>,
    /// What the files have that have several links, by the number of their group.
    links: HashMap<u64, Arc<[u8]>>,
    /// Every descriptor, once.
    known: HashSet<Arc<[u8]>>,
}

impl Inheritance {
    /// The next entry's descriptor if the media has none for it.
    pub fn of(&mut self, entry: &Entry<'_>) -> Option<Arc<[u8]>> {
        let depth = if entry.path == "/" { 0 } else { entry.path.matches('/').count() };
        let kind = match entry.attributes & DIRECTORY {
            0 => Kind::File,
            _ => Kind::Folder,
        };
        let group = (entry.links > 1).then_some(entry.link_group);
        self.next(depth, kind, group, entry.security)
    }

    /// As [`Inheritance::of`]. `depth` is the number of folders above the entry, `group` that of a file with several links,
    /// and `own` the media's descriptor, which is empty if there is none.
    pub fn next(
        &mut self,
        depth: usize,
        kind: Kind,
        group: Option<u64>,
        own: &[u8],
    ) -> Option<Arc<[u8]>> {
        self.way.truncate(depth);
        let given = if own.is_empty() { Some(self.given(kind, group)) } else { None };
        if kind == Kind::Folder {
            let descriptor = given.clone().unwrap_or_else(|| self.intern(own.to_vec()));
            self.way.push(Folder { descriptor, files: None, folders: None });
        }
        given
    }

    fn given(&mut self, kind: Kind, group: Option<u64>) -> Arc<[u8]> {
        if let Some(known) = group.and_then(|group| self.links.get(&group)) {
            return Arc::clone(known);
        }
        let given = match self.way.last_mut() {
            None => self.intern(security::root()),
            Some(folder) => {
                let known = match kind {
                    Kind::File => &folder.files,
                    Kind::Folder => &folder.folders,
                };
                match known {
                    Some(known) => Arc::clone(known),
                    None => {
                        let made = security::inherited(&folder.descriptor, kind);
                        let made = self.intern(made);
                        if let Some(folder) = self.way.last_mut() {
                            match kind {
                                Kind::File => folder.files = Some(Arc::clone(&made)),
                                Kind::Folder => folder.folders = Some(Arc::clone(&made)),
                            }
                        }
                        made
                    }
                }
            }
        };
        if let Some(group) = group {
            self.links.insert(group, Arc::clone(&given));
        }
        given
    }

    fn intern(&mut self, descriptor: Vec<u8>) -> Arc<[u8]> {
        if let Some(known) = self.known.get(&descriptor[..]) {
            return Arc::clone(known);
        }
        let new: Arc<[u8]> = descriptor.into();
        self.known.insert(Arc::clone(&new));
        new
    }
}

/// Gives every entry of an image that has been applied to an NTFS volume, and that the media has no descriptor for, the one
/// that it gets. If the volume does not start at byte 0 of the file, [`crate::wim::volume::shift`] must have been called.
///
/// # Errors
/// [`WimError`] if an entry cannot be given its descriptor.
pub fn complete(wim: &mut Wim, image: u32, volume: &Path) -> Result<(), WimError> {
    let mut inheritance = Inheritance::default();
    let mut way: Vec<Vec<u16>> = Vec::new();
    let mut missing = Vec::new();
    wim.entries(image, |entry| {
        let depth = if entry.path == "/" { 0 } else { entry.path.matches('/').count() };
        if depth > 0 {
            way.truncate(depth - 1);
            way.push(entry.units());
        }
        if let Some(descriptor) = inheritance.of(entry) {
            missing.push(Given { path: way.clone(), descriptor });
        }
    })?;
    secure::give(volume, &missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_come_from_the_folder_above() {
        let mut tree = Inheritance::default();
        let root = tree.next(0, Kind::Folder, None, b"").unwrap();
        assert_eq!(root[..], security::root());
        let file = tree.next(1, Kind::File, None, b"").unwrap();
        assert_eq!(file[..], security::inherited(&root, Kind::File));
        // A folder that passes nothing on, and what is in it.
        let closed = security::inherited(b"", Kind::Folder);
        assert_eq!(tree.next(1, Kind::Folder, None, &closed), None);
        let within = tree.next(2, Kind::File, Some(7), b"").unwrap();
        assert_eq!(within[..], security::inherited(&closed, Kind::File));
        let folder = tree.next(2, Kind::Folder, None, b"").unwrap();
        let deep = tree.next(3, Kind::File, None, b"").unwrap();
        assert_eq!(deep[..], security::inherited(&folder, Kind::File));
        // Back at the root; a link keeps what the file has already.
        assert_eq!(tree.next(1, Kind::File, None, b"").unwrap(), file);
        assert_eq!(tree.next(1, Kind::File, Some(7), b"").unwrap(), within);
        assert_eq!(tree.next(1, Kind::File, None, &closed), None);
    }

    #[test]
    fn what_is_given_is_kept_once() {
        let mut tree = Inheritance::default();
        tree.next(0, Kind::Folder, None, b"");
        let first = tree.next(1, Kind::File, None, b"").unwrap();
        for _ in 0..1000 {
            tree.next(1, Kind::Folder, None, b"");
            let next = tree.next(2, Kind::File, None, b"").unwrap();
            assert!(Arc::ptr_eq(&next, &first));
        }
        assert!(tree.known.len() <= 4);
    }
}
