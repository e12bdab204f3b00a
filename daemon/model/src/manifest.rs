//! Masters as they are described: what one is pressed from, and the manifest of what must be written where.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Root};
use crate::drive::Geometry;
use crate::identity::Site;
use crate::layout::{Layout, Plan};
use crate::ranges::Range;
use crate::units::Bytes;

/// Format of the manifest and of what a press puts into an image. A master of another format is pressed anew.
pub const FORMAT: u32 = 3;

/// Names a master: derived from everything that decides its contents, so equal wishes find the same master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MasterId(pub String);

impl MasterId {
    /// Whether this can be the name of a master at all: it becomes a folder's name.
    pub fn is_valid(&self) -> bool {
        self.0.len() == 16 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl std::fmt::Display for MasterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a master is pressed from and for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Media name, for people.
    pub media_name: String,
    /// SHA-256 of the media.
    pub media_sha256: Digest,
    /// Image index in the media, from 1.
    pub image: u32,
    /// Layout.
    pub layout: Layout,
    /// Drive geometry.
    pub geometry: Geometry,
}

impl Recipe {
    /// The name of the master that this recipe gives. The media's name does not count.
    pub fn id(&self) -> MasterId {
        let parts = (FORMAT, &self.media_sha256, self.image, &self.layout, self.geometry);
        let text = serde_json::to_string(&parts).unwrap_or_default();
        let mut id = Digest::of(text.as_bytes()).to_string();
        id.truncate(16);
        MasterId(id)
    }
}

/// When a chunk is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// With everything else.
    Body,
    /// Last: it makes the drive look finished.
    Commit,
}

/// A piece of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Byte offset on the drive, a multiple of 4096.
    pub offset: Bytes,
    /// Length in bytes, a multiple of the logical sector size.
    pub length: Bytes,
    /// Digest of the master's bytes, before fix-ups.
    pub sha256: Digest,
    /// When it is written.
    pub stage: Stage,
}

impl Chunk {
    /// Where it stands on the drive.
    pub fn range(&self) -> Range {
        Range::at(self.offset, self.length)
    }
}

/// Everything known about a master. Invariants: chunks ascend and do not overlap, and every site lies within
/// one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Name.
    pub id: MasterId,
    /// What it was pressed from.
    pub recipe: Recipe,
    /// Where its partitions lie.
    pub plan: Plan,
    /// What must be written.
    pub chunks: Vec<Chunk>,
    /// Where drives differ.
    pub sites: Vec<Site>,
    /// Digest over all chunks.
    pub root_sha256: Digest,
    /// Digest over recipe, plan, chunks and sites: a manifest decides what is written where, so it is checked as
    /// strictly as the image.
    pub seal_sha256: Digest,
    /// When pressed.
    pub pressed: Timestamp,
    /// Notes of the press that an operator should see.
    pub warnings: Vec<String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// An I/O error of kind `InvalidData` if it is not a manifest of this format, or contradicts itself.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let manifest: Self = serde_json::from_slice(text)?;
        let plan = manifest.recipe.layout.plan(manifest.recipe.geometry);
        let sound = manifest.format == FORMAT
            && manifest.id == manifest.recipe.id()
            && plan.as_ref() == Ok(&manifest.plan)
            && manifest.root_sha256 == root(&manifest.chunks)
            && manifest.seal_sha256 == manifest.seal();
        if !sound {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "manifest contradicts itself"));
        }
        Ok(manifest)
    }

    /// The digest that [`Manifest::seal_sha256`] must be.
    pub fn seal(&self) -> Digest {
        let parts = (&self.recipe, &self.plan, &self.chunks, &self.sites);
        Digest::of(&serde_json::to_vec(&parts).unwrap_or_default())
    }

    /// Bytes that a drive gets.
    pub fn payload(&self) -> Bytes {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }
}

/// The digest over all chunks.
pub fn root(chunks: &[Chunk]) -> Digest {
    let mut root = Root::default();
    for chunk in chunks {
        root.add(chunk.offset, chunk.length, &chunk.sha256);
    }
    root.finish()
}
