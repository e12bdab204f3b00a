//! The description of a master: the recipe that it is pressed from, and the manifest of the bytes to be written.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::boot::BootProgram;
use crate::digest::{Digest, Root};
use crate::drive::Geometry;
use crate::identity::Site;
use crate::layout::{Layout, Moved, Plan, PlannedPartition, Role};
use crate::ranges::Range;
use crate::units::Bytes;

/// Version of the manifest, and of what a press puts into an image. A master of another format is pressed anew.
pub const FORMAT: u32 = 5;

/// The name of a master. It is derived from everything that determines the master's contents, so equal recipes have the
/// same master.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct MasterId(pub String);

impl MasterId {
    /// Whether the text has the form of a master's name. It becomes the name of a folder, so any other must be refused.
    pub fn is_valid(&self) -> bool {
        self.0.len() == 16 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl std::fmt::Display for MasterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The media that a master is pressed from, and the layout and geometry that it is pressed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Recipe {
    /// For people; it does not count for [`Recipe::id`].
    pub media_name: String,
    pub media_sha256: Digest,
    /// Index of the image in the media, counted from 1.
    pub image: u32,
    pub layout: Layout,
    pub geometry: Geometry,
}

impl Recipe {
    /// The name of the master that is pressed from this recipe.
    pub fn id(&self) -> MasterId {
        let parts = (FORMAT, &self.media_sha256, self.image, &self.layout, self.geometry);
        let text = serde_json::to_string(&parts).unwrap_or_default();
        let mut id = Digest::of(text.as_bytes()).to_string();
        id.truncate(16);
        MasterId(id)
    }
}

/// The phase of a job in which a chunk is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// In the write phase, as nearly all chunks.
    Body,
    /// At the end, because this chunk makes the drive look finished.
    Commit,
}

/// A piece of the master's image that is written with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// Byte offset on the drive, a multiple of 4096.
    pub offset: Bytes,
    /// Length in bytes, a multiple of the logical sector size.
    pub length: Bytes,
    /// Digest of the master's bytes, before fix-ups.
    pub sha256: Digest,
    /// Phase in which it is written.
    pub stage: Stage,
}

impl Chunk {
    /// The bytes of the drive that it covers.
    pub fn range(&self) -> Range {
        Range::at(self.offset, self.length)
    }
}

/// What a file system keeps in a place that changes when the volume is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    /// Everything on an EFI system partition, which is small.
    #[strum(serialize = "the files")]
    Files,
    /// The records of all files.
    #[strum(serialize = "the file table ($MFT)")]
    FileTable,
    /// The copy of its first records.
    #[strum(serialize = "the copy of the file table ($MFTMirr)")]
    Mirror,
    /// Which clusters are taken.
    #[strum(serialize = "the cluster bitmap ($Bitmap)")]
    Bitmap,
    /// The journal.
    #[strum(serialize = "the journal ($LogFile)")]
    Journal,
    /// Names in the root folder.
    #[strum(serialize = "the root folder")]
    RootFolder,
}

/// A place on the drive that changes when a volume is used: what a drive of ours is known by to be as we left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Telltale {
    pub offset: Bytes,
    pub length: Bytes,
    /// The partition in which it lies.
    pub role: Role,
    pub keeps: Keeps,
}

impl Telltale {
    /// The bytes of the drive that it covers.
    pub fn range(&self) -> Range {
        Range::at(self.offset, self.length)
    }
}

/// The master that another one is derived from: what the derived one has not of its own is the base's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Base {
    /// The drive that the base was pressed for; all else in its recipe is the same.
    pub geometry: Geometry,
    pub root_sha256: Digest,
    /// The ranges that the derived master has of its own.
    pub own: Vec<Range>,
}

