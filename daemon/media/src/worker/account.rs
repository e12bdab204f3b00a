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
    Powerful { name: String, why: &'static str, key: &'static str },
}

impl AccountError {
    /// The key of the configuration that names the account.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Missing { key, .. } | Self::Powerful { key, .. } => key,
        }
    }
}

impl Hint for AccountError {
    fn hint(&self) -> Option<String> {
        let (kind, name, key) = match self {
            // Nobody has named the user, so what was named is another group than this one's.
            Self::Powerful { name, key: "control.group", .. } => {
                return Some(format!(
                    "workers run as {name:?} unless tools.user names another: name another group in control.group, or \
                     make a user that is in no other group, `useradd --system {WORKER}`"
                ));
            }
            Self::Powerful { name, .. } if name == FALLBACK => {
                return Some(format!(
                    "name a user without rights: `useradd --system {WORKER}` makes the one that is taken where tools.user is left out"
                ));
            }
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
    let missing = || AccountError::Missing {
        key: "tools.user",
        kind: "user",
        name: configured.unwrap_or(FALLBACK).to_owned(),
    };
    let user = found.ok_or_else(missing)?;
    let account = Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
    let Some(why) = power(account, control) else { return Ok(Some(account)) };
    let key = if configured.is_none() && why == CONTROLS { "control.group" } else { "tools.user" };
    Err(AccountError::Powerful { name: user.name, why, key })
}

/// Why an account may do what media must not.
const CONTROLS: &str = "belongs to control.group";

/// What an account may do that media must not.
fn power(account: Account, control: Option<u32>) -> Option<&'static str> {
    match account {
        Account { uid: 0, .. } => Some("is root"),
        Account { gid: 0, .. } => Some("belongs to the group of root"),
        Account { gid, .. } if Some(gid) == control => Some(CONTROLS),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_never_names_what_is_refused() {
        let hint = |name: &str, key| {
            let error = AccountError::Powerful { name: name.into(), why: CONTROLS, key };
            error.hint().unwrap()
        };
        assert!(hint("root", "tools.user").starts_with("leave tools.user out"));
        let refused = hint(FALLBACK, "tools.user");
        assert!(!refused.contains("nobody") && !refused.starts_with("leave"), "{refused}");
        assert!(hint(FALLBACK, "control.group").contains("name another group in control.group"));
    }

    #[test]
    fn accounts_with_power_are_known() {
        let power = |uid, gid| power(Account { uid, gid }, Some(42));
        assert_eq!(power(0, 7), Some("is root"));
        assert_eq!(power(7, 0), Some("belongs to the group of root"));
        assert_eq!(power(7, 42), Some(CONTROLS));
        assert_eq!(power(7, 8), None);
    }
}
