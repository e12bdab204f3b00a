//! Which file lies where: from a place on a drive to the names of what is kept there.

use std::collections::HashSet;

use model::ranges::Range;
use model::units::Bytes;

use super::Source;
use super::extents::Extents;
use super::file::File;
use super::volume::{FIRST_USER_RECORD, Files, MFT, ROOT, VolumeError, files};

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// It came with the media, or somebody has made it.
    People,
    /// The file system's own, and never changed by using the volume, such as `$Boot`.
    Fixed,
    /// The file system's own, and changed by every use of the volume, such as `$LogFile`, without a word in its record.
    Busy,
}

/// A file or folder of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its path, with `/` between names; of hard links the first.
    pub path: String,
    /// Where its record is, which changes whenever the file is written by way of the file system; `None` where a file
    /// system has no such thing.
    pub record: Option<Range>,
    /// Whose it is.
    pub keeper: Keeper,
}

/// What of a file lies in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its record, with its name, times, and what else is short.
    Record,
    /// Its contents; of a folder, the names in it.
    Contents,
}

#[derive(Debug)]
struct Stretch {
    range: Range,
    owner: usize,
    part: Part,
    /// The end of whatever reaches furthest up to here: on a damaged volume files can overlap.
    reach: Bytes,
}

/// The files of a volume by place. Places are those on the drive.
#[derive(Debug, Default)]
pub struct FileMap {
    owners: Vec<Owner>,
    stretches: Vec<Stretch>,
}

impl FileMap {
    /// The map of an NTFS volume that begins at `start` on its drive.
    ///
    /// # Errors
    /// [`VolumeError`] if the volume cannot be read.
    pub fn of_ntfs(source: &mut dyn Source, start: Bytes) -> Result<Self, VolumeError> {
        let (boot, files) = files(source)?;
        let table = match files.get(&MFT) {
            Some(Ok(table)) => table.stream("").and_then(|stream| stream.extents()),
            _ => None,
        };
        let on_drive = |range: Range| {
            Range::new(start.saturating_add(range.start), start.saturating_add(range.end))
        };
        let mut map = Self::default();
        for (number, file) in &files {
            let Ok(file) = file else { continue };
            let record = table.and_then(|table| record(table, boot.cluster, boot.record, *number));
            let record = record.map(on_drive);
            let owner =
                Owner { path: path(&files, *number), record, keeper: keeper(&files, *number) };
            let clusters = clusters(file, boot.cluster).map(on_drive);
            map.add(owner, clusters.collect());
        }
        Ok(map.sorted())
    }

    /// Adds a file that lies in these places.
    pub(crate) fn add(&mut self, owner: Owner, places: Vec<Range>) {
        let index = self.owners.len();
        let stretch = |range, part| Stretch { range, owner: index, part, reach: Bytes(0) };
        self.stretches.extend(owner.record.map(|range| stretch(range, Part::Record)));
        self.stretches.extend(places.into_iter().map(|range| stretch(range, Part::Contents)));
        self.owners.push(owner);
    }

    /// The map, when all files have been added.
    pub(crate) fn sorted(mut self) -> Self {
        self.stretches.sort_by_key(|stretch| stretch.range);
        let mut reach = Bytes(0);
        for stretch in &mut self.stretches {
            reach = reach.max(stretch.range.end);
            stretch.reach = reach;
        }
        self
    }

    /// What lies in a range.
    pub fn within(&self, range: Range) -> impl Iterator<Item = (&Owner, Part)> {
        let from = self.stretches.partition_point(|stretch| stretch.reach <= range.start);
        let rest = self.stretches[from..].iter();
        let rest = rest.take_while(move |stretch| stretch.range.start < range.end);
        let rest = rest.filter(move |stretch| stretch.range.overlaps(range));
        rest.map(|stretch| (&self.owners[stretch.owner], stretch.part))
    }
}

/// The clusters of a file's streams, and of a folder's names.
fn clusters(file: &File, cluster: Bytes) -> impl Iterator<Item = Range> {
    let streams = file.streams.iter().filter_map(|stream| stream.extents());
    streams.chain(&file.index.blocks).flat_map(move |extents| extents.all_clusters(cluster))
}

/// The place of a file record on its volume.
fn record(table: &Extents, cluster: Bytes, size: Bytes, number: u64) -> Option<Range> {
    let mut left = number.checked_mul(size.0)?;
    for own in table.all_clusters(cluster) {
        if left < own.length().0 {
            return Some(Range::at(own.start.saturating_add(Bytes(left)), size));
        }
        left -= own.length().0;
    }
    None
}

/// The file records that are changed by every use of a volume: the file table, its copy, the journal, the bitmap, the
/// security descriptors, and what is kept below `$Extend`.
const BUSY: [u64; 6] = [MFT, 1, 2, 6, 9, EXTEND];
const EXTEND: u64 = 11;

fn keeper(files: &Files, number: u64) -> Keeper {
    let is_busy =
        BUSY.contains(&number) || parents(files, number).any(|(number, _)| number == EXTEND);
    match number {
        _ if is_busy => Keeper::Busy,
        ROOT => Keeper::People,
        0..FIRST_USER_RECORD => Keeper::Fixed,
        _ => Keeper::People,
    }
}

/// The folders in which a file lies, from the inmost on, each with the name that is in it.
fn parents(files: &Files, number: u64) -> impl Iterator<Item = (u64, &str)> {
    let (mut at, mut seen) = (number, HashSet::from([number]));
    std::iter::from_fn(move || {
        if at == ROOT {
            return None;
        }
        let Some(Ok(file)) = files.get(&at) else { return None };
        let (parent, name) = file.names.first()?;
        at = *parent;
        // On a damaged volume a folder can lie in itself.
        (seen.insert(at) || at == ROOT).then_some((at, name.as_str()))
    })
}

fn path(files: &Files, number: u64) -> String {
    let mut names: Vec<&str> = parents(files, number).map(|(_, name)| name).collect();
    names.reverse();
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(path: &str) -> Owner {
        Owner { path: path.into(), record: None, keeper: Keeper::People }
    }

    #[test]
    fn every_file_in_a_range_is_found_also_where_files_overlap() {
        let range = |start, end| Range::new(Bytes(start), Bytes(end));
        let mut map = FileMap::default();
        map.add(owner("long"), vec![range(0, 1000)]);
        map.add(owner("short"), vec![range(10, 20), range(500, 510)]);
        map.add(Owner { record: Some(range(700, 710)), ..owner("last") }, vec![range(2000, 2010)]);
        let map = map.sorted();
        let found = |start, end| -> Vec<(&str, Part)> {
            map.within(range(start, end)).map(|(owner, part)| (owner.path.as_str(), part)).collect()
        };
        assert_eq!(found(15, 16), [("long", Part::Contents), ("short", Part::Contents)]);
        assert_eq!(
            found(705, 2001),
            [("long", Part::Contents), ("last", Part::Record), ("last", Part::Contents)]
        );
        assert_eq!(found(1000, 2000), []);
        assert_eq!(found(2010, 9000), []);
    }
}
