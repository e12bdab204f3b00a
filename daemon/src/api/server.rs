//! The connections to the control socket: so many at once and no more, and none that is held without being used.
//!
//! Every connection is a descriptor and some memory, and drives need both. A client beyond the limits gets an answer that
//! says so (`overloaded`). Requests that do not come to an end and clients that do not take their answers are dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use axum::{Json, Router};
use http_body_util::LengthLimitError;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::code::DenialCode;
use model::failure::Denial;
use parking_lot::Mutex;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wire::patient::Patient;

use super::Problem;
use super::peer::Peer;

/// How long a client may take for the head of a request; also how long an unused connection stays open.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may leave an answer unread that it has asked for. A terminal may be stopped for some minutes.
const UNREAD: Duration = Duration::from_secs(300);
/// How long a client that is turned away may take for its request.
const FAREWELL: Duration = Duration::from_secs(2);
/// The most bytes of requests and answers that wait in memory for one connection.
const BUFFER: usize = 64 << 10;
/// The most connections at once, where descriptors are no reason for fewer.
const MOST: usize = 256;
/// How long to wait if the kernel gives no connection, because it lacks descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// How many connections may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    all: usize,
    /// Of one user.
    user: usize,
}

impl Limits {
    /// The limits of a process that may have so many descriptors. Clients get an eighth of them; a request may need a
    /// few more than its connection, and the others are for drives, workers and files.
    pub fn of(descriptors: u64) -> Self {
        let all = usize::try_from(descriptors / 8).unwrap_or(MOST).clamp(8, MOST);
        Self { all, user: all / 2 }
    }
}

/// The connections that are open, by the user at the other end.
#[derive(Debug, Default)]
struct Open(Mutex<HashMap<Option<u32>, usize>>);

/// The place of one open connection, given back when dropped.
#[derive(Debug)]
struct Place {
    open: Arc<Open>,
    user: Option<u32>,
}

impl Open {
    /// A place for another connection of a user; the refusal says which limit is reached.
    fn place(self: &Arc<Self>, user: Option<u32>, limits: Limits) -> Result<Place, Denial> {
        let mut open = self.0.lock();
        let (all, own) = (open.values().sum::<usize>(), open.get(&user).copied().unwrap_or(0));
        let full = |whose: &str, limit: usize| {
            let detail =
                format!("{whose} has {limit} connections to the station, and it takes no more");
            let hint = "end programs that leave theirs open (`ss -xp | grep control.sock`)";
            Denial::new(DenialCode::Overloaded, detail).with_hint(hint)
        };
        if own >= limits.user {
            let name = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
            return Err(full(&name, limits.user));
        }
        if all >= limits.all {
            return Err(full("everybody together", limits.all));
        }
        *open.entry(user).or_default() += 1;
        Ok(Place { open: Arc::clone(self), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.0.lock();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

/// Serves all clients until `ending`, and then what was asked before.
pub async fn serve(listener: UnixListener, router: Router, limits: Limits, ending: Arc<Notify>) {
    let open = Arc::new(Open::default());
    let (end, ends) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut turned_away = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = ending.notified() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            Some(_) = turned_away.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot take a connection on the control socket: {error}");
                sleep(BREATH).await;
                continue;
            }
        };
        let peer = Peer::of(&stream);
        match open.place(peer.user(), limits) {
            Ok(place) => {
                let router = router.clone().layer(Extension(ConnectInfo(peer)));
                let ends = ends.clone();
                connections.spawn(async move {
                    let _place = place;
                    connection(stream, router, ends).await;
                });
            }
            // So many and no more are told why; the others find their connection closed.
            Err(denial) if turned_away.len() < limits.all / 4 => {
                tracing::warn!("a client of the control socket is turned away: {}", denial.detail);
                let ends = ends.clone();
                turned_away.spawn(async move {
                    let no = any(move || async move { Problem(denial).into_response() });
                    let answer = connection(stream, Router::new().fallback_service(no), ends);
                    let _ = timeout(FAREWELL, answer).await;
                });
            }
            Err(_) => {}
        }
    }
    drop(listener);
    let _ = end.send(true);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until it ends, or until `ends` says so and what it has asked is answered.
async fn connection(stream: UnixStream, router: Router, mut ends: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    let service = TowerToHyperService::new(router);
    let mut connection =
        std::pin::pin!(http.serve_connection(TokioIo::new(Patient::new(stream, UNREAD)), service));
    let told = async { ends.wait_for(|ends| *ends).await.is_ok() };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = told => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the control socket broke: {error}");
    }
}

/// Takes in the body of a request before anybody answers, so that no handler waits for it.
pub(super) async fn whole(
    request: Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    let (head, body) = request.into_parts();
    let problem = |status: StatusCode, detail: String| {
        (status, Json(Denial::new(DenialCode::BadRequest, detail))).into_response()
    };
    match timeout(HEAD, axum::body::to_bytes(body, super::body_limit(head.uri.path()))).await {
        Ok(Ok(body)) => next.run(Request::from_parts(head, body.into())).await,
        Ok(Err(error)) => {
            let detail = format!("Failed to buffer the request body: {error}");
            let is_too_long = error.into_inner().is::<LengthLimitError>();
            let long = StatusCode::PAYLOAD_TOO_LARGE;
            problem(if is_too_long { long } else { StatusCode::BAD_REQUEST }, detail)
        }
        Err(_) => {
            let detail = format!("the body did not come within {} s", HEAD.as_secs());
            problem(StatusCode::BAD_REQUEST, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_most_descriptors_to_drives() {
        let limits = |descriptors| {
            let Limits { all, user } = Limits::of(descriptors);
            (all, user)
        };
        assert_eq!(limits(1024), (128, 64));
        assert_eq!(limits(65_536), (256, 128));
        assert_eq!(limits(20), (8, 4));
        assert_eq!(limits(u64::MAX), (256, 128));
    }

    #[test]
    fn one_user_cannot_take_all_places() {
        let (open, limits) = (Arc::new(Open::default()), Limits { all: 4, user: 2 });
        let first: Vec<Place> = (0..2).map(|_| open.place(Some(1), limits).unwrap()).collect();
        let refused = open.place(Some(1), limits).unwrap_err();
        assert_eq!(refused.code, DenialCode::Overloaded);
        assert!(refused.detail.starts_with("user 1 has 2"), "{}", refused.detail);
        let _second = (open.place(Some(0), limits).unwrap(), open.place(None, limits).unwrap());
        assert!(open.place(Some(2), limits).is_err(), "four in all");
        drop(first);
        assert!(open.place(Some(1), limits).is_ok());
        assert_eq!(open.0.lock().len(), 2, "users without connections are forgotten");
    }
}
