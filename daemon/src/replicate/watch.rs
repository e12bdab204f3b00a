//! Watching over a drive while bytes move.

use std::time::{Duration, Instant};

use super::fault::{Fault, read_fault};
use crate::target::Claim;
use crate::units::{ByteRate, Bytes};

/// How long a drive may be slow.
pub const SLOW_WINDOW: Duration = Duration::from_secs(10);

/// How often it is checked that the drive is still there.
const PRESENCE: Duration = Duration::from_millis(200);

/// Watches over a drive while bytes move: is it there, is it fast enough?
pub(super) struct Watch {
    floor: Option<ByteRate>,
    window: Instant,
    moved: Bytes,
    looked: Instant,
}

impl Watch {
    pub(super) fn new(floor: Option<ByteRate>) -> Self {
        let now = Instant::now();
        Self { floor, window: now, moved: Bytes(0), looked: now }
    }

    /// Counts bytes.
    pub(super) fn moved(&mut self, bytes: Bytes, claim: &Claim) -> Result<(), Fault> {
        self.moved.0 += bytes.0;
        let now = Instant::now();
        if now - self.looked >= PRESENCE {
            self.looked = now;
            claim.check_present().map_err(read_fault)?;
        }
        let elapsed = now - self.window;
        if elapsed >= SLOW_WINDOW {
            let rate = ByteRate::mean(self.moved, elapsed);
            if let Some(floor) = self.floor
                && rate < floor
            {
                return Err(Fault::TooSlow { rate, seconds: elapsed.as_secs(), floor });
            }
            self.window = now;
            self.moved = Bytes(0);
        }
        Ok(())
    }
}
