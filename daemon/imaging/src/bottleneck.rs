//! What kept a drive from going faster.

use std::time::{Duration, Instant};

use model::job::Bottleneck;
use rustix::time::ClockId;

/// Where the time of one of the threads at a drive has gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeSpent {
    /// In requests of the drive.
    pub drive: Duration,
    /// Waiting for a chunk of the master.
    pub store: Duration,
    /// Waiting for a buffer, that is for hashes.
    pub hashes: Duration,
    /// On a processor.
    pub cpu: Duration,
}

/// All processors count as busy from this share on, in percent; the rest is what a scheduler loses.
const BUSY: u64 = 95;

/// A drive alone on its bus is faster than this share of its best, in percent.
const SHARED: u64 = 80;

impl TimeSpent {
    /// Adds what another thread has spent.
    pub fn add(&mut self, other: Self) {
        self.drive += other.drive;
        self.store += other.store;
        self.hashes += other.hashes;
        self.cpu += other.cpu;
    }

    /// What has limited the drive most. `busy` is how busy the machine's processors were, in percent.
    pub fn bottleneck(&self, busy: Option<u64>, shared: bool) -> Bottleneck {
        if self.store > self.drive && self.store > self.hashes {
            return Bottleneck::Store;
        }
        if self.hashes > self.drive || busy.is_some_and(|busy| busy >= BUSY) {
            return Bottleneck::Cpu;
        }
        if shared { Bottleneck::Bus } else { Bottleneck::Drive }
    }
}

/// Whether a rate looks as if others on the same bus had taken their part of it: fewer bytes than this drive's model
/// has shown when it was alone.
pub fn is_shared(rate: u64, best: u64, neighbours: usize) -> bool {
    neighbours > 0 && rate < best / 100 * SHARED
}

/// How long the calling thread has been on a processor.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Measures a stretch of time.
pub fn timed<T>(into: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *into += start.elapsed();
    done
}

/// How busy the machine is (proc_stat(5)).
#[derive(Clone, Copy, Debug)]
pub struct Load {
    busy: u64,
    all: u64,
}

impl Load {
    /// Up to now, since the machine's start.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        // user nice system idle iowait irq softirq steal; guest time is in the first two already.
        let ticks: Option<Vec<u64>> =
            line.split_whitespace().take(8).map(|field| field.parse().ok()).collect();
        let ticks = ticks.filter(|ticks| ticks.len() >= 5)?;
        let all = ticks.iter().sum();
        Some(Self { busy: all - ticks[3] - ticks[4], all })
    }

    /// How busy the machine was since an earlier moment, in percent.
    pub fn since(&self, before: &Self) -> Option<u64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.busy.saturating_sub(before.busy) * 100 / all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_is_the_bottleneck() {
        let spent = |drive, store, hashes| TimeSpent {
            drive: Duration::from_secs(drive),
            store: Duration::from_secs(store),
            hashes: Duration::from_secs(hashes),
            cpu: Duration::ZERO,
        };
        assert_eq!(spent(9, 1, 0).bottleneck(Some(40), false), Bottleneck::Drive);
        assert_eq!(spent(9, 1, 0).bottleneck(Some(40), true), Bottleneck::Bus);
        assert_eq!(spent(9, 1, 0).bottleneck(Some(99), true), Bottleneck::Cpu);
        assert_eq!(spent(2, 8, 0).bottleneck(Some(99), true), Bottleneck::Store);
        assert_eq!(spent(3, 0, 7).bottleneck(None, false), Bottleneck::Cpu);
        assert!(is_shared(100, 500, 3) && !is_shared(100, 500, 0) && !is_shared(450, 500, 3));
    }

    #[test]
    fn load_is_read_as_the_kernel_writes_it() {
        let before = Load::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n").unwrap();
        let after = Load::parse("cpu  190 0 190 810 10 0 0 0 7 0\n").unwrap();
        assert_eq!(after.since(&before), Some(90));
        assert_eq!(before.since(&after), None);
        assert!(Load::parse("intr 1").is_none() && Load::parse("cpu 1 2").is_none());
    }
}
