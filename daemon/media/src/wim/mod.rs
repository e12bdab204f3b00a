//! A safe interface to libwim: open, verify, list and extract WIM files.
//!
//! Debian's libwim is linked to libntfs-3g and so is GPLv3. Everything here runs in a child process of the station
//! ([`crate::worker`]), because libwim prints the details of its errors to stderr, and because a damaged WIM must never
//! take the station down. A [`Wim`] belongs to one thread.

#![expect(unsafe_code, reason = "the binding to libwim; every block argues its safety")]

mod bare;
mod callback;
mod compose;
mod entry;
mod extract;
mod look;
mod messages;
mod metadata;
pub mod secure;
mod sys;
pub mod volume;

use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, OnceLock};

pub use bare::{Bare, BareError};
use callback::{on_entry, on_progress, owned};
pub use compose::{Draft, Start};
pub use entry::{Entry, Stream};
pub use look::Thing;
pub use metadata::{MetadataError, Sizes};
use model::hint::Hint;
use serde::Serialize;

/// How far a long libwim call has come: `done` of `total`, in the unit of its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Progress {
    pub phase: Phase,
    pub done: u64,
    pub total: u64,
}

/// The phases of libwim's work that report progress, and the unit in which each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// An image is about to be extracted; nothing has been touched yet.
    Begin,
    /// The integrity table is checked, in bytes.
    Integrity,
    /// Every blob is decompressed and its SHA-1 compared, in bytes.
    Verify,
    /// Directories and empty files are created, in files.
    Structure,
    /// File data is written, in bytes.
    Data,
    /// Attributes and times are set, in files.
    Metadata,
    /// A WIM is written, in uncompressed bytes.
    Write,
    /// An integrity table is computed, in bytes.
    Table,
    /// The parts of a split set are written, in compressed bytes.
    Split,
}

/// Whether a long call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The call goes on.
    Continue,
    /// The call ends with libwim's error 76.
    Stop,
}

/// A call of libwim that failed, or was not made because it would have.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum WimError {
    #[error("cannot load {}", sys::SONAME)]
    NoLibrary(#[source] Arc<libloading::Error>),
    /// The file with this name does not begin as a WIM does.
    #[error("{0} is not a WIM file")]
    NotWim(String),
    /// `code` is an `enum wimlib_error_code`, `text` is libwim's name of it. `said` is what libwim printed when
    /// it applied an image: about which file, and why.
    #[error("cannot {doing}: {text} (libwim error {code}){}", after_colon(said.as_deref()))]
    Libwim { doing: String, text: String, code: i32, said: Option<String> },
    #[error("cannot {doing}")]
    Secure {
        doing: String,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("cannot {doing}: {reason}")]
    Refused { doing: String, reason: &'static str },
}

fn after_colon(text: Option<&str>) -> String {
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

impl WimError {
    /// Whether there was no room: on the volume, or on the store on which its image lies.
    pub fn is_full(&self) -> bool {
        if let Self::Secure { source, .. } = self {
            return source.kind() == io::ErrorKind::StorageFull;
        }
        self.said().is_some_and(|said| said.ends_with(NO_SPACE))
    }

    /// Whether libwim could not open a file because it is encrypted, as the ESD files of Windows Update are.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Libwim { code: sys::ERR_WIM_IS_ENCRYPTED, .. })
    }

    /// What libwim printed about an image that it did not apply.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Libwim { said, .. } => said.as_deref(),
            Self::NoLibrary(_) | Self::NotWim(_) | Self::Secure { .. } | Self::Refused { .. } => {
                None
            }
        }
    }
}

/// The C library's text for ENOSPC, which libwim writes behind what it could not do.
const NO_SPACE: &str = ": No space left on device";

impl Hint for WimError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoLibrary(_) => "install Debian's package libwim15",
            Self::NotWim(_) => "replace the file with prestaged media, or take it out of the inbox",
            Self::Libwim { code: sys::ERR_UNEXPECTED_END_OF_FILE, .. } => {
                "copy the file again: its end is missing"
            }
            Self::Libwim { .. } | Self::Secure { .. } | Self::Refused { .. } => return None,
        };
        Some(hint.into())
    }
}

