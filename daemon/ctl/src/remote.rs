//! A parcel on an HTTP or HTTPS server that gives ranges of files. The daemon has no network, so this program fetches it.
//!
//! A connection that breaks is opened again where it broke, for as long as bytes come; what has come is not asked for twice.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parcel::{Source, SourceError};
use rustls::crypto::ring;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use model::units::Bytes;

/// The system's certificates, as Debian has them; `SSL_CERT_FILE` names others, as for other programs.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long a server may take for a connection, for an answer, and for the next bytes of one.
const PATIENCE: Duration = Duration::from_secs(30);
/// So often a server is asked again without a byte between.
const ATTEMPTS: u32 = 5;
/// How long to wait before it is asked once more; at once the first time, and then twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits before a server is asked again that has failed so often.
fn pause(failures: u32) {
    if failures > 1 {
        thread::sleep(PAUSE * (1 << (failures - 2).min(5)));
    }
}

#[derive(Debug)]
pub(super) struct Remote {
    agent: Agent,
    /// The parcel's address, without a slash at its end.
    base: String,
    /// It was asked in vain as often as it makes sense: nobody waits for it again and again, file by file.
    silent: AtomicBool,
}

/// Whether this is an address and no folder.
pub(super) fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// Why a server's answer is of no use.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("the server answers {0}")]
    Status(u16),
    #[error(
        "the server gives whole files only, no ranges of them, as nginx does and `python3 -m http.server` does not"
    )]
    NoRanges,
    #[error("the server has other bytes than it was asked for")]
    OtherRange,
    #[error("the server's file is shorter than it must be")]
    Short,
    #[error("the server did not answer before")]
    Silent,
}

impl Remote {
    pub(super) fn new(address: &str) -> Self {
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        if let Some(roots) = certificates() {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("prestagectl/", env!("CARGO_PKG_VERSION")));
        let base = address.trim_end_matches('/').to_owned();
        Self { agent: config.build().new_agent(), base, silent: AtomicBool::new(false) }
    }

    fn address(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// Whether it is of use to ask once more, after so many failures without a byte between.
    fn is_over(&self, error: &io::Error, failures: u32) -> bool {
        let over = failures >= ATTEMPTS || !may_pass(error);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        if over && matches!(inner, Some(ureq::Error::Timeout(_))) {
            self.silent.store(true, Ordering::Relaxed);
        }
        over
    }

    fn heard(&self) -> io::Result<()> {
        match self.silent.load(Ordering::Relaxed) {
            true => Err(io::Error::other(AnswerError::Silent)),
            false => Ok(()),
        }
    }

    /// Asks for bytes of a part of the parcel.
    fn ask(&self, name: &str, from: Bytes, length: Bytes) -> io::Result<Body> {
        self.heard()?;
        let last = from.0.saturating_add(length.0).saturating_sub(1);
        let range = format!("bytes={}-{last}", from.0);
        let asked = self.agent.get(self.address(name)).header("range", range).call();
        let answer = asked.map_err(ureq::Error::into_io)?;
        let begins = answer.headers().get("content-range").and_then(|value| {
            let text = value.to_str().ok()?.strip_prefix("bytes ")?;
            text.split('-').next()?.parse::<u64>().ok()
        });
        match answer.status().as_u16() {
            206 if begins == Some(from.0) => Ok(answer.into_body()),
            206 => Err(io::Error::other(AnswerError::OtherRange)),
            200 if from.0 == 0 => Ok(answer.into_body()),
            200 => Err(io::Error::other(AnswerError::NoRanges)),
            404 | 410 => Err(io::ErrorKind::NotFound.into()),
            // The range begins behind the end of the file.
            416 => Err(io::Error::other(AnswerError::Short)),
            status => Err(io::Error::other(AnswerError::Status(status))),
        }
    }
}

/// The certificates that servers must have theirs from.
fn certificates() -> Option<Vec<Certificate<'static>>> {
    let path = std::env::var_os("SSL_CERT_FILE").unwrap_or_else(|| CERTIFICATES.into());
    let text = std::fs::read(path).ok()?;
    let found = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Some(found.collect())
}

