//! The functions that libwim calls back. They turn C structures into safe ones, and let no panic cross into C.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Entry, Flow, Phase, Progress, Report, Stream, sys};

/// libwim's progress callback. A panic stops libwim's call.
pub(super) unsafe extern "C" fn on_progress(
    msg: c_int,
    info: *mut sys::ProgressInfo,
    ctx: *mut c_void,
) -> c_int {
    // SAFETY: libwim passes the union member that belongs to the message.
    let progress = unsafe {
        match msg {
            sys::PROGRESS_EXTRACT_IMAGE_BEGIN => {
                Progress { phase: Phase::Begin, done: 0, total: 0 }
            }
            sys::PROGRESS_VERIFY_INTEGRITY => {
                let i = (*info).integrity;
                Progress { phase: Phase::Integrity, done: i.completed_bytes, total: i.total_bytes }
            }
            sys::PROGRESS_VERIFY_STREAMS => {
                let i = (*info).verify_streams;
                Progress { phase: Phase::Verify, done: i.completed_bytes, total: i.total_bytes }
            }
            sys::PROGRESS_WRITE_STREAMS => {
                let i = (*info).write_streams;
                Progress { phase: Phase::Write, done: i.completed_bytes, total: i.total_bytes }
            }
            sys::PROGRESS_CALC_INTEGRITY => {
                let i = (*info).integrity;
                Progress { phase: Phase::Table, done: i.completed_bytes, total: i.total_bytes }
            }
            sys::PROGRESS_SPLIT_BEGIN_PART | sys::PROGRESS_SPLIT_END_PART => {
                let i = (*info).split;
                Progress { phase: Phase::Split, done: i.completed_bytes, total: i.total_bytes }
            }
            sys::PROGRESS_EXTRACT_STREAMS => {
                let i = (*info).extract;
                Progress { phase: Phase::Data, done: i.completed_bytes, total: i.total_bytes }
            }
            sys::PROGRESS_EXTRACT_FILE_STRUCTURE | sys::PROGRESS_EXTRACT_METADATA => {
                let i = (*info).extract;
                let phase = if msg == sys::PROGRESS_EXTRACT_METADATA {
                    Phase::Metadata
                } else {
                    Phase::Structure
                };
                Progress { phase, done: i.current_file_count, total: i.end_file_count }
            }
            _ => return sys::PROGRESS_CONTINUE,
        }
    };
    // SAFETY: `ctx` is the box that the handle keeps; libwim calls from the thread that made the call.
    let report = unsafe { &mut *ctx.cast::<Report>() };
    match catch_unwind(AssertUnwindSafe(|| report(progress))) {
        Ok(Flow::Continue) => sys::PROGRESS_CONTINUE,
        Ok(Flow::Stop) | Err(_) => sys::PROGRESS_ABORT,
    }
}

/// libwim's callback for directory entries. A panic stops the iteration.
pub(super) unsafe extern "C" fn on_entry<F: FnMut(&Entry<'_>)>(
    raw: *const sys::DirEntry,
    ctx: *mut c_void,
) -> c_int {
    // SAFETY: libwim's strings are NUL-terminated UTF-8 or null, the descriptor has the length given,
    // `1 + num_named_streams` stream entries follow, and all live for the length of this call.
    let (dir, names, raw_name, streams, security) = unsafe {
        let dir = &*raw;
        let count = 1 + usize::try_from(dir.num_named_streams).unwrap_or(0);
        let first: *const sys::StreamEntry = (&raw const (*raw).streams).cast();
        let streams = std::slice::from_raw_parts(first, count);
        let streams: Vec<_> = streams.iter().map(|s| (borrowed(s.stream_name), s)).collect();
        let security = if dir.security_descriptor.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(dir.security_descriptor, dir.security_descriptor_size)
        };
        let names = [dir.full_path, dir.filename, dir.dos_name].map(|name| borrowed(name));
        let raw_name: &[u8] = match dir.filename.is_null() {
            true => &[],
            false => CStr::from_ptr(dir.filename).to_bytes(),
        };
        (dir, names, raw_name, streams, security)
    };
    let [path, name, short_name] = &names;
    let entry = Entry {
        path: path.as_deref().unwrap_or(""),
        name: name.as_deref().unwrap_or(""),
        raw_name,
        short_name: short_name.as_deref().filter(|name| !name.is_empty()),
        attributes: dir.attributes,
        reparse_tag: dir.reparse_tag,
        security,
        links: dir.num_links,
        link_group: dir.hard_link_group_id,
        times: [dir.creation_time, dir.last_write_time, dir.last_access_time].map(nt_time),
        object_id: dir.object_id[0],
        streams: streams
            .iter()
            .map(|(name, stream)| Stream {
                name: name.as_deref().unwrap_or(""),
                size: stream.resource.uncompressed_size,
                sha1: stream.resource.sha1_hash,
                missing: stream.resource.flags & (1 << 4) != 0,
            })
            .collect(),
    };
    // SAFETY: `ctx` is the closure that `iterate` passed and still holds.
    let each = unsafe { &mut *ctx.cast::<F>() };
    match catch_unwind(AssertUnwindSafe(|| each(&entry))) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

/// Seconds from 1601, when NTFS begins to count, to 1970.
const NT_EPOCH: i128 = 11_644_473_600;

/// A time as NTFS counts it: in 100 ns since 1601.
fn nt_time(time: sys::Timespec) -> u64 {
    let units =
        (i128::from(time.seconds) + NT_EPOCH) * 10_000_000 + i128::from(time.nanoseconds / 100);
    u64::try_from(units).unwrap_or(0)
}

/// A C string as text; `None` if it is null.
///
/// # Safety
/// `text` is null or a NUL-terminated string that lives as long as `'a`.
unsafe fn borrowed<'a>(text: *const c_char) -> Option<Cow<'a, str>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(readable(unsafe { CStr::from_ptr(text) }.to_bytes()))
}

/// A name as text. libwim encodes names in UTF-8 (ASSUME_UTF8), and half of a surrogate pair in the same way.
fn readable(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains(char::REPLACEMENT_CHARACTER) => Cow::Borrowed(text),
        _ => Cow::Owned(formats::text::of_wtf8(name)),
    }
}

/// A copy of a C string; `None` if it is null.
///
/// # Safety
/// `text` is null or a NUL-terminated string.
pub(super) unsafe fn owned(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise; the borrow ends here.
    unsafe { borrowed(text) }.map(Cow::into_owned)
}