/// How a WIM file begins (Microsoft's white paper on the WIM format).
pub(crate) const MAGIC: &[u8; 8] = b"MSWIM\0\0\0";
/// How a WIM file begins that wimlib has written to a pipe (wimlib, include/wimlib/header.h).
const PIPABLE_MAGIC: &[u8; 8] = b"WLPWM\0\0\0";
/// How a file begins that libwim takes for a WIM.
pub(crate) const MAGICS: [&[u8; 8]; 2] = [MAGIC, PIPABLE_MAGIC];

/// Whether a file begins as a WIM does.
///
/// # Errors
/// If the file cannot be read.
fn begins_as_wim(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut start)?;
    Ok(start == MAGIC || start == PIPABLE_MAGIC)
}

/// The version in the header of a WIM with solid resources (wimlib, include/wimlib/header.h: `WIM_VERSION_SOLID`).
const VERSION_SOLID: u32 = 0xe00;

/// What the header of a WIM file says.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// The WIM's GUID in hexadecimal; all parts of a split set share it.
    pub guid: String,
    /// The number of images.
    pub images: u32,
    /// Index of the bootable image, or 0.
    pub boot_index: u32,
    /// Number of this part of a split set, from 1.
    pub part: u16,
    /// The number of parts in the set; 1 for a whole WIM.
    pub parts: u16,
    /// Compression, by libwim's name: None, XPRESS, LZX, LZMS.
    pub compression: String,
    /// Bytes of a chunk that is compressed by itself.
    pub chunk: u32,
    /// Whether the file has, or may have, many contents compressed as one (WIM version 0xe00).
    pub solid: bool,
    #[expect(missing_docs, reason = "the name says it")]
    pub integrity_table: bool,
    /// Whether the header says that the WIM's writer has not finished.
    pub write_in_progress: bool,
}

/// The function that libwim's progress goes to.
type Report = Box<dyn FnMut(Progress) -> Flow>;

/// An open WIM file.
pub struct Wim {
    library: &'static sys::Library,
    raw: *mut sys::WimStruct,
    path: String,
    /// Lives in a box of its own, because libwim keeps a pointer to it until `raw` is freed.
    _report: Box<Report>,
}

impl std::fmt::Debug for Wim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wim").field("path", &self.path).finish_non_exhaustive()
    }
}

/// libwim, which is loaded and started once per process.
fn library() -> Result<&'static sys::Library, WimError> {
    static LIBRARY: OnceLock<Result<sys::Library, WimError>> = OnceLock::new();
    let load = || {
        let library = sys::Library::load().map_err(|error| WimError::NoLibrary(Arc::new(error)))?;
        let flags = sys::INIT_FLAG_ASSUME_UTF8 | sys::INIT_FLAG_DEFAULT_CASE_INSENSITIVE;
        // SAFETY: both calls are made once, before any other libwim call of this process.
        let code = unsafe {
            (library.wimlib_set_print_errors)(true);
            (library.wimlib_global_init)(flags)
        };
        messages::collect(&library);
        if code == 0 { Ok(library) } else { Err(library.error("start libwim".into(), code)) }
    };
    LIBRARY.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// Loads libwim. Whoever needs it is told if it is not there; this changes nothing but when its file is looked for.
pub fn load() {
    let _ = library();
}

impl sys::Library {
    fn error(&self, doing: String, code: c_int) -> WimError {
        // SAFETY: the function accepts any number and returns a static string.
        let text = unsafe { owned((self.wimlib_get_error_string)(code)) };
        let text = text.unwrap_or_else(|| "unknown error".into());
        WimError::Libwim { doing, text, code, said: None }
    }

    fn check(&self, code: c_int, doing: impl FnOnce() -> String) -> Result<(), WimError> {
        if code == 0 { Ok(()) } else { Err(self.error(doing(), code)) }
    }
}

