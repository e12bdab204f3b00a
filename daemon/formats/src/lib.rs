//! Foreign bytes in, checked values out: partition tables, boot configurations, FAT32 boot sectors, NTFS records, UEFI
//! programs, the metadata of WIMs, what smartctl says of drives.
//!
//! - Owns the parsers of small foreign formats, and the rendering of both GPTs. Large ones have libraries: libwim in `media`,
//!   `ntfs` in `masters`.
//! - May touch nothing: slices in, values out. Who needs a format read brings the bytes.
//! - May never do I/O, trust a length or an offset that it has read, or panic on hostile bytes; `tests/fuzz` has a
//!   target for each module.

#![forbid(unsafe_code)]

pub mod bcd;
pub mod fat32;
pub mod gpt;
pub mod ntfs;
pub mod pe;
pub mod security;
pub mod smart;
pub mod text;
pub mod wim_table;
pub mod wim_tree;
