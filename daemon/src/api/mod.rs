//! The HTTP API on the unix socket: reads the snapshot and the ledger, sends commands. JSON throughout; errors are
//! `{"code", "detail"}`.

pub mod peer;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes as Chunk};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};

use crate::drive::Geometry;
use crate::master::MasterId;
use crate::record::ledger::{Filter, Ledger};
use crate::station::snapshot::Snapshot;
use crate::station::{Answer, Command, Denial, Event};
use crate::units::{Bytes, SectorSize};

/// No request is larger than this.
const BODY_LIMIT: usize = 64 << 10;

/// What handlers may touch.
#[derive(Clone, Debug)]
pub struct Context {
    /// Latest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Commands go here.
    pub commands: mpsc::Sender<Event>,
    /// For reading.
    pub ledger: Ledger,
    /// Group whose members may control the station.
    pub group: Option<u32>,
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct ApiError {
    /// Stable snake_case code.
    pub code: String,
    /// For a person.
    pub detail: String,
}

/// A request for one drive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriveRequest {
    /// Device node or kernel name.
    pub device: String,
    /// Media name; the newest valid one if absent.
    #[serde(default)]
    pub media: Option<String>,
}

/// A request for a press.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PressRequest {
    /// Media name.
    pub media: String,
    /// Drive size in bytes.
    pub size_bytes: Bytes,
    /// Logical sector size.
    pub logical_sector_bytes: u32,
}

/// Which attempt at a drive to look out for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// Device node.
    pub device: String,
    /// Number of the attempt.
    pub attempt: u64,
}

/// Which records to list.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordQuery {
    /// Of this serial number.
    pub serial: Option<String>,
    /// Opened at or after, RFC 3339.
    pub since: Option<String>,
    /// With this verdict.
    pub verdict: Option<String>,
}

mod mime {
    pub(super) const JSON: &str = "application/json";
    pub(super) const LINES: &str = "application/x-ndjson";
}

type Result<T> = std::result::Result<T, (StatusCode, Json<ApiError>)>;

fn error(
    status: StatusCode,
    code: &str,
    detail: impl Into<String>,
) -> (StatusCode, Json<ApiError>) {
    (status, Json(ApiError { code: code.into(), detail: detail.into() }))
}

/// All routes.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/arm", post(|c| arm(c, true)))
        .route("/v1/disarm", post(|c| arm(c, false)))
        .route("/v1/image", post(image))
        .route("/v1/audit", post(audit))
        .route("/v1/drives/{serial}/retry", post(retry))
        .route("/v1/drives/{serial}/stop", post(stop))
        .route("/v1/media/{name}/verify", post(verify_media))
        .route("/v1/masters", post(press))
        .route("/v1/masters/{id}", delete(remove_master))
        .route("/v1/records", get(records))
        .fallback(|| async {
            error(StatusCode::NOT_FOUND, "no_such_path", "no such path; see /v1/status")
        })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this path takes another method")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(in_our_form))
        .layer(from_fn_with_state(context.clone(), peer::guard))
        .with_state(context)
}

/// Says in the API's own form what the library has refused by itself: a body that is too large, a query it cannot read.
async fn in_our_form(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == mime::JSON || kind == mime::LINES);
    if response.status().is_success() || ours {
        return response;
    }
    let status = response.status();
    let said = axum::body::to_bytes(response.into_body(), BODY_LIMIT).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).replace(char::is_control, " ");
    error(status, "bad_request", said).into_response()
}

/// Sends a command and waits for the answer.
async fn ask(context: &Context, command: Command) -> Result<Answer> {
    let (reply, answer) = oneshot::channel();
    let ending = || error(StatusCode::SERVICE_UNAVAILABLE, "ending", "the station is ending");
    context.commands.send(Event::Command(command, reply)).await.map_err(|_| ending())?;
    let answer = answer.await.map_err(|_| ending())?;
    answer.map_err(|Denial { code, detail }| {
        let status = match code.as_str() {
            "no_such_drive" | "no_such_master" | "no_media" => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        };
        error(status, &code, detail)
    })
}

