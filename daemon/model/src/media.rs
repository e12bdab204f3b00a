//! Prestaged media: what the station knows of a WIM in the inbox, and whether it may be used.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Finding;
use crate::parcel::ParcelManifest;
use crate::units::Bytes;

/// A file is the same, and unchanged, as long as its stamp is. `modified_ns` is the time of the last change of its
/// contents, `changed_ns` that of the last change of anything about it, both in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified_ns: i64,
    pub changed_ns: i64,
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        // Nanoseconds since 1970 fit 63 bits until the year 2262.
        let nanos = |s: i64, n: i64| s.saturating_mul(1_000_000_000).saturating_add(n);
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified_ns: nanos(meta.mtime(), meta.mtime_nsec()),
            changed_ns: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The complete WIM files in the inbox, with their stamps.
pub type Listing = HashMap<PathBuf, Stamp>;

/// What is in the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbox {
    /// The complete WIM files that are taken up.
    pub files: Listing,
    /// The manifests beside media, by the paths of the media.
    pub manifests: Listing,
    /// Complete files with a WIM's name that do not begin as one.
    pub strangers: Listing,
    /// How many files more there are than are taken up.
    pub waiting: u64,
    /// Files that do not answer when they are looked at, since when.
    pub silent: BTreeMap<PathBuf, Timestamp>,
    /// The names of files that are still being written.
    pub growing: Vec<String>,
    /// What is not looked at, because of its name or because it is no file: how many, and the first names.
    pub ignored: (u64, Vec<String>),
    /// Why the folder cannot be read; what is known of it is from before.
    pub trouble: Option<String>,
}

impl From<Listing> for Inbox {
    /// An inbox with these files and nothing else.
    fn from(files: Listing) -> Self {
        Self { files, ..Self::default() }
    }
}

/// One file of a media: a WIM, or a part of a split set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MediaFile {
    pub path: PathBuf,
    /// The stamp with which it was verified.
    pub stamp: Stamp,
    pub size: Bytes,
    pub sha256: Digest,
}

/// How many images, names in the root folder and packages are listed; prestaged media has a handful of each. All of
/// them are sent to each client that asks for the station's status, so there must be a limit.
pub const LISTED: u32 = 256;

/// One image of a WIM, as the WIM's XML describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Image {
    pub index: u32,
    pub name: String,
    pub description: String,
    pub directories: u64,
    pub files: u64,
    /// Size of all files; a file with several hard links is counted for each.
    pub bytes: Bytes,
}

/// The contents of the image that is applied, counted in its directory tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Inventory {
    /// Names in the root folder, the first [`LISTED`] of them.
    pub root: Vec<String>,
    pub directories: u64,
    /// Files; one with several hard links is counted once.
    pub files: u64,
    /// Hard links beyond the first one of each file.
    pub extra_links: u64,
    /// Files and folders with an 8.3 name.
    pub short_names: u64,
    pub named_streams: u64,
    pub reparse_points: u64,
    /// Files and folders with a security descriptor.
    pub secured: u64,
    /// Files encrypted with EFS, which libwim cannot restore.
    pub encrypted: u64,
    /// What is in `\_SMSTaskSequence\Packages`, the first [`LISTED`] packages.
    pub packages: Vec<CachedPackage>,
    /// How many packages are there beside those.
    #[serde(default)]
    pub more_packages: u64,
    /// Size of `\sources\boot.wim`, if there is one.
    pub boot_wim_bytes: Option<Bytes>,
    /// Least room that the content takes on an NTFS volume. It is a lower bound: on a smaller volume the content
    /// certainly does not fit.
    pub least_bytes: Bytes,
}

/// A package in the media's package cache, which a task sequence finds by its ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CachedPackage {
    /// The name of its folder.
    pub id: String,
    /// How many files it has; each hard link is one. Links of other kinds and named streams do not count.
    pub files: u64,
    /// Their size.
    pub size_bytes: Bytes,
    /// The SHA-256 of what `find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha1sum` prints in its folder: a WIM has
    /// the SHA-1 of each file. It compares packages; what proves their bytes is the digest of the whole media.
    pub sha256_of_list: Digest,
}

/// The boot image that a drive's first start runs. An operator compares it with that of the deployed task sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BootImage {
    /// Name in its XML.
    pub name: String,
    /// Architecture, if its XML has it.
    pub architecture: Option<String>,
    /// Build number of Windows, if its XML has it.
    pub build: Option<String>,
    /// Digest of boot.wim.
    pub sha256: Digest,
    /// Size of boot.wim.
    pub size_bytes: Bytes,
}

/// Everything that intake has found out about one media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Media {
    /// File name of the first file; operators call the media by it.
    pub name: String,
    /// The files, the first part first.
    pub files: Vec<MediaFile>,
    /// Digest of the file; for a split set, of the bytes of all parts in order.
    pub sha256: Digest,
    /// Size of all files together.
    pub size_bytes: Bytes,
    pub guid: String,
    pub compression: String,
    pub integrity_table: bool,
    pub images: Vec<Image>,
    /// Index of the image that is applied.
    pub image: u32,
    /// The contents of that image.
    pub inventory: Inventory,
    /// Only known if the layout needs a boot image.
    pub boot_image: Option<BootImage>,
    /// What a computer does at its first start from a drive with this media, a sentence each; empty if it needs no boot
    /// files, or their configuration cannot be used.
    #[serde(default)]
    pub first_start: Vec<String>,
    /// Why the media must not be used; empty for valid media.
    pub problems: Vec<Finding>,
    /// What an operator should know although the media is valid.
    pub warnings: Vec<Finding>,
    /// What was signed about it, and by whom, if a manifest lies beside it.
    #[serde(default)]
    pub signed: Option<Signed>,
}

/// A manifest beside media that is of this media, and whose signatures were checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Signed {
    /// What was signed.
    pub manifest: ParcelManifest,
    /// The names of the signers; none if the station lists none.
    pub by: Vec<String>,
    /// What the manifest claims and intake has found otherwise, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// The result of checking a file of the inbox.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntakeOutcome {
    /// The file, or the set it is the first part of, is a media, valid or not.
    Media(Box<Media>),
    /// The file is a later part of a split set; the first part's result covers it.
    LaterPart,
}
