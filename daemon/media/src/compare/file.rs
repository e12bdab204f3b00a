//! A file on an NTFS volume: what its file records say.

use std::io;

use formats::ntfs::{self, Attribute, Damage, Entry, FileName, Namespace, Record, Value, kind};
use model::units::Bytes;

use super::Source;
use super::extents::{Extents, Sha1, Stored};

/// The properties of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) sequence: u16,
    pub(super) is_folder: bool,
    pub(super) attributes: u32,
    /// Creation, last write and last access, in units of 100 ns since 1601.
    pub(super) times: [u64; 3],
    /// The number of its security descriptor among those that files share.
    pub(super) security_id: Option<u32>,
    /// The security descriptor that the file has for itself.
    pub(super) security: Option<Place>,
    pub(super) object_id: Option<[u8; 16]>,
    pub(super) has_extended_attributes: bool,
    /// The long names with their folders, sorted; folders have copies of them. There is one for each hard link.
    pub(super) names: Vec<(u64, String)>,
    /// The name that a short one belongs to, with its folder.
    long: Option<(u64, String)>,
    /// How many short names the file has; more than one is damage.
    pub(super) short_names: usize,
    pub(super) streams: Vec<Stream>,
    /// The reparse point: its tag, the length of its data, and its data.
    pub(super) reparse: Option<Place>,
    pub(super) index: Index,
    /// Where it is written which records the file has, if it has several.
    pub(super) list: Option<Place>,
    /// Values in clusters that are not put together yet.
    pub(super) stretches: Vec<Stretch>,
}

/// A data stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Empty for the unnamed stream.
    pub(super) name: String,
    pub(super) contents: Contents,
}

/// Where the contents of a stream are.
#[derive(Debug)]
pub(super) enum Contents {
    /// They lay in the file record, and have been hashed.
    Hashed(Sha1),
    Elsewhere(Extents),
}

impl Stream {
    pub(super) fn size(&self) -> u64 {
        match &self.contents {
            Contents::Hashed(sha1) => sha1.length,
            Contents::Elsewhere(extents) => extents.size,
        }
    }

    pub(super) fn extents(&self) -> Option<&Extents> {
        match &self.contents {
            Contents::Hashed(_) => None,
            Contents::Elsewhere(extents) => Some(extents),
        }
    }
}

/// A value that is not read yet.
#[derive(Debug)]
pub(super) enum Place {
    Here(Vec<u8>),
    Elsewhere(Extents),
}

/// How long such a value may be. NTFS allows none to be longer.
const LONGEST: u64 = 256 << 10;

impl Place {
    pub(super) fn bytes(&self, source: &mut dyn Source, cluster: Bytes) -> io::Result<Vec<u8>> {
        match self {
            Self::Here(data) => Ok(data.clone()),
            Self::Elsewhere(extents) if extents.size > LONGEST || extents.is_compressed => {
                Err(io::ErrorKind::InvalidData.into())
            }
            Self::Elsewhere(extents) => {
                let mut data = vec![0; Bytes(extents.size).as_usize()];
                let mut stored = Stored::new(source, extents.pieces(cluster));
                io::Read::read_exact(&mut stored, &mut data)?;
                Ok(data)
            }
        }
    }
}

/// The index of a folder.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The size of a block.
    pub(super) block: Bytes,
    pub(super) root: Vec<Entry>,
    pub(super) blocks: Option<Extents>,
}

/// A part of a value that lies in clusters; only long lists of clusters come in several.
#[derive(Debug)]
pub(super) struct Stretch {
    kind: u32,
    name: String,
    pub(super) first: u64,
    pub(super) extents: Extents,
}

impl Stretch {
    pub(super) fn is_of(&self, kind: u32, name: &str) -> bool {
        self.kind == kind && self.name == name
    }
}

impl File {
    /// Takes what a file record says.
    pub(super) fn take(&mut self, record: &Record<'_>) -> Result<(), Damage> {
        if record.base.is_none() {
            (self.sequence, self.is_folder) = (record.sequence, record.is_folder);
        }
        for attribute in record.attributes() {
            let Attribute { kind, name, is_compressed, value } = attribute?;
            self.has_extended_attributes |= [kind::EA, kind::EA_INFORMATION].contains(&kind);
            match value {
                Value::Here(data) => self.take_value(kind, name, data)?,
                // Needed before anything is put together; it never comes in several stretches.
                Value::Clusters { size, written, runs, .. } if kind == kind::ATTRIBUTE_LIST => {
                    let extents = Extents { size, written, is_compressed, runs };
                    self.list = Some(Place::Elsewhere(extents));
                }
                Value::Clusters { first, size, written, runs, .. } => {
                    let extents = Extents { size, written, is_compressed, runs };
                    self.stretches.push(Stretch { kind, name, first, extents });
                }
            }
        }
        Ok(())
    }

