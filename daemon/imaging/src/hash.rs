//! SHA-256 of read-back chunks on every core, on each as many at a time as its processor hashes fastest.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::bottleneck::cpu_time;
use crate::pool::Pooled;
use model::digest::{Digest, HashPath, HashPaths, Hashing, Lanes};
use model::ranges::CHUNK;
use model::units::{ByteRate, Bytes};

/// How long lanes wait to be filled before those that are go on for a piece. Where chunks come slower than that, no time
/// is short.
const PATIENCE: Duration = Duration::from_micros(200);

/// So much of each chunk is hashed before it is seen whether there is one for an empty lane now.
const PIECE: Bytes = Bytes(256 << 10);

/// What a path is measured with, for each lane, and how often; the best counts, for others want the processor too.
const SAMPLE: Bytes = Bytes(64 << 10);
const ROUNDS: u32 = 8;

/// The paths of this processor, or the one that is wanted, measured. A path that does not find the right digest is left
/// out. Takes a few milliseconds.
pub fn measured(wanted: Option<HashPath>) -> HashPaths {
    let sample: Vec<u8> = (0..SAMPLE.0).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
    let digest = Digest::of(&sample);
    let rate = |path: HashPath| {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let mut messages: Vec<_> =
                (0..path.lanes()).map(|_| Hashing::new(sample.as_slice())).collect();
            let before = cpu_time();
            Hashing::together(path, &mut messages, SAMPLE);
            best = best.min(cpu_time().saturating_sub(before));
            if messages.into_iter().any(|message| message.finish().1 != digest) {
                tracing::error!(%path, "this processor finds wrong digests on path {path}; it is not used");
                return None;
            }
        }
        Some((path, ByteRate::mean(Bytes(SAMPLE.0 * Bytes::of(path.lanes()).0), best)))
    };
    let chosen = HashPath::available().filter(|path| wanted.is_none_or(|wanted| wanted == *path));
    let paths = HashPaths::measured(chosen.filter_map(rate));
    let (path, _) = paths.fastest();
    let at_once = path.lanes();
    tracing::info!(%path, rates = %paths, "chunks are hashed on path {path}, {at_once} at once on each core");
    paths
}

/// A chunk to be hashed, and where the result goes.
#[derive(Debug)]
pub struct HashRequest {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes; they come back with the digest.
    pub data: Pooled,
    /// Where to.
    pub reply: Sender<Hashed>,
}

impl AsRef<[u8]> for HashRequest {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl HashRequest {
    fn answer(self, digest: Digest, cpu: Duration) {
        // The drive that asked may have been stopped meanwhile.
        let _ = self.reply.send(Hashed { index: self.index, data: self.data, digest, cpu });
    }
}

/// A hashed chunk.
#[derive(Debug)]
pub struct Hashed {
    /// The sender's name for the chunk.
    pub index: usize,
    /// Its bytes.
    pub data: Pooled,
    /// Their digest.
    pub digest: Digest,
    /// What it took.
    pub cpu: Duration,
}

/// Threads that hash, one per core. They end when the pool is dropped.
#[derive(Debug)]
pub struct HashPool {
    requests: Sender<HashRequest>,
    paths: HashPaths,
}

impl HashPool {
    /// Starts the threads.
    pub fn new(paths: HashPaths) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // Room for what comes into every lane when it is empty.
        let (requests, inbox): (Sender<HashRequest>, Receiver<HashRequest>) =
            bounded(paths.fastest().0.lanes().max(2) * cores);
        for number in 0..cores {
            let (inbox, paths) = (inbox.clone(), paths.clone());
            let work = move || hash(&inbox, paths);
            if let Err(error) = thread::Builder::new().name(format!("hash/{number}")).spawn(work) {
                tracing::error!(%error, "cannot start a hashing thread");
            }
        }
        Self { requests, paths }
    }

    /// The paths that its threads take.
    pub fn paths(&self) -> &HashPaths {
        &self.paths
    }

    /// Queues a chunk; waits while every thread is busy and the queue is full.
    pub fn submit(&self, request: HashRequest) {
        // The threads run as long as the pool; they cannot all be gone while it is borrowed.
        let _ = self.requests.send(request);
    }
}

/// A chunk that is being hashed, and what it has taken so far.
struct Begun {
    request: HashRequest,
    cpu: Duration,
}

impl Begun {
    fn new(request: HashRequest) -> Self {
        Self { request, cpu: Duration::ZERO }
    }
}

impl AsRef<[u8]> for Begun {
    fn as_ref(&self) -> &[u8] {
        self.request.as_ref()
    }
}

/// Hashes until nobody can request any more. Several chunks on one core take far less time than one after the other, so
/// whenever one is done the next one takes its place beside the others.
fn hash(inbox: &Receiver<HashRequest>, paths: HashPaths) {
    let mut lanes: Lanes<Begun> = Lanes::new(paths);
    loop {
        if lanes.is_empty() {
            let Ok(request) = inbox.recv() else { return };
            lanes.add(Begun::new(request));
        }
        let until = Instant::now() + PATIENCE;
        while !lanes.is_full()
            && let Ok(request) = inbox.recv_deadline(until)
        {
            lanes.add(Begun::new(request));
        }
        let (before, width) = (cpu_time(), lanes.width());
        let done = lanes.advance(if lanes.is_full() { CHUNK } else { PIECE });
        let took = cpu_time().saturating_sub(before);
        let each = took / u32::try_from(width).unwrap_or(1).max(1);
        for begun in lanes.messages().take(width.saturating_sub(done.len())) {
            begun.cpu += each;
        }
        for (Begun { request, cpu }, digest) in done {
            request.answer(digest, cpu + each);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::pool::Pool;

    #[test]
    fn every_chunk_comes_back_with_its_own_digest() {
        for path in HashPath::available() {
            come_back(HashPaths::only(path));
        }
        come_back(measured(None));
    }

    fn come_back(paths: HashPaths) {
        const REQUESTS: u8 = 200;
        let (pool, buffers) = (HashPool::new(paths), Pool::new(REQUESTS.into()));
        let (reply, hashed) = unbounded();
        for number in 0..REQUESTS {
            // Lengths differ, as the last chunk of a range is shorter.
            let mut data = buffers.take(&|| false).unwrap().unwrap();
            data.resize(Bytes(4096 * (1 + u64::from(number % 3))));
            data.fill(number);
            pool.submit(HashRequest { index: number.into(), data, reply: reply.clone() });
        }
        drop(reply);
        let mut seen = vec![false; REQUESTS.into()];
        for Hashed { index, data, digest, .. } in hashed {
            assert!(data.iter().all(|byte| usize::from(*byte) == index));
            assert_eq!(digest, Digest::of(&data));
            assert!(!std::mem::replace(&mut seen[index], true), "{index} came back once");
        }
        assert!(seen.into_iter().all(|seen| seen), "all came back");
    }

    #[test]
    fn a_path_that_is_measured_has_a_rate() {
        for wanted in HashPath::available().map(Some).chain([None]) {
            let (path, rate) = measured(wanted).fastest();
            assert!(path.is_available() && wanted.is_none_or(|wanted| wanted == path));
            assert!(rate > ByteRate(1_000_000), "{path}: {rate}");
        }
    }
}
