//! News to browsers: the tiles whenever they change, and a beat each second. A page that has no beat takes all verdicts off.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::api::snapshot::Snapshot;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use view::rack::NO_DATA_AFTER;

use crate::access::Visitor;
use crate::feed::Now;
use crate::pages::{self, Shape};

/// Tiles are drawn at most so often. Those of 24 bays are 13 KiB, so a page takes less than 20 KiB a second.
const PACE: Duration = Duration::from_millis(700);
/// How often a page hears that it is connected.
const BEAT: Duration = Duration::from_secs(1);
/// How soon a browser that has lost the gate looks for it again.
const AGAIN: &str = "retry: 1000\n\n";

/// What all pages show, drawn once for all who look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) rack: String,
    pub(crate) wall: String,
    lists: [u64; 3],
}

/// A page with a list, which asks for itself again when there is something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum List {
    Records,
    Orders,
    Media,
}

impl List {
    /// What tells one state of the list from another. The records are not asked for: they grow with jobs and refusals, which
    /// the station shows.
    fn version(self, snapshot: &Snapshot) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut take = |text: String| text.hash(&mut hasher);
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        match self {
            Self::Orders => take(json(serde_json::to_string(&snapshot.orders))),
            Self::Media => {
                take(json(serde_json::to_string(&(&snapshot.media, &snapshot.inbox))));
                take(json(serde_json::to_string(&snapshot.no_media)));
            }
            Self::Records => {
                take(json(serde_json::to_string(&snapshot.history)));
                for drive in &snapshot.drives {
                    take(format!(
                        "{} {:?} {:?} {}",
                        drive.device, drive.job, drive.verdict, drive.attempt
                    ));
                }
            }
        }
        hasher.finish()
    }

    /// The version of what is known now; of nothing, if nothing is.
    pub(crate) fn now(self, now: &Now) -> u64 {
        now.fresh().map_or(0, |snapshot| self.version(snapshot))
    }
}

/// Draws the tiles whenever the station changes, and when news of it is too old.
pub(crate) fn draw(mut now: watch::Receiver<Arc<Now>>) -> watch::Receiver<Arc<Frames>> {
    let (tell, frames) = watch::channel(Arc::new(Frames::default()));
    tokio::spawn(async move {
        loop {
            let latest = now.borrow_and_update().clone();
            let drawn = Frames {
                rack: pages::grid(&latest, Shape::Rack).into_string(),
                wall: pages::grid(&latest, Shape::Wall).into_string(),
                lists: [List::Records, List::Orders, List::Media].map(|list| list.now(&latest)),
            };
            tell.send_if_modified(|frames| {
                let changed = **frames != drawn;
                *frames = Arc::new(drawn);
                changed
            });
            tokio::time::sleep(PACE).await;
            // Also where nothing comes any more: it grows old.
            if let Ok(Err(_)) = timeout(PACE, now.changed()).await {
                return;
            }
            if tell.is_closed() {
                return;
            }
        }
    });
    frames
}

/// Which page follows the station.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
pub(crate) struct Follow {
    /// The rack without anything to press.
    #[serde(default)]
    wall: bool,
    /// One bay.
    bay: Option<String>,
    list: Option<List>,
}

/// One event, by the rules of server-sent events: each line of its data begins anew.
fn event(name: &str, data: &str) -> Bytes {
    let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
    Bytes::from(format!("event: {name}\n{}\n", lines.replace('\r', " ")))
}

/// The stream of news of one page.
pub(crate) async fn stream(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
    Query(follow): Query<Follow>,
) -> Response {
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages follow the station\n")
            .into_response();
    };
    // One that is not taken holds up the next: who reads slowly gets the latest, and nothing piles up.
    let (tell, news) = mpsc::channel::<Result<Bytes, Infallible>>(1);
    let (mut frames, now) = (shared.frames.clone(), shared.now.clone());
    tokio::spawn(async move {
        let _place = place;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = String::new();
        frames.mark_changed();
        if tell.send(Ok(Bytes::from_static(AGAIN.as_bytes()))).await.is_err() {
            return;
        }
        loop {
            let bytes = tokio::select! {
                // What a page shows is never older than the beat that comes after it.
                biased;
                changed = frames.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let drawn = match &follow {
                        Follow { bay: Some(bay), .. } => {
                            let latest = now.borrow().clone();
                            pages::detail(&latest, bay, &visitor).into_string()
                        }
                        Follow { list: Some(list), .. } => {
                            frames.borrow_and_update().lists[*list as usize].to_string()
                        }
                        Follow { wall, .. } => {
                            let frames = frames.borrow_and_update();
                            if *wall { frames.wall.clone() } else { frames.rack.clone() }
                        }
                    };
                    if drawn == shown {
                        continue;
                    }
                    shown = drawn;
                    event(if follow.list.is_some() { "list" } else { "grid" }, &shown)
                }
                _ = beat.tick() => {
                    let latest = now.borrow().clone();
                    let age = u64::try_from(latest.age().as_millis()).unwrap_or(u64::MAX);
                    let lost = latest.lost.is_some() || latest.age() >= NO_DATA_AFTER;
                    let version = env!("CARGO_PKG_VERSION");
                    let cause = latest.cause();
                    let beat = json!({"age": age, "lost": lost, "cause": cause, "version": version});
                    event("beat", &beat.to_string())
                }
            };
            if tell.send(Ok(bytes)).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(news));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::event;

    /// What stands in a serial number must not become an event of its own.
    #[test]
    fn data_forges_no_event() {
        let bytes = event("grid", "a\n\nevent: beat\r\ndata: x");
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(text, "event: grid\ndata: a\ndata: \ndata: event: beat \ndata: data: x\n\n");
    }
}
