//! Memory that the kernel can read into and write from without copying (O_DIRECT): aligned to 4096 bytes, a multiple
//! of every supported logical sector size.

use std::ops::{Deref, DerefMut};

use crate::sys;
use model::hint::Hint;
use model::units::Bytes;

const ALIGNMENT: usize = 4096;

/// Size of a huge page on x86-64. Where huge pages have another size, this is only a large alignment.
const HUGE_PAGE: usize = 2 << 20;

/// The system has no memory for buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no memory for {0} of buffers")]
pub struct OutOfMemory(pub Bytes);

impl Hint for OutOfMemory {
    fn hint(&self) -> Option<String> {
        Some("give the station more memory, or lower replicate.memory".into())
    }
}

#[derive(Debug)]
enum Memory {
    Own(Vec<u8>),
    Part(&'static mut [u8]),
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(memory) => memory,
            Self::Part(memory) => memory,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Own(memory) => memory,
            Self::Part(memory) => memory,
        }
    }
}

/// A piece of aligned memory. It lies inside an ordinary, slightly larger vector, so that the allocator need not be
/// asked for an alignment.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    start: usize,
    length: usize,
}

impl Buffer {
    /// A buffer of `capacity` zero bytes.
    pub fn zeroed(capacity: Bytes) -> Self {
        let length = capacity.as_usize();
        let memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory: Memory::Own(memory), start, length }
    }

    /// A buffer of `capacity` zero bytes.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn try_zeroed(capacity: Bytes) -> Result<Self, OutOfMemory> {
        let length = capacity.as_usize();
        let mut memory: Vec<u8> = Vec::new();
        memory.try_reserve_exact(length + ALIGNMENT).map_err(|_| OutOfMemory(capacity))?;
        memory.resize(length + ALIGNMENT, 0);
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Ok(Self { memory: Memory::Own(memory), start, length })
    }

    /// `count` buffers of `capacity` bytes beside each other, on huge pages if the kernel has any: it looks up every
    /// page of a buffer for every request. Their memory is never given back to the system.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn slab(capacity: Bytes, count: usize) -> Result<Vec<Self>, OutOfMemory> {
        let length = capacity.as_usize();
        let whole = length * count + HUGE_PAGE;
        let memory = sys::zeros(whole).ok_or(OutOfMemory(Bytes::of(whole)))?;
        let start = memory.as_ptr().align_offset(HUGE_PAGE);
        let memory = &mut memory[start..start + length * count];
        sys::prefer_huge_pages(memory);
        let part = |part| Self { memory: Memory::Part(part), start: 0, length };
        Ok(memory.chunks_mut(length).map(part).collect())
    }

    /// Makes the buffer show its first `length` bytes only, or more of them again.
    ///
    /// # Panics
    /// If `length` is more than the buffer's capacity.
    pub fn resize(&mut self, length: Bytes) {
        let length = length.as_usize();
        assert!(self.start + length <= self.memory.len(), "buffer of {} bytes", self.memory.len());
        self.length = length;
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_resizable() {
        for capacity in [512, 4096, 1 << 20] {
            let mut buffer = Buffer::zeroed(Bytes(capacity));
            assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT), 0);
            buffer.resize(Bytes(512));
            assert_eq!(buffer.len(), 512);
            buffer.resize(Bytes(capacity));
            assert_eq!(Bytes::of(buffer.len()).0, capacity);
        }
    }

    #[test]
    fn buffers_of_a_slab_are_apart() {
        let mut slab = Buffer::slab(Bytes(8192), 3).unwrap();
        for (number, buffer) in (1..).zip(&mut slab) {
            assert!(buffer.as_ptr().align_offset(ALIGNMENT) == 0 && buffer.len() == 8192);
            buffer.fill(number);
        }
        for (number, buffer) in (1..).zip(&slab) {
            assert!(buffer.iter().all(|byte| *byte == number));
        }
    }

    #[test]
    fn memory_that_nobody_has_is_an_error() {
        let absurd = Bytes(1 << 60);
        assert_eq!(Buffer::try_zeroed(absurd).unwrap_err(), OutOfMemory(absurd));
        assert!(Buffer::slab(absurd, 1).is_err());
        assert_eq!(Buffer::try_zeroed(Bytes(512)).unwrap().len(), 512);
    }
}
