//! libwim behind a safe interface: open, verify, list, extract.
//!
//! Debian's libwim is linked to libntfs-3g and so is GPLv3. Everything here runs in a child
//! process of the station ([`crate::worker`]): libwim prints the text of its errors to stderr and a
//! damaged WIM must never take the station down. One [`Wim`] belongs to one thread.

#![expect(unsafe_code, reason = "the binding to libwim; every block argues its safety")]

mod callback;
mod sys;
pub mod volume;

use std::ffi::{CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use callback::{on_entry, on_progress, owned};
use serde::Serialize;

/// How far a long libwim call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Done so far: bytes, or files while the structure is laid down.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// The parts of libwim's work that report progress.
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
}

/// Whether a long call shall go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop; the call fails with libwim's code 76.
    Stop,
}

/// A libwim call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {text} (libwim error {code})")]
pub struct WimError {
    /// What was attempted, on what.
    pub doing: String,
    /// libwim's name of the error.
    pub text: String,
    /// libwim's number of the error (`enum wimlib_error_code`).
    pub code: i32,
}

impl WimError {
    /// Whether libntfs-3g failed: the volume is full, or the store under it.
    pub fn is_volume(&self) -> bool {
        self.code == sys::ERR_NTFS_3G
    }
}

/// General facts of a WIM file.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// WIM GUID in hex; all parts of a split set share it.
    pub guid: String,
    /// Images in it.
    pub images: u32,
    /// Index of the bootable image, or 0.
    pub boot_index: u32,
    /// Number of this part of a split set, from 1.
    pub part: u16,
    /// Parts in the set; 1 for a whole WIM.
    pub parts: u16,
    /// Compression, by libwim's name: None, XPRESS, LZX, LZMS.
    pub compression: String,
    /// Whether an integrity table is there.
    pub integrity_table: bool,
    /// Whether the header says that its writer has not finished.
    pub write_in_progress: bool,
}

/// One directory entry of an image, borrowed for the length of the callback.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Path in the image with `/` between names; `/` for the root.
    pub path: &'a str,
    /// File name; empty for the root.
    pub name: &'a str,
    /// 8.3 name, if it has one.
    pub short_name: Option<&'a str>,
    /// Windows file attributes, as stored.
    pub attributes: u32,
    /// Reparse tag, or 0.
    pub reparse_tag: u32,
    /// Self-relative security descriptor; empty if there is none.
    pub security: &'a [u8],
    /// Hard links to this file.
    pub links: u32,
    /// The same for all links to one file; may be 0 for a file of one link.
    pub link_group: u64,
    /// Creation, last write, last access: 100 ns since 1601, as NTFS counts.
    pub times: [u64; 3],
    /// Object ID, all zero if none.
    pub object_id: [u8; 16],
    /// The unnamed (or reparse, or encrypted) stream, then the named ones.
    pub streams: Vec<Stream<'a>>,
}

/// One stream of a file.
#[derive(Debug)]
pub struct Stream<'a> {
    /// Name; empty for the unnamed stream.
    pub name: &'a str,
    /// Uncompressed length in bytes.
    pub size: u64,
    /// SHA-1 of the contents; all zero if empty.
    pub sha1: [u8; 20],
    /// The blob is not in the WIM, nor in any referenced part.
    pub missing: bool,
}

/// Where libwim's progress goes.
type Report = Box<dyn FnMut(Progress) -> Flow>;

/// An open WIM file.
pub struct Wim {
    library: &'static sys::Library,
    raw: *mut sys::WimStruct,
    path: String,
    /// libwim keeps a pointer to this until `raw` is freed, so it lives in a box of its own.
    _report: Box<Report>,
}

impl std::fmt::Debug for Wim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wim").field("path", &self.path).finish_non_exhaustive()
    }
}

/// libwim, loaded and started once per process.
fn library() -> Result<&'static sys::Library, WimError> {
    static LIBRARY: OnceLock<Result<sys::Library, WimError>> = OnceLock::new();
    let load = || {
        let library = sys::Library::load().map_err(|error| WimError {
            doing: format!("load {}", sys::SONAME),
            text: format!("{error}; install Debian's package libwim15"),
            code: 0,
        })?;
        let flags = sys::INIT_FLAG_ASSUME_UTF8 | sys::INIT_FLAG_DEFAULT_CASE_INSENSITIVE;
        // SAFETY: both calls are made once, before any other libwim call of this process.
        let code = unsafe {
            (library.wimlib_set_print_errors)(true);
            (library.wimlib_global_init)(flags)
        };
        if code == 0 { Ok(library) } else { Err(library.error("start libwim".into(), code)) }
    };
    LIBRARY.get_or_init(load).as_ref().map_err(Clone::clone)
}

impl sys::Library {
    fn error(&self, doing: String, code: c_int) -> WimError {
        // SAFETY: the function accepts any number and returns a static string.
        let text = unsafe { owned((self.wimlib_get_error_string)(code)) };
        WimError { doing, text: text.unwrap_or_else(|| "unknown error".into()), code }
    }

    fn check(&self, code: c_int, doing: impl FnOnce() -> String) -> Result<(), WimError> {
        if code == 0 { Ok(()) } else { Err(self.error(doing(), code)) }
    }
}

/// libwim's version as `major.minor.patch`. Debian's 1.13.6 names itself 1.13.5 in text, so the number counts.
///
/// # Errors
/// [`WimError`] if libwim is not installed; it names the package.
pub fn version() -> Result<String, WimError> {
    // SAFETY: no preconditions.
    let v = unsafe { (library()?.wimlib_get_version)() };
    Ok(format!("{}.{}.{}", v >> 20, (v >> 10) & 0x3ff, v & 0x3ff))
}

