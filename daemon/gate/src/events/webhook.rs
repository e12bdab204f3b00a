//! Sends events to a receiver: one POST each, over a connection that is kept. Redirects are not followed, and what the
//! receiver answers beside its status is not looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::{InvalidUri, Scheme};
use axum::http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, version};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::cloud::{CloudEvent, KIND};
use super::signature::{self, SecretError};

/// The system's certificates, as Debian has them; `SSL_CERT_FILE` names others, as for other programs.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// So much of an answer is read, so that the connection can be kept.
const LARGEST: usize = 64 << 10;

/// Why nothing can ever be sent to a receiver.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("{url:?} is no address")]
    #[expect(missing_docs, reason = "the message says it")]
    Address {
        url: String,
        #[source]
        source: InvalidUri,
    },
    #[error("{0:?} names no host")]
    #[expect(missing_docs, reason = "the message says it")]
    NoHost(String),
    #[error("{path} cannot be read as certificates")]
    #[expect(missing_docs, reason = "the message says it")]
    Certificates {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{0} holds no certificate")]
    #[expect(missing_docs, reason = "the message says it")]
    NoCertificate(PathBuf),
    #[error("TLS cannot be used")]
    #[expect(missing_docs, reason = "the message says it")]
    Tls(#[from] rustls::Error),
}

/// Why a receiver has not taken an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
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

impl DeliveryError {
    /// How long the receiver wants to be left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }
}

/// A receiver.
#[derive(Debug)]
pub(super) struct Webhook {
    host: String,
    port: u16,
    /// Host and port as in the address.
    authority: String,
    path: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    secret: PathBuf,
    patience: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// The certificates that vouch for receivers.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, WebhookError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let path = ca.map(Path::to_owned).or(named).unwrap_or_else(|| CERTIFICATES.into());
    let failed = |source| WebhookError::Certificates { path: path.clone(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(failed)? {
        // Among the system's may be one that rustls cannot use.
        let _ = roots.add(certificate.map_err(failed)?);
    }
    match roots.is_empty() {
        true => Err(WebhookError::NoCertificate(path)),
        false => Ok(roots),
    }
}

impl Webhook {
    pub(super) fn new(hook: &config::Webhook) -> Result<Self, WebhookError> {
        let failed = |source| WebhookError::Address { url: hook.url.clone(), source };
        let uri: Uri = hook.url.parse().map_err(failed)?;
        let no_host = || WebhookError::NoHost(hook.url.clone());
        let authority = uri.authority().ok_or_else(no_host)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let tls = match is_tls {
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|_| no_host())?;
                Some((Arc::new(tls(hook.ca.as_deref())?), name))
            }
            false => None,
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host,
            tls,
            secret: hook.secret.clone(),
            patience: hook.timeout.0,
            connection: None,
        })
    }

    /// Sends an event, signed for this time in seconds; `Ok` if it was taken. The secret is read each time, so that it can be
    /// changed meanwhile.
    pub(super) async fn deliver(
        &mut self,
        event: &CloudEvent,
        seconds: i64,
    ) -> Result<(), DeliveryError> {
        let signature = signature::read(&self.secret)?.sign(&event.id, seconds, &event.body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, KIND)
            .header(header::USER_AGENT, concat!("prestaged-gate/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(event.body.clone())))?;
        let patience = self.patience;
        let answered = timeout(patience, self.ask(request)).await;
        let answered = answered.unwrap_or(Err(DeliveryError::Silent(patience)));
        if answered.is_err() {
            self.connection = None;
        }
        judge(&answered?)
    }

    /// The answer to a request.
    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<()>, DeliveryError> {
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

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, DeliveryError> {
        let address = || self.authority.clone();
        let failed = |source| DeliveryError::Connect { address: address(), source };
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => handshake(stream).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(failed)?;
                handshake(stream).await
            }
        }
    }
}

/// The client's side of TLS, for which these certificates vouch.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, WebhookError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, DeliveryError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Whether an answer means that the event was taken.
fn judge(answer: &Response<()>) -> Result<(), DeliveryError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    if status == StatusCode::GONE {
        return Err(DeliveryError::Gone);
    }
    if status.is_redirection() {
        return Err(DeliveryError::Elsewhere(status));
    }
    let wait = answer.headers().get(header::RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    Err(DeliveryError::Status { status, wait })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_one() {
        let of = |status: u16| judge(&Response::builder().status(status).body(()).unwrap());
        for taken in [200, 201, 202, 204] {
            assert!(of(taken).is_ok(), "{taken}");
        }
        for not in [301, 302, 307, 308] {
            assert!(matches!(of(not), Err(DeliveryError::Elsewhere(_))), "{not}");
        }
        for not in [400, 401, 404, 409, 429, 500, 503] {
            assert!(matches!(of(not), Err(DeliveryError::Status { .. })), "{not}");
        }
        assert!(matches!(of(410), Err(DeliveryError::Gone)));
        let busy = Response::builder().status(503).header("retry-after", "7").body(()).unwrap();
        assert_eq!(judge(&busy).unwrap_err().wait(), Some(Duration::from_secs(7)));
    }
}
