//! Who else wrote to a drive: the kernel counts all that is written to it, the claim counts its own.
//!
//! Sectors are counted as requests end (`/sys/block/*/stat`, Documentation/block/stat.rst), those of partitions' nodes
//! included. Not counted is what goes past the block layer: SCSI and NVMe commands passed through by `/dev/sg*`,
//! `/dev/bsg/*`, `/dev/ng*` and the drives' own nodes.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use model::units::Bytes;

use crate::medium::Foreign;

/// The kernel counts in sectors of this size, whatever size the drive's have.
const SECTOR: u64 = 512;

/// What the kernel has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    /// Sectors.
    written: u64,
    discarded: u64,
    /// Writes under way.
    unfinished: u64,
}

impl Counters {
    /// Reads the text of `stat` and of `inflight`.
    fn parse(stat: &str, inflight: &str) -> Option<Self> {
        let number = |text: &str, at| text.split_whitespace().nth(at)?.parse().ok();
        let (written, discarded) = (number(stat, 6)?, number(stat, 13).unwrap_or(0));
        Some(Self { written, discarded, unfinished: number(inflight, 1)? })
    }
}

/// The counts of one claim.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The drive's folder in sysfs.
    folder: PathBuf,
    start: Option<Counters>,
    written: AtomicU64,
    discarded: AtomicU64,
}

impl Tally {
    /// Counts from now on.
    pub(crate) fn start(folder: PathBuf) -> Self {
        let mut tally =
            Self { folder, start: None, written: AtomicU64::new(0), discarded: AtomicU64::new(0) };
        tally.start = tally.look();
        tally
    }

    /// The kernel's counters; `None` if it does not count.
    fn look(&self) -> Option<Counters> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).ok();
        let counts = read("queue/iostats")?.trim() == "1";
        Counters::parse(&read("stat")?, &read("inflight")?).filter(|_| counts)
    }

    /// The claim has written this much.
    pub(crate) fn wrote(&self, bytes: Bytes) {
        self.written.fetch_add(bytes.0 / SECTOR, Ordering::Relaxed);
    }

    /// Runs a discard of the claim, and counts what it comes to.
    pub(crate) fn discarding(&self, discard: impl FnOnce() -> bool) -> bool {
        let before = self.look();
        let done = discard();
        if let (Some(before), Some(after)) = (before, self.look()) {
            let count = after.discarded.saturating_sub(before.discarded);
            self.discarded.fetch_add(count, Ordering::Relaxed);
        }
        done
    }

    /// What others have written and discarded. Asked while the claim itself does nothing.
    pub(crate) fn foreign(&self) -> Foreign {
        let (Some(start), Some(now)) = (self.start, self.look()) else { return Foreign::Unknown };
        let own = Counters {
            written: self.written.load(Ordering::Relaxed),
            discarded: self.discarded.load(Ordering::Relaxed),
            unfinished: 0,
        };
        foreign(start, own, now)
    }
}

/// What of the difference between two looks at the kernel's counters is not the claim's own.
fn foreign(start: Counters, own: Counters, now: Counters) -> Foreign {
    let beyond = |now: u64, start: u64, own: u64| now.checked_sub(start)?.checked_sub(own);
    // Fewer than the claim has written: the kernel does not count this drive.
    let Some(written) = beyond(now.written, start.written, own.written) else {
        return Foreign::Unknown;
    };
    let discarded = beyond(now.discarded, start.discarded, own.discarded).unwrap_or(0);
    match written + discarded {
        0 if now.unfinished == 0 => Foreign::Nothing,
        sectors => Foreign::Bytes(Bytes(sectors * SECTOR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_our_own_is_foreign() {
        let counters = |written, discarded, unfinished| Counters { written, discarded, unfinished };
        let start = counters(100, 10, 0);
        let own = counters(50, 8, 0);
        let now = |written, discarded, unfinished| {
            foreign(start, own, counters(written, discarded, unfinished))
        };
        assert_eq!(now(150, 18, 0), Foreign::Nothing);
        assert_eq!(now(151, 18, 0), Foreign::Bytes(Bytes(512)));
        assert_eq!(now(150, 26, 0), Foreign::Bytes(Bytes(4096)), "a discard destroys, too");
        assert_eq!(now(150, 18, 1), Foreign::Bytes(Bytes(0)), "still being written");
        assert_eq!(now(149, 18, 0), Foreign::Unknown, "it does not count all");
        assert_eq!(now(7, 18, 0), Foreign::Unknown, "it counts anew");
    }

    #[test]
    fn counters_are_read_as_the_kernel_writes_them() {
        let stat = "    1 2 3 4 5 6 7000 8 9 10 11 12 13 14000 15 16 17\n";
        let read = Counters::parse(stat, "       0        3\n");
        assert_eq!(read, Some(Counters { written: 7000, discarded: 14000, unfinished: 3 }));
        let old = Counters::parse("1 2 3 4 5 6 7 8 9 10 11", "0 0").unwrap();
        assert_eq!(old.discarded, 0, "before Linux 4.18");
        assert!(Counters::parse("1 2 x", "0 0").is_none() && Counters::parse(stat, "").is_none());
    }
}
