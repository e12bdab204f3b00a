//! The only module that opens a drive for writing.
//!
//! A [`Claim`] is a drive that admission let pass, opened exclusively and found to be the very device that was judged.
//! Every write goes through a claim. Reads and writes use O_DIRECT: the bytes read back come from the medium, not from
//! memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use model::admission::Admitted;
use model::drive::{DeviceNumber, Drive, Geometry};
use model::hint::Hint;
use model::ranges::Range;
use model::units::Bytes;
use parking_lot::Mutex;
use rustix::fs::{Advice, FlockOperation, OFlags, fadvise, flock, major, minor};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::content::{self, View};
use crate::medium::{AccessError, Foreign, Medium};
use crate::sys;
use crate::tally::Tally;

/// A drive that could not be claimed. Nothing was written to it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClaimError {
    /// Something else holds it.
    #[error("{0} is held exclusively by something else")]
    Held(PathBuf),
    /// Something else has locked it: udevd's protocol for whoever changes a drive.
    #[error("{0} is locked (flock) by another program")]
    Locked(PathBuf),
    /// The job was told to stop while it waited for somebody to let go.
    #[error("told to stop while {0} was waited for")]
    Stopped(PathBuf),
    #[error("cannot open {node} exclusively")]
    Open {
        node: PathBuf,
        #[source]
        source: io::Error,
    },
    /// `what` says how the device differs from the one that was judged.
    #[error("{node} is not the drive that was admitted any more: {what}")]
    Changed { node: PathBuf, what: String },
    /// The kernel holds the device read-only.
    #[error("{0} is read-only")]
    ReadOnly(PathBuf),
}

impl Hint for ClaimError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Held(node) | Self::Locked(node) => {
                let node = node.display();
                Some(format!(
                    "end what uses the drive (`lsblk {node}`, `fuser -v {node}`) and retry it"
                ))
            }
            Self::ReadOnly(_) => {
                Some("remove the drive's write protection and attach it again".into())
            }
            Self::Open { .. } | Self::Changed { .. } | Self::Stopped(_) => None,
        }
    }
}

/// How long a drive that was just plugged in may be held or locked by who looks at it: udevd, mdadm, fsck, udisks. Who has
/// it for longer uses it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the kernel may take to remove a drive after it began to fail the drive's requests. Half a second was seen
/// on a busy machine (a SCSI drive, pulled).
const LEAVING: Duration = Duration::from_secs(2);

/// Makes `attempt`s until nobody is in the way any more: the exclusive open fails with the first of the errors, udevd's
/// lock with the second (open(2), flock(2)). `None` if it was told not to go on. Waiting is no request to the drive.
fn patiently<T>(
    clock: &IoClock,
    go_on: &dyn Fn() -> bool,
    attempt: impl Fn() -> io::Result<T>,
) -> Option<io::Result<T>> {
    let start = Instant::now();
    while go_on() {
        match clock.during(&attempt) {
            Err(error) if is_in_the_way(&error) && start.elapsed() < PATIENCE => {
                thread::park_timeout(Duration::from_millis(20));
            }
            other => return Some(other),
        }
    }
    None
}

fn is_in_the_way(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::BUSY | Errno::WOULDBLOCK))
}

/// Tracks a drive's outstanding requests, so that the station can see one that never returns: the thread that waits for
/// such a request is stuck in the kernel and cannot report it.
#[derive(Clone, Debug, Default)]
pub struct IoClock(Arc<Mutex<Vec<Instant>>>);

impl IoClock {
    /// How long the oldest outstanding request has taken so far; `None` if there is none.
    pub fn waiting(&self) -> Option<Duration> {
        self.0.lock().iter().min().map(Instant::elapsed)
    }

