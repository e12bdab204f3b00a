//! A parcel: media cut into pieces that can be sent in any way, and the signed manifest that says what they make.
//!
//! The manifest is the payload of a signed envelope (DSSE), in JSON. All else in a parcel is known by digests that lead back
//! to it: manifest -> index -> pieces -> file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::hint::Hint;
use crate::media::{BootImage, CachedPackage, LISTED, Stamp};
use crate::now::Now;
use crate::units::Bytes;

/// The type under which manifests are signed.
pub const MANIFEST_TYPE: &str = "application/vnd.prestaged.parcel.v1+json";
/// No manifest is longer, as an envelope.
pub const LARGEST_MANIFEST: Bytes = Bytes::mib(1);
/// No piece is longer, so that little is lost where a transfer is cut.
pub const LARGEST_PIECE: Bytes = Bytes::mib(1);
/// No pack is longer: FAT32 holds files below 4 GiB, and some programs stop at 2 GiB.
pub const LARGEST_PACK: Bytes = Bytes((2 << 30) - 1);
/// More than any media has: 16 TiB in the largest packs.
const MOST_PACKS: usize = 1 << 13;
/// More than any media has: two million files, or 2 TiB. The index of so many takes 100 MB.
const MOST_PIECES: u64 = 1 << 21;
/// A parcel leaves out what these files have.
const MOST_BASES: usize = 1 << 8;
/// Longer names of files are refused by Linux, when another ending is added to them.
const LONGEST_NAME: usize = 200;
/// A product's name is shown in tables.
const LONGEST_PRODUCT: usize = 100;

/// What the file of a manifest is called after the media's name.
pub const BESIDE: &str = ".manifest.json";
/// The manifest in a parcel.
pub const MANIFEST: &str = "manifest.json";
/// The index in a parcel.
pub const INDEX: &str = "index";
/// How the name of a parcel's folder ends.
pub const FOLDER: &str = ".parcel";

/// The name of a pack in a parcel.
pub fn pack(number: usize) -> String {
    format!("pack.{number:03}")
}

/// What is signed about media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ParcelManifest {
    /// What the media is a version of. Sequences count, and keys are listed, by product.
    pub product: Product,
    /// Counts the versions of a product; a station takes none that is lower than one it has seen.
    pub sequence: u64,
    /// The version in the maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was signed, by the clock of who signed.
    pub created: Timestamp,
    /// The first day on which it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Date>,
    /// The last day on which it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
    /// To which drives the media is to be offered, in the maker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<String>,
    /// The file that the pieces make.
    pub file: FileClaim,
    /// The GUID in the WIM's header.
    pub guid: String,
    /// How many images the WIM has.
    pub images: u32,
    /// What the file holds. Manifests of earlier programs say nothing of it.
    #[serde(flatten)]
    pub contents: Contents,
    /// The list of pieces.
    pub index: IndexClaim,
    /// The packs, in their order.
    pub packs: Vec<PackClaim>,
    /// The files that have the pieces which are in no pack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<FileClaim>,
    /// The program that made the parcel.
    pub made_by: String,
}

/// What media holds, as its maker has found it and intake must find it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Contents {
    /// The image that becomes the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageClaim>,
    /// The boot image that the first start runs, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_image: Option<BootImage>,
    /// The packages in its cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<CachedPackage>,
    /// How many packages it has that are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_packages: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a worker has found in media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What it holds.
    pub contents: Contents,
    /// The stamp of the file that was looked into, before and after.
    pub stamp: Option<Stamp>,
}

/// An image of a WIM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ImageClaim {
    /// Counted from 1.
    pub index: u32,
    /// Name in the WIM's XML.
    pub name: String,
}

/// The task of a worker that looks into media which is to be packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Describe {
    /// A whole WIM.
    pub wim: PathBuf,
    /// The image that becomes the volume.
    pub image: u32,
    /// An empty folder for what is unpacked.
    pub folder: PathBuf,
}

/// A file as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FileClaim {
    pub name: String,
    pub sha256: Digest,
    pub size_bytes: Bytes,
}

/// The index as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IndexClaim {
    pub sha256: Digest,
    pub pieces: u64,
}

/// A pack as it must be; what is in it is known by the digests of its pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(missing_docs, reason = "the name says it")]
pub struct PackClaim {
    pub size_bytes: Bytes,
}

/// The name of a product: visible characters without a space at its ends.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Product(String);

impl Product {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no name of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a product's name has 1 to 100 visible characters, and no space at its ends")]
pub struct NotAProduct;

impl FromStr for Product {
    type Err = NotAProduct;

