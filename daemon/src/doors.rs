//! The sockets on which the daemon answers: one for whoever may ask for something, and, where the configuration has it, one
//! on which everything can be looked at and nothing be asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use config::{Config, ConfigError, GATE_USER, LAMPS_USER};
use media::worker::account;
use nix::unistd::User;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::api::server::{Limits, serve};
use crate::api::{self, Context, Door};
use crate::check::OWN_USER;
use crate::socket::{self, ControlSocket, SocketError};

/// How long a station that ends waits for its clients to take their last answers.
const FAREWELL: Duration = Duration::from_secs(1);
/// The permissions of the socket for viewing: what matters is its group.
const VIEW_MODE: u32 = 0o660;

/// Who may come in beside root and the station's own user.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visitors {
    /// The group whose members may control the station.
    pub group: Option<u32>,
    /// The group whose members may look at it.
    pub view_group: Option<u32>,
    /// The user as whom the gate runs.
    pub gate: Option<u32>,
    /// The user who switches the lamps.
    pub lamps: Option<u32>,
}

impl Visitors {
    /// The groups and the user that the configuration names.
    ///
    /// # Errors
    /// [`ConfigError`] for one that this machine does not have.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let group = |key: &'static str, name: Option<&str>| {
            let number = name.map(|name| account::group(key, name)).transpose();
            number.map_err(|error| super::check::placed(config, &error))
        };
        let user = |key: &'static str, name: Option<&str>, usual: &str| {
            let user = User::from_name(name.unwrap_or(usual)).ok().flatten();
            match (name, &user) {
                (Some(name), None) => {
                    let what = format!("there is no user {name:?}");
                    Err(config.mistake(key, what, "make the user, or leave the key out"))
                }
                _ => Ok(user.map(|user| user.uid.as_raw())),
            }
        };
        let visitors = Self {
            group: group("control.group", config.control.group.as_deref())?,
            view_group: group("control.view_group", config.control.view_group.as_deref())?,
            gate: user("gate.user", config.gate.user.as_deref(), GATE_USER)?,
            lamps: user("lamps.user", config.lamps.user.as_deref(), LAMPS_USER)?,
        };
        let own = rustix::process::geteuid().as_raw();
        visitors.apart(own).map_err(|(key, what)| {
            let hint = if key == "gate.user" { OWN_USER } else { LAMPS_OWN_USER };
            config.mistake(key, what, hint)
        })?;
        Ok(visitors)
    }

    /// The door knows the gate and the lamps by their users, and gives those less than others. Who has the one user can
    /// therefore be nobody else: not root, not the station's own user, and not both.
    fn apart(&self, own: u32) -> Result<(), (&'static str, &'static str)> {
        let commands = |user: Option<u32>| user.is_some_and(|uid| uid == 0 || uid == own);
        if commands(self.gate) {
            let what =
                "this is who commands the station, and would then be taken for the gate and denied";
            return Err(("gate.user", what));
        }
        if commands(self.lamps) {
            let what = "this is who commands the station, and would then be taken for the lamps and denied";
            return Err(("lamps.user", what));
        }
        if self.gate.is_some() && self.gate == self.lamps {
            return Err(("gate.user", "the lamps' user (lamps.user) is the same"));
        }
        Ok(())
    }
}

/// What to do about a `lamps.user` who is somebody else.
const LAMPS_OWN_USER: &str = "leave lamps.user out, and make the user: `useradd --system prestaged-lamps`; or name one that is the lamps' alone";

/// The sockets, on which nobody answers yet.
#[derive(Debug)]
pub(crate) struct Doors(Vec<(Door, ControlSocket, UnixListener)>);

impl Doors {
    /// Ends the start where another station answers on the control socket, before anything is changed that they might
    /// share.
    pub(crate) async fn refuse_second(config: &Config) -> Result<(), SocketError> {
        socket::refuse_second(&config.control.socket).await
    }

    /// Makes the sockets.
    pub(crate) async fn make(config: &Config, visitors: Visitors) -> Result<Self> {
        let control = &config.control;
        let mut doors = Vec::new();
        let (path, group, mode) = (&control.socket, visitors.group, config.socket_mode()?);
        doors.push(door(Door::Control, path, group, mode).await?);
        if let Some(path) = &control.view_socket {
            doors.push(door(Door::View, path, visitors.view_group, VIEW_MODE).await?);
        }
        Ok(Self(doors))
    }

    /// Lets clients in.
    pub(crate) fn open(self, context: &Context, limits: Limits) -> OpenDoors {
        let open = |(door, socket, listener)| {
            let ending = Arc::new(Notify::new());
            let router = api::router(context.clone(), door);
            let server = tokio::spawn(serve(listener, router, limits, Arc::clone(&ending)));
            (socket, server, ending)
        };
        OpenDoors(self.0.into_iter().map(open).collect())
    }
}

async fn door(
    door: Door,
    path: &Path,
    group: Option<u32>,
    mode: u32,
) -> Result<(Door, ControlSocket, UnixListener)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the socket's folder {}", folder.display()))?;
    }
    let (socket, listener) = ControlSocket::make(path, group, mode).await?;
    Ok((door, socket, listener))
}

/// The sockets while clients are let in.
#[derive(Debug)]
pub(crate) struct OpenDoors(Vec<(ControlSocket, JoinHandle<()>, Arc<Notify>)>);

impl OpenDoors {
    /// Lets nobody in any more, and removes the sockets. Whoever follows a drive gets its verdict before.
    pub(crate) async fn close(self) {
        self.0.iter().for_each(|(_, _, ending)| ending.notify_one());
        for (socket, mut server, _) in self.0 {
            if timeout(FAREWELL, &mut server).await.is_err() {
                server.abort();
            }
            socket.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_and_the_lamps_are_nobody_else() {
        let key = |gate, lamps| {
            let visitors = Visitors { gate, lamps, ..Visitors::default() };
            visitors.apart(500).err().map(|(key, _)| key)
        };
        assert_eq!(key(None, None), None);
        assert_eq!(key(Some(700), Some(701)), None);
        assert_eq!(key(Some(0), None), Some("gate.user"), "root would be locked out");
        assert_eq!(key(Some(500), None), Some("gate.user"), "and so would the station's user");
        assert_eq!(key(None, Some(0)), Some("lamps.user"));
        assert_eq!(key(Some(700), Some(700)), Some("gate.user"));
    }
}
