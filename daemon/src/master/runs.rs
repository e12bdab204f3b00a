//! Sets of byte ranges, and cutting them into chunks. Pure.

use crate::units::Bytes;

/// Largest chunk: one write and one read of this size reach the speed of every drive tried.
pub const CHUNK: Bytes = Bytes::mib(1);

/// Gaps up to this long between two runs are written too: cheaper than another request.
const BRIDGE: u64 = 64 << 10;

/// Edges of chunks lie on multiples of this, which is a multiple of every logical sector size.
pub const GRAIN: u64 = 4096;

/// A set of bytes on a drive as ascending, disjoint, non-touching half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// Any ranges, in any order, overlapping or not.
    pub fn from_ranges(mut ranges: Vec<(u64, u64)>) -> Self {
        ranges.retain(|(start, end)| start < end);
        ranges.sort_unstable();
        Self::merged(ranges, 0)
    }

    fn merged(sorted: Vec<(u64, u64)>, bridge: u64) -> Self {
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (start, end) in sorted {
            match merged.last_mut() {
                Some(last) if start <= last.1.saturating_add(bridge) => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Total length in bytes.
    pub fn total(&self) -> Bytes {
        Bytes(self.0.iter().map(|(start, end)| end - start).sum())
    }

    /// Whether every byte of `start..end` is in the set.
    pub fn covers(&self, start: u64, end: u64) -> bool {
        self.0.iter().any(|(s, e)| *s <= start && end <= *e)
    }

    /// This set with its edges moved outwards to the grain, but not beyond `limit`, and short gaps closed.
    #[must_use]
    pub fn aligned(&self, limit: u64) -> Self {
        let rounded = self
            .0
            .iter()
            .map(|(s, e)| (s - s % GRAIN, (e.div_ceil(GRAIN) * GRAIN).min(limit)))
            .collect();
        Self::merged(rounded, BRIDGE)
    }

    /// The bytes of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(start, end) in &self.0 {
            let mut at = start;
            for &(s, e) in other.0.iter().filter(|(s, e)| *s < end && *e > start) {
                if at < s {
                    left.push((at, s));
                }
                at = at.max(e);
            }
            if at < end {
                left.push((at, end));
            }
        }
        Self(left)
    }

    /// Cuts the ranges at every multiple of [`CHUNK`].
    pub fn pieces(&self) -> Vec<(Bytes, Bytes)> {
        let mut pieces = Vec::new();
        for &(start, end) in &self.0 {
            let mut at = start;
            while at < end {
                let cut = ((at / CHUNK.0 + 1) * CHUNK.0).min(end);
                pieces.push((Bytes(at), Bytes(cut - at)));
                at = cut;
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(runs: &Runs, at: u64) -> bool {
        runs.covers(at, at + 1)
    }

    proptest! {
        #[test]
        fn set_arithmetic_is_right_byte_by_byte(
            a in prop::collection::vec((0_u64..200, 1_u64..40), 0..12),
            b in prop::collection::vec((0_u64..200, 1_u64..40), 0..12),
        ) {
            let set = |v: &[(u64, u64)]| v.iter().map(|(s, l)| (*s, s + l)).collect::<Vec<_>>();
            let (ra, rb) = (Runs::from_ranges(set(&a)), Runs::from_ranges(set(&b)));
            let raw = |v: &[(u64, u64)], at| v.iter().any(|(s, l)| *s <= at && at < s + l);
            let minus = ra.without(&rb);
            for at in 0..260 {
                prop_assert_eq!(contains(&ra, at), raw(&a, at));
                prop_assert_eq!(contains(&minus, at), raw(&a, at) && !raw(&b, at));
            }
        }

        #[test]
        fn pieces_tile_the_aligned_set(
            ranges in prop::collection::vec((0_u64..(64 << 20), 1_u64..(9 << 20)), 1..20),
        ) {
            let limit = 73 << 20;
            let runs = Runs::from_ranges(ranges.iter().map(|(s, l)| (*s, s + l)).collect());
            let aligned = runs.aligned(limit);
            let pieces = aligned.pieces();
            prop_assert_eq!(Bytes(pieces.iter().map(|p| p.1.0).sum()), aligned.total());
            let mut end = 0;
            for (offset, length) in &pieces {
                prop_assert!(offset.0 >= end && length.0 > 0 && length.0 <= CHUNK.0);
                prop_assert_eq!(offset.0 % GRAIN, 0);
                end = offset.0 + length.0;
            }
            prop_assert!(end <= limit);
            for (start, length) in &ranges {
                prop_assert!(aligned.covers(*start, start + length), "nothing is lost");
            }
        }
    }
}
