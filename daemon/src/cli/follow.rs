//! Following something to its end, with progress bars on a terminal and lines elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::client::{Client, ClientError, Lines, segment};
use super::{Failure, exit, put, show};
use crate::admission::Refusal;
use crate::api::Attempt;
use crate::audit::Report;
use crate::job::{Reason, Verdict};
use crate::master::MasterId;
use crate::record::Record;
use crate::station::snapshot::{
    Decision, DriveView, MasterView, MediaState, MediaView, PressState, Snapshot,
};
use crate::units::ByteRate;
use crate::worker::Line;

/// How an attempt at a drive ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With a record.
    Record(Box<Record>),
    /// With a verdict that is not in the ledger.
    Unrecorded(Verdict, Option<Reason>),
    /// Before there was one.
    Refused(Vec<Refusal>),
    /// The drive was detached.
    Gone,
}

const BAR: &str = "{prefix:24!} {bar:30} {percent:>3}% {msg}";

fn bar(prefix: &str) -> ProgressBar {
    let bar = ProgressBar::new(100).with_prefix(prefix.to_owned());
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}

fn silent_unless(shown: bool, bar: ProgressBar) -> ProgressBar {
    if !shown {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    bar
}

fn advance(bar: &ProgressBar, percent: f64, message: String) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    bar.set_position(percent.clamp(0.0, 100.0) as u64);
    bar.set_message(message);
}

fn drive_message(drive: &DriveView, snapshot: &Snapshot) -> String {
    let state = show::state_words(drive);
    let press = snapshot.presses.iter().find(|press| press.state == PressState::Running);
    if drive.state == crate::job::State::WaitingForMaster
        && let Some(press) = press
    {
        return format!("waiting for its master: {} {:.0} %", press.step, press.percent);
    }
    match (drive.bytes_per_second, drive.eta_seconds) {
        (Some(rate), Some(left)) if rate > ByteRate(0) => {
            format!("{state} {rate}, {} left", show::duration(Duration::from_secs(left)))
        }
        _ => state,
    }
}

/// Shows the station until interrupted, or until the daemon ends.
pub(super) async fn watch(client: &Client, json: bool) -> Result<(), ClientError> {
    let mut events = client.events().await?;
    let mut board = Board::default();
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        if json {
            let line = serde_json::to_string(&snapshot)?;
            put(&line);
        } else {
            board.show(&snapshot);
        }
    }
    Ok(())
}

/// Bars on a terminal; elsewhere a line whenever a state changes.
#[derive(Default)]
struct Board {
    screen: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    said: HashMap<String, String>,
}

impl Board {
    fn show(&mut self, snapshot: &Snapshot) {
        let mut lines: Vec<(String, f64, String, String)> = Vec::new();
        for media in &snapshot.media {
            let state = show::media_state(media);
            let percent = media.percent.unwrap_or(100.0);
            lines.push((format!("media {}", media.name), percent, state.clone(), state));
        }
        for press in &snapshot.presses {
            let step = match press.state {
                PressState::Queued => "press queued".to_owned(),
                PressState::Running => format!("pressing: {}", press.step),
                PressState::Failed => "press failed".to_owned(),
            };
            lines.push((format!("master {}", press.id), press.percent, step.clone(), step));
        }
        for drive in &snapshot.drives {
            let name = drive.serial.as_ref().map_or(drive.device.clone(), ToString::to_string);
            let state = show::state_words(drive);
            lines.push((name, drive.percent, drive_message(drive, snapshot), state));
        }
        if std::io::stderr().is_terminal() {
            self.draw(lines);
        } else {
            for (name, _, _, state) in lines {
                if self.said.get(&name) != Some(&state) {
                    put(&format!("{name}: {state}"));
                    self.said.insert(name, state);
                }
            }
        }
    }

    fn draw(&mut self, lines: Vec<(String, f64, String, String)>) {
        let screen = &self.screen;
        self.bars.retain(|name, bar| {
            let stays = lines.iter().any(|line| line.0 == *name);
            if !stays {
                bar.finish_and_clear();
                screen.remove(bar);
            }
            stays
        });
        for (name, percent, message, _) in lines {
            let bar = self.bars.entry(name.clone()).or_insert_with(|| screen.add(bar(&name)));
            advance(bar, percent, message);
        }
    }
}

