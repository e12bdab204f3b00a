//! Ranges of bytes on a drive, sets of ranges, and how they are cut into chunks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// Size of the largest chunk: requests of this size reached the full speed of every drive tried.
pub const CHUNK: Bytes = Bytes::mib(1);

/// A gap of at most this size between two ranges is written along with them: that is cheaper than another request.
const BRIDGE: Bytes = Bytes(64 << 10);

/// Edges of chunks lie on multiples of this number of bytes. It is a multiple of every logical sector size.
pub const GRAIN: u64 = 4096;

/// The bytes from `start` up to, but not including, `end`; `start` is never above `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Range {
    pub start: Bytes,
    pub end: Bytes,
}

impl Range {
    /// The range between two offsets; empty if `end` is below `start`.
    pub fn new(start: Bytes, end: Bytes) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The `length` bytes from `start`.
    pub fn at(start: Bytes, length: Bytes) -> Self {
        Self { start, end: start + length }
    }

    /// The number of bytes in the range.
    pub fn length(self) -> Bytes {
        self.end - self.start
    }

    /// Whether no byte is in the range.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether all bytes of `other` are in this range.
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two have a byte in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The smallest range that covers both.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}..{}", self.start.0, self.end.0)
    }
}

/// A set of bytes on a drive, kept as ascending ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet(Vec<Range>);

impl FromIterator<Range> for RangeSet {
    /// Takes ranges in any order, overlapping or not.
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut ranges: Vec<Range> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        ranges.sort_unstable();
        Self::merged(ranges, Bytes(0))
    }
}

impl RangeSet {
    fn merged(sorted: Vec<Range>, bridge: Bytes) -> Self {
        let mut merged: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(bridge) => {
                    last.end = last.end.max(range.end);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The ranges in ascending order.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// The number of bytes in the set.
    pub fn total(&self) -> Bytes {
        self.0.iter().map(|range| range.length()).sum()
    }

    /// Whether every byte of `range` is in the set.
    pub fn covers(&self, range: Range) -> bool {
        let next = self.0.partition_point(|own| own.end < range.end);
        self.0.get(next).is_some_and(|own| own.covers(range))
    }

    /// This set with the edges of its ranges moved outwards to multiples of [`GRAIN`], but not beyond `limit`, and with
    /// short gaps closed.
    #[must_use]
    pub fn aligned(&self, limit: Bytes) -> Self {
        let rounded = |range: &Range| Range {
            start: range.start.align_down(GRAIN),
            end: range.end.align_up(GRAIN).min(limit),
        };
        Self::merged(self.0.iter().map(rounded).collect(), BRIDGE)
    }

    /// The bytes of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &range in &self.0 {
            let mut at = range.start;
            let first = other.0.partition_point(|hole| hole.end <= range.start);
            for hole in other.0[first..].iter().take_while(|hole| hole.start < range.end) {
                if at < hole.start {
                    left.push(Range::new(at, hole.start));
                }
                at = at.max(hole.end);
            }
            if at < range.end {
                left.push(Range::new(at, range.end));
            }
        }
        Self(left)
    }

    /// The ranges cut at every multiple of [`CHUNK`]; one at a time, because a whole drive has millions.
    pub fn pieces(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().flat_map(|range| {
            let mut at = range.start;
            std::iter::from_fn(move || {
                let cut = (at + Bytes(1)).align_up(CHUNK.0).min(range.end);
                let piece = Range::new(at, cut);
                at = cut;
                (!piece.is_empty()).then_some(piece)
            })
        })
    }

    /// The `index`-th of the places of [`GRAIN`] bytes in the set, counted over all ranges; those that begin in one range
    /// and would end beyond it are shorter.
    pub fn place(&self, index: u64) -> Option<Range> {
        let mut left = index;
        for range in &self.0 {
            let count = range.length().0.div_ceil(GRAIN);
            if left < count {
                let start = range.start + Bytes(left * GRAIN);
                return Some(Range::new(start, (start + Bytes(GRAIN)).min(range.end)));
            }
            left -= count;
        }
        None
    }

    /// How many places [`RangeSet::place`] knows.
    pub fn places(&self) -> u64 {
        self.0.iter().map(|range| range.length().0.div_ceil(GRAIN)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at((start, length): (u64, u64)) -> Range {
        Range::at(Bytes(start), Bytes(length))
    }

    proptest! {
        #[test]
        fn set_arithmetic_is_right_byte_by_byte(
            a in prop::collection::vec((0_u64..200, 1_u64..40), 0..12),
            b in prop::collection::vec((0_u64..200, 1_u64..40), 0..12),
        ) {
            let set = |raw: &[(u64, u64)]| raw.iter().copied().map(at).collect::<RangeSet>();
            let (ra, rb) = (set(&a), set(&b));
            let raw = |v: &[(u64, u64)], at| v.iter().any(|(s, l)| *s <= at && at < s + l);
            let minus = ra.without(&rb);
            for byte in 0..260 {
                let one = at((byte, 1));
                prop_assert_eq!(ra.covers(one), raw(&a, byte));
                prop_assert_eq!(minus.covers(one), raw(&a, byte) && !raw(&b, byte));
            }
        }

        #[test]
        fn pieces_tile_the_aligned_set(
            ranges in prop::collection::vec((0_u64..(64 << 20), 1_u64..(9 << 20)), 1..20),
        ) {
            let limit = Bytes(73 << 20);
            let aligned = ranges.iter().copied().map(at).collect::<RangeSet>().aligned(limit);
            let pieces: Vec<Range> = aligned.pieces().collect();
            prop_assert_eq!(pieces.iter().map(|p| p.length()).sum::<Bytes>(), aligned.total());
            let mut end = Bytes(0);
            for piece in &pieces {
                prop_assert!(piece.start >= end && !piece.is_empty() && piece.length() <= CHUNK);
                prop_assert_eq!(piece.start.0 % GRAIN, 0);
                prop_assert_eq!(piece.start.align_down(CHUNK.0), Bytes(piece.end.0 - 1).align_down(CHUNK.0));
                end = piece.end;
            }
            prop_assert!(end <= limit);
            for range in ranges {
                prop_assert!(aligned.covers(at(range)), "nothing is lost");
            }
            let places: Vec<Range> = (0..aligned.places()).map_while(|n| aligned.place(n)).collect();
            prop_assert_eq!(places.into_iter().collect::<RangeSet>().total(), aligned.total());
            prop_assert_eq!(aligned.place(aligned.places()), None);
        }
    }
}
