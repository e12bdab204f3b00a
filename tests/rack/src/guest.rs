//! Commands in the guest.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::channel::Channel;

/// How often a running command is looked after: its answer costs the emulated processor something.
const PAUSE: Duration = Duration::from_millis(25);

/// How long one attempt to find an agent may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What a command in the guest said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; 128 and its number for a signal.
    pub code: i64,
    /// Standard output, then standard error.
    pub text: String,
}

/// The system in the machine, by its guest agent.
#[derive(Debug)]
pub struct Guest {
    channel: Channel,
}

impl Guest {
    /// Waits until the agent answers.
    ///
    /// # Errors
    /// It did not, in time.
    pub(crate) fn connect(socket: &Path, patience: Duration) -> Result<Self> {
        let start = Instant::now();
        for attempt in 1_u32.. {
            // What is sent while no agent listens yet is lost, or answered later, when somebody else listens here.
            let mut channel = Channel::connect(socket, patience)?;
            match channel.synchronise(attempt, ATTEMPT) {
                Ok(()) => return Ok(Self { channel }),
                Err(error) if start.elapsed() > patience => {
                    return Err(error.context("the guest agent does not answer"));
                }
                Err(_) => {}
            }
        }
        bail!("the guest agent does not answer")
    }

    /// Asks the agent for something.
    pub(crate) fn call(&mut self, name: &str, arguments: &Value) -> Result<Value> {
        self.channel.call(name, arguments)
    }

    /// Lets go of the agent, so that somebody else can speak to it.
    pub(crate) fn close(&self) {
        self.channel.close();
    }

    /// Sets the guest's clock: a restored machine believes it is the time at which it was saved.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn set_clock(&mut self) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let now = u64::try_from(now.as_nanos())?;
        self.channel.call("guest-set-time", &json!({ "time": now }))?;
        Ok(())
    }

    /// Starts a shell script as root, and does not wait for it.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn start(&mut self, script: &str) -> Result<()> {
        self.channel.call("guest-exec", &json!({ "path": "/bin/bash", "arg": ["-c", script] }))?;
        Ok(())
    }

    /// Runs a shell script as root; waits up to ten minutes for its end.
    ///
    /// # Errors
    /// The agent does not answer, or the script does not end.
    pub fn run(&mut self, script: &str) -> Result<Output> {
        let arguments =
            json!({ "path": "/bin/bash", "arg": ["-c", script], "capture-output": true });
        let process = self.channel.call("guest-exec", &arguments)?["pid"].take();
        let start = Instant::now();
        loop {
            let status = self.channel.call("guest-exec-status", &json!({ "pid": process }))?;
            if status["exited"] == true {
                let part = |name: &str| -> Result<String> {
                    let data = BASE64_STANDARD.decode(status[name].as_str().unwrap_or_default())?;
                    Ok(String::from_utf8_lossy(&data).into_owned())
                };
                let signal = status["signal"].as_i64().map(|number| 128 + number);
                let code = status["exitcode"].as_i64().or(signal).unwrap_or(-1);
                return Ok(Output { code, text: part("out-data")? + &part("err-data")? });
            }
            ensure!(start.elapsed() < Duration::from_secs(600), "{script} does not end");
            std::thread::sleep(PAUSE);
        }
    }

    /// Runs a script that must end well; returns what it said.
    ///
    /// # Errors
    /// Also if it did not.
    pub fn done(&mut self, script: &str) -> Result<String> {
        let Output { code, text } = self.run(script)?;
        ensure!(code == 0, "{script} ended with {code}: {text}");
        Ok(text)
    }

    /// Runs a script that prints one JSON document and ends well.
    ///
    /// # Errors
    /// Also if it did not.
    pub fn json(&mut self, script: &str) -> Result<Value> {
        let text = self.done(script)?;
        serde_json::from_str(&text).with_context(|| format!("{script} printed {text}"))
    }

    /// Runs a script again and again until it ends well; returns what it said then.
    ///
    /// # Errors
    /// It never did, within `patience`.
    pub fn wait(&mut self, script: &str, patience: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            let output = self.run(script)?;
            if output.code == 0 {
                return Ok(output.text);
            }
            if start.elapsed() > patience {
                bail!("waited {} s in vain for {script}: {}", patience.as_secs(), output.text);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
