//! The process at the other end of the control socket, and whether it may control the station. The socket's mode is the
//! first check; this second one also holds if the mode was set too wide.

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::net::UnixStream;

use super::{Context, Problem, groups};
use model::code::DenialCode;
use model::operator::Operator;
use nix::unistd::{Uid, User};

/// A process that has connected. An unknown user is `None`, and may do nothing.
#[derive(Clone, Debug)]
pub struct Peer {
    uid: Option<u32>,
    groups: Vec<u32>,
}

impl Peer {
    /// The process at the other end of a connection.
    pub(super) fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        let mut groups = groups::peer_groups(stream).unwrap_or_default();
        groups.extend(credentials.map(|peer| peer.gid()));
        Self { uid: credentials.map(|peer| peer.uid()), groups }
    }

    /// Its user; `None` if that is not known.
    pub(super) fn user(&self) -> Option<u32> {
        self.uid
    }

    /// Its user with the name, for records.
    pub(super) async fn operator(&self) -> Result<Operator, Problem> {
        let unknown = || Problem::new(DenialCode::NotPermitted, "nobody knows which user asks");
        let uid = self.uid.ok_or_else(unknown)?;
        // Names may come from a directory on the network.
        let name = move || User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let user = tokio::task::spawn_blocking(name).await.ok().flatten();
        Ok(Operator { uid, name: user.map(|user| user.name) })
    }

    /// Whether the process belongs to root, to the station's own user, or to a member of the control group.
    fn may_control(&self, own: u32, group: Option<u32>) -> bool {
        self.uid.is_some_and(|uid| uid == 0 || uid == own)
            || group.is_some_and(|group| self.groups.contains(&group))
    }
}

/// Passes on the requests of peers that may control the station, and refuses all others.
pub(super) async fn guard(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let own = rustix::process::geteuid().as_raw();
    if peer.may_control(own, context.group) {
        return next.run(request).await;
    }
    let user = peer.uid.map_or("an unknown user".to_owned(), |uid| format!("user {uid}"));
    let detail = match context.group {
        Some(group) => {
            format!("{user} is neither root nor a member of group {group} (control.group)")
        }
        None => format!("{user} is not root, and no group is allowed (control.group)"),
    };
    tracing::warn!("a request on the control socket was denied: {detail}");
    Problem::new(DenialCode::NotPermitted, detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_the_station_s_user_and_the_group_may_control() {
        let peer = |uid, groups: &[u32]| Peer { uid, groups: groups.to_vec() };
        assert!(peer(Some(0), &[]).may_control(500, None));
        assert!(peer(Some(500), &[]).may_control(500, None));
        assert!(!peer(Some(501), &[0, 500]).may_control(500, None));
        assert!(peer(Some(501), &[7, 42]).may_control(500, Some(42)));
        assert!(!peer(Some(501), &[7]).may_control(500, Some(42)));
        assert!(!peer(None, &[]).may_control(0, None));
    }
}