    fn from_str(text: &str) -> Result<Self, NotAProduct> {
        let fits = (1..=LONGEST_PRODUCT).contains(&text.chars().count());
        let visible = text.trim() == text && !text.contains(char::is_control);
        if fits && visible { Ok(Self(text.to_owned())) } else { Err(NotAProduct) }
    }
}

impl TryFrom<String> for Product {
    type Error = NotAProduct;

    fn try_from(text: String) -> Result<Self, NotAProduct> {
        text.parse()
    }
}

impl From<Product> for String {
    fn from(product: Product) -> Self {
        product.0
    }
}

/// A payload that is no manifest, or none that can be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON of a manifest.
    #[error("what is signed is no manifest of a parcel")]
    Json(#[from] serde_json::Error),
    /// The name could lead out of the inbox, or is none of media.
    #[error("{0:?} is not the name of a WIM file")]
    Name(String),
    /// A pack, a list or a number that no parcel has.
    #[error("the manifest is wrong: {0}")]
    Wrong(&'static str),
}

impl Hint for ManifestError {
    fn hint(&self) -> Option<String> {
        Some("pack the media again, with the program's present version".into())
    }
}

/// Whether media in the inbox can be called so: a plain name that the station takes for a WIM's.
pub fn is_media_name(name: &str) -> bool {
    let plain = !name.starts_with('.') && !name.contains(['/', '\\']);
    let short = name.len() <= LONGEST_NAME && !name.contains(char::is_control);
    plain && short && name.len() > 4 && name.to_lowercase().ends_with(".wim")
}

impl ParcelManifest {
    /// Reads a manifest whose signature was checked, and checks what it says.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn parse(payload: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(payload)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what a manifest says.
    ///
    /// # Errors
    /// [`ManifestError`]
    pub fn check(&self) -> Result<(), ManifestError> {
        let wrong = |what| Err(ManifestError::Wrong(what));
        for file in self.bases.iter().chain([&self.file]) {
            if !is_media_name(&file.name) {
                return Err(ManifestError::Name(file.name.clone()));
            }
        }
        if i64::try_from(self.sequence).is_err() {
            return wrong("no product has so many versions");
        }
        if self.packs.len() > MOST_PACKS || self.bases.len() > MOST_BASES {
            return wrong("too many packs or bases");
        }
        let packages = &self.contents.packages;
        let ids: BTreeSet<&String> = packages.iter().map(|package| &package.id).collect();
        if ids.len() < packages.len() || Bytes::of(packages.len()).0 > LISTED.into() {
            return wrong("too many packages are listed, or one of them twice");
        }
        if self.index.pieces > MOST_PIECES {
            return wrong("it has more pieces than any media");
        }
        if self.packs.iter().any(|pack| pack.size_bytes > LARGEST_PACK) {
            return wrong("a pack is too long");
        }
        let most = self.file.size_bytes.0;
        let packed = self.packs.iter().map(|pack| pack.size_bytes.0);
        if packed.fold(0, u64::saturating_add) > most || self.index.pieces > most {
            return wrong("the pieces are more than the file");
        }
        match (self.not_before, self.expires) {
            (Some(first), Some(last)) if first > last => wrong("it expires before it begins"),
            _ => Ok(()),
        }
    }

    /// Whether it was signed later than tomorrow. Zones and clocks that go a little wrong explain one day; what is more says
    /// that the sender's clock is wrong, or the one that `today` comes from. Then none of its dates can be judged.
    pub fn is_ahead_of(&self, today: Date) -> bool {
        let signed = self.created.to_zoned(TimeZone::UTC).date();
        today.tomorrow().is_ok_and(|tomorrow| signed > tomorrow)
    }

    /// What is wrong with its use now.
    pub fn out_of_date(&self, now: Now) -> Option<OutOfDate> {
        match (self.not_before, self.expires) {
            _ if self.is_ahead_of(now.clock.day) => Some(OutOfDate::Ahead(self.created)),
            (Some(first), _) if now.clock.day < first => Some(OutOfDate::NotYet(first)),
            (_, Some(last)) if now.latest.day > last => Some(OutOfDate::Expired(last)),
            _ => None,
        }
    }
}

/// Why media may not be used on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfDate {
    /// It may be used from this day on.
    NotYet(Date),
    /// It could be used until this day.
    Expired(Date),
    /// It says that it was signed at this time, which is still to come.
    Ahead(Timestamp),
}

/// The highest sequence seen of each product.
pub type Sequences = BTreeMap<Product, u64>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Time;

