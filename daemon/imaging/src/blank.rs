//! Whether a drive that looks blank in samples is blank everywhere: all of it is read, before the first byte is written.

use std::thread;

use drives::buffer::Buffer;
use drives::medium::Medium;
use model::job::State;
use model::ranges::{GRAIN, Range, RangeSet};
use model::units::Bytes;
use parking_lot::Mutex;

use crate::QUEUE_DEPTH;
use crate::engine::JobContext;
use crate::error::{JobError, read_error};

/// What the threads that read share.
struct Search<I> {
    /// What is still to be read.
    pieces: I,
    /// Where the first byte lies that differs, as far as is known.
    found: Option<Bytes>,
    failed: Option<JobError>,
}

impl JobContext<'_> {
    /// Reads the whole drive. Returns the place of a byte that differs from the drive's first byte, to [`GRAIN`];
    /// `None` if the drive is the same byte over and over.
    ///
    /// # Errors
    /// [`JobError`] if the drive cannot be read, or the job is stopped.
    pub fn find_data(&self, medium: &impl Medium) -> Result<Option<Bytes>, JobError> {
        let size = medium.geometry().size;
        self.progress.add_work(size);
        self.progress.enter(State::Checking)?;
        let mut start = Buffer::try_zeroed(Bytes(GRAIN).min(size))?;
        medium.read(Bytes(0), &mut start).map_err(read_error)?;
        let Some(byte) = start.first().copied() else { return Ok(None) };
        let all: RangeSet = [Range::new(Bytes(0), size)].into_iter().collect();
        let search = Mutex::new(Search { pieces: all.pieces(), found: None, failed: None });
        thread::scope(|scope| {
            for _ in 0..QUEUE_DEPTH {
                scope.spawn(|| {
                    if let Err(error) = self.search(medium, byte, &search) {
                        search.lock().failed.get_or_insert(error);
                    }
                });
            }
        });
        let Search { found, failed, .. } = search.into_inner();
        match (found, failed) {
            // What was seen was seen, whatever happened elsewhere.
            (Some(at), _) => Ok(Some(at)),
            (None, Some(error)) => Err(error),
            (None, None) => self.check_stop().map(|()| None),
        }
    }

    /// One of several threads that read, until nothing is left or one has found something.
    fn search(
        &self,
        medium: &impl Medium,
        byte: u8,
        search: &Mutex<Search<impl Iterator<Item = Range> + Send>>,
    ) -> Result<(), JobError> {
        loop {
            self.check_stop()?;
            let buffer = self.replicator.own().take(&|| self.is_stopped())?;
            let Some(mut data) = buffer else { return Ok(()) };
            let next = {
                let mut search = search.lock();
                let over = search.found.is_some() || search.failed.is_some();
                if over { None } else { search.pieces.next() }
            };
            let Some(piece) = next else { return Ok(()) };
            data.resize(piece.length());
            medium.read(piece.start, &mut data).map_err(read_error)?;
            self.progress.add(piece.length());
            if let Some(at) = first_other(&data, byte) {
                let at = (piece.start + Bytes::of(at)).align_down(GRAIN);
                let found = &mut search.lock().found;
                *found = Some(found.map_or(at, |other| other.min(at)));
            }
        }
    }
}

/// Where the first byte lies that is not `byte`.
fn first_other(data: &[u8], byte: u8) -> Option<usize> {
    // Shifted by one it is the same only if it is one byte over and over; this compares many bytes at once.
    let same = data.first().is_none_or(|first| *first == byte)
        && data.get(1..).is_none_or(|rest| *rest == data[..rest.len()]);
    if same { None } else { data.iter().position(|found| *found != byte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_other_byte_is_found_wherever_it_is() {
        assert_eq!(first_other(&[], 7), None);
        assert_eq!(first_other(&[7], 7), None);
        assert_eq!(first_other(&[8], 7), Some(0));
        for at in [0, 1, 63, 4095] {
            let mut data = [0xff; 4096];
            assert_eq!(first_other(&data, 0xff), None);
            data[at] = 0xfe;
            assert_eq!(first_other(&data, 0xff), Some(at));
        }
        assert_eq!(first_other(&[3; 512], 4), Some(0), "another byte over and over");
    }
}