/// Follows an attempt at a drive.
pub(super) async fn drive(
    client: &Client,
    attempt: &Attempt,
    shown: bool,
) -> Result<Ended, ClientError> {
    let mut events = client.events().await?;
    let bar = silent_unless(shown, bar(&attempt.device));
    let mut serial = None;
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        let device = snapshot.devices.iter().find(|d| d.device == attempt.device);
        let Some(device) = device.filter(|device| device.attempt == attempt.attempt) else {
            break;
        };
        serial = serial.or_else(|| device.serial.clone());
        let drive = snapshot.drives.iter().find(|d| d.device == attempt.device);
        if let Some(drive) = drive {
            advance(&bar, drive.percent, drive_message(drive, &snapshot));
            if drive.verdict.is_some()
                && let Some(job) = drive.job
            {
                bar.finish_and_clear();
                let records: Vec<Record> = client.get("/v1/records").await?;
                let same = |record: &Record| record.job == job && record.verdict == drive.verdict;
                let record = records.into_iter().find(same);
                return Ok(match (record, drive.verdict) {
                    (Some(record), _) => Ended::Record(Box::new(record)),
                    (None, Some(verdict)) => Ended::Unrecorded(verdict, drive.reason.clone()),
                    (None, None) => Ended::Gone,
                });
            }
        }
        if device.decision == Decision::Refused {
            bar.finish_and_clear();
            return Ok(Ended::Refused(device.refusals.clone()));
        }
    }
    bar.finish_and_clear();
    // Detached: its record, if there is one, says what came of it.
    let Some(serial) = serial else { return Ok(Ended::Gone) };
    let path = format!("/v1/records?serial={}", segment(serial.as_str()));
    let records: Vec<Record> = client.get(&path).await?;
    let last = records.into_iter().next_back().filter(|record| record.verdict.is_some());
    Ok(last.map_or(Ended::Gone, |record| Ended::Record(Box::new(record))))
}

/// Follows a check of media.
pub(super) async fn media(client: &Client, name: &str, shown: bool) -> Result<MediaView, Failure> {
    let mut events = client.events().await?;
    let bar = silent_unless(shown, bar(name));
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        let media = snapshot.media.into_iter().find(|media| media.name == name);
        let Some(media) = media else { break };
        advance(&bar, media.percent.unwrap_or(100.0), show::media_state(&media));
        if media.state != MediaState::Checking {
            bar.finish_and_clear();
            return Ok(media);
        }
    }
    bar.finish_and_clear();
    Err(Failure { code: exit::FAILED, text: format!("{name} has left the inbox") })
}

/// Follows a press.
pub(super) async fn press(
    client: &Client,
    id: &str,
    shown: bool,
) -> Result<Result<MasterView, Reason>, Failure> {
    let mut events = client.events().await?;
    let id = MasterId(id.to_owned());
    let bar = silent_unless(shown, bar(&id.to_string()));
    while let Some(snapshot) = events.next::<Snapshot>().await? {
        if let Some(press) = snapshot.presses.into_iter().find(|press| press.id == id) {
            advance(&bar, press.percent, press.step);
            if let Some(reason) = press.error {
                bar.finish_and_clear();
                return Ok(Err(reason));
            }
            continue;
        }
        bar.finish_and_clear();
        let master = snapshot.masters.into_iter().find(|master| master.id == id);
        return master.map(Ok).ok_or_else(|| Failure {
            code: exit::FAILED,
            text: format!("the press of {id} was cancelled"),
        });
    }
    Err(Failure { code: exit::UNAVAILABLE, text: "the daemon has ended".into() })
}

/// Follows an audit.
pub(super) async fn audit(mut lines: Lines, json: bool) -> Result<Report, Failure> {
    let bar = silent_unless(!json, bar("audit"));
    while let Some(line) = lines.next::<Line>().await? {
        match line {
            Line::Progress(progress) => advance(&bar, progress.fraction * 100.0, progress.step),
            Line::Done(value) => {
                bar.finish_and_clear();
                return Ok(serde_json::from_value(value).map_err(ClientError::from)?);
            }
            Line::Failed(failure) => {
                let text = format!("audit failed: {}: {}", failure.code, failure.detail);
                return Err(Failure { code: exit::FAILED, text });
            }
        }
    }
    Err(Failure { code: exit::UNAVAILABLE, text: "the audit ended early".into() })
}
