//! A bare copy of an image: a WIM with all that its directory tree says, in which every file is empty.
//!
//! libwim writes the metadata as it stands in the media, byte by byte, into a file of its own that needs the media for the
//! contents of all files. In it the digests of these contents are replaced by that of nothing. What is left are the data of
//! reparse points, which libwim reads from the media.

use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::ptr;

use formats::wim_tree::Tree;
use sha1::{Digest as _, Sha1};

use super::{Wim, WimError, c_string, index, sys};

/// The place of the lookup table in a WIM's header.
const TABLE: u64 = 48;
/// Bytes of an entry of the lookup table.
const ENTRY: usize = 50;
/// The place of the digest in it.
const DIGEST: usize = 30;
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
    /// Writes a bare copy of an image to the file `target`, which does not exist yet; returns its tree. Needs the blobs of
    /// all files, or at least to know where they are.
    ///
    /// # Errors
    /// [`BareError`].
    pub fn write_bare(&mut self, image: u32, target: &Path) -> Result<Tree, BareError> {
        self.write_altered(image, target, |tree, data| {
            for at in &tree.contents {
                data[*at..*at + 20].fill(0);
            }
        })
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
            let digest = u64::try_from(DIGEST).unwrap_or(0);
            return Ok((place + digest, Resource::parse(entry)?));
        }
        place += u64::try_from(ENTRY).unwrap_or(0);
    }
    Err(std::io::Error::other("there is no metadata in it"))
}
