//! A session with an MQTT broker (MQTT 5.0, docs.oasis-open.org/mqtt/mqtt/v5.0): one event at a time is published with QoS 1.
//! It begins clean and leaves nothing at the broker; what was not acknowledged is in the ledger's log.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{ContentType, GenericPacketTrait as _, Packet, PacketType};
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, DisconnectReasonCode, MqttError, PubackReasonCode,
};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::cloud::{CloudEvent, KIND};
use super::peer::Stream;

/// A larger packet is nothing that a broker has to say to us.
const LARGEST: u32 = 64 << 10;
/// So much of what a broker says for people is passed on.
const SAID: usize = 200;
/// A connection on which nothing is published is kept for so long.
const IDLE: Duration = Duration::from_secs(30);
/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(2);

/// Why a broker has not taken an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("MQTT is not spoken there as it should be")]
    Protocol(#[from] MqttError),
    #[error("the broker sends {0}, which nobody asked for")]
    Unexpected(PacketType),
    #[error("the broker does not let us in: {0}")]
    Refused(String),
    #[error("the broker acknowledges nothing (its maximum QoS is 0)")]
    NoAcknowledgements,
    #[error("the broker does not take it: {0}")]
    NotTaken(String),
    #[error("the broker ends the connection: {0}")]
    Dismissed(String),
    #[error(
        "the packet has {size} bytes, and the broker takes at most {most} (its maximum packet size)"
    )]
    TooLarge { size: usize, most: usize },
}

/// A reason of the protocol, in words: `BadUserNameOrPassword` and 0x86 are `bad user name or password (0x86)`.
fn reason(code: impl fmt::Debug, number: u8, props: &[Property]) -> String {
    let mut words = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    let said = props.iter().find_map(|prop| match prop {
        Property::ReasonString(said) => Some(said.val().chars().take(SAID).collect::<String>()),
        _ => None,
    });
    let said = said.map(|said| format!(", {said:?}")).unwrap_or_default();
    format!("{words} (0x{number:02x}){said}")
}

/// As whom we come.
pub(super) struct Introduction<'a> {
    pub(super) client: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a [u8]>,
    /// How long an acknowledgement may take.
    pub(super) patience: Duration,
}

impl Introduction<'_> {
    fn packet(&self) -> Result<v5_0::Connect, MqttError> {
        // Whoever is silent for longer is taken for dead. We leave before that, so nothing has to be sent in between.
        let alive = IDLE.saturating_add(self.patience).as_secs();
        let mut connect = v5_0::Connect::builder()
            .client_id(self.client)?
            .clean_start(true)
            .keep_alive(u16::try_from(alive).unwrap_or(u16::MAX));
        if let Some(user) = self.user {
            connect = connect.user_name(user)?;
        }
        if let Some(password) = self.password {
            connect = connect.password(password.to_vec())?;
        }
        connect.build()
    }
}

/// What a broker has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    /// The size of the largest packet that it takes.
    most: usize,
    /// How long it bears silence.
    idle: Duration,
}

