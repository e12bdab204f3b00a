//! A master as a finished drive would hold it: an identity of its own at the fix-up sites, and noise wherever the
//! manifest writes nothing, as on a drive that was used before.
//!
//! Who compares this with the media tries the manifest along with the image: a chunk that is missing and a site in the
//! wrong place show as wrong bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use model::identity::{Identity, stamp};
use model::manifest::{Chunk, Manifest};
use model::ranges::{Range, RangeSet};
use model::units::Bytes;

use super::drive::{Drive, Stream};
use crate::compare::Source;

/// What stands where nothing is written.
const NOISE: u8 = 0xa5;

/// A master that is read as a drive.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    image: Arc<File>,
    written: Arc<RangeSet>,
    /// What stands at the fix-up sites, in their order.
    stamped: Arc<Vec<(Bytes, Vec<u8>)>>,
    size: Bytes,
}

impl Finished {
    /// The drive that a master gives with this identity.
    ///
    /// # Errors
    /// If the image cannot be read; of kind `InvalidData` if a site does not lie in a chunk.
    pub(super) fn new(image: File, manifest: &Manifest, identity: &Identity) -> io::Result<Self> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut stamped = Vec::new();
        let mut sites = manifest.sites.clone();
        sites.sort_by_key(|site| site.offset);
        for chunk in &manifest.chunks {
            let range = chunk.range();
            let own = || sites.iter().filter(|site| site.range().overlaps(range));
            if own().next().is_none() {
                continue;
            }
            let mut data = vec![0; chunk.length.as_usize()];
            image.read_exact_at(&mut data, chunk.offset.0)?;
            stamp(&mut data, chunk.offset, &sites, identity)
                .map_err(|error| invalid(error.to_string()))?;
            for site in own() {
                let from = (site.offset - chunk.offset).as_usize();
                let bytes = data[from..from + site.length.as_usize()].to_vec();
                stamped.push((site.offset, bytes));
            }
        }
        if stamped.len() != sites.len() {
            return Err(invalid("a fix-up site lies in no chunk".into()));
        }
        Ok(Self {
            image: Arc::new(image),
            written: Arc::new(manifest.chunks.iter().map(Chunk::range).collect()),
            stamped: Arc::new(stamped),
            size: manifest.plan.geometry.size,
        })
    }

    /// Fills `data` with the drive's bytes from `offset` on.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub(super) fn read_exact_at(&self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        let wanted = Range::at(offset, Bytes::of(data.len()));
        let part = |range: Range| {
            let (start, end) = (range.start.max(wanted.start), range.end.min(wanted.end));
            (start - wanted.start).as_usize()..(end - wanted.start).as_usize()
        };
        let ranges = self.written.ranges();
        let first = ranges.partition_point(|range| range.end <= wanted.start);
        let mut at = 0;
        for range in ranges[first..].iter().take_while(|range| range.start < wanted.end) {
            let place = part(*range);
            data[at..place.start].fill(NOISE);
            at = place.end;
            let from = offset.0 + Bytes::of(place.start).0;
            self.image.read_exact_at(&mut data[place], from)?;
        }
        data[at..].fill(NOISE);
        // No site is longer than a GUID.
        let from = offset.saturating_sub(Bytes(16));
        let first = self.stamped.partition_point(|(place, _)| *place < from);
        for (place, bytes) in self.stamped[first..].iter().take_while(|(at, _)| *at < wanted.end) {
            let site = Range::at(*place, Bytes::of(bytes.len()));
            if site.overlaps(wanted) {
                let target = part(site);
                let skip = wanted.start.saturating_sub(site.start).as_usize();
                let count = target.len();
                data[target].copy_from_slice(&bytes[skip..skip + count]);
            }
        }
        Ok(())
    }

    /// A part of the drive as a reader; offset 0 is the part's first byte.
    fn reader(&self, range: Range) -> Part {
        let end = range.end.min(self.size);
        Part { drive: self.clone(), range: Range::new(range.start, end), at: 0 }
    }
}

impl Drive for Finished {
    fn part(&self, range: Range) -> Box<dyn Source> {
        Box::new(self.reader(range))
    }

