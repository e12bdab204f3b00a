//! The records, page by page: neither a long ledger nor a client that does not read its answer takes memory or a thread.

use std::io::Read as _;
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

    /// A page as bytes.
    fn encode(self, page: &Page) -> Vec<u8> {
        let mut text = Vec::new();
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

/// Which records are still to be sent.
#[derive(Clone, Copy, Debug)]
struct Rest {
    after: Place,
    most: usize,
}

/// Reads and encodes the page after a place.
async fn page(
    ledger: &Ledger,
    filter: &Filter,
    form: Form,
    Rest { after, most }: Rest,
) -> Result<(Vec<u8>, Option<Rest>)> {
    let filter = filter.clone();
    let read = move |ledger: Ledger| {
        let mut page = ledger.page(&filter, after)?;
        page.rows.truncate(most);
        let most = most - page.rows.len();
        let next = page.next.filter(|_| most > 0).map(|after| Rest { after, most });
        Ok((form.encode(&page), next))
    };
    from_ledger(ledger, read).await
}

pub(super) async fn records(
    State(context): State<Context>,
    Query(query): Query<RecordQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let form = Form::asked_for(&headers);
    let after = query.after.as_deref().map(job).transpose()?;
    let most = query.limit.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let last = query.last;
    if last.is_some() && after.is_some() {
        return Err(bad_request("`last` and `after` do not go together"));
    }
    let filter = filter(query)?;
    let asked = filter.clone();
    let begin = move |ledger: Ledger| match (after, last) {
        (Some(job), _) => Ok(ledger.place_of(job)?.ok_or(job)),
        (None, Some(count)) => ledger.before_last(&asked, count).map(Ok),
        (None, None) => Ok(Ok(Place::default())),
    };
    let after = from_ledger(&context.ledger, begin).await?.map_err(no_record)?;
    // What goes wrong with the first page still has a status of its own.
    let (mut first, next) = page(&context.ledger, &filter, form, Rest { after, most }).await?;
    if form == Form::Array {
        first.insert(0, b'[');
    }
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
    first: (Vec<u8>, Option<Rest>),
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
        let Some(rest) = next else { return };
        (text, next) = match page(&ledger, &filter, form, rest).await {
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

fn job(text: &str) -> Result<Uuid> {
    text.parse().map_err(|error| bad_request(format!("job {text:?}: {error}")))
}

fn no_record(job: Uuid) -> Problem {
    Problem::new(Code::NoSuchRecord, format!("there is no record of job {job}"))
}

fn filter(query: RecordQuery) -> Result<Filter> {
    let time = |name: &str, text: Option<String>| {
        let time = text.map(|text| {
            text.parse().map_err(|error| bad_request(format!("{name} = {text:?}: {error}")))
        });
        time.transpose()
    };
    let verdict = query.verdict.map(|text| {
        let known = "passed, failed, refused and stopped";
        text.parse::<Verdict>()
            .map_err(|_| bad_request(format!("verdict = {text:?}: verdicts are {known}")))
    });
    Ok(Filter {
        serial: query.serial,
        since: time("since", query.since)?,
        until: time("until", query.until)?,
        verdict: verdict.transpose()?,
        order: query.order,
        bay: query.bay,
    })
}

/// How much of a backup is read at a time.
const PART: usize = 1 << 20;

/// Sends a copy of the ledger, part by part.
pub(super) async fn back_up(State(context): State<Context>) -> Result<Response> {
    let mut file = from_ledger(&context.ledger, |ledger| ledger.backup()).await?;
    let length =
        file.metadata().map_err(|e| Problem::new(Code::InternalError, e.to_string()))?.len();
    let (sender, parts) = mpsc::channel::<std::io::Result<Chunk>>(1);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut part = vec![0; PART];
            let read = file.read(&mut part).map(|count| {
                part.truncate(count);
                Chunk::from(part)
            });
            let is_last = read.as_ref().map_or(true, Chunk::is_empty);
            if sender.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    let head = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((head, Body::from_stream(ReceiverStream::new(parts))).into_response())
}

pub(super) async fn record_of(
    State(context): State<Context>,
    Path(named): Path<String>,
) -> Result<Response> {
    let id = job(&named)?;
    let record = from_ledger(&context.ledger, move |ledger| ledger.of_job(id)).await?;
    match record {
        Some(record) => Ok(Json(record).into_response()),
        None => Err(no_record(id)),
    }
}
