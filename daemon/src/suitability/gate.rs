//! Whether the user of the gate can read what the gate needs, and is nobody else. The gate itself would only say so when it
//! is started, one file at a time.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use config::{Config, Doubt, GATE_USER};
use nix::unistd::{Gid, Group, User, getgrouplist};

/// Users with a smaller number are the system's.
const FIRST_PERSON: u32 = 1000;

/// What is probably not meant of the gate's user and its files.
pub(super) fn doubts(config: &Config) -> Vec<Doubt> {
    let gate = &config.gate;
    if gate.listen.is_none() {
        return Vec::new();
    }
    let name = gate.user.as_deref().unwrap_or(GATE_USER);
    let Some(user) = User::from_name(name).ok().flatten() else {
        let what = format!("there is no user {name:?}, so the station takes nobody for its gate");
        return vec![config.doubt("gate.user", what)];
    };
    let mut doubts = Vec::new();
    if user.uid.as_raw() >= FIRST_PERSON && signs_in(&user.shell) {
        let what = format!(
            "{name:?} can sign in at this machine; whatever this user asks of the station is taken for the gate's"
        );
        doubts.push(config.doubt("gate.user", what));
    }
    let reader = Reader::of(&user, config.control.view_group.as_deref());
    let mut files = vec![
        ("gate.accounts", gate.accounts.as_deref()),
        ("gate.certificate", gate.certificate.as_deref()),
        ("gate.key", gate.key.as_deref()),
    ];
    for hook in &gate.webhooks {
        files.push(("[[gate.webhooks]] secret", Some(&hook.secret)));
        files.push(("[[gate.webhooks]] ca", hook.ca.as_deref()));
    }
    for broker in &gate.brokers {
        files.push(("[[gate.brokers]] password", broker.password.as_deref()));
        files.push(("[[gate.brokers]] ca", broker.ca.as_deref()));
        files.push(("[[gate.brokers]] certificate", broker.certificate.as_deref()));
        files.push(("[[gate.brokers]] key", broker.key.as_deref()));
    }
    for (key, file) in files {
        let Some((file, closed)) = file.and_then(|file| Some((file, reader.closed(file)?))) else {
            continue;
        };
        let what = match closed == file {
            true => format!("{name:?} may not read {}, by its mode", file.display()),
            false => format!(
                "{name:?} may not read {}, by the mode of {}",
                file.display(),
                closed.display()
            ),
        };
        doubts.push(config.doubt(key, what));
    }
    doubts
}

/// Whether a shell lets somebody in.
fn signs_in(shell: &Path) -> bool {
    !matches!(shell.file_name().and_then(|name| name.to_str()), Some("nologin" | "false") | None)
}

/// Somebody who reads files, as far as modes tell; lists of access are not looked at.
struct Reader {
    uid: u32,
    groups: Vec<u32>,
}

impl Reader {
    /// The gate's unit also has the group that may look at the station.
    fn of(user: &User, view_group: Option<&str>) -> Self {
        let name = CString::new(user.name.clone()).unwrap_or_default();
        let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        let view = view_group.and_then(|name| Group::from_name(name).ok().flatten());
        let groups = groups.into_iter().chain(view.map(|group| group.gid)).map(Gid::as_raw);
        Self { uid: user.uid.as_raw(), groups: groups.collect() }
    }

    /// What on the way to a file, or the file itself, is closed to this reader. What is not there is not closed.
    fn closed(&self, file: &Path) -> Option<PathBuf> {
        let absolute = std::path::absolute(file).ok()?;
        let mut way: Vec<&Path> = absolute.ancestors().collect();
        way.reverse();
        let is_closed = |path: &&Path| {
            let Ok(found) = fs::metadata(path) else { return false };
            let needed = if *path == absolute { 0o4 } else { 0o1 };
            let shift = match found.uid() == self.uid {
                true => 6,
                false if self.groups.contains(&found.gid()) => 3,
                false => 0,
            };
            (found.mode() >> shift) & needed == 0
        };
        way.into_iter()
            .find(is_closed)
            .map(|closed| if closed == absolute { file.to_owned() } else { closed.to_owned() })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of the test")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_keeps_a_reader_out_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("accounts");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let (own, group) = (fs::metadata(&file).unwrap().uid(), fs::metadata(&file).unwrap().gid());
        let closed = |uid, groups: &[u32]| Reader { uid, groups: groups.to_vec() }.closed(&file);
        let (other, none): (u32, &[u32]) = (own + 1, &[]);
        set(folder.path(), 0o711);
        for (mode, owner, member, stranger) in
            [(0o600, true, false, false), (0o640, true, true, false), (0o004, false, false, true)]
        {
            set(&file, mode);
            assert_eq!(closed(own, none).is_none(), owner, "{mode:o}");
            assert_eq!(closed(other, &[group]).is_none(), member, "{mode:o}");
            assert_eq!(closed(other, none).is_none(), stranger, "{mode:o}");
        }
        set(folder.path(), 0o700);
        assert_eq!(closed(other, none), Some(folder.path().to_owned()), "a folder on the way");
        assert_eq!(Reader { uid: other, groups: vec![] }.closed(Path::new("/no/such/file")), None);
    }

    #[test]
    fn who_signs_in_has_a_shell() {
        for (shell, expected) in
            [("/bin/bash", true), ("/usr/sbin/nologin", false), ("/bin/false", false)]
        {
            assert_eq!(signs_in(Path::new(shell)), expected, "{shell}");
        }
    }
}
