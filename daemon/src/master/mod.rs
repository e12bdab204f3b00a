//! Masters: raw disk images pressed once and replicated many times, each with a manifest of what must be
//! written where, its digest, and where drives differ.
//!
//! Reads the store; never sees a drive.

pub mod map;
pub mod runs;
pub mod store;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Root};
use crate::drive::Geometry;
use crate::identity::Site;
use crate::layout::{Layout, Plan};
use crate::units::Bytes;

/// Format of the manifest and of what a press puts into an image. A master of another format is pressed anew.
pub const FORMAT: u32 = 3;

/// File name of the image in a master's folder.
pub const IMAGE_FILE: &str = "disk.raw";
/// File name of the manifest in a master's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

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
    /// Maps and hashes a finished image. `report` gets bytes hashed and bytes in all.
    ///
    /// # Errors
    /// [`MapError`](map::MapError) if the image cannot be read or a file system in it is not sound.
    pub fn of_image(
        image: &File,
        recipe: Recipe,
        plan: Plan,
        sites: Vec<Site>,
        warnings: Vec<String>,
        report: &(dyn Fn(Bytes, Bytes) + Sync),
    ) -> Result<Self, map::MapError> {
        let needed = map::needed(image, &plan)?;
        let commit = map::commit(&plan);
        let mut pieces: Vec<(Bytes, Bytes, Stage)> = needed
            .without(&commit)
            .pieces()
            .into_iter()
            .map(|(offset, length)| (offset, length, Stage::Body))
            .collect();
        // Not cut: a checksum and what it covers must be stamped together.
        let whole = |(start, end): &(u64, u64)| (Bytes(*start), Bytes(end - start), Stage::Commit);
        pieces.extend(commit.ranges().iter().map(whole));
        pieces.sort_by_key(|piece| piece.0);
        let ranges: Vec<(Bytes, Bytes)> = pieces.iter().map(|p| (p.0, p.1)).collect();
        let stray = sites.iter().find(|site| {
            let (start, end) = site.reach();
            !ranges.iter().any(|(o, l)| *o <= start && end.0 <= o.0 + l.0)
        });
        if let Some(site) = stray {
            return Err(map::MapError::Site(*site));
        }
        let digests = hash_ranges(image, &ranges, report)?;
        let chunks: Vec<Chunk> = pieces
            .into_iter()
            .zip(digests)
            .map(|((offset, length, stage), sha256)| Chunk { offset, length, sha256, stage })
            .collect();
        let mut manifest = Self {
            format: FORMAT,
            id: recipe.id(),
            root_sha256: root(&chunks),
            seal_sha256: Digest([0; 32]),
            recipe,
            plan,
            chunks,
            sites,
            pressed: Timestamp::now(),
            warnings,
        };
        manifest.seal_sha256 = manifest.seal();
        Ok(manifest)
    }

    /// Reads the manifest in a master's folder.
    ///
    /// # Errors
    /// An I/O error; one of kind `InvalidData` if it is not a manifest of this format or contradicts
    /// itself.
    pub fn load(folder: &Path) -> io::Result<Self> {
        Self::parse(&std::fs::read(folder.join(MANIFEST_FILE))?)
    }

    pub(crate) fn parse(text: &[u8]) -> io::Result<Self> {
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

    fn seal(&self) -> Digest {
        let parts = (&self.recipe, &self.plan, &self.chunks, &self.sites);
        Digest::of(&serde_json::to_vec(&parts).unwrap_or_default())
    }

    /// Bytes that a drive gets.
    pub fn payload(&self) -> Bytes {
        Bytes(self.chunks.iter().map(|c| c.length.0).sum())
    }

    /// Hashes the image again and compares. `None` if it is whole, else the first damaged chunk.
    ///
    /// # Errors
    /// If the image cannot be read, or is shorter than it must be.
    pub fn damage(&self, image: &File) -> io::Result<Option<Chunk>> {
        let ranges: Vec<(Bytes, Bytes)> =
            self.chunks.iter().map(|c| (c.offset, c.length)).collect();
        let digests = hash_ranges(image, &ranges, &|_, _| ())?;
        let damaged = self.chunks.iter().zip(digests).find(|(chunk, d)| chunk.sha256 != *d);
        Ok(damaged.map(|(chunk, _)| *chunk))
    }
}

fn root(chunks: &[Chunk]) -> Digest {
    let mut root = Root::default();
    for chunk in chunks {
        root.add(chunk.offset, chunk.length, &chunk.sha256);
    }
    root.finish()
}

/// SHA-256 of each range, on every core.
fn hash_ranges(
    image: &File,
    ranges: &[(Bytes, Bytes)],
    report: &(dyn Fn(Bytes, Bytes) + Sync),
) -> io::Result<Vec<Digest>> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(ranges.len().max(1));
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let total = Bytes(ranges.iter().map(|r| r.1.0).sum());
    let work = || -> io::Result<Vec<(usize, Digest)>> {
        let mut buffer = vec![0_u8; runs::CHUNK.as_usize()];
        let mut digests = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((offset, length)) = ranges.get(index) else { return Ok(digests) };
            let part = &mut buffer[..length.as_usize()];
            image.read_exact_at(part, offset.0)?;
            digests.push((index, Digest::of(part)));
            let so_far = done.fetch_add(length.0, Ordering::Relaxed) + length.0;
            report(Bytes(so_far), total);
        }
    };
    let mut all: Vec<(usize, Digest)> = Vec::with_capacity(ranges.len());
    thread::scope(|scope| -> io::Result<()> {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => all.extend(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })?;
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, digest)| digest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_hashed_in_order() {
        let file = tempfile::tempfile().unwrap();
        let data: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        file.write_all_at(&data, 0).unwrap();
        let ranges: Vec<(Bytes, Bytes)> = (0..40).map(|n| (Bytes(n * 5000), Bytes(4999))).collect();
        let digests = hash_ranges(&file, &ranges, &|_, _| ()).unwrap();
        for ((offset, length), digest) in ranges.iter().zip(&digests) {
            let part = &data[offset.as_usize()..(offset.0 + length.0).try_into().unwrap()];
            assert_eq!(*digest, Digest::of(part));
        }
    }
}
