//! JSON lines over a unix socket: how QEMU's monitor and the guest agent are spoken to.
//!
//! Both protocols take `{"execute": NAME, "arguments": {…}}` and answer with `return` or `error` (QEMU's
//! docs/interop/qmp-spec and qemu-ga-ref); the monitor tells of events in between.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// How long an answer may take on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to one of the two.
#[derive(Debug)]
pub(crate) struct Channel {
    reader: BufReader<UnixStream>,
    events: VecDeque<Value>,
}

impl Channel {
    /// Connects, as soon as somebody listens.
    pub(crate) fn connect(path: &Path, patience: Duration) -> Result<Self> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => {
                    return Ok(Self { reader: BufReader::new(stream), events: VecDeque::new() });
                }
                Err(error) if start.elapsed() > patience => {
                    return Err(error).with_context(|| format!("connect to {}", path.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// The next line, whatever it is.
    pub(crate) fn read(&mut self, patience: Duration) -> Result<Value> {
        self.reader.get_ref().set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("no answer")? == 0 {
            bail!("the other end has gone");
        }
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line:?}"))
    }

    /// Passes over all answers to what others have asked before (guest-sync in qemu-ga-ref).
    pub(crate) fn synchronise(&mut self, number: u32, patience: Duration) -> Result<()> {
        let line = json!({ "execute": "guest-sync", "arguments": { "id": number } });
        self.reader.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let until = Instant::now() + patience;
        while self.read(until.saturating_duration_since(Instant::now()))?["return"] != number {}
        Ok(())
    }

    /// Ends the connection.
    pub(crate) fn close(&self) {
        // Gone already is as good.
        let _ = self.reader.get_ref().shutdown(std::net::Shutdown::Both);
    }

    /// Executes a command; returns what it returns.
    pub(crate) fn call(&mut self, name: &str, arguments: &Value) -> Result<Value> {
        let mut line = json!({ "execute": name, "arguments": arguments }).to_string();
        line.push('\n');
        self.reader.get_mut().write_all(line.as_bytes()).with_context(|| name.to_owned())?;
        loop {
            let mut answer = self.read(PATIENCE).with_context(|| format!("{name} {arguments}"))?;
            if answer.get("event").is_some() {
                self.events.push_back(answer);
            } else if let Some(error) = answer.get("error") {
                bail!("{name} {arguments}: {error}");
            } else {
                return Ok(answer["return"].take());
            }
        }
    }

    /// Drops events that have come already.
    pub(crate) fn forget(&mut self, fits: impl Fn(&Value) -> bool) {
        self.events.retain(|event| !fits(event));
    }

    /// Waits for an event that fits; it may have come already.
    pub(crate) fn event(
        &mut self,
        fits: impl Fn(&Value) -> bool,
        patience: Duration,
    ) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            if let Some(at) = self.events.iter().position(&fits) {
                self.events.remove(at);
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("it did not happen within {} s", patience.as_secs());
            }
            let line = self.read(left)?;
            self.events.push_back(line);
        }
    }
}
