//! An NTFS volume in memory: all of its files, without the data that lies in clusters.
//!
//! The file records are read once, in their order; then the security descriptors, then the indexes of all folders in the
//! order of their places. Memory holds a few hundred bytes for each file and each name, and up to [`INDEXES`] of indexes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use formats::ntfs::{
    Block, Boot, Damage, Entry, FileName, Namespace, Record, Reference, Run, kind, security,
};
use model::failure::chain;
use model::ranges::Range;
use model::units::Bytes;

use super::Source;
use super::extents::{Extents, read_all};
use super::file::{File, Place};

/// Why a volume cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum VolumeError {
    #[error("cannot read {what}")]
    Read {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("{what} is damaged")]
    Damaged {
        what: &'static str,
        #[source]
        source: Damage,
    },
    #[error("it has more than {FILES} files")]
    Large,
}

/// Why a file or a folder cannot be read; the others can.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("there is no file record {0}")]
    Missing(u64),
    #[error("file record {record} is damaged")]
    Damaged {
        record: u64,
        #[source]
        source: Damage,
    },
    #[error("file record {0} belongs to another file now")]
    Stale(u64),
    #[error("file record {record} continues in record {other}, which is missing")]
    Torn { record: u64, other: u64 },
    #[error("cannot read the clusters of file record {record}")]
    Read {
        record: u64,
        #[source]
        source: io::Error,
    },
}

/// File records with lower numbers are NTFS's own.
pub(super) const FIRST_USER_RECORD: u64 = 24;
/// The file record of the file table itself.
pub(super) const MFT: u64 = 0;
/// The file record of the security descriptors.
const SECURE: u64 = 9;
/// The file record of the root folder.
pub(super) const ROOT: u64 = 5;

/// How many files a volume may have. One with more takes more memory than a worker gets.
const FILES: usize = 1 << 23;
/// How many file records may continue others; their bytes are kept until the whole file is there.
const FURTHER: usize = 1 << 20;
/// How much is read at a time.
const PIECE: Bytes = Bytes(1 << 20);
/// How long the table of security descriptors may be, and the index of a folder.
const TABLE: Bytes = Bytes(256 << 20);
/// How many bytes of indexes are in memory at a time; one that is longer is alone there.
const INDEXES: Bytes = Bytes(64 << 20);

/// A name in a folder, and the file that it leads to.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) file: Reference,
    pub(super) name: String,
    pub(super) short_name: Option<String>,
}

/// A volume.
pub(super) struct Volume {
    pub(super) cluster: Bytes,
    files: Files,
    folders: HashMap<u64, Result<Vec<Node>, FileError>>,
    /// Security descriptors by number.
    security: HashMap<u32, Vec<u8>>,
}

/// The files of a volume by the numbers of their records, or why they cannot be read.
pub(super) type Files = HashMap<u64, Result<File, FileError>>;

/// Reads the boot sector and all file records of a volume.
pub(super) fn files(source: &mut dyn Source) -> Result<(Boot, Files), VolumeError> {
    let what = "the boot sector";
    let mut sector = vec![0; 512];
    let read = source.read_exact_at(&mut sector, Bytes(0));
    read.map_err(|source| VolumeError::Read { what, source })?;
    let boot = Boot::parse(&sector).map_err(|source| VolumeError::Damaged { what, source })?;
    let files = Table::read(source, &boot)?.finish(source, boot.cluster);
    Ok((boot, files))
}

impl Volume {
    pub(super) fn read(source: &mut dyn Source) -> Result<Self, VolumeError> {
        let read = |what| move |source| VolumeError::Read { what, source };
        let damaged = |what| move |source| VolumeError::Damaged { what, source };
        let (boot, mut files) = files(source)?;
        let mut table = Vec::new();
        if let Some(Ok(secure)) = files.get(&SECURE) {
            let what = "the table of security descriptors";
            let extents = secure.stream("$SDS").and_then(|stream| stream.extents());
            table = value(source, extents, boot.cluster).map_err(read(what))?;
        }
        let security =
            security::table(&table).map_err(damaged("the table of security descriptors"))?;
        let folders = folders(source, &mut files, boot.cluster);
        Ok(Self { cluster: boot.cluster, files, folders, security })
    }

