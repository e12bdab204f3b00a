//! Reads a drive at any offset through O_DIRECT, with a small cache of its own in place of the kernel's.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use model::ranges::Range;
use model::units::Bytes;
use rustix::fs::OFlags;

use crate::buffer::Buffer;

/// The size of a reader's cache: `kept` blocks of `block` bytes, each filled by one read.
#[derive(Clone, Copy, Debug)]
struct Cache {
    block: u64,
    kept: usize,
}

/// The cache for reading a whole drive.
const LARGE: Cache = Cache { block: 1 << 20, kept: 64 };

/// The cache for reading a single file, which many drives may do at once: a mebibyte each.
const SMALL: Cache = Cache { block: 64 << 10, kept: 16 };

/// Fills a buffer with the drive's bytes from an offset.
type ReadAt<'a> = dyn Fn(&mut Buffer, Bytes) -> io::Result<()> + 'a;

/// A drive, or a part of it, as a reader.
pub struct DirectReader<'a> {
    read_at: Box<ReadAt<'a>>,
    device_size: Bytes,
    start: Bytes,
    size: Bytes,
    at: u64,
    cache: Cache,
    blocks: HashMap<u64, Buffer>,
    order: VecDeque<u64>,
    /// How much may still be read; `None` without a limit.
    budget: Option<u64>,
}

/// What each read costs of a reader's budget at least: as many small reads as one likes are work, too.
const LEAST: u64 = 512;

impl std::fmt::Debug for DirectReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectReader")
            .field("start", &self.start)
            .field("size", &self.size)
            .finish()
    }
}

/// Opens a drive for reading around the page cache.
///
/// # Errors
/// If the drive cannot be opened.
pub fn open(node: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::DIRECT | OFlags::CLOEXEC).bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(node)
}

impl DirectReader<'static> {
    /// Reads all of a drive of `size` bytes, which [`open`] has opened.
    pub fn over(file: Arc<File>, size: Bytes) -> Self {
        let read_at =
            move |buffer: &mut Buffer, offset: Bytes| file.read_exact_at(buffer, offset.0);
        Self::caching(Box::new(read_at), size, LARGE)
    }
}

impl<'a> DirectReader<'a> {
    /// A reader for a few files of a drive of `size` bytes. `read_at` fills a buffer from a byte offset.
    pub fn new(size: Bytes, read_at: impl Fn(&mut Buffer, Bytes) -> io::Result<()> + 'a) -> Self {
        Self::caching(Box::new(read_at), size, SMALL)
    }

    fn caching(read_at: Box<ReadAt<'a>>, size: Bytes, cache: Cache) -> Self {
        Self {
            cache,
            read_at,
            device_size: size,
            start: Bytes(0),
            size,
            at: 0,
            blocks: HashMap::new(),
            order: VecDeque::new(),
            budget: None,
        }
    }

    /// Limits the reader to the `size` bytes from `start`; offset 0 is `start` from now on.
    #[must_use]
    pub fn slice(mut self, start: Bytes, size: Bytes) -> Self {
        self.start = start;
        self.size = size;
        self.at = 0;
        self
    }

    /// Limits how much can be read in all. What stands on a drive can lead a parser in a circle.
    #[must_use]
    pub fn within(self, budget: Bytes) -> Self {
        Self { budget: Some(budget.0), ..self }
    }

    /// Reads `length` bytes from `offset`.
    ///
    /// # Errors
    /// If the drive cannot be read there, or the range ends behind the reader's end.
    pub fn bytes(&mut self, offset: Bytes, length: Bytes) -> io::Result<Vec<u8>> {
        let mut data = vec![0; length.as_usize()];
        self.seek(SeekFrom::Start(offset.0))?;
        self.read_exact(&mut data)?;
        Ok(data)
    }

