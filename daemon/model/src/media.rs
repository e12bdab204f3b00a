//! Prestaged media: what is known of a WIM in the inbox, and whether it may be used.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Finding;
use crate::units::Bytes;

/// What makes a file the same file unchanged: device, inode, size, time of the last change of its contents, and of
/// anything about it, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified_ns: i64,
    pub changed_ns: i64,
}

/// The complete WIM files in the inbox with their stamps.
pub type Listing = HashMap<PathBuf, Stamp>;

/// One file of the media: a WIM, or a part of a split set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it was like when it was verified.
    pub stamp: Stamp,
    /// Size in bytes.
    pub size: Bytes,
    /// SHA-256 of the file.
    pub sha256: Digest,
}

/// More images, names in the root folder or packages than this are not listed one by one: everybody who asks for the
/// station's status gets them. Prestaged media has a handful.
pub const LISTED: u32 = 256;

/// One image of a WIM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Index, from 1.
    pub index: u32,
    /// Name from the XML.
    pub name: String,
    /// Description from the XML.
    pub description: String,
    /// Directories from the XML.
    pub directories: u64,
    /// Files from the XML.
    pub files: u64,
    /// Bytes of all files, hard links counted each time, from the XML.
    pub bytes: Bytes,
}

/// What the image to be applied contains, counted from its directory tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Names in the root folder, the first [`LISTED`] of them.
    pub root: Vec<String>,
    /// Folders.
    pub directories: u64,
    /// Files, each hard link counted once.
    pub files: u64,
    /// Names beyond the first of hard-linked files.
    pub extra_links: u64,
    /// Files and folders with an 8.3 name.
    pub short_names: u64,
    /// Named data streams.
    pub named_streams: u64,
    /// Reparse points.
    pub reparse_points: u64,
    /// Files and folders with a security descriptor.
    pub secured: u64,
    /// Files encrypted with EFS, which libwim cannot restore.
    pub encrypted: u64,
    /// Package folders below `\_SMSTaskSequence\Packages`, as many.
    pub packages: Vec<String>,
    /// Size of `\sources\boot.wim`, if there.
    pub boot_wim_bytes: Option<Bytes>,
    /// Least room the content takes on an NTFS volume: a lower bound, so that what it rules out cannot fit.
    pub least_bytes: Bytes,
}

/// The boot image that the first start runs: to be compared with that of the deployed task sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootImage {
    /// Name from its XML.
    pub name: String,
    /// Architecture, if it says.
    pub architecture: Option<String>,
    /// Windows build, if it says.
    pub build: Option<String>,
    /// SHA-256 of boot.wim.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: Bytes,
}

/// Everything intake found out about one media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// File name of the (first) file; how operators call it.
    pub name: String,
    /// Its files, first part first.
    pub files: Vec<MediaFile>,
    /// SHA-256 of the file; of all parts' bytes one after the other for a split set.
    pub sha256: Digest,
    /// Size of all files in bytes.
    pub size_bytes: Bytes,
    /// WIM GUID.
    pub guid: String,
    /// Compression.
    pub compression: String,
    /// Whether it has an integrity table.
    pub integrity_table: bool,
    /// Its images.
    pub images: Vec<Image>,
    /// Index of the image that is applied.
    pub image: u32,
    /// What that image contains.
    pub inventory: Inventory,
    /// Its boot image, where a layout in use needs one.
    pub boot_image: Option<BootImage>,
    /// Why it must not be used; empty for valid media.
    pub problems: Vec<Finding>,
    /// What an operator should know.
    pub warnings: Vec<Finding>,
}

/// What became of a file that was checked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntakeOutcome {
    /// Media, valid or not.
    Media(Box<Media>),
    /// A later part of a split set: nothing of its own.
    LaterPart,
}
