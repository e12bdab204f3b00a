//! Packs media: reads the file once, cuts it, and writes a parcel that appears by a rename.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use rustix::fs::{FlockOperation, Mode, OFlags};
use signing::{Envelope, SecretKey};

use crate::cut::{Cut, WimError};
use crate::have::{Have, HaveError, HaveFile, Held};
use crate::index::{Index, Piece, Place};
use crate::source::{Folder, Source as _, SourceError, fresh_file, open_file};
use crate::trust::{Distrust, Signers};
use crate::whole::Whole;
use model::digest::Digest;
use model::hint::Hint;
use model::media::Stamp;
use model::parcel::{
    self, Described, FileClaim, INDEX, IndexClaim, LARGEST_MANIFEST, LARGEST_PIECE, MANIFEST,
    MANIFEST_TYPE, PackClaim, ParcelManifest, Product, is_media_name,
};
use model::units::Bytes;

/// What is to be packed, and what is to be signed about it.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Order<'a> {
    pub file: &'a Path,
    pub keys: &'a [SecretKey],
    pub product: Product,
    pub sequence: u64,
    pub version: Option<String>,
    pub not_before: Option<Date>,
    pub expires: Option<Date>,
    pub offer: Option<String>,
    /// What the receiver has.
    pub against: &'a Have,
    /// The folder that gets the parcel.
    pub to: &'a Path,
    /// No pack is longer.
    pub most_per_pack: Bytes,
    pub now: Timestamp,
    /// The program that packs.
    pub made_by: String,
}

/// A parcel that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Packed {
    pub folder: PathBuf,
    pub manifest: ParcelManifest,
    /// Size of all packs.
    pub packed: Bytes,
}

/// Why there is no parcel.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum PackError {
    #[error("{path}")]
    File {
        path: PathBuf,
        #[source]
        source: WimError,
    },
    #[error("{0} was changed while it was packed")]
    Changed(PathBuf),
    #[error("{0:?} is not a name that media can have in an inbox")]
    Name(String),
    #[error(transparent)]
    Have(#[from] HaveError),
    #[error("there is already a parcel {0}")]
    Exists(PathBuf),
    #[error("another program packs {0} now")]
    Busy(PathBuf),
    #[error("{0} is not a folder that a pack has left")]
    NotOurs(PathBuf),
    /// Whoever asked for the parcel does not want it any more.
    #[error("interrupted")]
    Interrupted,
    #[error("{path} needs room for {needed} bytes, and has {room}")]
    Room { path: PathBuf, needed: u64, room: u64 },
    #[error("the manifest would be wrong")]
    Manifest(#[from] parcel::ManifestError),
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Hint for PackError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::File { source: WimError::Part(..), .. } => {
                "pack the WIM before it is split; packs fit onto a FAT32 stick as they are"
            }
            Self::File { source: WimError::NotAWim(_), .. } => "name a prestaged WIM",
            Self::Name(_) => "give the file a plain name that ends in .wim",
            Self::Have(_) => "make it anew with `prestagectl media have --json`",
            Self::NotOurs(_) => "remove or rename it",
            Self::Exists(_) => "take it away, or pack into another folder",
            Self::Room { .. } => "make room, or pack into another folder",
            Self::Changed(_) => "pack it again when nobody writes to it",
            _ => return None,
        };
        Some(hint.into())
    }
}

/// By what a file is known to be unchanged.
fn stamp(file: &File) -> io::Result<Stamp> {
    Ok((&file.metadata()?).into())
}

/// A parcel whose packs are written, and that nobody has signed. It goes with this value.
#[derive(Debug)]
pub struct Unsigned<'a> {
    order: &'a Order<'a>,
    file: File,
    /// By what the file was known before it was read.
    before: Stamp,
    claim: FileClaim,
    cut: Cut,
    making: Making,
    /// What the parcel will be called.
    folder: PathBuf,
    pieces: Vec<Piece>,
    packs: Vec<PackClaim>,
}

