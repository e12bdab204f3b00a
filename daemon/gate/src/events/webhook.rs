//! Sends events to a receiver: one POST each, over a connection that is kept. Redirects are not followed, and what the
//! receiver answers beside its status is not looked at.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::cloud::{CloudEvent, KIND};
use super::peer::{ConnectError, Peer, PeerError, Way};
use super::signature::{self, SecretError};

/// So much of an answer is read, so that the connection can be kept.
const LARGEST: usize = 64 << 10;

/// Why a receiver has not taken an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[from] axum::http::Error),
    #[error("the receiver sends us elsewhere ({0}), which is not followed")]
    Elsewhere(StatusCode),
    #[error("the receiver answers {status}")]
    Status { status: StatusCode, wait: Option<Duration> },
    #[error("the receiver wants nothing more (410)")]
    Gone,
}

/// A receiver.
#[derive(Debug)]
pub(super) struct Webhook {
    peer: Peer,
    path: String,
    secret: PathBuf,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Webhook {
    pub(super) fn new(hook: &config::Webhook) -> Result<Self, PeerError> {
        let way = Way { scheme: "https", ports: [443, 80], alpn: Some("http/1.1") };
        let peer = Peer::new(&hook.url, &way, hook.ca.as_deref(), None)?;
        let path = peer.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { peer, path, secret: hook.secret.clone(), connection: None })
    }

    /// Sends an event, signed for this time in seconds; `Ok` if it was taken. The secret is read each time, so that it can be
    /// changed meanwhile.
    pub(super) async fn send(&mut self, event: &CloudEvent, seconds: i64) -> Result<(), HookError> {
        let signature = signature::read(&self.secret)?.sign(&event.id, seconds, &event.body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::HOST, self.peer.authority())
            .header(header::CONTENT_TYPE, KIND)
            .header(header::USER_AGENT, concat!("prestaged-gate/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(event.body.clone())))?;
        judge(&self.ask(request).await?)
    }

    /// The answer to a request.
    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<()>, HookError> {
        let kept = match self.connection.take() {
            // The receiver may have closed it meanwhile.
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut sender = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let (head, body): (_, Incoming) = sender.send_request(request).await?.into_parts();
        if Limited::new(body, LARGEST).collect().await.is_ok() {
            self.connection = Some(sender);
        }
        Ok(Response::from_parts(head, ()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HookError> {
        let stream = self.peer.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Whether an answer means that the event was taken.
fn judge(answer: &Response<()>) -> Result<(), HookError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    if status == StatusCode::GONE {
        return Err(HookError::Gone);
    }
    if status.is_redirection() {
        return Err(HookError::Elsewhere(status));
    }
    let wait = answer.headers().get(header::RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    Err(HookError::Status { status, wait })
}

#[cfg(test)]
mod tests {
    use super::super::receiver::DeliveryError;
    use super::*;

    #[test]
    fn only_a_success_is_one() {
        let of = |status: u16| judge(&Response::builder().status(status).body(()).unwrap());
        for taken in [200, 201, 202, 204] {
            assert!(of(taken).is_ok(), "{taken}");
        }
        for not in [301, 302, 307, 308] {
            assert!(matches!(of(not), Err(HookError::Elsewhere(_))), "{not}");
        }
        for not in [400, 401, 404, 409, 429, 500, 503] {
            assert!(matches!(of(not), Err(HookError::Status { .. })), "{not}");
        }
        assert!(matches!(of(410), Err(HookError::Gone)));
        let busy = Response::builder().status(503).header("retry-after", "7").body(()).unwrap();
        let busy = DeliveryError::from(judge(&busy).unwrap_err());
        assert_eq!(busy.wait(), Some(Duration::from_secs(7)));
    }
}
