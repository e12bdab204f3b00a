//! The rack as tiles: the word large, why, what to do; told apart by word, sign and edge before colour.

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
    let columns = if rack.tiles.len() <= 8 { "cols-4" } else { "cols-6" };
    html! {
        (head(&rack, now, fresh))
        section.grid.(columns) aria-label="Bays" {
            @for (at, tile) in rack.tiles.iter().enumerate() {
                (one(at, tile, shape, fresh))
            }
        }
        @if fresh { (remarks(&rack)) }
    }
}

/// The station, its order, its media, what the bays show, and whether that is so.
fn head(rack: &Rack<'_>, now: &Now, fresh: bool) -> Markup {
    let snapshot = rack.snapshot;
    let hands = rack.hands();
    html! {
        div.line #line {
            b { (snapshot.station) }
            @if !fresh {
                b.nodata { "NO DATA" }
                span { (now.lost.as_deref().unwrap_or("the daemon does not answer")) }
            } @else {
                @if snapshot.draining { b.armed { "ENDING" } }
                @else if snapshot.armed { b.armed { "● ARMED" } }
                @else { b { "○ DISARMED" } }
                @for order in rack.orders() { span { "Order " (order) } }
                span { (rack.media().unwrap_or("no media")) }
                @for (light, name) in [(Light::Passed, "pass"), (Light::Failed, "fail"), (Light::Refused, "refused"), (Light::Stopped, "stopped"), (Light::Running, "running")] {
                    @let count = rack.count(light);
                    @if count > 0 { span { (count) (NBSP) (name) } }
                }
                @if let Some(next) = hands.first() {
                    b.hands { (hands.len()) " NEED HANDS, NEXT: " (next.bay) }
                }
                @if let Some(reason) = &snapshot.ledger { b.nodata { "NO RECORDS: " (reason.detail) } }
            }
        }
    }
}

/// What is to be said beside the bays.
fn remarks(rack: &Rack<'_>) -> Markup {
    html! {
        @for view in rack.unseen() {
            p.remark { b { "✕ " (view.drive.name()) } " has failed in " (view.drive.bay.0) ", and nobody has acknowledged it." }
        }
        @for text in rack.suspicions() { p.remark { (text) } }
    }
}

/// A number as short as it may be.
fn tail(serial: &str) -> String {
    let letters: Vec<char> = serial.chars().collect();
    match letters.len() {
        0..=12 => serial.to_owned(),
        length => format!("…{}", letters[length - 8..].iter().collect::<String>()),
    }
}

fn one(at: usize, tile: &Tile<'_>, shape: Shape, fresh: bool) -> Markup {
    let light: &str = if fresh { tile.light().into() } else { "nodata" };
    let word = if fresh { tile.word() } else { "NO DATA" };
    let station = fresh && tile.trouble() == Some(Trouble::Station);
    let why = tile.meaning().map(|meaning| meaning.short).filter(|_| fresh).unwrap_or_default();
    let action = if fresh { tile.action() } else { "" };
    let name = tile.drive().map(|drive| drive.name()).unwrap_or_default();
    let label = format!("{}: {word}. {why}. {action}. {name}", tile.bay);
    html! {
        article.tile.(light).pulled[tile.pulled().is_some()] id={ "t" (at) } data-light=(light) data-word=(word) aria-label=(label) {
            div.over {
                @match shape {
                    Shape::Rack => a.bay href={ "/bay/" (wire::client::segment(tile.bay)) } { (tile.bay) }
                    Shape::Wall => span.bay { (tile.bay) }
                }
                span.serial title=(name) { (tail(name)) }
            }
            div.word {
                @if fresh && !tile.light().mark().is_empty() { span.mark aria-hidden="true" { (tile.light().mark()) } " " }
                (word)
            }
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
                @if tile.history.is_some() { div.strip aria-label="last verdicts" { (strip(tile.history)) } }
            }
        }
    }
}
