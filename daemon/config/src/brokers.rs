//! The MQTT brokers that pass on what has happened: `[[gate.brokers]]`.

use std::path::PathBuf;

use model::units::Period;
use serde::Deserialize;

use super::Config;
use super::check::Wrong;
use super::error::Mistake;
use super::webhooks::{check_events, is_local, is_name, patience};

/// A longer beginning of topics is a slip.
const LONGEST: usize = 1024;

/// `[[gate.brokers]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Broker {
    pub name: String,
    pub url: String,
    #[serde(default = "topic")]
    pub topic: String,
    pub user: Option<String>,
    /// A file.
    pub password: Option<PathBuf>,
    /// A file.
    pub ca: Option<PathBuf>,
    /// A file.
    pub certificate: Option<PathBuf>,
    /// A file.
    pub key: Option<PathBuf>,
    /// Glob patterns; all kinds of events if empty.
    #[serde(default)]
    pub events: Vec<String>,
    #[serde(default = "patience")]
    pub timeout: Period,
    #[serde(default)]
    pub history: bool,
}

fn topic() -> String {
    "prestaged".to_owned()
}

impl Broker {
    /// Whether it is reached with TLS.
    pub fn is_private(&self) -> bool {
        self.url.starts_with("mqtts://")
    }
}

/// What is wrong with the address of a broker, and what to write.
fn address(url: &str) -> Result<(), &'static str> {
    let (rest, is_plain) = match (url.strip_prefix("mqtts://"), url.strip_prefix("mqtt://")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return Err("write an address that begins with mqtts://"),
    };
    if rest.contains(['/', '?', '#', ' ', '\\']) || rest.contains(char::is_control) {
        return Err("write only the host and perhaps a port; `topic` says where events go there");
    }
    if rest.contains('@') {
        return Err("write it without a name and a password; these are `user` and `password`");
    }
    let is_here = is_local(rest)?;
    if is_plain && !is_here {
        return Err("write mqtts://; without it everybody on the way reads what is sent");
    }
    Ok(())
}

/// What is wrong with the beginning of topics, and what to write.
fn beginning(topic: &str) -> Result<(), &'static str> {
    if topic.is_empty() || topic.len() > LONGEST {
        return Err("write \"prestaged\", or \"plant/line-4/prestaged\"");
    }
    if topic.contains(['+', '#']) {
        return Err("write it without + and #, with which others subscribe to several topics");
    }
    if topic.contains(char::is_control) {
        return Err("write it without control characters");
    }
    if topic.starts_with('$') {
        return Err("write another; what begins with $ is the broker's own");
    }
    if topic.starts_with('/') || topic.ends_with('/') {
        return Err("write it without a slash at its ends; one follows before the event");
    }
    Ok(())
}

