//! Takes a parcel in: each piece is verified alone and written to its place. What is there already, from an attempt that was
//! cut, is verified again and not loaded twice. The file is in the inbox only when all of it is what the manifest says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use signing::Envelope;

use crate::index::{Index, IndexError, Piece, Place};
use crate::source::{Source, SourceError, open_file};
use crate::staging::{Staging, StagingError, is_later};
use crate::trust::{Distrust, Signers, Vouched};
use crate::whole::{Whole, is_same};
use model::code::FailureCode;
use model::digest::Digest;
use model::failure::chain;
use model::hint::Hint;
use model::parcel::{FileClaim, INDEX, LARGEST_MANIFEST, MANIFEST, ParcelManifest, pack};
use model::units::Bytes;

/// So many pieces of a pack in a row may fail before the pack is given up for this time.
const PATIENCE: u32 = 16;
/// A short segment of zeros may be a piece; a long one is a hole that nothing was written to yet.
const HOLE: usize = 64 << 10;

/// How a parcel is taken in.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Receiver<'a> {
    pub source: &'a dyn Source,
    pub signers: &'a Signers,
    /// The folder that gets the media, and may have its bases.
    pub inbox: &'a Path,
}

impl std::fmt::Debug for Receiver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

/// Media that is in the inbox, to its last byte what its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Received {
    pub vouched: Vouched,
    pub file: PathBuf,
    /// Bytes that came from the parcel.
    pub loaded: Bytes,
    /// Bytes that an earlier attempt had left.
    pub kept: Bytes,
    /// Bytes that other media in the inbox had.
    pub copied: Bytes,
}

/// What is missing of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Incomplete {
    pub pieces: usize,
    pub bytes: Bytes,
    /// The first of the pieces.
    pub first: String,
    pub cause: String,
}

/// Why media is not in the inbox. Pieces that came are kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ReceiveError {
    #[error("the parcel cannot be read")]
    Source(#[from] SourceError),
    #[error("the manifest is not believed")]
    Distrust(#[from] Distrust),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("{name} is in the inbox, and is not this media")]
    NameTaken { name: String },
    #[error("{name} is in the inbox as {found}, which is later than {sequence}")]
    Older { name: String, found: String, sequence: u64 },
    #[error("another program takes in the same parcel")]
    Busy,
    #[error("the inbox needs room for {needed} bytes more, and has {room}")]
    Room { needed: u64, room: u64 },
    #[error("{0} in the inbox belongs to somebody else, or others may change it")]
    Foreign(String),
    #[error("{piece} is not what the index says{others}")]
    Damaged { piece: String, others: String },
    #[error(
        "{name} with SHA-256 {sha256} is not in the inbox, and {pieces} pieces are in it alone"
    )]
    BaseMissing { name: String, sha256: Digest, pieces: usize },
    #[error("{} of its bytes are missing, from {} on: {}", .0.bytes.0, .0.first, .0.cause)]
    Incomplete(Incomplete),
    #[error("the pieces are right, and the file that they make is not; it was packed wrong")]
    Contradiction,
    #[error("cannot {doing}")]
    System {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Hint for ReceiveError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Distrust(error) => return error.hint(),
            Self::Source(SourceError::Missing { name }) if name == MANIFEST => {
                "name the folder, or the address, in which manifest.json lies; if it was there, put it there again"
            }
            Self::Source(_) | Self::Incomplete(_) => {
                "put the parcel there again, and run the same command: it goes on where it was cut"
            }
            Self::Index(_) | Self::Damaged { .. } => {
                "get the part again from the maker, and run the same command: all other pieces are kept"
            }
            Self::NameTaken { .. } => {
                "take it out of the inbox, or name the media otherwise and pack it anew"
            }
            Self::Older { .. } => {
                "the parcel is not needed, and can be removed; nothing was changed"
            }
            Self::Busy => "wait for it",
            Self::Room { .. } => "make room on the inbox's file system, and run the same command",
            Self::Foreign(_) => "take it away",
            Self::BaseMissing { .. } => {
                "put it into the inbox, or get a parcel that was packed without --against"
            }
            Self::Contradiction => "have it packed again",
            Self::System { .. } => return None,
        };
        Some(hint.into())
    }
}

