//! Entries of the log as CloudEvents 1.0 (cloudevents.io), in their JSON format.

use model::api::evidence::{LogEntry, Said};
use serde_json::{Value, json};
use uuid::Uuid;
use wire::client::segment;

/// What a body with an event is.
pub(super) const KIND: &str = "application/cloudevents+json; charset=utf-8";

/// An event, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CloudEvent {
    /// What tells it from any other; the same whenever it is sent.
    pub(super) id: String,
    /// What receivers choose by: `record.closed`, `order.approve`.
    pub(super) kind: String,
    /// Where it happened.
    pub(super) station: String,
    pub(super) body: Vec<u8>,
}

/// What an entry tells of, as receivers choose by it.
pub(super) fn kind(said: &Said) -> String {
    match said {
        Said::Record(_) => "record.closed".to_owned(),
        Said::Event(event) => event.kind.replace('_', "."),
        Said::Unreadable(_) => "log.unreadable".to_owned(),
    }
}

impl CloudEvent {
    /// An entry of this ledger's log.
    pub(super) fn of(station: &str, ledger: Uuid, entry: &LogEntry) -> Self {
        let kind = kind(&entry.said);
        let id = format!("{ledger}:{}", entry.seq);
        let (subject, time, data) = match &entry.said {
            Said::Record(record) => {
                let subject = record.serial.as_ref().map(|serial| serial.as_str().to_owned());
                let subject = subject.unwrap_or_else(|| record.job.to_string());
                (Some(subject), record.closed, json!(record))
            }
            Said::Event(event) => {
                let mut about = ["number", "serial", "media", "job"].iter();
                let about = about.find_map(|name| event.detail[*name].as_str().map(str::to_owned));
                (about, Some(event.at), json!(event))
            }
            Said::Unreadable(why) => (None, None, json!({ "why": why })),
        };
        let mut event = json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/stations/{}", segment(station)),
            "type": format!("prestaged.{kind}.v1"),
            "datacontenttype": "application/json",
            // As an extension of CloudEvents has it: texts that sort as the entries do.
            "sequence": format!("{:020}", entry.seq),
            "data": data,
        });
        if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
            event["subject"] = Value::from(subject);
        }
        if let Some(time) = time {
            // As in records.
            event["time"] = Value::from(format!("{time:.3}"));
        }
        Self {
            id,
            kind,
            station: station.to_owned(),
            body: serde_json::to_vec(&event).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::api::evidence::Happening;

    use super::*;

    fn entry(said: Said) -> LogEntry {
        LogEntry { seq: 7, said, envelope: Value::Null }
    }

    #[test]
    fn an_event_has_what_the_specification_asks_for() {
        let at = "2026-11-26T08:00:00Z".parse().unwrap();
        let detail = json!({ "number": "4711", "uid": 0 });
        let happening =
            Happening { kind: "order_approve".into(), at, operator: Some("anna".into()), detail };
        let ledger = Uuid::from_u128(1);
        let event = CloudEvent::of("rack 1", ledger, &entry(Said::Event(happening)));
        assert_eq!(event.kind, "order.approve");
        let body: Value = serde_json::from_slice(&event.body).unwrap();
        let expected = json!({
            "specversion": "1.0",
            "id": "00000000-0000-0000-0000-000000000001:7",
            "source": "/stations/rack%201",
            "type": "prestaged.order.approve.v1",
            "subject": "4711",
            "time": "2026-11-26T08:00:00.000Z",
            "datacontenttype": "application/json",
            "sequence": "00000000000000000007",
            "data": {
                "kind": "order_approve", "at": "2026-11-26T08:00:00Z", "operator": "anna",
                "detail": { "number": "4711", "uid": 0 },
            },
        });
        assert_eq!(body, expected);
        // What cannot be read is told as that, so that nobody takes it for nothing.
        let event = CloudEvent::of("r", ledger, &entry(Said::Unreadable("why".into())));
        assert_eq!(
            (event.kind.as_str(), &*event.id),
            ("log.unreadable", body["id"].as_str().unwrap())
        );
    }
}
