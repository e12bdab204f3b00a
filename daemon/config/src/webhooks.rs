//! Where the gate tells others what has happened: `[[gate.webhooks]]`.

use std::net::IpAddr;
use std::path::PathBuf;

use model::units::Period;
use serde::Deserialize;

use super::Config;
use super::check::{Wrong, pattern};
use super::error::Mistake;

/// What the events are called that a receiver may be told of.
const EVENTS: [&str; 25] = [
    "record.closed",
    "armed",
    "disarmed",
    "image.asked",
    "retry.asked",
    "stop.asked",
    "press.asked",
    "verdict.released",
    "master.removed",
    "order.add",
    "order.hold",
    "order.resume",
    "order.approve",
    "order.close",
    "order.quantity",
    "order.release",
    "order.scanned",
    "scans.forgotten",
    "offer.changed",
    "media.accepted",
    "label.printed",
    "ledger.backed.up",
    "log.begun",
    "tables.sealed",
    "log.unreadable",
];

/// `[[gate.webhooks]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are explained in `keys`")]
pub struct Webhook {
    pub name: String,
    pub url: String,
    /// A file.
    pub secret: PathBuf,
    /// Glob patterns; all kinds of events if empty.
    #[serde(default)]
    pub events: Vec<String>,
    /// A file.
    pub ca: Option<PathBuf>,
    #[serde(default = "patience")]
    pub timeout: Period,
    #[serde(default)]
    pub history: bool,
}

/// How long a receiver may take unless the configuration says another time.
pub(super) fn patience() -> Period {
    Period::seconds(15)
}

/// Whether a name can also be the name of a file and a label of a metric.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&name.len()) && name.chars().all(fits)
}

/// What is wrong with the address of a receiver, and what to write.
fn address(url: &str) -> Result<(), &'static str> {
    let (rest, is_plain) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return Err("write an address that begins with https://"),
    };
    if url.contains(['#', ' ', '\\']) || url.contains(char::is_control) {
        return Err("write it without blanks and without #");
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("write it without a name and a password; the receiver knows us by the secret");
    }
    let is_here = is_local(host)?;
    if is_plain && !is_here {
        return Err("write https://; without it everybody on the way reads what is sent");
    }
    Ok(())
}

/// Whether a host, perhaps with a port, is this machine; or what to write if it is no host.
pub(super) fn is_local(host: &str) -> Result<bool, &'static str> {
    let (bare, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((bare, port)) => (bare, port.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((bare, port)) => (bare, Some(port)),
            None => (host, None),
        },
    };
    if bare.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(
            "write a name or an address, and a port behind a colon if it is not the usual one",
        );
    }
    let is_here = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    Ok(is_here)
}

/// Checks which events a receiver wants; `at` is its table with the index: `gate.webhooks.1`.
pub(super) fn check_events(key: &'static str, at: &str, texts: &[String]) -> Result<(), Wrong> {
    for (number, text) in texts.iter().enumerate() {
        let at = format!("{at}.events.{number}");
        let wanted = pattern(key, at.clone(), text)?;
        if !EVENTS.iter().any(|event| wanted.matches(event)) {
            let what = format!("no event is called {text:?}, so nothing would be told");
            let hint = "prestaged-gate(7) lists the events; `order.*` is all of orders";
            return Err(Wrong::new(at, Mistake::unusable(key, what, hint)));
        }
    }
    Ok(())
}

impl Config {
    /// Checks what can be known of receivers without their secrets.
    pub(super) fn check_webhooks(&self) -> Result<(), Wrong> {
        let webhooks = &self.gate.webhooks;
        for (index, webhook) in webhooks.iter().enumerate() {
            let wrong = |name: &str, what: String, hint: &str| {
                let key = format!("[[gate.webhooks]] {name}");
                let at = format!("gate.webhooks.{index}.{name}");
                Err(Wrong::new(at, Mistake::unusable(&key, what, hint)))
            };
            if !is_name(&webhook.name) {
                let what = format!("{:?} is not a name", webhook.name);
                return wrong("name", what, "write at most 32 small letters, digits and hyphens");
            }
            if webhooks[..index].iter().any(|other| other.name == webhook.name) {
                let what = format!("two receivers have the name {:?}", webhook.name);
                return wrong("name", what, "give one of them another name, or remove it");
            }
            if let Err(hint) = address(&webhook.url) {
                return wrong("url", format!("{:?} cannot be used", webhook.url), hint);
            }
            let at = format!("gate.webhooks.{index}");
            check_events("[[gate.webhooks]] events", &at, &webhook.events)?;
            if webhook.timeout.0.is_zero() {
                return wrong("timeout", "no receiver answers at once".into(), "write \"15s\"");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_the_events() {
        let manual = include_str!("../../manual/gate.md");
        let table = manual.split_once("| event | tells |").unwrap().1;
        let rows = table.trim_start().lines().skip(1).take_while(|line| line.starts_with('|'));
        let names = rows.filter_map(|row| row.split('|').nth(1));
        let names: Vec<&str> = names.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        assert_eq!(names, EVENTS);
    }

    #[test]
    fn nothing_goes_over_the_network_that_everybody_reads() {
        for good in [
            "https://mes.example/hooks?line=4",
            "https://192.0.2.1:8443",
            "https://[2001:db8::1]:8443/x",
            "http://127.0.0.1:9000/",
            "http://[::1]/x",
            "http://localhost",
        ] {
            assert_eq!(address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "mes.example",
            "ftp://mes.example",
            "http://mes.example/",
            "http://localhost.evil.example/",
            "http://192.0.2.1",
            "https://",
            "https:///x",
            "https://u:p@mes.example",
            "https://mes.example:port/",
            "https://mes.example/#x",
            "https://mes example/",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_receiver_has_a_name_of_its_own() {
        let told = |text: &str| {
            let start = "control.view_socket = \"/x\"\n[gate]\nlisten = \"127.0.0.1:1\"\n";
            let config = Config::from_table(format!("{start}{text}").parse().unwrap());
            config.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let one = "[[gate.webhooks]]\nname = \"mes\"\nurl = \"https://a\"\nsecret = \"/s\"\n";
        assert_eq!(told(one), "");
        assert!(told(&format!("{one}{one}")).contains("two receivers have the name"));
        assert!(told(&one.replace("mes", "../mes")).contains("is not a name"));
        assert!(told(&format!("{one}events = [\"order.[\"]")).contains("events"));
        assert!(told(&format!("{one}timeout = \"0s\"")).contains("timeout"));
        assert!(told(&one.replace("https", "http")).contains("url"));
    }
}
