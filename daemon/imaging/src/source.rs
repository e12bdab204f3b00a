//! Reading a master once for all drives that overlap in time.
//!
//! A window of chunks is held in memory. One reader thread walks the master in a circle; drives take whatever chunk
//! in the window they still lack, so a late joiner starts at once with what is there and fetches the
//! beginning in the next round. The order on a drive does not matter, since what makes it look
//! finished is written afterwards. A drive that finds nothing in the window asks for its next chunk;
//! only then may a chunk that others still want be pushed out. So no drive waits for a slower one, and a
//! slow one costs extra reads only when it has fallen behind by more than the window.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use drives::buffer::OutOfMemory;
use masters::layers::ReadAt as _;
use masters::store::Master;
use model::manifest::{Chunk, Stage};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::pool::{Pool, Pooled};

/// How often a waiting drive looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// A master that could not be read from the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The store does not give it, or no thread can be started to read it.
    #[error("cannot read the master from the store: {0}")]
    Store(String),
    /// There is no memory to read it into.
    #[error("cannot read the master from the store")]
    Memory(#[from] OutOfMemory),
}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self::Store(error.to_string())
    }
}

/// One master being read.
#[derive(Debug)]
pub struct Source {
    master: Arc<Master>,
    pool: Arc<Pool>,
    /// How many sources share the pool.
    sharers: Arc<AtomicUsize>,
    /// Bytes read by all sources.
    read: Arc<AtomicU64>,
    state: Mutex<State>,
    /// Drives wait here for chunks.
    loaded: Condvar,
    /// The reader waits here for room, or for somebody who wants something.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Chunks in memory, with the number of the load that brought them.
    window: BTreeMap<usize, (u64, Arc<Pooled>)>,
    /// For each chunk, how many drives still lack it.
    wanted: Vec<u32>,
    /// Chunks that a drive with nothing else to write waits for.
    requests: BTreeSet<usize>,
    /// Where the reader is in its circle.
    cursor: usize,
    loads: u64,
    drives: usize,
    reader: bool,
    failed: Option<SourceError>,
}

impl Source {
    /// A source whose window is this source's part of a pool. `sharers` counts the sources that share it, `read` the bytes
    /// that all of them have read from the store.
    pub fn new(
        master: Arc<Master>,
        pool: Arc<Pool>,
        sharers: Arc<AtomicUsize>,
        read: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let state = State { wanted: vec![0; master.manifest.chunks.len()], ..State::default() };
        sharers.fetch_add(1, Ordering::Relaxed);
        let (state, loaded, room) = (Mutex::new(state), Condvar::new(), Condvar::new());
        Arc::new(Self { master, pool, sharers, read, state, loaded, room })
    }

    /// Whether the store could not be read; then only a new source may try again.
    pub fn has_failed(&self) -> bool {
        self.lock().failed.is_some()
    }

