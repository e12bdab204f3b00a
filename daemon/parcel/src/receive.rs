//! Takes a parcel in: each piece is verified alone and written to its place. What is there already, from an attempt that was
//! cut, is verified again and not loaded twice. The file is in the inbox only when all of it is what the manifest says.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub use error::{Incomplete, ReceiveError};
use signing::Envelope;

use crate::index::{Index, Piece, Place};
use crate::source::{Source, SourceError, open_file};
use crate::staging::{Staging, is_later};
use crate::trust::{Distrust, Signers, Vouched};
use crate::whole::{Whole, is_same};
use model::digest::Digest;
use model::failure::chain;
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
            if let Some(error) = self.keeps(&staging, manifest) {
                staging.remove();
                return Err(error);
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

impl Receiver<'_> {
    /// Why the manifest beside media that is in the inbox stays, if somebody who counts has signed it: it is that of another
    /// product, or later than this one.
    fn keeps(&self, staging: &Staging, manifest: &ParcelManifest) -> Option<ReceiveError> {
        let name = manifest.file.name.clone();
        let there = self.signers.judge(&staging.beside(&name)?).ok()?.manifest;
        if there.file.sha256 != manifest.file.sha256 {
            return None;
        }
        let ParcelManifest { product, sequence, created, .. } = &there;
        let found = format!("{product} {sequence}, signed at {created:.0}");
        if *product != manifest.product {
            let product = manifest.product.clone();
            return Some(ReceiveError::OtherProduct { name, found, product });
        }
        is_later(&there, manifest).then_some(ReceiveError::Older { name, found })
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