impl ReceiveError {
    /// The code of what has gone wrong.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Source(_) | Self::Incomplete(_) => FailureCode::ParcelIncomplete,
            Self::Distrust(Distrust::Unknown { .. } | Distrust::TooFew { .. }) => {
                FailureCode::SignerUnknown
            }
            Self::Distrust(Distrust::Envelope(_) | Distrust::Manifest(_))
            | Self::Index(_)
            | Self::Damaged { .. }
            | Self::Contradiction => FailureCode::ParcelDamaged,
            Self::BaseMissing { .. } => FailureCode::BaseMissing,
            Self::NameTaken { .. }
            | Self::Older { .. }
            | Self::Busy
            | Self::Room { .. }
            | Self::Foreign(_)
            | Self::System { .. } => FailureCode::InboxError,
        }
    }
}

impl From<StagingError> for ReceiveError {
    fn from(error: StagingError) -> Self {
        match error {
            StagingError::Busy => Self::Busy,
            StagingError::Room { needed, room } => Self::Room { needed: needed.0, room: room.0 },
            StagingError::Foreign(name) => Self::Foreign(name),
            StagingError::System(doing, source) => Self::System { doing, source },
        }
    }
}

impl Receiver<'_> {
    /// Takes the parcel in. `report` gets the bytes that are in their place, and all.
    ///
    /// # Errors
    /// [`ReceiveError`]; what came is kept, and the next attempt goes on with it.
    pub fn run(&self, report: impl FnMut(Bytes, Bytes)) -> Result<Received, ReceiveError> {
        let note = self.source.whole(MANIFEST, LARGEST_MANIFEST)?;
        let envelope = Envelope::parse(&note).map_err(Distrust::from)?;
        let vouched = self.signers.judge(&envelope)?;
        let manifest = &vouched.manifest;
        let name = manifest.file.name.clone();
        // Whatever parcel of the same file it is, what has come is good for it.
        let key = manifest.file.sha256.to_string();
        let file = self.inbox.join(&name);
        if let Ok(there) = open_file(&file) {
            if !is_same(&there, &manifest.file) {
                return Err(ReceiveError::NameTaken { name });
            }
            let staging = Staging::open(self.inbox, &key)?;
            let later = staging.beside(&name).filter(|there| is_later(there, manifest));
            if let Some(ParcelManifest { product, sequence, .. }) = later {
                staging.remove();
                let found = format!("{product} {sequence}");
                return Err(ReceiveError::Older { name, found, sequence: manifest.sequence });
            }
            staging.lay_beside(&name, &note)?;
            staging.remove();
            let kept = manifest.file.size_bytes;
            return Ok(Received { vouched, file, loaded: Bytes(0), kept, copied: Bytes(0) });
        }
        // A link that leads nowhere, or what may not be read. Nothing is loaded for a name that is taken.
        if file.symlink_metadata().is_ok() {
            return Err(ReceiveError::NameTaken { name });
        }
        let data = self.source.whole(INDEX, Index::size(manifest))?;
        let index = Index::parse(&data, manifest)?;
        let staging = Staging::open(self.inbox, &key)?;
        let mut assembly = Assembly::new(self, manifest, &index, &staging.file);
        if staging.has_begun() {
            assembly.look()?;
        }
        staging.make_room(manifest.file.size_bytes)?;
        let whole = assembly.fill(report)?;
        let Counts { loaded, kept, copied } = assembly.counts;
        assembly.complete()?;
        if whole != manifest.file.sha256 {
            // Its pieces would be found right again and again.
            staging.remove();
            return Err(ReceiveError::Contradiction);
        }
        if !staging.deliver(&name, &note)? {
            return Err(ReceiveError::NameTaken { name });
        }
        Ok(Received { vouched, file, loaded, kept, copied })
    }
}

/// Where pieces came from, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    loaded: Bytes,
    kept: Bytes,
    copied: Bytes,
}

/// A part of a pack that is being read, from piece to piece.
struct Stream<'a> {
    number: u16,
    at: Bytes,
    end: Bytes,
    reader: Box<dyn Read + 'a>,
}

