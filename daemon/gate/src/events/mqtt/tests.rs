//! What answers of a broker mean, and what it hears.

use mqtt_protocol_core::mqtt::packet::{
    MaximumPacketSize, MaximumQos, ReasonString, ServerKeepAlive,
};
use tokio::io::DuplexStream;

use super::*;

fn connack(code: ConnectReasonCode, props: Vec<Property>) -> Packet {
    let packet = v5_0::Connack::builder().session_present(false).reason_code(code);
    packet.props(props).build().unwrap().into()
}

fn puback(code: Option<PubackReasonCode>) -> Packet {
    let packet = v5_0::Puback::builder().packet_id(1);
    match code {
        Some(code) => packet.reason_code(code).build().unwrap().into(),
        None => packet.build().unwrap().into(),
    }
}

fn disconnect(code: DisconnectReasonCode) -> Packet {
    let said = ReasonString::new("see you").unwrap();
    let packet = v5_0::Disconnect::builder().reason_code(code);
    packet.props(vec![said.into()]).build().unwrap().into()
}

#[test]
fn only_an_acknowledgement_with_success_is_one() {
    use PubackReasonCode::{
        ImplementationSpecificError, NoMatchingSubscribers, NotAuthorized, PacketIdentifierInUse,
        PayloadFormatInvalid, QuotaExceeded, Success, TopicNameInvalid, UnspecifiedError,
    };
    for taken in [None, Some(Success), Some(NoMatchingSubscribers)] {
        assert!(judge(&puback(taken)).is_ok(), "{taken:?}");
    }
    for not in [
        UnspecifiedError,
        ImplementationSpecificError,
        NotAuthorized,
        TopicNameInvalid,
        PacketIdentifierInUse,
        QuotaExceeded,
        PayloadFormatInvalid,
    ] {
        let error = judge(&puback(Some(not))).unwrap_err();
        assert!(matches!(error, SessionError::NotTaken(_)), "{not:?}");
    }
    let error = judge(&puback(Some(NotAuthorized))).unwrap_err().to_string();
    assert_eq!(error, "the broker does not take it: not authorized (0x87)");
    let error = judge(&disconnect(DisconnectReasonCode::ServerShuttingDown)).unwrap_err();
    let told = "the broker ends the connection: server shutting down (0x8b), \"see you\"";
    assert_eq!(error.to_string(), told);
    let other = judge(&connack(ConnectReasonCode::Success, vec![])).unwrap_err();
    assert!(matches!(other, SessionError::Unexpected(PacketType::Connack)), "{other}");
}

#[test]
fn a_broker_says_on_which_terms_it_lets_us_in() {
    let of = |props| terms(&connack(ConnectReasonCode::Success, props));
    assert_eq!(of(vec![]).unwrap(), Terms { most: usize::MAX, idle: IDLE });
    let strict =
        vec![MaximumPacketSize::new(1000).unwrap().into(), ServerKeepAlive::new(7).unwrap().into()];
    let expected = Terms { most: 1000, idle: Duration::from_secs(7) };
    assert_eq!(of(strict).unwrap(), expected);
    let error = of(vec![MaximumQos::new(0).unwrap().into()]).unwrap_err();
    assert!(matches!(error, SessionError::NoAcknowledgements), "{error}");
    for (code, told) in [
        (ConnectReasonCode::BadUserNameOrPassword, "bad user name or password (0x86)"),
        (ConnectReasonCode::Banned, "banned (0x8a)"),
        (ConnectReasonCode::ServerBusy, "server busy (0x89)"),
    ] {
        let error = terms(&connack(code, vec![])).unwrap_err();
        assert_eq!(error.to_string(), format!("the broker does not let us in: {told}"));
    }
    let error = terms(&disconnect(DisconnectReasonCode::NotAuthorized)).unwrap_err();
    assert!(matches!(error, SessionError::Dismissed(_)), "{error}");
}

/// The other end of a session, as a broker has it.
struct Other {
    stream: DuplexStream,
    protocol: Connection<role::Server>,
}

impl Other {
    async fn hear(&mut self) -> Packet {
        let mut byte = [0];
        loop {
            self.stream.read_exact(&mut byte).await.unwrap();
            for event in self.protocol.recv(&mut Cursor::new(&byte[..])) {
                if let Event::NotifyPacketReceived(packet) = event {
                    return packet;
                }
            }
        }
    }

