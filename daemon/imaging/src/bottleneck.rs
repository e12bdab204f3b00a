//! What kept a drive from going faster.

use std::time::{Duration, Instant};

use model::job::Bottleneck;
use rustix::time::ClockId;

/// Where the time of one of the threads at a drive has gone. How busy the rest of the machine is does not matter: what counts
/// is what these threads have waited for.
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
    /// Ready to run, but without a processor.
    pub delay: Duration,
    /// How often it was looked at the two above.
    looks: u32,
}

/// The kernel is asked for a thread's delay at every so many requests: that costs a few microseconds.
const LOOK_EVERY: u32 = 32;

/// A drive alone on its bus is faster than this share of its best, in percent.
const SHARED: u64 = 80;

impl TimeSpent {
    /// Adds what another thread has spent.
    pub fn add(&mut self, other: Self) {
        self.drive += other.drive;
        self.store += other.store;
        self.hashes += other.hashes;
        self.cpu += other.cpu;
        self.delay += other.delay;
    }

    /// Notes, now and then, how long the calling thread has been on a processor and has waited for one.
    pub fn look(&mut self) {
        if self.looks.is_multiple_of(LOOK_EVERY) {
            self.settle();
        }
        self.looks = self.looks.wrapping_add(1);
    }

    /// Notes how long the calling thread has been on a processor and has waited for one.
    pub fn settle(&mut self) {
        (self.cpu, self.delay) = (cpu_time(), delay());
    }

    /// What has limited the drive most.
    pub fn bottleneck(&self, shared: bool) -> Bottleneck {
        // A thread sleeps in the drive's requests, so it is there that it wakes up late.
        let drive = self.drive.saturating_sub(self.delay);
        let processors = self.hashes + self.cpu + self.delay;
        if self.store > drive && self.store > processors {
            return Bottleneck::Store;
        }
        match (processors > drive, shared) {
            (true, _) => Bottleneck::Cpu,
            (false, true) => Bottleneck::Bus,
            (false, false) => Bottleneck::Drive,
        }
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

/// How long the calling thread was ready to run without a processor; nothing where the kernel does not count it.
fn delay() -> Duration {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    delay_in(&counts).unwrap_or_default()
}

/// The second of the kernel's numbers: nanoseconds on a processor, waiting for one, and how often (sched-stats.rst).
fn delay_in(counts: &str) -> Option<Duration> {
    counts.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// Measures a stretch of time.
pub fn timed<T>(into: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *into += start.elapsed();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent([drive, store, hashes, cpu, delay]: [u64; 5]) -> TimeSpent {
        TimeSpent {
            drive: Duration::from_secs(drive),
            store: Duration::from_secs(store),
            hashes: Duration::from_secs(hashes),
            cpu: Duration::from_secs(cpu),
            delay: Duration::from_secs(delay),
            looks: 0,
        }
    }

    #[test]
    fn what_the_threads_waited_for_most_is_the_bottleneck() {
        for (seconds, shared, is) in [
            // drive, store, hashes, cpu, delay
            ([9, 1, 0, 0, 0], false, Bottleneck::Drive),
            ([9, 1, 0, 0, 0], true, Bottleneck::Bus),
            ([2, 8, 0, 0, 0], true, Bottleneck::Store),
            ([3, 0, 7, 0, 0], false, Bottleneck::Cpu),
            ([4, 0, 2, 3, 0], false, Bottleneck::Cpu),
            // A slow drive on a busy machine: its threads wake up a little late.
            ([60, 1, 1, 2, 5], false, Bottleneck::Drive),
            // A fast drive on a machine that has no time for its threads.
            ([9, 0, 0, 1, 6], false, Bottleneck::Cpu),
            ([9, 0, 0, 1, 6], true, Bottleneck::Cpu),
            ([5, 9, 2, 1, 3], false, Bottleneck::Store),
        ] {
            assert_eq!(spent(seconds).bottleneck(shared), is, "{seconds:?}");
        }
        assert!(is_shared(100, 500, 3) && !is_shared(100, 500, 0) && !is_shared(450, 500, 3));
    }

    #[test]
    fn a_delay_is_read_as_the_kernel_writes_it() {
        assert_eq!(delay_in("121246 60981268 2\n"), Some(Duration::from_nanos(60_981_268)));
        assert_eq!(delay_in("0 0 0"), Some(Duration::ZERO));
        assert!(delay_in("").is_none() && delay_in("1").is_none() && delay_in("1 x 2").is_none());
    }

    #[test]
    fn the_sum_of_two_threads_is_that_of_their_times() {
        let mut sum = spent([1, 2, 3, 4, 5]);
        sum.add(spent([10, 20, 30, 40, 50]));
        let whole = spent([11, 22, 33, 44, 55]);
        assert_eq!((sum.drive, sum.store, sum.hashes), (whole.drive, whole.store, whole.hashes));
        assert_eq!((sum.cpu, sum.delay), (whole.cpu, whole.delay));
    }
}
