//! A drive with faults: a file in a FUSE file system under a loop device. The test changes the faults while the station
//! uses the drive.

use std::ffi::OsStr;
use std::fs::File;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{Drive, Rig, fill_with_noise, wait_for};

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Writes that cover this byte fail.
    pub(crate) write_error_at: Option<u64>,
    /// Reads that cover this byte fail.
    pub(crate) read_error_at: Option<u64>,
    /// This byte is stored with one bit flipped.
    pub(crate) flip_at: Option<u64>,
    /// How many writes of that byte are flipped; all if `None`.
    pub(crate) flips: Option<u32>,
    /// Writes that begin in this range are acknowledged and forgotten.
    pub(crate) forget: Option<(u64, u64)>,
    /// The medium ends here, before the drive's claimed end: what lies beyond is written to its beginning.
    pub(crate) wraps_at: Option<u64>,
    /// Requests that cover this byte are not answered until the fault is taken away.
    pub(crate) hangs_at: Option<u64>,
    /// Discards are acknowledged and forgotten; else they are refused.
    pub(crate) ignores_discards: bool,
    /// A bit of each byte in this range flips when a partition table is written to the drive's start.
    pub(crate) spoilt_by_table: Option<(u64, u64)>,
    /// Every access takes this much longer.
    pub(crate) delay: Duration,
}

const FILE: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(3600);

struct FaultyFile {
    name: String,
    file: File,
    size: u64,
    faults: Arc<Mutex<Faults>>,
    /// Whether a request has met `hangs_at`.
    hangs: Arc<AtomicBool>,
    reads: Arc<Mutex<Vec<Range<u64>>>>,
}