impl Config {
    /// Checks what can be known of brokers without their files.
    pub(super) fn check_brokers(&self) -> Result<(), Wrong> {
        let brokers = &self.gate.brokers;
        for (index, broker) in brokers.iter().enumerate() {
            let wrong = |name: &str, what: String, hint: &str| {
                let key = format!("[[gate.brokers]] {name}");
                let at = format!("gate.brokers.{index}.{name}");
                Err(Wrong::new(at, Mistake::unusable(&key, what, hint)))
            };
            if !is_name(&broker.name) {
                let what = format!("{:?} is not a name", broker.name);
                return wrong("name", what, "write at most 32 small letters, digits and hyphens");
            }
            let mut others = brokers[..index].iter().map(|other| &other.name);
            let mut receivers = self.gate.webhooks.iter().map(|hook| &hook.name);
            if others.any(|name| *name == broker.name) || receivers.any(|name| *name == broker.name)
            {
                let what = format!("two receivers have the name {:?}", broker.name);
                return wrong("name", what, "give one of them another name, or remove it");
            }
            if let Err(hint) = address(&broker.url) {
                return wrong("url", format!("{:?} cannot be used", broker.url), hint);
            }
            if let Err(hint) = beginning(&broker.topic) {
                return wrong("topic", format!("{:?} cannot be used", broker.topic), hint);
            }
            if let Some(user) = &broker.user
                && (user.is_empty() || user.contains(char::is_control))
            {
                return wrong("user", format!("{user:?} is no user"), "write the name, or nothing");
            }
            if broker.password.is_some() && broker.user.is_none() {
                let hint = "write also `user`, whose password it is";
                return wrong("password", "it is the password of nobody".into(), hint);
            }
            if broker.certificate.is_some() != broker.key.is_some() {
                let (name, other) = match broker.key {
                    Some(_) => ("key", "certificate"),
                    None => ("certificate", "key"),
                };
                let hint = format!("write also `{other}`, the file that belongs to it");
                return wrong(name, "it is of no use alone".into(), &hint);
            }
            if !broker.is_private() {
                let unused = [("ca", &broker.ca), ("certificate", &broker.certificate)];
                if let Some((name, _)) = unused.iter().find(|(_, file)| file.is_some()) {
                    let what = "without TLS nobody shows a certificate".to_owned();
                    return wrong(name, what, "write mqtts:// in `url`, or leave this out");
                }
            }
            let at = format!("gate.brokers.{index}");
            check_events("[[gate.brokers]] events", &at, &broker.events)?;
            if broker.timeout.0.is_zero() {
                return wrong("timeout", "no broker answers at once".into(), "write \"15s\"");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_over_the_network_that_everybody_reads() {
        for good in [
            "mqtts://broker.example",
            "mqtts://broker.example:8884",
            "mqtts://192.0.2.1",
            "mqtts://[2001:db8::1]:8883",
            "mqtt://127.0.0.1:1883",
            "mqtt://[::1]",
            "mqtt://localhost",
        ] {
            assert_eq!(address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "broker.example",
            "https://broker.example",
            "mqtt://broker.example",
            "mqtt://localhost.evil.example",
            "mqtt://192.0.2.1",
            "mqtts://",
            "mqtts://:8883",
            "mqtts://u:p@broker.example",
            "mqtts://broker.example:port",
            "mqtts://broker.example/",
            "mqtts://broker.example/prestaged",
            "mqtts://broker example",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_topic_is_one_that_can_be_sent_to() {
        for good in ["prestaged", "plant/line-4/prestaged", "Werk Süd/prestaged", "a$"] {
            assert_eq!(beginning(good), Ok(()), "{good}");
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", "#", "a/+/b", "a\0b", "a\nb", "$SYS/x", "/a", "a/", &long] {
            assert!(beginning(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_broker_is_told_apart_and_can_be_used() {
        let told = |text: &str| {
            let start = "control.view_socket = \"/x\"\n[gate]\nlisten = \"127.0.0.1:1\"\n";
            let config = Config::from_table(format!("{start}{text}").parse().unwrap());
            config.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let one = "[[gate.brokers]]\nname = \"plant\"\nurl = \"mqtts://a\"\n";
        let hook = "[[gate.webhooks]]\nname = \"mes\"\nurl = \"https://a\"\nsecret = \"/s\"\n";
        let all = "user = \"u\"\npassword = \"/p\"\nca = \"/c\"\ncertificate = \"/d\"\nkey = \"/k\"\n\
                   topic = \"a/b\"\nevents = [\"order.*\"]\ntimeout = \"5s\"\nhistory = true\n";
        for good in [one.to_owned(), format!("{one}{all}"), format!("{hook}{one}")] {
            assert_eq!(told(&good), "");
        }
        for (bad, expected) in [
            (format!("{one}{one}"), "two receivers have the name"),
            (format!("{hook}{}", one.replace("plant", "mes")), "[[gate.brokers]] name"),
            (one.replace("plant", "../plant"), "is not a name"),
            (one.replace("mqtts", "mqtt"), "[[gate.brokers]] url"),
            (format!("{one}topic = \"a/#\""), "[[gate.brokers]] topic"),
            (format!("{one}user = \"\""), "[[gate.brokers]] user"),
            (format!("{one}password = \"/p\""), "[[gate.brokers]] password"),
            (format!("{one}certificate = \"/c\""), "[[gate.brokers]] certificate"),
            (format!("{one}key = \"/k\""), "[[gate.brokers]] key"),
            (format!("{one}events = [\"order\"]"), "[[gate.brokers]] events"),
            (format!("{one}timeout = \"0s\""), "[[gate.brokers]] timeout"),
            (format!("{one}ca = \"/c\"").replace("mqtts://a", "mqtt://[::1]"), "without TLS"),
        ] {
            let found = told(&bad);
            assert!(found.contains(expected), "{bad}: {found}");
        }
    }
}
