//! Who may sign in: a file with a line for each, `NAME ROLE HASH`, where the hash is argon2id's.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use model::hint::Hint;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// What somebody may do; each may do what those before it may.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    clap::ValueEnum,
    strum::Display,
    strum::EnumString,
)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Look.
    View,
    /// Retry and stop drives, release bays, verify media, disarm.
    Operate,
    /// Change orders, and arm the station where the configuration allows that.
    Admin,
}

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AccountError {
    #[error("a name has letters, digits, `.`, `-` and `_`, at most 32")]
    Name,
    #[error("a password has at least {SHORTEST} characters")]
    Short,
    #[error("cannot read the password")]
    Read(#[source] io::Error),
    #[error("cannot hash the password")]
    Hash,
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}, line {line}: not an account")]
    Line { path: PathBuf, line: usize },
    #[error("everybody on this machine can read {0}")]
    Readable(PathBuf),
}

impl Hint for AccountError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Line { .. } => {
                "print the line anew: prestaged-gate account NAME view|operate|admin".into()
            }
            Self::Readable(path) => format!("chmod o= {}", path.display()),
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "each line of the file is printed by: prestaged-gate account NAME view|operate|admin"
                    .into()
            }
            Self::File { .. } => "the gate's user must be able to read it".into(),
            Self::Name | Self::Short | Self::Read(_) | Self::Hash => return None,
        })
    }
}

/// Checks, before anybody may sign in, that each line of the file is an account, and that only those read it who must.
///
/// # Errors
/// [`AccountError`] that names the line.
pub(crate) fn check(file: &Path) -> Result<(), AccountError> {
    secret(file)?;
    let failed = |source| AccountError::File { path: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(failed)?;
    let is_wrong = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && account(line).is_none()
    };
    match text.lines().position(is_wrong) {
        Some(at) => Err(AccountError::Line { path: file.to_owned(), line: at + 1 }),
        None => Ok(()),
    }
}

/// Refuses a file with a secret that everybody can read.
///
/// # Errors
/// [`AccountError::Readable`]. A file that is not there is for others to miss.
pub(crate) fn secret(file: &Path) -> Result<(), AccountError> {
    match fs::metadata(file) {
        Ok(found) if found.mode() & 0o004 != 0 => Err(AccountError::Readable(file.to_owned())),
        _ => Ok(()),
    }
}

/// Shorter passwords are guessed.
const SHORTEST: usize = 10;

/// Somebody who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) role: Role,
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=32).contains(&name.len()) && name.chars().all(letter)
}

/// The line of somebody who may sign in.
///
/// # Errors
/// [`AccountError`] if the name or the password is none.
pub fn line(name: &str, role: Role, password: &str) -> Result<String, AccountError> {
    if !is_name(name) {
        return Err(AccountError::Name);
    }
    if password.chars().count() < SHORTEST {
        return Err(AccountError::Short);
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    let hash = hash.map_err(|_| AccountError::Hash)?;
    Ok(format!("{name} {role} {hash}"))
}

/// Asks for a password on standard input; a terminal does not show it.
///
/// # Errors
/// [`AccountError`] if nothing can be read.
pub fn ask() -> Result<String, AccountError> {
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin).ok();
    if let Some(shown) = &shown {
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(&stdin, OptionalActions::Now, &hidden);
        let _ = write!(io::stderr(), "password: ");
    }
    let mut text = String::new();
    let read = stdin.lock().read_line(&mut text);
    if let Some(shown) = &shown {
        let _ = tcsetattr(&stdin, OptionalActions::Now, shown);
        let _ = writeln!(io::stderr());
    }
    read.map_err(AccountError::Read)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whom a name and a password belong to. Takes as long for a name that nobody has. The file is read each time, so that what
/// is changed in it counts at once.
pub(crate) fn verify(
    file: &Path,
    name: &str,
    password: &str,
) -> Result<Option<Person>, AccountError> {
    let text = fs::read_to_string(file)
        .map_err(|source| AccountError::File { path: file.to_owned(), source })?;
    let found = text.lines().filter_map(account).find(|(person, _)| person.name == name);
    let nobody = || (Person { name: String::new(), role: Role::View }, NOBODY);
    let known = found.is_some();
    let (person, hash) = found.unwrap_or_else(nobody);
    let Ok(hash) = PasswordHash::new(hash) else { return Ok(None) };
    let right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    Ok(Some(person).filter(|_| known && right))
}

/// The hash of a password that nobody has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$\
    Z6B8vDLe8a9wyYdV0J4b6kB3oQqXcYp0m5s1m0b8f2I";

/// The account in a line; blank lines, comments and what is no account are left out.
fn account(line: &str) -> Option<(Person, &str)> {
    let mut words = line.split_whitespace();
    let (name, role, hash) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    let ours = is_name(name) && hash.starts_with("$argon2id$") && words.next().is_none();
    ours.then(|| (Person { name: name.to_owned(), role }, hash))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the test")]
    fn only_the_right_password_of_a_name_lets_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let anna = line("anna", Role::Operate, "correct horse").unwrap();
        let text = format!("# Who may sign in.\n\n{anna}\nbob admin $6$plain\neve root {anna}\n");
        fs::write(file.path(), text).unwrap();
        let verify = |name: &str, password: &str| verify(file.path(), name, password).unwrap();
        let expected = Person { name: "anna".into(), role: Role::Operate };
        assert_eq!(verify("anna", "correct horse"), Some(expected));
        for (name, password) in [
            ("anna", "correct hors"),
            ("anna", ""),
            ("Anna", "correct horse"),
            ("", ""),
            ("", "correct horse"),
            ("bob", "plain"),
            ("eve", "correct horse"),
            ("#", "correct horse"),
        ] {
            assert_eq!(verify(name, password), None, "{name}");
        }
        // What lets nobody in is told at the start.
        let told = || check(file.path()).map_err(|error| error.to_string());
        let path = file.path().display();
        assert_eq!(told(), Err(format!("{path}, line 4: not an account")));
        fs::write(file.path(), format!("# Who\n\n  \n{anna}\n")).unwrap();
        assert_eq!(told(), Ok(()));
        fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
        assert_eq!(told(), Err(format!("everybody on this machine can read {path}")));
    }

    #[test]
    fn what_is_no_account_is_not_made() {
        for name in ["", "a b", "a\nb", "ä", "a/b", &"x".repeat(33)] {
            assert!(matches!(line(name, Role::View, "correct horse"), Err(AccountError::Name)));
        }
        assert!(matches!(line("a", Role::View, "short"), Err(AccountError::Short)));
        // The password of nobody must be looked at like any other, or the time tells which names there are.
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert!(Role::View < Role::Operate && Role::Operate < Role::Admin);
    }
}
