//! After the commit: is the body still what was read back?
//!
//! The body is read back before boot sectors and tables are written, so that an interrupted drive does not look finished.
//! A drive that damages one with the other (a write that lands elsewhere, a sector beside it that is rewritten wrongly, a
//! translation table that loses entries at a flush) is found here: surely where the damage lies beside the commit, else
//! with the probability that a random sample has.

use std::collections::BTreeSet;

use drives::buffer::Buffer;
use drives::medium::Medium;
use model::digest::Digest;
use model::job::JobReport;
use model::manifest::{Chunk, Stage};
use model::old_data::OldDataPolicy;
use model::ranges::{CHUNK, RangeSet};

use crate::engine::{JobContext, LISTED_MISMATCHES};
use crate::error::{JobError, mismatch_error, read_error};
use crate::sample::distinct;

/// At least so many chunks are read again, so that the sample says something where the body is short.
const LEAST: usize = 16;
/// At most so many, so that it takes no time that anybody notices.
const MOST: usize = 64;

impl JobContext<'_> {
    /// Reads the body's chunks beside the commit, and some at random, and compares them with what they were.
    pub(super) fn recheck(
        &self,
        medium: &impl Medium,
        report: &mut JobReport,
        actual: &[Option<Digest>],
        rest: &RangeSet,
    ) -> Result<(), JobError> {
        let chunks = &self.master.manifest.chunks;
        let mut data = Buffer::try_zeroed(CHUNK)?;
        for index in chosen(chunks) {
            self.check_stop()?;
            let (chunk, good) = (&chunks[index], actual[index]);
            data.resize(chunk.length);
            medium.read(chunk.offset, &mut data).map_err(read_error)?;
            if let Some(good) = good
                && good != Digest::of(&data)
            {
                report.verified = report.verified.saturating_sub(chunk.length);
                report.mismatches.extend(self.mismatches(chunk, good, &data)?);
                if report.mismatches.len() >= LISTED_MISMATCHES {
                    break;
                }
            }
        }
        mismatch_error(&report.mismatches)?;
        if self.old_data == OldDataPolicy::Overwrite {
            self.recheck_rest(medium, report, rest)?;
        }
        Ok(())
    }
}

/// The indexes of the chunks that are read again: neighbours of the commit's, and one in a hundred at random.
fn chosen(chunks: &[Chunk]) -> BTreeSet<usize> {
    let is_body = |index: &usize| chunks.get(*index).is_some_and(|c| c.stage == Stage::Body);
    let body: Vec<usize> = (0..chunks.len()).filter(is_body).collect();
    let count = (body.len() / 100).clamp(LEAST, MOST);
    let numbers =
        distinct(u64::try_from(count).unwrap_or(0), u64::try_from(body.len()).unwrap_or(0));
    let random = numbers.into_iter().filter_map(|n| body.get(usize::try_from(n).ok()?).copied());
    let commit = (0..chunks.len()).filter(|index| chunks[*index].stage == Stage::Commit);
    let beside = commit.flat_map(|index| [index.wrapping_sub(1), index + 1]).filter(is_body);
    random.chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use model::units::Bytes;

    use super::*;

    fn chunks(stages: &[Stage]) -> Vec<Chunk> {
        let chunk = |(n, stage): (u64, &Stage)| Chunk {
            offset: CHUNK * n,
            length: Bytes(4096),
            sha256: Digest([0; 32]),
            stage: *stage,
        };
        (0..).zip(stages).map(chunk).collect()
    }

    #[test]
    fn the_commit_s_neighbours_are_always_read_again() {
        let mut stages = vec![Stage::Body; 100_000];
        for commit in [0, 700, 701, 50_000, 99_999] {
            stages[commit] = Stage::Commit;
        }
        for _ in 0..10 {
            let chosen = chosen(&chunks(&stages));
            for beside in [1, 699, 702, 49_999, 50_001, 99_998] {
                assert!(chosen.contains(&beside), "{beside}");
            }
            assert!(chosen.len() >= MOST && chosen.len() <= MOST + 6, "{}", chosen.len());
            assert!(chosen.iter().all(|index| stages[*index] == Stage::Body));
        }
    }

    #[test]
    fn a_short_body_is_read_again_whole() {
        assert_eq!(chosen(&chunks(&[Stage::Commit; 3])), BTreeSet::new());
        assert_eq!(chosen(&chunks(&[Stage::Body; 12])).len(), 12);
        assert_eq!(chosen(&chunks(&[Stage::Body; 900])).len(), LEAST);
        assert_eq!(chosen(&chunks(&[Stage::Body; 3000])).len(), 30);
    }
}
