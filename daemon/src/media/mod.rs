//! Prestaged media: what is known of a WIM in the inbox, and whether it may be used.
//!
//! [`inbox`] notices complete files, [`intake`] reads and verifies them in a child process. Nothing here sees
//! a drive.

pub(crate) mod boot;
pub mod inbox;
pub mod intake;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::master::store::Stamp;
use crate::units::Bytes;

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

/// A media file that is not the one that was verified.
#[derive(Debug, thiserror::Error)]
pub enum MediaChanged {
    /// Gone, or not readable any more.
    #[error("media {path} cannot be read any more")]
    Gone {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Changed.
    #[error("media {0} was changed after it was verified; it is verified again")]
    Changed(PathBuf),
}

impl MediaFile {
    /// Checks that the file is still the one that was verified, by inode, size and times.
    ///
    /// # Errors
    /// [`MediaChanged`] names the file.
    pub fn check_unchanged(&self) -> Result<(), MediaChanged> {
        let stamp = File::open(&self.path).and_then(|file| Stamp::of(&file));
        match stamp {
            Ok(stamp) if stamp == self.stamp => Ok(()),
            Ok(_) => Err(MediaChanged::Changed(self.path.clone())),
            Err(source) => Err(MediaChanged::Gone { path: self.path.clone(), source }),
        }
    }
}

/// A problem or a warning found at intake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable snake_case code.
    pub code: String,
    /// For a person: what, and what would make it right.
    pub detail: String,
}

impl Finding {
    /// A finding. Control characters, which names of files may hold, become `?`.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into().replace(char::is_control, "?") }
    }
}

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
    /// Names in the root folder, the first [`LISTED`](intake::LISTED) of them.
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
