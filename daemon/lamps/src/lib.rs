//! `prestaged-lamps`: the lamps of bays, as the station's tiles are.
//!
//! - Owns where a bay's lamps are in sysfs, what they were told, and whether they do it. What they show is
//!   [`view::lamp::Lamp`], made from the daemon's snapshot like every other view.
//! - May touch the daemon's sockets, the files of lamps below `lamps.sysfs`, and the file in which it keeps what it has lit.
//! - May never compute a verdict, nor leave a lamp lit that says "passed" when nothing is known of the station.
//!
//! It is a program of its own. The daemon cannot write to sysfs, and shall not: besides lamps, removing a drive is a file
//! there. The gate is on the network, so it shall not either. So this one has no network, and a user who may write to
//! the files of lamps and to nothing else in sysfs.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "writes the files of lamps, and a file of its own; it knows no drive's node"
)]

mod memory;
mod panel;
#[cfg(test)]
#[path = "../../../tests/harness/sysfs.rs"]
mod sysfs;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use jiff::Timestamp;
use model::api::requests::LampsReport;
use model::api::snapshot::Snapshot;
use model::failure::chain;
use model::hint::Hint;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use view::lamp::Lamp;
use view::rack::{NO_DATA_AFTER, Rack};
use wire::client::{Client, ClientError};
use wire::feed::Feed;

use panel::{Panel, Wish};

/// Switches the lamps of a prestaged station's bays.
#[derive(Debug, clap::Parser)]
#[command(name = "prestaged-lamps", version)]
pub struct Arguments {
    /// Configuration file, the daemon's.
    #[arg(long, env = config::VARIABLE, default_value = config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// Why no lamps are switched.
#[derive(Debug, thiserror::Error)]
pub enum LampsError {
    #[error("lamps show what is seen through control.view_socket, which is not set")]
    #[expect(missing_docs, reason = "the message says it")]
    NoSocket,
    #[error("cannot be told to end")]
    #[expect(missing_docs, reason = "the message says it")]
    Signals(#[source] std::io::Error),
}

impl Hint for LampsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSocket => {
                Some("set control.view_socket, for example \"/run/prestaged/view.sock\"".into())
            }
            Self::Signals(_) => None,
        }
    }
}

/// How often it is looked whether news is too old, or locating has ended.
const TICK: Duration = Duration::from_millis(500);
/// How often a daemon that has ended is looked for.
const RETRY: Duration = Duration::from_millis(500);
/// How often the daemon is told how the lamps are, if nothing changes.
const REPORT: Duration = Duration::from_secs(60);
/// How long it may take to hear that.
const PATIENCE: Duration = Duration::from_secs(2);

/// The latest that was heard of the station, and when.
type News = Option<(Arc<Snapshot>, Instant)>;

/// Shows the station on lamps until the program is told to end. Then all of them are off.
///
/// # Errors
/// [`LampsError`] if there is nothing to look through.
pub async fn run(config: &Config) -> Result<(), LampsError> {
    let view = config.control.view_socket.as_deref().ok_or(LampsError::NoSocket)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(LampsError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LampsError::Signals)?;
    let mut panel = Panel::new(config);
    // What an earlier run has lit says nothing of now.
    panel = show(panel, Vec::new()).await.0;
    tracing::info!("prestaged-lamps shows the station on the lamps of its bays");
    // Fails if systemd has not started the program, which is no error.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut news = follow(Client::new(view));
    let mut teller = Teller::new(Client::new(&config.control.socket));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Vec<Wish> = Vec::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = tick.tick() => {}
            _ = news.changed() => {}
        }
        let heard = news.borrow_and_update().clone();
        let fresh = heard.filter(|(_, heard)| heard.elapsed() < NO_DATA_AFTER);
        last = match &fresh {
            Some((snapshot, _)) => wishes(snapshot, Timestamp::now()),
            None => last.into_iter().map(Wish::without_news).collect(),
        };
        let report;
        (panel, report) = show(panel, last.clone()).await;
        if fresh.is_some() {
            teller.tell(report).await;
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
    show(panel, Vec::new()).await;
    Ok(())
}

/// What each bay's lamps are to show.
fn wishes(snapshot: &Snapshot, now: Timestamp) -> Vec<Wish> {
    let rack = Rack::of(snapshot);
    let wish = |tile: &view::tile::Tile<'_>| Wish {
        bay: tile.bay.to_owned(),
        // What was pulled may have its node no longer, or another drive may have it.
        device: tile.drive().filter(|_| tile.pulled().is_none()).map(|drive| drive.device.clone()),
        lamp: Lamp::of(tile, now),
    };
    rack.tiles.iter().map(wish).collect()
}

/// Has the lamps show something. A slot may take a second for it, so it happens on a thread of its own.
async fn show(panel: Panel, wishes: Vec<Wish>) -> (Panel, LampsReport) {
    let mut panel = panel;
    let shown = tokio::task::spawn_blocking(move || {
        let report = panel.show(&wishes);
        (panel, report)
    });
    match shown.await {
        Ok(shown) => shown,
        // What lamps show then is not known; systemd starts the program again, which clears them.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Follows the daemon.
fn follow(client: Client) -> watch::Receiver<News> {
    let (tell, news) = watch::channel(None);
    tokio::spawn(async move {
        let mut said = String::new();
        while !tell.is_closed() {
            let ended: Result<(), ClientError> = async {
                let mut feed = Feed::open(&client).await?;
                loop {
                    let snapshot = Arc::new(feed.next().await?);
                    said.clear();
                    if tell.send(Some((snapshot, Instant::now()))).is_err() {
                        return Ok(());
                    }
                }
            }
            .await;
            let why = ended.err().map(|error| chain(&error)).unwrap_or_default();
            if why != said {
                tracing::warn!("lamps show no news of the station: {why}");
                said = why;
            }
            let _ = tell.send(None);
            sleep(RETRY).await;
        }
    });
    news
}

/// Tells the daemon how the lamps are, so that views can say it.
struct Teller {
    client: Client,
    told: Option<(LampsReport, Instant)>,
    tried: Option<Instant>,
    /// That it could not be told was said.
    complained: bool,
}

impl Teller {
    fn new(client: Client) -> Self {
        Self { client, told: None, tried: None, complained: false }
    }

    async fn tell(&mut self, report: LampsReport) {
        let due = match &self.told {
            Some((told, at)) => *told != report || at.elapsed() >= REPORT,
            None => self.tried.is_none_or(|tried| tried.elapsed() >= NO_DATA_AFTER),
        };
        if !due {
            return;
        }
        self.tried = Some(Instant::now());
        let answer = timeout(PATIENCE, self.client.post::<Value>("/v1/lamps", &report)).await;
        match answer.unwrap_or(Err(ClientError::Silent)) {
            Ok(_) => (self.told, self.complained) = (Some((report, Instant::now())), false),
            Err(error) => {
                self.told = None;
                if !self.complained {
                    tracing::warn!("the station is not told how the lamps are: {}", chain(&error));
                    self.complained = true;
                }
            }
        }
    }
}