    /// Runs `request` and counts it as outstanding until it returns.
    pub fn during<T>(&self, request: impl FnOnce() -> T) -> T {
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

/// The exclusive hold of one drive, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    file: File,
    clock: IoClock,
    drive: Drive,
    geometry: Geometry,
    /// Whether reads are certain to come from the medium.
    uncached: bool,
    /// Who has written what.
    tally: Tally,
    /// Since when every access has failed.
    failing: Mutex<Option<Instant>>,
    /// Of a loop device: the file in sysfs that tells whether it has been detached. It is held open, so that no look at
    /// it needs a descriptor that the process may lack at that moment.
    autoclear: Option<File>,
}

impl Claim {
    /// Opens the drive exclusively, locks it against udevd (<https://systemd.io/BLOCK_DEVICE_LOCKING/>), and checks on
    /// the open file that it is the drive that admission saw: device number, attachment count, size, sector size,
    /// writability. Whoever is in the way is waited for, as long as `go_on` says so.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was written.
    pub fn take(
        admitted: Admitted,
        clock: &IoClock,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, ClaimError> {
        let node = admitted.drive().node.clone();
        let stopped = || ClaimError::Stopped(node.clone());
        let opened = patiently(clock, go_on, || Self::open(&node)).ok_or_else(stopped)?;
        let file = opened.map_err(|error| {
            if error.raw_os_error() == Some(libc::EROFS) {
                ClaimError::ReadOnly(node.clone())
            } else if is_in_the_way(&error) {
                ClaimError::Held(node.clone())
            } else {
                ClaimError::Open { node: node.clone(), source: error }
            }
        })?;
        let exclusively = FlockOperation::NonBlockingLockExclusive;
        let locked = patiently(clock, go_on, || Ok(flock(&file, exclusively)?));
        locked.ok_or_else(stopped)?.map_err(|error| {
            if is_in_the_way(&error) {
                ClaimError::Locked(node.clone())
            } else {
                ClaimError::Open { node: node.clone(), source: error }
            }
        })?;
        clock.during(|| Self::check(admitted, file, clock.clone()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that opens a drive for writing: one that admission has let pass"
    )]
    fn open(node: &Path) -> io::Result<File> {
        let flags = OFlags::EXCL | OFlags::DIRECT | OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(node)
    }

    /// Makes a claim of the open file, if that is the drive that was admitted.
    fn check(admitted: Admitted, file: File, clock: IoClock) -> Result<Self, ClaimError> {
        let (drive, geometry) = admitted.into_parts();
        let node = drive.node.clone();
        let open = |source| ClaimError::Open { node: node.clone(), source };
        let meta = file.metadata().map_err(open)?;
        let number = DeviceNumber { major: major(meta.rdev()), minor: minor(meta.rdev()) };
        // What somebody has written into the page cache before is theirs to have written, and not to be counted.
        let _ = file.sync_all();
        let tally = Tally::start(Path::new("/sys/block").join(&drive.name));
        let failing = Mutex::default();
        let changed = |what: String| ClaimError::Changed { node: node.clone(), what };
        let autoclear = if drive.bus.is_loop() {
            match File::open(format!("/sys/block/{}/loop/autoclear", drive.name)) {
                Ok(flag) => Some(flag),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(changed("detached".into()));
                }
                Err(error) => return Err(open(error)),
            }
        } else {
            None
        };
        let claim =
            Self { file, clock, geometry, uncached: true, drive, tally, failing, autoclear };
        if !meta.file_type().is_block_device() || number != claim.drive.number {
            return Err(changed(format!("it is device {number} now, not {}", claim.drive.number)));
        }
        claim.check_same().map_err(changed)?;
        let sector = rustix::fs::ioctl_blksszget(&claim.file).map_err(|e| open(e.into()))?;
        if sector != u32::from(geometry.sector) {
            return Err(changed(format!("its sectors have {sector} bytes now")));
        }
        if sys::is_read_only(&claim.file).map_err(|e| open(e.into()))? {
            return Err(ClaimError::ReadOnly(node));
        }
        Ok(claim.with_direct_loop())
    }

    /// Turns on direct I/O where the drive is a loop device. Without it, a loop device answers O_DIRECT reads from the
    /// page cache of its backing file, and reading back proves nothing.
    fn with_direct_loop(mut self) -> Self {
        if self.drive.bus.is_loop() {
            self.uncached = sys::set_loop_direct_io(&self.file).is_ok();
        }
        self
    }

    /// Counts `work` as a request to the drive, because it may hang like one.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.clock.during(work)
    }

