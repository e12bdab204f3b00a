//! Whether a volume's own accounts are right: each cluster that a file has is marked as used and belongs to no other, no
//! other one is marked, and the boot sector and the first file records have their copies.
//!
//! A wrong mark would be found by nobody who compares files: Windows would write a new file over an old one, weeks later.
//! So a volume that was made larger ([`super::growth`]) is read here as if nothing were known of how it grew. `ntfsresize`
//! does the same before it touches a volume.

use model::ranges::{Range, RangeSet};
use model::units::Bytes;

use super::attribute::{Clusters, Run, Value, kind};
use super::{Boot, Damage, Record, STRIDE, u16_at};

/// The numbers of file records: the file table's own, the copy of its beginning, the root folder's, and so on.
const TABLE: u64 = 0;
const MIRROR: u64 = 1;
const ROOT: u64 = 5;
const BITMAP: u64 = 6;
const BOOT: u64 = 7;
const BAD_CLUSTERS: u64 = 8;

/// The files that say how large the volume is, and the folder that says how large they are.
const SIZED: [u64; 3] = [ROOT, BITMAP, BAD_CLUSTERS];

/// The files whose clusters hold what goes with the size; `$BadClus` has none.
const CHANGED: [u64; 4] = [MIRROR, ROOT, BITMAP, BOOT];

/// So much of the file table or of the bitmap is read at once: whole clusters of every size.
const STRETCH: u64 = 2 << 20;

/// Accounts of a volume that are wrong.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AccountError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Read(E),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("file record {record} is damaged")]
    Record {
        record: u64,
        #[source]
        source: Damage,
    },
    #[error("the volume has {said}, and its partition {size}")]
    Size { said: Bytes, size: Bytes },
    #[error("the boot sector and its copy differ")]
    BootCopy,
    #[error("the first file records and their copies differ")]
    Mirror,
    #[error("file record {0} is not as in a new volume")]
    Unexpected(u64),
    #[error("file record {0} has clusters outside of the volume")]
    Outside(u64),
    #[error("{0} belong to two files")]
    Twice(Range),
    #[error("{0} belong to a file and are marked as free")]
    Free(Range),
    #[error("{0} belong to no file and are marked as used")]
    Lost(Range),
    #[error("clusters behind the last one are marked as free")]
    Beyond,
}

/// Checks the accounts of a volume that fills a partition of `size` bytes. `read` gives so many bytes of it, from a place.
///
/// Returns the bytes that are the same in a volume of another size: the clusters of all files but those that say how large
/// the volume is, and all other file records.
///
/// # Errors
/// [`AccountError`] if the volume cannot be read, or the accounts are wrong.
pub fn check<E: std::error::Error>(
    read: &mut dyn FnMut(Bytes, usize) -> Result<Vec<u8>, E>,
    size: Bytes,
) -> Result<RangeSet, AccountError<E>> {
    let mut volume = Volume::open(read, size)?;
    let table = volume.table()?;
    let mut files = Files::of(volume.boot);
    for (at, place) in volume.stretches(&table) {
        let stretch = volume.read(place)?;
        let records = stretch.chunks_exact(volume.boot.record.as_usize());
        for (number, record) in (at / volume.boot.record.0..).zip(records) {
            files.enter(number, &mut record.to_vec())?;
        }
    }
    if files.bad_clusters != Some(volume.clusters()) {
        return Err(AccountError::Unexpected(BAD_CLUSTERS));
    }
    let bitmap = files.bitmap.ok_or(AccountError::Unexpected(BITMAP))?;
    files.all.sort_unstable();
    if let Some(pair) = files.all.windows(2).find(|pair| pair[0].overlaps(pair[1])) {
        return Err(AccountError::Twice(pair[1]));
    }
    let (used, marked) = (files.all.into_iter().collect::<RangeSet>(), volume.marked(&bitmap)?);
    match (used.without(&marked).ranges(), marked.without(&used).ranges()) {
        ([], []) => {}
        ([free, ..], _) => return Err(AccountError::Free(*free)),
        ([], [lost, ..]) => return Err(AccountError::Lost(*lost)),
    }
    let record = volume.boot.record;
    let sized = |number: &u64| {
        table.place(number * record.0, volume.boot.cluster).map(|at| Range::at(at, record))
    };
    let sized: RangeSet = SIZED.iter().filter_map(sized).collect();
    Ok(files.same.into_iter().collect::<RangeSet>().without(&sized))
}

