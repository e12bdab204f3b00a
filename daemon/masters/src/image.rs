//! Makes a manifest of a master's image file, and checks later that the file still holds the same bytes.
//!
//! Who presses an image also says what of it matters, as an [`Outline`]: to find that out takes reading the file systems
//! in it. The digests are made by the station itself, of an image that nobody else can write to any more.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;
use model::digest::{Digest, HashPaths, Lanes};
use model::identity::Site;
use model::layout::{Moved, Plan};
use model::manifest::{Base, Chunk, FORMAT, Manifest, Recipe, Stage, Telltale, root};
use model::ranges::{CHUNK, Range, RangeSet};
use model::units::Bytes;
use serde::{Deserialize, Serialize};

use crate::allocation::{self, MapError};
use crate::derive::Derived;
use crate::layers::{Image, ReadAt};
use crate::store::Master;
use crate::telltales;

/// What of an image matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The bytes that every drive gets.
    pub needed: Vec<Range>,
    /// The places at which drives differ.
    pub sites: Vec<Site>,
    /// The places that change when a volume is used.
    pub telltales: Vec<Telltale>,
}

impl Outline {
    /// The outline of a finished image, which differs from drive to drive at `sites`.
    ///
    /// # Errors
    /// [`MapError`] if the image cannot be read, or a file system in it is not sound.
    pub fn of(image: &File, plan: &Plan, sites: Vec<Site>) -> Result<Self, MapError> {
        let needed = allocation::needed(image, plan)?.ranges().to_vec();
        Ok(Self { needed, sites, telltales: telltales::find(image, plan)? })
    }
}

/// Hashes an image on `paths`. `report` is called from several threads, with the bytes hashed so far and the bytes in all.
///
/// # Errors
/// [`MapError`] if the image cannot be read, or the outline does not fit it.
pub fn describe(
    image: &dyn ReadAt,
    recipe: Recipe,
    plan: Plan,
    outline: Outline,
    paths: &HashPaths,
    report: &(dyn Fn(Bytes, Bytes) + Sync),
) -> Result<Manifest, MapError> {
    let pieces = pieces(&plan, &outline, &[])?;
    let ranges: Vec<Range> = pieces.iter().map(|(range, _)| *range).collect();
    let digests = hash_ranges(image, &ranges, paths, report)?;
    let chunks = pieces.into_iter().zip(digests).map(chunk).collect();
    Ok(manifest(recipe, plan, outline, chunks, None))
}

/// The manifest of a derived master. Chunks that the base has as well keep their digests; the others are hashed, once the
/// base's chunks from which they take anything have been hashed anew: a byte that is wrong there must not become right
/// here.
///
/// # Errors
/// [`MapError`] if an image cannot be read, the outline does not fit it, or the base is damaged.
pub fn describe_derived(
    image: &Image,
    base: &Master,
    recipe: Recipe,
    plan: Plan,
    Derived { own, mut outline }: Derived,
    paths: &HashPaths,
) -> Result<Manifest, MapError> {
    let moved = plan.moved_from(&base.manifest.plan).unwrap_or_default();
    let own_ranges: RangeSet = own.iter().copied().collect();
    // Whatever the worker says: what the base's drives get, larger ones get, too.
    let chunks = base.manifest.chunks.iter().map(Chunk::range);
    outline.needed.extend(chunks.flat_map(|range| moved.iter().filter_map(move |m| m.part(range))));
    let kept = kept(&base.manifest, &moved, &own_ranges);
    let pieces = pieces(&plan, &outline, &kept)?;
    let known: HashMap<Range, Digest> =
        kept.iter().map(|chunk| (chunk.range(), chunk.sha256)).collect();
    let anew = |range: &Range| !known.contains_key(range);
    let ranges: Vec<Range> = pieces.iter().map(|(range, _)| *range).filter(anew).collect();
    let touched = |chunk: &&Chunk| {
        let parts = moved.iter().filter_map(|moved| moved.part(chunk.range()));
        parts.into_iter().any(|part| ranges.iter().any(|range| range.overlaps(part)))
    };
    let touched: Vec<Chunk> = base.manifest.chunks.iter().filter(touched).copied().collect();
    let places: Vec<Range> = touched.iter().map(Chunk::range).collect();
    let found = hash_ranges(&base.image, &places, paths, &|_, _| ())?;
    if let Some((chunk, _)) = touched.iter().zip(found).find(|(chunk, d)| chunk.sha256 != *d) {
        return Err(MapError::Base(chunk.range()));
    }
    let mut digests = hash_ranges(image, &ranges, paths, &|_, _| ())?.into_iter();
    let digest = |range: &Range| known.get(range).copied().or_else(|| digests.next());
    let digests: Vec<Digest> = pieces.iter().map(|(range, _)| range).filter_map(digest).collect();
    let chunks = pieces.into_iter().zip(digests).map(chunk).collect();
    let (geometry, root_sha256) = (base.manifest.recipe.geometry, base.manifest.root_sha256);
    let from = Base { geometry, root_sha256, own };
    let mut manifest = manifest(recipe, plan, outline, chunks, Some(from));
    manifest.warnings.clone_from(&base.manifest.warnings);
    manifest.boot_programs.clone_from(&base.manifest.boot_programs);
    Ok(manifest.sealed())
}