impl Wim {
    /// Opens a WIM; its integrity table, if there is one, is checked. `report` is called during this and
    /// every later call on the handle.
    ///
    /// # Errors
    /// [`WimError`] says what is wrong with the file.
    pub fn open(
        path: &Path,
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
                sys::OPEN_FLAG_CHECK_INTEGRITY,
                &mut raw,
                Some(on_progress),
                ctx.cast(),
            )
        };
        library.check(code, || format!("open {shown}"))?;
        // SAFETY: `raw` is the handle just opened; `ctx` as above.
        unsafe { (library.wimlib_register_progress_function)(raw, Some(on_progress), ctx.cast()) };
        Ok(Self { library, raw, path: shown, _report: report })
    }

    /// Makes the other parts of a split set known.
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

    /// Facts from the header.
    ///
    /// # Errors
    /// [`WimError`], which libwim's documentation rules out.
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
            integrity_table: info.flags & 1 != 0,
            write_in_progress: info.flags & (1 << 6) != 0,
        })
    }

    /// A property of an image from the WIM's XML, such as `NAME` or `WINDOWS/ARCH`.
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
    /// [`WimError`] on the first damaged one.
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

    /// Whether a path exists in an image; case does not matter.
    pub fn has(&mut self, image: u32, path: &str) -> bool {
        self.iterate(image, path, 0, |_| ()).is_ok()
    }

    /// Bytes of a file in an image; 0 if there is none.
    pub fn size(&mut self, image: u32, path: &str) -> u64 {
        let mut size = 0;
        let of = |entry: &Entry<'_>| size = entry.streams.first().map_or(0, |stream| stream.size);
        // A path that does not exist leaves it as it is.
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

    /// Applies an image to the NTFS volume in the file `target`, which must be freshly formatted. Where the
    /// volume does not start at byte 0, see [`volume::shift`].
    ///
    /// # Errors
    /// [`WimError`]; the volume is then incomplete although it may look whole.
    pub fn extract_to_volume(&mut self, image: u32, target: &Path) -> Result<(), WimError> {
        let doing = || format!("apply image {image} of {}", self.path);
        let c_target = c_string(target.as_os_str().as_bytes(), doing)?;
        // Reparse points stay as captured: the volume will be C:, whatever it is called here.
        let flags = sys::EXTRACT_FLAG_NTFS | sys::EXTRACT_FLAG_NORPFIX;
        // SAFETY: the handle is open and the path is NUL-terminated.
        let code = unsafe {
            (self.library.wimlib_extract_image)(self.raw, index(image), c_target.as_ptr(), flags)
        };
        self.library.check(code, doing)
    }

    /// What libwim says will be lost when an image is applied to an NTFS volume. It counts that before it begins and
    /// prints it, which is the only way to learn of extended attributes. The report function must stop at
    /// [`Phase::Begin`]. From then on libwim's messages go to `messages`: to be called last.
    pub fn losses(&mut self, image: u32, messages: &Path) -> Vec<String> {
        let Ok(name) = CString::new(messages.as_os_str().as_bytes()) else { return Vec::new() };
        // SAFETY: the name is NUL-terminated; libwim opens the file itself.
        let code = unsafe { (self.library.wimlib_set_error_file_by_name)(name.as_ptr()) };
        if code != 0 {
            return Vec::new();
        }
        let nowhere = messages.with_extension("no-volume");
        if self.extract_to_volume(image, &nowhere).is_ok() {
            return Vec::new();
        }
        let text = std::fs::read(messages).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).into_owned();
        lines
            .lines()
            .filter_map(|line| line.trim().strip_prefix("[WARNING] Ignoring "))
            .map(str::to_owned)
            .collect()
    }

    /// Extracts trees or files into a directory, with their paths, without Windows metadata.
    ///
    /// # Errors
    /// [`WimError`], also if a path does not exist.
    pub fn extract_paths(
        &mut self,
        image: u32,
        target: &Path,
        paths: &[&str],
    ) -> Result<(), WimError> {
        let doing = || format!("extract {} of {}", paths.join(", "), self.path);
        let c_target = c_string(target.as_os_str().as_bytes(), doing)?;
        let c_paths = c_strings(paths.iter().map(|p| p.as_bytes()), doing)?;
        let pointers: Vec<*const c_char> = c_paths.iter().map(|p| p.as_ptr()).collect();
        let flags =
            sys::EXTRACT_FLAG_NO_ACLS | sys::EXTRACT_FLAG_NO_ATTRIBUTES | sys::EXTRACT_FLAG_NORPFIX;
        // SAFETY: the handle is open; all strings are NUL-terminated and outlive the call.
        let code = unsafe {
            (self.library.wimlib_extract_paths)(
                self.raw,
                index(image),
                c_target.as_ptr(),
                pointers.as_ptr(),
                pointers.len(),
                flags,
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
    CString::new(bytes).map_err(|_| WimError {
        doing: doing(),
        text: "a path holds a NUL character".into(),
        code: 0,
    })
}

fn c_strings<'a>(
    all: impl Iterator<Item = &'a [u8]>,
    doing: impl Fn() -> String + Copy,
) -> Result<Vec<CString>, WimError> {
    all.map(|bytes| c_string(bytes, doing)).collect()
}
