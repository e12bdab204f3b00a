//! The folder in an inbox in which parcels are put together, hidden from whoever looks for media. Many may write to an
//! inbox, so everything is reached through open folders that only their owner can change.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use model::parcel::{BESIDE, LARGEST_MANIFEST, ParcelManifest};
use model::units::Bytes;
use signing::Envelope;

/// The file that is being put together.
const FILE: &str = "file";
/// Its manifest, before it lies beside the media.
const NOTE: &str = "manifest";

/// The place of one parcel.
#[derive(Debug)]
pub(crate) struct Staging {
    inbox: OwnedFd,
    /// The folder of all parcels of this user, and the one of this parcel in it.
    own: (OwnedFd, String),
    folder: (OwnedFd, String),
    pub(crate) file: File,
}

/// Why there is no place.
#[derive(Debug)]
pub(crate) enum StagingError {
    /// Another program takes in the same parcel.
    Busy,
    Room {
        needed: Bytes,
        room: Bytes,
    },
    /// The folder belongs to somebody else.
    Foreign(String),
    System(&'static str, io::Error),
}

type Result<T> = std::result::Result<T, StagingError>;

fn system(doing: &'static str) -> impl Fn(Errno) -> StagingError {
    move |error| StagingError::System(doing, error.into())
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Staging {
    /// Opens the place of the parcel with this key, and makes it where there is none. The file in it is as an earlier
    /// attempt has left it.
    pub(crate) fn open(inbox: &Path, key: &str) -> Result<Self> {
        let failed = system("open the inbox");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inbox = rustix::fs::open(inbox, flags, Mode::empty()).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        let name = format!(".receiving-{user}");
        let own = subfolder(&inbox, &name, user)?;
        let folder = subfolder(&own, key, user)?;
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StagingError::Busy)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&folder, FILE, flags, mode).map_err(system("make a file"))?;
        let file = File::from(file);
        Ok(Self { inbox, own: (own, name), folder: (folder, key.to_owned()), file })
    }

    /// Whether an earlier attempt has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.len() > 0)
    }

    /// Takes up room for the whole file, if there is enough.
    pub(crate) fn make_room(&self, size: Bytes) -> Result<()> {
        let failed = system("make room");
        let stat = rustix::fs::fstat(&self.file).map_err(&failed)?;
        let taken = Bytes(u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512));
        let system = rustix::fs::fstatvfs(&self.file).map_err(&failed)?;
        let room = Bytes(system.f_bavail.saturating_mul(system.f_frsize));
        let needed = size.saturating_sub(taken);
        if needed > room {
            return Err(StagingError::Room { needed, room });
        }
        if size > Bytes(0) {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size.0) {
                Err(Errno::NOSPC) => return Err(StagingError::Room { needed, room }),
                // Not every file system can take up room ahead.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                done => done.map_err(&failed)?,
            }
        }
        self.file.set_len(size.0).map_err(|error| StagingError::System("make room", error))
    }

    /// Puts the complete file into the inbox, and its manifest before it. A file of this name that is there meanwhile stays.
    pub(crate) fn deliver(self, name: &str, manifest: &[u8]) -> Result<bool> {
        let failed = |doing| move |error| StagingError::System(doing, error);
        let readable = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        rustix::fs::fchmod(&self.file, readable).map_err(system("make it readable"))?;
        self.file.sync_all().map_err(failed("write the file"))?;
        let folder = &self.folder.0;
        // Nor does it get a manifest: that would stand beside something else.
        if self.is_taken(name) {
            return Ok(false);
        }
        self.lay_beside(name, manifest)?;
        let renamed = match rustix::fs::renameat_with(
            folder,
            FILE,
            &self.inbox,
            name,
            RenameFlags::NOREPLACE,
        ) {
            Err(Errno::INVAL | Errno::NOSYS) => match self.is_taken(name) {
                false => rustix::fs::renameat(folder, FILE, &self.inbox, name),
                true => Err(Errno::EXIST),
            },
            renamed => renamed,
        };
        match renamed {
            Err(Errno::EXIST) => return Ok(false),
            renamed => renamed.map_err(system("put it into the inbox"))?,
        }
        rustix::fs::fsync(&self.inbox).map_err(system("put it into the inbox"))?;
        self.remove();
        Ok(true)
    }

    /// Whether there is anything of this name in the inbox, be it a link that leads nowhere.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        let found = rustix::fs::statat(&self.inbox, name, AtFlags::SYMLINK_NOFOLLOW);
        !matches!(found, Err(Errno::NOENT))
    }

    /// Lays a manifest beside media.
    pub(crate) fn lay_beside(&self, name: &str, manifest: &[u8]) -> Result<()> {
        let folder = &self.folder.0;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let readable = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let note = rustix::fs::openat(folder, NOTE, flags, readable)
            .map_err(system("write the manifest"))?;
        rustix::fs::fchmod(&note, readable).map_err(system("write the manifest"))?;
        let mut note = File::from(note);
        let written = note.write_all(manifest).and_then(|()| note.sync_all());
        written.map_err(|error| StagingError::System("write the manifest", error))?;
        rustix::fs::renameat(folder, NOTE, &self.inbox, format!("{name}{BESIDE}"))
            .map_err(system("lay the manifest beside it"))
    }

    /// The manifest beside media of this name, whoever has signed it; `None` if there is none, or none that can be read.
    pub(crate) fn beside(&self, name: &str) -> Option<Envelope> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let note = rustix::fs::openat(&self.inbox, format!("{name}{BESIDE}"), flags, Mode::empty());
        let note = File::from(note.ok()?);
        if !note.metadata().is_ok_and(|meta| meta.is_file()) {
            return None;
        }
        let mut bytes = Vec::new();
        note.take(LARGEST_MANIFEST.0).read_to_end(&mut bytes).ok()?;
        Envelope::parse(&bytes).ok()
    }

    /// Takes the place away. What cannot be removed stays, hidden.
    pub(crate) fn remove(self) {
        let (own, folder) = (&self.own, &self.folder);
        for name in [FILE, NOTE] {
            let _ = rustix::fs::unlinkat(&folder.0, name, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(&own.0, &folder.1, AtFlags::REMOVEDIR);
        // Fails while others of this user are under way.
        let _ = rustix::fs::unlinkat(&self.inbox, &own.1, AtFlags::REMOVEDIR);
    }
}

/// Opens a folder that belongs to this user alone, and makes it where there is none.
fn subfolder(at: &OwnedFd, name: &str, user: u32) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(at, name, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => made.map_err(system("make a folder in the inbox"))?,
    }
    let opened = rustix::fs::openat(at, name, DIRECTORY, Mode::empty());
    let folder = match opened {
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(StagingError::Foreign(name.to_owned())),
        opened => opened.map_err(system("open a folder in the inbox"))?,
    };
    let stat = rustix::fs::fstat(&folder).map_err(system("query a folder in the inbox"))?;
    let closed = stat.st_uid == user && Mode::from_raw_mode(stat.st_mode).bits() & 0o022 == 0;
    if closed { Ok(folder) } else { Err(StagingError::Foreign(name.to_owned())) }
}

/// Whether a manifest that lies beside the media is of the same product, and later.
pub(crate) fn is_later(there: &ParcelManifest, than: &ParcelManifest) -> bool {
    let order = |manifest: &ParcelManifest| (manifest.sequence, manifest.created);
    there.product == than.product && order(there) > order(than)
}