/// The base's body chunks that a derived master has as they are, at their places there.
fn kept(base: &Manifest, moved: &[Moved], own: &RangeSet) -> Vec<Chunk> {
    let body = base.chunks.iter().filter(|chunk| chunk.stage == Stage::Body);
    let kept = body.filter_map(|chunk| {
        let part = moved.iter().find_map(|moved| moved.part(chunk.range()))?;
        let whole = part.length() == chunk.length;
        let alone = !own.ranges().iter().any(|range| range.overlaps(part));
        (whole && alone).then_some(Chunk { offset: part.start, ..*chunk })
    });
    kept.collect()
}

/// The pieces of an image that are hashed, each with the stage in which it is written. `kept` are pieces that it must have.
fn pieces(plan: &Plan, outline: &Outline, kept: &[Chunk]) -> Result<Vec<(Range, Stage)>, MapError> {
    let size = plan.geometry.size;
    let outside = |range: &&Range| range.start >= range.end || range.end > size;
    if let Some(range) = outline.needed.iter().find(outside) {
        return Err(MapError::Outside(*range));
    }
    let needed = outline.needed.iter().copied().collect::<RangeSet>().aligned(size);
    let commit = allocation::commit(plan);
    let body = needed.without(&commit);
    // A chunk that only partly is needed here, or that holds what is written last, is cut anew.
    let kept: Vec<Range> =
        kept.iter().map(Chunk::range).filter(|range| body.covers(*range)).collect();
    let rest = body.without(&kept.iter().copied().collect());
    let body = rest.pieces().chain(kept).map(|piece| (piece, Stage::Body));
    // Commit ranges are not cut into pieces: a checksum and the bytes that it covers must be stamped together.
    let whole = commit.ranges().iter().map(|range| (*range, Stage::Commit));
    let mut pieces: Vec<(Range, Stage)> = body.chain(whole).collect();
    pieces.sort_by_key(|(range, _)| *range);
    let stray = |site: &&Site| !pieces.iter().any(|(range, _)| range.covers(site.reach()));
    if let Some(site) = outline.sites.iter().find(stray) {
        return Err(MapError::Site(*site));
    }
    telltales::check(&outline.telltales, plan)?;
    Ok(pieces)
}

fn chunk(((range, stage), sha256): ((Range, Stage), Digest)) -> Chunk {
    Chunk { offset: range.start, length: range.length(), sha256, stage }
}

fn manifest(
    recipe: Recipe,
    plan: Plan,
    outline: Outline,
    chunks: Vec<Chunk>,
    base: Option<Base>,
) -> Manifest {
    let manifest = Manifest {
        format: FORMAT,
        id: recipe.id(),
        root_sha256: root(&chunks),
        seal_sha256: Digest([0; 32]),
        recipe,
        plan,
        chunks,
        sites: outline.sites,
        telltales: outline.telltales,
        pressed: Timestamp::now(),
        warnings: Vec::new(),
        boot_programs: Vec::new(),
        base,
    };
    manifest.sealed()
}

/// Hashes what a derived master has of its own, and compares it with its manifest; all else must have the digests that the
/// base's manifest has. Returns the first chunk that differs, `None` if none does.
///
/// # Errors
/// If the image cannot be read or is too short.
pub fn damage_derived(
    manifest: &Manifest,
    base: &Manifest,
    image: &Image,
    paths: &HashPaths,
) -> io::Result<Option<Chunk>> {
    let moved = manifest.moved().unwrap_or_default();
    let own = manifest.base.iter().flat_map(|base| base.own.iter().copied()).collect();
    let kept: HashSet<Chunk> = kept(base, &moved, &own).into_iter().collect();
    let other: Vec<Chunk> =
        manifest.chunks.iter().filter(|chunk| !kept.contains(chunk)).copied().collect();
    let ranges: Vec<Range> = other.iter().map(Chunk::range).collect();
    let digests = hash_ranges(image, &ranges, paths, &|_, _| ())?;
    let damaged = other.iter().zip(digests).find(|(chunk, digest)| chunk.sha256 != *digest);
    Ok(damaged.map(|(chunk, _)| *chunk))
}

