//! The process at the other end of a socket: its user, its groups, and on whose behalf it asks.

use tokio::net::UnixStream;

use super::{Problem, groups};
use model::code::DenialCode;
use model::operator::Operator;
use nix::unistd::{Uid, User};

/// A process that has connected. An unknown user is `None`, and may do nothing.
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) uid: Option<u32>,
    pub(super) groups: Vec<u32>,
    /// On whose behalf the gate asks.
    pub(super) actor: Option<String>,
}

impl Peer {
    /// The process at the other end of a connection.
    pub(super) fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        let mut groups = groups::peer_groups(stream).unwrap_or_default();
        groups.extend(credentials.map(|peer| peer.gid()));
        Self { uid: credentials.map(|peer| peer.uid()), groups, actor: None }
    }

    /// Its user; `None` if that is not known.
    pub(super) fn user(&self) -> Option<u32> {
        self.uid
    }

    /// Its user with the name, for records; where it is the gate, who has signed in there.
    pub(super) async fn operator(&self) -> Result<Operator, Problem> {
        let unknown = || Problem::new(DenialCode::NotPermitted, "nobody knows which user asks");
        let uid = self.uid.ok_or_else(unknown)?;
        if let Some(actor) = &self.actor {
            return Ok(Operator { uid, name: Some(format!("{actor} (gate)")) });
        }
        // Names may come from a directory on the network.
        let name = move || User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let user = tokio::task::spawn_blocking(name).await.ok().flatten();
        Ok(Operator { uid, name: user.map(|user| user.name) })
    }

    /// Whether the process belongs to root, to the station's own user, or to a member of the control group.
    pub(super) fn may_control(&self, own: u32, group: Option<u32>) -> bool {
        self.uid.is_some_and(|uid| uid == 0 || uid == own) || self.is_of(group)
    }

    /// Whether it belongs to a member of this group.
    pub(super) fn is_of(&self, group: Option<u32>) -> bool {
        self.uid.is_some() && group.is_some_and(|group| self.groups.contains(&group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_the_station_s_user_and_the_group_may_control() {
        let peer = |uid, groups: &[u32]| Peer { uid, groups: groups.to_vec(), actor: None };
        assert!(peer(Some(0), &[]).may_control(500, None));
        assert!(peer(Some(500), &[]).may_control(500, None));
        assert!(!peer(Some(501), &[0, 500]).may_control(500, None));
        assert!(peer(Some(501), &[7, 42]).may_control(500, Some(42)));
        assert!(!peer(Some(501), &[7]).may_control(500, Some(42)));
        assert!(!peer(None, &[]).may_control(0, None));
    }
}