    pub(crate) fn manifest() -> ParcelManifest {
        let digest = Digest::of(b"");
        let file = |name: &str| FileClaim {
            name: name.into(),
            sha256: digest,
            size_bytes: Bytes(1 << 20),
        };
        ParcelManifest {
            product: "win11".parse().unwrap(),
            sequence: 7,
            version: None,
            created: Timestamp::UNIX_EPOCH,
            not_before: Some(Date::constant(2027, 1, 1)),
            expires: Some(Date::constant(2027, 6, 30)),
            offer: None,
            file: file("win11-7.wim"),
            guid: "0".into(),
            images: 1,
            contents: Contents {
                image: Some(ImageClaim { index: 1, name: "Windows".into() }),
                ..Contents::default()
            },
            index: IndexClaim { sha256: digest, pieces: 1 },
            packs: vec![PackClaim { size_bytes: Bytes(1 << 20) }],
            bases: vec![file("win11-6.wim")],
            made_by: "prestaged 0.1.0".into(),
        }
    }

    #[test]
    fn a_manifest_names_files_of_the_inbox_and_no_others() {
        for name in ["a.wim", "A b.WIM", "ä.Wim"] {
            assert!(is_media_name(name), "{name}");
        }
        let long = format!("{}.wim", "a".repeat(200));
        for name in [
            "", ".wim", ".a.wim", "../a.wim", "a/b.wim", "a\\b.wim", "a\n.wim", "a.swm", "a", &long,
        ] {
            assert!(!is_media_name(name), "{name}");
            let mut bad = manifest();
            bad.file.name = name.into();
            assert!(matches!(bad.check(), Err(ManifestError::Name(_))), "{name}");
            let mut bad = manifest();
            bad.bases[0].name = name.into();
            assert!(bad.check().is_err(), "{name}");
        }
    }

    #[test]
    fn what_no_parcel_has_is_wrong() {
        let bytes = serde_json::to_vec(&manifest()).unwrap();
        assert_eq!(ParcelManifest::parse(&bytes).unwrap(), manifest());
        let wrong = |change: &dyn Fn(&mut ParcelManifest)| {
            let mut bad = manifest();
            change(&mut bad);
            assert!(bad.check().is_err(), "{bad:?}");
        };
        wrong(&|m| m.packs[0].size_bytes = Bytes((1 << 20) + 1));
        wrong(&|m| m.packs = vec![PackClaim { size_bytes: Bytes(u64::MAX) }; 3]);
        wrong(&|m| m.packs = vec![PackClaim { size_bytes: Bytes(0) }; MOST_PACKS + 1]);
        wrong(&|m| m.index.pieces = u64::MAX);
        wrong(&|m| m.sequence = u64::MAX);
        let package = CachedPackage {
            id: "PRE00001".into(),
            files: 0,
            size_bytes: Bytes(0),
            sha256_of_list: Digest::of(b""),
        };
        wrong(&|m| m.contents.packages = vec![package.clone(); 2]);
        wrong(&|m| {
            let id = |n: u32| CachedPackage { id: n.to_string(), ..package.clone() };
            m.contents.packages = (0..257).map(id).collect();
        });
        wrong(&|m| m.expires = Some(Date::constant(2026, 12, 31)));
        assert!(ParcelManifest::parse(b"{}").is_err());
        for product in ["", " a", "a\n", &"a".repeat(101)] {
            assert_eq!(product.parse::<Product>(), Err(NotAProduct), "{product:?}");
        }
    }

    #[test]
    fn both_days_count() {
        let at = |day| Now::at(Time { day, ..Time::default() });
        let on = |month, day| manifest().out_of_date(at(Date::constant(2027, month, day)));
        let (first, last) = (Date::constant(2027, 1, 1), Date::constant(2027, 6, 30));
        assert_eq!(
            manifest().out_of_date(at(Date::constant(2026, 12, 31))),
            Some(OutOfDate::NotYet(first))
        );
        assert_eq!([on(1, 1), on(6, 30)], [None, None]);
        assert_eq!(on(7, 1), Some(OutOfDate::Expired(last)));
        // A day later is a zone or a clock; two are a mistake, whatever else it says.
        let signed = |text: &str| ParcelManifest { created: text.parse().unwrap(), ..manifest() };
        let today = at(Date::constant(2027, 3, 1));
        assert_eq!(signed("2027-03-02T23:59:59Z").out_of_date(today), None);
        let ahead = signed("2027-03-03T00:00:00Z");
        assert_eq!(ahead.out_of_date(today), Some(OutOfDate::Ahead(ahead.created)));
    }
}
