//! The part of libwim's and libntfs-3g's C interfaces that is used here, written by hand from wimlib.h (1.13.6; 1.14.4
//! has the same layouts) and ntfs-3g/device.h (2022.10.3). Only declarations: numbers and orders are those of the
//! headers.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

/// `WIMStruct`, an opaque handle that one thread at a time may use.
#[repr(C)]
#[derive(Debug)]
pub(super) struct WimStruct {
    _opaque: [u8; 0],
}

pub(super) const INIT_FLAG_ASSUME_UTF8: c_int = 0x1;
pub(super) const INIT_FLAG_DEFAULT_CASE_INSENSITIVE: c_int = 0x20;
pub(super) const OPEN_FLAG_CHECK_INTEGRITY: c_int = 0x1;
pub(super) const EXTRACT_FLAG_NTFS: c_int = 0x1;
pub(super) const EXTRACT_FLAG_NO_ACLS: c_int = 0x40;
pub(super) const EXTRACT_FLAG_NORPFIX: c_int = 0x200;
pub(super) const EXTRACT_FLAG_NO_ATTRIBUTES: c_int = 0x10_0000;
pub(super) const ITERATE_FLAG_RECURSIVE: c_int = 0x1;
pub(super) const ITERATE_FLAG_CHILDREN: c_int = 0x2;
pub(super) const EXPORT_FLAG_NO_NAMES: c_int = 0x2;
pub(super) const EXPORT_FLAG_NO_DESCRIPTIONS: c_int = 0x4;
pub(super) const WRITE_FLAG_SKIP_EXTERNAL_WIMS: c_int = 0x200;
pub(super) const EXPORT_FLAG_BOOT: c_int = 0x1;
pub(super) const DELETE_FLAG_FORCE_RECURSIVE: c_int = 0x3;
pub(super) const ADD_FLAG_NO_ACLS: c_int = 0x20;
pub(super) const ADD_FLAG_NORPFIX: c_int = 0x200;
pub(super) const WRITE_FLAG_CHECK_INTEGRITY: c_int = 0x1;
pub(super) const COMPRESSION_TYPE_NONE: c_int = 0;
pub(super) const COMPRESSION_TYPE_XPRESS: c_int = 1;
pub(super) const COMPRESSION_TYPE_LZX: c_int = 2;
pub(super) const ALL_IMAGES: c_int = -1;

pub(super) const PROGRESS_EXTRACT_IMAGE_BEGIN: c_int = 0;
pub(super) const PROGRESS_EXTRACT_FILE_STRUCTURE: c_int = 3;
pub(super) const PROGRESS_EXTRACT_STREAMS: c_int = 4;
pub(super) const PROGRESS_EXTRACT_METADATA: c_int = 6;
pub(super) const PROGRESS_WRITE_STREAMS: c_int = 12;
pub(super) const PROGRESS_CALC_INTEGRITY: c_int = 17;
pub(super) const PROGRESS_SPLIT_BEGIN_PART: c_int = 19;
pub(super) const PROGRESS_SPLIT_END_PART: c_int = 20;
pub(super) const PROGRESS_VERIFY_INTEGRITY: c_int = 16;
pub(super) const PROGRESS_VERIFY_STREAMS: c_int = 29;
pub(super) const PROGRESS_CONTINUE: c_int = 0;
pub(super) const PROGRESS_ABORT: c_int = 1;

