//! Reading a drive at any offset through O_DIRECT, with a small cache of our own.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::buffer::Buffer;
use crate::units::Bytes;

/// One read.
const BLOCK: u64 = 1 << 20;
/// Blocks kept.
const KEPT: usize = 64;

/// A drive, or a part of it, as a reader.
#[derive(Debug)]
pub struct DirectReader {
    file: File,
    device_size: Bytes,
    start: Bytes,
    size: Bytes,
    at: u64,
    blocks: HashMap<u64, Buffer>,
    order: VecDeque<u64>,
}

impl DirectReader {
    pub(crate) fn open(node: &Path, size: Bytes) -> io::Result<Self> {
        let flags = i32::try_from((OFlags::DIRECT | OFlags::CLOEXEC).bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(node)?;
        Ok(Self::new(file, size))
    }

    /// Reads a file that was opened with O_DIRECT.
    pub(crate) fn new(file: File, size: Bytes) -> Self {
        Self {
            file,
            device_size: size,
            start: Bytes(0),
            size,
            at: 0,
            blocks: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// From now on, only this part of the drive.
    pub(crate) fn slice(mut self, start: Bytes, size: Bytes) -> Self {
        self.start = start;
        self.size = size;
        self.at = 0;
        self
    }

    /// Reads a range.
    pub(crate) fn bytes(&mut self, offset: Bytes, length: Bytes) -> io::Result<Vec<u8>> {
        let mut data = vec![0; length.as_usize()];
        self.seek(SeekFrom::Start(offset.0))?;
        self.read_exact(&mut data)?;
        Ok(data)
    }

    fn block(&mut self, number: u64) -> io::Result<&Buffer> {
        if !self.blocks.contains_key(&number) {
            let oldest = if self.order.len() >= KEPT { self.order.pop_front() } else { None };
            let kept = oldest.and_then(|oldest| self.blocks.remove(&oldest));
            let mut block = kept.unwrap_or_else(|| Buffer::zeroed(Bytes(BLOCK)));
            let length = BLOCK.min(self.device_size.0.saturating_sub(number * BLOCK));
            block.resize(Bytes(length));
            self.file.read_exact_at(&mut block, number * BLOCK)?;
            self.order.push_back(number);
            self.blocks.insert(number, block);
        }
        self.blocks.get(&number).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Read for DirectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.0.saturating_sub(self.at);
        if left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let place = self.start.0 + self.at;
        let block = self.block(place / BLOCK)?;
        let from = Bytes(place % BLOCK).as_usize();
        let count = buffer.len().min(Bytes(left).as_usize()).min(block.len().saturating_sub(from));
        buffer[..count].copy_from_slice(&block[from..from + count]);
        self.at += Bytes::of(count).0;
        Ok(count)
    }
}

impl Seek for DirectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.size.seek(self.at, to)?;
        Ok(self.at)
    }
}

/// Some readers of file systems ask for a writer too; this one refuses.
impl Write for DirectReader {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