/// Hashes an image again and compares it with its manifest. Returns the first chunk that differs, `None` if none does.
///
/// # Errors
/// If the image cannot be read or is too short.
pub fn damage(
    manifest: &Manifest,
    image: &dyn ReadAt,
    paths: &HashPaths,
) -> io::Result<Option<Chunk>> {
    let ranges: Vec<Range> = manifest.chunks.iter().map(Chunk::range).collect();
    let digests = hash_ranges(image, &ranges, paths, &|_, _| ())?;
    let damaged = manifest.chunks.iter().zip(digests).find(|(chunk, d)| chunk.sha256 != *d);
    Ok(damaged.map(|(chunk, _)| *chunk))
}

/// Hashes what stands for a drive's bytes, and compares it with a manifest. Returns the chunks that differ, by their places
/// in the manifest. `report` is called from several threads, with the bytes hashed so far and the bytes in all.
///
/// # Errors
/// If the bytes cannot be read.
pub fn differing(
    manifest: &Manifest,
    bytes: &dyn ReadAt,
    paths: &HashPaths,
    report: &(dyn Fn(Bytes, Bytes) + Sync),
) -> io::Result<Vec<usize>> {
    let ranges: Vec<Range> = manifest.chunks.iter().map(Chunk::range).collect();
    let digests = hash_ranges(bytes, &ranges, paths, report)?;
    let all = manifest.chunks.iter().zip(digests).enumerate();
    let differing = all.filter(|(_, (chunk, digest))| chunk.sha256 != *digest);
    Ok(differing.map(|(index, _)| index).collect())
}

/// What a range of an image holds, and which it is.
struct Part {
    index: usize,
    data: Vec<u8>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// The SHA-256 of each range, in the order of `ranges`, computed on every core.
fn hash_ranges(
    image: &dyn ReadAt,
    ranges: &[Range],
    paths: &HashPaths,
    report: &(dyn Fn(Bytes, Bytes) + Sync),
) -> io::Result<Vec<Digest>> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(ranges.len().max(1));
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let total = ranges.iter().map(|range| range.length()).sum();
    let work = || -> io::Result<Vec<(usize, Digest)>> {
        let mut lanes: Lanes<Part> = Lanes::new(paths.clone());
        let mut spare = Vec::new();
        let mut digests = Vec::new();
        loop {
            while !lanes.is_full() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(range) = ranges.get(index) else { break };
                let mut data: Vec<u8> = spare.pop().unwrap_or_default();
                data.resize(range.length().as_usize(), 0);
                image.fill(&mut data, range.start)?;
                lanes.add(Part { index, data });
            }
            if lanes.is_empty() {
                return Ok(digests);
            }
            for (Part { index, data }, digest) in lanes.advance(CHUNK) {
                let length = Bytes::of(data.len()).0;
                let so_far = done.fetch_add(length, Ordering::Relaxed) + length;
                report(Bytes(so_far), total);
                digests.push((index, digest));
                spare.push(data);
            }
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
    use std::os::unix::fs::FileExt as _;

    use model::digest::HashPath;

    use super::*;

    #[test]
    fn ranges_are_hashed_in_order() {
        let file = tempfile::tempfile().unwrap();
        let data: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        file.write_all_at(&data, 0).unwrap();
        let ranges: Vec<Range> = (0..40).map(|n| Range::at(Bytes(n * 5000), Bytes(4999))).collect();
        for path in [HashPath::Single, HashPath::Pair, HashPath::Avx2, HashPath::Avx512] {
            let paths = HashPaths::only(path);
            let digests = hash_ranges(&file, &ranges, &paths, &|_, _| ()).unwrap();
            assert_eq!(digests.len(), ranges.len());
            for (range, digest) in ranges.iter().zip(&digests) {
                let part = &data[range.start.as_usize()..range.end.as_usize()];
                assert_eq!(*digest, Digest::of(part), "{path}");
            }
        }
    }
}
