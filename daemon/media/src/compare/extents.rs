//! The clusters of a value, and how they are read and hashed.
//!
//! The bytes that lie on the volume are read in the order of their places, small values together ([`read_all`]); they are
//! hashed in the order of the value ([`Extents::hash`]).

use std::io::{self, Read};

use formats::ntfs::Run;
use model::ranges::Range;
use model::units::Bytes;
use sha1::Digest as _;

use super::Source;
use super::lznt1::{self, Damaged};

/// Length and digest of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sha1 {
    pub(super) length: u64,
    pub(super) digest: [u8; 20],
}

impl Sha1 {
    pub(super) fn of(data: &[u8]) -> Self {
        Self { length: Bytes::of(data.len()).0, digest: sha1::Sha1::digest(data).into() }
    }
}

/// Why the bytes of a value are not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("cannot read its clusters")]
    Read(#[from] io::Error),
    #[error("its compressed data is damaged")]
    Compressed(#[from] Damaged),
    #[error("it has fewer clusters than its length asks for")]
    Short,
    #[error("clusters follow a hole within a unit of compression")]
    Unit,
}

/// Where the bytes of a value lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extents {
    /// Bytes of the value.
    pub(super) size: u64,
    /// Bytes that have been written; the others are zeros.
    pub(super) written: u64,
    pub(super) is_compressed: bool,
    pub(super) runs: Vec<Run>,
}

/// Clusters of a unit of compression; NTFS compresses with no other number.
const UNIT: u64 = 16;

/// What is hashed or read at a time.
const PIECE: usize = 1 << 20;

impl Extents {
    /// Where the value begins on the volume; 0 if it is a hole.
    pub(super) fn position(&self, cluster: Bytes) -> Bytes {
        self.pieces(cluster).next().map_or(Bytes(0), |piece| piece.start)
    }

    /// How many clusters the runs have, with those of holes.
    pub(super) fn clusters(&self) -> u64 {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.count))
    }

    /// All clusters that belong to the value, also those that hold none of its bytes.
    pub(super) fn all_clusters(&self, cluster: Bytes) -> impl Iterator<Item = Range> + '_ {
        self.runs.iter().filter_map(move |run| {
            let start = Bytes(run.at?.saturating_mul(cluster.0));
            let end = start.saturating_add(Bytes(run.count.saturating_mul(cluster.0)));
            Some(Range::new(start, end))
        })
    }

    /// The places of the bytes that are to be read, in the order of the value. Holes have none, and so has what was never
    /// written. Of a compressed value whole clusters are read.
    pub(super) fn pieces(&self, cluster: Bytes) -> impl Iterator<Item = Range> + '_ {
        let mut left = match self.is_compressed {
            true => u64::MAX,
            false => self.size.min(self.written),
        };
        self.runs.iter().filter_map(move |run| {
            let length = run.count.saturating_mul(cluster.0).min(left);
            left -= length;
            let start = Bytes(run.at?.saturating_mul(cluster.0));
            (length > 0).then(|| Range::at(start, Bytes(length)))
        })
    }

    /// Hashes the value. `stored` gives the bytes at its [`Self::pieces`], one after the other.
    pub(super) fn hash(&self, stored: &mut dyn Read, cluster: Bytes) -> Result<Sha1, ValueError> {
        let mut hash = Hash { hash: sha1::Sha1::new(), buffer: Vec::new() };
        match self.is_compressed {
            true => self.hash_compressed(&mut hash, stored, cluster)?,
            false => self.hash_plain(&mut hash, stored, cluster)?,
        }
        Ok(Sha1 { length: self.size, digest: hash.hash.finalize().into() })
    }

    fn hash_plain(
        &self,
        hash: &mut Hash,
        stored: &mut dyn Read,
        cluster: Bytes,
    ) -> Result<(), ValueError> {
        let (mut left, mut written) = (self.size, self.size.min(self.written));
        for run in &self.runs {
            let length = run.count.saturating_mul(cluster.0).min(left);
            let there = length.min(written);
            match run.at {
                Some(_) => hash.read(stored, there)?,
                None => hash.zeros(there),
            }
            hash.zeros(length - there);
            (left, written) = (left - length, written - there);
        }
        if left > 0 { Err(ValueError::Short) } else { Ok(()) }
    }

    fn hash_compressed(
        &self,
        hash: &mut Hash,
        stored: &mut dyn Read,
        cluster: Bytes,
    ) -> Result<(), ValueError> {
        let unit = Bytes(UNIT * cluster.0).as_usize();
        let (mut packed, mut plain) = (vec![0; unit], vec![0; unit]);
        let mut runs = self.runs.iter().copied();
        let mut run = Run { at: None, count: 0 };
        let (mut left, mut written) = (self.size, self.size.min(self.written));
        while left > 0 {
            let (mut there, mut seen) = (0, 0);
            while seen < UNIT {
                if run.count == 0 {
                    match runs.next() {
                        Some(next) => run = next,
                        // Behind the last run there is nothing but the end of a hole.
                        None if seen > 0 => break,
                        None => return Err(ValueError::Short),
                    }
                    continue;
                }
                let count = run.count.min(UNIT - seen);
                if run.at.is_some() {
                    if there < seen {
                        return Err(ValueError::Unit);
                    }
                    there += count;
                }
                seen += count;
                run.count -= count;
            }
            let packed = &mut packed[..Bytes(there * cluster.0).as_usize()];
            stored.read_exact(packed)?;
            match there {
                0 => plain.fill(0),
                UNIT => plain.copy_from_slice(packed),
                _ => lznt1::uncompress(packed, &mut plain)?,
            }
            let length = left.min(UNIT * cluster.0);
            let valid = length.min(written);
            hash.hash.update(&plain[..Bytes(valid).as_usize()]);
            hash.zeros(length - valid);
            (left, written) = (left - length, written - valid);
        }
        Ok(())
    }
}

