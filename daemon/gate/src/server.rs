//! The gate's connections: so many and no more, and none that is held without being used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::extract::connect_info::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use wire::patient::Patient;

use crate::GateError;
use crate::tls::Certificate;

/// So many connections may be open at once, where descriptors are no reason for fewer.
const MOST: usize = 2048;
/// How long a client may take for the head of a request, and for a handshake; so long an unused connection stays open.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may leave an answer unread. A browser whose tab sleeps comes back by itself.
const UNREAD: Duration = Duration::from_secs(20);
/// The most bytes of requests and answers that wait in memory for one connection.
const BUFFER: usize = 64 << 10;
/// How long to wait if the kernel gives no connection.
const BREATH: Duration = Duration::from_millis(100);

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, GateError> {
    TcpListener::bind(address).await.map_err(|source| GateError::Listen { address, source })
}

/// Raises the limit of descriptors as far as it may be; returns how many connections may be open.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 2).unwrap_or(MOST).clamp(16, MOST)
}

/// Serves all clients until the program is told to end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Certificate>>,
) -> Result<(), GateError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(GateError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(GateError::Signals)?;
    let places = Arc::new(Semaphore::new(connections()));
    // Fails if systemd has not started the gate, which is no error.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot take a connection: {error}");
                sleep(BREATH).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("too many connections; {peer} is turned away");
            continue;
        };
        let router = router.clone().layer(Extension(ConnectInfo(peer)));
        let tls = tls.clone();
        tokio::spawn(async move {
            let _place = place;
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection(stream, router).await,
                Some(certificate) => {
                    match timeout(HEAD, certificate.acceptor().accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, router).await,
                        Ok(Err(error)) => tracing::debug!("no handshake with {peer}: {error}"),
                        Err(_) => tracing::debug!("no handshake with {peer}: it took too long"),
                    }
                }
            }
        });
    }
}

async fn connection<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    let service = TowerToHyperService::new(router);
    let stream = TokioIo::new(Patient::new(stream, UNREAD));
    if let Err(error) = http.serve_connection(stream, service).await {
        tracing::debug!("a connection broke: {error}");
    }
}
