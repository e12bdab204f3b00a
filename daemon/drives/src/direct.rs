//! Reads a drive at any offset through O_DIRECT, with a small cache of its own in place of the kernel's.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

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