    /// The root folder.
    pub(super) fn root(&self) -> Node {
        let sequence = match self.files.get(&ROOT) {
            Some(Ok(file)) => file.sequence,
            _ => 0,
        };
        let file = Reference { record: ROOT, sequence };
        Node { file, name: String::new(), short_name: None }
    }

    /// The file that a name leads to.
    ///
    /// # Errors
    /// In words, why it cannot be read.
    pub(super) fn file(&self, reference: Reference) -> Result<&File, String> {
        let Reference { record, sequence } = reference;
        match self.files.get(&record) {
            Some(Ok(file)) if file.sequence == sequence => Ok(file),
            Some(Ok(_)) => Err(chain(&FileError::Stale(record))),
            Some(Err(error)) => Err(chain(error)),
            None => Err(chain(&FileError::Missing(record))),
        }
    }

    /// The names in a folder; short ones stand beside the long ones that they belong to.
    ///
    /// # Errors
    /// In words, why they cannot be read.
    pub(super) fn folder(&self, record: u64) -> Result<&[Node], String> {
        match self.folders.get(&record) {
            Some(Ok(names)) => Ok(names),
            Some(Err(error)) => Err(chain(error)),
            None => Ok(&[]),
        }
    }

    /// The security descriptor of a file; empty if it has none.
    pub(super) fn security<'a>(&'a self, file: &'a File) -> &'a [u8] {
        match &file.security {
            Some(Place::Here(own)) => own,
            _ => file.security_id.and_then(|id| self.security.get(&id)).map_or(&[], Vec::as_slice),
        }
    }
}

