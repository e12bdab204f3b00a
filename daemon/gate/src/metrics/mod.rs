//! The station in numbers, in the text format of Prometheus. Labels are bounded: bays, states, verdicts, reason codes; no
//! serial number, no job, no order.
//!
//! What is so at the moment is left out while nothing is known of the station, so that no graph goes on with old numbers.

use std::fmt::{Display, Write as _};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use model::api::snapshot::{MediaState, PressState, Snapshot};
use model::code::ReasonCode;
use model::job::State;
use model::verdict::Verdict;
use strum::VariantArray as _;
use view::rack::Rack;
use view::tile::Light;

use crate::events::Standing;
use crate::tally::{Counts, LIMITS, name};

/// Version 0.0.4 of the format.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(shared: crate::State) -> Response {
    let now = shared.now.borrow().clone();
    let pages = crate::STREAMS - shared.streams.available_permits();
    let fresh = now.fresh().map(Arc::as_ref);
    let mut text = text(fresh, now.snapshot.as_deref(), &now.counts, pages);
    receivers(&mut text, &shared.receivers);
    let text = text.0;
    ([(header::CONTENT_TYPE, KIND)], text).into_response()
}

/// What Prometheus has to know of a metric.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a metric; its values follow.
    fn metric(&mut self, kind: Kind, name: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let quoted =
            |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let labels: Vec<_> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", quoted(value))).collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    /// A metric that has one value.
    fn single(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.metric(kind, name, help);
        self.value(name, &[], value);
    }

    /// A metric of the present with a value for each of some names.
    fn each<'a>(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, usize)>,
    ) {
        self.metric(Kind::Gauge, name, help);
        for (which, value) in values {
            self.value(name, &[(label, which)], value);
        }
    }
}