    fn take_value(&mut self, kind: u32, name: String, data: &[u8]) -> Result<(), Damage> {
        let number = |at: usize| {
            let bytes = data.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or(Damage::Attribute)
        };
        let short = |at: usize| {
            let bytes = data.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u32::from_le_bytes(*bytes))
        };
        match kind {
            kind::STANDARD_INFORMATION => {
                self.times = [number(0)?, number(8)?, number(24)?];
                self.attributes = short(32).ok_or(Damage::Attribute)?;
                // NTFS before version 3.0 ends here.
                self.security_id = short(52);
            }
            kind::ATTRIBUTE_LIST => self.list = Some(Place::Here(data.to_vec())),
            kind::FILE_NAME => self.take_name(FileName::parse(data)?),
            kind::OBJECT_ID => {
                let id = data.first_chunk().ok_or(Damage::Attribute)?;
                self.object_id = Some(*id);
            }
            kind::SECURITY_DESCRIPTOR => self.security = Some(Place::Here(data.to_vec())),
            kind::DATA => {
                let contents = Contents::Hashed(Sha1::of(data));
                self.streams.push(Stream { name, contents });
            }
            kind::INDEX_ROOT if name == ntfs::INDEX => {
                (self.index.block, self.index.root) = ntfs::root(data)?;
            }
            kind::REPARSE_POINT => self.reparse = Some(Place::Here(data.to_vec())),
            _ => {}
        }
        Ok(())
    }

    fn take_name(&mut self, name: FileName) {
        let FileName { parent, namespace, name } = name;
        let name = (parent.record, name);
        match namespace {
            Namespace::Dos => self.short_names += 1,
            Namespace::Win32 => {
                self.long = Some(name.clone());
                self.names.push(name);
            }
            Namespace::Both => {
                self.short_names += 1;
                self.names.push(name);
            }
            Namespace::Posix => self.names.push(name),
        }
    }

    /// Puts the stretches together, when all records of the file have been taken.
    pub(super) fn finished(mut self) -> Result<Self, Damage> {
        self.names.sort_unstable();
        let mut stretches = std::mem::take(&mut self.stretches);
        stretches.sort_by(|a, b| (a.kind, &a.name, a.first).cmp(&(b.kind, &b.name, b.first)));
        let mut stretches = stretches.into_iter().peekable();
        while let Some(Stretch { kind, name, first, mut extents }) = stretches.next() {
            let mut end = extents.clusters();
            while let Some(next) = stretches.next_if(|next| next.is_of(kind, &name)) {
                if next.first != end {
                    return Err(Damage::Runs);
                }
                end = end.saturating_add(next.extents.clusters());
                extents.runs.extend(next.extents.runs);
            }
            if first != 0 {
                return Err(Damage::Runs);
            }
            match kind {
                kind::DATA => {
                    let contents = Contents::Elsewhere(extents);
                    self.streams.push(Stream { name, contents });
                }
                kind::REPARSE_POINT => self.reparse = Some(Place::Elsewhere(extents)),
                kind::SECURITY_DESCRIPTOR => self.security = Some(Place::Elsewhere(extents)),
                kind::INDEX_ALLOCATION if name == ntfs::INDEX => {
                    if extents.runs.iter().any(|run| run.at.is_none()) || extents.is_compressed {
                        return Err(Damage::Index);
                    }
                    self.index.blocks = Some(extents);
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// Whether this is the name that the file's short one belongs to.
    pub(super) fn has_short(&self, folder: u64, name: &str) -> bool {
        self.long.as_ref().is_some_and(|long| long.0 == folder && long.1 == name)
    }

    pub(super) fn has_name(&self, folder: u64, name: &str) -> bool {
        let key = |known: &(u64, String)| (known.0, known.1.as_str()).cmp(&(folder, name));
        self.names.binary_search_by(key).is_ok()
    }

    pub(super) fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }
}
