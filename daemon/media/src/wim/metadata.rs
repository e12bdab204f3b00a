//! The metadata of an image as bytes. libwim parses it, but does not tell all that it says.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use model::units::Bytes;
use sha1::Digest as _;

use super::{PIPABLE_MAGIC, Wim, WimError, sys};

/// A blob in a WIM.
#[derive(Clone, Copy, Debug)]
struct Blob {
    sha1: [u8; 20],
    size: u64,
    offset: u64,
    stored: u64,
    is_compressed: bool,
    is_metadata: bool,
}

/// The sizes of blobs by their SHA-1.
pub type Sizes = HashMap<[u8; 20], u64>;

/// What a blob's flags mean.
const COMPRESSED: u32 = 1;
const METADATA: u32 = 1 << 1;

/// Why the metadata of an image cannot be had.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MetadataError {
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error("cannot read the metadata")]
    Read(#[from] io::Error),
    #[error("the metadata is not where the WIM says, or not what it says")]
    Damaged,
    #[error("the WIM is pipable, which has its metadata in another form")]
    Pipable,
}

impl Wim {
    /// The size of each blob by its SHA-1, and the metadata of an image. `path` is the file that the WIM was opened from.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn metadata(&mut self, image: u32, path: &Path) -> Result<(Vec<u8>, Sizes), MetadataError> {
        let mut sizes = HashMap::new();
        let mut images = Vec::new();
        self.blobs(|blob| {
            if blob.is_metadata {
                images.push(blob);
            } else {
                sizes.insert(blob.sha1, blob.size);
            }
        })?;
        // libwim tells those of the images first, in their order.
        let index = usize::try_from(image).unwrap_or(0).checked_sub(1);
        let blob = index.and_then(|index| images.get(index)).ok_or(MetadataError::Damaged)?;
        let data = self.unpack(blob, &File::open(path)?)?;
        if sha1::Sha1::digest(&data)[..] != blob.sha1 {
            return Err(MetadataError::Damaged);
        }
        Ok((data, sizes))
    }

    /// The size of each blob of files by its SHA-1.
    ///
    /// # Errors
    /// [`WimError`].
    pub(super) fn sizes(&mut self) -> Result<Sizes, WimError> {
        let mut sizes = Sizes::new();
        self.blobs(|blob| {
            if !blob.is_metadata {
                sizes.insert(blob.sha1, blob.size);
            }
        })?;
        Ok(sizes)
    }

    fn blobs<F: FnMut(Blob)>(&mut self, mut each: F) -> Result<(), WimError> {
        // SAFETY: the handle is open, and `each` outlives the call, which is the only time the callback runs.
        let code = unsafe {
            (self.library.wimlib_iterate_lookup_table)(
                self.raw,
                0,
                on_blob::<F>,
                ptr::from_mut(&mut each).cast(),
            )
        };
        self.library.check(code, || format!("list the blobs of {}", self.path))
    }

    /// Reads a blob that has a resource of its own.
    fn unpack(&self, blob: &Blob, file: &File) -> Result<Vec<u8>, MetadataError> {
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, 0)?;
        if magic == *PIPABLE_MAGIC {
            return Err(MetadataError::Pipable);
        }
        // What a WIM claims may be anything; what is in its file is not.
        if blob.stored > file.metadata()?.len() {
            return Err(MetadataError::Damaged);
        }
        let mut stored = vec![0; Bytes(blob.stored).as_usize()];
        file.read_exact_at(&mut stored, blob.offset)?;
        if !blob.is_compressed {
            return Ok(stored);
        }
        let mut info = sys::WimInfo::default();
        // SAFETY: the handle is open and `info` has libwim's layout.
        let code = unsafe { (self.library.wimlib_get_wim_info)(self.raw, &mut info) };
        self.library.check(code, || format!("read the header of {}", self.path))?;
        let size = Bytes(blob.size).as_usize();
        let chunk = Bytes(info.chunk_size.into()).as_usize().max(1);
        let count = size.div_ceil(chunk);
        // Before the chunks stand their places, but for that of the first; of four bytes each if they can be.
        let width = if blob.size >> 32 == 0 { 4 } else { 8 };
        let table = stored.get(..count.saturating_sub(1).saturating_mul(width));
        let table = table.ok_or(MetadataError::Damaged)?;
        let data = &stored[table.len()..];
        let mut places = vec![0];
        for place in table.chunks_exact(width) {
            let mut whole = [0; 8];
            whole[..width].copy_from_slice(place);
            places.push(Bytes(u64::from_le_bytes(whole)).as_usize());
        }
        places.push(data.len());
        let decompressor = Decompressor::new(self.library, info.compression_type, chunk)?;
        let mut all = Vec::new();
        for pair in places.windows(2) {
            let length = chunk.min(size - all.len());
            let packed = data.get(pair[0]..pair[1]).ok_or(MetadataError::Damaged)?;
            let from = all.len();
            all.resize(from + length, 0);
            if packed.len() == length {
                all[from..].copy_from_slice(packed);
            } else if !decompressor.decompress(packed, &mut all[from..]) {
                return Err(MetadataError::Damaged);
            }
        }
        Ok(all)
    }
}

/// libwim's callback for blobs. A panic stops the iteration.
unsafe extern "C" fn on_blob<F: FnMut(Blob)>(
    raw: *const sys::ResourceEntry,
    ctx: *mut c_void,
) -> c_int {
    // SAFETY: libwim passes an entry that lives for the length of this call, and the closure that `blobs` still holds.
    let (entry, each) = unsafe { (&*raw, &mut *ctx.cast::<F>()) };
    let blob = Blob {
        sha1: entry.sha1_hash,
        size: entry.uncompressed_size,
        offset: entry.raw_resource_offset_in_wim,
        stored: entry.raw_resource_compressed_size,
        is_compressed: entry.flags & COMPRESSED != 0,
        is_metadata: entry.flags & METADATA != 0,
    };
    match catch_unwind(AssertUnwindSafe(|| each(blob))) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

/// libwim's decompressor for chunks of one size.
struct Decompressor {
    library: &'static sys::Library,
    raw: *mut sys::Decompressor,
}

impl Decompressor {
    fn new(
        library: &'static sys::Library,
        compression: c_int,
        chunk: usize,
    ) -> Result<Self, WimError> {
        let mut raw = ptr::null_mut();
        // SAFETY: the function accepts any numbers, and `raw` is valid for writing.
        let code = unsafe { (library.wimlib_create_decompressor)(compression, chunk, &mut raw) };
        library.check(code, || "make a decompressor".into())?;
        Ok(Self { library, raw })
    }

    /// Whether `packed` gives exactly as many bytes as `plain` has.
    fn decompress(&self, packed: &[u8], plain: &mut [u8]) -> bool {
        // SAFETY: both slices have the lengths given, the decompressor is live, and `plain` is not longer than a chunk.
        let code = unsafe {
            (self.library.wimlib_decompress)(
                packed.as_ptr().cast(),
                packed.len(),
                plain.as_mut_ptr().cast(),
                plain.len(),
                self.raw,
            )
        };
        code == 0
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the decompressor is live and not used again.
        unsafe { (self.library.wimlib_free_decompressor)(self.raw) };
    }
}
