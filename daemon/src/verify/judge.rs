//! What the differences of a drive mean: where they lie, in which files, and whether an operating system that has used the
//! volumes explains them.
//!
//! A volume was used if its file table differs, and its journal or its bitmap as well: whoever writes files changes two of
//! them at least, and an accident rarely does. On such a volume, differences are explained in what every use changes (the
//! telltales, the file system's own files), in files whose own record differs, too, and where no file lies. A file whose
//! record is as it was must have its contents as they were: nobody has written it by way of the file system. Boot sectors
//! and partition tables are never explained, nor is what cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use media::compare::file_map::{FileMap, Keeper, Owner, Part};
use model::api::verify::{ComparedBy, Comparison};
use model::layout::{PlannedPartition, Role};
use model::manifest::{Keeps, Manifest, Stage};
use model::ranges::{Range, RangeSet};
use model::units::Bytes;

use super::differences::{Difference, Wrong};

/// Everything that is judged.
pub(super) struct Judged<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) differences: Vec<Difference>,
    /// What lies where, by partition.
    pub(super) maps: BTreeMap<usize, FileMap>,
    pub(super) compared_by: ComparedBy,
}

/// A range with what is said of it; those that no use explains sort first.
type Told = (bool, Range, String);

impl Judged<'_> {
    /// The comparison with a drive of this size.
    pub(super) fn comparison(&self, size: Bytes, sector: u32) -> Comparison {
        let Self { manifest, differences, compared_by, .. } = self;
        let mut comparison = Comparison::new(*compared_by, manifest.payload());
        let geometry = manifest.plan.geometry;
        if size != geometry.size {
            let range = Range::new(size.min(geometry.size), size.max(geometry.size));
            let what = format!("the drive has {size}, and had {}", geometry.size);
            comparison.differs(range, what, false);
        }
        if u64::from(sector) != geometry.sector.bytes() {
            let before = geometry.sector.bytes();
            let what = format!("the drive has sectors of {sector} bytes, and had {before}");
            comparison.differs(Range::at(Bytes(0), Bytes(0)), what, false);
        }
        let used: BTreeSet<usize> = self.used();
        comparison.started_since = !used.is_empty();
        let changed: RangeSet = differences.iter().map(|difference| difference.range).collect();
        let telltales: RangeSet = manifest.telltales.iter().map(|t| t.range()).collect();
        let mut ranges: Vec<Told> = Vec::new();
        let mut files: BTreeMap<(bool, String), BTreeSet<&'static str>> = BTreeMap::new();
        for Difference { range, wrong } in differences {
            let by_use =
                *wrong == Wrong::Bytes && self.is_explained(*range, &used, &changed, &telltales);
            for (owner, part) in self.owners(*range) {
                if let Some(what) = self.word(owner, part, wrong) {
                    files.entry((by_use, owner.path.clone())).or_default().insert(what);
                }
            }
            let what = words(&manifest.place(*range), wrong);
            match ranges.last_mut() {
                Some((use_before, before, what_before))
                    if before.end == range.start
                        && (*use_before, &*what_before) == (by_use, &what) =>
                {
                    before.end = range.end;
                }
                _ => ranges.push((by_use, *range, what)),
            }
        }
        ranges.sort();
        for (by_use, range, what) in ranges {
            comparison.differs(range, what, by_use);
        }
        for ((_, path), what) in files {
            let what: Vec<&str> = what.into_iter().collect();
            comparison.differs_in(&path, what.join(", and "));
        }
        comparison
    }

    /// The partitions whose volumes an operating system has used.
    fn used(&self) -> BTreeSet<usize> {
        let changed = |role: Role, keeps: &[Keeps]| -> BTreeSet<usize> {
            let telltales = || {
                let all = self.manifest.telltales.iter();
                all.filter(move |told| told.role == role && keeps.contains(&told.keeps))
            };
            let differ = self.differences.iter().enumerate().filter(|(_, difference)| {
                difference.wrong == Wrong::Bytes
                    && telltales().any(|told| told.range().overlaps(difference.range))
            });
            differ.map(|(index, _)| index).collect()
        };
        let sector = self.manifest.plan.geometry.sector;
        let is_used = |partition: &PlannedPartition| {
            // Who uses a volume leaves its boot sector and the tables alone: then something else was put there.
            let own = partition.range(sector);
            let is_replaced = self.differences.iter().any(|difference| {
                let place = self.manifest.partition_at(difference.range);
                let counts = place.is_none() || difference.range.overlaps(own);
                counts && self.is_commit(difference.range)
            });
            if is_replaced {
                return false;
            }
            let tables = changed(partition.role, &[Keeps::FileTable]);
            let others = changed(partition.role, &[Keeps::Journal, Keeps::Bitmap]);
            // Without the master a difference is as long as a chunk, and one byte must not speak for both.
            !tables.is_empty() && !others.is_empty() && tables.union(&others).count() > 1
        };
        let all = self.manifest.plan.partitions.iter().enumerate();
        all.filter(|(_, partition)| is_used(partition)).map(|(index, _)| index).collect()
    }

    fn is_commit(&self, range: Range) -> bool {
        self.manifest.chunks_in(range).iter().any(|chunk| chunk.stage == Stage::Commit)
    }

    fn partition_of(&self, range: Range) -> Option<usize> {
        let plan = &self.manifest.plan;
        plan.partitions.iter().position(|own| own.range(plan.geometry.sector).covers(range))
    }

    fn owners(&self, range: Range) -> impl Iterator<Item = (&Owner, Part)> {
        let map = self.partition_of(range).and_then(|index| self.maps.get(&index));
        map.into_iter().flat_map(move |map| map.within(range))
    }

    fn is_explained(
        &self,
        range: Range,
        used: &BTreeSet<usize>,
        changed: &RangeSet,
        telltales: &RangeSet,
    ) -> bool {
        let Some(index) = self.partition_of(range) else { return false };
        if self.is_commit(range) {
            return false;
        }
        match self.manifest.plan.partitions[index].role {
            Role::Msr => false,
            // Whoever starts Windows writes there, too, and FAT does not tell what.
            Role::Esp => !used.is_empty(),
            Role::Windows | Role::Recovery if !used.contains(&index) => false,
            Role::Windows | Role::Recovery if telltales.covers(range) => true,
            Role::Windows | Role::Recovery if !self.maps.contains_key(&index) => false,
            Role::Windows | Role::Recovery => self.owners(range).all(|(owner, _)| {
                let differs = |record: Range| {
                    let all = changed.ranges();
                    let next = all.partition_point(|changed| changed.end <= record.start);
                    all.get(next).is_some_and(|changed| changed.overlaps(record))
                };
                match owner.keeper {
                    Keeper::Busy => true,
                    Keeper::Fixed => false,
                    Keeper::People => owner.record.is_some_and(differs),
                }
            }),
        }
    }

    /// What is said of a file in a range; nothing where the range itself says it, or is too long to tell.
    fn word(&self, owner: &Owner, part: Part, wrong: &Wrong) -> Option<&'static str> {
        match (owner.keeper, part, self.compared_by) {
            (Keeper::Busy, ..) | (_, Part::Record, ComparedBy::Digests) => None,
            (_, Part::Contents, ComparedBy::Digests) => Some("lies where something differs"),
            _ if matches!(wrong, Wrong::Unreadable(_)) => Some("it cannot be read"),
            (_, Part::Record, ComparedBy::Master) => Some("its file record differs"),
            (_, Part::Contents, ComparedBy::Master) => Some("its contents differ"),
        }
    }
}

/// What lies in a range, and what is wrong with it, in words.
fn words(place: &str, wrong: &Wrong) -> String {
    match wrong {
        Wrong::Bytes => place.to_owned(),
        Wrong::Identity(fixup) => format!("{place}: {fixup} is not that of the record"),
        Wrong::Unreadable(error) => format!("{place}: cannot be read ({error})"),
        Wrong::Unsteady => format!("{place}: reads differently each time"),
    }
}
