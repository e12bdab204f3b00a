//! A volume that is made larger: which bytes of its own files that changes, and how.
//!
//! All that depends on the size of a volume is the boot sector and its copy, `$Bitmap` with its file record and its size
//! in the root folder, and the hole that `$BadClus` is. Clusters keep their numbers, so nothing else does. The same is
//! what ntfsresize of ntfs-3g changes when a volume grows, but for `$LogFile`, which it empties, and the mark "dirty",
//! which makes Windows look for what has changed; here everything is consistent, and there is nothing to look for.
//!
//! Clusters that the bitmap needs more lie where the smaller volume ended. The copy of the file table stays in the middle
//! of that: the boot sector says where it is.

use std::collections::BTreeMap;

use model::ranges::Range;
use model::units::Bytes;

use super::attribute::{Clusters, Run, Value, kind};
use super::{Attribute, Boot, Damage, STRIDE, length, protect, restore, u16_at, u32_at, u64_at};

/// The numbers of the file records.
const MIRROR: u64 = 1;
const ROOT: u64 = 5;
const BITMAP: u64 = 6;
const BAD_CLUSTERS: u64 = 8;

/// A volume that cannot grow.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum GrowthError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Read(E),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("the volume is not larger than before")]
    Smaller,
    #[error("file record {0} is not as a new volume has it")]
    Unexpected(u64),
}

/// Bytes of the larger volume that are others than in the smaller one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where they lie in the volume.
    pub at: Bytes,
    #[expect(missing_docs, reason = "the name says it")]
    pub data: Vec<u8>,
}

/// What changes when a volume grows to fill a partition of `size` bytes. `read` gives so many bytes of the volume as it
/// is, from a place.
///
/// # Errors
/// [`GrowthError`] if the volume cannot be read, is not sound or would not become larger.
pub fn changes<E: std::error::Error>(
    read: &mut dyn FnMut(Bytes, usize) -> Result<Vec<u8>, E>,
    size: Bytes,
) -> Result<Vec<Change>, GrowthError<E>> {
    let head = read(Bytes(0), STRIDE).map_err(GrowthError::Read)?;
    let boot = Boot::parse(&head)?;
    let sector = u64::from(u16_at(&head, 11).ok_or(Damage::Boot)?);
    // The last sector of the partition holds the copy of the boot sector and belongs to no cluster.
    let sectors = (size.0 / sector).saturating_sub(1);
    let growth =
        Growth { boot, old: boot.size.0 / boot.cluster.0, new: sectors * sector / boot.cluster.0 };
    if growth.new < growth.old {
        return Err(GrowthError::Smaller);
    }
    let mut all = Vec::new();
    let copy = read(boot.size, Bytes(sector).as_usize()).map_err(GrowthError::Read)?;
    for (at, mut data) in [(Bytes(0), head), (Bytes(sectors * sector), copy)] {
        Boot::parse(&data)?;
        put(&mut data, 0x28, &sectors.to_le_bytes()).ok_or(Damage::Boot)?;
        all.push(Change { at, data });
    }
    let mut record = |number: u64| {
        let at = growth.boot.mft + Bytes(number * growth.boot.record.0);
        read(at, growth.boot.record.as_usize()).map_err(GrowthError::Read)
    };
    let mut table = record(0)?;
    // The first file records are nowhere else than where they are looked for.
    let runs = clusters(&mut table, "", 0)?.runs;
    let first = runs.first().map_or(0, |run| run.count * boot.cluster.0);
    if first < (BAD_CLUSTERS + 1) * boot.record.0 {
        return Err(GrowthError::Unexpected(0));
    }
    let mirror = clusters(&mut record(MIRROR)?, "", MIRROR)?;
    let (mut bitmap, mut bad, mut root) = (record(BITMAP)?, record(BAD_CLUSTERS)?, record(ROOT)?);
    let (before, after) = growth.bitmap_record(&mut bitmap)?;
    growth.bad_clusters_record(&mut bad)?;
    let sizes = Sizes { before: &before, after: &after, cluster: boot.cluster };
    let blocks = sizes.in_root(&mut root)?;
    for (number, data) in [(BITMAP, bitmap), (BAD_CLUSTERS, bad), (ROOT, root)] {
        let at = Bytes(number * boot.record.0);
        all.push(Change { at: boot.mft + at, data: data.clone() });
        if at.0 + boot.record.0 <= mirror.size {
            let place = mirror.place(at.0, boot.cluster).ok_or(Damage::Runs)?;
            all.push(Change { at: place, data });
        }
    }
    for block in blocks {
        let found = read(block.start, block.length().as_usize()).map_err(GrowthError::Read)?;
        all.extend(sizes.in_block(found).map(|data| Change { at: block.start, data }));
    }
    let mut old = |vcn: u64| {
        let at = before.place(vcn * boot.cluster.0, boot.cluster);
        at.map(|at| read(at, boot.cluster.as_usize())).transpose().map_err(GrowthError::Read)
    };
    for (vcn, data) in growth.bitmap_clusters(&before, &after, &mut old)? {
        let at = after.place(vcn * boot.cluster.0, boot.cluster).ok_or(Damage::Runs)?;
        all.push(Change { at, data });
    }
    Ok(all)
}

