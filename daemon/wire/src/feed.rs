//! The station's snapshots, one after the other, for who must know how old the latest is.

use std::time::Duration;

use model::api::snapshot::Snapshot;
use tokio::time::timeout;

use crate::client::{Client, ClientError, Lines};

/// A daemon that has said nothing for so long is asked. Often enough that what views show is never three seconds old.
const SILENCE: Duration = Duration::from_millis(1000);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_millis(1000);

/// A connection that tells each new snapshot.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    events: Lines,
}

impl Feed {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// [`ClientError`] if it does not answer.
    pub async fn open(client: &Client) -> Result<Self, ClientError> {
        let events = within(client.events()).await?;
        Ok(Self { client: client.clone(), events })
    }

    /// The station as it is now: as soon as it changes, and at least every two seconds.
    ///
    /// # Errors
    /// [`ClientError`] if the daemon has ended or stands still; the connection is of no more use then.
    pub async fn next(&mut self) -> Result<Snapshot, ClientError> {
        match timeout(SILENCE, self.events.next()).await {
            Ok(next) => next?.ok_or(ClientError::Ended),
            // Nothing has changed, or the daemon stands still.
            Err(_) => within(self.client.get("/v1/status")).await,
        }
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    timeout(PATIENCE, answer).await.unwrap_or(Err(ClientError::Silent))
}
