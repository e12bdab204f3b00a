//! Media that is to be made: which parts it is composed of, and what came of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

use crate::digest::Digest;
use crate::failure::Finding;
use crate::media::BootImage;
use crate::units::Bytes;

/// Everything that media is made of. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composition {
    /// The operating system image, which becomes the volume.
    pub os: OsPart,
    /// What the first start runs.
    pub boot: BootPart,
    /// Media that the customer's site made, whose `\SMS\data` is taken.
    pub site: Option<PathBuf>,
    /// What goes into the package cache.
    pub packages: Vec<Package>,
    /// Other files and folders.
    pub files: Vec<PlacedFile>,
    /// What the result says of itself.
    pub about: About,
    /// A boot configuration; `None` if it is to be made.
    pub bcd: Option<PathBuf>,
    /// How the result is compressed; `None` stands for as the operating system image is.
    pub compress: Option<Compression>,
}

/// An image of a WIM file; a split set is named by its first part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OsPart {
    pub wim: PathBuf,
    /// Counted from 1.
    pub index: u32,
}

/// The boot image and what is started beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPart {
    /// Its WIM file.
    pub wim: PathBuf,
    /// Its image, counted from 1; `None` stands for the one that is marked as bootable.
    pub index: Option<u32>,
    /// boot.sdi; `None` if the operating system image has one.
    pub sdi: Option<PathBuf>,
    /// A script that the boot image runs when it has started, as its `startnet.cmd`.
    pub start: Option<PathBuf>,
}

/// Content of the package cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The name of its folder in the cache.
    pub id: String,
    /// A folder, or a file.
    pub path: PathBuf,
    /// What it is to Configuration Manager.
    pub kind: PackageKind,
}

/// What a package is to Configuration Manager.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PackageKind {
    Application,
    Package,
    Driver,
}

/// A file or folder with its place in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedFile {
    /// Where it is.
    pub from: PathBuf,
    /// The names of the folders that it goes into, and its own.
    pub to: Vec<String>,
}

/// What media says of itself, in its XML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct About {
    pub name: Option<String>,
    pub description: Option<String>,
    pub version: Option<String>,
    pub comment: Option<String>,
    pub created_by: Option<String>,
}

/// How a WIM is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, VariantArray)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    Lzx,
    Xpress,
    None,
}

/// How far the making goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Everything but the writing.
    Check,
    /// The whole media.
    Whole,
}

/// The task of a worker that makes media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Of what.
    pub parts: Composition,
    /// An empty folder for the result and for scratch files.
    pub folder: PathBuf,
    /// Folders with the programs that a press runs.
    pub search: Vec<String>,
    /// How far to go.
    pub extent: Extent,
}

/// The name of the result in [`Create::folder`].
pub const RESULT: &str = "media.wim";

/// The task of a worker that splits media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// A whole WIM.
    pub wim: PathBuf,
    /// An empty folder for the parts.
    pub folder: PathBuf,
    /// The name of the first part, without `.swm`.
    pub stem: String,
    /// No part is larger.
    pub size: Bytes,
}

/// What a computer can do with media at its first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// It goes on with Configuration Manager: it has what the customer's site made for that.
    Recomposed,
    /// It runs what its boot image runs; Configuration Manager knows nothing of it.
    StandAlone,
}

/// Media that was made, or that could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Created {
    /// What it is for.
    pub product: Product,
    /// Size of the file; 0 if it was not written.
    pub size_bytes: Bytes,
    /// Digest of the file; `None` if it was not written.
    pub sha256: Option<Digest>,
    /// Room that it needs, at most.
    pub needed_bytes: Bytes,
    /// How many files were added to the operating system image.
    pub added_files: u64,
    /// Their size.
    pub added_bytes: Bytes,
    /// Paths in the operating system image that gave way to what was added.
    pub replaced: Vec<String>,
    /// The packages with their kinds.
    pub packages: Vec<CreatedPackage>,
    /// The boot image, if it was looked into.
    pub boot_image: Option<BootImage>,
    /// What a computer does at its first start, a sentence each.
    pub first_start: Vec<String>,
    /// What intake warns of.
    pub warnings: Vec<Finding>,
    /// What else is to be known, a sentence each.
    pub notes: Vec<String>,
}

/// A package that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CreatedPackage {
    pub id: String,
    pub kind: PackageKind,
    pub files: u64,
    pub bytes: Bytes,
}

/// Media that was split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Parts {
    /// Names of the files, the first part first.
    pub files: Vec<String>,
    /// Size of all of them.
    pub size_bytes: Bytes,
}
