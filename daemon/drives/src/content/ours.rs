//! Whether a drive still is as a job of this station has left it.
//!
//! The identity of the job's record must stand at each of its places, which makes every chunk of the master comparable by
//! its digest, without the master itself. Compared are all chunks of the commit (both partition tables and all boot
//! sectors), all that hold a [`Telltale`](model::manifest::Telltale), and [`SAMPLE`] others, drawn anew each time. Free
//! space is not looked at, except where libblkid looks.

use std::collections::BTreeSet;
use std::io;

use formats::gpt::{self, TableError, Tables};
use model::digest::Digest;
use model::identity::{Identity, MisplacedSite, mark, unstamp};
use model::layout::{Plan, Role};
use model::manifest::{Chunk, Manifest, Stage};
use model::ranges::{GRAIN, Range, RangeSet};
use model::units::{Bytes, MIB};

use super::{View, blank};
use crate::buffer::Buffer;

/// How many chunks without telltales are compared.
pub const SAMPLE: usize = 64;

/// Why a drive is not as it was left.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Doubt {
    #[error("its capacity or sector size is another one")]
    Geometry,
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("its protective MBR is not in force")]
    Mbr,
    #[error("there is {found} in {place}")]
    Signature { found: String, place: String },
    #[error("{place} is not as it was written ({range})")]
    Changed { place: String, range: Range },
    #[error("it holds data that this station has not written ({range})")]
    Strange { range: Range },
    #[error(transparent)]
    Site(#[from] MisplacedSite),
    #[error("it cannot be read")]
    Read(#[from] io::Error),
}

/// Proves that a drive is as it was when it passed.
///
/// # Errors
/// [`Doubt`] is the first thing that speaks against it.
pub fn prove(view: &View, manifest: &Manifest, identity: &Identity) -> Result<(), Doubt> {
    let plan = &manifest.plan;
    if plan.geometry != view.geometry() {
        return Err(Doubt::Geometry);
    }
    let primary = view.bytes(plan.primary_range())?.to_vec();
    let sector = Bytes(plan.geometry.sector.bytes()).as_usize();
    let should = gpt::render(plan, identity)?.primary;
    let backup = view.bytes(plan.backup_range())?.to_vec();
    let tables = Tables { primary, backup };
    gpt::check(plan, identity, &tables)?;
    if tables.primary.get(..sector) != should.get(..sector) {
        return Err(Doubt::Mbr);
    }
    let whole = view.probe(None)?;
    if whole.contradicts || whole.kind.is_some() || whole.table.as_deref() != Some("gpt") {
        return Err(Doubt::Signature { found: whole.words(), place: "the drive itself".into() });
    }
    signatures(view, plan)?;
    volumes(view, manifest, identity, &|_, _| false)
}

/// Proves that a drive is as a job has left it that wrote both tables, except that all or a part of what it wrote at
/// the ends of the drive may be gone: zeros, or the job's marker.
///
/// # Errors
/// [`Doubt`] is the first thing that speaks against it.
pub fn prove_without_tables(
    view: &View,
    manifest: &Manifest,
    identity: &Identity,
) -> Result<(), Doubt> {
    let geometry = manifest.plan.geometry;
    if geometry != view.geometry() {
        return Err(Doubt::Geometry);
    }
    signatures(view, &manifest.plan)?;
    let ends = ends(geometry.size);
    volumes(view, manifest, identity, &|chunk, data| {
        let gone = data.iter().all(|byte| *byte == 0) || is_marker(data, chunk, identity);
        gone && ends.covers(chunk.range())
    })
}

/// Compares the chunks that any use of the volumes changes, and some others. What is not as it was written may be
/// `excused`.
fn volumes(
    view: &View,
    manifest: &Manifest,
    identity: &Identity,
    excused: &dyn Fn(&Chunk, &[u8]) -> bool,
) -> Result<(), Doubt> {
    for index in to_compare(manifest, &mut fastrand::Rng::new()) {
        let chunk = &manifest.chunks[index];
        let range = chunk.range();
        if !is_as_written(view, manifest, chunk, identity)? && !excused(chunk, &view.bytes(range)?)
        {
            return Err(Doubt::Changed { place: manifest.place(range), range });
        }
    }
    Ok(())
}

/// Both ends of a drive, which are zeroed before anything is written to it.
fn ends(size: Bytes) -> RangeSet {
    [Range::at(Bytes(0), MIB), Range::new(size - MIB, size)].into_iter().collect()
}

/// Checks that libblkid knows on the partitions what was put there, and nothing else.
fn signatures(view: &View, plan: &Plan) -> Result<(), Doubt> {
    for partition in &plan.partitions {
        let found = view.probe(Some(partition.range(plan.geometry.sector)))?;
        let kind = match partition.role {
            Role::Esp => Some("vfat"),
            Role::Msr => None,
            Role::Windows | Role::Recovery => Some("ntfs"),
        };
        if found.contradicts || found.table.is_some() || found.kind.as_deref() != kind {
            let place = format!("the {} partition", partition.role);
            return Err(Doubt::Signature { found: found.words(), place });
        }
    }
    Ok(())
}

/// The chunks that are compared, in ascending order.
fn to_compare(manifest: &Manifest, random: &mut fastrand::Rng) -> BTreeSet<usize> {
    let telltales: RangeSet = manifest.telltales.iter().map(|t| t.range()).collect();
    let mut telltales = telltales.ranges().iter().copied().peekable();
    let mut compared = BTreeSet::new();
    let mut others = Vec::new();
    for (index, chunk) in manifest.chunks.iter().enumerate() {
        let own = chunk.range();
        while telltales.next_if(|telltale| telltale.end <= own.start).is_some() {}
        let tells = telltales.peek().is_some_and(|telltale| telltale.overlaps(own));
        if tells || chunk.stage == Stage::Commit {
            compared.insert(index);
        } else {
            others.push(index);
        }
    }
    random.shuffle(&mut others);
    compared.extend(others.into_iter().take(SAMPLE));
    compared
}

/// Whether a chunk is on the drive as it was written there.
fn is_as_written(
    view: &View,
    manifest: &Manifest,
    chunk: &Chunk,
    identity: &Identity,
) -> Result<bool, Doubt> {
    let mut data = view.bytes(chunk.range())?;
    let own = unstamp(&mut data, chunk.offset, &manifest.sites, identity)?;
    Ok(own && Digest::of(&data) == chunk.sha256)
}

/// Proves that a drive is as a job has left it that was ended early: without tables, and at the place of each boot sector
/// with the job's own marker, or the boot sector itself, or nothing. Of the other chunks [`SAMPLE`] are looked at; each must
/// be as the job would have written it, or blank. Where the job writes nothing, the drive must be as blank as one that was
/// never used: nobody knows where its owner has put something since.
///
/// # Errors
/// [`Doubt`] is the first thing that speaks against it.
pub fn prove_unfinished(
    view: &View,
    manifest: &Manifest,
    identity: &Identity,
) -> Result<(), Doubt> {
    let plan = &manifest.plan;
    if plan.geometry != view.geometry() {
        return Err(Doubt::Geometry);
    }
    let whole = view.probe(None)?;
    if !whole.is_nothing() {
        return Err(Doubt::Signature { found: whole.words(), place: "the drive itself".into() });
    }
    let ends = ends(plan.geometry.size);
    let mut others: Vec<&Chunk> = Vec::new();
    for chunk in &manifest.chunks {
        let own = chunk.range();
        let at_end = ends.covers(own);
        if chunk.stage == Stage::Body && !at_end {
            others.push(chunk);
            continue;
        }
        let data = view.bytes(own)?;
        let zeros = data.iter().all(|byte| *byte == 0);
        let left = match chunk.stage {
            Stage::Body => zeros,
            Stage::Commit if is_marker(&data, chunk, identity) => true,
            Stage::Commit if at_end => zeros,
            // Erased, when the job had not put its marker there yet.
            Stage::Commit => is_uniform(&data) || is_as_written(view, manifest, chunk, identity)?,
        };
        if !left {
            return Err(Doubt::Changed { place: manifest.place(chunk.range()), range: own });
        }
    }
    fastrand::shuffle(&mut others);
    for chunk in others.into_iter().take(SAMPLE) {
        let uniform = is_uniform(&view.bytes(chunk.range())?);
        if !uniform && !is_as_written(view, manifest, chunk, identity)? {
            return Err(Doubt::Strange { range: chunk.range() });
        }
    }
    let chunks: RangeSet = manifest.chunks.iter().map(Chunk::range).collect();
    match blank::data_outside(view, &chunks)? {
        Some(at) => Err(Doubt::Strange { range: Range::at(at, Bytes(GRAIN)) }),
        None => Ok(()),
    }
}

fn is_marker(data: &[u8], chunk: &Chunk, identity: &Identity) -> bool {
    let mut marker = Buffer::zeroed(chunk.length);
    mark(&mut marker, chunk.offset, identity);
    data == &marker[..]
}

fn is_uniform(data: &[u8]) -> bool {
    data.first().is_none_or(|first| data.iter().all(|byte| byte == first))
}