/// Where each attribute of a record begins whose sectors are restored, and how long it is.
fn attributes(record: &[u8]) -> Result<Vec<(usize, usize)>, Damage> {
    let mut at = usize::from(u16_at(record, 20).ok_or(Damage::Record)?);
    let mut all = Vec::new();
    loop {
        match u32_at(record, at).ok_or(Damage::Record)? {
            kind::END => return Ok(all),
            _ => {
                let size = length(u32_at(record, at + 4).ok_or(Damage::Record)?);
                if size < 24 || at + size > record.len() {
                    return Err(Damage::Attribute);
                }
                all.push((at, size));
                at += size;
            }
        }
    }
}

/// Where the data attribute of this name begins in a record whose sectors are restored, and what it says.
fn data_attribute<E: std::error::Error>(
    record: &[u8],
    name: &str,
    number: u64,
) -> Result<(usize, Clusters), GrowthError<E>> {
    for (at, size) in attributes(record)? {
        let attribute = Attribute::parse(&record[at..at + size])?;
        if attribute.kind == kind::DATA
            && attribute.name == name
            && let Value::Clusters { first: 0, size, runs, .. } = attribute.value
        {
            return Ok((at, Clusters { size, runs }));
        }
    }
    Err(GrowthError::Unexpected(number))
}

/// Gives an attribute other clusters, and other sizes: of its clusters, of its value, and of what of that was written.
/// `None` if the record has no room for that.
fn set_data(record: &mut Vec<u8>, at: usize, runs: &[Run], sizes: [u64; 3]) -> Option<()> {
    let (whole, used) = (record.len(), length(u32_at(record, 24)?));
    let size = length(u32_at(record, at + 4)?);
    let list = usize::from(u16_at(record, at + 32)?);
    let mut data = record.get(at..at + list)?.to_vec();
    data.extend(encoded(runs));
    data.resize(data.len().next_multiple_of(8), 0);
    let last = runs.iter().map(|run| run.count).sum::<u64>().checked_sub(1)?;
    let new_size = u32::try_from(data.len()).ok()?;
    put(&mut data, 4, &new_size.to_le_bytes())?;
    put(&mut data, 24, &last.to_le_bytes())?;
    for (place, size) in [40, 48, 56].into_iter().zip(sizes) {
        put(&mut data, place, &size.to_le_bytes())?;
    }
    let used = used - size + data.len();
    record.splice(at..at + size, data);
    // What follows the end mark counts for nothing, and the last bytes of the record are kept elsewhere.
    record.truncate(used);
    record.resize(whole, 0);
    put(record, 24, &u32::try_from(used).ok()?.to_le_bytes())?;
    (used + 2 <= whole).then_some(())
}

