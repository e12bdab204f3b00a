//! The ledger's log: what proves records to others, and what operators have done.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes as Chunk};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use evidence::checkpoint::Checkpoint;
use evidence::statement::{self, Content, Event};
use jiff::Timestamp;
use model::api::evidence::{
    Beside, Certificate, CheckpointView, Happening, LogEntry, LogPage, LogVerified, Said, Since,
};
use model::api::requests::{AcknowledgeRequest, LogQuery};
use model::api::routes::Route;
use model::api::snapshot::Snapshot;
use model::code::{DenialCode as Code, ReasonCode};
use model::drive::Serial;
use model::failure::{Denial, chain};
use model::operator::Consent;
use model::orders::Order;
use model::parcel::ParcelManifest;
use model::record::Record;
use record::ledger::Ledger;
use record::log::{Entries, Proven, Sought};
use record::orders::{AlsoClosed, KnownOrder};
use signing::{Envelope, PublicKey};
use tokio::time::timeout;

use super::peer::Peer;
use super::records::from_ledger;
use super::{BODY_LIMIT, Context, Problem, Result, bad_request, parse};

/// How long who acknowledges a change of the ledger waits for the station to use it again.
const NOTICED: Duration = Duration::from_secs(5);

/// How long an operator who disarms, or stops a drive, waits for the log to have that.
const NOTED: Duration = Duration::from_secs(2);

/// What an operator does by a route, as the log calls it; `None` for what only asks, and for what the ledger notes itself,
/// along with the change.
pub(super) fn noted_as(route: Route) -> Option<&'static str> {
    match route {
        Route::Arm => Some("armed"),
        Route::Disarm => Some("disarmed"),
        Route::Image => Some("image_asked"),
        Route::Retry => Some("retry_asked"),
        Route::Stop => Some("stop_asked"),
        Route::Release => Some("verdict_released"),
        Route::Press => Some("press_asked"),
        Route::RemoveMaster => Some("master_removed"),
        Route::BackUpLedger => Some("ledger_backed_up"),
        Route::Status
        | Route::Events
        | Route::Locate
        | Route::Lamps
        | Route::Audit
        | Route::Verify
        | Route::VerifyMedia
        | Route::OfferMedia
        | Route::AcceptMedia
        | Route::Records
        | Route::RecordOf
        | Route::Orders
        | Route::AddOrders
        | Route::OrderOf
        | Route::ChangeOrder
        | Route::Log
        | Route::Checkpoint
        | Route::VerifyLog
        | Route::AcknowledgeLog
        | Route::Label
        | Route::Scan
        | Route::CertificateOf => None,
    }
}

