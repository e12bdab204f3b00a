//! An NTFS volume, read with the `ntfs` crate.

use std::collections::HashMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use ntfs::attribute_value::NtfsAttributeValue;
use ntfs::structured_values::{NtfsFileNamespace, NtfsObjectId};
use ntfs::{
    KnownNtfsFileRecordNumber, Ntfs, NtfsAttributeFlags, NtfsAttributeType, NtfsError, NtfsReadSeek,
};
use sha1::Digest as _;

use model::units::Bytes;

use super::Source;
use super::lznt1::{self, Damaged};

/// Why a volume cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum VolumeError {
    #[error("cannot {doing}")]
    Ntfs {
        doing: String,
        #[source]
        source: NtfsError,
    },
    #[error("the table of security descriptors is damaged at byte {0}")]
    Security(usize),
    #[error("folders nest deeper than {DEEPEST}")]
    Deep,
    #[error("cannot uncompress file record {record}")]
    Compressed {
        record: u64,
        #[source]
        source: Damaged,
    },
    #[error("cannot read clusters of file record {record}")]
    Clusters {
        record: u64,
        #[source]
        source: io::Error,
    },
}

fn failed(doing: impl Into<String>) -> impl FnOnce(NtfsError) -> VolumeError {
    let doing = doing.into();
    move |source| VolumeError::Ntfs { doing, source }
}

/// Reads the whole value of an attribute.
fn read_all(
    mut value: NtfsAttributeValue<'_, '_>,
    reader: &mut Box<dyn Source>,
) -> Result<Vec<u8>, NtfsError> {
    let mut data = vec![0; Bytes(value.len()).as_usize()];
    let mut done = 0;
    while done < data.len() {
        match value.read(reader, &mut data[done..])? {
            0 => break,
            count => done += count,
        }
    }
    data.truncate(done);
    Ok(data)
}

/// File records with lower numbers are NTFS's own.
const FIRST_USER_RECORD: u64 = 24;
/// How deep folders may nest; Windows accepts no path that is so deep.
const DEEPEST: usize = 4096;

/// A name on the volume and the file record it leads to.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) record: u64,
    pub(super) short_name: Option<String>,
}

/// One long name in a folder.
struct Listed {
    name: String,
    short_name: Option<String>,
    record: u64,
    is_folder: bool,
}

/// A data stream of a file.
#[derive(Debug)]
pub(super) struct Stream {
    /// Empty for the unnamed stream.
    pub(super) name: String,
    pub(super) size: u64,
    /// Where its data begins; 0 if that lies in the file record or is a hole.
    position: u64,
}

/// Length and digest of a stream.
pub(super) struct Sha1 {
    pub(super) length: u64,
    pub(super) digest: [u8; 20],
}

/// The properties in a file record.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) attributes: u32,
    /// Creation, last write and last access, in units of 100 ns since 1601.
    pub(super) times: [u64; 3],
    pub(super) security: Vec<u8>,
    pub(super) object_id: Option<[u8; 16]>,
    /// Number of hard links; short names do not count.
    pub(super) links: usize,
    /// The long names in the file record; folders have copies of them.
    pub(super) names: Vec<String>,
    pub(super) streams: Vec<Stream>,
}

impl Details {
    /// Where the data of a stream begins on the volume; 0 if it lies in the file record, or there is none.
    pub(super) fn position(&self, name: &str) -> u64 {
        self.streams.iter().find(|stream| stream.name == name).map_or(0, |s| s.position)
    }
}

pub(super) struct Volume {
    ntfs: Ntfs,
    reader: Box<dyn Source>,
    /// Security descriptors by number.
    security: HashMap<u32, Vec<u8>>,
}

impl Volume {
    pub(super) fn open(mut reader: Box<dyn Source>) -> Result<Self, VolumeError> {
        let ntfs = Ntfs::new(&mut reader).map_err(failed("read the boot sector"))?;
        let mut volume = Self { ntfs, reader, security: HashMap::new() };
        volume.security = volume.read_security()?;
        Ok(volume)
    }

