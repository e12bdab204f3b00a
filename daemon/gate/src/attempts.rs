//! How often somebody may try to sign in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many passwords of one address may be wrong, within [`PERIOD`].
const MOST: u32 = 5;
const PERIOD: Duration = Duration::from_secs(60);
/// So many addresses are remembered.
const ADDRESSES: usize = 4096;

/// Wrong passwords, by the address that they came from.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Attempts {
    /// Counts an attempt before its password is looked at, so that many at once are no way around; `Err` says how long to
    /// wait.
    pub(crate) fn begin(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut known = self.0.lock();
        if known.len() >= ADDRESSES {
            known.retain(|_, (_, since)| now.duration_since(*since) < PERIOD);
        }
        if known.len() >= ADDRESSES && !known.contains_key(&address) {
            return Err(PERIOD);
        }
        let (count, since) = known.entry(address).or_insert((0, now));
        if now.duration_since(*since) >= PERIOD {
            (*count, *since) = (0, now);
        }
        if *count >= MOST {
            return Err(PERIOD.saturating_sub(now.duration_since(*since)));
        }
        *count += 1;
        Ok(())
    }

    /// The password was right.
    pub(crate) fn succeed(&self, address: IpAddr) {
        self.0.lock().remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_has_to_wait_and_nobody_else() {
        let attempts = Attempts::default();
        let [guesser, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let start = Instant::now();
        for _ in 0..MOST {
            attempts.begin(guesser, start).unwrap();
        }
        let wait = attempts.begin(guesser, start + Duration::from_secs(20)).unwrap_err();
        assert_eq!(wait, Duration::from_secs(40));
        attempts.begin(other, start).unwrap();
        attempts.begin(guesser, start + PERIOD).unwrap();
        for _ in 0..100 {
            attempts.begin(other, start).unwrap();
            attempts.succeed(other);
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_addresses() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for at in 0..10_000_u32 {
            let _ = attempts.begin(IpAddr::from(at.to_be_bytes()), now);
        }
        assert_eq!(attempts.0.lock().len(), ADDRESSES);
        assert!(attempts.begin(IpAddr::from([255, 0, 0, 1]), now + PERIOD).is_ok());
    }
}
