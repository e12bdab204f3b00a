//! The rack as tiles: the word large, why, what to do; told apart by word, sign and edge before colour.

use jiff::Timestamp;
use maud::{Markup, html};
use model::meaning::Trouble;
use model::units::ByteRate;
use view::history::strip;
use view::rack::Rack;
use view::tile::{Light, Tile};

use super::{NBSP, Shape};
use crate::feed::Now;

/// All tiles with the line above them. Where nothing is known, no tile shows what was known before.
pub(crate) fn grid(now: &Now, shape: Shape) -> Markup {
    let Some(snapshot) = &now.snapshot else {
        return html! { p.nodata { "NO DATA: " (now.lost.as_deref().unwrap_or_default()) } };
    };
    let fresh = now.fresh().is_some();
    let rack = Rack::of(snapshot);
    let (columns, rows) = room(rack.tiles.len());
    html! {
        (head(&rack, now, fresh))
        div.room {
            section.grid.(format!("columns-{columns}")).(format!("rows-{rows}")) aria-label="Bays" {
                @for (at, tile) in rack.tiles.iter().enumerate() {
                    (one(at, tile, shape, fresh))
                }
            }
        }
        @if fresh { (remarks(&rack, shape)) }
    }
}

/// In how many columns and rows so many tiles stand. The style knows as many of both.
fn room(tiles: usize) -> (usize, usize) {
    let columns = match tiles {
        0..=8 => 4,
        9..=24 => 6,
        _ => 8,
    };
    (columns, tiles.div_ceil(columns).clamp(1, 8))
}

/// The station, its order, its media, what the bays show, and whether that is so.
fn head(rack: &Rack<'_>, now: &Now, fresh: bool) -> Markup {
    let snapshot = rack.snapshot;
    let hands = rack.hands();
    html! {
        div.line #line {
            b.station { (snapshot.station) }
            @if !fresh {
                b.nodata { "NO DATA" }
                span { (now.cause().unwrap_or_default()) }
            } @else {
                @if snapshot.draining { b.armed { "ENDING" } }
                @else if snapshot.armed { b.armed { "● ARMED" } }
                @else { b.disarmed { "○ DISARMED" } }
                div.facts {
                @for order in rack.orders() { span { "Order " (order) } }
                span { (rack.media()) }
                @for (light, name) in [(Light::Passed, "pass"), (Light::Failed, "fail"), (Light::Refused, "refused"), (Light::Stopped, "stopped"), (Light::Running, "running")] {
                    @let count = rack.count(light);
                    @if count > 0 { span { (count) (NBSP) (name) } }
                }
                }
                @if let Some(next) = hands.first() {
                    b.hands { (hands.len()) " NEED HANDS, NEXT: " (next.bay) }
                }
                @if let Some(reason) = &snapshot.ledger { b.nodata { "NO RECORDS: " (reason.detail) } }
            }
        }
    }
}

/// So many remarks stand on the wall, which cannot be scrolled.
const REMARKS: usize = 3;

/// What is to be said beside the bays.
fn remarks(rack: &Rack<'_>, shape: Shape) -> Markup {
    let unseen = rack.unseen().into_iter().map(|view| {
        html! { b { "✕ " (view.drive.name()) } " has failed in " (view.drive.bay.0) ", and nobody has acknowledged it." }
    });
    let suspicions = rack.suspicions().into_iter().map(|text| html! { (text) });
    let mut all: Vec<Markup> = unseen.chain(suspicions).collect();
    let more = match shape {
        Shape::Wall => all.len().saturating_sub(REMARKS),
        Shape::Rack => 0,
    };
    all.truncate(all.len() - more);
    html! {
        @for remark in all { p.remark { (remark) } }
        @if more > 0 { p.remark { "and " (more) " more remarks, on the page of the rack" } }
    }
}

/// Stands before the name of a bay that somebody looks for.
const LOCATED: &str = "◉ ";

/// A bay whose name has more letters stands in smaller ones, so that the drive's number has room beside it.
const LONG: usize = 9;

/// A number as short as it may be: its end, which tells drives of one batch apart.
fn tail(serial: &str) -> String {
    let letters: Vec<char> = serial.chars().collect();
    match letters.len() {
        0..=9 => serial.to_owned(),
        length => format!("…{}", letters[length - 8..].iter().collect::<String>()),
    }
}

fn one(at: usize, tile: &Tile<'_>, shape: Shape, fresh: bool) -> Markup {
    let light: &str = if fresh { tile.light().into() } else { "nodata" };
    let word = if fresh { tile.word() } else { "NO DATA" };
    let station = fresh && tile.trouble() == Some(Trouble::Station);
    let why = tile.meaning().map(|meaning| meaning.short).filter(|_| fresh).unwrap_or_default();
    // What is out cannot be taken out.
    let is_out = tile.pulled().is_some() && tile.light() == Light::Passed;
    let action = if fresh && !is_out { tile.action() } else { "" };
    let name = tile.drive().map(|drive| drive.name()).unwrap_or_default();
    let label = format!("{}: {word}. {why}. {action}. {name}", tile.bay);
    let located = fresh && tile.is_located(Timestamp::now());
    html! {
        article.tile.(light).pulled[tile.pulled().is_some()] id={ "t" (at) } data-light=(light) data-word=(word) aria-label=(label) {
            div.over.long[tile.bay.chars().count() > LONG] {
                @if fresh && !tile.light().mark().is_empty() { span.mark aria-hidden="true" { (tile.light().mark()) } }
                @match shape {
                    Shape::Rack => a.bay href={ "/bay/" (wire::client::segment(tile.bay)) } { @if located { (LOCATED) } (tile.bay) }
                    Shape::Wall => span.bay { @if located { (LOCATED) } (tile.bay) }
                }
                span.serial title=(name) { bdi dir="ltr" { (tail(name)) } }
            }
            div.word { (word) }
            @if station { div.band { "STATION" } }
            @if fresh {
                @if let (Some(drive), Light::Running) = (tile.drive(), tile.light()) {
                    progress max="100" value={ (format!("{:.0}", drive.percent)) } aria-label="done" {}
                    div.why {
                        (format!("{:.0}", drive.percent)) " %"
                        @if let Some(rate) = drive.bytes_per_second.filter(|rate| *rate > ByteRate(0)) { " " (rate) }
                        @if let Some(left) = drive.eta_seconds { " " (left) (NBSP) "s" }
                    }
                }
                @if !why.is_empty() { div.why { (why) } }
                @if !action.is_empty() { div.action { (action) } }
                @if tile.pulled().is_some() { div.gone { "pulled" } }
                @if tile.history.is_some() { div.strip role="img" aria-label="last verdicts" { (strip(tile.history)) } }
            }
        }
    }
}