    async fn say(&mut self, packet: Packet) {
        for event in self.protocol.send(packet) {
            if let Event::RequestSendPacket { packet, .. } = event {
                self.stream.write_all(&packet.to_continuous_buffer()).await.unwrap();
            }
        }
    }
}

fn both() -> (Box<dyn Stream>, Other) {
    let (ours, stream) = tokio::io::duplex(1 << 16);
    (Box::new(ours), Other { stream, protocol: Connection::new(Version::V5_0) })
}

const WHO: Introduction<'_> = Introduction {
    client: "prestaged-gate.rack.plant",
    user: Some("rack"),
    password: Some(b"secret"),
    patience: Duration::from_secs(15),
};

fn event(body: &[u8]) -> CloudEvent {
    let (kind, station) = ("order.approve".to_owned(), "rack".to_owned());
    CloudEvent { id: "x:1".into(), kind, station, body: body.to_vec() }
}

#[tokio::test]
async fn an_event_is_published_as_it_should_be() {
    let (ours, mut broker) = both();
    let broker = tokio::spawn(async move {
        let Packet::V5_0Connect(connect) = broker.hear().await else { panic!("no CONNECT") };
        assert!(connect.clean_start() && !connect.will_flag());
        assert_eq!(connect.client_id(), WHO.client);
        assert_eq!((connect.user_name(), connect.password()), (WHO.user, WHO.password));
        assert_eq!(connect.keep_alive(), 45);
        let most = MaximumPacketSize::new(200).unwrap().into();
        broker.say(connack(ConnectReasonCode::Success, vec![most])).await;
        for _ in 0..2 {
            let Packet::V5_0Publish(publish) = broker.hear().await else { panic!("no PUBLISH") };
            assert_eq!((publish.qos(), publish.retain()), (Qos::AtLeastOnce, false));
            assert_eq!(publish.topic_name(), "plant/order.approve");
            let kind = Property::ContentType(ContentType::new(KIND).unwrap());
            assert_eq!(publish.props(), &vec![kind]);
            assert_eq!(publish.payload().as_slice(), b"{}");
            let answer = v5_0::Puback::builder().packet_id(publish.packet_id().unwrap());
            broker.say(answer.build().unwrap().into()).await;
        }
        assert!(matches!(broker.hear().await, Packet::V5_0Disconnect(_)));
        assert_eq!(broker.stream.read(&mut [0]).await.unwrap(), 0, "nothing after it");
    });
    let mut session = Session::begin(ours, &WHO).await.unwrap();
    for _ in 0..2 {
        session.publish("plant/order.approve", &event(b"{}")).await.unwrap();
        session = session.still().await.unwrap();
    }
    let error = session.publish("plant/order.approve", &event(&[b' '; 200])).await.unwrap_err();
    assert!(matches!(error, SessionError::TooLarge { most: 200, size: 201.. }), "{error}");
    session.leave().await;
    broker.await.unwrap();
}

#[tokio::test]
async fn what_is_no_answer_to_the_event_is_none() {
    for answer in [
        // A PUBACK to something else, one that is cut off, one without reason, PINGRESP, a length without end.
        &[0x40_u8, 2, 0, 9][..],
        &[0x40, 2, 0],
        &[0x40, 3, 0, 1, 0x42],
        &[0xd0, 0],
        &[0x40, 0xff, 0xff, 0xff, 0xff, 0xff],
        // 256 MiB are announced.
        &[0x40, 0xff, 0xff, 0xff, 0x7f, 0, 1],
        &[0xe0, 1, 0x8b],
        &[0xe0, 0],
        &[],
    ] {
        let (ours, mut broker) = both();
        let broker = tokio::spawn(async move {
            broker.hear().await;
            broker.say(connack(ConnectReasonCode::Success, vec![])).await;
            broker.hear().await;
            broker.stream.write_all(answer).await.unwrap();
        });
        let mut session = Session::begin(ours, &WHO).await.unwrap();
        let error = session.publish("a/b", &event(b"{}")).await.unwrap_err();
        assert!(!error.to_string().is_empty());
        broker.await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_the_broker_has_ended_is_not_used_again() {
    for farewell in [&[0xe0_u8, 1, 0x8b][..], &[]] {
        let (ours, mut broker) = both();
        let broker = tokio::spawn(async move {
            broker.hear().await;
            broker.say(connack(ConnectReasonCode::Success, vec![])).await;
            broker.stream.write_all(farewell).await.unwrap();
        });
        let session = Session::begin(ours, &WHO).await.unwrap();
        broker.await.unwrap();
        assert!(session.still().await.is_none());
    }
}