    fn stream(&self, range: Range) -> Box<dyn Stream> {
        Box::new(self.reader(range))
    }
}

/// A part of a drive as a reader.
#[derive(Debug)]
struct Part {
    drive: Finished,
    range: Range,
    at: u64,
}

impl Source for Part {
    fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        if offset.saturating_add(Bytes::of(data.len())) > self.range.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.drive.read_exact_at(data, self.range.start + offset)
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = Bytes(self.range.length().0.saturating_sub(self.at)).as_usize();
        let count = buffer.len().min(left);
        self.drive.read_exact_at(&mut buffer[..count], self.range.start + Bytes(self.at))?;
        self.at += Bytes::of(count).0;
        Ok(count)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.range.length().seek(self.at, to)?;
        Ok(self.at)
    }
}

/// The library for FAT asks for a writer even to read. Every write fails.
impl Write for Part {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::digest::Digest;
    use model::drive::Geometry;
    use model::identity::{Fixup, Site};
    use model::layout::Layout;
    use model::manifest::{FORMAT, Recipe, Stage};
    use model::units::SectorSize;

    use super::*;

    fn manifest(chunks: &[(u64, u64)], sites: Vec<Site>) -> Manifest {
        let geometry = Geometry { size: Bytes(8 << 30), sector: SectorSize::B512 };
        let recipe = Recipe {
            media_name: String::new(),
            media_sha256: Digest([0; 32]),
            image: 1,
            layout: Layout::default(),
            geometry,
        };
        let chunk = |&(offset, length): &(u64, u64)| Chunk {
            offset: Bytes(offset),
            length: Bytes(length),
            sha256: Digest([0; 32]),
            stage: Stage::Body,
        };
        Manifest {
            format: FORMAT,
            id: recipe.id(),
            plan: recipe.layout.plan(geometry).unwrap(),
            recipe,
            chunks: chunks.iter().map(chunk).collect(),
            sites,
            telltales: Vec::new(),
            root_sha256: Digest([0; 32]),
            seal_sha256: Digest([0; 32]),
            pressed: Timestamp::UNIX_EPOCH,
            warnings: Vec::new(),
            boot_programs: Vec::new(),
            base: None,
        }
    }

    /// Every part of the drive, read at every offset and length, has the same bytes.
    #[test]
    fn what_is_not_written_is_noise_and_sites_are_stamped() {
        let image = tempfile::tempfile().unwrap();
        image.write_all_at(&[7; 200], 0).unwrap();
        let identity = Identity::random(1);
        let serial = identity.partitions[0].volume_serial.to_le_bytes();
        let site =
            |offset| Site { offset: Bytes(offset), length: Bytes(8), fixup: Fixup::NtfsSerial(0) };
        let manifest = manifest(&[(20, 40), (60, 10), (100, 50)], vec![site(120), site(56 - 4)]);
        let drive = Finished::new(image, &manifest, &identity).unwrap();
        let mut whole = [NOISE; 200];
        for (start, end) in [(20, 70), (100, 150)] {
            whole[start..end].fill(7);
        }
        whole[52..60].copy_from_slice(&serial);
        whole[120..128].copy_from_slice(&serial);
        for start in 0..200 {
            for end in start..200 {
                let mut data = vec![0; end - start];
                drive.read_exact_at(&mut data, Bytes::of(start)).unwrap();
                assert_eq!(data, whole[start..end], "{start}..{end}");
            }
        }
        let mut part = drive.stream(Range::new(Bytes(18), Bytes(30)));
        let mut data = Vec::new();
        part.read_to_end(&mut data).unwrap();
        assert_eq!(data, whole[18..30]);
    }

    #[test]
    fn a_site_outside_of_all_chunks_is_found() {
        let image = tempfile::tempfile().unwrap();
        image.write_all_at(&[7; 200], 0).unwrap();
        let site = Site { offset: Bytes(150), length: Bytes(8), fixup: Fixup::NtfsSerial(0) };
        let manifest = manifest(&[(20, 40)], vec![site]);
        assert!(Finished::new(image, &manifest, &Identity::random(1)).is_err());
    }
}
