//! Reads the ledger's log through the daemon's socket for looking.

use std::time::Duration;

use model::api::evidence::LogPage;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use wire::client::{Client, ClientError};

/// How often it is looked whether the log has grown.
const LOOK: Duration = Duration::from_secs(1);
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many entries are in memory for each receiver.
const PAGE: u32 = 16;

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) ledger: Uuid,
    pub(super) size: u64,
}

/// Looks where the log ends, once for all receivers; nothing is known until the daemon has said it.
pub(super) fn follow(client: Client) -> watch::Receiver<Option<End>> {
    let (tell, end) = watch::channel(None);
    tokio::spawn(async move {
        while !tell.is_closed() {
            // A daemon that does not answer is told of by others, and the log waits.
            if let Ok(LogPage { ledger, size, .. }) = page(&client, 0, 0).await {
                let now = Some(End { ledger, size });
                tell.send_if_modified(|known| std::mem::replace(known, now) != now);
            }
            sleep(LOOK).await;
        }
    });
    end
}

async fn page(client: &Client, after: u64, limit: u32) -> Result<LogPage, ClientError> {
    let path = format!("/v1/log?after={after}&limit={limit}");
    timeout(PATIENCE, client.get(&path)).await.unwrap_or(Err(ClientError::Silent))
}

/// The log, for one receiver.
#[derive(Debug)]
pub(super) struct Log {
    client: Client,
    end: watch::Receiver<Option<End>>,
}

impl Log {
    pub(super) fn new(client: Client, end: watch::Receiver<Option<End>>) -> Self {
        Self { client, end }
    }

    /// Where it ends, as far as is known.
    pub(super) fn end(&mut self) -> Option<End> {
        *self.end.borrow_and_update()
    }

    /// Waits until it ends elsewhere; `false` if nobody looks any more.
    pub(super) async fn grown(&mut self) -> bool {
        self.end.changed().await.is_ok()
    }

    /// Some entries after a place.
    pub(super) async fn after(&self, seq: u64) -> Result<LogPage, ClientError> {
        page(&self.client, seq, PAGE).await
    }
}