/// A hash, and the buffer through which it gets its bytes.
struct Hash {
    hash: sha1::Sha1,
    buffer: Vec<u8>,
}

impl Hash {
    fn read(&mut self, stored: &mut dyn Read, mut length: u64) -> Result<(), ValueError> {
        while length > 0 {
            let count = Bytes(length).as_usize().min(PIECE);
            self.buffer.resize(count, 0);
            stored.read_exact(&mut self.buffer)?;
            self.hash.update(&self.buffer);
            length -= Bytes::of(count).0;
        }
        Ok(())
    }

    fn zeros(&mut self, mut length: u64) {
        while length > 0 {
            let count = Bytes(length).as_usize().min(PIECE);
            self.buffer.clear();
            self.buffer.resize(count, 0);
            self.hash.update(&self.buffer);
            length -= Bytes::of(count).0;
        }
    }
}

/// The bytes at places of a volume, one place after the other.
pub(super) struct Stored<'a, I> {
    source: &'a mut dyn Source,
    places: I,
    current: Range,
}

impl<'a, I: Iterator<Item = Range>> Stored<'a, I> {
    pub(super) fn new(source: &'a mut dyn Source, places: I) -> Self {
        Self { source, places, current: Range::new(Bytes(0), Bytes(0)) }
    }
}

impl<I: Iterator<Item = Range>> Read for Stored<'_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.places.next() {
                Some(next) => self.current = next,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.length().as_usize());
        self.source.read_exact_at(&mut buffer[..count], self.current.start)?;
        self.current.start += Bytes::of(count);
        Ok(count)
    }
}

/// The longest gap between two places that is read along with them: another request would cost more.
const GAP: Bytes = Bytes(16 << 10);

