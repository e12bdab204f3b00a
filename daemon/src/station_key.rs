//! The station's own key, with which it signs the log of its ledger. Without another word it is made at the first start.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use config::Config;
use model::hint::Hint;
use record::file::ordinary;
use signing::{KeyError, SecretKey};

/// Where the package's station has it, if somebody has put it there.
const PACKAGED: &str = "/etc/prestaged/keys/station.key";
/// What it is called beside the ledger.
const NAME: &str = "station.key";
/// No key is longer.
const LONGEST: u64 = 64 << 10;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("cannot {doing} the station's key {path}")]
    File {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "the station's key {path} can be read by others (mode {mode:03o}), who could sign records with it"
    )]
    Open { path: PathBuf, mode: u32 },
    #[error("the station's key {path}")]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
}

impl Hint for KeyFileError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => Some("see `ledger.key` in the configuration".into()),
            Self::Open { path, .. } => Some(format!(
                "if nobody has read it: `chmod 600 {}`; if somebody may have, take it away: the next start makes another \
                 one, and a person must acknowledge that",
                path.display()
            )),
            Self::Key { source, .. } => source.hint(),
        }
    }
}

/// Where the key is.
fn place(config: &Config) -> PathBuf {
    if let Some(path) = &config.ledger.key {
        return path.clone();
    }
    let is_packaged = config.file == Path::new(config::DEFAULT_PATH);
    if is_packaged && Path::new(PACKAGED).exists() {
        return PACKAGED.into();
    }
    config.ledger.path.with_file_name(NAME)
}

/// Reads the key; makes one where there is none.
///
/// # Errors
/// [`KeyFileError`]
pub(crate) fn read_or_make(config: &Config) -> Result<SecretKey, KeyFileError> {
    let path = place(config);
    match read(&path) {
        Err(KeyFileError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(&path)
        }
        read => read,
    }
}

fn read(path: &Path) -> Result<SecretKey, KeyFileError> {
    let failed = |source| KeyFileError::File { path: path.to_owned(), doing: "read", source };
    let mode = std::fs::metadata(path).map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let text = ordinary(path, LONGEST).map_err(failed)?;
    let of_key = |source| KeyFileError::Key { path: path.to_owned(), source };
    SecretKey::from_pem(String::from_utf8_lossy(&text).trim()).map_err(of_key)
}

/// Makes a key in a file that only the station's user may read. It is whole when it has its name.
#[expect(clippy::disallowed_methods, reason = "a new file, which is no drive")]
fn make(path: &Path) -> Result<SecretKey, KeyFileError> {
    let of_key = |source| KeyFileError::Key { path: path.to_owned(), source };
    let failed = |source| KeyFileError::File { path: path.to_owned(), doing: "make", source };
    let key = SecretKey::generate().map_err(of_key)?;
    let pem = key.to_pem().map_err(of_key)?;
    let fresh = path.with_extension("new");
    let write = || {
        let _ = std::fs::remove_file(&fresh);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(failed)?;
    tracing::info!("made the station's key {}", path.display());
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "files of a test")]
    fn a_key_is_made_once_and_is_nobody_else_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("station.key");
        let made = make(&path).unwrap();
        assert_eq!(read(&path).unwrap().public(), made.public());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Open { mode: 0o640, .. })));
        std::fs::write(&path, made.public().to_pem()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Key { .. })));
    }
}