/// All metrics: of the station as it is, if that is known; of it as it was known last; of what was counted since the gate
/// was started; and how many pages follow.
fn text(
    fresh: Option<&Snapshot>,
    known: Option<&Snapshot>,
    counted: &Counts,
    pages: usize,
) -> Text {
    let mut text = Text::default();
    text.metric(Kind::Gauge, "prestaged_gate_info", "The program that tells this; always 1.");
    text.value("prestaged_gate_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let help = "Whether the gate has news of the station that are younger than three seconds.";
    text.single(Kind::Gauge, "prestaged_gate_connected", help, u8::from(fresh.is_some()));
    let help = "Pages that follow the station.";
    text.single(Kind::Gauge, "prestaged_gate_pages", help, pages);
    if let Some(snapshot) = fresh {
        station(&mut text, snapshot);
    }
    counts(&mut text, counted, known);
    text
}

/// How it goes with those who are told what has happened.
fn receivers(text: &mut Text, all: &[Arc<Standing>]) {
    if all.is_empty() {
        return;
    }
    let mut each = |kind, name, help, value: &dyn Fn(&Standing) -> f64| {
        text.metric(kind, name, help);
        for one in all {
            text.value(name, &[("receiver", &one.name)], value(one));
        }
    };
    let count = |count: &AtomicU64| {
        // Exact up to 2^53.
        count.load(Ordering::Relaxed).to_string().parse().unwrap_or_default()
    };
    let help = "Events that the receiver has taken since the gate was started.";
    each(Kind::Counter, "prestaged_events_sent_total", help, &|one| count(&one.sent));
    let help = "Attempts at which the receiver has not taken an event since the gate was started.";
    each(Kind::Counter, "prestaged_events_failed_total", help, &|one| count(&one.failed));
    let help = "Entries of the log of which the receiver has still to be told, whether it wants them or not.";
    each(Kind::Gauge, "prestaged_events_pending", help, &|one| count(&one.pending));
    let help = "For how long the receiver has taken nothing of what it was told.";
    each(Kind::Gauge, "prestaged_events_failing_seconds", help, &|one| one.failing().as_secs_f64());
}

/// What is so at the moment.
fn station(text: &mut Text, snapshot: &Snapshot) {
    let rack = Rack::of(snapshot);
    text.metric(Kind::Gauge, "prestaged_build_info", "The station; always 1.");
    let labels = [("station", snapshot.station.as_str()), ("version", snapshot.version.as_str())];
    text.value("prestaged_build_info", &labels, 1);
    let armed = u8::from(snapshot.armed);
    text.single(Kind::Gauge, "prestaged_armed", "Whether drives may be written.", armed);
    let usable = u8::from(snapshot.ledger.is_none());
    let help = "Whether records can be kept; without them no drive is touched.";
    text.single(Kind::Gauge, "prestaged_ledger_usable", help, usable);
    let offered = u8::from(snapshot.no_media.is_none());
    let help = "Whether a drive that comes now gets media by itself.";
    text.single(Kind::Gauge, "prestaged_media_offered", help, offered);

    let lights = Light::VARIANTS.iter().map(|light| ((*light).into(), rack.count(*light)));
    text.each(("prestaged_bays", "Bays, by what they show."), "light", lights);
    let states = State::VARIANTS.iter().map(|state| {
        (state.to_string(), snapshot.drives.iter().filter(|drive| drive.state == *state).count())
    });
    let states: Vec<_> = states.collect();
    let states = states.iter().map(|(name, count)| (name.as_str(), *count));
    text.each(("prestaged_drives", "Drives in bays, by their state."), "state", states);
    let help = "Bays that need somebody, to take a drive out or to acknowledge a failure.";
    text.single(Kind::Gauge, "prestaged_bays_needing_hands", help, rack.hands().len());
    let unseen = rack.unseen().len();
    let pulled = rack.tiles.iter().filter(|tile| tile.pulled().is_some());
    let pulled = pulled.filter(|tile| tile.light() == Light::Failed).count();
    let help = "Drives that have failed and were pulled, and that nobody has acknowledged.";
    text.single(Kind::Gauge, "prestaged_unacknowledged_failures", help, unseen + pulled);
    let suspect = rack.suspicions().len();
    let help = "Bays in which so many different drives have failed that the bay is suspect.";
    text.single(Kind::Gauge, "prestaged_suspect_bays", help, suspect);

    if let Some(lamps) = &snapshot.lamps {
        let help = "Whether the lamps of bays show the station.";
        let fresh = u8::from(lamps.is_fresh(Timestamp::now()));
        text.single(Kind::Gauge, "prestaged_lamps_connected", help, fresh);
        let help = "Bays whose lamps are known.";
        text.single(Kind::Gauge, "prestaged_lamp_bays", help, lamps.bays);
        let help = "What lamps of bays do not do, as the status says.";
        text.single(Kind::Gauge, "prestaged_lamp_troubles", help, lamps.troubles.len());
    }
    text.metric(
        Kind::Gauge,
        "prestaged_transfer_bytes_per_second",
        "How fast all drives together are written and read back.",
    );
    for (way, state) in [("write", State::Writing), ("read_back", State::ReadingBack)] {
        let drives = snapshot.drives.iter().filter(|drive| drive.state == state);
        let rate: u64 = drives.filter_map(|drive| drive.bytes_per_second).map(|rate| rate.0).sum();
        text.value("prestaged_transfer_bytes_per_second", &[("way", way)], rate);
    }
    let read = snapshot.store_read_bytes.0;
    let help = "Bytes read from the store of masters since the station was started.";
    text.single(Kind::Counter, "prestaged_store_read_bytes_total", help, read);
    let presses = [
        ("queued", PressState::Queued),
        ("running", PressState::Running),
        ("failed", PressState::Failed),
    ];
    let presses = presses.map(|(name, state)| {
        (name, snapshot.presses.iter().filter(|press| press.state == state).count())
    });
    text.each(("prestaged_presses", "Masters that are to be made."), "state", presses);
    let media = [
        ("checking", MediaState::Checking),
        ("valid", MediaState::Valid),
        ("invalid", MediaState::Invalid),
    ];
    let media = media.map(|(name, state)| {
        (name, snapshot.media.iter().filter(|media| media.state == state).count())
    });
    text.each(("prestaged_media", "Media in the inbox."), "state", media);
    let open = || snapshot.orders.iter().filter(|order| order.state.is_in_force());
    text.single(Kind::Gauge, "prestaged_orders", "Open orders.", open().count());
    let remaining: u32 = open().map(|order| order.quantity.saturating_sub(order.passed)).sum();
    let help = "Drives that have still to pass for all open orders together.";
    text.single(Kind::Gauge, "prestaged_order_remaining", help, remaining);
}

/// What has come about since the gate was started. Each series is there from the start: one that begins at 1 has not grown.
fn counts(text: &mut Text, counts: &Counts, known: Option<&Snapshot>) {
    let all = "prestaged_jobs_total";
    let help =
        "Verdicts since the gate was started, with the code of the reason where it is not PASS.";
    text.metric(Kind::Counter, all, help);
    let of = |verdict, code| counts.verdicts.get(&(name(verdict), code)).copied().unwrap_or(0);
    let labels = [("verdict", name(Verdict::Passed)), ("reason", "")];
    text.value(all, &labels, of(Verdict::Passed, None));
    for code in ReasonCode::VARIANTS.iter().copied() {
        for verdict in code.verdicts().iter().copied() {
            let labels = [("verdict", name(verdict)), ("reason", code.into())];
            text.value(all, &labels, of(verdict, Some(code)));
        }
    }
    let each = "prestaged_bay_jobs_total";
    let help = "Verdicts of the jobs in each bay since the gate was started, without refusals.";
    text.metric(Kind::Counter, each, help);
    let named = known.into_iter().flat_map(|snapshot| &snapshot.bays).map(|bay| &bay.name);
    let mut bays: Vec<&String> = named.chain(counts.bays.keys().map(|(bay, _)| bay)).collect();
    bays.sort_unstable();
    bays.dedup();
    for bay in bays {
        for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Stopped].map(name) {
            let count = counts.bays.get(&(bay.clone(), verdict)).copied().unwrap_or(0);
            text.value(each, &[("bay", bay), ("verdict", verdict)], count);
        }
    }
    let took = "prestaged_job_duration_seconds";
    text.metric(Kind::Histogram, took, "From opening a job's record to closing it.");
    for (count, limit) in counts.durations.within.iter().zip(LIMITS) {
        text.value(&format!("{took}_bucket"), &[("le", &limit.to_string())], count);
    }
    text.value(&format!("{took}_bucket"), &[("le", "+Inf")], counts.durations.count);
    text.value(&format!("{took}_sum"), &[], counts.durations.sum.as_secs_f64());
    text.value(&format!("{took}_count"), &[], counts.durations.count);
}

#[cfg(test)]
mod tests;
