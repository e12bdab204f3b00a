//! Users and groups of this machine, by name.

use model::account::Account;
use model::hint::Hint;
use nix::unistd::{Group, User, geteuid};

/// The account of workers unless `tools.user` names another; the package creates it.
const WORKER: &str = "prestaged";
/// The account of workers where the package is not installed.
const FALLBACK: &str = "nobody";

/// A user or group, named in the configuration, that the machine does not have.
#[derive(Debug, thiserror::Error)]
#[error("{key}: there is no {kind} {name:?} on this machine")]
pub struct NoAccount {
    key: &'static str,
    kind: &'static str,
    name: String,
}

impl Hint for NoAccount {
    fn hint(&self) -> Option<String> {
        let make = match self.kind {
            "group" => "groupadd --system",
            _ => "useradd --system",
        };
        Some(format!(
            "make it with `{make} {}`, or set {} to one that is there",
            self.name, self.key
        ))
    }
}

/// The account for workers; `None` if the station is not root, because then workers can only run as the station does.
///
/// # Errors
/// [`NoAccount`] if the machine does not have the configured user, or none of the default ones.
pub fn for_workers(configured: Option<&str>) -> Result<Option<Account>, NoAccount> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let find = |name: &str| User::from_name(name).ok().flatten();
    let found = match configured {
        Some(name) => find(name),
        None => find(WORKER).or_else(|| find(FALLBACK)),
    };
    let account = found.map(|user| Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() });
    let name = || configured.unwrap_or(FALLBACK).to_owned();
    let missing = || NoAccount { key: "tools.user", kind: "user", name: name() };
    account.ok_or_else(missing).map(Some)
}

/// The number of the group that the configuration names under `key`.
///
/// # Errors
/// [`NoAccount`] if the machine does not have the group.
pub fn group(key: &'static str, name: &str) -> Result<u32, NoAccount> {
    let found = Group::from_name(name).ok().flatten();
    let missing = || NoAccount { key, kind: "group", name: name.to_owned() };
    found.map(|group| group.gid.as_raw()).ok_or_else(missing)
}