    /// Runs a request, and finds out why it has failed if it has.
    fn request<T>(
        &self,
        range: Range,
        request: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, AccessError> {
        let done = self.clock.during(request).map_err(|source| self.failed(range, source))?;
        *self.failing.lock() = None;
        Ok(done)
    }

    /// The drive as something to be looked at once more, while nobody else can take it. The view has a descriptor of
    /// its own, through which nothing can be written.
    ///
    /// # Errors
    /// If the drive cannot be opened once more.
    pub fn view(&self, blkid: &Path) -> io::Result<View> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let device = self.clock.during(|| content::open(Path::new(&path)))?;
        Ok(View::of(device, self.geometry, blkid, &self.clock))
    }

    /// Finds out why an access has failed. The kernel fails the requests of a pulled drive before it removes the drive,
    /// so a drive that is still there is watched for a while ([`LEAVING`]): once, and not again for each access that
    /// fails after the first.
    fn failed(&self, range: Range, source: io::Error) -> AccessError {
        let start = *self.failing.lock().get_or_insert_with(Instant::now);
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

    /// Checks that the open device is still the drive, at its full capacity; else says how it differs. A pulled drive
    /// often reports "no space" rather than an I/O error, because its capacity has dropped to 0.
    fn check_same(&self) -> Result<(), String> {
        match sys::diskseq(&self.file) {
            Ok(now) if now != self.drive.diskseq.0 && self.drive.diskseq.0 != 0 => {
                return Err(format!("attachment {now} instead of {}", self.drive.diskseq.0));
            }
            Err(error) if self.drive.diskseq.0 != 0 => return Err(error.to_string()),
            _ => {}
        }
        match sys::size(&self.file) {
            Ok(now) if now == self.geometry.size => {}
            Ok(now) => {
                return Err(format!("{} bytes instead of {}", now.0, self.geometry.size.0));
            }
            Err(error) => return Err(error.to_string()),
        }
        if let Some(autoclear) = &self.autoclear {
            // A loop device that is detached while in use stays until its last user closes it; only this flag shows it.
            let mut flag = [0; 1];
            match autoclear.read_exact_at(&mut flag, 0) {
                Ok(()) if flag == *b"0" => {}
                _ => return Err("detached".into()),
            }
        }
        Ok(())
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
        let range = Range::at(offset, Bytes::of(data.len()));
        self.request(range, || self.file.write_all_at(data, offset.0))?;
        self.tally.wrote(range.length());
        Ok(())
    }

    fn read(&self, offset: Bytes, data: &mut Buffer) -> Result<(), AccessError> {
        let range = Range::at(offset, Bytes::of(data.len()));
        self.request(range, || self.file.read_exact_at(data, offset.0))
    }

    fn flush(&self) -> Result<(), AccessError> {
        self.request(Range::new(Bytes(0), self.geometry.size), || self.file.sync_all())
    }

    fn discard(&self, range: Range) -> bool {
        let discard = || sys::discard(&self.file, range.start, range.length()).is_ok();
        self.clock.during(|| self.tally.discarding(discard))
    }

    fn foreign_writes(&self) -> Foreign {
        self.tally.foreign()
    }

    fn check_present(&self) -> Result<(), AccessError> {
        self.check_same().map_err(|difference| {
            tracing::info!(drive = %self.drive.name, difference, "the drive is gone");
            AccessError::Gone(difference)
        })
    }

    fn drop_cache(&self) {
        let _ = self.clock.during(|| fadvise(&self.file, 0, None, Advice::DontNeed));
    }
}
