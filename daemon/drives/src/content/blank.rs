//! Whether a drive is blank: the same byte over and over, wherever it is looked at, and nothing that libblkid knows.
//!
//! Both ends are read, and [`PLACES`] places between them. The drive is divided into as many equal parts, and the place
//! in each is drawn anew for each look, so that no regular layout of data can stand between the places. A stretch of
//! data as long as two parts is always hit; of data scattered over a share of the drive, none is hit with the
//! probability (1 - share)^[`PLACES`].

use std::io;

use model::ranges::{CHUNK, GRAIN, Range, RangeSet};
use model::units::Bytes;

use super::View;
use crate::buffer::Buffer;

/// How many places between the ends are read.
pub const PLACES: u64 = 256;

/// How much is read at each.
const PLACE: Bytes = Bytes(64 << 10);

/// How much is read at each end: the starts of partitions and their tables, and what RAIDs keep at the end.
const END: Bytes = Bytes::mib(8);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The drive repeats this byte; `None` if it has no bytes.
    Blank(Option<u8>),
    /// Something else, in words for an operator.
    Holds(String),
}

/// Looks at a sample of the drive.
///
/// # Errors
/// If the drive cannot be read, or libblkid cannot be asked.
pub fn sample(view: &View) -> io::Result<Finding> {
    let size = view.geometry().size;
    let ends = [Range::new(Bytes(0), END.min(size)), Range::new(size - END.min(size), size)];
    let mut byte = None;
    let differs = |ranges: &[Range], byte: &mut Option<u8>| {
        let ranges: RangeSet = ranges.iter().copied().collect();
        first_difference(view, &ranges.pieces().collect::<Vec<_>>(), byte)
    };
    let mut at = differs(&ends, &mut byte)?;
    let probed = view.probe(None)?;
    if at.is_none() && probed.is_nothing() {
        at = differs(&places(size, &mut || fastrand::u64(..)), &mut byte)?;
    }
    Ok(match at {
        _ if !probed.is_nothing() => Finding::Holds(probed.words()),
        Some(at) => Finding::Holds(unknown_data(at)),
        None => Finding::Blank(byte),
    })
}

/// Words for data that nobody has put a signature on.
pub fn unknown_data(at: Bytes) -> String {
    format!("data of an unknown kind, at byte {}", at.0)
}

/// Looks at a sample of what lies outside of `known`, as closely as [`sample`] looks at a whole drive. Returns where a
/// byte lies that differs from the others.
///
/// # Errors
/// If the drive cannot be read.
pub(super) fn data_outside(view: &View, known: &RangeSet) -> io::Result<Option<Bytes>> {
    let size = view.geometry().size;
    let ends = [Range::new(Bytes(0), END.min(size)), Range::new(size - END.min(size), size)];
    let looked_at: RangeSet =
        ends.into_iter().chain(places(size, &mut || fastrand::u64(..))).collect();
    let unknown = looked_at.without(known);
    first_difference(view, &unknown.pieces().collect::<Vec<_>>(), &mut None)
}

/// The places between the ends, one drawn at random in each of equal parts.
fn places(size: Bytes, random: &mut dyn FnMut() -> u64) -> Vec<Range> {
    let between = Range::new(END.min(size), (size - END.min(size)).max(END.min(size)));
    let part = Bytes((between.length().0 / PLACES).max(PLACE.0)).align_up(GRAIN);
    let mut places = Vec::new();
    let mut start = between.start;
    while start < between.end {
        let end = (start + part).min(between.end);
        let spare = (end - start).0.saturating_sub(PLACE.0) / GRAIN;
        let at = start + Bytes(random() % (spare + 1) * GRAIN);
        places.push(Range::new(at, (at + PLACE).min(end)));
        start = end;
    }
    places
}

/// The grain in which the first byte of these ranges lies, in their order, that is not `byte`. If that is `None`, it becomes the first byte.
fn first_difference(
    view: &View,
    ranges: &[Range],
    byte: &mut Option<u8>,
) -> io::Result<Option<Bytes>> {
    let mut buffer = Buffer::zeroed(CHUNK);
    for range in ranges {
        buffer.resize(range.length());
        view.read(&mut buffer, range.start)?;
        let Some(first) = buffer.first().copied() else { continue };
        let same = *byte.get_or_insert(first);
        if let Some(at) = buffer.iter().position(|found| *found != same) {
            return Ok(Some((range.start + Bytes::of(at)).align_down(GRAIN)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::*;
    use crate::claim::IoClock;
    use model::drive::Geometry;
    use model::units::SectorSize;

    const SIZE: Bytes = Bytes::mib(420);

    /// A blank file, and what it looks like after a change.
    fn after(change: impl FnOnce(&File)) -> Finding {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE.0).unwrap();
        change(&file);
        let geometry = Geometry { size: SIZE, sector: SectorSize::B512 };
        sample(&View::of(file, geometry, Path::new("/sbin/blkid"), &IoClock::default())).unwrap()
    }

    #[test]
    fn one_byte_over_and_over_is_blank_and_nothing_else() {
        assert_eq!(after(|_| ()), Finding::Blank(Some(0)));
        let holds = |change: &dyn Fn(&File)| match after(change) {
            Finding::Holds(what) => what,
            blank @ Finding::Blank(_) => panic!("{blank:?}"),
        };
        let put = |file: &File, data: &[u8], at: u64| file.write_all_at(data, at).unwrap();
        assert_eq!(holds(&|f| put(f, &[1], 4096)), "data of an unknown kind, at byte 4096");
        let last = SIZE.0 - 1;
        assert_eq!(
            holds(&|f| put(f, &[1], last)),
            format!("data of an unknown kind, at byte {}", SIZE.0 - GRAIN)
        );
        // Each place may repeat a byte, but not each a byte of its own.
        let middle = vec![0xff; 64 << 20];
        assert!(holds(&|f| put(f, &middle, 200 << 20)).starts_with("data of an unknown kind"));
        // As long as two parts, and so certain to be hit.
        let two = vec![7; Bytes((SIZE.0 - 2 * END.0) / PLACES * 2 + 2 * GRAIN).as_usize()];
        for at in [9_u64 << 20, 100 << 20, 333 << 20] {
            assert!(holds(&|f| put(f, &two, at)).starts_with("data of an unknown kind"));
        }
        assert_eq!(holds(&|f| put(f, &[0x53, 0xef], 0x438)), "an ext2 file system");
    }

    #[test]
    fn places_are_spread_and_drawn_anew() {
        for size in [Bytes::mib(20), SIZE, Bytes(500_107_862_016), Bytes(18_000_207_937_536)] {
            let mut random = fastrand::Rng::with_seed(7);
            let mut draw = || places(size, &mut || random.u64(..));
            let (first, second) = (draw(), draw());
            assert!(first != second || size < SIZE, "{size:?}");
            let part = (size.0 - 2 * END.0) / PLACES + 2 * GRAIN;
            let mut end = END;
            for place in &first {
                assert!(place.start >= end && place.end <= size - END && !place.is_empty());
                assert!((place.start - end).0 <= 2 * part.max(PLACE.0), "no gap of two parts");
                end = place.end;
            }
            assert!(Bytes::of(first.len()).0 <= PLACES + 1);
        }
    }
}
