//! One bay: its drive, what became of it, how fast it was, and what was in the bay before.

use maud::{Markup, html};
use model::advice::Explained as _;
use model::api::snapshot::{DriveView, EndedView};
use model::job::State;
use model::verdict::Verdict;
use view::history::strip;
use view::rack::Rack;
use view::tile::Tile;

use crate::access::Visitor;
use crate::curve::Point;
use crate::feed::Now;

/// All that is known of a bay.
pub(crate) fn detail(now: &Now, bay: &str, _visitor: &Visitor) -> Markup {
    let Some(snapshot) = now.fresh() else {
        return html! { p.nodata { "NO DATA: " (now.lost.as_deref().unwrap_or("the daemon does not answer")) } };
    };
    let rack = Rack::of(snapshot);
    let tiles: Vec<&Tile<'_>> = rack.tiles.iter().filter(|tile| tile.bay == bay).collect();
    html! {
        @if tiles.is_empty() { p { "There is no such bay any more." } }
        @for tile in tiles {
            @let suspect = rack.suspect(tile).sentence(bay);
            section.tile.detail.(<&str>::from(tile.light())) data-light=(<&str>::from(tile.light())) {
                div.word {
                    @if !tile.light().mark().is_empty() { span.mark aria-hidden="true" { (tile.light().mark()) } " " }
                    (tile.word())
                }
                @if let Some(meaning) = tile.meaning() { div.why { (meaning.short) } }
                @if !tile.action().is_empty() { div.action { (tile.action()) } }
            }
            @if let Some(pulled) = tile.pulled() {
                p.remark { "The drive was pulled at " time datetime=(pulled) { (pulled.strftime("%H:%M:%S UTC")) } "." }
            }
            @if let Some(drive) = tile.drive() { (facts(drive, now, tile.pulled().is_none())) }
            @if let Some(suspect) = suspect { p.remark { (suspect) } }
            @if let Some(history) = tile.history {
                h2 { "This bay" }
                p.strip { (strip(Some(history))) }
                table {
                    thead { tr { th { "When" } th { "Verdict" } th { "Serial number" } th { "Why" } } }
                    tbody { @for ended in history.ended.iter().rev() { (past(ended)) } }
                }
            }
        }
    }
}

fn past(ended: &EndedView) -> Markup {
    html! {
        tr {
            td { time datetime=(ended.at) { (ended.at.strftime("%Y-%m-%d %H:%M:%S UTC")) } }
            td { (ended.verdict.mark()) " " (ended.verdict.word()) }
            td { (ended.serial.as_ref().map(|serial| serial.as_str()).unwrap_or("-")) }
            td { @if let Some(code) = ended.code { (code.at_the_rack().short) " (" code { (code) } ")" } }
        }
    }
}

/// A drive that was pulled has no device any more: by that name another one comes.
fn facts(drive: &DriveView, now: &Now, is_there: bool) -> Markup {
    let curve = drive.job.map(|job| now.curves.of(job)).unwrap_or_default();
    html! {
        dl {
            dt { "Drive" } dd { (drive.name()) " " (drive.model.as_deref().unwrap_or_default()) " " (drive.size_bytes) @if is_there { " " (drive.device) } }
            @if let Some(media) = &drive.media { dt { "Media" } dd { (media) } }
            @if let Some(order) = &drive.order { dt { "Order" } dd { (order) } }
            @if let Some(job) = drive.job { dt { "Job" } dd { a href={ "/v1/records/" (job) } { (job) } } }
            @if drive.verdict.is_none() {
                dt { "Done" } dd { (format!("{:.0} %", drive.percent)) }
                @if let Some(rate) = drive.bytes_per_second { dt { "Rate" } dd { (rate) } }
            }
            @if let Some(part) = drive.limited_by { dt { "Limited by" } dd { (part) } }
            @if let Some(reason) = &drive.reason {
                @let advice = reason.code.advice();
                dt { "Why" } dd { code { (reason.code) } ": " (reason.detail) }
                dt { "Now" } dd { (reason.what_now_for(drive.name())) }
                dt { "Operator" } dd { (advice.operator) }
                dt { "Engineer" } dd { (advice.engineer) }
            }
            @if let (Some(Verdict::Passed), Some(serial)) = (drive.verdict, &drive.serial) {
                dt { "Label" } dd { code { "prestagectl certificate " (serial) " --label zpl" } }
            }
            @for warning in &drive.warnings { dt { "Warning" } dd { (warning) } }
        }
        @if curve.len() > 1 {
            (plot("Write", State::Writing, curve))
            (plot("Read back", State::ReadingBack, curve))
        }
    }
}

/// The width and height of a curve.
const PLOT: (f64, f64) = (600.0, 80.0);

/// The rate over how much was done.
#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn plot(name: &str, state: State, curve: &[Point]) -> Markup {
    let points: Vec<&Point> = curve.iter().filter(|point| point.state == state).collect();
    let most = points.iter().map(|point| point.rate).max();
    let (Some(first), Some(last), Some(most)) = (points.first(), points.last(), most) else {
        return html! {};
    };
    let (width, height) = PLOT;
    let span = (last.percent - first.percent).max(0.1);
    let place = |point: &&Point| {
        let x = (point.percent - first.percent) / span * width;
        let y = height - point.rate.0 as f64 / most.0.max(1) as f64 * (height - 4.0);
        format!("{x:.0},{y:.0}")
    };
    let line = points.iter().map(place).collect::<Vec<_>>().join(" ");
    html! {
        figure {
            figcaption { (name) ": at most " (most) ", now " (last.rate) }
            svg viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ (name) " rate" } {
                polyline points=(line) fill="none" stroke="currentColor" stroke-width="2" {}
            }
        }
    }
}

/// What may be asked for; what changes a drive wants the bay's name typed.
pub(crate) fn controls(bay: &str) -> Markup {
    let action = |act: &str| format!("/bay/{}/{act}", wire::client::segment(bay));
    html! {
        section.acts aria-label="Acts" {
            form.act method="post" action=(action("locate")) { button { "Locate: its lamp blinks" } }
            form.act method="post" action=(action("release")) { button { "Seen: acknowledge" } }
            @for (act, name) in [("retry", "Retry"), ("stop", "Stop")] {
                form.act method="post" action=(action(act)) {
                    label { "To " (act) ", type " b { (bay) } " " input name="confirm" autocomplete="off" required; }
                    button.danger { (name) }
                }
            }
        }
    }
}
