//! `watch`: the station live. On a terminal a screen with a row for each bay, elsewhere a line whenever something changes.
//!
//! It outlives the daemon, and says so: what it shows then is old, and never green.

mod news;
mod screen;

use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use model::api::snapshot::{DriveView, PressState, PressView, Snapshot};
use model::failure::chain;
use model::job::State;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::client::{Client, ClientError, Lines};
use super::hinted;
use super::output::put;
use super::words::{Going, Standing};
use news::News;
use screen::Screen;

/// A daemon that has said nothing for so long is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(3);
/// How often a daemon that has ended is looked for.
const RETRY: Duration = Duration::from_secs(1);

/// Shows the station until interrupted. With `json` it ends with the daemon, which is an error: programs go by the exit
/// code.
pub(super) async fn perform(client: &Client, json: bool) -> Result<(), ClientError> {
    let mut events = client.events().await?;
    let mut unread = readers_end();
    if json {
        loop {
            tokio::select! {
                next = events.next::<Snapshot>() => match next? {
                    Some(snapshot) => put(&serde_json::to_string(&hinted::snapshot(snapshot))?),
                    None => return Err(ClientError::Ended),
                },
                Ok(()) = &mut unread => return Ok(()),
            }
        }
    }
    let mut feed = Feed::new(client, events);
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let mut view = match io::stdout().is_terminal() && !dumb {
        true => View::Screen(Screen::open()),
        false => View::News(News::default()),
    };
    let mut stop = Interrupts::new();
    let mut resized = signal(SignalKind::window_change()).ok();
    let mut last = Snapshot::default();
    let mut lost: Option<Lost> = None;
    loop {
        tokio::select! {
            next = feed.next() => {
                lost = match next {
                    Ok(snapshot) => {
                        last = snapshot;
                        None
                    }
                    Err(error) => Some(Lost {
                        since: lost.map_or_else(Timestamp::now, |lost| lost.since),
                        why: chain(&error),
                    }),
                };
            }
            () = received(resized.as_mut()) => {}
            () = stop.received() => break,
            Ok(()) = &mut unread => break,
        }
        match &mut view {
            View::Screen(screen) => screen.show(&last, lost.as_ref()),
            View::News(news) => news.show(&last, lost.as_ref()),
        }
    }
    Ok(())
}

enum View {
    Screen(Screen),
    News(News),
}

/// The daemon does not answer any more.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) since: Timestamp,
    pub(super) why: String,
}

/// The station's snapshots, one after the other.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    client: &'a Client,
    /// Open while the daemon is there.
    events: Option<Lines>,
}

impl<'a> Feed<'a> {
    /// The snapshots that come on a connection, and on those after it.
    pub(super) fn new(client: &'a Client, events: Lines) -> Self {
        Self { client, events: Some(events) }
    }

    /// The next snapshot, also where nothing has changed but the time.
    ///
    /// # Errors
    /// The daemon does not answer. It is looked for again with the next call.
    pub(super) async fn next(&mut self) -> Result<Snapshot, ClientError> {
        if self.events.is_none() {
            sleep(RETRY).await;
            self.events = Some(within(self.client.events()).await?);
        }
        let next = match &mut self.events {
            Some(events) => timeout(SILENCE, events.next()).await,
            None => return Err(ClientError::Ended),
        };
        let result = match next {
            Ok(event) => event.and_then(|snapshot| snapshot.ok_or(ClientError::Ended)),
            // Nothing has changed, or the daemon stands still.
            Err(_) => within(self.client.get("/v1/status")).await,
        };
        if result.is_err() {
            self.events = None;
        }
        result
    }
}

/// Waits for an answer, but not for ever.
async fn within<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    timeout(SILENCE, answer).await.unwrap_or(Err(ClientError::Silent))
}

/// The signals that end a program by the keyboard or by `kill`: the terminal must be as it was before.
struct Interrupts([Option<Signal>; 3]);

impl Interrupts {
    fn new() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Self(kinds.map(|kind| signal(kind).ok()))
    }

    async fn received(&mut self) {
        let [first, second, third] = &mut self.0;
        tokio::select! {
            () = received(first.as_mut()) => {}
            () = received(second.as_mut()) => {}
            () = received(third.as_mut()) => {}
        }
    }
}

/// Tells when nobody reads standard output any more (`| head`). Writing would tell, but there may be nothing to write for
/// hours. The thread ends with the process.
fn readers_end() -> oneshot::Receiver<()> {
    let (gone, told) = oneshot::channel();
    thread::spawn(move || {
        let out = io::stdout();
        let mut fds = [PollFd::new(&out, PollFlags::empty())];
        // Only errors are waited for, which a pipe without readers has. A signal may end the waiting before.
        loop {
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                Ok(_) | Err(Errno::INTR) => {}
                // It is not told then.
                Err(_) => thread::park(),
            }
        }
        let _ = gone.send(());
    });
    told
}

/// Waits for a signal; for ever, where it cannot be waited for.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn press_line(press: &PressView) -> String {
    match press.state {
        PressState::Queued => "press queued".to_owned(),
        PressState::Running if press.step.is_empty() => "pressing".to_owned(),
        PressState::Running => format!("pressing: {}", press.step),
        PressState::Failed => "press failed".to_owned(),
    }
}

/// What a drive is doing, how fast, and how long it takes.
pub(super) fn message(drive: &DriveView, snapshot: &Snapshot) -> String {
    let standing = Standing::of(drive).line();
    let press = snapshot.presses.iter().find(|press| press.state == PressState::Running);
    if drive.state == State::WaitingForMaster
        && let Some(press) = press
    {
        return format!("{standing}: {} {:.0}%", press_line(press), press.percent);
    }
    match Going::of(Some(drive)) {
        Going { rate: Some(rate), left: Some(left), .. } => {
            format!("{standing}, {left} left, {rate}")
        }
        _ => standing,
    }
}
