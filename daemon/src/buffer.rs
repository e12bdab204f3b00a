//! Memory that the kernel can read into and write from without copying: aligned to 4096 bytes, which every
//! supported logical sector size divides.

use std::ops::{Deref, DerefMut};

use crate::units::Bytes;

const ALIGNMENT: usize = 4096;

/// A piece of aligned memory. Made of whole pages inside an ordinary vector, so that no allocator calls of our
/// own are needed.
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Zeroed memory for up to `capacity` bytes, all of it in use.
    pub fn zeroed(capacity: Bytes) -> Self {
        let length = capacity.as_usize();
        let memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, length }
    }

    /// Uses only the first `length` bytes from now on, or more of them again.
    ///
    /// # Panics
    /// If it was made for less.
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
}
