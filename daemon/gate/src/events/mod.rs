//! Tells others what has happened: each entry of the ledger's log goes to each receiver that wants it, in order, until the
//! receiver has taken it.
//!
//! The log is the outbox. A receiver's place in it is a small file, so nothing is lost or forgotten when gate, daemon or
//! machine end at any moment; what was taken just then comes again, with the same id. Receivers wait for nobody: each has a
//! task of its own, with one page of the log in memory.

mod broker;
mod cloud;
mod cursor;
mod deliver;
mod log;
mod mqtt;
mod peer;
mod receiver;
mod signature;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use config::Gate;
use glob::Pattern;
use parking_lot::Mutex;
use tokio::time::Instant;
use wire::client::Client;

use broker::Broker;
use cursor::Cursor;
use receiver::Receiver;
use webhook::Webhook;

pub use cursor::CursorError;
pub use peer::PeerError;
pub use signature::SecretError;

/// Why nobody can be told anything.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Cursor(#[from] CursorError),
    #[error("the receiver {name:?} cannot be told anything")]
    #[expect(missing_docs, reason = "the message says it")]
    Peer {
        name: String,
        #[source]
        source: PeerError,
    },
    #[error("the receiver {name:?} cannot be told anything")]
    #[expect(missing_docs, reason = "the message says it")]
    Secret {
        name: String,
        #[source]
        source: SecretError,
    },
    #[error("the broker {name:?} cannot be told anything")]
    #[expect(missing_docs, reason = "the message says it")]
    Password {
        name: String,
        #[source]
        source: SecretError,
    },
}

impl model::hint::Hint for EventsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Cursor(CursorError::Busy(_)) => "end the other prestaged-gate".into(),
            Self::Cursor(_) => {
                "gate.state names a folder that the gate's user can write to; the unit makes /var/lib/prestaged-gate".into()
            }
            Self::Peer { source, .. } => source.hint(),
            Self::Secret { .. } => {
                "make one with `echo \"whsec_$(openssl rand -base64 32)\"`, in a file that only the gate's user can read".into()
            }
            Self::Password { .. } => {
                "write the password, and nothing else, into a file that only the gate's user can read".into()
            }
        })
    }
}

/// How it goes with a receiver.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) sent: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// How many entries of the log it has still to be told, or to be asked about.
    pub(crate) pending: AtomicU64,
    /// It has said that it wants nothing more.
    pub(crate) gone: AtomicBool,
    /// Since when it fails; absent where it does not.
    failing: Mutex<Option<Instant>>,
}

impl Standing {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            failing: Mutex::new(None),
        })
    }

    /// For how long it has taken nothing.
    pub(crate) fn failing(&self) -> Duration {
        self.failing.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn fails(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failing.lock().get_or_insert_with(Instant::now);
    }

    fn takes(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        *self.failing.lock() = None;
    }
}

/// Which events a receiver wants; all if there is no pattern.
#[derive(Debug)]
struct Wanted(Vec<Pattern>);

impl Wanted {
    /// Patterns that the configuration has checked.
    fn new(texts: &[String]) -> Self {
        Self(texts.iter().filter_map(|text| Pattern::new(text).ok()).collect())
    }

    fn has(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(kind))
    }
}

/// A mistake in the table of a receiver.
#[derive(Debug)]
pub(crate) struct Unfit {
    /// The list of tables: `gate.webhooks`.
    pub(crate) list: &'static str,
    pub(crate) index: usize,
    /// The key that has it.
    pub(crate) name: &'static str,
    pub(crate) error: EventsError,
}

/// What keeps receivers from ever being told anything.
pub(crate) fn check(gate: &Gate) -> Vec<Unfit> {
    let mut found = Vec::new();
    for (index, hook) in gate.webhooks.iter().enumerate() {
        let list = "gate.webhooks";
        let mut note = |name, error| found.push(Unfit { list, index, name, error });
        if let Err(source) = signature::read(&hook.secret) {
            note("secret", EventsError::Secret { name: hook.name.clone(), source });
        }
        if let Err(source) = Webhook::new(hook) {
            let key = source.key(hook.ca.is_some());
            note(key, EventsError::Peer { name: hook.name.clone(), source });
        }
    }
    for (index, table) in gate.brokers.iter().enumerate() {
        let list = "gate.brokers";
        let mut note = |name, error| found.push(Unfit { list, index, name, error });
        if let Some(Err(source)) = table.password.as_deref().map(broker::password) {
            note("password", EventsError::Password { name: table.name.clone(), source });
        }
        if let Err(source) = Broker::new(table) {
            let key = source.key(table.ca.is_some());
            note(key, EventsError::Peer { name: table.name.clone(), source });
        }
    }
    found
}

/// A receiver that can be told something, and what the configuration says of it.
struct Ready<'a> {
    receiver: Receiver,
    name: &'a str,
    events: &'a [String],
    history: bool,
}

/// Those whom the configuration names.
fn receivers(gate: &Gate) -> Result<Vec<Ready<'_>>, EventsError> {
    if let Some(unfit) = check(gate).into_iter().next() {
        return Err(unfit.error);
    }
    let failed = |name: &str| {
        let name = name.to_owned();
        move |source| EventsError::Peer { name, source }
    };
    let hooks = gate.webhooks.iter().map(|hook| {
        let receiver = Webhook::new(hook).map_err(failed(&hook.name))?;
        let receiver = Receiver::webhook(receiver, hook.timeout.0);
        Ok(Ready { receiver, name: &hook.name, events: &hook.events, history: hook.history })
    });
    let brokers = gate.brokers.iter().map(|table| {
        let receiver = Broker::new(table).map_err(failed(&table.name))?;
        let receiver = Receiver::broker(receiver, table.timeout.0);
        Ok(Ready { receiver, name: &table.name, events: &table.events, history: table.history })
    });
    hooks.chain(brokers).collect()
}

/// Begins to tell everybody whom the configuration names.
///
/// # Errors
/// [`EventsError`] if somebody cannot be told anything, before anybody is told.
pub(crate) fn start(gate: &Gate, daemon: &Client) -> Result<Vec<Arc<Standing>>, EventsError> {
    let receivers = receivers(gate)?;
    if receivers.is_empty() {
        return Ok(Vec::new());
    }
    let folder = cursor::Folder::open(&gate.state)?;
    let ready = receivers.into_iter().map(|ready| Ok((folder.cursor(ready.name)?, ready)));
    let ready: Vec<(Cursor, Ready<'_>)> = ready.collect::<Result<_, CursorError>>()?;
    let end = log::follow(daemon.clone());
    let begin = |(cursor, ready): (Cursor, Ready<'_>)| {
        let standing = Standing::new(ready.name);
        let line = deliver::Line {
            receiver: ready.receiver,
            cursor,
            log: log::Log::new(daemon.clone(), end.clone()),
            wanted: Wanted::new(ready.events),
            history: ready.history,
            standing: Arc::clone(&standing),
        };
        tokio::spawn(line.run());
        standing
    };
    Ok(ready.into_iter().map(begin).collect())
}
