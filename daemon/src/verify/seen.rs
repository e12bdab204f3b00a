//! The drive as it is read: raw, and with the identity of its record taken out.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use drives::direct::DirectPart;
use masters::layers::ReadAt;
use media::compare::Source;
use model::identity::{Identity, unstamp};
use model::manifest::Manifest;
use model::ranges::Range;
use model::units::Bytes;
use parking_lot::Mutex;

/// The drive, read through O_DIRECT by several threads.
#[derive(Debug)]
pub(super) struct Drive {
    file: Arc<File>,
    size: Bytes,
    /// Readers that no thread uses now; each has a buffer.
    spare: Mutex<Vec<DirectPart>>,
}

impl Drive {
    pub(super) fn new(file: Arc<File>, size: Bytes) -> Self {
        Self { file, size, spare: Mutex::default() }
    }

    /// Whether it was pulled: then the kernel shows it as empty.
    pub(super) fn is_gone(&self) -> bool {
        (&*self.file).seek(SeekFrom::End(0)).map_or(true, |end| end == 0)
    }
}

impl ReadAt for Drive {
    fn fill(&self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        let whole = || Range::new(Bytes(0), self.size);
        let spare = self.spare.lock().pop();
        let new = || DirectPart::new(Arc::clone(&self.file), self.size, whole());
        let mut part = spare.unwrap_or_else(new);
        let read = part.read_exact_at(data, offset);
        self.spare.lock().push(part);
        read
    }
}

/// The drive with the placeholder wherever the record's identity stands, so that a chunk has the digest in the manifest.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    drive: &'a Drive,
    manifest: &'a Manifest,
    identity: &'a Identity,
    /// The chunks that cannot be read, or have another identity: their digests say nothing.
    doubted: Mutex<BTreeSet<Bytes>>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(drive: &'a Drive, manifest: &'a Manifest, identity: &'a Identity) -> Self {
        Self { drive, manifest, identity, doubted: Mutex::default() }
    }

    /// The chunks that differ whatever their digests are, by their places in the manifest.
    pub(super) fn doubted(&self) -> Vec<usize> {
        let doubted = self.doubted.lock();
        let all = self.manifest.chunks.iter().enumerate();
        all.filter(|(_, chunk)| doubted.contains(&chunk.offset)).map(|(index, _)| index).collect()
    }
}

impl ReadAt for Seen<'_> {
    /// Fails only if the drive is gone: what cannot be read is a difference.
    fn fill(&self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        let Self { drive, manifest, identity, doubted } = self;
        if let Err(error) = drive.fill(data, offset) {
            if drive.is_gone() {
                return Err(error);
            }
            data.fill(0);
            doubted.lock().insert(offset);
            return Ok(());
        }
        let range = Range::at(offset, Bytes::of(data.len()));
        // Nearly all chunks have no site, and need no copy.
        if manifest.sites.iter().any(|site| site.range().overlaps(range))
            && !unstamp(data, offset, &manifest.sites, identity).map_err(io::Error::other)?
        {
            doubted.lock().insert(offset);
        }
        Ok(())
    }
}

/// A part of something as a volume of its own, which can only be read. What stands on a drive can lead a parser in a
/// circle, so it may be read a few times at most.
pub(super) struct Portion {
    from: Arc<dyn ReadAt>,
    range: Range,
    at: u64,
    budget: u64,
}

/// How often all of a portion may be read.
const TIMES: u64 = 4;
/// What each read costs of the budget at least.
const LEAST: u64 = 512;

impl Portion {
    pub(super) fn new(from: Arc<dyn ReadAt>, range: Range) -> Self {
        Self { from, range, at: 0, budget: range.length().0.saturating_mul(TIMES) }
    }
}

impl Source for Portion {
    fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        let length = Bytes::of(data.len());
        if offset.saturating_add(length) > self.range.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = self.budget.checked_sub(length.0.max(LEAST));
        self.budget = left.ok_or_else(|| io::Error::other("its structures have no end"))?;
        self.from.fill(data, self.range.start + offset)
    }
}

impl Read for Portion {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.length().saturating_sub(Bytes(self.at)).as_usize();
        let count = left.min(buffer.len());
        self.read_exact_at(&mut buffer[..count], Bytes(self.at))?;
        self.at += Bytes::of(count).0;
        Ok(count)
    }
}

impl Seek for Portion {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.range.length().seek(self.at, to)?;
        Ok(self.at)
    }
}

impl Write for Portion {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
