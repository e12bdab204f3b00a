//! Asks drives for their health, through a program beside the daemon that has the rights for it.
//!
//! The daemon may send no command past the block layer, and should not: what may do that may also erase a drive behind
//! the kernel's back. So it asks on a socket of systemd's, which starts an instance of [`answer`] for each question. The
//! question names a drive and its attachment count; the answer is what smartctl says, in bytes, which [`formats::smart`]
//! reads here, where there are no such rights.
//!
//! A drive that does not answer holds nothing up: the asking thread waits for `health.timeout`, and as long as that
//! question is open, further ones about this drive are answered without asking.

pub mod answer;

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use formats::smart;
use model::drive::{Diskseq, Drive, printable};
use model::health::Health;
use parking_lot::Mutex;

/// Stands before an answer of smartctl, with its length.
const FOUND: &str = "answer ";
/// Stands before the reason why there is none.
const UNKNOWN: &str = "unknown ";
/// The longest line before an answer.
const LONGEST_LINE: usize = 512;

/// Asks for the health of drives, or does not. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct HealthReader(Option<Arc<Asking>>);

#[derive(Debug)]
struct Asking {
    socket: PathBuf,
    patience: Duration,
    /// Questions that were not answered in time, and whose program still waits for its drive. There is never more than
    /// one for an attachment of a drive, so a drive that hangs takes one process, and not all that systemd starts.
    open: Mutex<HashMap<(String, Diskseq), UnixStream>>,
}

impl HealthReader {
    /// Asks on this socket, if there is one, and waits for so long.
    pub fn new(socket: Option<&Path>, patience: Duration) -> Self {
        let asking =
            |socket: &Path| Asking { socket: socket.to_owned(), patience, open: Mutex::default() };
        Self(socket.map(asking).map(Arc::new))
    }

    /// The health of a drive; absent if nobody is asked. Waits, but not longer than it may.
    pub fn of(&self, drive: &Drive) -> Option<Health> {
        let asking = self.0.as_ref()?;
        let health = asking.ask(&drive.name, drive.diskseq);
        if let Some(why) = &health.unknown {
            let serial = drive.label();
            tracing::info!(serial, "the health of drive {serial} is unknown: {why}");
        }
        Some(health)
    }
}

impl Asking {
    fn ask(&self, name: &str, diskseq: Diskseq) -> Health {
        let key = (name.to_owned(), diskseq);
        let is_open = {
            let mut open = self.open.lock();
            open.retain(|_, stream| !is_over(stream));
            open.contains_key(&key)
        };
        if is_open {
            return Health::unknown("the drive still has not answered an earlier question");
        }
        match self.talk(name, diskseq) {
            Ok(answer) => read(&answer),
            Err(Silence::Broken(error)) => {
                let socket = self.socket.display();
                Health::unknown(format!("nobody answers on {socket}: {error}"))
            }
            Err(Silence::TooLate(stream)) => {
                self.open.lock().insert(key, stream);
                let seconds = self.patience.as_secs_f32();
                Health::unknown(format!(
                    "the drive has not answered for {seconds} s (health.timeout)"
                ))
            }
        }
    }

    /// Asks and reads the whole answer.
    fn talk(&self, name: &str, diskseq: Diskseq) -> Result<Vec<u8>, Silence> {
        let end = Instant::now() + self.patience;
        // Does not wait: systemd takes thousands of connections before it answers one, and no drive has two.
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.write_all(format!("{name} {}\n", diskseq.0).as_bytes())?;
        let mut answer = Vec::new();
        let mut part = [0; 16 << 10];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::TooLate(stream));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut part) {
                Ok(0) => return Ok(answer),
                Ok(count) => answer.extend(part.iter().take(count)),
                Err(error) if is_not_yet(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if answer.len() > LONGEST_LINE + smart::LONGEST {
                return Err(io::Error::other("the answer does not end").into());
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Silence {
    Broken(io::Error),
    /// Not yet, at least.
    TooLate(UnixStream),
}

impl From<io::Error> for Silence {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Whether the program at the other end has ended; what it has to say comes too late.
fn is_over(mut stream: &UnixStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let mut part = [0; 16 << 10];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !is_not_yet(&error),
        }
    }
}

/// What an answer says. Only a whole one counts.
fn read(answer: &[u8]) -> Health {
    let end = answer.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n');
    let Some((line, rest)) = end.and_then(|end| answer.split_at_checked(end)) else {
        return Health::unknown(match answer {
            [] => "the program that asks drives has ended without an answer",
            _ => "the program that asks drives answers in an unknown way",
        });
    };
    let rest = rest.get(1..).unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    if let Some(why) = line.strip_prefix(UNKNOWN) {
        return Health::unknown(printable(why).unwrap_or_default());
    }
    let length: Option<usize> = line.strip_prefix(FOUND).and_then(|length| length.parse().ok());
    match length {
        Some(length) if rest.len() == length => smart::health(rest),
        Some(_) => Health::unknown("the answer ends too early"),
        None => Health::unknown("the program that asks drives answers in an unknown way"),
    }
}

#[cfg(test)]
mod tests;
