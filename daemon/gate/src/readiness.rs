//! What would end the gate at its start, so that it can be told before: all of it, and with the keys that say so.

use std::error::Error;
use std::io;
use std::path::Path;

use config::{Config, ConfigError};
use model::failure::chain;
use model::hint::Hint as _;

use crate::{GateError, accounts, events, tls};

/// Finds what of the gate's files is missing or cannot be used; nothing where there is no gate.
///
/// What the user who asks may not read is left out: only root and the gate know what is in it.
pub fn mistakes(config: &Config) -> Vec<ConfigError> {
    let gate = &config.gate;
    let mut found = Vec::new();
    if gate.listen.is_none() {
        return found;
    }
    let mut note = |at: &str, key: &str, error: GateError| {
        if rustix::process::geteuid().is_root() || !is_denied(&error) {
            let hint = error.hint().unwrap_or_default();
            found.push(config.mistake_at(at, key, chain(&error), &hint));
        }
    };
    if let Some(error) = gate.accounts.as_deref().and_then(|file| accounts::check(file).err()) {
        note("gate.accounts", "gate.accounts", error.into());
    }
    if let (Some(certificate), Some(key)) = (&gate.certificate, &gate.key) {
        if let Err(error) = accounts::secret(key) {
            note("gate.key", "gate.key", error.into());
        }
        if let Err(error) = tls::check(certificate, key) {
            let is_key = error.file() == Some(key);
            let name = if is_key { "gate.key" } else { "gate.certificate" };
            note(name, name, error.into());
        }
    }
    for events::Unfit { list, index, name, error } in events::check(gate) {
        let at = format!("{list}.{index}.{name}");
        note(&at, &format!("[[{list}]] {name}"), error.into());
    }
    if !(gate.webhooks.is_empty() && gate.brokers.is_empty())
        && let Some((what, hint)) = state(&gate.state)
    {
        found.push(config.mistake_at("gate.state", "gate.state", what, &hint));
    }
    found
}

/// Why the gate cannot remember in this folder what it has told.
fn state(folder: &Path) -> Option<(String, String)> {
    // The unit makes the folder when it starts the gate.
    if folder.is_dir() || (folder == config::Gate::default().state && !folder.exists()) {
        return None;
    }
    let path = folder.display();
    let what = if folder.exists() { "is not a folder" } else { "does not exist" };
    let what = format!(
        "{path} {what}, so nobody can be told what has happened ([[gate.webhooks]], [[gate.brokers]])"
    );
    let hint = format!(
        "make it for the gate's user alone, `install -d -m 700 -o prestaged-gate {path}`, or leave gate.state out"
    );
    Some((what, hint))
}

/// Whether it is only the user who asks that may not read something.
fn is_denied(error: &(dyn Error + 'static)) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(denied) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of the test")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn told(text: &str) -> Vec<String> {
        let text =
            format!("control.view_socket = \"/x\"\n[gate]\nlisten = \"127.0.0.1:1\"\n{text}");
        let config = Config::from_table(text.parse().unwrap()).unwrap();
        let said = |error: &ConfigError| format!("{error}; {}", error.hint().unwrap_or_default());
        mistakes(&config).iter().map(said).collect()
    }

    /// Each row is checked, and each is named beside the others.
    #[test]
    fn all_that_would_end_the_gate_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let write = |name: &str, text: &str, mode| {
            fs::write(at(name), text).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        };
        let hook = format!(
            "[[gate.webhooks]]\nname = \"mes\"\nurl = \"http://127.0.0.1:1/\"\nsecret = {:?}\n",
            at("secret")
        );
        let broker = format!(
            "[[gate.brokers]]\nname = \"plant\"\nurl = \"mqtts://127.0.0.1\"\nuser = \"u\"\npassword = {:?}\nca = {:?}\n",
            at("password"),
            at("ca"),
        );
        let text = format!(
            "accounts = {:?}\nstate = {:?}\ncertificate = {:?}\nkey = {:?}\n{hook}{broker}",
            at("accounts"),
            at("state"),
            at("pem"),
            at("key"),
        );
        let nothing_there = told(&text);
        for (line, start) in nothing_there.iter().zip([
            format!("gate.accounts: cannot read {}: No such file or directory", at("accounts")),
            format!("gate.certificate: cannot read {}: No such file or directory", at("pem")),
            "[[gate.webhooks]] secret: the receiver \"mes\" cannot be told anything: cannot read"
                .into(),
            "[[gate.brokers]] password: the broker \"plant\" cannot be told anything: cannot read"
                .into(),
            "[[gate.brokers]] ca: the receiver \"plant\" cannot be told anything: ".into(),
            format!("gate.state: {} does not exist", at("state")),
        ]) {
            assert!(line.starts_with(&start), "{line}; not {start}");
            assert!(!line.ends_with("; "), "no hint: {line}");
        }
        assert_eq!(nothing_there.len(), 6, "{nothing_there:#?}");
        // Readable to everybody, and of the wrong kind.
        write("accounts", "", 0o644);
        write("secret", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n", 0o604);
        write("pem", "no certificate", 0o600);
        write("key", "no key", 0o604);
        write("state", "", 0o600);
        let wrong = told(&text);
        for expected in [
            format!(
                "gate.accounts: everybody on this machine can read {}; chmod o= ",
                at("accounts")
            ),
            format!("gate.key: everybody on this machine can read {}", at("key")),
            format!("everybody on this machine can read {}", at("secret")),
            format!("gate.state: {} is not a folder", at("state")),
        ] {
            assert!(wrong.iter().any(|line| line.contains(&expected)), "{expected}: {wrong:#?}");
        }
        // All in place.
        write("accounts", "# nobody yet\n", 0o600);
        write("secret", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n", 0o600);
        fs::remove_file(at("state")).unwrap();
        fs::create_dir(at("state")).unwrap();
        write("password", "secret\n", 0o600);
        let broker = format!(
            "[[gate.brokers]]\nname = \"plant\"\nurl = \"mqtt://[::1]\"\nuser = \"u\"\npassword = {:?}\n",
            at("password"),
        );
        let right =
            format!("accounts = {:?}\nstate = {:?}\n{hook}{broker}", at("accounts"), at("state"));
        assert_eq!(told(&right), Vec::<String>::new());
        assert_eq!(told(""), Vec::<String>::new());
    }
}
