//! `status`: the station, its media and masters, and the drives in its bays.

use jiff::Timestamp;

use super::output::paragraph;
use super::table::{Cell, Keep, Table};
use super::words::{self, Going, Standing};
use super::{explain, master, media as inventory, order};
use model::api::snapshot::{
    DriveView, HashingView, InboxView, LampTrouble, LampsView, SilentView, Snapshot,
};
use model::units::Bytes;
use view::rack::Rack;
use view::tile::Light;

pub(super) fn render(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    [
        station(snapshot, terminal) + &inbox(&snapshot.inbox, terminal),
        media(snapshot, terminal),
        orders(snapshot, terminal),
        master::list(&snapshot.masters, &snapshot.presses, terminal),
        drives(snapshot, terminal),
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join("\n")
}

fn station(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    let (state, style) = words::station(snapshot);
    let mut table = Table::headless([Keep::Always, Keep::Text]);
    let name = format!("station {}", snapshot.station);
    table.row([Cell::new(name), Cell::styled(state, style)]);
    if let Some(reason) = &snapshot.ledger {
        table.row([Cell::new("no records"), Cell::styled(&reason.detail, words::BAD)]);
        if let Some(hint) = &reason.hint {
            table.row([Cell::new("hint"), Cell::new(hint)]);
        }
    }
    if let Some(HashingView { path, at_once, rate }) = snapshot.hashing {
        let chunks = words::plural(Bytes::of(at_once).0, "chunk", "chunks");
        let told = format!("{chunks} at once on each core ({path}), {rate} each");
        table.row([Cell::new("hashing"), Cell::new(told)]);
    }
    if !snapshot.signers.is_empty() {
        let names: Vec<&str> = snapshot.signers.iter().map(|signer| &*signer.name).collect();
        let list = snapshot.signer_list.map(|number| format!(", by list {number}"));
        let told = format!("{}{}", names.join(", "), list.unwrap_or_default());
        table.row([Cell::new("media signed by"), Cell::new(told)]);
    }
    if let Some(lamps) = &snapshot.lamps {
        table.row([Cell::new("lamps"), lamps_cell(lamps)]);
        for trouble in lamps.troubles.iter().take(LAMPS_TOLD) {
            let LampTrouble { bay, lamp, what } = trouble;
            table.row([Cell::new(""), Cell::new(format!("{bay}: {what} ({lamp})"))]);
        }
    }
    table.render(terminal)
}

/// So many troubles of lamps are told; the JSON has all.
const LAMPS_TOLD: usize = 4;

fn lamps_cell(lamps: &LampsView) -> Cell {
    let LampsView { at, bays, troubles } = lamps;
    if !lamps.is_fresh(Timestamp::now()) {
        let told = format!("nothing heard of them since {}", words::clock(*at));
        return Cell::styled(told, words::NOTICE);
    }
    let bays = words::plural(Bytes::of(*bays).0, "bay", "bays");
    match troubles.len() {
        0 => Cell::new(format!("of {bays}")),
        _ => {
            let what = words::plural(Bytes::of(troubles.len()).0, "lamp does", "lamps do");
            Cell::styled(format!("of {bays}; {what} not work"), words::NOTICE)
        }
    }
}

/// The media, and why drives get none of it by themselves, where there is some.
fn media(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    let mut text = inventory::list(&inventory::shown(snapshot.media.clone()), terminal);
    if let Some(reason) = snapshot.no_media.as_ref().filter(|_| !snapshot.media.is_empty()) {
        let why = format!("drives get no media unless it is named: {}\n", reason.sentence());
        text += &paragraph(&why, terminal);
    }
    text
}

/// The orders; nothing where there are none.
fn orders(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    let mut text = match snapshot.orders.is_empty() {
        true => String::new(),
        false => order::list(&snapshot.orders, terminal),
    };
    for file in &snapshot.order_files {
        let what = file.problem.as_deref().unwrap_or("is still being written");
        text += &paragraph(&format!("order file {}: {what}\n", file.name), terminal);
    }
    if let Some(trouble) = &snapshot.results {
        let told = format!("results are kept until they can be written: {trouble}\n");
        text += &paragraph(&told, terminal);
    }
    text
}

/// What is to be said of the inbox beside its media; usually nothing.
fn inbox(inbox: &InboxView, terminal: Option<usize>) -> String {
    let mut text = String::new();
    if let Some(trouble) = &inbox.trouble {
        let told = paragraph(&format!("inbox: cannot be read: {trouble}\n"), terminal);
        text += &format!("{}{told}{:#}", words::BAD, words::BAD);
    }
    for name in &inbox.growing {
        text += &paragraph(&format!("inbox: {name} is still being written\n"), terminal);
    }
    for parcel in &inbox.parcels {
        let state = match &parcel.problem {
            Some(problem) => format!("cannot be taken in: {}", problem.sentence()),
            None if parcel.done => "has been taken in, and can be removed".to_owned(),
            None => "is being looked at".to_owned(),
        };
        text += &paragraph(&format!("inbox: parcel {} {state}\n", parcel.name), terminal);
    }
    if inbox.ignored > 0 {
        let entries = words::plural(inbox.ignored, "entry is", "entries are");
        let names = inbox.ignored_names.join(", ");
        let more =
            if inbox.ignored > Bytes::of(inbox.ignored_names.len()).0 { ", …" } else { "" };
        let ignored = format!(
            "inbox: {entries} ignored ({names}{more}): media is a file named *.wim, *.swm or *.esd\n"
        );
        text += &paragraph(&ignored, terminal);
    }
    if inbox.waiting > 0 {
        let files = words::plural(inbox.waiting, "file waits", "files wait");
        let waiting = format!("inbox: {files}; take out what is no media\n");
        text += &paragraph(&waiting, terminal);
    }
    for SilentView { name, since } in &inbox.silent {
        let silent = format!("inbox: {name} has not answered since {since}\n");
        text += &paragraph(&silent, terminal);
    }
    text
}

fn drives(snapshot: &Snapshot, terminal: Option<usize>) -> String {
    let rack = Rack::of(snapshot);
    let tiles = &rack.tiles;
    let remarks: String = words::remarks(&rack)
        .iter()
        .map(|remark| paragraph(&format!("{remark}\n"), terminal))
        .collect();
    if tiles.is_empty() {
        return paragraph("no drives in the station's bays\n", terminal) + &remarks;
    }
    let mut table = Table::new([
        ("BAY", Keep::Always),
        ("STATE", Keep::Always),
        ("SERIAL", Keep::Always),
        ("DONE", Keep::Useful),
        ("LEFT", Keep::Useful),
        ("RATE", Keep::Useful),
        ("ORDER", Keep::Spare),
        ("MEDIA", Keep::Spare),
        ("SIZE", Keep::Spare),
        ("LIMITED BY", Keep::Spare),
        ("WHY", Keep::Text),
    ]);
    for tile in tiles {
        let standing = Standing::of_tile(tile);
        let going = Going::of(tile.drive());
        table.row([
            Cell::new(tile.bay),
            standing.cell(),
            Cell::perhaps(tile.drive().map(DriveView::name)),
            Cell::perhaps(going.done),
            Cell::perhaps(going.left),
            Cell::perhaps(going.rate),
            Cell::perhaps(tile.drive().and_then(words::order)),
            Cell::perhaps(tile.drive().and_then(|drive| drive.media.as_ref())),
            Cell::perhaps(tile.drive().map(|drive| drive.size_bytes)),
            Cell::perhaps(tile.drive().and_then(|drive| drive.limited_by)),
            Cell::new(standing.row(terminal)),
        ]);
    }
    let shown =
        tiles.iter().filter_map(|tile| tile.drive()).filter(|d| Light::of(d) != Light::Passed);
    let hints = match terminal {
        Some(_) => explain::hints(shown.filter_map(|drive| drive.reason.as_ref()), terminal),
        None => String::new(),
    };
    match remarks + &hints {
        below if below.is_empty() => table.render(terminal),
        below => format!("{}\n{below}", table.render(terminal)),
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;
    use model::api::snapshot::{HashingView, Snapshot};
    use model::digest::HashPath;
    use model::units::ByteRate;

    #[test]
    fn status() {
        let busy = fixture::station();
        fixture::outputs("status", |terminal| super::render(&busy, terminal));
        let hashing =
            Some(HashingView { path: HashPath::Avx2, at_once: 8, rate: ByteRate(1_650_000_000) });
        let fresh = Snapshot { station: "rack-01".into(), hashing, ..Snapshot::default() };
        fixture::outputs("status-fresh", |terminal| super::render(&fresh, terminal));
    }
}