/// Reads a value whole.
fn value(
    source: &mut dyn Source,
    extents: Option<&Extents>,
    cluster: Bytes,
) -> io::Result<Vec<u8>> {
    let Some(extents) = extents else { return Ok(Vec::new()) };
    if extents.size > TABLE.0 || extents.is_compressed {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut data = vec![0; Bytes(extents.size).as_usize()];
    let (mut at, mut left) = (0, extents.size.min(extents.written));
    for run in &extents.runs {
        let length = run.count.saturating_mul(cluster.0).min(left);
        let place = &mut data[at..at + Bytes(length).as_usize()];
        if let Some(start) = run.at {
            source.read_exact_at(place, Bytes(start.saturating_mul(cluster.0)))?;
        }
        at += place.len();
        left -= length;
    }
    Ok(data)
}

/// The file records, as they are read.
#[derive(Default)]
struct Table {
    files: HashMap<u64, Result<File, FileError>>,
    /// The records of files that have several, by the number of the first, as they lie on the volume.
    long: BTreeMap<u64, HashMap<u64, Vec<u8>>>,
    /// How many records these are.
    further: usize,
    /// Where the table itself goes on, by the number of clusters before that.
    own: BTreeMap<u64, Vec<Run>>,
}

impl Table {
    /// Reads all file records in their order. Those that say where the table goes on come before it does.
    fn read(source: &mut dyn Source, boot: &Boot) -> Result<Self, VolumeError> {
        let read = |source| VolumeError::Read { what: "the file table", source };
        let damaged = |source| VolumeError::Damaged { what: "the file table", source };
        let size = boot.record.as_usize();
        let mut first = vec![0; size];
        source.read_exact_at(&mut first, boot.mft).map_err(read)?;
        let record = Record::parse(&mut first).map_err(damaged)?;
        let mut own = File::default();
        own.take(&record).map_err(damaged)?;
        let own = own.finished().map_err(damaged)?;
        let own = own.stream("").and_then(|stream| stream.extents());
        let own = own.filter(|own| own.size <= boot.size.0 && !own.is_compressed);
        let own = own.ok_or_else(|| damaged(Damage::Runs))?;
        let count = own.size / boot.record.0;
        let mut table = Self::default();
        table.own.insert(0, own.runs.clone());
        let mut pending: Vec<u8> = Vec::new();
        let (mut number, mut clusters) = (0, 0);
        while number < count {
            let runs = table.own.remove(&clusters).ok_or_else(|| damaged(Damage::Runs))?;
            for run in runs {
                clusters += run.count;
                let start = run.at.map(|at| Bytes(at.saturating_mul(boot.cluster.0)));
                let length = Bytes(run.count.saturating_mul(boot.cluster.0));
                let whole = start.map(|start| Range::new(start, start.saturating_add(length)));
                // The table has no holes.
                let whole = whole.filter(|whole| whole.end <= boot.size);
                let whole = whole.ok_or_else(|| damaged(Damage::Runs))?;
                let mut at = whole.start;
                while at < whole.end && number < count {
                    let kept = pending.len();
                    pending.resize(kept + PIECE.min(whole.end - at).as_usize(), 0);
                    source.read_exact_at(&mut pending[kept..], at).map_err(read)?;
                    at += Bytes::of(pending.len() - kept);
                    let known = pending.len() / size * size;
                    for data in pending[..known].chunks_exact(size) {
                        if number < count {
                            table.record(number, data);
                        }
                        number += 1;
                    }
                    pending.drain(..known);
                    if table.files.len() > FILES || table.further > FURTHER {
                        return Err(VolumeError::Large);
                    }
                }
            }
        }
        Ok(table)
    }

    fn record(&mut self, number: u64, data: &[u8]) {
        let mut copy = data.to_vec();
        let record = match Record::parse(&mut copy) {
            Ok(record) if record.in_use => record,
            // A record that no file has ever used has no signature.
            Ok(_) | Err(Damage::Signature) => return,
            Err(source) => {
                self.files.insert(number, Err(FileError::Damaged { record: number, source }));
                return;
            }
        };
        let mut file = File::default();
        let taken = file.take(&record);
        if let Some(base) = record.base {
            self.keep(base.record, number, data);
            if base.record == MFT {
                let mine = file.stretches.into_iter().filter(|found| found.is_of(kind::DATA, ""));
                self.own.extend(mine.map(|found| (found.first, found.extents.runs)));
            }
            return;
        }
        let is_long = file.list.is_some();
        if is_long {
            self.keep(number, number, data);
        }
        let finished = taken.and_then(|()| if is_long { Ok(file) } else { file.finished() });
        let damaged = |source| FileError::Damaged { record: number, source };
        self.files.insert(number, finished.map_err(damaged));
    }

    fn keep(&mut self, base: u64, number: u64, data: &[u8]) {
        self.long.entry(base).or_default().insert(number, data.to_vec());
        self.further += 1;
    }

    /// Puts together the files that have several records.
    fn finish(
        mut self,
        source: &mut dyn Source,
        cluster: Bytes,
    ) -> HashMap<u64, Result<File, FileError>> {
        for (number, records) in &self.long {
            if let Some(Ok(file)) = self.files.get(number)
                && let Some(list) = &file.list
            {
                let whole = list
                    .bytes(source, cluster)
                    .map_err(|source| FileError::Read { record: *number, source })
                    .and_then(|list| together(*number, records, &list));
                self.files.insert(*number, whole);
            }
        }
        for (number, file) in &mut self.files {
            if let Ok(found) = file
                && let Some(place @ Place::Elsewhere(_)) = &found.security
            {
                match place.bytes(source, cluster) {
                    Ok(data) => found.security = Some(Place::Here(data)),
                    Err(source) => *file = Err(FileError::Read { record: *number, source }),
                }
            }
        }
        self.files
    }
}

/// Puts together the records of one file that its list names.
fn together(number: u64, records: &HashMap<u64, Vec<u8>>, list: &[u8]) -> Result<File, FileError> {
    let damaged = |source| FileError::Damaged { record: number, source };
    let listed = formats::ntfs::listed(list).map_err(damaged)?;
    let mut file = File::default();
    let mut others = listed.iter().filter(|listed| listed.record != number).collect::<Vec<_>>();
    others.dedup_by_key(|listed| listed.record);
    let first = records.get(&number).ok_or(FileError::Missing(number))?;
    let mut data = first.clone();
    let first = Record::parse(&mut data).map_err(damaged)?;
    file.take(&first).map_err(damaged)?;
    for other in others {
        let torn = || FileError::Torn { record: number, other: other.record };
        let mut data = records.get(&other.record).ok_or_else(torn)?.clone();
        let record = Record::parse(&mut data).map_err(damaged)?;
        let is_own = record.base.is_some_and(|base| base.sequence == first.sequence);
        if record.sequence != other.sequence || !is_own {
            return Err(torn());
        }
        file.take(&record).map_err(damaged)?;
    }
    file.finished().map_err(damaged)
}

/// Reads the indexes of all folders, in the order of their places, and lists their names.
fn folders(
    source: &mut dyn Source,
    files: &mut HashMap<u64, Result<File, FileError>>,
    cluster: Bytes,
) -> HashMap<u64, Result<Vec<Node>, FileError>> {
    let mut indexes = Vec::new();
    for (number, file) in files.iter_mut() {
        if let Ok(file) = file
            && file.is_folder
            && (*number == ROOT || *number >= FIRST_USER_RECORD)
        {
            let index = std::mem::take(&mut file.index);
            let places: Vec<Range> =
                index.blocks.iter().flat_map(|blocks| blocks.pieces(cluster)).collect();
            indexes.push((*number, index, places));
        }
    }
    indexes.sort_by_key(|(number, _, places)| (places.first().map(|p| p.start), *number));
    let mut all = HashMap::with_capacity(indexes.len());
    let mut rest = indexes.as_slice();
    while !rest.is_empty() {
        let mut bytes = Bytes(0);
        let group = rest.iter().take_while(|(_, _, places)| {
            let before = bytes;
            bytes += places.iter().map(|place| place.length()).sum();
            before == Bytes(0) || bytes <= INDEXES
        });
        let (group, after) = rest.split_at(group.count());
        rest = after;
        let places: Vec<_> = group
            .iter()
            .map(|(_, _, places)| {
                let length: Bytes = places.iter().map(|place| place.length()).sum();
                if length > TABLE { Vec::new() } else { places.clone() }
            })
            .collect();
        for ((folder, index, _), blocks) in group.iter().zip(read_all(source, &places)) {
            let listed = blocks
                .map_err(|source| FileError::Read { record: *folder, source })
                .and_then(|mut blocks| {
                    names(&index.root, index.block, &mut blocks, cluster)
                        .map_err(|source| FileError::Damaged { record: *folder, source })
                })
                .map(|names| nodes(*folder, names, files));
            all.insert(*folder, listed);
        }
    }
    all
}

type Name = (Reference, FileName);

/// The names in an index: those of its root, and of all blocks that the root leads to.
fn names(
    root: &[Entry],
    block: Bytes,
    blocks: &mut [u8],
    cluster: Bytes,
) -> Result<Vec<Name>, Damage> {
    let mut all = Vec::new();
    let mut todo = Vec::new();
    let mut node = |entries: Vec<Entry>, todo: &mut Vec<u64>| {
        for entry in entries {
            todo.extend(entry.below);
            all.extend(entry.name);
        }
    };
    node(root.to_vec(), &mut todo);
    let unit = if block < cluster { 512 } else { cluster.0 };
    let mut seen = HashSet::new();
    while let Some(number) = todo.pop() {
        let from = number.checked_mul(unit).map(|at| Bytes(at).as_usize()).ok_or(Damage::Index)?;
        let end = from.checked_add(block.as_usize()).ok_or(Damage::Index)?;
        let data = blocks.get_mut(from..end).ok_or(Damage::Index)?;
        if !seen.insert(number) {
            return Err(Damage::Index);
        }
        let found = Block::parse(data)?;
        if found.number != number {
            return Err(Damage::Index);
        }
        node(found.entries, &mut todo);
    }
    Ok(all)
}

/// Puts short names beside the long ones that they belong to. A folder does not tell to which name of a file with several
/// its short one belongs; the file record does.
fn nodes(
    folder: u64,
    names: Vec<Name>,
    files: &HashMap<u64, Result<File, FileError>>,
) -> Vec<Node> {
    let mut short: HashMap<u64, String> = HashMap::new();
    let mut long = Vec::with_capacity(names.len());
    for (file, name) in names {
        match name.namespace {
            _ if file.record < FIRST_USER_RECORD => {}
            Namespace::Dos => {
                short.insert(file.record, name.name);
            }
            Namespace::Both => long.push((file, Some(name.name.clone()), name.name)),
            Namespace::Posix | Namespace::Win32 => long.push((file, None, name.name)),
        }
    }
    let all = long.into_iter().map(|(file, both, name)| {
        let known = files.get(&file.record).and_then(|known| known.as_ref().ok());
        let owns = known.is_some_and(|known| known.has_short(folder, &name));
        let own = || if owns { short.get(&file.record).cloned() } else { None };
        Node { file, short_name: both.or_else(own), name }
    });
    all.collect()
}
