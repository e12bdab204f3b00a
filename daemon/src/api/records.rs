//! The records, page by page: neither a long ledger nor a client that does not read its answer takes memory or a thread.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes as Chunk};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use model::api::line::RecordLine;
use model::api::requests::RecordQuery;
use model::code::DenialCode as Code;
use model::failure::{Denial, chain};
use model::verdict::Verdict;
use record::ledger::{Filter, Ledger, LedgerError, Page, Place};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{Context, Problem, Result, bad_request, mime};

/// How records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One JSON array. Rows that cannot be read are left out, and the log has them.
    Array,
    /// A [`RecordLine`] for each row.
    Lines,
}

impl Form {
    fn asked_for(headers: &HeaderMap) -> Self {
        let asked = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        if asked.is_some_and(|asked| asked.contains(mime::LINES)) {
            Self::Lines
        } else {
            Self::Array
        }
    }

    fn mime(self) -> &'static str {
        match self {
            Self::Array => mime::JSON,
            Self::Lines => mime::LINES,
        }
    }

    /// A page as bytes; the first is the one after the beginning.
    fn encode(self, page: &Page, after: Place) -> Vec<u8> {
        let mut text = Vec::new();
        if self == Self::Array && after == Place::default() {
            text.push(b'[');
        }
        for row in &page.rows {
            // Records and lines have nothing that JSON cannot say.
            match (self, row) {
                (Self::Array, Ok(record)) => {
                    text.extend(serde_json::to_vec(record).unwrap_or_default());
                    text.push(b',');
                }
                (Self::Array, Err(error)) => {
                    tracing::warn!("left out of the records: {}", chain(error))
                }
                (Self::Lines, row) => {
                    let line = match row {
                        Ok(record) => {
                            serde_json::to_vec(&RecordLine::Record(Box::new(record.clone())))
                        }
                        Err(error) => serde_json::to_vec(&RecordLine::Unreadable(denial(error))),
                    };
                    text.extend(line.unwrap_or_default());
                    text.push(b'\n');
                }
            }
        }
        text
    }
}

/// How often it is looked whether a ledger that takes its time still answers.
const SPELL: Duration = Duration::from_secs(1);

fn denial(error: &LedgerError) -> Denial {
    error.denial()
}

/// Reads the ledger on a thread of its own, because that blocks.
pub(super) async fn from_ledger<T: Send + 'static>(
    ledger: &Ledger,
    read: impl FnOnce(Ledger) -> std::result::Result<T, LedgerError> + Send + 'static,
) -> Result<T> {
    let (own, ledger) = (ledger.clone(), ledger.clone());
    let mut reading = tokio::task::spawn_blocking(move || read(own));
    // A thread that hangs in the kernel is left behind.
    let found = loop {
        match timeout(SPELL, &mut reading).await {
            Ok(found) => break found,
            Err(_) => ledger.silence().map_or(Ok(()), Err)?,
        }
    };
    let found = found.map_err(|error| Problem::new(Code::InternalError, error.to_string()))?;
    Ok(found?)
}

/// Reads and encodes the page after a place.
async fn page(
    ledger: &Ledger,
    filter: &Filter,
    form: Form,
    after: Place,
) -> Result<(Vec<u8>, Option<Place>)> {
    let filter = filter.clone();
    let read = move |ledger: Ledger| {
        let page = ledger.page(&filter, after)?;
        Ok((form.encode(&page, after), page.next))
    };
    from_ledger(ledger, read).await
}

pub(super) async fn records(
    State(context): State<Context>,
    Query(query): Query<RecordQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let filter = filter(query)?;
    let form = Form::asked_for(&headers);
    // What goes wrong with the first page still has a status of its own.
    let (first, next) = page(&context.ledger, &filter, form, Place::default()).await?;
    let (sender, pages) = mpsc::channel(1);
    tokio::spawn(send_pages(context.ledger, filter, form, (first, next), sender));
    let body = Body::from_stream(ReceiverStream::new(pages).map(|page| page.map(Chunk::from)));
    Ok(([(header::CONTENT_TYPE, form.mime())], body).into_response())
}

/// Sends all pages, each when the one before has been taken. An array whose ledger cannot be read any further breaks off.
async fn send_pages(
    ledger: Ledger,
    filter: Filter,
    form: Form,
    first: (Vec<u8>, Option<Place>),
    sender: mpsc::Sender<std::result::Result<Vec<u8>, Denial>>,
) {
    let (mut text, mut next) = first;
    // Of an array, the comma after a page's last record waits until another one comes.
    let mut comma = false;
    loop {
        let ends_with_comma = form == Form::Array && text.last() == Some(&b',');
        if ends_with_comma {
            text.pop();
        }
        if comma && ends_with_comma {
            text.insert(0, b',');
        }
        comma |= ends_with_comma;
        if form == Form::Array && next.is_none() {
            text.push(b']');
        }
        if sender.send(Ok(text)).await.is_err() {
            return;
        }
        let Some(after) = next else { return };
        (text, next) = match page(&ledger, &filter, form, after).await {
            Ok(page) => page,
            Err(Problem(denial)) => {
                let last = match form {
                    Form::Array => Err(denial),
                    Form::Lines => {
                        let mut line =
                            serde_json::to_vec(&RecordLine::Failed(denial)).unwrap_or_default();
                        line.push(b'\n');
                        Ok(line)
                    }
                };
                let _ = sender.send(last).await;
                return;
            }
        };
    }
}

fn filter(query: RecordQuery) -> Result<Filter> {
    let since = query.since.map(|text| {
        text.parse().map_err(|error| bad_request(format!("since = {text:?}: {error}")))
    });
    let verdict = query.verdict.map(|text| {
        let known = "passed, failed, refused and stopped";
        text.parse::<Verdict>()
            .map_err(|_| bad_request(format!("verdict = {text:?}: verdicts are {known}")))
    });
    Ok(Filter {
        serial: query.serial,
        since: since.transpose()?,
        verdict: verdict.transpose()?,
        order: query.order,
    })
}

pub(super) async fn record_of(
    State(context): State<Context>,
    Path(job): Path<String>,
) -> Result<Response> {
    let id: Uuid = job.parse().map_err(|error| bad_request(format!("job {job:?}: {error}")))?;
    let record = from_ledger(&context.ledger, move |ledger| ledger.of_job(id)).await?;
    match record {
        Some(record) => Ok(Json(record).into_response()),
        None => Err(Problem::new(Code::NoSuchRecord, format!("there is no record of job {id}"))),
    }
}
