//! Publishes events at an MQTT broker, as CloudEvents' binding to MQTT has them in structured mode. A session is kept while
//! there is something to tell, and for a moment after it.

use std::fs;
use std::path::Path;

use tokio::time::sleep_until;
use wire::client::segment;

use super::cloud::CloudEvent;
use super::mqtt::{Introduction, Session, SessionError};
use super::peer::{ConnectError, Identity, Peer, PeerError, Way};
use super::signature::SecretError;
use crate::accounts;

/// Why a broker has not taken an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokerError {
    #[error(transparent)]
    Password(#[from] SecretError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// A broker.
#[derive(Debug)]
pub(super) struct Broker {
    peer: Peer,
    table: config::Broker,
    session: Option<Session>,
}

/// Reads a file with a password and nothing else. It is read for each session, so that it can be changed meanwhile.
pub(super) fn password(path: &Path) -> Result<Vec<u8>, SecretError> {
    accounts::secret(path)?;
    let text =
        fs::read(path).map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    match end {
        0 => Err(SecretError::Empty(path.to_owned())),
        end => Ok(text[..end].to_vec()),
    }
}

/// By which name a broker knows the gate: always the same, so that a session of which it has not noticed the end ends with
/// the next one, and no other station's.
fn client(station: &str, name: &str) -> String {
    // None of the parts has a dot.
    format!("prestaged-gate.{}.{name}", segment(station))
}

impl Broker {
    pub(super) fn new(table: &config::Broker) -> Result<Self, PeerError> {
        let way = Way { scheme: "mqtts", ports: [8883, 1883], alpn: None };
        let identity = table.certificate.clone().zip(table.key.clone());
        let identity = identity.map(|(certificate, key)| Identity { certificate, key });
        let peer = Peer::new(&table.url, &way, table.ca.as_deref(), identity)?;
        Ok(Self { peer, table: table.clone(), session: None })
    }

    /// Publishes an event; `Ok` if the broker has taken it.
    pub(super) async fn send(&mut self, event: &CloudEvent) -> Result<(), BrokerError> {
        let kept = match self.session.take() {
            Some(kept) => kept.still().await,
            None => None,
        };
        let mut session = match kept {
            Some(kept) => kept,
            None => self.begin(&event.station).await?,
        };
        let topic = format!("{}/{}", self.table.topic, event.kind);
        session.publish(&topic, event).await?;
        self.session = Some(session);
        Ok(())
    }

    async fn begin(&self, station: &str) -> Result<Session, BrokerError> {
        let password = self.table.password.as_deref().map(password).transpose()?;
        let stream = self.peer.connect().await?;
        let who = Introduction {
            client: &client(station, &self.table.name),
            user: self.table.user.as_deref(),
            password: password.as_deref(),
            patience: self.table.timeout.0,
        };
        Ok(Session::begin(stream, &who).await?)
    }

    /// Ends the session when nothing has been published for a while.
    pub(super) async fn rest(&mut self) {
        match self.session.as_ref().map(Session::until) {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
        if let Some(session) = self.session.take() {
            session.leave().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the test")]
    fn a_password_is_one_line_that_not_everybody_reads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            fs::write(file.path(), text).unwrap();
            password(file.path())
        };
        for text in ["pass word", "pass word\n", "pass word\r\n", "pass word\nmore\n"] {
            assert_eq!(read(text).unwrap(), b"pass word", "{text:?}");
        }
        for text in ["", "\n", "\nlater\n"] {
            assert!(matches!(read(text), Err(SecretError::Empty(_))), "{text:?}");
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let error = read("x").unwrap_err().to_string();
        assert!(error.contains("everybody on this machine can read"), "{error}");
        let absent = password(Path::new("/no/such/file"));
        assert!(matches!(absent, Err(SecretError::Read { .. })));
    }

    #[test]
    fn stations_and_brokers_have_names_of_their_own() {
        assert_eq!(client("rack-1", "plant"), "prestaged-gate.rack-1.plant");
        assert_ne!(client("a", "b-c"), client("a-b", "c"));
        assert_ne!(client("a.b", "c"), client("a", "b.c"));
        assert_eq!(client("R\u{e4}ck 1", "x"), "prestaged-gate.R%C3%A4ck%201.x");
    }
}