/// The description of a master. Invariants: chunks ascend and do not overlap, and every site lies within one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    pub id: MasterId,
    pub recipe: Recipe,
    pub plan: Plan,
    /// The bytes that every drive gets.
    pub chunks: Vec<Chunk>,
    /// The places at which drives differ.
    pub sites: Vec<Site>,
    /// The places that change when a volume is used, all of them within chunks.
    pub telltales: Vec<Telltale>,
    /// Digest over all chunks.
    pub root_sha256: Digest,
    /// Digest over all of it but this. The manifest decides what is written where and what records say of it, so it is
    /// checked as strictly as the image.
    pub seal_sha256: Digest,
    /// When the press ended.
    pub pressed: Timestamp,
    /// Warnings of the press, which go into each drive's record.
    pub warnings: Vec<String>,
    /// The programs on the ESP, as the comparison with the media has read them.
    #[serde(default)]
    pub boot_programs: Vec<BootProgram>,
    /// What it is derived from; `None` for a master that was pressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// An I/O error of kind `InvalidData` if the text is not a manifest of this format, or contradicts itself.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let manifest: Self = serde_json::from_slice(text)?;
        let plan = manifest.recipe.layout.plan(manifest.recipe.geometry);
        let sound = manifest.format == FORMAT
            && manifest.id == manifest.recipe.id()
            && plan.as_ref() == Ok(&manifest.plan)
            && manifest.root_sha256 == root(&manifest.chunks)
            && manifest.seal_sha256 == manifest.seal()
            && manifest.base.is_none() == manifest.moved().is_none();
        if !sound {
            let message = "the manifest contradicts itself";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(manifest)
    }

    /// The same with its seal, after the last change.
    #[must_use]
    pub fn sealed(self) -> Self {
        Self { seal_sha256: self.seal(), ..self }
    }

    /// Computes the digest that [`Manifest::seal_sha256`] must be.
    fn seal(&self) -> Digest {
        let Self { recipe, plan, chunks, sites, telltales, base, .. } = self;
        let Self { root_sha256, pressed, warnings, boot_programs, .. } = self;
        let written = (recipe, plan, chunks, sites, telltales, base);
        let text = serde_json::to_vec(&(written, root_sha256, pressed, warnings, boot_programs));
        Digest::of(&text.unwrap_or_default())
    }

    /// The recipe of the master that this one is derived from.
    pub fn base_recipe(&self) -> Option<Recipe> {
        let base = self.base.as_ref()?;
        Some(Recipe { geometry: base.geometry, ..self.recipe.clone() })
    }

    /// What a derived master has of its base; `None` for a master that was pressed, or if there is no such base.
    pub fn moved(&self) -> Option<Vec<Moved>> {
        let base = self.base_recipe()?;
        self.plan.moved_from(&base.layout.plan(base.geometry).ok()?)
    }

    /// The chunks that have bytes in this range, in ascending order.
    pub fn chunks_in(&self, range: Range) -> &[Chunk] {
        let from = self.chunks.partition_point(|chunk| chunk.range().end <= range.start);
        let rest = &self.chunks[from..];
        &rest[..rest.partition_point(|chunk| chunk.offset < range.end)]
    }

    /// The partition that has bytes in this range.
    pub fn partition_at(&self, range: Range) -> Option<&PlannedPartition> {
        let sector = self.plan.geometry.sector;
        self.plan.partitions.iter().find(|partition| partition.range(sector).overlaps(range))
    }

    /// What lies in a range of a drive, in words.
    pub fn place(&self, range: Range) -> String {
        if let Some(telltale) = self.telltales.iter().find(|t| t.range().overlaps(range)) {
            return format!("{} of the {} partition", telltale.keeps, telltale.role);
        }
        let is_commit = self.chunks_in(range).iter().any(|chunk| chunk.stage == Stage::Commit);
        match (self.partition_at(range), is_commit) {
            (Some(partition), true) => format!("a boot sector of the {} partition", partition.role),
            (Some(partition), false) => format!("data in the {} partition", partition.role),
            (None, true) => "a partition table".into(),
            (None, false) => "what lies between the partitions".into(),
        }
    }

    /// The number of bytes that are written to each drive.
    pub fn payload(&self) -> Bytes {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }
}

/// The root digest over these chunks.
pub fn root(chunks: &[Chunk]) -> Digest {
    let mut root = Root::default();
    for chunk in chunks {
        root.add(chunk.offset, chunk.length, &chunk.sha256);
    }
    root.finish()
}