/// A file that is being put together.
struct Assembly<'a> {
    receiver: &'a Receiver<'a>,
    manifest: &'a ParcelManifest,
    index: &'a Index,
    offsets: Vec<Bytes>,
    file: &'a File,
    /// The pieces that are in their place.
    there: Vec<bool>,
    stream: Option<Stream<'a>>,
    /// How often in a row a pack has failed.
    failures: BTreeMap<u16, u32>,
    bases: BTreeMap<u16, Vec<File>>,
    /// The pieces that are not as they must be, and those that could not be had.
    damaged: BTreeSet<usize>,
    without_base: BTreeSet<usize>,
    missing: BTreeSet<usize>,
    cause: Option<String>,
    counts: Counts,
}

/// What became of a piece that was asked for.
enum Came {
    Piece(Vec<u8>),
    Damaged,
    Missing,
    NoBase,
}

impl<'a> Assembly<'a> {
    fn new(
        receiver: &'a Receiver<'a>,
        manifest: &'a ParcelManifest,
        index: &'a Index,
        file: &'a File,
    ) -> Self {
        Self {
            receiver,
            manifest,
            index,
            offsets: index.offsets(),
            file,
            there: vec![false; index.pieces().len()],
            stream: None,
            failures: BTreeMap::new(),
            bases: BTreeMap::new(),
            damaged: BTreeSet::new(),
            without_base: BTreeSet::new(),
            missing: BTreeSet::new(),
            cause: None,
            counts: Counts::default(),
        }
    }

    /// Finds out which pieces an earlier attempt has left.
    fn look(&mut self) -> Result<(), ReceiveError> {
        for (number, piece) in self.index.pieces().iter().enumerate() {
            let mut data = vec![0; piece.length.as_usize()];
            match self.file.read_exact_at(&mut data, self.offsets[number].0) {
                // The earlier attempt was cut before there was room.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                // What cannot be read back is written once more.
                Err(_) => continue,
                Ok(()) => {}
            }
            let hole = data.len() > HOLE && data.iter().all(|byte| *byte == 0);
            self.there[number] = !hole && Digest::of(&data) == piece.sha256;
        }
        Ok(())
    }

    /// Goes through the pieces in the order of the file; returns the digest of those that are there, one after the other.
    fn fill(&mut self, mut report: impl FnMut(Bytes, Bytes)) -> Result<Digest, ReceiveError> {
        let (whole, mut done) = (Whole::start(), Bytes(0));
        for (number, piece) in self.index.pieces().iter().enumerate() {
            let at = self.offsets[number];
            let data = if self.there[number] {
                let mut data = vec![0; piece.length.as_usize()];
                self.file.read_exact_at(&mut data, at.0).map_err(|source| {
                    ReceiveError::System { doing: "read what is there", source }
                })?;
                self.counts.kept += piece.length;
                data
            } else {
                let came = match piece.place {
                    Place::Pack { .. } => self.unpack(number, piece),
                    Place::Base { number: base, offset } => self.copy(base, offset, piece),
                };
                let data = match came {
                    Came::Piece(data) => data,
                    Came::Damaged => {
                        self.damaged.insert(number);
                        continue;
                    }
                    Came::Missing => {
                        self.missing.insert(number);
                        continue;
                    }
                    Came::NoBase => {
                        self.without_base.insert(number);
                        continue;
                    }
                };
                self.file.write_all_at(&data, at.0).map_err(|source| ReceiveError::System {
                    doing: "write to the inbox",
                    source,
                })?;
                match piece.place {
                    Place::Pack { .. } => self.counts.loaded += piece.length,
                    Place::Base { .. } => self.counts.copied += piece.length,
                }
                data
            };
            done += piece.length;
            whole.add(data);
            report(done, self.manifest.file.size_bytes);
        }
        // What has come must be there after a power cut: only then is nothing loaded twice.
        let synced = self.file.sync_data();
        synced.map_err(|source| ReceiveError::System { doing: "write to the inbox", source })?;
        Ok(whole.finish())
    }

    /// An error if any piece is not in its place.
    fn complete(self) -> Result<(), ReceiveError> {
        if let Some(first) = self.damaged.first() {
            let others = match self.damaged.len() - 1 {
                0 => String::new(),
                more => format!(", nor are {more} others"),
            };
            return Err(ReceiveError::Damaged { piece: self.index.name(*first), others });
        }
        if let Some(first) = self.without_base.first()
            && let Place::Base { number, .. } = self.index.pieces()[*first].place
            && let Some(base) = self.manifest.bases.get(usize::from(number))
        {
            let FileClaim { name, sha256, .. } = base.clone();
            let pieces = self.without_base.len();
            return Err(ReceiveError::BaseMissing { name, sha256, pieces });
        }
        let Some(first) = self.missing.first() else { return Ok(()) };
        Err(ReceiveError::Incomplete(Incomplete {
            pieces: self.missing.len(),
            bytes: self.missing.iter().map(|number| self.index.pieces()[*number].length).sum(),
            first: self.index.name(*first),
            cause: self.cause.unwrap_or_default(),
        }))
    }

