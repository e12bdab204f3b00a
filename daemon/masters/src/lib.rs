//! Masters: raw disk images pressed once and replicated many times, each with a manifest of what must be written where.
//!
//! - Owns the store (found by recipe, checked before use, kept under a budget), the map of which bytes of an image
//!   matter, and the digests of its chunks.
//! - May touch the store's folder. It reads images, and never changes one that has been adopted.
//! - May never see a drive, read media or run a program: pressing lives in `media`, writing drives in `imaging`, and
//!   this crate is all that they share.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "writes files of the store, and knows no drive")]

pub mod allocation;
pub mod derive;
pub mod image;
pub mod layers;
mod manifests;
pub mod marker;
pub mod signatures;
pub mod stamp;
pub mod store;
pub mod telltales;

/// File name of the image in a master's folder.
pub const IMAGE_FILE: &str = "disk.raw";
/// File name of the manifest in a master's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