    /// How many chunks the window may hold now.
    fn window_size(&self) -> usize {
        (self.pool.capacity() / self.sharers.load(Ordering::Relaxed).max(1)).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Registers a drive that wants every body chunk.
    ///
    /// # Errors
    /// [`SourceError`] if the reading thread cannot be started.
    pub fn subscribe(self: &Arc<Self>) -> Result<Subscription, SourceError> {
        let chunks = &self.master.manifest.chunks;
        let todo: BTreeSet<usize> =
            (0..chunks.len()).filter(|i| chunks[*i].stage == Stage::Body).collect();
        let mut state = self.lock();
        let cursor = state.window.keys().next().copied().unwrap_or(state.cursor);
        if !state.reader {
            let source = Arc::clone(self);
            thread::Builder::new()
                .name("source".into())
                .spawn(move || source.read_in_a_circle())
                .map_err(SourceError::from)?;
            state.reader = true;
        }
        for index in &todo {
            state.wanted[*index] += 1;
        }
        state.drives += 1;
        drop(state);
        self.room.notify_one();
        Ok(Subscription { source: Arc::clone(self), todo, cursor })
    }

    fn read_in_a_circle(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if state.drives == 0 {
                state.reader = false;
                state.window.clear();
                return;
            }
            let window_size = self.window_size();
            // Another source may have come, and with it the duty to share.
            while state.window.len() > window_size
                && let Some(victim) = state.oldest()
            {
                state.window.remove(&victim);
            }
            let Some(index) = state.next_load() else {
                self.room.wait_for(&mut state, PATIENCE);
                continue;
            };
            if state.window.len() >= window_size {
                let Some(victim) = state.victim(index) else {
                    self.room.wait_for(&mut state, PATIENCE);
                    continue;
                };
                state.window.remove(&victim);
            }
            drop(state);
            let chunk = self.master.manifest.chunks[index];
            // Drives hold what they are writing; what they finish comes back.
            let taken = self.pool.try_take().map_err(SourceError::from);
            let load = |buffer| self.load(&chunk, buffer).map_err(SourceError::from);
            let loaded = taken.and_then(|buffer| buffer.map(load).transpose()).transpose();
            state = self.lock();
            match loaded {
                Some(Ok(buffer)) => {
                    state.loads += 1;
                    self.read.fetch_add(chunk.length.0, Ordering::Relaxed);
                    let load = state.loads;
                    state.window.insert(index, (load, Arc::new(buffer)));
                    state.cursor = index + 1;
                }
                Some(Err(error)) => state.failed = Some(error),
                None => {
                    // The pool's other users have it all. What this source can give up for a drive that waits, it does.
                    if let Some(victim) = state.victim(index) {
                        state.window.remove(&victim);
                    } else {
                        self.room.wait_for(&mut state, PATIENCE);
                    }
                    continue;
                }
            }
            self.loaded.notify_all();
            if state.failed.is_some() {
                state.reader = false;
                state.window.clear();
                return;
            }
        }
    }