    /// Reads the stream `$Secure:$SDS`. Each descriptor follows a header of 20 bytes, which starts at a multiple of 16.
    /// A copy follows each 256 KiB (NTFS documentation of the Linux-NTFS project, `$Secure`).
    fn read_security(&mut self) -> Result<HashMap<u32, Vec<u8>>, VolumeError> {
        const HALF: usize = 256 << 10;
        const HEADER: usize = 20;
        let doing = || failed("read $Secure");
        let reader = &mut self.reader;
        let file =
            self.ntfs.file(reader, KnownNtfsFileRecordNumber::Secure as u64).map_err(doing())?;
        let mut data = Vec::new();
        let mut attributes = file.attributes();
        while let Some(item) = attributes.next(reader) {
            let item = item.map_err(doing())?;
            let attribute = item.to_attribute().map_err(doing())?;
            let is_data = attribute.ty().map_err(doing())? == NtfsAttributeType::Data;
            if is_data && attribute.name().map_err(doing())? == "$SDS" {
                let value = attribute.value(reader).map_err(doing())?;
                data = read_all(value, reader).map_err(doing())?;
                break;
            }
        }
        let mut all = HashMap::new();
        let mut at = 0;
        while at + HEADER <= data.len() {
            if at % (2 * HALF) >= HALF {
                at = (at / (2 * HALF) + 1) * 2 * HALF;
                continue;
            }
            let word = |from: usize| {
                let bytes: [u8; 4] = data[from..from + 4].try_into().unwrap_or_default();
                u32::from_le_bytes(bytes)
            };
            let length = Bytes(word(at + 16).into()).as_usize();
            if length == 0 {
                at = (at / HALF + 1) * HALF;
                continue;
            }
            let descriptor = data.get(at + HEADER..at + length).ok_or(VolumeError::Security(at))?;
            all.insert(word(at + 4), descriptor.to_vec());
            at += length.next_multiple_of(16).max(16);
        }
        Ok(all)
    }

    /// Calls `each` for every name on the volume, except those of NTFS's own files. Paths have `/` between names.
    pub(super) fn walk(&mut self, each: &mut dyn FnMut(String, Node)) -> Result<(), VolumeError> {
        let root = KnownNtfsFileRecordNumber::RootDirectory as u64;
        each("/".into(), Node { record: root, short_name: None });
        let mut todo = vec![(String::new(), root, 0)];
        while let Some((folder, record, depth)) = todo.pop() {
            if depth > DEEPEST {
                return Err(VolumeError::Deep);
            }
            for found in self.list(&folder, record)? {
                let path = format!("{folder}/{}", found.name);
                let node = Node { record: found.record, short_name: found.short_name };
                each(path.clone(), node);
                if found.is_folder {
                    todo.push((path, found.record, depth + 1));
                }
            }
        }
        Ok(())
    }

    /// Lists the long names in a folder, each with its short name and file record.
    fn list(&mut self, folder: &str, record: u64) -> Result<Vec<Listed>, VolumeError> {
        let doing = || failed(format!("list {folder}/"));
        let reader = &mut self.reader;
        let file = self.ntfs.file(reader, record).map_err(doing())?;
        let index = file.directory_index(reader).map_err(doing())?;
        let mut entries = index.entries();
        let mut names = Vec::new();
        let mut short_names: HashMap<u64, String> = HashMap::new();
        while let Some(entry) = entries.next(reader) {
            let entry = entry.map_err(doing())?;
            let number = entry.file_reference().file_record_number();
            let Some(key) = entry.key() else { continue };
            let key = key.map_err(doing())?;
            if number < FIRST_USER_RECORD {
                continue;
            }
            let name = key.name().to_string_lossy();
            match key.namespace() {
                NtfsFileNamespace::Dos => {
                    short_names.insert(number, name);
                }
                NtfsFileNamespace::Win32AndDos => {
                    short_names.insert(number, name.clone());
                    names.push((name, number, key.is_directory()));
                }
                NtfsFileNamespace::Posix | NtfsFileNamespace::Win32 => {
                    names.push((name, number, key.is_directory()));
                }
            }
        }
        // A file has one short name, which belongs to one of its links. If several links are in this folder, the folder
        // does not tell to which; the file record does.
        let mut all = Vec::with_capacity(names.len());
        for (name, number, is_folder) in names {
            let short = short_names.get(&number).cloned();
            let short = if short.is_some() && !self.is_win32_name(number, record, &name)? {
                None
            } else {
                short
            };
            all.push(Listed { name, short_name: short, record: number, is_folder });
        }
        Ok(all)
    }

