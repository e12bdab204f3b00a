//! Derives a master for a larger drive from one that was pressed: what differs is made anew, all else is the base's.
//!
//! What differs are both GPTs, what an NTFS volume has of its own size ([`formats::ntfs::growth`]), and in the boot
//! sectors of the partitions behind it where they lie.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use formats::gpt::{self, TableError};
use formats::ntfs::accounts::{self, AccountError};
use formats::ntfs::growth::{self, GrowthError};
use model::identity::{Identity, Site};
use model::layout::{LayoutError, Moved, Plan, PlannedPartition, Role};
use model::manifest::{Manifest, Recipe};
use model::ranges::{Range, RangeSet};
use model::units::Bytes;
use serde::{Deserialize, Serialize};

use crate::allocation::{self, MapError};
use crate::image::Outline;
use crate::layers::{Image, ReadAt};
use crate::telltales;

/// What a derived master has of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Derived {
    /// The ranges of its own file that count.
    pub own: Vec<Range>,
    #[expect(missing_docs, reason = "the name says it")]
    pub outline: Outline,
}

/// A master that cannot be derived.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DeriveError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("a master for this drive cannot be derived from that one")]
    Unlike,
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the base's volume cannot grow")]
    Growth(#[from] GrowthError<io::Error>),
    /// What was made is looked at as if nothing were known of how.
    #[error("the volume that was derived is not sound")]
    Unsound(#[from] AccountError<io::Error>),
    #[error("{0} would change, and do not go with the size of the drive")]
    Changed(Range),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("cannot read the base or write what is derived")]
    Io(#[from] io::Error),
}

/// Writes into `own`, an empty file, what a master for `recipe` has that its base has not.
///
/// # Errors
/// [`DeriveError`] if the base is not as a press leaves it, or the files cannot be used.
pub fn derive(
    base: &File,
    manifest: &Manifest,
    recipe: &Recipe,
    own: &File,
) -> Result<Derived, DeriveError> {
    let plan = recipe.layout.plan(recipe.geometry)?;
    let moved = plan.moved_from(&manifest.plan).ok_or(DeriveError::Unlike)?;
    let mut written = Written { own, ranges: Vec::new() };
    own.set_len(plan.geometry.size.0)?;
    let tables = gpt::render(&plan, &Identity::placeholder(plan.partitions.len()))?;
    written.put(Bytes(0), &tables.primary)?;
    written.put(plan.geometry.size - Bytes::of(tables.backup.len()), &tables.backup)?;
    for (partition, before) in plan.partitions.iter().zip(&manifest.plan.partitions) {
        let sector = plan.geometry.sector;
        let (to, from) = (partition.range(sector), before.range(sector));
        if partition.role == Role::Windows {
            let read = |at: Bytes, length: usize| {
                let mut data = vec![0; length];
                base.fill(&mut data, from.start + at).map(|()| data)
            };
            for change in growth::changes(&mut { read }, to.length())? {
                written.put(to.start + change.at, &change.data)?;
            }
        } else if to.start != from.start {
            for at in boot_sectors(partition, sector.bytes()) {
                let mut data = vec![0; Bytes(sector.bytes()).as_usize()];
                base.fill(&mut data, from.start + at)?;
                // Both file systems have the place there; 0 if it has more than 32 bits, as in a press.
                let place = u32::try_from(partition.first.0).unwrap_or(0);
                data[0x1c..0x20].copy_from_slice(&place.to_le_bytes());
                written.put(to.start + at, &data)?;
            }
        }
    }
    let ranges: RangeSet = written.ranges.into_iter().collect();
    let own_ranges = ranges.ranges().to_vec();
    let image = Image::derived(own.try_clone()?, base.try_clone()?, moved.clone(), &own_ranges)?;
    if let Some((_, windows)) = plan.find(Role::Windows) {
        is_sound(&image, windows.range(plan.geometry.sector), &ranges)?;
    }
    let mut needed: Vec<Range> = own_ranges.clone();
    for partition in &plan.partitions {
        allocation::allocated(&image, &plan, partition, &mut needed)?;
    }
    needed.extend(allocation::guards(&plan));
    let needed: RangeSet = needed.into_iter().collect();
    let outline = Outline {
        needed: needed.aligned(plan.geometry.size).ranges().to_vec(),
        sites: sites(&plan, manifest, &moved),
        telltales: telltales::find(&image, &plan)?,
    };
    Ok(Derived { own: own_ranges, outline })
}

/// Checks the volume that was made larger: its accounts, and that nothing else changes than what goes with its size.
fn is_sound(image: &Image, volume: Range, own: &RangeSet) -> Result<(), DeriveError> {
    let read = |at: Bytes, length: usize| {
        let mut data = vec![0; length];
        image.fill(&mut data, volume.start + at).map(|()| data)
    };
    let same = accounts::check(&mut { read }, volume.length())?;
    let same: RangeSet = same
        .ranges()
        .iter()
        .map(|range| Range::at(volume.start + range.start, range.length()))
        .collect();
    let left = same.without(own);
    match same.without(&left).ranges() {
        [] => Ok(()),
        [changed, ..] => Err(DeriveError::Changed(*changed)),
    }
}

/// What has been written, and where.
struct Written<'a> {
    own: &'a File,
    ranges: Vec<Range>,
}

impl Written<'_> {
    /// Writes bytes; leaves holes for zeros.
    fn put(&mut self, at: Bytes, data: &[u8]) -> io::Result<()> {
        self.ranges.push(Range::at(at, Bytes::of(data.len())));
        if data.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.own.write_all_at(data, at.0)
    }
}

/// Where in a partition its boot sector lies, and the copy.
fn boot_sectors(partition: &PlannedPartition, sector: u64) -> Vec<Bytes> {
    let sectors = partition.last.0 - partition.first.0;
    match partition.role {
        Role::Msr => Vec::new(),
        Role::Esp => vec![Bytes(0), Bytes(6 * sector)],
        Role::Windows | Role::Recovery => vec![Bytes(0), Bytes(sectors * sector)],
    }
}

/// The places at which drives differ: those of the tables anew, the others where they lie now.
fn sites(plan: &Plan, base: &Manifest, moved: &[Moved]) -> Vec<Site> {
    let tables = gpt::sites(&base.plan);
    let mut all = gpt::sites(plan);
    let windows =
        |plan: &Plan| plan.find(Role::Windows).map(|(_, p)| p.range(plan.geometry.sector));
    for site in base.sites.iter().filter(|site| !tables.contains(site)) {
        let place = moved.iter().find_map(|moved| moved.part(site.range()));
        let offset = place.map(|range| range.start).or_else(|| {
            // The copy of the boot sector, at the end of the volume that has grown.
            let (from, to) = (windows(&base.plan)?, windows(plan)?);
            from.covers(site.range()).then(|| to.end - (from.end - site.offset))
        });
        all.extend(offset.map(|offset| Site { offset, ..*site }));
    }
    all
}
