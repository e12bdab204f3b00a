//! Makes a manifest of a master's image file, and checks later that the file still holds the same bytes.
//!
//! Who presses an image also says what of it matters, as an [`Outline`]: to find that out takes reading the file systems
//! in it. The digests are made by the station itself, of an image that nobody else can write to any more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use jiff::Timestamp;
use model::digest::{Digest, HashPaths, Lanes};
use model::identity::Site;
use model::layout::Plan;
use model::manifest::{Chunk, FORMAT, Manifest, Recipe, Stage, Telltale, root};
use model::ranges::{CHUNK, Range, RangeSet};
use model::units::Bytes;
use serde::{Deserialize, Serialize};

use crate::allocation::{self, MapError};
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
    image: &File,
    recipe: Recipe,
    plan: Plan,
    outline: Outline,
    paths: &HashPaths,
    report: &(dyn Fn(Bytes, Bytes) + Sync),
) -> Result<Manifest, MapError> {
    let Outline { needed, sites, telltales } = outline;
    let size = plan.geometry.size;
    let outside = |range: &&Range| range.start >= range.end || range.end > size;
    if let Some(range) = needed.iter().find(outside) {
        return Err(MapError::Outside(*range));
    }
    let needed = needed.into_iter().collect::<RangeSet>().aligned(size);
    let commit = allocation::commit(&plan);
    let body = needed.without(&commit);
    let body = body.pieces().map(|piece| (piece, Stage::Body));
    // Commit ranges are not cut into pieces: a checksum and the bytes that it covers must be stamped together.
    let whole = commit.ranges().iter().map(|range| (*range, Stage::Commit));
    let mut pieces: Vec<(Range, Stage)> = body.chain(whole).collect();
    pieces.sort_by_key(|(range, _)| *range);
    let ranges: Vec<Range> = pieces.iter().map(|(range, _)| *range).collect();
    let stray = |site: &&Site| !ranges.iter().any(|range| range.covers(site.reach()));
    if let Some(site) = sites.iter().find(stray) {
        return Err(MapError::Site(*site));
    }
    telltales::check(&telltales, &plan)?;
    let digests = hash_ranges(image, &ranges, paths, report)?;
    let chunk = |((range, stage), sha256): ((Range, Stage), Digest)| Chunk {
        offset: range.start,
        length: range.length(),
        sha256,
        stage,
    };
    let chunks: Vec<Chunk> = pieces.into_iter().zip(digests).map(chunk).collect();
    let mut manifest = Manifest {
        format: FORMAT,
        id: recipe.id(),
        root_sha256: root(&chunks),
        seal_sha256: Digest([0; 32]),
        recipe,
        plan,
        chunks,
        sites,
        telltales,
        pressed: Timestamp::now(),
        warnings: Vec::new(),
        boot_programs: Vec::new(),
    };
    manifest.seal_sha256 = manifest.seal();
    Ok(manifest)
}

/// Hashes an image again and compares it with its manifest. Returns the first chunk that differs, `None` if none does.
///
/// # Errors
/// If the image cannot be read or is too short.
pub fn damage(manifest: &Manifest, image: &File, paths: &HashPaths) -> io::Result<Option<Chunk>> {
    let ranges: Vec<Range> = manifest.chunks.iter().map(Chunk::range).collect();
    let digests = hash_ranges(image, &ranges, paths, &|_, _| ())?;
    let damaged = manifest.chunks.iter().zip(digests).find(|(chunk, d)| chunk.sha256 != *d);
    Ok(damaged.map(|(chunk, _)| *chunk))
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
    image: &File,
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
                image.read_exact_at(&mut data, range.start.0)?;
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
