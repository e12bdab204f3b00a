//! Foreign bytes in, checked values out: partition tables, boot configurations, FAT32 boot sectors, UEFI programs.
//!
//! - Owns every parser of ours for bytes that others wrote, and the rendering of both GPTs.
//! - May touch nothing: slices in, values out. Media, drives and masters hand it what they have read.
//! - May never do I/O, trust a length or an offset that it has read, or panic on hostile bytes; `tests/fuzz` has a
//!   target for each module.

#![forbid(unsafe_code)]

pub mod bcd;
pub mod fat32;
pub mod gpt;
pub mod pe;
