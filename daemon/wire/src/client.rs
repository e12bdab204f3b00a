//! Speaking HTTP to the daemon over its unix socket.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use model::api::line::RecordLine;
use model::code::DenialCode;
use model::failure::Denial;
use model::hint::Hint;
use model::record::Record;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Why a request has no answer, or which error is its answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClientError {
    #[error("cannot reach the daemon at {path}")]
    Unreachable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("no permission to use {0}")]
    Forbidden(PathBuf),
    #[error("the daemon has ended")]
    Ended,
    #[error("the daemon does not answer")]
    Silent,
    #[error("the connection to the daemon broke")]
    Broken(#[from] hyper::Error),
    /// Something answers that is not our daemon.
    #[error("the daemon's answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    #[error(transparent)]
    Refused(#[from] Denial),
}

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            // `absence` finds out more.
            Self::Unreachable { .. } => return None,
            Self::Ended => "start it again (`systemctl start prestaged`)",
            Self::Silent => "look into its log (`journalctl -u prestaged`)",
            Self::Forbidden(socket) => return Some(entry(socket)),
            Self::Broken(_) => "try again; if it has ended: `sudo systemctl start prestaged`",
            Self::Unreadable(_) => {
                "another program, or another version, answers there: name the right socket with --socket"
            }
            Self::Refused(denial) => denial.what_now(),
        };
        Some(hint.into())
    }
}

/// How somebody gets to use a socket.
fn entry(socket: &Path) -> String {
    let group = std::fs::symlink_metadata(socket).map(|meta| meta.gid()).unwrap_or_default();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    match group_name(&groups, group).filter(|_| group != 0) {
        Some(name) => format!(
            "become a member of the group {name} (`sudo adduser \"$USER\" {name}`, from the next login on), or root (sudo)"
        ),
        None => "become root (sudo); members of control.group in the configuration may, too, if it is set".into(),
    }
}

/// The name of a group in the text of `/etc/group`.
fn group_name(groups: &str, number: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        (gid.parse() == Ok(number)).then_some(name)
    })
}

/// The header that names on whose behalf a request is made; only ASCII without control characters.
pub const ACTOR: &str = "x-prestaged-actor";

/// One JSON document per line, where the daemon has that to give.
const LINES: &str = "application/x-ndjson";

/// Opens a connection for each request: the daemon is on the same machine.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    /// On whose behalf it asks, where that is not the user as whom it runs.
    actor: Option<String>,
}

impl Client {
    /// A client of the daemon that listens there.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), actor: None }
    }

    /// The same, on behalf of somebody who has signed in elsewhere. The daemon believes that only of its gate.
    #[must_use]
    pub fn on_behalf_of(self, actor: &str) -> Self {
        Self { actor: Some(actor.to_owned()), ..self }
    }

    /// The whole answer to a request that only reads, as it came, in one of the types that are wanted.
    ///
    /// # Errors
    /// [`ClientError`] if there is none.
    pub async fn raw(&self, path: &str, wanted: &str) -> Result<Response<Incoming>, ClientError> {
        self.ask(Method::GET, path, wanted, Vec::new()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.ask(method, path, LINES, body).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        wanted: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            if source.kind() == std::io::ErrorKind::PermissionDenied {
                ClientError::Forbidden(self.socket.clone())
            } else {
                ClientError::Unreachable { path: self.socket.clone(), source }
            }
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path);
        let request = match &self.actor {
            Some(actor) => request.header(ACTOR, actor),
            None => request,
        };
        let request = request
            .header("host", "prestaged")
            .header("accept", wanted)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| Denial::new(DenialCode::BadRequest, format!("bad path {path}")))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await?.to_bytes();
        let error = serde_json::from_slice(&body).unwrap_or_else(|_| {
            Denial::new(DenialCode::UnexpectedAnswer, String::from_utf8_lossy(&body))
        });
        Err(ClientError::Refused(error))
    }

    async fn whole<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    /// What a path has to show.
    ///
    /// # Errors
    /// [`ClientError`] if nothing comes, or what cannot be read.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        Self::whole(self.send(Method::GET, path, Vec::new()).await?).await
    }

    /// Asks for something; returns the answer.
    ///
    /// # Errors
    /// [`ClientError`] if nothing comes, or what cannot be read.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        Self::whole(self.send(Method::POST, path, serde_json::to_vec(body)?).await?).await
    }

    /// Asks for something to be removed.
    ///
    /// # Errors
    /// [`ClientError`] if the daemon does not do it.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, path, Vec::new()).await.map(|_| ())
    }

    /// The station's snapshot, and then every new one as it changes.
    ///
    /// # Errors
    /// [`ClientError`] if the daemon does not answer.
    pub async fn events(&self) -> Result<Lines, ClientError> {
        let response = self.send(Method::GET, "/v1/events", Vec::new()).await?;
        Ok(Lines::of(response))
    }

    /// The records of a path, row by row.
    ///
    /// # Errors
    /// [`ClientError`] if the daemon does not answer.
    pub async fn records(&self, path: &str) -> Result<Records, ClientError> {
        let response = self.send(Method::GET, path, Vec::new()).await?;
        let kind = response.headers().get("content-type");
        if kind.is_some_and(|kind| kind == LINES) {
            return Ok(Records::Lines(Lines::of(response)));
        }
        // A daemon that is too old to send lines, before its restart after an upgrade.
        let records: Vec<Record> = Self::whole(response).await?;
        Ok(Records::Whole(records.into_iter()))
    }

    /// Posts a request whose answer is no JSON; returns the answer as it comes.
    ///
    /// # Errors
    /// [`ClientError`] if the daemon does not answer.
    pub async fn post_raw(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response<Incoming>, ClientError> {
        self.send(Method::POST, path, serde_json::to_vec(body)?).await
    }

    /// Posts a request that the daemon answers line by line while it works.
    ///
    /// # Errors
    /// [`ClientError`] if the daemon does not answer.
    pub async fn post_lines(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines, ClientError> {
        let response = self.send(Method::POST, path, serde_json::to_vec(body)?).await?;
        Ok(Lines::of(response))
    }
}

/// The ledger's rows as the daemon sends them.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Records {
    Lines(Lines),
    Whole(std::vec::IntoIter<Record>),
}

impl Records {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks.
    pub async fn next(&mut self) -> Result<Option<RecordLine>, ClientError> {
        match self {
            Self::Lines(lines) => lines.next().await,
            Self::Whole(records) => {
                Ok(records.next().map(|record| RecordLine::Record(Box::new(record))))
            }
        }
    }
}

/// JSON documents, one per line.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    /// What has come, and how much of it has been read.
    buffer: Vec<u8>,
    read: usize,
}

impl Lines {
    fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: Vec::new(), read: 0 }
    }

    /// The next document; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks, or a line is no such document.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        let mut searched = self.read;
        loop {
            if let Some(length) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = &self.buffer[self.read..searched + length];
                let document = serde_json::from_slice(line)?;
                self.read = searched + length + 1;
                return Ok(Some(document));
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            searched = self.buffer.len();
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// Quotes a name so that it is one segment of a path, or one value of a query.
pub fn segment(name: &str) -> String {
    // RFC 3986 has no need to quote these. The dot stays quoted: a name of dots would be a step in the path.
    const QUOTED: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(name, &QUOTED).to_string()
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_is_one_segment_and_reads_as_it_is_where_it_can() {
        assert_eq!(segment("rack-01_a~b"), "rack-01_a~b");
        assert_eq!(segment("bay 1/2?#"), "bay%201%2F2%3F%23");
        assert_eq!(segment(".."), "%2E%2E", "no step up");
    }
}