/// A session with a broker that has let us in.
pub(super) struct Session {
    stream: Box<dyn Stream>,
    protocol: Connection<role::Client>,
    /// What has come and nobody has looked at.
    come: VecDeque<Packet>,
    terms: Terms,
    used: Instant,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a session over a new connection.
    pub(super) async fn begin(
        stream: Box<dyn Stream>,
        who: &Introduction<'_>,
    ) -> Result<Self, SessionError> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(LARGEST);
        let mut session = Self {
            stream,
            protocol: Connection::with_options(Version::V5_0, options),
            come: VecDeque::new(),
            terms: Terms { most: usize::MAX, idle: IDLE },
            used: Instant::now(),
        };
        let events = session.protocol.checked_send(who.packet()?);
        session.act(events).await?;
        session.terms = terms(&session.next().await?)?;
        Ok(session)
    }

    /// Publishes an event; `Ok` if the broker has taken it.
    pub(super) async fn publish(
        &mut self,
        topic: &str,
        event: &CloudEvent,
    ) -> Result<(), SessionError> {
        let packet = v5_0::Publish::builder()
            .topic_name(topic)?
            .qos(Qos::AtLeastOnce)
            .retain(false)
            .packet_id(self.protocol.acquire_packet_id()?)
            .props(vec![Property::ContentType(ContentType::new(KIND)?)])
            .payload(event.body.as_slice())
            .build()?;
        let (size, most) = (packet.size(), self.terms.most);
        if size > most {
            return Err(SessionError::TooLarge { size, most });
        }
        let events = self.protocol.checked_send(packet);
        self.act(events).await?;
        judge(&self.next().await?)?;
        self.used = Instant::now();
        Ok(())
    }

    /// Until when it is kept.
    pub(super) fn until(&self) -> Instant {
        self.used + self.terms.idle
    }

    /// The session, if the broker keeps it too.
    pub(super) async fn still(mut self) -> Option<Self> {
        if Instant::now() >= self.until() {
            return None;
        }
        // Whatever it says now, or that it is gone, is a farewell.
        let mut byte = [0];
        let said = timeout(Duration::ZERO, self.stream.read(&mut byte)).await;
        said.is_err().then_some(self)
    }

    /// Ends it.
    pub(super) async fn leave(mut self) {
        if let Ok(packet) = v5_0::Disconnect::builder().build() {
            let events = self.protocol.checked_send(packet);
            // If nobody hears it, the end of the connection says the same.
            let _ = timeout(LEAVE, self.act(events)).await;
            let _ = timeout(LEAVE, self.stream.shutdown()).await;
        }
    }

    /// The next packet of the broker.
    async fn next(&mut self) -> Result<Packet, SessionError> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(packet) = self.come.pop_front() {
                return Ok(packet);
            }
            let count = self.stream.read(&mut bytes).await?;
            if count == 0 {
                return Err(SessionError::Closed);
            }
            let mut cursor = Cursor::new(&bytes[..count]);
            while cursor.position() < count as u64 {
                let events = self.protocol.recv(&mut cursor);
                self.act(events).await?;
            }
        }
    }

    /// Does what the protocol asks for.
    async fn act(&mut self, events: Vec<Event>) -> Result<(), SessionError> {
        let mut wrong = None;
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.stream.write_all(&packet.to_continuous_buffer()).await?;
                    self.stream.flush().await?;
                }
                Event::NotifyPacketReceived(packet) => self.come.push_back(packet),
                Event::NotifyError(error) => wrong = Some(error),
                // Whoever publishes or leaves closes it; there is no time for pings.
                Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::RequestClose => {}
            }
        }
        wrong.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Whether a broker lets us in, and on which terms.
fn terms(answer: &Packet) -> Result<Terms, SessionError> {
    let Packet::V5_0Connack(answer) = answer else { return Err(other(answer)) };
    let (code, props) = (answer.reason_code(), answer.props());
    if code != ConnectReasonCode::Success {
        return Err(SessionError::Refused(reason(code, code as u8, props)));
    }
    let mut terms = Terms { most: usize::MAX, idle: IDLE };
    for prop in props {
        match prop {
            Property::MaximumQos(most) if most.val() == 0 => {
                return Err(SessionError::NoAcknowledgements);
            }
            Property::MaximumPacketSize(most) => {
                terms.most = usize::try_from(most.val()).unwrap_or(usize::MAX);
            }
            Property::ServerKeepAlive(alive) if alive.val() > 0 => {
                terms.idle = IDLE.min(Duration::from_secs(alive.val().into()));
            }
            _ => {}
        }
    }
    Ok(terms)
}

/// Whether an answer means that the event was taken.
fn judge(answer: &Packet) -> Result<(), SessionError> {
    let Packet::V5_0Puback(answer) = answer else { return Err(other(answer)) };
    match answer.reason_code() {
        // Nobody has to listen.
        None | Some(PubackReasonCode::Success | PubackReasonCode::NoMatchingSubscribers) => Ok(()),
        Some(code) => {
            let props = answer.props().as_deref().unwrap_or_default();
            Err(SessionError::NotTaken(reason(code, code as u8, props)))
        }
    }
}

/// What it means that something else has come.
fn other(packet: &Packet) -> SessionError {
    let Packet::V5_0Disconnect(packet) = packet else {
        return SessionError::Unexpected(packet.packet_type());
    };
    let code = packet.reason_code().unwrap_or(DisconnectReasonCode::NormalDisconnection);
    let props = packet.props().as_deref().unwrap_or_default();
    SessionError::Dismissed(reason(code, code as u8, props))
}

#[cfg(test)]
mod tests;
