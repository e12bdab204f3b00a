//! The data of files, compared in the order in which it lies on the volume.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use model::api::audit::AuditReport as Report;
use model::failure::chain;
use model::ranges::Range;
use model::units::Bytes;
use parking_lot::Mutex;

use super::extents::{Extents, Sha1, Stored, ValueError, read_all};
use super::{Open, Source};

/// A value whose bytes lie in clusters, and what they must be.
pub(super) struct Job<'a> {
    pub(super) path: &'a str,
    /// Empty for the contents of the file.
    pub(super) stream: &'a str,
    pub(super) extents: &'a Extents,
    pub(super) sha1: [u8; 20],
}

/// About how many bytes a thread takes at a time; so much is in memory for each thread.
const SHARE: u64 = 8 << 20;
/// Values up to this length are read together; longer ones piece by piece, each for itself.
const SMALL: u64 = 1 << 20;

/// Cuts the jobs into shares of about equal length, so that each thread reads one stretch of the volume after another.
fn shares<'a, 'b>(jobs: &'b [Job<'a>]) -> Vec<&'b [Job<'a>]> {
    let mut shares = Vec::new();
    let (mut from, mut bytes) = (0, 0_u64);
    for (index, job) in jobs.iter().enumerate() {
        // A small file costs about as much as some kilobytes of data.
        bytes = bytes.saturating_add(job.extents.size).saturating_add(4 << 10);
        if bytes >= SHARE {
            shares.push(&jobs[from..=index]);
            (from, bytes) = (index + 1, 0);
        }
    }
    shares.push(&jobs[from..]);
    shares
}

/// Compares all values; the jobs may come in any order.
pub(super) fn compare(
    mut jobs: Vec<Job<'_>>,
    cluster: Bytes,
    open: &Open<'_>,
    report: &mut Report,
    progress: &(dyn Fn(f64) + Sync),
) {
    jobs.sort_by_cached_key(|job| job.extents.position(cluster));
    let shares = shares(&jobs);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(shares.len());
    let next = AtomicUsize::new(0);
    let report = Mutex::new(report);
    let work = || {
        let mut source = open();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(share) = shares.get(index) else { return };
            for (job, what) in compare_share(share, cluster, &mut *source) {
                report.lock().differs(job.path, what);
            }
            #[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
            progress((index + 1) as f64 / shares.len() as f64);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

/// Compares the jobs of a share; returns those that differ, and how, in words.
fn compare_share<'a, 'b>(
    share: &'b [Job<'a>],
    cluster: Bytes,
    source: &mut dyn Source,
) -> Vec<(&'b Job<'a>, String)> {
    let places = |job: &Job<'_>| job.extents.pieces(cluster).collect::<Vec<Range>>();
    let is_small = |job: &&Job<'_>| {
        job.extents.size <= SMALL
            && job.extents.pieces(cluster).map(|p| p.length().0).sum::<u64>() <= 2 * SMALL
    };
    let (small, large): (Vec<_>, Vec<_>) = share.iter().partition(is_small);
    let read = read_all(source, &small.iter().map(|job| places(job)).collect::<Vec<_>>());
    let small = small.into_iter().zip(read).map(|(job, stored)| {
        let hashed = stored.map_err(ValueError::from);
        (job, hashed.and_then(|stored| job.extents.hash(&mut stored.as_slice(), cluster)))
    });
    let mut differ: Vec<_> = small.filter_map(|(job, is)| Some((job, judge(job, is)?))).collect();
    for job in large {
        let mut stored = Stored::new(source, job.extents.pieces(cluster));
        let is = job.extents.hash(&mut stored, cluster);
        differ.extend(judge(job, is).map(|what| (job, what)));
    }
    differ
}

/// What is wrong with a value, in words.
fn judge(job: &Job<'_>, is: Result<Sha1, ValueError>) -> Option<String> {
    let shown = shown(job.stream);
    match is {
        Err(error) => Some(format!("{shown}: cannot be read: {}", chain(&error))),
        Ok(is) if is.digest != job.sha1 => Some(format!("{shown}: the data differs")),
        Ok(_) => None,
    }
}

/// A stream's name for people.
pub(super) fn shown(stream: &str) -> &str {
    if stream.is_empty() { "contents" } else { stream }
}