/// Runs as NTFS writes them: each number in as few bytes as hold it with its sign.
fn encoded(runs: &[Run]) -> Vec<u8> {
    let (mut list, mut before) = (Vec::new(), 0_i64);
    for run in runs {
        let count = shortest(run.count.cast_signed());
        let step = run.at.map_or_else(Vec::new, |at| {
            let step = at.cast_signed() - before;
            before = at.cast_signed();
            shortest(step)
        });
        let header = [step.len(), count.len()].map(|length| u8::try_from(length).unwrap_or(0));
        list.push((header[0] << 4) | header[1]);
        list.extend(count.into_iter().chain(step));
    }
    list.push(0);
    list
}

fn shortest(number: i64) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    let fits = |length: &usize| {
        let shift = 64 - 8 * length;
        (number << shift) >> shift == number
    };
    let length = (1..8).find(fits).unwrap_or(8);
    bytes[..length].to_vec()
}

fn put(data: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    data.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

fn clusters<E: std::error::Error>(
    record: &mut [u8],
    name: &str,
    number: u64,
) -> Result<Clusters, GrowthError<E>> {
    restore(record, *b"FILE")?;
    Ok(data_attribute(record, name, number)?.1)
}

struct Growth {
    boot: Boot,
    /// The number of clusters.
    old: u64,
    new: u64,
}

impl Growth {
    /// Gives `$Bitmap` the size and the clusters that it needs. Returns what its data was and what it becomes.
    fn bitmap_record<E: std::error::Error>(
        &self,
        record: &mut Vec<u8>,
    ) -> Result<(Clusters, Clusters), GrowthError<E>> {
        restore(record, *b"FILE")?;
        let (at, before) = data_attribute(record, "", BITMAP)?;
        if before.size * 8 < self.old || before.runs.iter().any(|run| run.at.is_none()) {
            return Err(GrowthError::Unexpected(BITMAP));
        }
        let size = self.new.div_ceil(64) * 8;
        let mut after = Clusters { size, runs: before.runs.clone() };
        let needed = size.div_ceil(self.boot.cluster.0);
        if let Some(more) = needed.checked_sub(before.count()).filter(|more| *more > 0) {
            after.runs.push(Run { at: Some(self.old), count: more });
        }
        let allocated = after.count() * self.boot.cluster.0;
        set_data(record, at, &after.runs, [allocated, size, size])
            .ok_or(GrowthError::Unexpected(BITMAP))?;
        let sizes = Sizes { before: &before, after: &after, cluster: self.boot.cluster };
        sizes.in_names(record)?;
        protect(record).ok_or(Damage::Record)?;
        Ok((before, after))
    }

    /// Makes the hole as long as the volume.
    fn bad_clusters_record<E: std::error::Error>(
        &self,
        record: &mut Vec<u8>,
    ) -> Result<(), GrowthError<E>> {
        restore(record, *b"FILE")?;
        let (at, before) = data_attribute(record, "$Bad", BAD_CLUSTERS)?;
        // Anything but one hole would be bad clusters.
        if before.runs != [Run { at: None, count: self.old }] {
            return Err(GrowthError::Unexpected(BAD_CLUSTERS));
        }
        let size = self.new * self.boot.cluster.0;
        set_data(record, at, &[Run { at: None, count: self.new }], [size, size, 0])
            .ok_or(GrowthError::Unexpected(BAD_CLUSTERS))?;
        Ok(protect(record).ok_or(Damage::Record)?)
    }

    /// The clusters of the bitmap that change, by their number in it.
    fn bitmap_clusters<E: std::error::Error>(
        &self,
        before: &Clusters,
        after: &Clusters,
        old: &mut dyn FnMut(u64) -> Result<Option<Vec<u8>>, GrowthError<E>>,
    ) -> Result<BTreeMap<u64, Vec<u8>>, GrowthError<E>> {
        let cluster = self.boot.cluster.as_usize();
        let per_cluster = self.boot.cluster.0 * 8;
        let mut all: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        // NTFS sets the bits behind the last cluster. Those of clusters that there are now are free.
        for vcn in self.old / per_cluster..before.count() {
            let mut data = old(vcn)?.ok_or(Damage::Runs)?;
            let first = self.old.saturating_sub(vcn * per_cluster);
            for bit in first..per_cluster {
                set_bit(&mut data, bit, 0);
            }
            all.insert(vcn, data);
        }
        let added = after.count() - before.count();
        for number in (self.old..self.old + added).chain(self.new..after.size * 8) {
            let data = all.entry(number / per_cluster).or_insert_with(|| vec![0; cluster]);
            set_bit(data, number % per_cluster, 1);
        }
        Ok(all)
    }
}

fn set_bit(data: &mut [u8], bit: u64, value: u8) {
    if let Some(byte) = data.get_mut(Bytes(bit / 8).as_usize()) {
        let shift = bit % 8;
        *byte = (*byte & !(1 << shift)) | (value << shift);
    }
}

/// The sizes of `$Bitmap`, of which its names keep copies.
struct Sizes<'a> {
    before: &'a Clusters,
    after: &'a Clusters,
    cluster: Bytes,
}

