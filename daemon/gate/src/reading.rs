//! What programs read: the reading part of the daemon's API, and whether the gate has news of the daemon.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::code::DenialCode;
use model::failure::Denial;
use wire::client::ClientError;

use crate::access::Visitor;

/// `live`, or the reason why nothing is known.
pub(crate) async fn health(State(shared): crate::State) -> Response {
    let now = shared.now.borrow().clone();
    match now.fresh() {
        Some(_) => "live\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no data\n").into_response(),
    }
}

/// Passes the daemon's answer on, as it comes. The socket behind it answers nothing but what only reads.
pub(crate) async fn pass_on(
    State(shared): crate::State,
    Extension(_visitor): Extension<Visitor>,
    Path(_path): Path<String>,
    uri: Uri,
) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match shared.view.raw(path).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let kind = head.headers.get(header::CONTENT_TYPE).cloned();
            let kind = kind.unwrap_or(HeaderValue::from_static("application/json"));
            ([(header::CONTENT_TYPE, kind)], Body::new(body)).into_response()
        }
        Err(error) => denied(&error),
    }
}

/// The daemon's denial, in the daemon's form.
fn denied(error: &ClientError) -> Response {
    let (status, denial) = match error {
        ClientError::Refused(denial) => {
            let status = match denial.code {
                DenialCode::BadRequest => StatusCode::BAD_REQUEST,
                DenialCode::NotPermitted => StatusCode::FORBIDDEN,
                DenialCode::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
                DenialCode::NoSuchPath
                | DenialCode::NoSuchOrder
                | DenialCode::NoSuchRecord
                | DenialCode::DigestsMissing
                | DenialCode::NoSuchDrive => StatusCode::NOT_FOUND,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, denial.clone())
        }
        error => {
            let denial = Denial::of(DenialCode::UnexpectedAnswer, error);
            (StatusCode::SERVICE_UNAVAILABLE, denial)
        }
    };
    (status, Json(denial)).into_response()
}
