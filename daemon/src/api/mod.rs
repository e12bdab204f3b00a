//! The HTTP API on the control socket. It reads the snapshot and the ledger, and sends commands to the station. All
//! bodies are JSON; errors are `{"code", "detail"}`, with `"hint"` if there is one.

mod door;
mod evidence;
mod groups;
mod labels;
mod orders;
pub mod peer;
mod records;
mod scan;
pub mod server;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes as Chunk};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use model::api::command::{Command, ImageOrder};
use model::api::requests::{
    AcceptRequest, Attempt, DriveRequest, ImageRequest, LampsReport, LocateRequest, OfferRequest,
    PressRequest, Pressed, VerifyRequest,
};
use model::api::routes::Route;
use model::api::snapshot::Snapshot;
use model::code::DenialCode as Code;
use model::drive::Geometry;
use model::failure::{Denial, chain};
use model::manifest::MasterId;
use model::operator::Consent;
use model::orders::Articles;
use model::units::{SectorSize, Share};
use record::ledger::{Ledger, LedgerError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use station::{Answer, Event};
use strum::VariantArray as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};

use crate::clock::Clock;
use crate::doors::Visitors;
use crate::runner::OpenMaster;
pub use door::{Door, GateRights};
use peer::Peer;

/// The largest body of a request, in bytes.
const BODY_LIMIT: usize = 64 << 10;

/// The largest body of a request to this path.
fn body_limit(path: &str) -> usize {
    match path == Route::AddOrders.path() {
        true => orders::BODY_LIMIT,
        false => BODY_LIMIT,
    }
}

/// The parts of the daemon that handlers use.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Context {
    /// Has the latest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Takes commands to the station.
    pub commands: mpsc::Sender<Event<OpenMaster>>,
    pub ledger: Ledger,
    /// By which orders begin and end.
    pub clock: Clock,
    /// Who may come in.
    pub visitors: Visitors,
    /// What the gate may ask for.
    pub rights: GateRights,
    /// What drives of orders become.
    pub articles: Articles,
    /// How far a capacity may differ from a listed one.
    pub size_tolerance: Share,
    /// The file with the template of labels.
    pub label_template: Option<PathBuf>,
}

mod mime {
    pub(super) const JSON: &str = "application/json";
    pub(super) const LINES: &str = "application/x-ndjson";
}

type Result<T> = std::result::Result<T, Problem>;

/// A denial as a response.
struct Problem(Denial);

impl Problem {
    fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Denial::new(code, detail))
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self(error.denial())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