    fn block(&mut self, number: u64) -> io::Result<&Buffer> {
        let Cache { block: size, kept: most } = self.cache;
        if !self.blocks.contains_key(&number) {
            let oldest = if self.order.len() >= most { self.order.pop_front() } else { None };
            let kept = oldest.and_then(|oldest| self.blocks.remove(&oldest));
            let mut block = kept.unwrap_or_else(|| Buffer::zeroed(Bytes(size)));
            let length = size.min(self.device_size.0.saturating_sub(number * size));
            block.resize(Bytes(length));
            (self.read_at)(&mut block, Bytes(number * size))?;
            self.order.push_back(number);
            self.blocks.insert(number, block);
        }
        self.blocks.get(&number).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// A part of a drive that is read at any place, each time straight from the drive, and no more of it than was asked for,
/// to whole blocks.
#[derive(Debug)]
pub struct DirectPart {
    file: Arc<File>,
    device_size: Bytes,
    range: Range,
    buffer: Buffer,
}

/// What requests begin and end at: no drive has larger sectors.
const BLOCK: u64 = 4096;
/// The longest request.
const REQUEST: u64 = 1 << 20;

impl DirectPart {
    /// A part of a drive of `size` bytes, which [`open`] has opened.
    pub fn new(file: Arc<File>, size: Bytes, range: Range) -> Self {
        Self { file, device_size: size, range, buffer: Buffer::zeroed(Bytes(REQUEST)) }
    }

    /// Fills `data` with the bytes from `offset` on.
    ///
    /// # Errors
    /// If the drive cannot be read there, or the part ends before.
    pub fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        let end = offset.saturating_add(Bytes::of(data.len()));
        if end > self.range.length() || self.range.end > self.device_size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = self.range.start + offset;
        let mut rest = data;
        while !rest.is_empty() {
            let start = at.align_down(BLOCK);
            let end = (at + Bytes::of(rest.len())).align_up(BLOCK).min(self.device_size);
            let length = (end - start).min(Bytes(REQUEST));
            self.buffer.resize(length);
            self.file.read_exact_at(&mut self.buffer, start.0)?;
            let found = &self.buffer[(at - start).as_usize()..];
            let count = found.len().min(rest.len());
            let (place, after) = rest.split_at_mut(count);
            place.copy_from_slice(&found[..count]);
            at += Bytes::of(count);
            rest = after;
        }
        Ok(())
    }
}

impl Read for DirectReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.0.saturating_sub(self.at);
        if left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        if let Some(budget) = &mut self.budget {
            let left = budget.checked_sub(LEAST.max(Bytes::of(buffer.len()).0));
            *budget = left.ok_or_else(|| io::Error::other("its structures have no end"))?;
        }
        let place = self.start.0 + self.at;
        let size = self.cache.block;
        let block = self.block(place / size)?;
        let from = Bytes(place % size).as_usize();
        let count = buffer.len().min(Bytes(left).as_usize()).min(block.len().saturating_sub(from));
        buffer[..count].copy_from_slice(&block[from..from + count]);
        self.at += Bytes::of(count).0;
        Ok(count)
    }
}

impl Seek for DirectReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.size.seek(self.at, to)?;
        Ok(self.at)
    }
}

/// Some libraries for file systems ask for a writer even to read. Every write fails.
impl Write for DirectReader<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part gives its own bytes, wherever it begins and whatever is asked for.
    #[test]
    fn a_part_is_read_at_any_place() {
        let mut whole = vec![0; (2 << 20) + 4096];
        for (at, byte) in whole.iter_mut().enumerate() {
            *byte = (at % 251).to_le_bytes()[0];
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole).unwrap();
        let (file, size) = (Arc::new(file), Bytes::of(whole.len()));
        let range = Range::new(Bytes(1536), size);
        let mut part = DirectPart::new(Arc::clone(&file), size, range);
        for (offset, length) in
            [(0, 1), (511, 2), (4095, 5000), (0, whole.len() - 1536), (1 << 20, 1 << 20)]
        {
            let mut data = vec![0; length];
            part.read_exact_at(&mut data, Bytes::of(offset)).unwrap();
            assert_eq!(data, whole[1536 + offset..1536 + offset + length]);
        }
        let last = size - Bytes(1536 + 1);
        assert!(part.read_exact_at(&mut [0], last).is_ok());
        assert!(part.read_exact_at(&mut [0; 2], last).is_err());
        assert!(part.read_exact_at(&mut [0; 2], Bytes(u64::MAX)).is_err());
        let beyond = Range::new(Bytes(0), size + Bytes(512));
        assert!(DirectPart::new(file, size, beyond).read_exact_at(&mut [0], Bytes(0)).is_err());
    }
}