pub(super) const ERR_NOT_A_WIM_FILE: c_int = 43;
pub(super) const ERR_UNEXPECTED_END_OF_FILE: c_int = 65;
pub(super) const ERR_WIM_IS_ENCRYPTED: c_int = 74;

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ExtractInfo {
    pub(super) image: u32,
    pub(super) extract_flags: u32,
    pub(super) wimfile_name: *const c_char,
    pub(super) image_name: *const c_char,
    pub(super) target: *const c_char,
    pub(super) reserved: *const c_char,
    pub(super) total_bytes: u64,
    pub(super) completed_bytes: u64,
    pub(super) total_streams: u64,
    pub(super) completed_streams: u64,
    pub(super) part_number: u32,
    pub(super) total_parts: u32,
    pub(super) guid: [u8; 16],
    pub(super) current_file_count: u64,
    pub(super) end_file_count: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct IntegrityInfo {
    pub(super) total_bytes: u64,
    pub(super) completed_bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct VerifyStreamsInfo {
    pub(super) wimfile: *const c_char,
    pub(super) total_streams: u64,
    pub(super) total_bytes: u64,
    pub(super) completed_streams: u64,
    pub(super) completed_bytes: u64,
}

/// The first fields of `struct wimlib_progress_info_write_streams`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct WriteStreamsInfo {
    pub(super) total_bytes: u64,
    pub(super) total_streams: u64,
    pub(super) completed_bytes: u64,
}

/// The first fields of `struct wimlib_progress_info_split`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SplitInfo {
    pub(super) total_bytes: u64,
    pub(super) completed_bytes: u64,
}

/// `union wimlib_progress_info`, only ever seen behind a pointer, so its size does not matter.
#[repr(C)]
pub(super) union ProgressInfo {
    pub(super) extract: ExtractInfo,
    pub(super) integrity: IntegrityInfo,
    pub(super) verify_streams: VerifyStreamsInfo,
    pub(super) write_streams: WriteStreamsInfo,
    pub(super) split: SplitInfo,
}

pub(super) type ProgressFn =
    unsafe extern "C" fn(msg: c_int, info: *mut ProgressInfo, ctx: *mut c_void) -> c_int;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct WimInfo {
    pub(super) guid: [u8; 16],
    pub(super) image_count: u32,
    pub(super) boot_index: u32,
    pub(super) wim_version: u32,
    pub(super) chunk_size: u32,
    pub(super) part_number: u16,
    pub(super) total_parts: u16,
    pub(super) compression_type: i32,
    pub(super) total_bytes: u64,
    /// Bit 0: integrity table, 3: rpfix, 6: write in progress.
    pub(super) flags: u32,
    pub(super) reserved: [u32; 9],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Timespec {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

#[repr(C)]
pub(super) struct ResourceEntry {
    pub(super) uncompressed_size: u64,
    pub(super) compressed_size: u64,
    pub(super) offset: u64,
    pub(super) sha1_hash: [u8; 20],
    pub(super) part_number: u32,
    pub(super) reference_count: u32,
    /// Bit 0: compressed, 1: metadata, 4: the blob is missing.
    pub(super) flags: u32,
    pub(super) raw_resource_offset_in_wim: u64,
    pub(super) raw_resource_compressed_size: u64,
    pub(super) raw_resource_uncompressed_size: u64,
    pub(super) reserved: [u64; 1],
}

#[repr(C)]
pub(super) struct StreamEntry {
    pub(super) stream_name: *const c_char,
    pub(super) resource: ResourceEntry,
    pub(super) reserved: [u64; 4],
}

#[repr(C)]
pub(super) struct DirEntry {
    pub(super) filename: *const c_char,
    pub(super) dos_name: *const c_char,
    pub(super) full_path: *const c_char,
    pub(super) depth: usize,
    pub(super) security_descriptor: *const u8,
    pub(super) security_descriptor_size: usize,
    pub(super) attributes: u32,
    pub(super) reparse_tag: u32,
    pub(super) num_links: u32,
    pub(super) num_named_streams: u32,
    pub(super) hard_link_group_id: u64,
    pub(super) creation_time: Timespec,
    pub(super) last_write_time: Timespec,
    pub(super) last_access_time: Timespec,
    pub(super) unix_ids: [u32; 4],
    pub(super) object_id: [[u8; 16]; 4],
    pub(super) time_high: [i32; 3],
    pub(super) reserved2: i32,
    pub(super) reserved: [u64; 4],
    /// `1 + num_named_streams` entries follow.
    pub(super) streams: [StreamEntry; 0],
}

pub(super) type BlobFn = unsafe extern "C" fn(*const ResourceEntry, *mut c_void) -> c_int;

/// `struct wimlib_decompressor`, opaque.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Decompressor {
    _opaque: [u8; 0],
}

pub(super) type IterateFn = unsafe extern "C" fn(*const DirEntry, *mut c_void) -> c_int;

/// `ntfs_volume`, opaque here.
#[repr(C)]
#[derive(Debug)]
pub(super) struct NtfsVolume {
    _opaque: [u8; 0],
}

/// `ntfs_inode`, opaque here.
#[repr(C)]
#[derive(Debug)]
pub(super) struct NtfsInode {
    _opaque: [u8; 0],
}

/// `struct SECURITY_CONTEXT` (ntfs-3g/security.h), of which only the volume is used here: two tables of users, a cache,
/// three numbers and a mask follow, all of them zero. It is longer than the original.
#[repr(C)]
#[derive(Debug)]
pub(super) struct SecurityContext {
    pub(super) volume: *mut NtfsVolume,
    pub(super) unused: [usize; 15],
}

/// `struct ntfs_device`, opaque here.
#[repr(C)]
#[derive(Debug)]
pub(super) struct NtfsDevice {
    _opaque: [u8; 0],
}

type PositionedRead = unsafe extern "C" fn(*mut NtfsDevice, *mut c_void, i64, i64) -> i64;
type PositionedWrite = unsafe extern "C" fn(*mut NtfsDevice, *const c_void, i64, i64) -> i64;

/// `struct ntfs_device_operations`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct DeviceOperations {
    pub(super) open: Option<unsafe extern "C" fn(*mut NtfsDevice, c_int) -> c_int>,
    pub(super) close: Option<unsafe extern "C" fn(*mut NtfsDevice) -> c_int>,
    pub(super) seek: Option<unsafe extern "C" fn(*mut NtfsDevice, i64, c_int) -> i64>,
    pub(super) read: Option<unsafe extern "C" fn(*mut NtfsDevice, *mut c_void, i64) -> i64>,
    pub(super) write: Option<unsafe extern "C" fn(*mut NtfsDevice, *const c_void, i64) -> i64>,
    pub(super) pread: Option<PositionedRead>,
    pub(super) pwrite: Option<PositionedWrite>,
    pub(super) sync: Option<unsafe extern "C" fn(*mut NtfsDevice) -> c_int>,
    pub(super) stat: Option<unsafe extern "C" fn(*mut NtfsDevice, *mut c_void) -> c_int>,
    pub(super) ioctl: Option<unsafe extern "C" fn(*mut NtfsDevice, c_ulong, *mut c_void) -> c_int>,
}