/// A part of the parcel that is fetched while it is read.
struct Fetch<'a> {
    remote: &'a Remote,
    name: String,
    from: Bytes,
    left: Bytes,
    body: Option<Box<dyn Read>>,
    attempts: u32,
}

/// Whether it is of use to ask once more.
fn may_pass(error: &io::Error) -> bool {
    let answered = error.get_ref().and_then(|inner| inner.downcast_ref::<AnswerError>());
    match answered {
        Some(AnswerError::Status(status)) => matches!(status, 408 | 429 | 500..=599),
        Some(_) => false,
        None => error.kind() != io::ErrorKind::NotFound,
    }
}

impl Fetch<'_> {
    fn once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.body.is_none() {
            let body = self.remote.ask(&self.name, self.from, self.left)?;
            self.body = Some(Box::new(body.into_reader()));
        }
        let most = self.left.as_usize().min(buffer.len());
        let count = match &mut self.body {
            Some(body) => body.read(&mut buffer[..most])?,
            None => 0,
        };
        match count {
            0 => Err(io::ErrorKind::ConnectionAborted.into()),
            count => Ok(count),
        }
    }
}

impl Read for Fetch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == Bytes(0) || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.once(buffer) {
                Ok(count) => {
                    self.attempts = 0;
                    self.from += Bytes::of(count);
                    self.left = self.left.saturating_sub(Bytes::of(count));
                    return Ok(count);
                }
                Err(error) => {
                    self.body = None;
                    self.attempts += 1;
                    if self.remote.is_over(&error, self.attempts) {
                        return Err(error);
                    }
                    pause(self.attempts);
                }
            }
        }
    }
}

impl Source for Remote {
    fn whole(&self, name: &str, most: Bytes) -> Result<Vec<u8>, SourceError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing { name: name.into() },
            _ => SourceError::Read { name: name.into(), source },
        };
        let mut attempts = 0;
        loop {
            let data = self.get(name, most);
            match data {
                Ok(data) if Bytes::of(data.len()) > most => {
                    return Err(SourceError::Long { name: name.into() });
                }
                Ok(data) => return Ok(data),
                Err(error) => {
                    attempts += 1;
                    if self.is_over(&error, attempts) {
                        return Err(failed(error));
                    }
                    pause(attempts);
                }
            }
        }
    }

    fn part(
        &self,
        name: &str,
        from: Bytes,
        length: Bytes,
    ) -> Result<Box<dyn Read + '_>, SourceError> {
        let (remote, name) = (self, name.to_owned());
        Ok(Box::new(Fetch { remote, name, from, left: length, body: None, attempts: 0 }))
    }
}

impl Remote {
    /// Fetches a whole file; of one that is too long, a byte too much.
    fn get(&self, name: &str, most: Bytes) -> io::Result<Vec<u8>> {
        self.heard()?;
        let answer = self.agent.get(self.address(name)).call().map_err(ureq::Error::into_io)?;
        match answer.status().as_u16() {
            200 => {}
            404 | 410 => return Err(io::ErrorKind::NotFound.into()),
            status => return Err(io::Error::other(AnswerError::Status(status))),
        }
        let mut data = Vec::new();
        let body = answer.into_body().into_reader();
        body.take(most.0.saturating_add(1)).read_to_end(&mut data)?;
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn a_folder_is_no_address() {
        for (text, expected) in [
            ("http://depot/a.parcel", true),
            ("HTTPS://depot/a.parcel", true),
            ("http:/a", false),
            ("/mnt/http://a", false),
            ("a.parcel", false),
        ] {
            assert_eq!(is_address(text), expected, "{text}");
        }
    }
}
