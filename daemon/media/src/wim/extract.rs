//! Extracting images and files.

use std::ffi::{c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{Wim, WimError, c_string, c_strings, index, messages, sys};

impl Wim {
    /// Applies an image to the freshly formatted NTFS volume in the file `target`. If the volume does not start at byte
    /// 0 of the file, [`super::volume::shift`] must have been called. What is applied loses what libwim only warns of:
    /// these warnings are returned.
    ///
    /// # Errors
    /// [`WimError`]. The volume is incomplete then, although it may look whole.
    pub fn extract_to_volume(
        &mut self,
        image: u32,
        target: &Path,
    ) -> Result<Vec<String>, WimError> {
        let code = self.apply(image, target)?;
        let messages = messages::take();
        if code == 0 {
            return Ok(messages.warnings);
        }
        let mut error = self.library.error(format!("apply image {image} of {}", self.path), code);
        if let WimError::Libwim { said, .. } = &mut error {
            *said = messages.errors.into_iter().next();
        }
        Err(error)
    }

    /// Applies an image, and returns libwim's code of how that ended.
    fn apply(&mut self, image: u32, target: &Path) -> Result<c_int, WimError> {
        let doing = || format!("apply image {image} of {}", self.path);
        let c_target = c_string(target.as_os_str().as_bytes(), doing)?;
        // Targets of reparse points stay as captured: the volume will be C: on the computer.
        let flags = sys::EXTRACT_FLAG_NTFS | sys::EXTRACT_FLAG_NORPFIX;
        // What was printed before is not about this.
        messages::take();
        // SAFETY: the handle is open and the path is NUL-terminated.
        Ok(unsafe {
            (self.library.wimlib_extract_image)(self.raw, index(image), c_target.as_ptr(), flags)
        })
    }

    /// What would be lost if an image were applied to an NTFS volume, in libwim's words. libwim counts and prints this
    /// before it begins, and nothing else tells of extended attributes. The report function must stop at
    /// [`super::Phase::Begin`]; `nowhere` is a path at which nothing is.
    pub fn losses(&mut self, image: u32, nowhere: &Path) -> Vec<String> {
        if !self.apply(image, nowhere).is_ok_and(|code| code != 0) {
            return Vec::new();
        }
        let lines = messages::take().warnings.into_iter();
        lines.filter_map(|line| line.strip_prefix("Ignoring ").map(str::to_owned)).collect()
    }

    /// Extracts files or trees into the folder `target`, at their own paths below it, without Windows metadata.
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