    fn load(&self, chunk: &Chunk, mut buffer: Pooled) -> io::Result<Pooled> {
        buffer.resize(chunk.length);
        self.master.image.fill(&mut buffer, chunk.offset)?;
        Ok(buffer)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.sharers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether giving a chunk up gives its buffer back: not while a drive is being written from it.
fn is_free(buffer: &Arc<Pooled>) -> bool {
    Arc::strong_count(buffer) == 1
}

impl State {
    /// The chunk to give up if one must go: the oldest of those that the fewest drives lack.
    fn oldest(&self) -> Option<usize> {
        let all = self.window.iter().filter(|(_, (_, buffer))| is_free(buffer));
        all.min_by_key(|(i, (load, _))| (self.wanted[**i], *load)).map(|(i, _)| *i)
    }

    /// The chunk to read next: one that a drive waits for, else the next in the circle that somebody lacks.
    fn next_load(&self) -> Option<usize> {
        let request = self.requests.range(self.cursor..).chain(self.requests.range(..self.cursor));
        if let Some(index) = request.copied().find(|i| !self.window.contains_key(i)) {
            return Some(index);
        }
        let count = self.wanted.len();
        (self.cursor..count)
            .chain(0..self.cursor.min(count))
            .find(|i| self.wanted[*i] > 0 && !self.window.contains_key(i))
    }

    /// The chunk to give up for `index`: the oldest that nobody lacks; if a drive waits for `index`, the oldest of
    /// those that the fewest drives lack; else none.
    fn victim(&self, index: usize) -> Option<usize> {
        // A chunk that was asked for stays until it is taken.
        let free = self.window.iter().filter(|(_, (_, buffer))| is_free(buffer));
        let kept = free.filter(|(i, _)| !self.requests.contains(i));
        let (victim, _) = kept.min_by_key(|(i, (load, _))| (self.wanted[**i], *load))?;
        let idle = self.wanted[*victim] == 0;
        (idle || self.requests.contains(&index)).then_some(*victim)
    }
}

/// One drive's way through a master.
#[derive(Debug)]
pub struct Subscription {
    source: Arc<Source>,
    todo: BTreeSet<usize>,
    cursor: usize,
}

impl Subscription {
    /// The next chunk to write, in whatever order suits all drives; `None` when every body chunk was handed out, or
    /// when `stop` says so.
    ///
    /// # Errors
    /// [`SourceError`] if the store cannot be read.
    pub fn next(
        &mut self,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<(usize, Arc<Pooled>)>, SourceError> {
        let mut state = self.source.lock();
        let mut asked = None;
        let found = loop {
            if let Some(error) = &state.failed {
                break Err(error.clone());
            }
            if self.todo.is_empty() || stop() {
                break Ok(None);
            }
            let behind = self.todo.range(self.cursor..).chain(self.todo.range(..self.cursor));
            let mut next = None;
            let mut ready = None;
            for index in behind.copied() {
                next = next.or(Some(index));
                if let Some((_, buffer)) = state.window.get(&index) {
                    ready = Some((index, Arc::clone(buffer)));
                    break;
                }
            }
            if let Some((index, buffer)) = ready {
                self.todo.remove(&index);
                self.cursor = index + 1;
                state.wanted[index] -= 1;
                break Ok(Some((index, buffer)));
            }
            // On every turn: another drive that asked for the same and went away has taken the request with it.
            if let Some(index) = next
                && state.requests.insert(index)
            {
                asked = next;
                self.source.room.notify_one();
            }
            self.source.loaded.wait_for(&mut state, PATIENCE);
        };
        if let Some(index) = asked {
            state.requests.remove(&index);
        }
        let idle = matches!(&found, Ok(Some((index, _))) if state.wanted[*index] == 0);
        drop(state);
        if idle {
            // A place in the window has become free.
            self.source.room.notify_one();
        }
        found
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.source.lock();
        for index in &self.todo {
            state.wanted[*index] -= 1;
        }
        state.drives -= 1;
        drop(state);
        self.source.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use model::digest::Digest;
    use model::drive::Geometry;
    use model::layout::Layout;
    use model::manifest::{Manifest, MasterId, Recipe};
    use model::units::{Bytes, SectorSize};

    fn master(chunks: u64) -> Arc<Master> {
        let image = tempfile::tempfile().unwrap();
        let length = 4096;
        for n in 0..chunks {
            let data = vec![u8::try_from(n % 251).unwrap(); 4096];
            image.write_all_at(&data, n * length).unwrap();
        }
        let geometry = Geometry { size: Bytes(8 << 30), sector: SectorSize::B512 };
        let layout = Layout::default();
        let plan = layout.plan(geometry).unwrap();
        let zero = Digest([0; 32]);
        let recipe =
            Recipe { media_name: "m".into(), media_sha256: zero, image: 1, layout, geometry };
        let chunk = |n| Chunk {
            offset: Bytes(n * length),
            length: Bytes(length),
            sha256: zero,
            stage: Stage::Body,
        };
        let manifest = Manifest {
            format: 1,
            id: MasterId("test".into()),
            recipe,
            plan,
            chunks: (0..chunks).map(chunk).collect(),
            sites: Vec::new(),
            telltales: Vec::new(),
            root_sha256: zero,
            seal_sha256: zero,
            pressed: jiff::Timestamp::now(),
            warnings: Vec::new(),
            boot_programs: Vec::new(),
            base: None,
        };
        let stamp = masters::stamp::of(&image).unwrap();
        Arc::new(Master { manifest, image: image.into(), stamp })
    }

    fn source(master: Arc<Master>, window_size: usize) -> Arc<Source> {
        Source::new(master, Pool::new(window_size), Arc::default(), Arc::default())
    }

    fn drain(subscription: &mut Subscription, mut each: impl FnMut(usize)) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        while let Some((index, buffer)) = subscription.next(&|| false).unwrap() {
            assert!(buffer.iter().all(|b| usize::from(*b) == index % 251), "chunk {index}");
            assert!(seen.insert(index), "chunk {index} twice");
            each(index);
        }
        seen
    }

    #[test]
    fn eight_drives_at_once_read_a_large_master_once() {
        let source = source(master(400), 16);
        // A barrier at every tenth chunk keeps them within the window, as equal drives are.
        let barrier = std::sync::Barrier::new(8);
        let mut subscriptions: Vec<_> = (0..8).map(|_| source.subscribe().unwrap()).collect();
        thread::scope(|scope| {
            for subscription in &mut subscriptions {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut count = 0;
                    let seen = drain(subscription, |_| {
                        count += 1;
                        if count % 8 == 0 {
                            barrier.wait();
                        }
                    });
                    assert_eq!(seen.len(), 400);
                });
            }
        });
        let read = source.read.load(Ordering::Relaxed);
        assert!(read <= 400 * 4096 * 5 / 4, "{read}");
    }

    /// How many chunks are read for eight equally fast drives, each of which starts `gap` chunks after the one before.
    fn read_for_eight(chunks: u64, window_size: usize, gap: usize) -> u64 {
        let source = source(master(chunks), window_size);
        let mut subscriptions = Vec::new();
        for step in 0.. {
            if subscriptions.len() < 8 && step % gap == 0 {
                subscriptions.push(source.subscribe().unwrap());
            }
            let taken = |one: &mut Subscription| one.next(&|| false).unwrap().is_some();
            let moving = subscriptions.iter_mut().map(taken).filter(|taken| *taken).count();
            if moving == 0 && subscriptions.len() == 8 {
                break;
            }
        }
        source.read.load(Ordering::Relaxed) / 4096
    }

    #[test]
    fn eight_drives_one_after_the_other_read_little_twice() {
        assert_eq!(read_for_eight(100, 100, 12), 100, "all of it stays in memory");
        let read = read_for_eight(400, 16, 10);
        assert!((400..=500).contains(&read), "what the last one lacked is read once more: {read}");
    }

    #[test]
    fn a_stalled_drive_holds_nobody_up_and_a_late_one_gets_everything() {
        let source = source(master(100), 4);
        let mut stalled = source.subscribe().unwrap();
        // What it is being written from stays in its hands.
        let held: Vec<_> = (0..2).map(|_| stalled.next(&|| false).unwrap().unwrap()).collect();
        let mut fast = source.subscribe().unwrap();
        assert_eq!(drain(&mut fast, |_| ()).len(), 100);
        let mut late = source.subscribe().unwrap();
        assert_eq!(drain(&mut late, |_| ()).len(), 100);
        drop(held);
        assert_eq!(drain(&mut stalled, |_| ()).len(), 98);
    }

    #[test]
    fn two_masters_share_the_pool_and_neither_starves() {
        let (pool, sharers) = (Pool::new(6), Arc::<AtomicUsize>::default());
        let new =
            || Source::new(master(100), Arc::clone(&pool), Arc::clone(&sharers), Arc::default());
        let first = new();
        let mut stalled = first.subscribe().unwrap();
        let held = stalled.next(&|| false).unwrap();
        let second = new();
        let mut fast = second.subscribe().unwrap();
        assert_eq!(drain(&mut fast, |_| ()).len(), 100);
        drop((fast, second, held));
        assert_eq!(drain(&mut stalled, |_| ()).len(), 99);
    }

    #[test]
    fn an_unreadable_master_is_an_error_for_every_drive() {
        let master = master(20);
        master.image.own().set_len(0).unwrap();
        let source = source(master, 4);
        let mut subscription = source.subscribe().unwrap();
        assert!(subscription.next(&|| false).is_err());
    }

    #[test]
    fn a_stopped_drive_gives_up_waiting() {
        let source = source(master(4), 4);
        let mut subscription = source.subscribe().unwrap();
        assert!(subscription.next(&|| true).unwrap().is_none());
    }
}
