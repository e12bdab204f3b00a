//! What of the gate's configuration cannot work, or would open the station to whoever comes along.

use std::net::SocketAddr;

use super::check::Wrong;
use super::{Config, Gate};

/// The user as whom the gate runs, unless the configuration names another.
pub const GATE_USER: &str = "prestaged-gate";

impl Gate {
    /// The address on which it listens; `None` if it does not.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.as_deref().and_then(|text| text.parse().ok())
    }
}

impl Config {
    pub(super) fn check_gate(&self) -> Result<(), Wrong> {
        let gate = &self.gate;
        let Some(listen) = &gate.listen else { return Ok(()) };
        let Some(address) = gate.address() else {
            let what = format!("{listen:?} is not an address with a port");
            return Err(Wrong::value("gate.listen", &what, "write for example \"127.0.0.1:8480\""));
        };
        if gate.certificate.is_some() != gate.key.is_some() {
            let (key, other) = match gate.key {
                Some(_) => ("gate.key", "gate.certificate"),
                None => ("gate.certificate", "gate.key"),
            };
            let hint = format!("set {other}, too, or neither");
            return Err(Wrong::value(key, "a certificate and its key go together", &hint));
        }
        if !address.ip().is_loopback() && gate.certificate.is_none() {
            let what =
                format!("{address} can be reached from other machines, without a certificate");
            let hint = "set gate.certificate and gate.key, or listen on 127.0.0.1";
            return Err(Wrong::value("gate.listen", &what, hint));
        }
        if self.control.view_socket.is_none() {
            let what =
                "the gate looks at the station through control.view_socket, which is not set";
            let hint = "set control.view_socket, for example \"/run/prestaged/view.sock\"";
            return Err(Wrong::value("gate.listen", what, hint));
        }
        if gate.arming && !gate.operate {
            let hint = "set gate.operate = true, too";
            return Err(Wrong::value("gate.arming", "arming is a way of operating", hint));
        }
        let host = |name: &&String| !name.is_empty() && !name.contains(['/', ':', '@', ' ']);
        if let Some(name) = gate.hosts.iter().find(|name| !host(name)) {
            let what = format!("{name:?} is not a host name");
            return Err(Wrong::value("gate.hosts", &what, "write it without scheme and port"));
        }
        let origin = |text: &&String| {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '@', ' ', '?', '#']))
        };
        if let Some(text) = gate.origins.iter().find(|text| !origin(text)) {
            let what = format!("{text:?} is not an origin");
            let hint = "write scheme, name and, if it is not the usual one, port: \"https://rack.example\"";
            return Err(Wrong::value("gate.origins", &what, hint));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn mistake(text: &str) -> Option<String> {
        let text = format!("control.view_socket = \"/x\"\n[gate]\n{text}");
        Config::from_table(text.parse().unwrap()).err().map(|error| error.to_string())
    }

    #[test]
    fn nothing_is_opened_to_the_network_without_a_certificate() {
        for good in [
            "",
            "listen = \"127.0.0.1:8480\"",
            "listen = \"[::1]:8480\"",
            "listen = \"0.0.0.0:443\"\ncertificate = \"/c\"\nkey = \"/k\"",
            "listen = \"127.0.0.1:1\"\norigins = [\"https://rack.example:8443\"]\nhosts = [\"rack.example\"]",
        ] {
            assert_eq!(mistake(good), None, "{good}");
        }
        for (bad, key) in [
            ("listen = \"0.0.0.0:8480\"", "gate.listen"),
            ("listen = \"192.0.2.1:8480\"", "gate.listen"),
            ("listen = \"[::]:8480\"", "gate.listen"),
            ("listen = \"localhost:8480\"", "gate.listen"),
            ("listen = \"8480\"", "gate.listen"),
            ("listen = \"127.0.0.1:1\"\ncertificate = \"/c\"", "gate.certificate"),
            ("listen = \"127.0.0.1:1\"\nkey = \"/k\"", "gate.key"),
            ("listen = \"127.0.0.1:1\"\narming = true", "gate.arming"),
            ("listen = \"127.0.0.1:1\"\nhosts = [\"https://x\"]", "gate.hosts"),
            ("listen = \"127.0.0.1:1\"\norigins = [\"rack.example\"]", "gate.origins"),
            ("listen = \"127.0.0.1:1\"\norigins = [\"https://x/\"]", "gate.origins"),
        ] {
            let told = mistake(bad).unwrap_or_else(|| panic!("{bad} is taken"));
            assert!(told.contains(key), "{bad}: {told}");
        }
        let none = "[gate]\nlisten = \"127.0.0.1:1\"".parse().unwrap();
        assert!(Config::from_table(none).is_err(), "without a socket to look through");
    }
}