/// Reads a request body; what is wrong with it is said in the API's own form.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|e| error(StatusCode::BAD_REQUEST, "bad_request", e.to_string()))
}

fn answered(answer: Answer) -> Response {
    match answer {
        Answer::Done => Json(serde_json::json!({})).into_response(),
        Answer::Attempt { device, attempt } => Json(Attempt { device, attempt }).into_response(),
        Answer::Master(id) => Json(serde_json::json!({ "id": id })).into_response(),
        Answer::Audit(lines) => stream(ReceiverStream::new(lines)),
    }
}

/// One JSON document per line, as they come.
fn stream<T: Serialize>(items: impl StreamExt<Item = T> + Send + 'static) -> Response {
    let lines = items.map(|item| {
        let mut line = serde_json::to_vec(&item).unwrap_or_default();
        line.push(b'\n');
        Ok::<_, Infallible>(Chunk::from(line))
    });
    ([(header::CONTENT_TYPE, mime::LINES)], Body::from_stream(lines)).into_response()
}

async fn status(State(context): State<Context>) -> Json<Arc<Snapshot>> {
    let snapshot = Arc::clone(&context.snapshot.borrow());
    Json(snapshot)
}

async fn events(State(context): State<Context>) -> Response {
    stream(WatchStream::new(context.snapshot))
}

async fn arm(State(context): State<Context>, armed: bool) -> Result<Response> {
    ask(&context, Command::Arm(armed)).await.map(answered)
}

async fn image(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let DriveRequest { device, media } = parse(&body)?;
    ask(&context, Command::Image { device, media }).await.map(answered)
}

async fn audit(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let DriveRequest { device, media } = parse(&body)?;
    ask(&context, Command::Audit { device, media }).await.map(answered)
}

async fn retry(State(context): State<Context>, Path(serial): Path<String>) -> Result<Response> {
    ask(&context, Command::Retry { serial }).await.map(answered)
}

async fn stop(State(context): State<Context>, Path(serial): Path<String>) -> Result<Response> {
    ask(&context, Command::Stop { serial }).await.map(answered)
}

async fn verify_media(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Response> {
    ask(&context, Command::VerifyMedia { name }).await.map(answered)
}

async fn press(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let request: PressRequest = parse(&body)?;
    let bad = |detail: String| error(StatusCode::BAD_REQUEST, "bad_request", detail);
    let sector =
        SectorSize::try_from(request.logical_sector_bytes).map_err(|e| bad(e.to_string()))?;
    let geometry = Geometry { size: request.size_bytes, sector };
    if !geometry.size.0.is_multiple_of(sector.bytes()) {
        return Err(bad(format!("{} bytes are no whole number of sectors", geometry.size.0)));
    }
    ask(&context, Command::Press { media: request.media, geometry }).await.map(answered)
}

async fn remove_master(State(context): State<Context>, Path(id): Path<String>) -> Result<Response> {
    ask(&context, Command::RemoveMaster { id: MasterId(id) }).await.map(answered)
}

async fn records(
    State(context): State<Context>,
    Query(query): Query<RecordQuery>,
) -> Result<Response> {
    let bad = |detail: String| error(StatusCode::BAD_REQUEST, "bad_request", detail);
    let since = match query.since {
        Some(text) => Some(text.parse().map_err(|e| bad(format!("since {text:?}: {e}")))?),
        None => None,
    };
    let verdict = match query.verdict {
        Some(text) => Some(
            serde_json::from_value(serde_json::Value::String(text.clone()))
                .map_err(|_| bad(format!("{text:?} is no verdict")))?,
        ),
        None => None,
    };
    let filter = Filter { serial: query.serial, since, verdict };
    let ledger = context.ledger.clone();
    let failed =
        |detail: String| error(StatusCode::INTERNAL_SERVER_ERROR, "ledger_unavailable", detail);
    let records = tokio::task::spawn_blocking(move || ledger.records(&filter))
        .await
        .map_err(|e| failed(e.to_string()))?
        .map_err(|e| failed(crate::worker::chain(&e)))?;
    Ok(Json(records).into_response())
}
