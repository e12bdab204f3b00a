//! `watch`: the station live, as bars on a terminal, and elsewhere as a line whenever something changes its state.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::MultiProgress;

use super::client::{Client, ClientError};
use super::media;
use super::output::{put, put_styled};
use super::progress::Progress;
use super::words::{self, Standing};
use model::api::snapshot::{DriveView, PressState, PressView, Snapshot};
use model::job::State;
use model::units::ByteRate;

/// Shows the station until interrupted, or until the daemon ends, which is an error.
pub(super) async fn perform(client: &Client, json: bool) -> Result<(), ClientError> {
    let mut events = client.events().await?;
    let mut board = Board::default();
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        if json {
            put(&serde_json::to_string(&snapshot)?);
        } else {
            board.show(&snapshot);
        }
    }
    Err(ClientError::Ended)
}

/// One media, press or drive, with a bar or a line of its own.
#[derive(Debug, PartialEq)]
struct Item {
    name: String,
    percent: f64,
    /// Its state in words; a new line is printed in a pipe when these change.
    state: String,
    /// The same with rates and times, beside its bar.
    message: String,
}

fn items(snapshot: &Snapshot) -> Vec<Item> {
    let media = snapshot.media.iter().map(|media| Item {
        name: format!("media {}", media.name),
        percent: media.percent.unwrap_or(100.0),
        state: media::line(media),
        message: media::line(media),
    });
    let presses = snapshot.presses.iter().map(|press| {
        let state = press_line(press);
        Item {
            name: format!("master {}", press.id),
            percent: press.percent,
            message: state.clone(),
            state,
        }
    });
    let drives = snapshot.drives.iter().map(|drive| Item {
        name: drive.serial.as_ref().map_or(drive.device.clone(), ToString::to_string),
        percent: drive.percent,
        state: Standing::of(drive).line(),
        message: message(drive, snapshot),
    });
    media.chain(presses).chain(drives).collect()
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
        return format!("{standing}: {} {:.0}%", press.step, press.percent);
    }
    match (drive.bytes_per_second, drive.eta_seconds) {
        (Some(rate), Some(left)) if rate > ByteRate(0) => {
            let left = words::duration(Duration::from_secs(left));
            format!("{standing}, {left} left, {rate}")
        }
        _ => standing,
    }
}

#[derive(Debug, Default)]
struct Board {
    screen: MultiProgress,
    bars: BTreeMap<String, Progress>,
    said: HashMap<String, String>,
}

impl Board {
    fn show(&mut self, snapshot: &Snapshot) {
        let items = items(snapshot);
        if io::stdout().is_terminal() && io::stderr().is_terminal() {
            self.draw(items);
        } else {
            self.news(items).iter().for_each(|line| put_styled(line));
        }
    }

    /// A line for each item that is new or in another state than before.
    fn news(&mut self, items: Vec<Item>) -> Vec<String> {
        let mut lines = Vec::new();
        for Item { name, state, .. } in items {
            if self.said.get(&name) != Some(&state) {
                lines.push(format!("{name}: {state}"));
                self.said.insert(name, state);
            }
        }
        lines
    }

    fn draw(&mut self, items: Vec<Item>) {
        let screen = &self.screen;
        self.bars.retain(|name, progress| {
            let stays = items.iter().any(|item| item.name == *name);
            if !stays {
                progress.bar().finish_and_clear();
                screen.remove(progress.bar());
            }
            stays
        });
        for Item { name, percent, message, .. } in items {
            let progress = self.bars.entry(name).or_insert_with_key(|name| {
                let progress = Progress::new(name, true);
                screen.add(progress.bar().clone());
                progress
            });
            progress.set(percent, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, items};
    use crate::fixture;

    #[test]
    fn changes_are_said_once() {
        let mut station = fixture::station();
        let mut board = Board::default();
        let mut text = board.news(items(&station)).join("\n");
        assert!(board.news(items(&station)).is_empty());
        station.drives[2].percent += 1.0;
        assert!(board.news(items(&station)).is_empty(), "a percent more is no news");
        station.drives.swap_remove(2);
        station.drives[0].state = model::job::State::ReadingBack;
        text += "\n-- then\n";
        text += &board.news(items(&station)).join("\n");
        fixture::snapshot("watch-piped", &anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn bars_say_rates_and_times() {
        let lines: Vec<String> = items(&fixture::station())
            .iter()
            .map(|item| format!("{} {:.0}% {}", item.name, item.percent, item.message))
            .collect();
        let text = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        fixture::snapshot("watch-bars", &text);
    }
}
