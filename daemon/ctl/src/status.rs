//! `status`: the station, its media and masters, and the drives in its bays.

use std::time::Duration;

use anstyle::Style;

use super::output::paragraph;
use super::table::{Cell, Keep, Table};
use super::words::{self, Standing};
use super::{master, media};
use model::api::snapshot::{DriveView, InboxView, SilentView, Snapshot};

pub(super) fn render(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    [
        station(snapshot, terminal) + &inbox(&snapshot.inbox, terminal),
        media::list(&snapshot.media, terminal),
        master::list(&snapshot.masters, &snapshot.presses, terminal),
        drives(&snapshot.drives, terminal),
    ]
    .join("\n")
}

fn station(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    let (state, style) = match (snapshot.draining, snapshot.armed) {
        (true, _) => ("ending: no new drives", words::NOTICE),
        (false, true) => ("ARMED", words::NOTICE),
        (false, false) => ("disarmed: watches and reports, writes to nothing", Style::new()),
    };
    let mut table = Table::headless([Keep::Always, Keep::Text]);
    let name = format!("station {}", snapshot.station);
    table.row([Cell::new(name), Cell::styled(state, style)]);
    if let Some(reason) = &snapshot.ledger {
        table.row([Cell::new("no records"), Cell::styled(&reason.detail, words::BAD)]);
    }
    table.render(terminal)
}

/// What is to be said of the inbox beside its media; usually nothing.
fn inbox(inbox: &InboxView, terminal: Option<usize>) -> String {
    let mut text = String::new();
    if inbox.waiting > 0 {
        let waiting = format!("inbox: {} files wait; take out what is no media\n", inbox.waiting);
        text += &paragraph(&waiting, terminal);
    }
    for SilentView { name, since } in &inbox.silent {
        let silent = format!("inbox: {name} has not answered since {since}\n");
        text += &paragraph(&silent, terminal);
    }
    text
}

fn drives(drives: &[DriveView], terminal: Option<usize>) -> String {
    if drives.is_empty() {
        return paragraph("no drives in the station's bays\n", terminal);
    }
    let mut table = Table::new([
        ("BAY", Keep::Always),
        ("SERIAL", Keep::Always),
        ("STATE", Keep::Always),
        ("DONE", Keep::Useful),
        ("LEFT", Keep::Useful),
        ("RATE", Keep::Useful),
        ("LIMITED BY", Keep::Spare),
        ("SIZE", Keep::Spare),
        ("WHY", Keep::Text),
    ]);
    for drive in drives {
        let standing = Standing::of(drive);
        let rate = drive.bytes_per_second.filter(|_| drive.verdict.is_none());
        let left = drive.eta_seconds.map(|seconds| words::duration(Duration::from_secs(seconds)));
        table.row([
            Cell::new(&drive.bay),
            Cell::perhaps(drive.serial.as_ref()),
            standing.cell(),
            Cell::new(format!("{:.0}%", drive.percent)),
            Cell::perhaps(left),
            Cell::perhaps(rate),
            Cell::perhaps(drive.limited_by),
            Cell::new(drive.size_bytes),
            Cell::new(standing.why),
        ]);
    }
    table.render(terminal)
}

#[cfg(test)]
mod tests {
    use crate::fixture;
    use model::api::snapshot::Snapshot;

    #[test]
    fn status() {
        let busy = fixture::station();
        fixture::outputs("status", |terminal| super::render(&busy, terminal));
        let fresh = Snapshot { station: "rack-01".into(), ..Snapshot::default() };
        fixture::outputs("status-fresh", |terminal| super::render(&fresh, terminal));
    }
}
