//! The only module that opens a drive for writing.
//!
//! A [`Claim`] is a drive that admission let pass, opened exclusively and found to be the very device that was
//! judged. Every write goes through one. Reads and writes use O_DIRECT: what is read back comes from
//! the medium, not from memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use model::admission::Admitted;
use model::drive::{DeviceNumber, Drive, Geometry};
use model::ranges::Range;
use model::units::Bytes;
use parking_lot::Mutex;
use rustix::fs::{Advice, FlockOperation, OFlags, fadvise, flock, major, minor};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::medium::Medium;
use crate::sys;

/// A drive that could not be claimed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It cannot be opened, or not exclusively.
    #[error("cannot open {node} exclusively; something else uses it")]
    Open {
        /// Device node.
        node: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is there now is not what was judged.
    #[error("{node} is not the drive that was admitted any more: {what}")]
    Changed {
        /// Device node.
        node: PathBuf,
        /// What is different.
        what: String,
    },
    /// The kernel holds it read-only.
    #[error("{0} is read-only")]
    ReadOnly(PathBuf),
}

/// Why an access to a drive failed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The drive is gone: pulled, replaced, or its capacity has dropped.
    #[error("the drive is gone: {0}")]
    Gone(String),
    /// The medium or the bus failed.
    #[error("{range}")]
    Io {
        /// Where.
        range: Range,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
}

/// How long udevd may take to look at a drive before something else must be holding it.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How long the kernel may take to take a drive away whose requests it fails already. On a machine that is busy
/// otherwise, half a second was seen (a SCSI drive, pulled).
const LEAVING: Duration = Duration::from_secs(2);

/// Locks the drive against udevd. While udevd probes a drive it holds a shared lock itself, so the first attempt may
/// fail on a drive that nobody uses.
fn lock(file: &File) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_PATIENCE => {
                thread::park_timeout(Duration::from_millis(20));
            }
            other => return Ok(other?),
        }
    }
}

/// Tracks a drive's outstanding requests, so that the station can see one that never returns: a thread that is stuck in
/// the kernel cannot tell.
#[derive(Clone, Debug, Default)]
pub struct IoClock(Arc<Mutex<Vec<Instant>>>);

impl IoClock {
    /// How long the oldest request has taken so far; `None` between requests.
    pub fn waiting(&self) -> Option<Duration> {
        self.0.lock().iter().min().map(Instant::elapsed)
    }

    fn during<T>(&self, request: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        self.0.lock().push(start);
        let done = request();
        let mut running = self.0.lock();
        if let Some(at) = running.iter().position(|other| *other == start) {
            running.swap_remove(at);
        }
        done
    }
}

/// Exclusive hold of one drive.
#[derive(Debug)]
pub struct Claim {
    file: File,
    clock: IoClock,
    drive: Drive,
    geometry: Geometry,
    /// Whether reads certainly come from the medium.
    uncached: bool,
}

impl Claim {
    /// Opens the drive exclusively, locks it against udevd (systemd's block device locking rule), and checks on
    /// the open file that it is what admission saw: device number, attachment count, size, sector
    /// size, writability.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was written.
    pub fn take(admitted: Admitted, clock: &IoClock) -> Result<Self, ClaimError> {
        clock.during(|| Self::open(admitted, clock.clone()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that opens a drive for writing: one that admission has let pass"
    )]
    fn open(admitted: Admitted, clock: IoClock) -> Result<Self, ClaimError> {
        let (drive, geometry) = admitted.into_parts();
        let node = drive.node.clone();
        let open = |source| ClaimError::Open { node: node.clone(), source };
        let flags = OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&drive.node)
            .map_err(|error| {
                if error.raw_os_error() == Some(libc::EROFS) {
                    ClaimError::ReadOnly(node.clone())
                } else {
                    open(error)
                }
            })?;
        lock(&file).map_err(open)?;
        let meta = file.metadata().map_err(open)?;
        let number = DeviceNumber { major: major(meta.rdev()), minor: minor(meta.rdev()) };
        let claim = Self { file, clock, geometry, uncached: true, drive };
        let changed = |what: String| ClaimError::Changed { node: node.clone(), what };
        if !meta.file_type().is_block_device() || number != claim.drive.number {
            return Err(changed(format!("it is device {number} now, not {}", claim.drive.number)));
        }
        claim.check_present().map_err(|error| changed(error.to_string()))?;
        let sector = rustix::fs::ioctl_blksszget(&claim.file).map_err(|e| open(e.into()))?;
        if sector != u32::from(geometry.sector) {
            return Err(changed(format!("its sectors have {sector} bytes now")));
        }
        if sys::is_read_only(&claim.file).map_err(|e| open(e.into()))? {
            return Err(ClaimError::ReadOnly(node));
        }
        Ok(claim.with_direct_loop())
    }

