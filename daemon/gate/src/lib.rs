//! `prestaged-gate`: the station as web pages, for people who look and for those who may do more.
//!
//! - Owns the network: certificates, who has signed in, which requests are believed, the pages, and who is told what has
//!   happened. It shows what `view` makes of the daemon's snapshot.
//! - May touch the daemon's sockets, the network, the files that its part of the configuration names, and a folder of its own
//!   in which it remembers what it has told to whom.
//! - May never compute a verdict, open a device or the ledger, or show what may be old: without news of the daemon for
//!   [`view::rack::NO_DATA_AFTER`] every tile says so.
//!
//! It is a program and a user of its own, because the daemon opens no network socket: what can be reached from outside
//! cannot erase a drive, and what can erase drives cannot be reached. What it asks of the daemon carries the name of who has
//! signed in, and the daemon gives it no more than the configuration says.

#![forbid(unsafe_code)]

mod access;
pub mod accounts;
mod acts;
mod attempts;
mod curve;
mod describe;
pub mod events;
mod feed;
mod guard;
mod live;
mod metrics;
mod pages;
mod readiness;
mod reading;
mod routes;
mod server;
mod tally;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use config::Config;
use tokio::sync::{Semaphore, watch};
use wire::client::Client;

use access::Sessions;
use accounts::Role;
use attempts::Attempts;
use feed::Now;
use live::Frames;

pub use describe::document as openapi;
pub use readiness::mistakes;

/// Shows a prestaged station on web pages.
#[derive(Debug, clap::Parser)]
#[command(name = "prestaged-gate", version)]
pub struct Arguments {
    /// Configuration file, the daemon's.
    #[arg(long, env = config::VARIABLE, default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
    #[command(subcommand)]
    #[expect(missing_docs, reason = "the variants say it")]
    pub verb: Option<Verb>,
}

/// What the program does instead of showing the station.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Print what the gate serves, by OpenAPI 3.1; needs no configuration.
    Openapi,
    /// Print the line of somebody who may sign in, for the file in `gate.accounts`; asks for the password.
    Account {
        /// The name that stands in records and in the journal.
        name: String,
        /// What the person may do: look, operate the station, or also its orders and its arming.
        role: Role,
    },
}

/// Why the gate does not show anything.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("the gate is off: gate.listen is not set")]
    #[expect(missing_docs, reason = "the message says it")]
    Off,
    #[error("cannot listen on {address}")]
    #[expect(missing_docs, reason = "the message says it")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Tls(#[from] tls::TlsError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Account(#[from] accounts::AccountError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Events(#[from] events::EventsError),
    #[error("cannot be told to end")]
    #[expect(missing_docs, reason = "the message says it")]
    Signals(#[source] std::io::Error),
}

impl model::hint::Hint for GateError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Off => "set gate.listen = \"127.0.0.1:8480\" and control.view_socket; see prestaged-gate(7)".into(),
            Self::Listen { .. } => "choose another port (gate.listen), or end the program that has it".into(),
            Self::Tls(_) => "gate.certificate and gate.key name files that this user can read (PEM)".into(),
            Self::Account(error) => return error.hint(),
            Self::Events(error) => return error.hint(),
            Self::Signals(_) => return None,
        })
    }
}

/// What the parts of the gate share.
#[derive(Debug)]
struct Shared {
    config: config::Gate,
    address: SocketAddr,
    now: watch::Receiver<Arc<Now>>,
    frames: watch::Receiver<Arc<Frames>>,
    /// Looks at the daemon.
    view: Client,
    /// Asks the daemon; absent where the gate only shows.
    control: Option<Client>,
    sessions: Sessions,
    attempts: Attempts,
    /// Passwords that are checked at once: each takes a core and 19 MiB.
    checking: Semaphore,
    /// Streams of news that are open.
    streams: Arc<Semaphore>,
    /// Requests of programs that are passed on to the daemon.
    passed_on: Arc<Semaphore>,
    /// How it goes with whoever is told what has happened.
    receivers: Vec<Arc<events::Standing>>,
}

type State = axum::extract::State<Arc<Shared>>;

/// So many browsers may follow the station at once.
const STREAMS: usize = 1024;

/// Shows the station until the program is told to end.
///
/// # Errors
/// [`GateError`] if there is nothing to listen on.
pub async fn run(config: &Config) -> Result<(), GateError> {
    let gate = config.gate.clone();
    let (Some(address), Some(view)) = (gate.address(), &config.control.view_socket) else {
        return Err(GateError::Off);
    };
    gate.accounts.as_deref().map_or(Ok(()), accounts::check)?;
    gate.key.as_deref().map_or(Ok(()), accounts::secret)?;
    let tls = tls::Certificate::of(&gate)?;
    let receivers = events::start(&gate, &Client::new(view))?;
    let listener = server::listen(address).await?;
    let address = listener.local_addr().unwrap_or(address);
    let view = Client::new(view);
    let now = feed::follow(view.clone());
    let frames = live::draw(now.clone());
    let shared = Arc::new(Shared {
        control: gate.operate.then(|| Client::new(&config.control.socket)),
        config: gate,
        address,
        now,
        frames,
        view,
        sessions: Sessions::default(),
        attempts: Attempts::default(),
        checking: Semaphore::new(2),
        streams: Arc::new(Semaphore::new(STREAMS)),
        passed_on: Arc::new(Semaphore::new(reading::PASSED_ON)),
        receivers,
    });
    tracing::info!(%address, tls = tls.is_some(), "prestaged-gate shows the station");
    server::serve(listener, router(&shared), tls).await
}

fn router(shared: &Arc<Shared>) -> Router {
    routes::router()
        .layer(from_fn_with_state(Arc::clone(shared), guard::guard))
        .with_state(Arc::clone(shared))
}