    /// Reads a piece from a pack.
    fn unpack(&mut self, at: usize, piece: &Piece) -> Came {
        let Place::Pack { number, offset } = piece.place else { return Came::Missing };
        if self.failures.get(&number).is_some_and(|failures| *failures > PATIENCE) {
            return Came::Missing;
        }
        let read = self.stream_to(at, number, offset).and_then(|()| {
            let mut data = vec![0; piece.length.as_usize()];
            let stream = self.stream.as_mut();
            let stream =
                stream.ok_or_else(|| SourceError::Missing { name: pack(number.into()) })?;
            stream
                .reader
                .read_exact(&mut data)
                .map_err(|source| SourceError::Read { name: pack(number.into()), source })?;
            stream.at += piece.length;
            Ok(data)
        });
        match read {
            Ok(data) if Digest::of(&data) == piece.sha256 => {
                self.failures.remove(&number);
                Came::Piece(data)
            }
            Ok(_) => Came::Damaged,
            Err(error) => {
                self.stream = None;
                let failures = self.failures.entry(number).or_default();
                *failures += match &error {
                    SourceError::Missing { .. } | SourceError::NoFolder { .. } => PATIENCE + 1,
                    _ => 1,
                };
                let short = match &error {
                    SourceError::Read { source, .. } => {
                        source.kind() == io::ErrorKind::UnexpectedEof
                    }
                    _ => false,
                };
                let cause = match short {
                    true => format!("{} is shorter than it must be", pack(number.into())),
                    false => chain(&error),
                };
                self.cause.get_or_insert(cause);
                Came::Missing
            }
        }
    }

    /// Has a stream of this pack at this place, which goes on as long as pieces are missing one behind the other.
    fn stream_to(&mut self, at: usize, number: u16, offset: Bytes) -> Result<(), SourceError> {
        let ready = |stream: &Stream<'_>| {
            stream.number == number && stream.at == offset && stream.end > offset
        };
        if self.stream.as_ref().is_some_and(ready) {
            return Ok(());
        }
        let mut end = offset;
        for (piece, there) in self.index.pieces()[at..].iter().zip(&self.there[at..]) {
            match piece.place {
                Place::Pack { number: pack, offset } if pack == number => {
                    if *there || offset != end {
                        break;
                    }
                    end += piece.length;
                }
                // Pieces in bases may stand between them.
                Place::Base { .. } => {}
                Place::Pack { .. } => break,
            }
        }
        self.stream = None;
        let reader = self.receiver.source.part(&pack(number.into()), offset, end - offset)?;
        self.stream = Some(Stream { number, at: offset, end, reader });
        Ok(())
    }

    /// Reads a piece from other media in the inbox.
    fn copy(&mut self, number: u16, offset: Bytes, piece: &Piece) -> Came {
        let Some(base) = self.manifest.bases.get(usize::from(number)) else { return Came::NoBase };
        let inbox = self.receiver.inbox;
        let files = self.bases.entry(number).or_insert_with(|| candidates(inbox, base));
        for file in files {
            let mut data = vec![0; piece.length.as_usize()];
            let read = file.read_exact_at(&mut data, offset.0);
            if read.is_ok() && Digest::of(&data) == piece.sha256 {
                return Came::Piece(data);
            }
        }
        Came::NoBase
    }
}

/// The files in the inbox that may be this base, the one with its name first. Each piece is verified, so a wrong one does no
/// harm.
fn candidates(inbox: &Path, base: &FileClaim) -> Vec<File> {
    let entries = std::fs::read_dir(inbox).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort_by_key(|path| path.file_name().is_none_or(|name| name != base.name.as_str()));
    let fits = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == base.size_bytes.0)
    };
    paths.into_iter().filter(fits).filter_map(|path| open_file(&path).ok()).collect()
}
