//! A bare copy of an image: a WIM with all that its directory tree says, in which nearly every file is empty.
//!
//! libwim writes the metadata as it stands in the media, byte by byte, into a file of its own that needs the media for the
//! contents of all files. In it the digests of these contents are replaced by that of nothing. What is left are the data of
//! reparse points, and what is small in files that have more than a name and contents; libwim reads it from the media.
//! Where the record of such a file is full, NTFS moves some of it elsewhere, which goes wrong in libntfs-3g at times.

use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::ptr;

use formats::wim_tree::{Contents, Tree};
use model::units::Bytes;
use sha1::{Digest as _, Sha1};

use super::metadata::Sizes;
use super::{Wim, WimError, c_string, index, sys};

/// The place of the lookup table in a WIM's header.
const TABLE: u64 = 48;
/// Bytes of an entry of the lookup table.
const ENTRY: usize = 50;
/// The place of the digest in it.
const DIGEST_IN_ENTRY: usize = 30;
/// Bytes of a digest.
const DIGEST: usize = 20;
/// The flag of a metadata resource.
const METADATA: u8 = 2;

/// A bare copy that cannot be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BareError {
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error(transparent)]
    Tree(#[from] formats::wim_tree::TreeError),
    #[error("cannot write the directory tree")]
    File(#[from] std::io::Error),
}

impl Wim {
    /// Writes a bare copy of an image to the file `target`, which does not exist yet. Needs the blobs of all files, or at
    /// least to know where they are.
    ///
    /// # Errors
    /// [`BareError`].
    pub fn write_bare(&mut self, image: u32, target: &Path) -> Result<Bare, BareError> {
        let sizes = self.sizes()?;
        let mut room = Bytes(0);
        let mut crowded = Vec::new();
        let tree = self.write_altered(image, target, |tree, data| {
            let kept = Kept::of(tree, data, &sizes);
            for contents in &tree.contents {
                let digest = kept.digest(tree, data, &sizes, contents);
                if digest.is_some() {
                    crowded.push(contents.entry);
                }
                let digest = digest.unwrap_or_default();
                data[contents.place..contents.place + DIGEST].copy_from_slice(&digest);
            }
            room = kept.room;
        })?;
        crowded.dedup();
        Ok(Bare { tree, crowded, kept: room })
    }

    /// Writes a copy of an image's directory tree to the file `target`, in which no folder makes NTFS compress files that
    /// are not compressed in the media. Contents are to be found in the media.
    ///
    /// # Errors
    /// [`BareError`].
    pub fn write_unspread(&mut self, image: u32, target: &Path) -> Result<(), BareError> {
        self.write_altered(image, target, |tree, data| {
            for (at, attributes) in tree.spreading() {
                data[at..at + 4].copy_from_slice(&attributes.to_le_bytes());
            }
        })?;
        Ok(())
    }

    /// Writes a copy of an image's directory tree, altered; returns it as it was.
    fn write_altered(
        &mut self,
        image: u32,
        target: &Path,
        alter: impl FnOnce(&Tree, &mut [u8]),
    ) -> Result<Tree, BareError> {
        self.write_metadata(image, target)?;
        let file = OpenOptions::new().read(true).write(true).open(target)?;
        let (place, resource) = metadata(&file)?;
        let mut data = vec![0; resource.length];
        file.read_exact_at(&mut data, resource.offset)?;
        let tree = Tree::parse(&data)?;
        alter(&tree, &mut data);
        file.write_all_at(&data, resource.offset)?;
        file.write_all_at(&Sha1::digest(&data), place)?;
        Ok(tree)
    }

    /// Writes an uncompressed WIM of one image and nothing but its metadata.
    fn write_metadata(&mut self, image: u32, target: &Path) -> Result<(), WimError> {
        let doing = || format!("copy the directory tree of image {image} of {}", self.path);
        let c_target = c_string(target.as_os_str().as_bytes(), doing)?;
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is valid for writing.
        let code =
            unsafe { (self.library.wimlib_create_new_wim)(sys::COMPRESSION_TYPE_NONE, &mut raw) };
        self.library.check(code, doing)?;
        // Dropped, and freed, at the end.
        let copy = Self {
            library: self.library,
            raw,
            path: target.display().to_string(),
            _report: Box::new(Box::new(|_| super::Flow::Continue)),
        };
        let flags = sys::EXPORT_FLAG_NO_NAMES | sys::EXPORT_FLAG_NO_DESCRIPTIONS;
        // SAFETY: both handles are open and different; names may be null.
        let code = unsafe {
            let (name, description) = (ptr::null(), ptr::null());
            let image = index(image);
            (self.library.wimlib_export_image)(self.raw, image, copy.raw, name, description, flags)
        };
        self.library.check(code, doing)?;
        // SAFETY: the handle is open and the path NUL-terminated.
        let code = unsafe {
            let flags = sys::WRITE_FLAG_SKIP_EXTERNAL_WIMS;
            (self.library.wimlib_write)(copy.raw, c_target.as_ptr(), sys::ALL_IMAGES, flags, 1)
        };
        self.library.check(code, doing)
    }
}

/// What a bare copy is made of.
#[derive(Debug)]
pub struct Bare {
    /// The tree of the image.
    pub tree: Tree,
    /// The places in the tree of the files that keep what is small of their contents.
    pub crowded: Vec<usize>,
    /// The room that it takes on a volume.
    pub kept: Bytes,
}

/// Contents larger than this are kept of no file.
const LARGEST: Bytes = Bytes::mib(1);
/// All that is kept is no more than this.
const MOST: Bytes = Bytes::mib(64);
/// What the smallest contents may take on a volume. What is larger than that stands in no file's record.
const CLUSTER: u64 = 4096;

/// Which contents a bare copy keeps, of files that have more than a name and contents.
struct Kept {
    /// Up to which size contents are kept as they are.
    largest: Bytes,
    /// What larger ones become: something that does not fit into the file's record either.
    stand_in: Option<([u8; DIGEST], Bytes)>,
    /// What all that takes on a volume.
    room: Bytes,
}

impl Kept {
    /// As much as may be kept: of very many files, only what is small, or nothing. All names of a file keep the same.
    fn of(tree: &Tree, data: &[u8], sizes: &Sizes) -> Self {
        let outside = sizes.iter().filter(|(_, size)| **size > CLUSTER);
        let stand_in = outside.min_by_key(|(digest, size)| (**size, **digest));
        let stand_in = stand_in.map(|(digest, size)| (*digest, Bytes(*size)));
        let mut kept = Self { largest: LARGEST, stand_in, room: Bytes(0) };
        loop {
            let all = tree.contents.iter();
            let all = all.filter_map(|found| kept.digest(tree, data, sizes, found));
            let size = |digest| Bytes(sizes.get(&digest).copied().unwrap_or(0));
            kept.room = Bytes(all.map(|digest| size(digest).align_up(CLUSTER).0).sum());
            if kept.room <= MOST {
                return kept;
            }
            kept.largest = Bytes(kept.largest.0 / 8);
            kept.stand_in.take_if(|(_, size)| *size > kept.largest);
        }
    }

    /// The digest of what a file has in place of these contents; `None` if that is nothing.
    fn digest(
        &self,
        tree: &Tree,
        data: &[u8],
        sizes: &Sizes,
        contents: &Contents,
    ) -> Option<[u8; DIGEST]> {
        let entry = tree.entries.get(contents.entry)?;
        if entry.streams.is_empty() && entry.items.is_empty() {
            return None;
        }
        let digest = data.get(contents.place..)?.first_chunk::<DIGEST>()?;
        match Bytes(*sizes.get(digest)?) <= self.largest {
            true => Some(*digest),
            false => self.stand_in.map(|(digest, _)| digest),
        }
    }
}

/// Where something uncompressed lies in a file.
struct Resource {
    offset: u64,
    length: usize,
}

impl Resource {
    /// Reads a resource header: 7 bytes of size, 1 of flags, 8 of offset.
    fn parse(header: &[u8]) -> std::io::Result<Self> {
        let short = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (size, rest) = header.split_first_chunk::<8>().ok_or_else(short)?;
        let offset = rest.first_chunk::<8>().ok_or_else(short)?;
        let length = u64::from_le_bytes(*size) & ((1 << 56) - 1);
        let length = usize::try_from(length).map_err(|_| short())?;
        Ok(Self { offset: u64::from_le_bytes(*offset), length })
    }
}

/// Finds the metadata of the one image in a file that libwim has written: where its digest stands, and itself.
fn metadata(file: &std::fs::File) -> std::io::Result<(u64, Resource)> {
    let mut header = [0; 24];
    file.read_exact_at(&mut header, TABLE)?;
    let table = Resource::parse(&header)?;
    let mut entries = vec![0; table.length];
    file.read_exact_at(&mut entries, table.offset)?;
    let mut place = table.offset;
    for entry in entries.chunks_exact(ENTRY) {
        if entry[7] & METADATA != 0 {
            let digest = u64::try_from(DIGEST_IN_ENTRY).unwrap_or(0);
            return Ok((place + digest, Resource::parse(entry)?));
        }
        place += u64::try_from(ENTRY).unwrap_or(0);
    }
    Err(std::io::Error::other("there is no metadata in it"))
}