impl Sizes<'_> {
    /// Sets the sizes in the value of a name; returns whether they were there.
    fn in_value(&self, value: &mut [u8]) -> bool {
        let of = |clusters: &Clusters| [clusters.count() * self.cluster.0, clusters.size];
        let [before, after] = [self.before, self.after].map(of);
        if [40, 48].map(|at| u64_at(value, at)) != before.map(Some) {
            return false;
        }
        let set = |(at, number): (usize, u64)| put(value, at, &number.to_le_bytes());
        [40, 48].into_iter().zip(after).try_for_each(set).is_some()
    }

    /// Sets the sizes in the names of a record whose sectors are restored.
    fn in_names(&self, record: &mut [u8]) -> Result<(), Damage> {
        for (at, size) in attributes(record)? {
            let data = &mut record[at..at + size];
            if u32_at(data, 0) == Some(kind::FILE_NAME) {
                let from = u16_at(data, 20).map(usize::from).ok_or(Damage::Attribute)?;
                self.in_value(data.get_mut(from..).ok_or(Damage::Attribute)?);
            }
        }
        Ok(())
    }

    /// Sets the sizes in the root folder's record. Returns where the other parts of its index lie.
    fn in_root<E: std::error::Error>(
        &self,
        record: &mut [u8],
    ) -> Result<Vec<Range>, GrowthError<E>> {
        restore(record, *b"FILE")?;
        let mut blocks = Vec::new();
        let mut block = None;
        for (at, size) in attributes(record)? {
            let data = record.get_mut(at..at + size).ok_or(Damage::Attribute)?;
            match u32_at(data, 0) {
                Some(kind::INDEX_ROOT) => {
                    let from = u16_at(data, 20).map(usize::from).ok_or(Damage::Attribute)?;
                    let value = data.get_mut(from..).ok_or(Damage::Attribute)?;
                    block = u32_at(value, 8).map(u64::from);
                    self.in_node(value.get_mut(16..).ok_or(Damage::Index)?);
                }
                Some(kind::INDEX_ALLOCATION) => {
                    let Value::Clusters { runs, .. } = Attribute::parse(data)?.value else {
                        return Err(GrowthError::Unexpected(ROOT));
                    };
                    blocks.extend(runs);
                }
                _ => {}
            }
        }
        protect(record).ok_or(Damage::Record)?;
        // Blocks lie whole in clusters: those of mkntfs have 4096 bytes, as the smallest clusters do.
        let step = block.filter(|block| *block > 0 && self.cluster.0.is_multiple_of(*block));
        let step = step.ok_or(GrowthError::Unexpected(ROOT))?;
        let places = blocks.iter().filter_map(|run| Some((run.at? * self.cluster.0, run.count)));
        let each = |(from, count): (u64, u64)| {
            (from..from + count * self.cluster.0).step_by(Bytes(step).as_usize())
        };
        Ok(places.flat_map(each).map(|at| Range::at(Bytes(at), Bytes(step))).collect())
    }

    /// Sets the sizes in a block of the root folder's index; `None` if nothing changes.
    fn in_block(&self, mut block: Vec<u8>) -> Option<Vec<u8>> {
        restore(&mut block, *b"INDX").ok()?;
        let changed = self.in_node(block.get_mut(24..)?);
        protect(&mut block)?;
        changed.then_some(block)
    }

    /// Sets the sizes in the entries of a node, which begins with its header.
    fn in_node(&self, node: &mut [u8]) -> bool {
        let (mut at, mut changed) = (u32_at(node, 0).map_or(0, length), false);
        while let (Some(size), Some(flags)) = (u16_at(node, at + 8), u16_at(node, at + 12)) {
            let size = usize::from(size);
            if size < 16 || flags & 2 != 0 {
                break;
            }
            let file = u64_at(node, at).unwrap_or_default() & 0xffff_ffff_ffff;
            if file == BITMAP
                && let Some(value) = node.get_mut(at + 16..at + size)
            {
                changed |= self.in_value(value);
            }
            at += size;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with one attribute that has clusters, and with another one behind it.
    fn record(runs: &[Run]) -> Vec<u8> {
        let mut data = vec![0; 1024];
        data[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        data[0x30..0x32].copy_from_slice(&[7, 0]);
        for end in [512, 1024] {
            data[end - 2..end].copy_from_slice(&[7, 0]);
        }
        data[20..22].copy_from_slice(&0x38_u16.to_le_bytes());
        let (list, at) = (encoded(runs), 0x38);
        let size = (64 + list.len()).next_multiple_of(8);
        put(&mut data, at, &kind::DATA.to_le_bytes());
        put(&mut data, at + 4, &u32::try_from(size).unwrap().to_le_bytes());
        data[at + 8] = 1;
        data[at + 10] = 64;
        data[at + 32] = 64;
        let last = runs.iter().map(|run| run.count).sum::<u64>() - 1;
        put(&mut data, at + 24, &last.to_le_bytes());
        put(&mut data, at + 64, &list);
        // A short value in the record, then the end.
        put(&mut data, at + size, &[0x90, 0, 0, 0, 24, 0, 0, 0]);
        put(&mut data, at + size + 24, &kind::END.to_le_bytes());
        let used = u32::try_from(at + size + 32).unwrap();
        put(&mut data, 24, &used.to_le_bytes());
        data
    }

    #[test]
    fn an_attribute_gets_other_clusters_and_the_others_stay() {
        let run = |at, count| Run { at, count };
        for runs in [
            vec![run(Some(5), 1)],
            vec![run(Some(0x7f), 0x80), run(Some(0x1_0000_0000), 0x7fff)],
            vec![run(None, 0xffff_fffe)],
            vec![run(Some(900), 3), run(Some(2), 0x8000), run(None, 1), run(Some(3), 200)],
        ] {
            let mut data = record(&[run(Some(1), 1)]);
            restore(&mut data, *b"FILE").unwrap();
            let count = runs.iter().map(|run| run.count).sum::<u64>();
            set_data(&mut data, 0x38, &runs, [count * 4096, 77, 70]).unwrap();
            assert_eq!(data.len(), 1024);
            let all = attributes(&data).unwrap();
            assert_eq!(all.len(), 2);
            assert_eq!(u32_at(&data, all[1].0), Some(kind::INDEX_ROOT));
            let (at, found) = data_attribute::<std::io::Error>(&data, "", 0).unwrap();
            assert_eq!((at, found.size, &found.runs), (0x38, 77, &runs));
            // Written and read, it is the same.
            let whole = data.clone();
            protect(&mut data).unwrap();
            restore(&mut data, *b"FILE").unwrap();
            assert_eq!(data, whole);
        }
        let many = vec![run(Some(1 << 40), 1 << 40); 200];
        let mut data = record(&[run(Some(1), 1)]);
        restore(&mut data, *b"FILE").unwrap();
        assert_eq!(set_data(&mut data, 0x38, &many, [0; 3]), None, "the record has no room");
    }

    #[test]
    fn what_is_no_volume_does_not_grow() {
        let mut read = |_, length| Ok::<_, std::io::Error>(vec![0; length]);
        let error = changes(&mut read, Bytes(1 << 30)).unwrap_err();
        assert!(matches!(error, GrowthError::Damage(Damage::Boot)));
    }
}
