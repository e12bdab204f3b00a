//! What is to be added to an image: every file and folder of this machine, with its place there and its digest.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use model::code::FailureCode;
use model::failure::{Failure, chain};
use model::units::Bytes;
use sha1::{Digest as _, Sha1};

use super::names::{Places, judge};

/// A file or folder that the recipe names, or that is made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) from: PathBuf,
    /// Its path in the image, with backslashes.
    pub(super) to: String,
    /// Whether what the image has at that place is taken out first.
    pub(super) is_whole: bool,
}

/// Something that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) from: PathBuf,
    pub(super) to: String,
    /// `None` for a folder.
    pub(super) file: Option<Contents>,
}

/// The contents of a file when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) size: Bytes,
    /// All zeros if it is empty, as in a WIM.
    pub(super) sha1: [u8; 20],
}

/// Everything that is added.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) roots: Vec<Root>,
    pub(super) items: Vec<Item>,
    pub(super) places: Places,
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let shown = path.display().to_string();
    move |error| {
        Failure::new(
            FailureCode::SourceUnreadable,
            format!("cannot read {shown}: {}", chain(&error)),
        )
    }
}

impl Listing {
    /// Adds what is at `from`, with everything below it; the names of `to` lead to its place.
    pub(super) fn add(
        &mut self,
        from: &Path,
        to: &[String],
        is_whole: bool,
    ) -> Result<(), Failure> {
        let from = fs::canonicalize(from).map_err(unreadable(from))?;
        self.places.take_way(to);
        let to: String = to.iter().map(|name| format!("\\{name}")).collect();
        self.roots.push(Root { from: from.clone(), to: to.clone(), is_whole });
        let mut todo = vec![(from, to)];
        while let Some((from, to)) = todo.pop() {
            let about = fs::symlink_metadata(&from).map_err(unreadable(&from))?;
            if let Some(what) = unfit(&about) {
                self.places.fault(&from, what);
                continue;
            }
            self.places.take(&to, about.is_dir());
            let file = about
                .is_file()
                .then(|| Contents { size: Bytes(about.len()), ..Contents::default() });
            self.items.push(Item { from: from.clone(), to: to.clone(), file });
            if !about.is_dir() {
                continue;
            }
            let entries = fs::read_dir(&from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut entries = entries.map_err(unreadable(&from))?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let name = entry.file_name();
                match judge(&name) {
                    Some(what) => self.places.fault(&entry.path(), what),
                    None => todo.push((entry.path(), format!("{to}\\{}", name.display()))),
                }
            }
        }
        Ok(())
    }

    /// The files with their contents.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Item, &Contents)> {
        self.items.iter().filter_map(|item| Some((item, item.file.as_ref()?)))
    }

    /// The size of all files.
    pub(super) fn size(&self) -> Bytes {
        self.files().map(|(_, contents)| contents.size).sum()
    }

    /// Reads every file, and takes down what is in it. `each` is told how many bytes more have been read.
    pub(super) fn read(&mut self, each: &mut dyn FnMut(Bytes)) -> Result<(), Failure> {
        self.read_from(0, each)
    }

    /// The same for what was listed from this place on.
    pub(super) fn read_from(
        &mut self,
        first: usize,
        each: &mut dyn FnMut(Bytes),
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; 1 << 20];
        for item in self.items.iter_mut().skip(first) {
            if let Some(contents) = &mut item.file {
                *contents = hash(&item.from, &mut buffer, each).map_err(unreadable(&item.from))?;
            }
        }
        Ok(())
    }
}

/// Why a file that is no plain one cannot be added.
fn unfit(about: &Metadata) -> Option<&'static str> {
    let kind = about.file_type();
    if kind.is_symlink() {
        return Some("is a link, which leads nowhere on the drive");
    }
    let special =
        kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device();
    special.then_some("is no file but a pipe, a socket or a device")
}

fn hash(path: &Path, buffer: &mut [u8], each: &mut dyn FnMut(Bytes)) -> io::Result<Contents> {
    let mut file = File::open(path)?;
    let (mut hash, mut size) = (Sha1::new(), Bytes(0));
    loop {
        let count = file.read(buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        size += Bytes::of(count);
        each(Bytes::of(count));
    }
    let sha1 = if size.0 == 0 { [0; 20] } else { hash.finalize().into() };
    Ok(Contents { size, sha1 })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn everything_is_listed_or_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("p/sub/empty")).unwrap();
        fs::write(at("p/sub/pagefile.sys"), "kept").unwrap();
        fs::write(at("p/nothing"), "").unwrap();
        let mut listing = Listing::default();
        let to = ["_SMSTaskSequence", "Packages", "X"].map(str::to_owned);
        listing.add(&at("p"), &to, true).unwrap();
        let mut read = Bytes(0);
        listing.read(&mut |more| read += more).unwrap();
        let mut all: Vec<_> = listing.items.iter().map(|item| &item.to[28..]).collect();
        all.sort_unstable();
        assert_eq!(all, ["", "\\nothing", "\\sub", "\\sub\\empty", "\\sub\\pagefile.sys"]);
        assert_eq!((listing.size(), read), (Bytes(4), Bytes(4)));
        let nothing = listing.files().find(|(item, _)| item.to.ends_with("nothing")).unwrap();
        assert_eq!(*nothing.1, Contents::default());
        assert_eq!(listing.places.check(), Ok(()));
        // A link is told, also to a file that is there.
        symlink(at("p/nothing"), at("p/link")).unwrap();
        let mut listing = Listing::default();
        listing.add(&at("p"), &to, true).unwrap();
        let failure = listing.places.check().unwrap_err();
        assert!(failure.detail.contains("/p/link is a link"), "{failure}");
        let missing = Listing::default().add(&at("q"), &to, true).unwrap_err();
        assert_eq!(missing.code, FailureCode::SourceUnreadable);
    }
}