/// Declares [`Library`] with a function pointer for each listed function of libwim.
macro_rules! library {
    ($($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        /// libwim and libntfs-3g, loaded at run time, so that a station without it can say which package is missing.
        pub(super) struct Library {
            $(pub(super) $name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
            /// The table of operations that libntfs-3g's `ntfs_mount()` gives to every device that it opens.
            pub(super) device_operations: *mut DeviceOperations,
            _loaded: libloading::Library,
        }

        impl Library {
            /// Loads the library and looks up every function.
            pub(super) fn load() -> Result<Self, libloading::Error> {
                // SAFETY: libwim's and its dependencies' initialisers have no preconditions. Each symbol
                // has the type that wimlib.h (ABI 15) or ntfs-3g's headers declare. dlsym on the handle
                // of libwim also searches libntfs-3g, on which it depends.
                unsafe {
                    let loaded = libloading::Library::new(SONAME)?;
                    $(let $name = *loaded.get(concat!(stringify!($name), "\0").as_bytes())?;)*
                    let device_operations =
                        loaded.get::<*mut DeviceOperations>(b"ntfs_device_unix_io_ops\0")?;
                    let device_operations = *device_operations;
                    Ok(Self { $($name,)* device_operations, _loaded: loaded })
                }
            }
        }
    };
}

/// File name of libwim; the number is its ABI version.
pub(super) const SONAME: &str = "libwim.so.15";

library! {
    wimlib_global_init: fn(c_int) -> c_int;
    wimlib_set_print_errors: fn(bool) -> c_int;
    wimlib_set_error_file: fn(*mut libc::FILE) -> c_int;
    wimlib_get_version: fn() -> u32;
    wimlib_get_error_string: fn(c_int) -> *const c_char;
    wimlib_get_compression_type_string: fn(c_int) -> *const c_char;
    wimlib_open_wim_with_progress: fn(*const c_char, c_int, *mut *mut WimStruct, Option<ProgressFn>, *mut c_void) -> c_int;
    wimlib_register_progress_function: fn(*mut WimStruct, Option<ProgressFn>, *mut c_void);
    wimlib_reference_resource_files: fn(*mut WimStruct, *const *const c_char, u32, c_int, c_int) -> c_int;
    wimlib_get_wim_info: fn(*mut WimStruct, *mut WimInfo) -> c_int;
    wimlib_get_image_property: fn(*const WimStruct, c_int, *const c_char) -> *const c_char;
    wimlib_verify_wim: fn(*mut WimStruct, c_int) -> c_int;
    wimlib_iterate_dir_tree: fn(*mut WimStruct, c_int, *const c_char, c_int, IterateFn, *mut c_void) -> c_int;
    wimlib_iterate_lookup_table: fn(*mut WimStruct, c_int, BlobFn, *mut c_void) -> c_int;
    wimlib_create_decompressor: fn(c_int, usize, *mut *mut Decompressor) -> c_int;
    wimlib_decompress: fn(*const c_void, usize, *mut c_void, usize, *mut Decompressor) -> c_int;
    wimlib_free_decompressor: fn(*mut Decompressor);
    wimlib_extract_image: fn(*mut WimStruct, c_int, *const c_char, c_int) -> c_int;
    wimlib_extract_paths: fn(*mut WimStruct, c_int, *const c_char, *const *const c_char, usize, c_int) -> c_int;
    wimlib_create_new_wim: fn(c_int, *mut *mut WimStruct) -> c_int;
    wimlib_export_image: fn(*mut WimStruct, c_int, *mut WimStruct, *const c_char, *const c_char, c_int) -> c_int;
    wimlib_write: fn(*mut WimStruct, *const c_char, c_int, c_int, c_uint) -> c_int;
    wimlib_set_output_chunk_size: fn(*mut WimStruct, u32) -> c_int;
    wimlib_set_image_property: fn(*mut WimStruct, c_int, *const c_char, *const c_char) -> c_int;
    wimlib_add_tree: fn(*mut WimStruct, c_int, *const c_char, *const c_char, c_int) -> c_int;
    wimlib_delete_path: fn(*mut WimStruct, c_int, *const c_char, c_int) -> c_int;
    wimlib_split: fn(*mut WimStruct, *const c_char, u64, c_int) -> c_int;
    wimlib_free: fn(*mut WimStruct);
    ntfs_mount: fn(*const c_char, c_ulong) -> *mut NtfsVolume;
    ntfs_umount: fn(*mut NtfsVolume, c_int) -> c_int;
    ntfs_open_secure: fn(*mut NtfsVolume) -> c_int;
    ntfs_inode_open: fn(*mut NtfsVolume, u64) -> *mut NtfsInode;
    ntfs_inode_close: fn(*mut NtfsInode) -> c_int;
    ntfs_inode_lookup_by_name: fn(*mut NtfsInode, *const u16, c_int) -> u64;
    ntfs_set_ntfs_acl: fn(*mut SecurityContext, *mut NtfsInode, *const c_char, usize, c_int) -> c_int;
}

// SAFETY: the function pointers are plain addresses; only `volume` uses the data pointer, and argues its safety.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

const _: () = {
    // Sizes printed by a C program built against wimlib.h 1.13.6 on x86-64.
    assert!(size_of::<WimInfo>() == 88);
    assert!(size_of::<ResourceEntry>() == 88);
    assert!(size_of::<StreamEntry>() == 128);
    assert!(size_of::<DirEntry>() == 248);
    assert!(size_of::<ExtractInfo>() == 112);
};