/// What the file records say.
#[derive(Debug)]
struct Files {
    boot: Boot,
    /// The clusters of all files; of none twice, if the volume is sound.
    all: Vec<Range>,
    /// Those of files that are the same in a volume of another size.
    same: Vec<Range>,
    bitmap: Option<Clusters>,
    /// How long the hole is that `$BadClus` is.
    bad_clusters: Option<u64>,
}

impl Files {
    fn of(boot: Boot) -> Self {
        Self { boot, all: Vec::new(), same: Vec::new(), bitmap: None, bad_clusters: None }
    }

    fn enter<E: std::error::Error>(
        &mut self,
        number: u64,
        data: &mut [u8],
    ) -> Result<(), AccountError<E>> {
        // A record that nobody has used yet.
        if data.starts_with(&[0; 4]) {
            return Ok(());
        }
        let damaged = |source| AccountError::Record { record: number, source };
        let record = Record::parse(data).map_err(damaged)?;
        if !record.in_use {
            return Ok(());
        }
        let owner = record.base.map_or(number, |base| base.record);
        for attribute in record.attributes() {
            let attribute = attribute.map_err(damaged)?;
            let Value::Clusters { allocated, size, written, runs, .. } = attribute.value else {
                continue;
            };
            for run in &runs {
                let Some(range) = self.range(run).ok_or(AccountError::Outside(number))? else {
                    continue;
                };
                self.all.push(range);
                if !CHANGED.contains(&owner) {
                    self.same.push(range);
                }
            }
            let count = runs.iter().map(|run| run.count).sum::<u64>();
            let whole = count * self.boot.cluster.0;
            match (number, attribute.kind, &*attribute.name) {
                (BITMAP, kind::DATA, "") if allocated == whole && written == size => {
                    self.bitmap = Some(Clusters { size, runs });
                }
                (BAD_CLUSTERS, kind::DATA, "$Bad") => {
                    let is_hole = runs.iter().all(|run| run.at.is_none());
                    let is_whole = [allocated, size, written] == [whole, whole, 0];
                    self.bad_clusters = (is_hole && is_whole).then_some(count);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a run lies: nowhere if it is a hole. `None` if that is outside of the volume.
    fn range(&self, run: &Run) -> Option<Option<Range>> {
        let Boot { cluster, size, .. } = self.boot;
        let Some(at) = run.at else { return Some(None) };
        let end = at.checked_add(run.count).filter(|end| *end <= size.0 / cluster.0)?;
        Some(Some(Range::new(Bytes(at * cluster.0), Bytes(end * cluster.0))))
    }
}

struct Volume<'a, E> {
    read: &'a mut dyn FnMut(Bytes, usize) -> Result<Vec<u8>, E>,
    boot: Boot,
}

impl<'a, E: std::error::Error> Volume<'a, E> {
    /// Reads the boot sector, and compares it with its copy.
    fn open(
        read: &'a mut dyn FnMut(Bytes, usize) -> Result<Vec<u8>, E>,
        size: Bytes,
    ) -> Result<Self, AccountError<E>> {
        let head = read(Bytes(0), STRIDE).map_err(AccountError::Read)?;
        let boot = Boot::parse(&head)?;
        let sector = Bytes(u16_at(&head, 11).ok_or(Damage::Boot)?.into());
        // The last sector of the partition holds the copy and belongs to no cluster.
        if boot.size + sector != size.align_down(sector.0) {
            return Err(AccountError::Size { said: boot.size, size });
        }
        // Such records would lie in several clusters. There are none of them in volumes that are made larger.
        if boot.record > boot.cluster {
            return Err(AccountError::Unexpected(TABLE));
        }
        let copy = read(boot.size, STRIDE).map_err(AccountError::Read)?;
        if head != copy {
            return Err(AccountError::BootCopy);
        }
        Ok(Self { read, boot })
    }

    fn clusters(&self) -> u64 {
        self.boot.size.0 / self.boot.cluster.0
    }

    fn read(&mut self, place: Range) -> Result<Vec<u8>, AccountError<E>> {
        (self.read)(place.start, place.length().as_usize()).map_err(AccountError::Read)
    }

    /// The clusters of the file table, whose first records are compared with their copies.
    fn table(&mut self) -> Result<Clusters, AccountError<E>> {
        let Boot { record, cluster, mft, .. } = self.boot;
        let table = self.unnamed(TABLE, Range::at(mft, record))?;
        let mirror = self.unnamed(MIRROR, Range::at(mft + record, record))?;
        for at in (0..mirror.size).step_by(record.as_usize()) {
            let place = |clusters: &Clusters| clusters.place(at, cluster);
            let [one, other] = [&table, &mirror].map(place);
            let one = one.ok_or(AccountError::Unexpected(TABLE))?;
            let other = other.ok_or(AccountError::Unexpected(MIRROR))?;
            if self.read(Range::at(one, record))? != self.read(Range::at(other, record))? {
                return Err(AccountError::Mirror);
            }
        }
        Ok(table)
    }

    /// The clusters of a file's data, all of which one file record describes.
    fn unnamed(&mut self, number: u64, place: Range) -> Result<Clusters, AccountError<E>> {
        let mut data = self.read(place)?;
        let damaged = |source| AccountError::Record { record: number, source };
        let record = Record::parse(&mut data).map_err(damaged)?;
        let found = record.attributes().flatten().find_map(|attribute| match attribute.value {
            Value::Clusters { first: 0, size, runs, .. }
                if attribute.kind == kind::DATA && attribute.name.is_empty() =>
            {
                Some(Clusters { size, runs })
            }
            _ => None,
        });
        let is_whole = |found: &Clusters| {
            let within = |run: &Run| run.at.is_some_and(|at| at + run.count <= self.clusters());
            found.count() * self.boot.cluster.0 >= found.size && found.runs.iter().all(within)
        };
        found.filter(is_whole).ok_or(AccountError::Unexpected(number))
    }

    /// The value of a file, in parts: the offset of each, and where on the volume it lies.
    fn stretches(&self, value: &Clusters) -> Vec<(u64, Range)> {
        let cluster = self.boot.cluster.0;
        let (mut all, mut at) = (Vec::new(), 0);
        for run in &value.runs {
            // A hole has no bytes; there is none in what is read so.
            let start = Bytes(run.at.unwrap_or_default() * cluster);
            let end = (run.count * cluster).min(value.size.saturating_sub(at));
            for step in (0..end).step_by(Bytes(STRETCH).as_usize()) {
                let length = Bytes(STRETCH.min(end - step));
                all.push((at + step, Range::at(start + Bytes(step), length)));
            }
            at += run.count * cluster;
        }
        all
    }

    /// The clusters that the bitmap marks as used.
    fn marked(&mut self, bitmap: &Clusters) -> Result<RangeSet, AccountError<E>> {
        let (cluster, clusters) = (self.boot.cluster.0, self.clusters());
        let covers = bitmap.size * 8 >= clusters
            && bitmap.count() * cluster >= bitmap.size
            && bitmap.runs.iter().all(|run| run.at.is_some());
        if !covers {
            return Err(AccountError::Unexpected(BITMAP));
        }
        let range = |first, end| Range::new(Bytes(first * cluster), Bytes(end * cluster));
        let (mut used, mut started) = (Vec::new(), None);
        for (at, place) in self.stretches(bitmap) {
            for (byte, bits) in (at..).zip(self.read(place)?) {
                let numbers = byte * 8..byte * 8 + 8;
                // Almost every byte goes on as the one before ended.
                let same = if started.is_some() { 0xff } else { 0 };
                if bits == same && numbers.end <= clusters {
                    continue;
                }
                for number in numbers {
                    let is_used = (bits >> (number % 8)) & 1 == 1;
                    match started {
                        _ if number >= clusters && !is_used => return Err(AccountError::Beyond),
                        _ if number >= clusters => {}
                        None if is_used => started = Some(number),
                        Some(first) if !is_used => {
                            used.push(range(first, number));
                            started = None;
                        }
                        _ => {}
                    }
                }
            }
        }
        used.extend(started.map(|first| range(first, clusters)));
        Ok(used.into_iter().collect())
    }
}