impl FaultyFile {
    /// Does what a partition table at the start makes this drive do.
    fn spoil(&self, (start, end): (u64, u64)) {
        let mut data = vec![0; usize::try_from(end - start).unwrap()];
        self.file.read_exact_at(&mut data, start).unwrap();
        data.iter_mut().for_each(|byte| *byte ^= 1);
        self.file.write_all_at(&data, start).unwrap();
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        FileAttr {
            ino: inode,
            size: if is_file { self.size } else { 0 },
            blocks: self.size / 512,
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// Waits until a request may be answered; returns the faults that it meets.
    fn faults(&self, offset: u64, length: usize) -> Faults {
        loop {
            let faults = self.faults.lock().unwrap().clone();
            if !covers(offset, length, faults.hangs_at) {
                std::thread::sleep(faults.delay);
                return faults;
            }
            self.hangs.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether this write is one of those that are flipped.
    fn flips(&self) -> bool {
        match &mut self.faults.lock().unwrap().flips {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    /// The pieces of the real medium behind a range: offset on it, start and end in the range.
    fn pieces(offset: u64, length: usize, wraps_at: Option<u64>) -> Vec<(u64, usize, usize)> {
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < length {
            let at = offset + u64::try_from(done).unwrap();
            let (place, left) = match wraps_at {
                Some(end) => (at % end, usize::try_from(end - at % end).unwrap()),
                None => (at, length - done),
            };
            let count = left.min(length - done);
            pieces.push((place, done, done + count));
            done += count;
        }
        pieces
    }
}

fn covers(offset: u64, length: usize, at: Option<u64>) -> bool {
    at.is_some_and(|at| offset <= at && at < offset + u64::try_from(length).unwrap())
}

impl Filesystem for FaultyFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == OsStr::new(&self.name) {
            reply.entry(&FOREVER, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut data = vec![0; usize::try_from(size).unwrap()];
        self.reads.lock().unwrap().push(offset..offset + u64::from(size));
        let faults = self.faults(offset, data.len());
        if covers(offset, data.len(), faults.read_error_at) {
            return reply.error(Errno::EIO);
        }
        for (place, start, end) in Self::pieces(offset, data.len(), faults.wraps_at) {
            if self.file.read_exact_at(&mut data[start..end], place).is_err() {
                return reply.error(Errno::EIO);
            }
        }
        reply.data(&data);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let faults = self.faults(offset, data.len());
        if covers(offset, data.len(), faults.write_error_at) {
            return reply.error(Errno::EIO);
        }
        let count = u32::try_from(data.len()).unwrap();
        if faults.forget.is_some_and(|(start, end)| start <= offset && offset < end) {
            return reply.written(count);
        }
        let mut data = data.to_vec();
        if let Some(at) = faults.flip_at
            && covers(offset, data.len(), Some(at))
            && self.flips()
        {
            data[usize::try_from(at - offset).unwrap()] ^= 1;
        }
        for (place, start, end) in Self::pieces(offset, data.len(), faults.wraps_at) {
            if self.file.write_all_at(&data[start..end], place).is_err() {
                return reply.error(Errno::EIO);
            }
        }
        if offset == 0 && data.get(512..520) == Some(b"EFI PART") {
            faults.spoilt_by_table.into_iter().for_each(|range| self.spoil(range));
        }
        reply.written(count);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        let length = usize::try_from(length).unwrap();
        if self.faults(offset, length).ignores_discards {
            reply.ok();
        } else {
            // ENOSYS would be remembered by the kernel, whatever the faults are later.
            reply.error(Errno::EOPNOTSUPP);
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// A byte in the first mebibyte of the Windows volume behind its boot sector: erased, and then written with the body.
pub(crate) const BODY_BYTE: u64 = ((1 + 40 + 16) << 20) + 20_000;

/// The faults of a drive that is only slow: every access takes this much longer.
pub(crate) fn slow(milliseconds: u64) -> Faults {
    Faults { delay: Duration::from_millis(milliseconds), ..Faults::default() }
}

/// A drive with faults. It is dropped after the rig: a daemon that still uses it could not end.
pub(crate) struct FaultyDrive {
    /// The loop device; empty only while it is dropped.
    drive: Option<Drive>,
    faults: Arc<Mutex<Faults>>,
    hangs: Arc<AtomicBool>,
    reads: Arc<Mutex<Vec<Range<u64>>>>,
    session: Option<BackgroundSession>,
    folder: PathBuf,
}

impl Deref for FaultyDrive {
    type Target = Drive;

    fn deref(&self) -> &Drive {
        self.drive.as_ref().unwrap()
    }
}

impl FaultyDrive {
    /// A drive full of noise, not attached yet.
    pub(crate) fn new(rig: &Rig, name: &str, mib: u64, faults: Faults) -> Self {
        let serial = format!("{}{name}", rig.name);
        Self::make(serial, mib << 20, faults, &|inner| fill_with_noise(inner, mib << 20))
    }

    /// A drive of zeros that takes no room, for no station.
    pub(crate) fn empty(name: &str, size: u64) -> Self {
        let serial = format!("empty{}{name}", std::process::id());
        let make = |inner: &Path| File::create(inner).unwrap().set_len(size).unwrap();
        Self::make(serial, size, Faults::default(), &make)
    }

    fn make(serial: String, size: u64, faults: Faults, fill: &dyn Fn(&Path)) -> Self {
        let folder = std::env::temp_dir().join(format!("prestaged-fuse-{serial}"));
        let mount = folder.join("mount");
        std::fs::create_dir_all(&mount).unwrap();
        let inner = folder.join("inner");
        fill(&inner);
        let file = File::options().read(true).write(true).open(&inner).unwrap();
        let faults = Arc::new(Mutex::new(faults));
        let name = format!("{serial}.img");
        let drive = Some(Drive::new(serial, mount.join(&name)));
        let hangs = Arc::new(AtomicBool::new(false));
        let reads = Arc::default();
        let filesystem = FaultyFile {
            name,
            file,
            size,
            faults: Arc::clone(&faults),
            hangs: Arc::clone(&hangs),
            reads: Arc::clone(&reads),
        };
        let mut options = Config::default();
        options.mount_options = vec![MountOption::FSName("faulty".into())];
        let session = fuser::spawn_mount2(filesystem, &mount, &options).unwrap();
        Self { drive, faults, hangs, reads, session: Some(session), folder }
    }

    /// The same drive full of zeros; to be called before it is attached.
    pub(crate) fn blank(self) -> Self {
        let inner = File::options().write(true).open(self.folder.join("inner")).unwrap();
        let size = inner.metadata().unwrap().len();
        inner.set_len(0).and_then(|()| inner.set_len(size)).unwrap();
        self
    }

    /// Waits until a request has met `hangs_at`.
    pub(crate) fn wait_hangs(&self) {
        wait_for(&format!("a request of {} to hang", self.serial), || {
            self.hangs.load(Ordering::Relaxed).then_some(())
        });
    }

    /// Which bytes of it were read since it was asked last.
    pub(crate) fn reads(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    /// Changes what the medium holds, as a former owner does.
    pub(crate) fn plant(&self, offset: u64, data: &[u8]) {
        let inner = File::options().write(true).open(self.folder.join("inner")).unwrap();
        inner.write_all_at(data, offset).unwrap();
    }

    /// Reads what the medium holds at a place.
    pub(crate) fn holds(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        File::open(self.folder.join("inner")).unwrap().read_exact_at(&mut data, offset).unwrap();
        data
    }

    /// Replaces the faults.
    pub(crate) fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }
}

impl Drop for FaultyDrive {
    fn drop(&mut self) {
        self.set(Faults::default());
        drop(self.drive.take());
        // The loop device lets go of the file a moment after its last user has let go of the device.
        let mount = self.folder.join("mount");
        let unmounted = || {
            let status = Command::new("umount").arg(&mount).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let start = Instant::now();
        while !unmounted() {
            if start.elapsed() > Duration::from_secs(10) {
                let _ = Command::new("umount").arg("--lazy").arg(&mount).status();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.session.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
