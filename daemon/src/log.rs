//! The log: to the journal, and to standard error unless systemd connects that to the journal.
//!
//! Whoever reads the log may stand still: a journald whose disk hangs, a pipe that nobody empties. So each outlet has a
//! thread and a bounded queue of its own, and whoever logs never waits: what finds the queue full is lost, counted, and
//! told once the outlet takes messages again.

use std::io::{self, Write as _};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Metadata, Subscriber, Value};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// How many messages wait for an outlet at most.
const QUEUE: usize = 4096;

/// How long the start waits for the journal, and the end for messages that are still queued.
const PATIENCE: Duration = Duration::from_secs(1);

/// `tracing` takes no more fields in one event.
const FIELDS: usize = 32;

/// The log of this process.
#[derive(Debug)]
pub struct Log(Vec<Waiting>);

impl Log {
    /// Starts the log.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start() -> io::Result<Self> {
        let filter =
            || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let (journal, no_journal) = journal(filter())?;
        let stderr_is_journal =
            std::env::var_os("JOURNAL_STREAM").is_some() && no_journal.is_none();
        let stderr = (!stderr_is_journal).then(stderr).transpose()?;
        let outlets = [
            journal.as_ref().map(|outlet| outlet.waiting.clone()),
            stderr.as_ref().map(|outlet| outlet.waiting.clone()),
        ];
        let stderr = stderr
            .map(|outlet| tracing_subscriber::fmt::layer().with_writer(outlet).with_ansi(false));
        tracing_subscriber::registry().with(filter()).with(journal).with(stderr).init();
        // The standard hook would wait for standard error.
        panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        if let Some(error) = no_journal {
            let instead = "the log and the copies of records go to standard error";
            tracing::warn!("cannot reach the journal, so {instead}: {error}");
        }
        Ok(Self(outlets.into_iter().flatten().collect()))
    }

    /// Waits until what was logged so far is out, for a moment at most.
    pub fn finish(&self) {
        let start = Instant::now();
        while self.0.iter().any(|outlet| outlet.count() > 0) && start.elapsed() < PATIENCE {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Writes lines to standard error, and waits for a moment at most.
pub fn say(text: String) {
    let (done, told) = channel();
    let write = move || {
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = told.recv_timeout(PATIENCE);
    }
}

/// How many messages an outlet has still to put out.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// The end of an outlet's queue into which messages are put.
#[derive(Debug)]
struct Outlet<T> {
    queue: SyncSender<T>,
    waiting: Waiting,
    lost: Arc<AtomicU64>,
}

impl<T: Send + 'static> Outlet<T> {
    /// An outlet with a thread of its own, which makes what puts messages out and then uses it.
    fn start<P: FnMut(T)>(
        name: &'static str,
        make: impl FnOnce() -> Option<P> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let outlet = Self { queue, waiting: Waiting::default(), lost: Arc::default() };
        let (waiting, lost) = (outlet.waiting.clone(), Arc::clone(&outlet.lost));
        let work = move || {
            if let Some(put_out) = make() {
                put_out_all(name, &messages, put_out, &waiting, &lost);
            }
        };
        thread::Builder::new().name(format!("log/{name}")).spawn(work)?;
        Ok(outlet)
    }

    /// Queues a message, or counts it as lost.
    fn put(&self, message: T) {
        self.waiting.0.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(message).is_err() {
            self.waiting.0.fetch_sub(1, Ordering::AcqRel);
            self.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Puts messages out as long as there is anybody to log any.
fn put_out_all<T>(
    name: &str,
    messages: &Receiver<T>,
    mut put_out: impl FnMut(T),
    waiting: &Waiting,
    lost: &AtomicU64,
) {
    loop {
        match messages.recv_timeout(PATIENCE) {
            Ok(message) => {
                put_out(message);
                waiting.0.fetch_sub(1, Ordering::AcqRel);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if waiting.count() == 0 {
            let lost = lost.swap(0, Ordering::AcqRel);
            if lost > 0 {
                tracing::warn!(
                    "{lost} messages of the log were lost, because {name} took none for a while; the ledger has all records"
                );
            }
        }
    }
}

/// The outlet to the journal, and if there is none, why. A journal that does not answer is no reason to wait.
fn journal(filter: EnvFilter) -> io::Result<(Option<Outlet<Entry>>, Option<String>)> {
    let (found, told) = channel();
    let outlet = Outlet::start("the journal", move || {
        // This sends a first message already.
        let layer = match tracing_journald::layer() {
            Ok(layer) => layer.with_field_prefix(None),
            Err(error) => {
                let _ = found.send(Some(error.to_string()));
                return None;
            }
        };
        let _ = found.send(None);
        let journal = Dispatch::new(tracing_subscriber::registry().with(filter).with(layer));
        Some(move |entry: Entry| entry.put_out(&journal))
    })?;
    Ok(match told.recv_timeout(PATIENCE).unwrap_or(None) {
        Some(error) => (None, Some(error)),
        None => (Some(outlet), None),
    })
}

/// The outlet to standard error.
fn stderr() -> io::Result<Outlet<Vec<u8>>> {
    Outlet::start("standard error", || {
        Some(|line: Vec<u8>| {
            // There is nowhere to tell that this failed.
            let _ = io::stderr().write_all(&line);
        })
    })
}

impl<'a> MakeWriter<'a> for Outlet<Vec<u8>> {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { outlet: self, text: Vec::new() }
    }
}

/// A line that is queued when it is complete.
struct Line<'a> {
    outlet: &'a Outlet<Vec<u8>>,
    text: Vec<u8>,
}

impl io::Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.outlet.put(std::mem::take(&mut self.text));
    }
}

/// An event that has been taken away from the thread on which it happened.
#[derive(Debug)]
struct Entry {
    metadata: &'static Metadata<'static>,
    fields: Vec<(Field, String)>,
}

impl Entry {
    fn of(event: &Event<'_>) -> Self {
        let mut entry = Self { metadata: event.metadata(), fields: Vec::new() };
        event.record(&mut entry);
        entry
    }

    /// Makes the event happen once more, for `to` alone.
    fn put_out(&self, to: &Dispatch) {
        let Some((first, _)) = self.fields.first() else { return };
        let mut values: [(&Field, Option<&dyn Value>); FIELDS] = [(first, None); FIELDS];
        for (place, (field, text)) in values.iter_mut().zip(&self.fields) {
            *place = (field, Some(text));
        }
        to.event(&Event::new(self.metadata, &self.metadata.fields().value_set(&values)));
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.clone(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields.push((field.clone(), format!("{value:?}")));
    }
}

impl<S: Subscriber> Layer<S> for Outlet<Entry> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.put(Entry::of(event));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn whoever_logs_never_waits_and_what_is_lost_is_counted() {
        let (open, gate) = channel::<()>();
        let out = Arc::new(Mutex::new(0));
        let count = Arc::clone(&out);
        let outlet = Outlet::start("a test", move || {
            Some(move |_: u32| {
                // Stands still until the test lets it go on.
                let _ = gate.recv();
                *count.lock().unwrap() += 1;
            })
        })
        .unwrap();
        let sent = u32::try_from(QUEUE).unwrap() + 100;
        (0..sent).for_each(|number| outlet.put(number));
        let lost = outlet.lost.load(Ordering::Acquire);
        // One may be in the hands of the thread already.
        assert!((99..=100).contains(&lost), "{lost}");
        drop(open);
        while outlet.waiting.count() > 0 {
            thread::yield_now();
        }
        assert_eq!(u64::try_from(*out.lock().unwrap()).unwrap() + lost, u64::from(sent));
    }

    /// Level and fields of each event.
    type Seen = Arc<Mutex<Vec<(String, Vec<(String, String)>)>>>;

    /// Keeps what it sees.
    struct Keep(Seen);

    impl<S: Subscriber> Layer<S> for Keep {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let entry = Entry::of(event);
            let name = |(field, text): &(Field, String)| (field.name().to_owned(), text.clone());
            let fields = entry.fields.iter().map(name).collect();
            self.0.lock().unwrap().push((entry.metadata.level().to_string(), fields));
            // And once more, as the outlet's thread does it.
            if self.0.lock().unwrap().len() == 1 {
                let again = tracing_subscriber::registry().with(Self(Arc::clone(&self.0)));
                entry.put_out(&Dispatch::new(again));
            }
        }
    }

    #[test]
    fn an_entry_is_what_was_logged() {
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&seen)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(PRESTAGED_SERIAL = "S1", PRESTAGED_WRITE_BPS = 7_u64, "S1 {}", "passed");
        });
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], seen[1]);
        let (level, fields) = &seen[0];
        let field = |name: &str| fields.iter().find(|(n, _)| n == name).unwrap().1.as_str();
        assert_eq!(level, "WARN");
        assert_eq!((field("message"), field("PRESTAGED_SERIAL")), ("S1 passed", "S1"));
        assert_eq!(field("PRESTAGED_WRITE_BPS"), "7");
    }
}
