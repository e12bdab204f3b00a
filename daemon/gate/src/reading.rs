//! What programs read: the reading part of the daemon's API, and whether the gate has news of the daemon.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use model::code::DenialCode;
use model::failure::Denial;
use tokio::time::timeout;
use wire::client::ClientError;

const JSON: &str = "application/json";
/// So many programs may read at once.
pub(crate) const PASSED_ON: usize = 32;
/// How long the daemon may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `live`, or the reason why nothing is known.
pub(crate) async fn health(State(shared): crate::State) -> Response {
    let now = shared.now.borrow().clone();
    match now.fresh() {
        Some(_) => "live\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no data\n").into_response(),
    }
}

/// Passes the daemon's answer on, as it comes. The socket behind it answers nothing but what only reads.
pub(crate) async fn pass_on(State(shared): crate::State, headers: HeaderMap, uri: Uri) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // The daemon takes so many connections of one user and no more, and the pages need some of them.
    let Ok(place) = Arc::clone(&shared.passed_on).try_acquire_owned() else {
        let detail = format!("{PASSED_ON} programs read at once already");
        let denial = Denial::new(DenialCode::Overloaded, detail);
        return (StatusCode::SERVICE_UNAVAILABLE, Json(denial)).into_response();
    };
    let wanted = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    match within(shared.view.raw(path, wanted.unwrap_or(JSON))).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let kind = head.headers.get(header::CONTENT_TYPE).cloned();
            let kind = kind.unwrap_or(HeaderValue::from_static(JSON));
            // The place is free again when all has been read, or nobody reads on.
            let body = body.map_frame(move |frame| {
                let _ = &place;
                frame
            });
            ([(header::CONTENT_TYPE, kind)], Body::new(body)).into_response()
        }
        Err(error) => denied(&error),
    }
}

/// Waits for the beginning of an answer, but not for a daemon that stands still.
pub(crate) async fn within<T>(
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    timeout(PATIENCE, answer).await.unwrap_or(Err(ClientError::Silent))
}

/// What the daemon does not have.
pub(crate) async fn no_such_path(uri: Uri) -> Response {
    let denial = Denial::new(DenialCode::NoSuchPath, format!("there is no path {}", uri.path()));
    denied(&ClientError::Refused(denial))
}

/// The status of a request that the daemon has not carried out, or not answered.
pub(crate) fn status(error: &ClientError) -> StatusCode {
    let status = match error {
        ClientError::Refused(denial) if denial.code != DenialCode::UnexpectedAnswer => {
            StatusCode::from_u16(denial.code.status()).ok()
        }
        _ => None,
    };
    status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// The daemon's denial, in the daemon's form.
fn denied(error: &ClientError) -> Response {
    let denial = match error {
        ClientError::Refused(denial) => denial.clone(),
        error => Denial::of(DenialCode::UnexpectedAnswer, error),
    };
    (status(error), Json(denial)).into_response()
}
