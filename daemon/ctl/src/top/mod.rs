//! `top`: the rack on a terminal, in large letters, and what an operator does at it.
//!
//! It shows what `watch` follows. Letters look; capital letters change something at a drive or the station, and want the
//! name of the bay or of the station typed first. Like `watch` it outlives the daemon, and shows no verdict then.

mod draw;
mod edges;
mod state;

use std::io::{self, IsTerminal as _};
use std::thread;

use crossterm::event::{Event, KeyEventKind, read};
use jiff::Timestamp;
use model::api::snapshot::Snapshot;
use model::failure::chain;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{DefaultTerminal, Terminal, TerminalOptions, Viewport};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use view::rack::Rack;

use super::client::{Client, segment};
use super::watch::{Feed, Lost};
use super::{CommandError, exit, usage};
use state::{App, Ask, Next};

/// Shows the rack until `q` is pressed.
pub(super) async fn perform(client: &Client) -> Result<u8, CommandError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let error = usage("top needs a terminal");
        return Err(error.with_hint("`prestagectl watch` prints lines in a pipe"));
    }
    let events = client.events().await?;
    let mut feed = Feed::new(client, events);
    let mut ended_by = signals()?;
    let (mut terminal, mut keys) = (terminal(), keys());
    let mut app = App::default();
    let (mut last, mut lost) = (Snapshot::default(), None);
    let ended = loop {
        let drawn = terminal.draw(|frame| {
            let now = Timestamp::now();
            draw::draw(frame, &mut app, &Rack::of(&last), lost.as_ref(), now);
        });
        if let Err(error) = drawn {
            break Err(error);
        }
        tokio::select! {
            next = feed.next() => match next {
                Ok(snapshot) => {
                    app.note(&snapshot);
                    (last, lost) = (snapshot, None);
                }
                Err(error) => {
                    let since = lost.map_or_else(Timestamp::now, |lost: Lost| lost.since);
                    lost = Some(Lost { since, why: chain(&error) });
                }
            },
            // The terminal is given back before the program goes.
            _ = ended_by.recv() => break Ok(()),
            event = keys.recv() => match event {
                // The terminal is gone.
                None => break Ok(()),
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    match app.press(key, &Rack::of(&last), lost.is_some()) {
                        Next::Go => {}
                        Next::End => break Ok(()),
                        Next::Ask(ask) => app.told(carry_out(client, &ask).await),
                    }
                }
                Some(_) => {}
            },
        }
    };
    ratatui::restore();
    ended.map_err(|error| CommandError::new(exit::UNAVAILABLE, error.to_string()))?;
    Ok(exit::DONE)
}

/// The terminal, on whose whole screen is drawn, and which is as it was after [`ratatui::restore`], also after a panic.
fn terminal() -> DefaultTerminal {
    let terminal = ratatui::init();
    let says = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match terminal.size() {
        Ok(size) if size.width > 0 && size.height > 0 => terminal,
        // One that does not know its size, such as a serial line.
        _ => {
            let of = |name, usual| says(name).filter(|cells| *cells > 0).unwrap_or(usual);
            let area = Rect::new(0, 0, of("COLUMNS", 80), of("LINES", 24));
            let options = TerminalOptions { viewport: Viewport::Fixed(area) };
            let backend = CrosstermBackend::new(io::stdout());
            Terminal::with_options(backend, options).unwrap_or(terminal)
        }
    }
}

/// Tells when the program is to end, or its terminal is gone.
fn signals() -> Result<mpsc::Receiver<()>, CommandError> {
    let (tell, ended) = mpsc::channel(1);
    for kind in [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()] {
        let mut signals = signal(kind)
            .map_err(|error| CommandError::new(exit::UNAVAILABLE, error.to_string()))?;
        let tell = tell.clone();
        tokio::spawn(async move {
            signals.recv().await;
            let _ = tell.send(()).await;
        });
    }
    Ok(ended)
}

/// What is typed. The thread ends with the process: nothing else can wake it.
fn keys() -> mpsc::Receiver<Event> {
    let (tell, keys) = mpsc::channel(16);
    thread::spawn(move || {
        while let Ok(event) = read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// Asks the daemon; returns what is to be said of it.
async fn carry_out(client: &Client, ask: &Ask) -> String {
    let no = json!({});
    let (path, done) = match ask {
        Ask::Retry(drive) => (format!("/v1/drives/{}/retry", segment(drive)), "begun once more"),
        Ask::Stop(drive) => (format!("/v1/drives/{}/stop", segment(drive)), "told to stop"),
        Ask::Release(bay) => (format!("/v1/bays/{}/release", segment(bay)), "acknowledged"),
        Ask::Locate(bay) => (format!("/v1/bays/{}/locate", segment(bay)), "located"),
        Ask::Unlocate(bay) => (format!("/v1/bays/{}/locate", segment(bay)), "not located any more"),
        Ask::Arm => ("/v1/arm".to_owned(), "armed"),
        Ask::Disarm => ("/v1/disarm".to_owned(), "disarmed"),
    };
    let body = if matches!(ask, Ask::Unlocate(_)) { json!({ "off": true }) } else { no };
    match client.post::<Value>(&path, &body).await {
        Ok(_) => done.to_owned(),
        Err(error) => chain(&error),
    }
}
