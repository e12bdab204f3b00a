//! Tells others what has happened: each entry of the ledger's log goes to each receiver that wants it, in order, until the
//! receiver has taken it.
//!
//! The log is the outbox. A receiver's place in it is a small file, so nothing is lost or forgotten when gate, daemon or
//! machine end at any moment; what was taken just then comes again, with the same id. Receivers wait for nobody: each has a
//! task of its own, with one page of the log in memory.

mod cloud;
mod cursor;
mod deliver;
mod log;
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

pub use cursor::CursorError;
pub use signature::SecretError;
pub use webhook::WebhookError;

/// Why nobody can be told anything.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Cursor(#[from] CursorError),
    #[error("the receiver {name:?} cannot be told anything")]
    #[expect(missing_docs, reason = "the message says it")]
    Webhook {
        name: String,
        #[source]
        source: WebhookError,
    },
    #[error("the receiver {name:?} cannot be told anything")]
    #[expect(missing_docs, reason = "the message says it")]
    Secret {
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
            Self::Webhook { .. } => "[[gate.webhooks]] ca names a file with certificates, as PEM".into(),
            Self::Secret { .. } => {
                "make one with `echo \"whsec_$(openssl rand -base64 32)\"`, in a file that only the gate's user can read".into()
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

/// What keeps a receiver from ever being told anything, with the part of its table that says so.
pub(crate) fn check(hook: &config::Webhook) -> Vec<(&'static str, EventsError)> {
    let name = || hook.name.clone();
    let secret = signature::read(&hook.secret)
        .err()
        .map(|source| ("secret", EventsError::Secret { name: name(), source }));
    let receiver = webhook::Webhook::new(hook).err().map(|source| {
        let key = if hook.ca.is_some() { "ca" } else { "url" };
        (key, EventsError::Webhook { name: name(), source })
    });
    secret.into_iter().chain(receiver).collect()
}

/// Begins to tell everybody whom the configuration names.
///
/// # Errors
/// [`EventsError`] if somebody cannot be told anything, before anybody is told.
pub(crate) fn start(gate: &Gate, daemon: &Client) -> Result<Vec<Arc<Standing>>, EventsError> {
    if gate.webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let folder = cursor::Folder::open(&gate.state)?;
    let mut ready = Vec::new();
    for hook in &gate.webhooks {
        let name = hook.name.clone();
        signature::read(&hook.secret)
            .map_err(|source| EventsError::Secret { name: name.clone(), source })?;
        let receiver = webhook::Webhook::new(hook)
            .map_err(|source| EventsError::Webhook { name: name.clone(), source })?;
        let cursor = folder.cursor(&name)?;
        ready.push((receiver, cursor, hook));
    }
    let end = log::follow(daemon.clone());
    let begin = |(receiver, cursor, hook): (webhook::Webhook, cursor::Cursor, &config::Webhook)| {
        let standing = Standing::new(&hook.name);
        let line = deliver::Line {
            receiver,
            cursor,
            log: log::Log::new(daemon.clone(), end.clone()),
            wanted: Wanted::new(&hook.events),
            history: hook.history,
            standing: Arc::clone(&standing),
        };
        tokio::spawn(line.run());
        standing
    };
    Ok(ready.into_iter().map(begin).collect())
}
