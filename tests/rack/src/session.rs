//! A command on a terminal in the guest that goes on while drives are plugged: `prestagectl watch`, `bays learn`.
//!
//! The agent has no terminals, so `script` makes one in the guest; what is typed goes through a FIFO, what is shown comes
//! through a file, and the agent writes the one and reads the other.

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::guest::Guest;

/// What a terminal sends for Ctrl-C.
const INTERRUPT: &str = "\u{3}";
/// So much of the output is read at once.
const PIECE: u64 = 1 << 16;

/// A running command.
#[derive(Debug)]
pub struct Session {
    process: Value,
    input: Value,
    output: Value,
}

impl Session {
    /// Starts a shell command on a terminal of 100 columns.
    ///
    /// # Errors
    /// The agent does not answer, or cannot do it.
    pub fn start(guest: &mut Guest, command: &str) -> Result<Self> {
        let script = BASE64_STANDARD.encode(command);
        // Typed lines are shown where they are typed.
        guest.done(&format!(
            "rm -f /run/rack.in && mkfifo /run/rack.in && : >/run/rack.out && \
             {{ echo 'trap : INT; stty -echo cols 100 rows 40'; echo {script} | base64 -d; }} >/run/rack.sh"
        ))?;
        let run = "exec 3<>/run/rack.in; \
            TERM=xterm exec script --quiet --flush --return --command 'exec bash /run/rack.sh' /dev/null <&3 >/run/rack.out 2>&1";
        let arguments = json!({ "path": "/bin/bash", "arg": ["-c", run], "capture-output": false });
        let process = guest.call("guest-exec", &arguments)?["pid"].take();
        let mut open = |path: &str, mode: &str| {
            guest.call("guest-file-open", &json!({ "path": path, "mode": mode }))
        };
        let output = open("/run/rack.out", "r")?;
        let input = open("/run/rack.in", "r+")?;
        Ok(Self { process, input, output })
    }

    /// What it has shown since this was asked last.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn shown(&self, guest: &mut Guest) -> Result<String> {
        let mut all = Vec::new();
        loop {
            let arguments = json!({ "handle": self.output, "count": PIECE });
            let piece = guest.call("guest-file-read", &arguments)?;
            all.extend(BASE64_STANDARD.decode(piece["buf-b64"].as_str().unwrap_or_default())?);
            if piece["count"].as_u64().unwrap_or_default() < PIECE {
                return Ok(String::from_utf8_lossy(&all).into_owned());
            }
        }
    }

    /// Types a text.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn enter(&self, guest: &mut Guest, text: &str) -> Result<()> {
        let data = BASE64_STANDARD.encode(text);
        guest.call("guest-file-write", &json!({ "handle": self.input, "buf-b64": data }))?;
        guest.call("guest-file-flush", &json!({ "handle": self.input }))?;
        Ok(())
    }

    /// Types Ctrl-C.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn interrupt(&self, guest: &mut Guest) -> Result<()> {
        self.enter(guest, INTERRUPT)
    }

    /// How it ended, if it has: its exit code.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn ended(&self, guest: &mut Guest) -> Result<Option<i64>> {
        let status = guest.call("guest-exec-status", &json!({ "pid": self.process }))?;
        if status["exited"] != true {
            return Ok(None);
        }
        for handle in [&self.input, &self.output] {
            guest.call("guest-file-close", &json!({ "handle": handle }))?;
        }
        Ok(Some(status["exitcode"].as_i64().unwrap_or(-1)))
    }
}
