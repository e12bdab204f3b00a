//! Work that may never end: libntfs-3g has been seen to go round in a circle while it wrote certain files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What the work calls whenever it has got on.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs(Arc<AtomicU64>);

impl Signs {
    pub(super) fn give(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does the work on a thread of its own. `None` if this process uses so much processor time without a sign of it: on a
/// machine that is busy with other things, or waits for a disk, that lasts as long as it must. The thread is left to
/// itself then, and ends with the process.
pub(super) fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce(&Signs) -> T + Send + 'static,
) -> Option<T> {
    let signs = Signs::default();
    let seen = signs.clone();
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Whoever has stopped waiting does not hear it.
        let _ = done.send(work(&signs));
    });
    let mut last = (seen.0.load(Ordering::Relaxed), used());
    loop {
        match result.recv_timeout(limit / 8) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => return None,
            },
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = (seen.0.load(Ordering::Relaxed), used());
        if now.0 != last.0 {
            last = now;
        } else if now.1.saturating_sub(last.1) >= limit {
            return None;
        }
    }
}

/// The processor time that this process has used.
fn used() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);
    /// Other tests of this process toil meanwhile.
    const HOURS: Duration = Duration::from_secs(3600);

    fn toil(signs: Option<&Signs>, until: Duration) {
        let first = used();
        while used().saturating_sub(first) < until {
            black_box((0..1_000_000_u64).sum::<u64>());
            if let Some(signs) = signs {
                signs.give();
            }
        }
    }

    #[test]
    fn what_goes_round_in_a_circle_is_given_up() {
        assert_eq!(bounded(LIMIT, |_| toil(None, LIMIT * 20)), None);
    }

    #[test]
    fn what_gets_on_or_waits_is_waited_for() {
        assert_eq!(bounded(LIMIT, |signs| toil(Some(signs), LIMIT * 3)), Some(()));
        assert_eq!(bounded(HOURS, |_| thread::yield_now()), Some(()));
    }

    #[test]
    fn a_panic_is_passed_on() {
        let work = |_: &Signs| -> u8 { panic!("as it must") };
        assert!(catch_unwind(AssertUnwindSafe(|| bounded(HOURS, work))).is_err());
    }
}
