//! The space of a drive that no chunk of its master covers: overwritten with zeros that are read back, or looked at in
//! samples.

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use drives::buffer::Buffer;
use drives::medium::{AccessError, Medium};
use model::job::{JobReport, Mismatch, State};
use model::old_data::{Discard, OldDataFate};
use model::ranges::{CHUNK, GRAIN, Range, RangeSet};
use model::units::Bytes;

use crate::QUEUE_DEPTH;
use crate::bottleneck::{TimeSpent, timed};
use crate::engine::{JobContext, LISTED_MISMATCHES, differences};
use crate::error::{JobError, mismatch_error, read_error, write_error};
use crate::sample::distinct;
use crate::transfer::Shared;

/// So many places are looked at where data may be left. If a twenty-fifth of the space holds data, all of them miss it
/// once in 180 drives; if a tenth, once in 700,000.
const SAMPLED_PLACES: u64 = 128;

/// Chunks of zeros are all the same.
static ZEROS: LazyLock<Buffer> = LazyLock::new(|| Buffer::zeroed(CHUNK));

/// Pieces that are being read, and those of them that do not hold zeros.
type Reading<I> = (I, Vec<Mismatch>);

impl JobContext<'_> {
    /// Writes zeros to all of it.
    pub(super) fn overwrite(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        rest: &RangeSet,
    ) -> Result<(), JobError> {
        let medium = &*medium;
        let shared = Shared::new(rest.pieces(), self.monitor(medium, State::Writing));
        thread::scope(|scope| {
            for _ in 0..QUEUE_DEPTH {
                shared.start(scope, |spent| self.write_zeros(medium, &shared, spent));
            }
        });
        let (_, _, result) = shared.finish(report);
        result?;
        self.check_stop()?;
        medium.flush().map_err(write_error)
    }

    /// One of several threads that write zeros, until nothing is left.
    fn write_zeros(
        &self,
        medium: &impl Medium,
        shared: &Shared<'_, impl Iterator<Item = Range> + Send>,
        spent: &mut TimeSpent,
    ) -> Result<(), JobError> {
        loop {
            self.check_stop()?;
            let next = if shared.is_over() { None } else { shared.state.lock().next() };
            let Some(range) = next else { return Ok(()) };
            let mut took = Duration::ZERO;
            timed(&mut took, || {
                with_zeros(range.length(), |zeros| medium.write(range.start, zeros))
            })
            .map_err(write_error)?;
            self.moved(medium, shared, spent, (range.length(), took))?;
        }
    }

    /// Counts the bytes of a request that took so long.
    fn moved<T: Send>(
        &self,
        medium: &impl Medium,
        shared: &Shared<'_, T>,
        spent: &mut TimeSpent,
        (bytes, took): (Bytes, Duration),
    ) -> Result<(), JobError> {
        spent.drive += took;
        self.progress.add(bytes);
        spent.look();
        self.progress.spent(*spent);
        shared.monitor.lock().moved(bytes, took, medium)
    }

    /// Reads all of it back; every byte must be zero.
    pub(super) fn read_back_rest(
        &self,
        medium: &mut impl Medium,
        report: &mut JobReport,
        rest: &RangeSet,
    ) -> Result<(), JobError> {
        let medium = &*medium;
        let state = (rest.pieces(), Vec::new());
        let shared = Shared::new(state, self.monitor(medium, State::ReadingBack));
        thread::scope(|scope| {
            for _ in 0..QUEUE_DEPTH {
                shared.start(scope, |spent| self.read_zeros(medium, &shared, spent));
            }
        });
        let ((_, wrong), _, result) = shared.finish(report);
        let enough = wrong.len() >= LISTED_MISMATCHES;
        report.mismatches.extend(wrong);
        if !enough {
            result?;
        }
        mismatch_error(&report.mismatches)?;
        self.check_stop()?;
        if let Some(old_data) = &mut report.old_data {
            old_data.fate = Some(OldDataFate::Overwritten);
        }
        Ok(())
    }

    /// One of several threads that read zeros back, until nothing is left or enough is wrong.
    fn read_zeros(
        &self,
        medium: &impl Medium,
        shared: &Shared<'_, Reading<impl Iterator<Item = Range> + Send>>,
        spent: &mut TimeSpent,
    ) -> Result<(), JobError> {
        let stopping = || self.is_stopped() || shared.is_over();
        loop {
            // The buffer first: a thread that has to wait for one must not hold a piece back.
            let buffer = timed(&mut spent.hashes, || self.replicator.own().take(&stopping))?;
            self.check_stop()?;
            let Some(mut data) = buffer else { return Ok(()) };
            let next = shared.state.lock().0.next();
            let Some(range) = next else { return Ok(()) };
            data.resize(range.length());
            let mut took = Duration::ZERO;
            timed(&mut took, || medium.read(range.start, &mut data)).map_err(read_error)?;
            let wrong = self.not_zero(range.start, &data);
            if !wrong.is_empty() {
                let listed = &mut shared.state.lock().1;
                listed.extend(wrong);
                if listed.len() >= LISTED_MISMATCHES {
                    shared.call_off();
                }
            }
            self.moved(medium, shared, spent, (range.length(), took))?;
        }
    }

    /// Which sectors of a piece do not hold zeros.
    fn not_zero(&self, offset: Bytes, data: &[u8]) -> Vec<Mismatch> {
        let zeros = &ZEROS[..data.len()];
        if data == zeros { Vec::new() } else { differences(offset, zeros, data, self.sector()) }
    }

    /// Looks at samples of it, and notes in the report what has become of the old data.
    pub(super) fn look_at_rest(
        &self,
        medium: &impl Medium,
        report: &mut JobReport,
        rest: &RangeSet,
        discarded: Discard,
    ) -> Result<(), JobError> {
        let Some(old_data) = &mut report.old_data else { return Ok(()) };
        let mut data = Buffer::zeroed(Bytes(GRAIN));
        for place in sampled(rest) {
            self.check_stop()?;
            data.resize(place.length());
            match medium.read(place.start, &mut data) {
                Ok(()) => old_data.saw(&data),
                Err(error @ AccessError::Gone(_)) => return Err(read_error(error)),
                // Nobody has promised that this place can be read; nor is it known to hold nothing.
                Err(AccessError::Io { .. }) => old_data.could_not_see(),
            }
        }
        report.warnings.extend(old_data.conclude(discarded));
        Ok(())
    }

    /// Looks at samples of what was overwritten and read back: they must still be zero.
    pub(super) fn recheck_rest(
        &self,
        medium: &impl Medium,
        report: &mut JobReport,
        rest: &RangeSet,
    ) -> Result<(), JobError> {
        let mut data = Buffer::zeroed(Bytes(GRAIN));
        for place in sampled(rest) {
            self.check_stop()?;
            data.resize(place.length());
            medium.read(place.start, &mut data).map_err(read_error)?;
            report.mismatches.extend(self.not_zero(place.start, &data));
        }
        mismatch_error(&report.mismatches)
    }
}

/// Random places of it, in the order in which they lie on the drive.
fn sampled(rest: &RangeSet) -> impl Iterator<Item = Range> + '_ {
    let chosen = distinct(SAMPLED_PLACES, rest.places());
    chosen.into_iter().filter_map(|index| rest.place(index))
}

fn with_zeros<T>(length: Bytes, work: impl FnOnce(&Buffer) -> T) -> T {
    if length == CHUNK { work(&ZEROS) } else { work(&Buffer::zeroed(length)) }
}
