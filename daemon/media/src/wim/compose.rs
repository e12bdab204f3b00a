//! Making WIMs: an image of another one, with files of this machine added, in a new file. What the other one has
//! compressed is copied as it is.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use model::composition::Compression;
use model::units::Bytes;

use super::callback::on_progress;
use super::{Flow, Progress, Report, Wim, WimError, c_string, index, library, messages, sys};

/// A WIM of one image that is not written yet. libwim keeps open what it is made of.
#[derive(Debug)]
pub struct Draft(Wim);

/// Whether the image of a WIM is marked as the one that is started from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Start {
    Bootable,
    Plain,
}

/// The image of a [`Draft`].
const ONLY: u32 = 1;

impl Draft {
    /// Begins with an image of `source`, under its own name, and compressed in chunks as `source` is if that is the same
    /// compression. `report` is called while the draft is written.
    ///
    /// # Errors
    /// [`WimError`].
    pub fn of(
        mut source: Wim,
        image: u32,
        compression: Compression,
        start: Start,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Self, WimError> {
        let info = source.info()?;
        let draft = Self::empty(compression, report)?;
        if info.compression.eq_ignore_ascii_case(&compression.to_string()) && info.chunk > 0 {
            // SAFETY: the handle is open.
            let code =
                unsafe { (draft.0.library.wimlib_set_output_chunk_size)(draft.0.raw, info.chunk) };
            draft.0.library.check(code, || "set the size of chunks".into())?;
        }
        let flags = match start {
            Start::Bootable => sys::EXPORT_FLAG_BOOT,
            Start::Plain => 0,
        };
        draft.take(&mut source, image, flags)?;
        Ok(draft)
    }

    fn empty(
        compression: Compression,
        report: impl FnMut(Progress) -> Flow + 'static,
    ) -> Result<Self, WimError> {
        let library = library()?;
        let kind = match compression {
            Compression::Lzx => sys::COMPRESSION_TYPE_LZX,
            Compression::Xpress => sys::COMPRESSION_TYPE_XPRESS,
            Compression::None => sys::COMPRESSION_TYPE_NONE,
        };
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is valid for writing.
        let code = unsafe { (library.wimlib_create_new_wim)(kind, &mut raw) };
        library.check(code, || "begin a WIM".into())?;
        let boxed: Report = Box::new(report);
        let mut report = Box::new(boxed);
        let ctx: *mut Report = &mut *report;
        // SAFETY: `raw` is the handle just made; `ctx` points into a box that is dropped only after it is freed.
        unsafe { (library.wimlib_register_progress_function)(raw, Some(on_progress), ctx.cast()) };
        Ok(Self(Wim { library, raw, path: "the new media".into(), _report: report }))
    }

    fn take(&self, source: &mut Wim, image: u32, flags: c_int) -> Result<(), WimError> {
        let doing = || format!("take image {image} of {}", source.path);
        // SAFETY: both handles are open and different; a name of null stands for the image's own. libwim frees the source
        // once the last WIM is freed that was made of it, and must not report to a box that is gone by then.
        let code = unsafe {
            let (name, description) = (ptr::null(), ptr::null());
            let (from, to, image) = (source.raw, self.0.raw, index(image));
            (self.0.library.wimlib_register_progress_function)(from, None, ptr::null_mut());
            (self.0.library.wimlib_export_image)(from, image, to, name, description, flags)
        };
        self.0.library.check(code, doing)
    }

    /// Whether the image has something at a path, whatever the case of its letters.
    pub fn has(&mut self, path: &str) -> bool {
        self.0.has(ONLY, path)
    }

    /// Takes out what is at a path, with everything below it.
    ///
    /// # Errors
    /// [`WimError`] if libwim cannot.
    pub fn remove(&mut self, path: &str) -> Result<(), WimError> {
        let doing = || format!("take out {path}");
        let c_path = c_string(path.as_bytes(), doing)?;
        let flags = sys::DELETE_FLAG_FORCE_RECURSIVE;
        // SAFETY: the handle is open and the path NUL-terminated.
        let code = unsafe {
            (self.0.library.wimlib_delete_path)(self.0.raw, index(ONLY), c_path.as_ptr(), flags)
        };
        self.0.library.check(code, doing)
    }

    /// Adds a file or a folder of this machine at a path. Nothing is left out: libwim's own list of what is not worth
    /// keeping is not used. Contents are read when the draft is written.
    ///
    /// # Errors
    /// [`WimError`], with what libwim says of the file.
    pub fn add(&mut self, from: &Path, to: &str) -> Result<(), WimError> {
        let doing = || format!("add {} as {to}", from.display());
        let c_from = c_string(from.as_os_str().as_bytes(), doing)?;
        let c_to = c_string(to.as_bytes(), doing)?;
        let flags = sys::ADD_FLAG_NO_ACLS | sys::ADD_FLAG_NORPFIX;
        messages::take();
        // SAFETY: the handle is open and both paths are NUL-terminated.
        let code = unsafe {
            (self.0.library.wimlib_add_tree)(
                self.0.raw,
                index(ONLY),
                c_from.as_ptr(),
                c_to.as_ptr(),
                flags,
            )
        };
        self.check_said(code, doing)
    }

    /// Sets a property in the XML.
    ///
    /// # Errors
    /// [`WimError`] if libwim refuses the text.
    pub fn set(&mut self, property: &str, value: &str) -> Result<(), WimError> {
        let doing = || format!("set {property} in the XML");
        let c_name = c_string(property.as_bytes(), doing)?;
        let c_value = c_string(value.as_bytes(), doing)?;
        // SAFETY: the handle is open and both texts are NUL-terminated.
        let code = unsafe {
            let (name, value) = (c_name.as_ptr(), c_value.as_ptr());
            (self.0.library.wimlib_set_image_property)(self.0.raw, index(ONLY), name, value)
        };
        self.0.library.check(code, doing)
    }

    /// Writes the file `target`, which does not exist yet, with an integrity table; by as many threads as there are
    /// processors where something is to be compressed.
    ///
    /// # Errors
    /// [`WimError`], with what libwim says. What has been written then is of no use.
    pub fn write(&mut self, target: &Path) -> Result<(), WimError> {
        let doing = || format!("write {}", target.display());
        let c_target = c_string(target.as_os_str().as_bytes(), doing)?;
        messages::take();
        // SAFETY: the handle is open and the path NUL-terminated.
        let code = unsafe {
            let (path, flags) = (c_target.as_ptr(), sys::WRITE_FLAG_CHECK_INTEGRITY);
            (self.0.library.wimlib_write)(self.0.raw, path, sys::ALL_IMAGES, flags, 0)
        };
        self.check_said(code, doing)
    }

    fn check_said(&self, code: c_int, doing: impl FnOnce() -> String) -> Result<(), WimError> {
        if code == 0 {
            return Ok(());
        }
        let mut error = self.0.library.error(doing(), code);
        if let WimError::Libwim { said, .. } = &mut error {
            *said = messages::take().errors.into_iter().next();
        }
        Err(error)
    }
}

impl Wim {
    /// Writes the WIM as a split set, of which no part is larger than `size` unless a single file in it is; `first` is the
    /// path of the first part.
    ///
    /// # Errors
    /// [`WimError`].
    pub fn split(&mut self, first: &Path, size: Bytes) -> Result<(), WimError> {
        let doing = || format!("split {}", self.path);
        let c_first: CString = c_string(first.as_os_str().as_bytes(), doing)?;
        // SAFETY: the handle is open and the path NUL-terminated.
        let code = unsafe {
            let flags = sys::WRITE_FLAG_CHECK_INTEGRITY;
            (self.library.wimlib_split)(self.raw, c_first.as_ptr(), size.0, flags)
        };
        self.library.check(code, doing)
    }
}