/// Notes in the log what an operator has asked for, if it is carried out.
pub(super) async fn note(
    State((ledger, kind)): State<(Ledger, &'static str)>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return bad_request("the body is too large").into_response();
    };
    let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    // What lets more happen is not done if it could not be noted. Disarming and stopping must not need a ledger; a job that
    // is asked for needs it in any case.
    let needs_ledger =
        matches!(kind, "armed" | "verdict_released" | "press_asked" | "master_removed");
    if needs_ledger && let Err(problem) = from_ledger(&ledger, |ledger| ledger.takes_writes()).await
    {
        return problem.into_response();
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if response.status().is_success() {
        let operator = peer.operator().await.ok().map(|operator| operator.to_string());
        let detail = serde_json::json!({ "path": path, "said": said });
        let event = Event { kind: kind.to_owned(), at: Timestamp::now(), operator, detail };
        let noting = tokio::task::spawn_blocking(move || {
            if let Err(error) = ledger.happened_meanwhile(event) {
                // What was asked for is done.
                tracing::error!("not in the log: {kind} {path}: {}", chain(&error));
            }
        });
        // It goes on where another program keeps the ledger locked; who disarms or stops is not kept waiting.
        let _ = timeout(NOTED, noting).await;
    }
    response
}

pub(super) async fn checkpoint(State(context): State<Context>) -> Result<Json<CheckpointView>> {
    let read = |ledger: Ledger| Ok((ledger.checkpoint(), ledger.public_key()));
    let (note, key) = from_ledger(&context.ledger, read).await?;
    let none = || Problem::new(Code::InternalError, "the log has no checkpoint");
    let checkpoint = note.ok_or_else(none)?;
    let Checkpoint { origin, size, root } =
        Checkpoint::open(&checkpoint, &key).map_err(|_| none())?;
    let name = origin.rsplit('/').next().and_then(|name| name.parse().ok());
    Ok(Json(CheckpointView {
        ledger: name.ok_or_else(none)?,
        entries: size,
        root_sha256: root,
        checkpoint,
        key: key.to_pem(),
    }))
}

/// The most entries of an answer.
const MOST: u32 = 256;

pub(super) async fn log(
    State(context): State<Context>,
    Query(LogQuery { after, limit }): Query<LogQuery>,
) -> Result<Json<LogPage>> {
    let most = limit.unwrap_or(MOST).min(MOST);
    let station = context.snapshot.borrow().station.clone();
    let read = move |ledger: Ledger| {
        let Entries { ledger: name, size, entries } = ledger.entries(after, most)?;
        let key = ledger.public_key();
        let entries = entries.iter().map(|(seq, entry)| told(*seq, entry, &key)).collect();
        Ok(LogPage { ledger: name, station, size, entries })
    };
    from_ledger(&context.ledger, read).await.map(Json)
}

/// An entry, read. One that this station has not signed, or that cannot be read, stands there all the same: a gap would look
/// like the end, or like nothing.
fn told(seq: u64, entry: &[u8], key: &PublicKey) -> LogEntry {
    let said = match read(entry, key) {
        Ok(said) => said,
        Err(why) => {
            tracing::warn!("entry {seq} of the log cannot be read: {why}");
            Said::Unreadable(why)
        }
    };
    LogEntry { seq, said, envelope: serde_json::from_slice(entry).unwrap_or_default() }
}

fn read(entry: &[u8], key: &PublicKey) -> std::result::Result<Said, String> {
    let envelope = Envelope::parse(entry).map_err(|error| chain(&error))?;
    let signed = envelope.verify(statement::PAYLOAD_TYPE, [key]).map_err(|error| chain(&error))?;
    if signed.signers.is_empty() {
        return Err("another key has signed it".into());
    }
    match statement::read(&signed.payload).map_err(|error| chain(&error))?.content {
        Content::Record(text) => {
            serde_json::from_str(text).map(Said::Record).map_err(|error| chain(&error))
        }
        Content::Event(Event { kind, at, operator, detail }) => {
            Ok(Said::Event(Happening { kind, at, operator, detail }))
        }
    }
}

pub(super) async fn verify(State(context): State<Context>) -> Result<Json<LogVerified>> {
    let whole = from_ledger(&context.ledger, |ledger| ledger.verify()).await?;
    let none = || Problem::new(Code::InternalError, "the log has no checkpoint");
    let Checkpoint { size, root, .. } = whole.checkpoint.ok_or_else(none)?;
    Ok(Json(LogVerified { entries: size, records: whole.records, root_sha256: root }))
}

pub(super) async fn acknowledge(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Chunk,
) -> Result<Json<serde_json::Value>> {
    let AcknowledgeRequest { reason } = parse(&body)?;
    let by = peer.operator().await?;
    let Consent { reason, .. } =
        Consent::new(&reason, &by).map_err(|error| bad_request(format!("reason: {error}")))?;
    if context.ledger.tampered().is_none() {
        return Err(bad_request("nothing is wrong with the ledger that could be acknowledged"));
    }
    let text = format!("{by}: goes on with a ledger that somebody has changed: {reason}");
    let operator = by.to_string();
    from_ledger(&context.ledger, move |ledger| ledger.acknowledge(operator, reason)).await?;
    tracing::warn!("{text}");
    // Whoever arms the station next finds that it has noticed.
    let mut snapshot = context.snapshot.clone();
    let is_over = |now: &Arc<Snapshot>| {
        now.ledger.as_ref().is_none_or(|reason| reason.code != ReasonCode::LedgerTampered)
    };
    let _ = timeout(NOTICED, snapshot.wait_for(is_over)).await;
    Ok(Json(serde_json::json!({})))
}

pub(super) async fn certificate_of(
    State(context): State<Context>,
    Path(serial): Path<String>,
) -> Result<Json<Certificate>> {
    let named = Serial::new(&serial);
    let named = named.ok_or_else(|| bad_request(format!("{serial:?} is no serial number")))?;
    let read = move |ledger: Ledger| Ok((ledger.proven(&named)?, ledger.public_key()));
    let (sought, key) = from_ledger(&context.ledger, read).await?;
    let Proven { record, entry, proof: tlog_proof, short, since } =
        *found(sought, &serial, context.ledger.path())?;
    let envelope = serde_json::from_slice(&entry)
        .map_err(|error| Problem::new(Code::InternalError, error.to_string()))?;
    let told = |Record { job, closed, reason, .. }| {
        closed.zip(reason).map(|(at, reason)| Since { job, at, reason })
    };
    let beside = Beside { since: since.and_then(told), ..beside(&context, &record).await? };
    Ok(Json(Certificate { record, envelope, tlog_proof, key: key.to_pem(), short, beside }))
}

/// The record that is proven, or why there is none.
fn found(sought: Sought, serial: &str, ledger: &std::path::Path) -> Result<Box<Proven>> {
    let ledger = ledger.display();
    let none = |detail: String, hint: String| {
        Err(Problem(Denial::new(Code::NoSuchRecord, detail).with_hint(hint)))
    };
    match sought {
        Sought::Proven(proven) => Ok(proven),
        Sought::Running(job) => {
            let detail = format!("drive {serial} is being imaged: job {job} is not over");
            let hint = "ask again when it has a verdict; its earlier records say nothing about it any more";
            Err(Problem(Denial::new(Code::Busy, detail).with_hint(hint)))
        }
        Sought::Former { record, log } => {
            let sentence = record.sentence();
            let detail = match &log {
                Some(table) => format!(
                    "the record of drive {serial} stands in a log that was set aside, the table {table} of {ledger}: {sentence}"
                ),
                None => format!(
                    "the record of drive {serial} was closed before the log of {ledger} was begun: {sentence}"
                ),
            };
            none(
                detail,
                "a certificate that was made before proves it still; or image the drive again"
                    .into(),
            )
        }
        Sought::Unknown { aside } => {
            let detail = format!("the ledger {ledger} has no record of a drive {serial}");
            match &aside[..] {
                [] => Err(Problem::new(Code::NoSuchRecord, detail)),
                [latest, more @ ..] => {
                    let latest = latest.display();
                    let more = match more.len() {
                        0 => String::new(),
                        more => format!(" or in one of {more} before it"),
                    };
                    none(
                        detail,
                        format!("it may be in {latest}, a ledger that was set aside{more}"),
                    )
                }
            }
        }
    }
}

/// The order of a record, if it has one that the ledger knows.
pub(super) async fn order_of(context: &Context, record: &Record) -> Result<Option<Order>> {
    let Some(number) = record.order.clone() else { return Ok(None) };
    let known =
        from_ledger(&context.ledger, |ledger| ledger.orders(AlsoClosed::Yes, &|_: &Order| None));
    let order = known.await?.into_iter().find(|known| known.order.number == number);
    Ok(order.map(|KnownOrder { order, .. }| order))
}

/// What the station knows of a record's order and media, if it still has them.
async fn beside(context: &Context, record: &Record) -> Result<Beside> {
    let mut beside = Beside::default();
    if let Some(order) = order_of(context, record).await? {
        (beside.customer, beside.part) = (order.customer, order.part);
    }
    let digest = record.media.as_ref().map(|media| media.sha256);
    let snapshot = context.snapshot.borrow().clone();
    let media = snapshot.media.iter().find(|media| digest.is_some() && media.sha256 == digest);
    let signed = media.and_then(|media| media.signed.as_ref()).map(|signed| &signed.manifest);
    beside.media_version = signed.map(|ParcelManifest { product, sequence, version, .. }| {
        let words = version.as_deref().map(|words| format!(" ({words})")).unwrap_or_default();
        format!("{} {sequence}{words}", product.as_str())
    });
    Ok(beside)
}