/// Reads the values at these places, each one whole; near ones with one request, in the order of the volume. A value that
/// cannot be read is an error of its own.
pub(super) fn read_all(
    source: &mut dyn Source,
    values: &[Vec<Range>],
) -> Vec<Result<Vec<u8>, io::Error>> {
    let mut all = Vec::with_capacity(values.len());
    let mut pieces = Vec::new();
    for (index, places) in values.iter().enumerate() {
        let mut length = 0;
        for place in places {
            pieces.push((*place, index, length));
            length += place.length().as_usize();
        }
        all.push(Ok(vec![0; length]));
    }
    pieces.sort_unstable_by_key(|(place, ..)| (place.start, place.end));
    let mut window = Vec::new();
    let mut rest = pieces.as_slice();
    while let Some((first, ..)) = rest.first() {
        let mut whole = *first;
        let near = rest.iter().take_while(|(place, ..)| {
            let joined = Range::new(whole.start, whole.end.max(place.end));
            let is_near = place.start <= whole.end.saturating_add(GAP)
                && (joined == whole || joined.length() <= Bytes::of(PIECE));
            if is_near {
                whole = joined;
            }
            is_near
        });
        let (together, after) = rest.split_at(near.count());
        rest = after;
        window.resize(whole.length().as_usize(), 0);
        let result = source.read_exact_at(&mut window, whole.start);
        for (place, index, at) in together {
            match (&result, &mut all[*index]) {
                (Ok(()), Ok(value)) => {
                    let from = (place.start - whole.start).as_usize();
                    let length = place.length().as_usize();
                    value[*at..at + length].copy_from_slice(&window[from..from + length]);
                }
                (Err(error), place @ Ok(_)) => *place = Err(io::Error::from(error.kind())),
                (_, Err(_)) => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume of 4,096 numbered clusters of 512 bytes, which counts what is read.
    struct Numbered {
        reads: Vec<(u64, usize)>,
    }

    const CLUSTER: Bytes = Bytes(512);

    fn byte(at: u64) -> u8 {
        (at / 512 % 251).to_le_bytes()[0].wrapping_add(at.to_le_bytes()[0])
    }

    impl Source for Numbered {
        fn read_exact_at(&mut self, data: &mut [u8], offset: Bytes) -> io::Result<()> {
            self.reads.push((offset.0, data.len()));
            for (place, at) in data.iter_mut().zip(offset.0..) {
                *place = byte(at);
            }
            match offset.0 + Bytes::of(data.len()).0 > 4096 * 512 {
                true => Err(io::ErrorKind::UnexpectedEof.into()),
                false => Ok(()),
            }
        }
    }

    fn run(at: impl Into<Option<u64>>, count: u64) -> Run {
        Run { at: at.into(), count }
    }

    fn bytes(from: u64, length: u64) -> Vec<u8> {
        (from..from + length).map(byte).collect()
    }

    fn hashed(extents: &Extents) -> Result<Sha1, ValueError> {
        let mut source = Numbered { reads: Vec::new() };
        let streamed =
            extents.hash(&mut Stored::new(&mut source, extents.pieces(CLUSTER)), CLUSTER);
        let read = read_all(&mut source, &[extents.pieces(CLUSTER).collect()]).remove(0)?;
        let together = extents.hash(&mut read.as_slice(), CLUSTER);
        if let (Ok(streamed), Ok(together)) = (&streamed, &together) {
            assert_eq!(streamed, together);
        }
        streamed
    }

    #[test]
    fn holes_and_what_was_never_written_are_zeros() {
        let runs = vec![run(10, 2), run(None, 3), run(4, 1)];
        let mut right = bytes(5120, 1024);
        right.extend([0; 1536]);
        right.extend(bytes(2048, 300));
        let mut extents = Extents { size: 2860, written: 2860, is_compressed: false, runs };
        assert_eq!(hashed(&extents).unwrap(), Sha1::of(&right));
        extents.written = 700;
        right[700..].fill(0);
        assert_eq!(hashed(&extents).unwrap(), Sha1::of(&right));
        assert_eq!(
            extents.pieces(CLUSTER).collect::<Vec<_>>(),
            [Range::at(Bytes(5120), Bytes(700))]
        );
        extents.size = 3073;
        assert!(matches!(hashed(&extents), Err(ValueError::Short)));
    }

    #[test]
    fn units_that_are_stored_as_they_are_and_units_of_nothing() {
        let runs = vec![run(100, 10), run(200, 6), run(None, 16), run(50, 16)];
        let mut right = bytes(51_200, 5120);
        right.extend(bytes(102_400, 3072));
        right.extend([0; 8192]);
        right.extend(bytes(25_600, 8192));
        let mut extents = Extents { size: 24_000, written: 24_000, is_compressed: true, runs };
        right.truncate(24_000);
        assert_eq!(hashed(&extents).unwrap(), Sha1::of(&right));
        extents.runs = vec![run(None, 3), run(5, 13)];
        assert!(matches!(hashed(&extents), Err(ValueError::Unit)));
        extents.runs = vec![run(5, 16)];
        assert!(matches!(hashed(&extents), Err(ValueError::Short)));
    }

    #[test]
    fn near_places_are_read_with_one_request_and_far_ones_are_not() {
        let mut source = Numbered { reads: Vec::new() };
        let at = |start: u64, length: u64| Range::at(Bytes(start), Bytes(length));
        let values = [
            vec![at(40_000, 10), at(0, 10)],
            vec![at(200, 700)],
            vec![],
            vec![at(41_000, 100), at(40_005, 2)],
            vec![at(4096 * 512 - 5, 10)],
        ];
        let read = read_all(&mut source, &values);
        for (places, read) in values[..4].iter().zip(&read) {
            let right: Vec<u8> =
                places.iter().flat_map(|place| bytes(place.start.0, place.length().0)).collect();
            assert_eq!(*read.as_ref().unwrap(), right);
        }
        assert!(read[4].is_err());
        assert_eq!(source.reads, [(0, 900), (40_000, 1100), (4096 * 512 - 5, 10)]);
    }

    proptest::proptest! {
        /// Each byte is read once, however the places lie, but for the gaps.
        #[test]
        fn no_byte_is_read_twice(starts in proptest::collection::vec(0_u64..4000, 1..50)) {
            let mut source = Numbered { reads: Vec::new() };
            let values: Vec<_> =
                starts.iter().map(|at| vec![Range::at(Bytes(at * 512), Bytes(512))]).collect();
            let read = read_all(&mut source, &values);
            for (value, at) in read.iter().zip(&starts) {
                proptest::prop_assert_eq!(value.as_ref().unwrap(), &bytes(at * 512, 512));
            }
            let mut end = 0;
            for (at, length) in source.reads {
                proptest::prop_assert!(at >= end);
                end = at + Bytes::of(length).0;
            }
        }
    }
}