impl<'a> Unsigned<'a> {
    /// Reads the media from end to end, and writes the packs. `report` gets the bytes that are done, and all, and says
    /// whether to go on.
    ///
    /// # Errors
    /// [`PackError`]; nothing is left then but what a program that was killed leaves, which the next one takes away.
    pub fn read(
        order: &'a Order<'a>,
        report: impl FnMut(Bytes, Bytes) -> ControlFlow<()>,
    ) -> Result<Self, PackError> {
        let path = order.file;
        let unreadable = |source: WimError| PackError::File { path: path.to_owned(), source };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_media_name(&name) {
            return Err(PackError::Name(name));
        }
        let file = open_file(path).map_err(|error| unreadable(error.into()))?;
        let before = stamp(&file).map_err(|error| unreadable(error.into()))?;
        let cut = Cut::of(&file).map_err(unreadable)?;
        let places = order.against.places()?;
        if places.is_empty() {
            check_room(order.to, cut.size)?;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = order.to.join(format!("{stem}{}", parcel::FOLDER));
        if fs::symlink_metadata(&folder).is_ok() {
            return Err(PackError::Exists(folder));
        }
        let making = Making::begin(order.to, &stem)?;
        let mut packer = Packer::new(&making.path, order.most_per_pack);
        let sha256 = read(&file, &cut, &places, &mut packer, report)
            .map_err(|error| error.of(path, &making.path))?;
        let (pieces, packs) = packer.finish().map_err(|source| writing(&making.path, source))?;
        let claim = FileClaim { name, sha256, size_bytes: cut.size };
        Ok(Self { order, file, before, claim, cut, making, folder, pieces, packs })
    }

    /// Signs what the media is and holds, and gives the parcel its name.
    ///
    /// # Errors
    /// [`PackError`]; nothing is left then.
    pub fn sign(self, described: Described) -> Result<Packed, PackError> {
        let Self { order, file, before, claim, cut, making, folder, pieces, packs } = self;
        let now = stamp(&file);
        let now = now.map_err(|error| PackError::File {
            path: order.file.to_owned(),
            source: error.into(),
        })?;
        let Described { contents, stamp: described } = described;
        // What the media holds was looked up by its name, which may have led elsewhere for a moment.
        if now != before || described.is_some_and(|described| described != before) {
            return Err(PackError::Changed(order.file.to_owned()));
        }
        let (pieces, bases) = needed_bases(pieces, &order.against.media);
        let index = Index::new(pieces);
        let bytes = index.to_bytes();
        let manifest = ParcelManifest {
            product: order.product.clone(),
            sequence: order.sequence,
            version: order.version.clone(),
            created: order.now,
            not_before: order.not_before,
            expires: order.expires,
            offer: order.offer.clone(),
            file: claim,
            guid: cut.header.guid,
            images: cut.header.images,
            contents,
            index: IndexClaim {
                sha256: Digest::of(&bytes),
                pieces: Bytes::of(index.pieces().len()).0,
            },
            packs,
            bases,
            made_by: order.made_by.clone(),
        };
        manifest.check()?;
        making.write(INDEX, &bytes)?;
        let payload = serde_json::to_vec(&manifest).unwrap_or_default();
        let envelope = Envelope::sign(MANIFEST_TYPE, &payload, order.keys).to_bytes();
        if Bytes::of(envelope.len()) > LARGEST_MANIFEST {
            return Err(parcel::ManifestError::Wrong("it is too long").into());
        }
        making.write(MANIFEST, &envelope)?;
        making.end(&folder)?;
        let packed = manifest.packs.iter().map(|pack| pack.size_bytes).sum();
        Ok(Packed { folder, manifest, packed })
    }
}

/// Adds signatures to a manifest, which is a file, or lies in the folder of a parcel; returns the manifest. Who signs vouches for what it says.
///
/// # Errors
/// [`SignError`]; the manifest is as it was then.
pub fn sign(place: &Path, keys: &[SecretKey]) -> Result<ParcelManifest, SignError> {
    let path = if place.is_dir() { place.join(MANIFEST) } else { place.to_owned() };
    let (folder, name) = (path.parent().unwrap_or(place), path.file_name().unwrap_or_default());
    let name = name.to_string_lossy();
    let data = Folder::new(folder).whole(&name, LARGEST_MANIFEST)?;
    let mut envelope = Envelope::parse(&data).map_err(Distrust::from)?;
    // Without signers nothing is asked for but that it is a manifest.
    let manifest = Signers::default().judge(&envelope)?.manifest;
    for key in keys {
        envelope.add(key).map_err(Distrust::from)?;
    }
    let new = folder.join(format!(".{name}"));
    let written = fresh_file(&new)
        .and_then(|mut file| file.write_all(&envelope.to_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, &path));
    written.map_err(|source| SignError::Write { path, source })?;
    Ok(manifest)
}

/// Why a parcel gets no further signature.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SignError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("this is no manifest")]
    Manifest(#[from] Distrust),
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn writing(path: &Path, source: io::Error) -> PackError {
    PackError::Write { path: path.to_owned(), source }
}

fn check_room(folder: &Path, needed: Bytes) -> Result<(), PackError> {
    let stat = rustix::fs::statvfs(folder).map_err(|error| writing(folder, error.into()))?;
    let room = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed.0 <= room {
        return Ok(());
    }
    Err(PackError::Room { path: folder.to_owned(), needed: needed.0, room })
}

/// A parcel under a hidden name, until it is complete. It goes with this value.
#[derive(Debug)]
struct Making {
    path: PathBuf,
    _lock: File,
    done: bool,
}

impl Making {
    fn begin(to: &Path, stem: &str) -> Result<Self, PackError> {
        let path = to.join(format!(".{stem}{}", parcel::FOLDER));
        let failed = |source| writing(&path, source);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
        // A link would lead to a folder of somebody's.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&path, flags, Mode::empty())
            .map(File::from)
            .map_err(|_| PackError::NotOurs(path.clone()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| PackError::Busy(path.clone()))?;
        // What a program has left that was killed; a folder with anything else is somebody's.
        let left = fs::read_dir(&path).map_err(failed)?;
        let left: Vec<PathBuf> =
            left.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>().map_err(failed)?;
        if !left.iter().all(|path| is_of_a_parcel(path)) {
            return Err(PackError::NotOurs(path));
        }
        for file in left {
            fs::remove_file(file).map_err(failed)?;
        }
        Ok(Self { path, _lock: lock, done: false })
    }

    fn write(&self, name: &str, data: &[u8]) -> Result<(), PackError> {
        let path = self.path.join(name);
        let mut file = File::create(&path).map_err(|source| writing(&path, source))?;
        let written = file.write_all(data).and_then(|()| file.sync_all());
        written.map_err(|source| writing(&path, source))
    }

    /// Gives it its name.
    fn end(mut self, folder: &Path) -> Result<(), PackError> {
        let renamed = File::open(&self.path)
            .and_then(|opened| opened.sync_all())
            .and_then(|()| fs::rename(&self.path, folder));
        renamed.map_err(|source| writing(folder, source))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            // What remains is taken away by the next pack.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether this is what a file of a parcel is called.
fn is_of_a_parcel(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.strip_prefix("pack.").filter(|number| number.parse::<u16>().is_ok());
    number.is_some() || [MANIFEST, INDEX].contains(&&*name)
}

/// What went wrong where, while file and packs were open.
enum Trouble {
    Reading(io::Error),
    Writing(io::Error),
    Interrupted,
}

impl Trouble {
    fn of(self, read: &Path, written: &Path) -> PackError {
        match self {
            Self::Reading(error) => PackError::File { path: read.to_owned(), source: error.into() },
            Self::Writing(error) => writing(written, error),
            Self::Interrupted => PackError::Interrupted,
        }
    }
}

/// Reads the file from its first byte to its last; returns its digest.
fn read(
    file: &File,
    cut: &Cut,
    places: &HashMap<Digest, Held>,
    packer: &mut Packer,
    mut report: impl FnMut(Bytes, Bytes) -> ControlFlow<()>,
) -> Result<Digest, Trouble> {
    let whole = Whole::start();
    let mut at = Bytes(0);
    for end in &cut.ends {
        let mut segment = vec![0; (*end - at).as_usize()];
        file.read_exact_at(&mut segment, at.0).map_err(Trouble::Reading)?;
        // Nothing is hashed for a receiver that has nothing.
        let held = match places.is_empty() {
            true => None,
            false => places.get(&Digest::of(&segment)).copied(),
        };
        packer.add(&segment, held).map_err(Trouble::Writing)?;
        whole.add(segment);
        at = *end;
        if report(at, cut.size).is_break() {
            return Err(Trouble::Interrupted);
        }
    }
    Ok(whole.finish())
}

/// Makes pieces of segments, and packs of pieces. Segments that stand one behind the other become one piece while it is
/// short enough: those that are sent, and those that the receiver has one behind the other.
struct Packer {
    folder: PathBuf,
    most: Bytes,
    pieces: Vec<Piece>,
    packs: Vec<PackClaim>,
    pack: Option<File>,
    /// The piece that is being made, and where the receiver has it.
    piece: Vec<u8>,
    held: Option<Held>,
}

impl Packer {
    fn new(folder: &Path, most: Bytes) -> Self {
        let folder = folder.to_owned();
        let (pieces, packs) = (Vec::new(), Vec::new());
        Self { folder, most, pieces, packs, pack: None, piece: Vec::new(), held: None }
    }

    fn add(&mut self, segment: &[u8], held: Option<Held>) -> io::Result<()> {
        let length = Bytes::of(self.piece.len());
        let follows = match (self.held, held) {
            (None, None) => true,
            (Some(begin), Some(next)) => {
                begin.base == next.base && begin.offset.saturating_add(length) == next.offset
            }
            _ => false,
        };
        let fits = length.saturating_add(Bytes::of(segment.len())) <= LARGEST_PIECE;
        if !(follows && fits) {
            self.end_piece()?;
        }
        if self.piece.is_empty() {
            self.held = held;
        }
        self.piece.extend_from_slice(segment);
        Ok(())
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let length = Bytes::of(self.piece.len());
        let place = match self.held {
            Some(Held { base, offset }) => Place::Base { number: base, offset },
            None => {
                let full = self
                    .packs
                    .last()
                    .is_none_or(|pack| pack.size_bytes.saturating_add(length) > self.most);
                if full {
                    self.end_pack()?;
                    let path = self.folder.join(parcel::pack(self.packs.len()));
                    self.pack = Some(File::create(path)?);
                    self.packs.push(PackClaim { size_bytes: Bytes(0) });
                }
                if let Some(pack) = &mut self.pack {
                    pack.write_all(&self.piece)?;
                }
                let number = u16::try_from(self.packs.len() - 1).unwrap_or(u16::MAX);
                let size = self.packs.last_mut().map(|pack| &mut pack.size_bytes);
                let offset = size.map_or(Bytes(0), |size| mem::replace(size, *size + length));
                Place::Pack { number, offset }
            }
        };
        self.pieces.push(Piece { length, sha256: Digest::of(&self.piece), place });
        self.piece.clear();
        Ok(())
    }

    fn end_pack(&mut self) -> io::Result<()> {
        self.pack.take().map_or(Ok(()), |pack| pack.sync_all())
    }

    fn finish(mut self) -> io::Result<(Vec<Piece>, Vec<PackClaim>)> {
        self.end_piece()?;
        self.end_pack()?;
        Ok((self.pieces, self.packs))
    }
}

/// Numbers the bases anew, so that only those that are needed are named.
fn needed_bases(mut pieces: Vec<Piece>, have: &[HaveFile]) -> (Vec<Piece>, Vec<FileClaim>) {
    let mut bases = Vec::new();
    let mut numbers = HashMap::new();
    for piece in &mut pieces {
        let Place::Base { number, .. } = &mut piece.place else { continue };
        let Some(file) = have.get(usize::from(*number)) else { continue };
        *number = *numbers.entry(*number).or_insert_with(|| {
            let HaveFile { name, sha256, size_bytes, .. } = file.clone();
            bases.push(FileClaim { name, sha256, size_bytes });
            u16::try_from(bases.len() - 1).unwrap_or(u16::MAX)
        });
    }
    (pieces, bases)
}
