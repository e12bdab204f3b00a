//! Signatures by Standard Webhooks (github.com/standard-webhooks/standard-webhooks), by which a receiver knows that an event
//! is from here, and not an old one that somebody sends once more.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::accounts::{self, AccountError};

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read {path}")]
    #[expect(missing_docs, reason = "the message says it")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}, line {line}: not {PREFIX} and 24 to 64 bytes in base64")]
    #[expect(missing_docs, reason = "the message says it")]
    Line { path: PathBuf, line: usize },
    #[error("{0} holds no secret")]
    #[expect(missing_docs, reason = "the message says it")]
    Empty(PathBuf),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the message says it")]
    Open(#[from] AccountError),
}

/// Secrets, each of which signs.
#[derive(Debug)]
pub(super) struct Secrets(Vec<hmac::Key>);

/// Reads a file with a secret on each line.
pub(super) fn read(path: &Path) -> Result<Secrets, SecretError> {
    accounts::secret(path)?;
    let text = fs::read_to_string(path)
        .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    let mut keys = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let secret = line.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let secret = secret.filter(|secret| (24..=64).contains(&secret.len()));
        let secret =
            secret.ok_or_else(|| SecretError::Line { path: path.to_owned(), line: at + 1 })?;
        keys.push(hmac::Key::new(hmac::HMAC_SHA256, &secret));
    }
    match keys.is_empty() {
        true => Err(SecretError::Empty(path.to_owned())),
        false => Ok(Secrets(keys)),
    }
}

impl Secrets {
    /// The value of `webhook-signature` for exactly these bytes, at this time in seconds.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let message = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        let mut all = String::new();
        for key in &self.0 {
            let space = if all.is_empty() { "" } else { " " };
            let _ = write!(all, "{space}v1,{}", STANDARD.encode(hmac::sign(key, &message)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a file of the test")]
    fn secrets(text: &str) -> Result<Secrets, SecretError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    /// The example of the specification, which all its libraries have as a test.
    #[test]
    fn a_signature_is_as_published() {
        let secrets_of = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";
        let published = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let (id, at, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(secrets(secrets_of).unwrap().sign(id, at, body), published);
        // Whatever changes, changes it.
        for other in [
            secrets(secrets_of).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJel", at, body),
            secrets(secrets_of).unwrap().sign(id, at + 1, body),
            secrets(secrets_of).unwrap().sign(id, at, b"{\"test\":2432232314}"),
            secrets("whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap().sign(id, at, body),
        ] {
            assert_ne!(other, published);
        }
        // Two secrets, while one takes the other's place.
        let both =
            secrets(&format!("# new\nwhsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\n{secrets_of}"));
        let both = both.unwrap().sign(id, at, body);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(published), "{both}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the test")]
    fn what_is_no_secret_is_told() {
        for (bad, told) in [
            ("", "holds no secret"),
            ("# none\n", "holds no secret"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "line 1"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_short", "line 2"),
            ("whsec_c2hvcnQ=", "line 1"),
        ] {
            let error = secrets(bad).unwrap_err().to_string();
            assert!(error.contains(told), "{bad}: {error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.contains("everybody on this machine can read"), "{error}");
    }
}
