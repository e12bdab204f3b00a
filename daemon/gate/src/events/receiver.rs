//! A receiver of events, of whatever kind it is.

use std::time::Duration;

use tokio::time::timeout;

use super::broker::{Broker, BrokerError};
use super::cloud::CloudEvent;
use super::mqtt::SessionError;
use super::webhook::{HookError, Webhook};

/// Why a receiver has not taken an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryError {
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
}

impl DeliveryError {
    /// How long the receiver wants to be left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Hook(HookError::Status { wait, .. }) => *wait,
            _ => None,
        }
    }

    /// Whether the receiver wants nothing more.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(self, Self::Hook(HookError::Gone))
    }

    /// Whether the event cannot be taken, however often it is sent, until somebody changes something.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self, Self::Broker(BrokerError::Session(SessionError::TooLarge { .. })))
    }
}

/// Somebody who is told what has happened.
#[derive(Debug)]
pub(super) struct Receiver {
    way: Way,
    /// How long it may take to take an event.
    patience: Duration,
}

#[derive(Debug)]
enum Way {
    Webhook(Box<Webhook>),
    Broker(Box<Broker>),
}

impl Receiver {
    pub(super) fn webhook(webhook: Webhook, patience: Duration) -> Self {
        Self { way: Way::Webhook(Box::new(webhook)), patience }
    }

    pub(super) fn broker(broker: Broker, patience: Duration) -> Self {
        Self { way: Way::Broker(Box::new(broker)), patience }
    }

    /// Sends an event, at this time in seconds; `Ok` if it was taken.
    ///
    /// A connection on which no answer has come is not kept: what comes later would be taken for the answer to another event.
    pub(super) async fn deliver(
        &mut self,
        event: &CloudEvent,
        seconds: i64,
    ) -> Result<(), DeliveryError> {
        let way = &mut self.way;
        let sent = async {
            match way {
                Way::Webhook(webhook) => Ok(webhook.send(event, seconds).await?),
                Way::Broker(broker) => Ok(broker.send(event).await?),
            }
        };
        timeout(self.patience, sent).await.unwrap_or(Err(DeliveryError::Silent(self.patience)))
    }

    /// Ends a connection that is not needed for long. Nothing comes of it where none is.
    pub(super) async fn rest(&mut self) {
        match &mut self.way {
            Way::Webhook(_) => std::future::pending().await,
            Way::Broker(broker) => broker.rest().await,
        }
    }
}