    /// Whether the short name of a file belongs to this one of its names.
    fn is_win32_name(&mut self, record: u64, parent: u64, name: &str) -> Result<bool, VolumeError> {
        let doing = || failed(format!("read the names of file {record}"));
        let reader = &mut self.reader;
        let file = self.ntfs.file(reader, record).map_err(doing())?;
        for namespace in [NtfsFileNamespace::Win32, NtfsFileNamespace::Win32AndDos] {
            if let Some(found) = file.name(reader, Some(namespace), Some(parent)) {
                let found = found.map_err(doing())?;
                if found.name().to_string_lossy() == name {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn details(&mut self, record: u64) -> Result<Details, VolumeError> {
        let doing = || failed(format!("read file record {record}"));
        let reader = &mut self.reader;
        let file = self.ntfs.file(reader, record).map_err(doing())?;
        let info = file.info().map_err(doing())?;
        let mut details = Details {
            attributes: info.file_attributes().bits(),
            times: [info.creation_time(), info.modification_time(), info.access_time()]
                .map(|time| time.nt_timestamp()),
            security: info
                .security_id()
                .and_then(|id| self.security.get(&id))
                .cloned()
                .unwrap_or_default(),
            object_id: None,
            links: 0,
            names: Vec::new(),
            streams: Vec::new(),
        };
        let mut attributes = file.attributes();
        while let Some(item) = attributes.next(reader) {
            let item = item.map_err(doing())?;
            let attribute = item.to_attribute().map_err(doing())?;
            match attribute.ty().map_err(doing())? {
                NtfsAttributeType::Data => {
                    let name = attribute.name().map_err(doing())?.to_string_lossy();
                    let size = attribute.value_length();
                    let position = match attribute.is_resident() {
                        true => 0,
                        false => {
                            let value = attribute.value(reader).map_err(doing())?;
                            value.data_position().value().map_or(0, u64::from)
                        }
                    };
                    details.streams.push(Stream { name, size, position });
                }
                NtfsAttributeType::FileName => {
                    let name: ntfs::structured_values::NtfsFileName =
                        attribute.structured_value(reader).map_err(doing())?;
                    if name.namespace() != NtfsFileNamespace::Dos {
                        details.links += 1;
                        details.names.push(name.name().to_string_lossy());
                    }
                }
                NtfsAttributeType::ObjectId => {
                    let id: NtfsObjectId = attribute.structured_value(reader).map_err(doing())?;
                    let id = id.object_id();
                    let mut bytes = [0; 16];
                    bytes[..4].copy_from_slice(&id.data1.to_le_bytes());
                    bytes[4..6].copy_from_slice(&id.data2.to_le_bytes());
                    bytes[6..8].copy_from_slice(&id.data3.to_le_bytes());
                    bytes[8..].copy_from_slice(&id.data4);
                    details.object_id = Some(bytes);
                }
                NtfsAttributeType::SecurityDescriptor if details.security.is_empty() => {
                    let value = attribute.value(reader).map_err(doing())?;
                    details.security = read_all(value, reader).map_err(doing())?;
                }
                _ => {}
            }
        }
        Ok(details)
    }

    /// Hashes a data stream, by pieces of `buffer`; `None` if the file has none of this name.
    pub(super) fn hash_stream(
        &mut self,
        record: u64,
        name: &str,
        buffer: &mut [u8],
    ) -> Result<Option<Sha1>, VolumeError> {
        let doing = || failed(format!("read stream {name:?} of file record {record}"));
        let Self { ntfs, reader, .. } = self;
        let file = ntfs.file(reader, record).map_err(doing())?;
        let mut attributes = file.attributes();
        while let Some(item) = attributes.next(reader) {
            let item = item.map_err(doing())?;
            let attribute = item.to_attribute().map_err(doing())?;
            if attribute.ty().map_err(doing())? != NtfsAttributeType::Data
                || attribute.name().map_err(doing())?.to_string_lossy() != name
            {
                continue;
            }
            let mut value = attribute.value(reader).map_err(doing())?;
            let compressed = attribute.flags().contains(NtfsAttributeFlags::COMPRESSED);
            if compressed && !attribute.is_resident() {
                let cluster = ntfs.cluster_size();
                return hash_compressed(record, value, reader, cluster).map(Some);
            }
            let mut hash = sha1::Sha1::new();
            let mut length = 0;
            loop {
                let count = value.read(reader, buffer).map_err(doing())?;
                if count == 0 {
                    return Ok(Some(Sha1 { length, digest: hash.finalize().into() }));
                }
                hash.update(&buffer[..count]);
                length += Bytes::of(count).0;
            }
        }
        Ok(None)
    }

    /// Hashes the data of a reparse point after its header; `None` if the file has no reparse point with this tag.
    pub(super) fn hash_reparse(
        &mut self,
        record: u64,
        tag: u32,
    ) -> Result<Option<Sha1>, VolumeError> {
        const HEADER: usize = 8;
        let doing = || failed(format!("read the reparse point of file record {record}"));
        let reader = &mut self.reader;
        let file = self.ntfs.file(reader, record).map_err(doing())?;
        let mut attributes = file.attributes();
        while let Some(item) = attributes.next(reader) {
            let item = item.map_err(doing())?;
            let attribute = item.to_attribute().map_err(doing())?;
            if attribute.ty().map_err(doing())? != NtfsAttributeType::ReparsePoint {
                continue;
            }
            let value = attribute.value(reader).map_err(doing())?;
            let data = read_all(value, reader).map_err(doing())?;
            if data.len() < HEADER || data[..4] != tag.to_le_bytes() {
                return Ok(None);
            }
            let contents = &data[HEADER..];
            let length = Bytes::of(contents.len()).0;
            return Ok(Some(Sha1 { length, digest: sha1::Sha1::digest(contents).into() }));
        }
        Ok(None)
    }
}

/// Clusters of a unit of compression; NTFS compresses with no other number.
const UNIT: usize = 16;

/// Hashes a stream that NTFS has compressed.
fn hash_compressed(
    record: u64,
    mut value: NtfsAttributeValue<'_, '_>,
    reader: &mut Box<dyn Source>,
    cluster: u32,
) -> Result<Sha1, VolumeError> {
    let doing = || failed(format!("find the clusters of file record {record}"));
    let cluster = Bytes(cluster.into()).as_usize();
    let unit = UNIT * cluster;
    let length = value.len();
    let mut hash = sha1::Sha1::new();
    let (mut stored, mut plain) = (vec![0; unit], vec![0; unit]);
    let mut at = 0;
    while at < length {
        let left = Bytes(length - at).as_usize().min(unit);
        let mut there = 0;
        for index in 0..UNIT {
            let offset = at + Bytes::of(index * cluster).0;
            value.seek(reader, SeekFrom::Start(offset)).map_err(doing())?;
            let Some(position) = value.data_position().value() else { break };
            let place = &mut stored[index * cluster..(index + 1) * cluster];
            reader
                .seek(SeekFrom::Start(position.get()))
                .and_then(|_| reader.read_exact(place))
                .map_err(|source| VolumeError::Clusters { record, source })?;
            there += 1;
        }
        match there {
            0 => plain.fill(0),
            UNIT => plain.copy_from_slice(&stored),
            _ => lznt1::uncompress(&stored[..there * cluster], &mut plain)
                .map_err(|source| VolumeError::Compressed { record, source })?,
        }
        hash.update(&plain[..left]);
        at += Bytes::of(left).0;
    }
    Ok(Sha1 { length, digest: hash.finalize().into() })
}
