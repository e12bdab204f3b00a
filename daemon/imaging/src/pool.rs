//! Chunk-sized buffers, so many and no more: the memory ceiling of the whole station.
//!
//! Buffers are made when first needed and then used again and again, so that the kernel does not have to clear new
//! memory for every drive.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use drives::buffer::{Buffer, OutOfMemory};
use model::ranges::CHUNK;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// How often whoever waits for a buffer looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// So many buffers are made at once, beside each other.
const SLAB: usize = 16;

/// So many buffers of [`CHUNK`] bytes.
#[derive(Debug)]
pub struct Pool {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    spare: Vec<Buffer>,
    in_use: usize,
    /// How many may be in use.
    capacity: usize,
}

impl Pool {
    /// A pool of at most `capacity` buffers, at least one.
    pub fn new(capacity: usize) -> Arc<Self> {
        let state = State { spare: Vec::new(), in_use: 0, capacity: capacity.max(1) };
        Arc::new(Self { state: Mutex::new(state), returned: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A buffer, if there is one now. Where the system gives no memory for more, those that there are must do.
    ///
    /// # Errors
    /// [`OutOfMemory`] if there are none at all.
    pub fn try_take(self: &Arc<Self>) -> Result<Option<Pooled>, OutOfMemory> {
        let mut state = self.lock();
        if state.in_use >= state.capacity {
            return Ok(None);
        }
        if state.spare.is_empty() {
            let count = SLAB.min(state.capacity - state.in_use);
            match Buffer::slab(CHUNK, count).or_else(|_| Buffer::slab(CHUNK, 1)) {
                Ok(buffers) => state.spare = buffers,
                Err(_) if state.in_use > 0 => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        state.in_use += 1;
        // The one that was used last is the likeliest to be in the processor's caches.
        let buffer = state.spare.pop();
        Ok(Some(Pooled { buffer, pool: Arc::clone(self) }))
    }

    /// A buffer, as soon as there is one; `None` if `stop` says so first.
    ///
    /// # Errors
    /// [`OutOfMemory`] if there is none to wait for.
    pub fn take(self: &Arc<Self>, stop: &dyn Fn() -> bool) -> Result<Option<Pooled>, OutOfMemory> {
        loop {
            if stop() {
                return Ok(None);
            }
            if let Some(buffer) = self.try_take()? {
                return Ok(Some(buffer));
            }
            let mut state = self.lock();
            if state.in_use > 0 && state.spare.is_empty() {
                self.returned.wait_for(&mut state, PATIENCE);
            }
        }
    }

    /// How many buffers may be in use.
    pub fn capacity(&self) -> usize {
        self.lock().capacity
    }

    /// Lets `count` buffers more be in use, because as many are held by a drive that does not answer.
    pub fn write_off(&self, count: usize) {
        self.lock().capacity += count;
        self.returned.notify_all();
    }

    /// Takes back what [`Pool::write_off`] has given: that drive has answered after all.
    pub fn recover(&self, count: usize) {
        let mut state = self.lock();
        state.capacity = state.capacity.saturating_sub(count).max(1);
    }
}

/// A buffer that goes back to its pool when dropped.
#[derive(Debug)]
pub struct Pooled {
    /// Always there until it is dropped.
    buffer: Option<Buffer>,
    pool: Arc<Pool>,
}

impl Deref for Pooled {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        self.buffer.as_ref().expect("there until dropped")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Buffer {
        self.buffer.as_mut().expect("there until dropped")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.in_use -= 1;
        state.spare.extend(self.buffer.take());
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_allowed() {
        let pool = Pool::new(2);
        let (first, second) =
            (pool.try_take().unwrap().unwrap(), pool.try_take().unwrap().unwrap());
        assert!(pool.try_take().unwrap().is_none() && pool.take(&|| true).unwrap().is_none());
        drop(first);
        let third = pool.try_take().unwrap().unwrap();
        // One is held by a drive that does not answer.
        pool.write_off(1);
        let fourth = pool.try_take().unwrap().unwrap();
        assert!(pool.try_take().unwrap().is_none());
        pool.recover(1);
        drop(second);
        assert!(pool.try_take().unwrap().is_none(), "two are in use");
        drop((third, fourth));
        assert_eq!(pool.lock().in_use, 0);
    }

    #[test]
    fn whoever_waits_gets_the_next_one() {
        let pool = Pool::new(1);
        let held = pool.try_take().unwrap().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take(&|| false).unwrap().is_some());
            drop(held);
            assert!(waiting.join().unwrap());
        });
    }
}