/// All routes of the API, for who comes through this door.
pub fn router(context: Context, door: Door) -> Router {
    let all = Route::VARIANTS.iter();
    let handler = |route: Route| match evidence::noted_as(route) {
        Some(kind) => {
            let noted = (context.ledger.clone(), kind);
            handler(route).layer(from_fn_with_state(noted, evidence::note))
        }
        None => handler(route),
    };
    all.fold(Router::new(), |router, route| router.route(route.path(), handler(*route)))
        .fallback(|uri: Uri| async move {
            Problem::new(Code::NoSuchPath, format!("there is no path {}", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Problem::new(Code::WrongMethod, format!("{} does not take {method}", uri.path()))
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(server::whole))
        .layer(from_fn(in_our_form))
        .layer(from_fn_with_state((context.clone(), door), door::guard))
        .with_state(context)
}

/// What answers a route.
fn handler(route: Route) -> MethodRouter<Context> {
    match route {
        Route::Status => get(status),
        Route::Events => get(events),
        Route::Arm => post(|context, peer| arm(context, peer, true)),
        Route::Disarm => post(|context, peer| arm(context, peer, false)),
        Route::Image => post(image),
        Route::Audit => post(audit),
        Route::Verify => post(verify),
        Route::Retry => post(retry),
        Route::Stop => post(stop),
        Route::Release => post(release),
        Route::Locate => post(locate),
        Route::Lamps => post(lamps),
        Route::VerifyMedia => post(verify_media),
        Route::OfferMedia => post(offer_media),
        Route::AcceptMedia => post(accept_media),
        Route::Press => post(press),
        Route::RemoveMaster => delete(remove_master),
        Route::Records => get(records::records),
        Route::RecordOf => get(records::record_of),
        Route::Orders => get(orders::orders),
        Route::AddOrders => {
            post(orders::add_orders).layer(DefaultBodyLimit::max(orders::BODY_LIMIT))
        }
        Route::OrderOf => get(orders::order_of),
        Route::ChangeOrder => post(orders::change_order),
        Route::Log => get(evidence::log),
        Route::Checkpoint => get(evidence::checkpoint),
        Route::VerifyLog => post(evidence::verify),
        Route::AcknowledgeLog => post(evidence::acknowledge),
        Route::CertificateOf => get(evidence::certificate_of),
        Route::Label => post(labels::label),
        Route::BackUpLedger => post(records::back_up),
        Route::Scan => post(scan::scan),
    }
}

/// Turns refusals of the HTTP library into the API's own form: of a body that is too large, of a query it cannot read.
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
    (status, Json(Denial::new(Code::BadRequest, said))).into_response()
}

/// Sends a command to the station, and waits for the answer.
async fn ask(context: &Context, command: Command) -> Result<Answer> {
    let (reply, answer) = oneshot::channel();
    let ending = || Problem::new(Code::Draining, "the station is ending");
    context.commands.send(Event::Command(command, reply)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?.map_err(Problem)
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

/// Reads the body of a request.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| bad_request(format!("the body: {error}")))
}

fn answered(answer: Answer) -> Response {
    match answer {
        Answer::Done => Json(serde_json::json!({})).into_response(),
        Answer::Armed(report) => Json(report).into_response(),
        Answer::Stopped(report) => Json(report).into_response(),
        Answer::Attempt { device, attempt } => Json(Attempt { device, attempt }).into_response(),
        Answer::Master(id) => Json(Pressed { id }).into_response(),
        Answer::Scanned(order) => Json(order).into_response(),
        Answer::Forgotten(orders) => Json(serde_json::json!({ "orders": orders })).into_response(),
        Answer::Lines(lines) => stream(ReceiverStream::new(lines)),
    }
}

/// A response with one JSON document per line, each sent as soon as it is there.
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

/// Notes in the journal who asks for what no record tells of.
async fn note(peer: &Peer, what: &str) -> Result<()> {
    let by = peer.operator().await?.to_string();
    tracing::warn!(PRESTAGED_OPERATOR = by, "{by} asks to {what}");
    Ok(())
}

async fn arm(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    armed: bool,
) -> Result<Response> {
    note(&peer, if armed { "arm the station" } else { "disarm the station" }).await?;
    ask(&context, Command::Arm(armed)).await.map(answered)
}

async fn image(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Chunk,
) -> Result<Response> {
    let ImageRequest { device: drive, media, order, again, overwrite } = parse(&body)?;
    if media.is_some() && order.is_some() {
        return Err(bad_request("an order names its media itself; leave out one of them"));
    }
    let by = peer.operator().await?;
    let consent = overwrite.map(|reason| Consent::new(&reason, &by)).transpose();
    let consent = consent.map_err(|error| bad_request(format!("overwrite: {error}")))?;
    let order = ImageOrder { drive, media, order, again, consent, by };
    ask(&context, Command::Image(order)).await.map(answered)
}

async fn audit(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let DriveRequest { device: drive, media } = parse(&body)?;
    ask(&context, Command::Audit { drive, media }).await.map(answered)
}

async fn verify(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let VerifyRequest { device: drive } = parse(&body)?;
    ask(&context, Command::Verify { drive }).await.map(answered)
}

async fn retry(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(drive): Path<String>,
) -> Result<Response> {
    let by = peer.operator().await?;
    ask(&context, Command::Retry { drive, by }).await.map(answered)
}

async fn stop(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(drive): Path<String>,
) -> Result<Response> {
    note(&peer, &format!("stop drive {drive:?}")).await?;
    ask(&context, Command::Stop { drive }).await.map(answered)
}

async fn release(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(bay): Path<String>,
) -> Result<Response> {
    note(&peer, &format!("release {bay:?}")).await?;
    ask(&context, Command::Release { bay }).await.map(answered)
}

async fn locate(
    State(context): State<Context>,
    Path(called): Path<String>,
    body: Chunk,
) -> Result<Response> {
    let LocateRequest { off } =
        if body.is_empty() { LocateRequest::default() } else { parse(&body)? };
    ask(&context, Command::Locate { called, off }).await.map(answered)
}

async fn lamps(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let report: LampsReport = parse(&body)?;
    ask(&context, Command::Lamps(report)).await.map(answered)
}

async fn verify_media(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Response> {
    ask(&context, Command::VerifyMedia { name }).await.map(answered)
}

async fn offer_media(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(media): Path<String>,
    body: Chunk,
) -> Result<Response> {
    let OfferRequest { offer } = parse(&body)?;
    let by = peer.operator().await?;
    ask(&context, Command::Offer { media, offer, by }).await.map(answered)
}

async fn accept_media(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    body: Chunk,
) -> Result<Response> {
    let AcceptRequest { reason } = parse(&body)?;
    let by = peer.operator().await?;
    let Consent { reason, .. } =
        Consent::new(&reason, &by).map_err(|error| bad_request(format!("reason: {error}")))?;
    ask(&context, Command::AcceptMedia { name, reason, by }).await.map(answered)
}

async fn press(State(context): State<Context>, body: Chunk) -> Result<Response> {
    let PressRequest { media, size_bytes: size, logical_sector_bytes } = parse(&body)?;
    let sector =
        SectorSize::try_from(logical_sector_bytes).map_err(|error| bad_request(chain(&error)))?;
    if !size.0.is_multiple_of(sector.bytes()) {
        let detail = format!("size_bytes {} is not a multiple of {}", size.0, sector.bytes());
        return Err(bad_request(detail));
    }
    let geometry = Geometry { size, sector };
    ask(&context, Command::Press { media, geometry }).await.map(answered)
}

async fn remove_master(State(context): State<Context>, Path(id): Path<String>) -> Result<Response> {
    ask(&context, Command::RemoveMaster { id: MasterId(id) }).await.map(answered)
}