/// libwim's version as `major.minor.patch`, taken from its number: as text, Debian's 1.13.6 calls itself 1.13.5.
///
/// # Errors
/// [`WimError::NoLibrary`] if libwim is not installed.
pub fn version() -> Result<String, WimError> {
    // SAFETY: no preconditions.
    let v = unsafe { (library()?.wimlib_get_version)() };
    Ok(format!("{}.{}.{}", v >> 20, (v >> 10) & 0x3ff, v & 0x3ff))
}

impl Wim {
    /// Opens a WIM, and checks its integrity table if it has one. `report` is called during this and every later call.
    ///
    /// # Errors
    /// [`WimError::NotWim`], or libwim's error if the file is damaged.
    pub fn open(
        path: &Path,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Self, WimError> {
        Self::open_with(path, sys::OPEN_FLAG_CHECK_INTEGRITY, report)
    }

    /// Opens a WIM that has been verified, without checking its integrity table again. libwim compares the SHA-1 of
    /// whatever it reads all the same.
    ///
    /// # Errors
    /// As [`Wim::open`].
    pub fn reopen(
        path: &Path,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Self, WimError> {
        Self::open_with(path, 0, report)
    }

    fn open_with(
        path: &Path,
        flags: c_int,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Self, WimError> {
        let library = library()?;
        let shown = path.display().to_string();
        let c_path = c_string(path.as_os_str().as_bytes(), || format!("open {shown}"))?;
        let boxed: Report = Box::new(report);
        let mut report = Box::new(boxed);
        let ctx: *mut Report = &mut *report;
        let mut raw = ptr::null_mut();
        // SAFETY: the path is NUL-terminated, `raw` is valid for writing, and `ctx` points into a box
        // that is dropped only after the handle is freed.
        let code = unsafe {
            (library.wimlib_open_wim_with_progress)(
                c_path.as_ptr(),
                flags,
                &mut raw,
                Some(on_progress),
                ctx.cast(),
            )
        };
        if matches!(code, sys::ERR_NOT_A_WIM_FILE | sys::ERR_UNEXPECTED_END_OF_FILE)
            && begins_as_wim(path).is_ok_and(|begins| !begins)
        {
            let name = path.file_name().unwrap_or(path.as_os_str());
            return Err(WimError::NotWim(name.to_string_lossy().into_owned()));
        }
        library.check(code, || format!("open {shown}"))?;
        // SAFETY: `raw` is the handle just opened; `ctx` as above.
        unsafe { (library.wimlib_register_progress_function)(raw, Some(on_progress), ctx.cast()) };
        Ok(Self { library, raw, path: shown, _report: report })
    }

    /// Opens the other parts of a split set, so that blobs are found in them as well.
    ///
    /// # Errors
    /// [`WimError`] if a part cannot be opened.
    pub fn reference(&mut self, parts: &[impl AsRef<Path>]) -> Result<(), WimError> {
        if parts.is_empty() {
            return Ok(());
        }
        let doing = || format!("open the other parts of {}", self.path);
        let paths = c_strings(parts.iter().map(|p| p.as_ref().as_os_str().as_bytes()), doing)?;
        let pointers: Vec<*const c_char> = paths.iter().map(|p| p.as_ptr()).collect();
        let count = u32::try_from(pointers.len()).unwrap_or(u32::MAX);
        // SAFETY: `pointers` holds `count` NUL-terminated strings that outlive the call.
        let code = unsafe {
            (self.library.wimlib_reference_resource_files)(
                self.raw,
                pointers.as_ptr(),
                count,
                0,
                sys::OPEN_FLAG_CHECK_INTEGRITY,
            )
        };
        self.library.check(code, doing)
    }

    /// What the header says.
    ///
    /// # Errors
    /// [`WimError`], though by libwim's documentation the call never fails.
    pub fn info(&self) -> Result<Info, WimError> {
        let mut info = sys::WimInfo::default();
        // SAFETY: the handle is open and `info` has libwim's layout.
        let code = unsafe { (self.library.wimlib_get_wim_info)(self.raw, &mut info) };
        self.library.check(code, || format!("read the header of {}", self.path))?;
        // SAFETY: the function accepts any number and returns a static string.
        let compression = unsafe {
            owned((self.library.wimlib_get_compression_type_string)(info.compression_type))
        };
        Ok(Info {
            guid: hex(&info.guid),
            images: info.image_count,
            boot_index: info.boot_index,
            part: info.part_number,
            parts: info.total_parts,
            compression: compression.unwrap_or_default(),
            chunk: info.chunk_size,
            solid: info.wim_version == VERSION_SOLID,
            integrity_table: info.flags & 1 != 0,
            write_in_progress: info.flags & (1 << 6) != 0,
        })
    }

    /// A property of an image from the WIM's XML, such as `NAME` or `WINDOWS/ARCH`; `None` if the XML does not have it.
    pub fn property(&self, image: u32, name: &str) -> Option<String> {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle is open; the string returned belongs to it and is copied at once.
        unsafe {
            owned((self.library.wimlib_get_image_property)(self.raw, index(image), name.as_ptr()))
        }
    }

    /// Decompresses every blob and compares its SHA-1.
    ///
    /// # Errors
    /// [`WimError`] for the first blob that is damaged.
    pub fn verify(&mut self) -> Result<(), WimError> {
        // SAFETY: the handle is open.
        let code = unsafe { (self.library.wimlib_verify_wim)(self.raw, 0) };
        self.library.check(code, || format!("verify {}", self.path))
    }

    /// Calls `each` for every entry of an image, parents first.
    ///
    /// # Errors
    /// [`WimError`] if the image's metadata is damaged.
    pub fn entries(&mut self, image: u32, each: impl FnMut(&Entry<'_>)) -> Result<(), WimError> {
        self.iterate(image, "\\", sys::ITERATE_FLAG_RECURSIVE, each)
    }

    /// Whether a path exists in an image, whatever the case of its letters.
    pub fn has(&mut self, image: u32, path: &str) -> bool {
        self.iterate(image, path, 0, |_| ()).is_ok()
    }

    /// The bytes of a file in an image; 0 if there is no such file.
    pub fn size(&mut self, image: u32, path: &str) -> u64 {
        let mut size = 0;
        let of = |entry: &Entry<'_>| size = entry.streams.first().map_or(0, |stream| stream.size);
        // If the path does not exist, the size stays 0.
        let _ = self.iterate(image, path, 0, of);
        size
    }

    fn iterate<F: FnMut(&Entry<'_>)>(
        &mut self,
        image: u32,
        path: &str,
        flags: c_int,
        mut each: F,
    ) -> Result<(), WimError> {
        let doing = || format!("list {path} of image {image} of {}", self.path);
        let c_path = c_string(path.as_bytes(), doing)?;
        // SAFETY: the handle is open, the path is NUL-terminated, and `each` outlives the call, which is
        // the only time the callback runs.
        let code = unsafe {
            (self.library.wimlib_iterate_dir_tree)(
                self.raw,
                index(image),
                c_path.as_ptr(),
                flags,
                on_entry::<F>,
                ptr::from_mut(&mut each).cast(),
            )
        };
        self.library.check(code, doing)
    }
}

impl Drop for Wim {
    fn drop(&mut self) {
        // SAFETY: the handle is open and not used again; the progress box is dropped after this.
        unsafe { (self.library.wimlib_free)(self.raw) };
    }
}

/// The index of an image as libwim takes it.
fn index(image: u32) -> c_int {
    c_int::try_from(image).unwrap_or(c_int::MAX)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn c_string(bytes: &[u8], doing: impl Fn() -> String) -> Result<CString, WimError> {
    CString::new(bytes)
        .map_err(|_| WimError::Refused { doing: doing(), reason: "a path holds a NUL character" })
}

fn c_strings<'a>(
    all: impl Iterator<Item = &'a [u8]>,
    doing: impl Fn() -> String + Copy,
) -> Result<Vec<CString>, WimError> {
    all.map(|bytes| c_string(bytes, doing)).collect()
}
