//! Follows the daemon, and knows how old the latest news of it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use model::api::snapshot::Snapshot;
use model::failure::chain;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use view::rack::NO_DATA_AFTER;
use wire::client::{Client, ClientError};
use wire::feed::Feed;

use crate::curve::Curves;
use crate::tally::{Counts, Tally};

/// How often a daemon that has ended is looked for.
const RETRY: Duration = Duration::from_millis(500);

/// The latest that is known of the station.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    /// Absent until the daemon has been there.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// When it was told.
    heard: Instant,
    /// Why the daemon does not answer, if it does not.
    pub(crate) lost: Option<String>,
    pub(crate) curves: Arc<Curves>,
    pub(crate) counts: Arc<Counts>,
}

impl Now {
    /// How old it is.
    pub(crate) fn age(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Why nothing is known now, where that is so.
    pub(crate) fn cause(&self) -> Option<&str> {
        let silent = || (self.age() >= NO_DATA_AFTER).then_some("the daemon does not answer");
        self.lost.as_deref().or_else(silent)
    }

    /// The station, if that is how it is; nothing old.
    pub(crate) fn fresh(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref().filter(|_| self.lost.is_none() && self.age() < NO_DATA_AFTER)
    }
}

/// Follows the daemon for as long as somebody looks at what is returned.
pub(crate) fn follow(client: Client) -> watch::Receiver<Arc<Now>> {
    let first = Now {
        snapshot: None,
        heard: Instant::now(),
        lost: Some("the daemon has not answered yet".into()),
        curves: Arc::default(),
        counts: Arc::default(),
    };
    let (tell, now) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        let mut tally = Tally::default();
        while !tell.is_closed() {
            let Err(error) = attend(&client, &tell, &mut tally).await;
            let why = chain(&error);
            tell.send_modify(|now| *now = Arc::new(Now { lost: Some(why), ..(**now).clone() }));
            sleep(RETRY).await;
        }
    });
    now
}

/// Tells each new snapshot, until the daemon has ended or does not answer.
async fn attend(
    client: &Client,
    tell: &watch::Sender<Arc<Now>>,
    tally: &mut Tally,
) -> Result<Infallible, ClientError> {
    let mut feed = Feed::open(client).await?;
    loop {
        let snapshot = feed.next().await?;
        tell.send_modify(|now| {
            let curves = Arc::new(now.curves.with(&snapshot));
            let counts = match tally.with(&snapshot) {
                same if *same == *now.counts => Arc::clone(&now.counts),
                more => Arc::new(more.clone()),
            };
            let snapshot = Some(Arc::new(snapshot));
            *now = Arc::new(Now { snapshot, heard: Instant::now(), lost: None, curves, counts });
        });
    }
}
