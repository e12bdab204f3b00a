//! The bytes of a master: those of its own file, or for a derived one also those of its base, of which some lie elsewhere.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use model::layout::Moved;
use model::manifest::Manifest;
use model::media::Stamp;
use model::ranges::{Range, RangeSet};
use model::units::Bytes;

use crate::stamp;

/// What has bytes at places.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// Fills `data` with the bytes from `offset` on.
    ///
    /// # Errors
    /// If they cannot be read, or there are not so many.
    fn fill(&self, data: &mut [u8], offset: Bytes) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill(&self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        self.read_exact_at(data, offset.0)
    }
}

/// The bytes of a master.
#[derive(Debug)]
pub struct Image {
    own: File,
    below: Option<Below>,
}

/// What a derived master has of its base.
#[derive(Debug)]
struct Below {
    file: File,
    /// The file's stamp when it was found whole.
    stamp: Stamp,
    moved: Vec<Moved>,
    /// The ranges that its own file has instead.
    own: RangeSet,
}

impl From<File> for Image {
    fn from(own: File) -> Self {
        Self { own, below: None }
    }
}

impl Image {
    /// The bytes of a derived master: in the ranges `own` those of its own file, elsewhere what has `moved` of its
    /// base's, and zeros.
    ///
    /// # Errors
    /// If the kernel does not give the stamp of the base's file.
    pub fn derived(own: File, base: File, moved: Vec<Moved>, ranges: &[Range]) -> io::Result<Self> {
        let stamp = stamp::of(&base)?;
        let below = Below { file: base, stamp, moved, own: ranges.iter().copied().collect() };
        Ok(Self { own, below: Some(below) })
    }

    /// All files of which it consists, its own first; [`Image::of_files`] makes the same of them.
    ///
    /// # Errors
    /// If the system gives no more descriptors.
    pub fn files(&self) -> io::Result<Vec<File>> {
        let below = self.below.iter().map(|below| &below.file);
        [&self.own].into_iter().chain(below).map(File::try_clone).collect()
    }

    /// The bytes of the master with this manifest, of the files of which it consists; `None` if one is missing.
    ///
    /// # Errors
    /// If the kernel does not give the stamp of the base's file.
    pub fn of_files(
        manifest: &Manifest,
        files: impl IntoIterator<Item = File>,
    ) -> io::Result<Option<Self>> {
        let mut files = files.into_iter();
        let Some(own) = files.next() else { return Ok(None) };
        let Some(base) = &manifest.base else { return Ok(Some(own.into())) };
        let Some((file, moved)) = files.next().zip(manifest.moved()) else { return Ok(None) };
        Self::derived(own, file, moved, &base.own).map(Some)
    }

    /// The file that belongs to this master alone.
    pub fn own(&self) -> &File {
        &self.own
    }

    /// Whether nobody has written to the base's file since it was opened.
    ///
    /// # Errors
    /// If the kernel does not give its stamp.
    pub fn is_base_unwritten(&self) -> io::Result<bool> {
        let Some(Below { file, stamp, .. }) = &self.below else { return Ok(true) };
        stamp::is_unwritten(file, stamp)
    }
}

impl ReadAt for Image {
    fn fill(&self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
        let Some(below) = &self.below else { return self.own.read_exact_at(data, offset.0) };
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (end, from) = below.at(at);
            let count = rest.len().min(Bytes(end.0.saturating_sub(at.0)).as_usize());
            let (part, after) = rest.split_at_mut(count);
            match from {
                Source::Own => self.own.read_exact_at(part, at.0)?,
                Source::Base(place) => below.file.read_exact_at(part, place.0)?,
                Source::Nowhere => part.fill(0),
            }
            at += Bytes::of(count);
            rest = after;
        }
        Ok(())
    }
}

/// Where bytes come from.
enum Source {
    Own,
    /// From this place in the base's file.
    Base(Bytes),
    Nowhere,
}

impl Below {
    /// Where the byte at this place comes from, and up to which place the next ones come from there as well.
    fn at(&self, at: Bytes) -> (Bytes, Source) {
        let own = self.own.ranges();
        let next = own.partition_point(|range| range.end <= at);
        let mut end = Bytes(u64::MAX);
        if let Some(range) = own.get(next) {
            if range.start <= at {
                return (range.end, Source::Own);
            }
            end = range.start;
        }
        for moved in &self.moved {
            let to = moved.to();
            if to.start <= at && at < to.end {
                return (end.min(to.end), Source::Base(moved.from.start + (at - to.start)));
            }
            if to.start > at {
                end = end.min(to.start);
            }
        }
        (end, Source::Nowhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_from_its_place() {
        let file = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            file
        };
        let base: Vec<u8> = (100..200).collect();
        let own: Vec<u8> = (0..100).collect();
        let range = |start, end| Range::new(Bytes(start), Bytes(end));
        let moved = vec![
            Moved { from: range(0, 40), start: Bytes(0) },
            Moved { from: range(50, 60), start: Bytes(80) },
        ];
        let ranges = [range(0, 3), range(10, 12), range(38, 45), range(95, 100)];
        let image = Image::derived(file(&own), file(&base), moved, &ranges).unwrap();
        let expected: Vec<u8> = (0..100_u8)
            .map(|at| match at {
                0..3 | 10..12 | 38..45 | 95.. => at,
                3..40 => 100 + at,
                80..90 => 150 + (at - 80),
                _ => 0,
            })
            .collect();
        for start in 0..100 {
            for end in start..=100 {
                let mut data = vec![0xee; end - start];
                image.fill(&mut data, Bytes::of(start)).unwrap();
                assert_eq!(data, expected[start..end], "{start}..{end}");
            }
        }
        assert!(image.is_base_unwritten().unwrap());
    }
}