    /// A loop device answers O_DIRECT reads from the page cache of its backing file unless it uses direct I/O
    /// itself; then a read-back proves nothing.
    fn with_direct_loop(mut self) -> Self {
        if self.drive.bus.is_loop() {
            self.uncached = sys::set_loop_direct_io(&self.file).is_ok();
        }
        self
    }

    /// Counts something else as a request of the drive, because it may hang as one.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.clock.during(work)
    }

    /// Why an access has failed. The kernel fails requests of a drive that was pulled before it takes the drive away, so a
    /// drive that is still there is looked at for a while.
    fn failed(&self, range: Range, source: io::Error) -> AccessError {
        let start = Instant::now();
        loop {
            if let Err(gone) = self.check_present() {
                return gone;
            }
            if start.elapsed() >= LEAVING {
                return AccessError::Io { range, source };
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Medium for Claim {
    fn drive(&self) -> &Drive {
        &self.drive
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// False for a loop device whose backing file system has no direct I/O.
    fn reads_the_medium(&self) -> bool {
        self.uncached
    }

    fn write(&self, offset: Bytes, data: &Buffer) -> Result<(), AccessError> {
        let written = self.clock.during(|| self.file.write_all_at(data, offset.0));
        written.map_err(|source| self.failed(Range::at(offset, Bytes::of(data.len())), source))
    }

    fn read(&self, offset: Bytes, data: &mut Buffer) -> Result<(), AccessError> {
        let range = Range::at(offset, Bytes::of(data.len()));
        let read = self.clock.during(|| self.file.read_exact_at(data, offset.0));
        read.map_err(|source| self.failed(range, source))
    }

    fn flush(&self) -> Result<(), AccessError> {
        let flushed = self.clock.during(|| self.file.sync_all());
        flushed.map_err(|source| self.failed(Range::new(Bytes(0), self.geometry.size), source))
    }

    fn discard(&self, range: Range) -> bool {
        self.clock.during(|| sys::discard(&self.file, range.start, range.length()).is_ok())
    }

    /// A pulled drive often reports "no space" rather than an I/O error, because its capacity has dropped to 0.
    fn check_present(&self) -> Result<(), AccessError> {
        let gone = |what: String| Err(AccessError::Gone(what));
        match sys::diskseq(&self.file) {
            Ok(now) if now != self.drive.diskseq.0 && self.drive.diskseq.0 != 0 => {
                return gone(format!("attachment {now} instead of {}", self.drive.diskseq.0));
            }
            Err(error) if self.drive.diskseq.0 != 0 => return gone(error.to_string()),
            _ => {}
        }
        match sys::size(&self.file) {
            Ok(now) if now == self.geometry.size => {}
            Ok(now) => {
                return gone(format!("{} bytes instead of {}", now.0, self.geometry.size.0));
            }
            Err(error) => return gone(error.to_string()),
        }
        if self.drive.bus.is_loop() {
            // A loop device that is detached while in use stays until its last user closes it; the flag is the
            // only sign.
            let flag = format!("/sys/block/{}/loop/autoclear", self.drive.name);
            match std::fs::read_to_string(flag) {
                Ok(flag) if flag.trim() == "0" => {}
                _ => return gone("detached".into()),
            }
        }
        Ok(())
    }

    fn drop_cache(&self) {
        let _ = self.clock.during(|| fadvise(&self.file, 0, None, Advice::DontNeed));
    }
}
