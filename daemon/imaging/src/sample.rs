//! Random choices: which places of a drive are looked at where not all of them can be.

use std::collections::BTreeSet;

use uuid::Uuid;

/// `count` different numbers below `of`, or all of them, ascending. Every set of so many is equally likely (Floyd's
/// algorithm), and no drive can know which.
pub(super) fn distinct(count: u64, of: u64) -> BTreeSet<u64> {
    let mut chosen = BTreeSet::new();
    for last in of.saturating_sub(count)..of {
        let drawn = below(last + 1);
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen
}

/// A random number below `bound`, which is not zero.
fn below(bound: u64) -> u64 {
    // 62 random bits: the two above them tell the UUID's variant. The remainder's bias is below one in a million.
    let random = Uuid::new_v4().as_u64_pair().1 & (u64::MAX >> 2);
    random % bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_distinct_and_reach_everything() {
        for (count, of) in [(0, 10), (3, 10), (10, 10), (64, 10), (5, 0), (128, 6_000_000_000)] {
            let chosen = distinct(count, of);
            assert_eq!(u64::try_from(chosen.len()).unwrap(), count.min(of), "{count} of {of}");
            assert!(chosen.iter().all(|number| *number < of));
        }
        // Each of ten numbers is missing from one draw of five with one half; from all of 64 never.
        let drawn: BTreeSet<u64> = (0..64).flat_map(|_| distinct(5, 10)).collect();
        assert_eq!(drawn.len(), 10);
    }
}
