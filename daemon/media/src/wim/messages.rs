//! What libwim says. Its functions return a number; which file it is about, and why, stands only in the messages that it
//! prints. They go to standard error as before, and the first of them are kept.

use std::ffi::{c_char, c_int, c_void};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use super::sys::Library;

/// So many bytes of messages are kept. Media may be made to have libwim complain without end.
const KEPT: usize = 64 << 10;

/// The messages since they were last taken.
static MESSAGES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

type Write = unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize;

/// `cookie_io_functions_t` (fopencookie(3)): the functions of a stream, none but the one that writes.
#[repr(C)]
struct StreamFunctions {
    read: Option<unsafe extern "C" fn()>,
    write: Option<Write>,
    seek: Option<unsafe extern "C" fn()>,
    close: Option<unsafe extern "C" fn()>,
}

unsafe extern "C" {
    fn fopencookie(
        cookie: *mut c_void,
        mode: *const c_char,
        functions: StreamFunctions,
    ) -> *mut libc::FILE;
}

/// Keeps some bytes and passes all of them on.
unsafe extern "C" fn keep(_: *mut c_void, data: *const c_char, length: usize) -> isize {
    // SAFETY: the C library passes `length` bytes that are valid for reading.
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) };
    let mut kept = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let room = KEPT.saturating_sub(kept.len());
    kept.extend(&data[..length.min(room)]);
    // If nobody reads standard error, what was kept still counts.
    let _ = std::io::stderr().write_all(data);
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// Makes libwim print into a stream of ours. Without memory for one it prints as before.
pub(super) fn collect(library: &Library) {
    let functions = StreamFunctions { read: None, write: Some(keep), seek: None, close: None };
    // SAFETY: the mode is NUL-terminated, and the function has the type that fopencookie(3) gives. libwim flushes the
    // stream after each message, and has it for ever.
    unsafe {
        let stream = fopencookie(std::ptr::null_mut(), c"w".as_ptr(), functions);
        if !stream.is_null() {
            let _: c_int = (library.wimlib_set_error_file)(stream);
        }
    }
}

/// Messages of libwim.
pub(super) struct Messages {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What libwim has printed since this was last called.
pub(super) fn take() -> Messages {
    let data = std::mem::take(&mut *MESSAGES.lock().unwrap_or_else(PoisonError::into_inner));
    let text = String::from_utf8_lossy(&data);
    let all = |kind: &str| {
        text.lines().filter_map(|line| line.trim().strip_prefix(kind).map(str::to_owned)).collect()
    };
    Messages { errors: all("[ERROR] "), warnings: all("[WARNING] ") }
}
