//! Users and groups of this machine, by name.

use model::account::Account;
use model::hint::Hint;
use nix::unistd::{Group, User, geteuid};

/// The account of workers unless `tools.user` names another; the package creates it.
const WORKER: &str = "prestaged";
/// The account of workers where the package is not installed.
const FALLBACK: &str = "nobody";

/// A user or group, named in the configuration, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The machine does not have it.
    #[error("there is no {kind} {name:?} on this machine")]
    #[expect(missing_docs, reason = "the message says it")]
    Missing { key: &'static str, kind: &'static str, name: String },
    /// Media comes from outside: who reads it must have nothing to give away.
    #[error("{name:?} may do what media must not: it {why}")]
    #[expect(missing_docs, reason = "the message says it")]
    Powerful { name: String, why: &'static str },
}

impl AccountError {
    /// The key of the configuration that names the account.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Missing { key, .. } => key,
            Self::Powerful { .. } => "tools.user",
        }
    }
}

impl Hint for AccountError {
    fn hint(&self) -> Option<String> {
        let (kind, name, key) = match self {
            Self::Powerful { .. } => {
                return Some(format!(
                    "leave tools.user out, or name a user without rights, such as {FALLBACK:?}"
                ));
            }
            Self::Missing { key, kind, name } => (kind, name, key),
        };
        let make = match *kind {
            "group" => "groupadd --system",
            _ => "useradd --system",
        };
        Some(format!("make it with `{make} {name}`, or set {key} to one that is there"))
    }
}

/// The account for workers; `None` if the station is not root, because then workers can only run as the station does.
/// Members of the group `control` may command the station.
///
/// # Errors
/// [`AccountError`] if the machine does not have the configured user, or none of the default ones, or if that has rights.
pub fn for_workers(
    configured: Option<&str>,
    control: Option<u32>,
) -> Result<Option<Account>, AccountError> {
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
    let missing = || AccountError::Missing { key: "tools.user", kind: "user", name: name() };
    let account = account.ok_or_else(missing)?;
    let why = match account {
        Account { uid: 0, .. } => "is root",
        Account { gid: 0, .. } => "belongs to the group of root",
        Account { gid, .. } if Some(gid) == control => "belongs to control.group",
        _ => return Ok(Some(account)),
    };
    Err(AccountError::Powerful { name: name(), why })
}

/// The number of the group that the configuration names under `key`.
///
/// # Errors
/// [`AccountError`] if the machine does not have the group.
pub fn group(key: &'static str, name: &str) -> Result<u32, AccountError> {
    let found = Group::from_name(name).ok().flatten();
    let missing = || AccountError::Missing { key, kind: "group", name: name.to_owned() };
    found.map(|group| group.gid.as_raw()).ok_or_else(missing)
}
