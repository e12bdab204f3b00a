//! The station's side: starting a worker, telling it what to do, and hearing what comes of it.

use std::error::Error;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use model::account::Account;
use model::api::line::{Line, Progress};
use model::code::FailureCode;
use model::failure::{Failure, chain};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{ARGUMENT, Task, Work};

/// Starts workers.
#[derive(Clone, Debug)]
pub struct Workers {
    program: PathBuf,
    account: Option<Account>,
}

/// Kills the worker and its children when dropped.
struct Guard {
    child: Child,
    group: Option<Pid>,
}

impl Guard {
    fn kill_group(&self) {
        // Once it has been waited for, its number may belong to another process.
        if self.child.id().is_some()
            && let Some(group) = self.group
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// How long what a worker has printed is waited for after its end.
const LAST_WORD: Duration = Duration::from_secs(10);

impl Workers {
    /// Workers are this very program, even if its file has been replaced by an upgrade meanwhile. Those that need no
    /// drive run under `account`, with no other groups and no way to more rights: what they read comes from
    /// outside, and they must not be able to open a drive.
    pub fn new(account: Option<Account>) -> Self {
        Self { program: "/proc/self/exe".into(), account }
    }

    /// The account of workers that need no drive, if it is another than the station's.
    pub fn account(&self) -> Option<Account> {
        self.account
    }

    /// Runs a task to its end. `report` is called for each progress line.
    ///
    /// # Errors
    /// The worker's own [`Failure`]; code `worker_failed` if it crashed or was killed.
    pub async fn run<W: Work>(
        &self,
        task: &W,
        mut report: impl FnMut(Progress),
    ) -> Result<W::Output, Failure> {
        let failed = |detail: String| Failure::new(FailureCode::WorkerFailed, detail);
        let broken = |what: &str, error: &dyn Error| failed(format!("{what}: {}", chain(error)));
        let mut command = Command::new(&self.program);
        if let Some(Account { uid, gid }) = self.account.filter(|_| !W::NEEDS_DRIVE) {
            // Supplementary groups go with it: the standard library drops them when root changes the user.
            command.uid(uid).gid(gid);
        }
        let child = command
            .arg(ARGUMENT)
            .current_dir("/")
            // A panic's message is of use in a failure's detail, a backtrace is not.
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| broken("cannot start a worker process", &e))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let mut guard = Guard { child, group };
        let request = serde_json::to_vec(&Task { name: W::NAME.into(), work: task })
            .map_err(|e| broken("cannot write the task", &e))?;
        let (Some(mut stdin), Some(stdout), Some(mut stderr)) =
            (guard.child.stdin.take(), guard.child.stdout.take(), guard.child.stderr.take())
        else {
            return Err(failed("it has no pipes".into()));
        };
        stdin.write_all(&request).await.map_err(|e| broken("cannot write the task", &e))?;
        drop(stdin);
        let complaints = tokio::spawn(async move {
            let mut text = Vec::new();
            let mut part = [0_u8; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut part).await {
                text.extend_from_slice(&part[..count]);
                let excess = text.len().saturating_sub(2048);
                text.drain(..excess);
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let mut lines = BufReader::new(stdout).lines();
        let mut end = None;
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(Line::Progress(progress)) => report(progress),
                Ok(last) => {
                    end = Some(last);
                    break;
                }
                Err(error) => tracing::warn!(%error, "unreadable line from a worker"),
            }
        }
        // It has said its last word, or is ending: so does whatever it has started. A process that is ending keeps the
        // status it ends with.
        guard.kill_group();
        let status = guard.child.wait().await;
        let said = timeout(LAST_WORD, complaints).await.map(Result::unwrap_or_default);
        let said = said.unwrap_or_default();
        match end {
            Some(Line::Done(value)) => {
                if !said.is_empty() {
                    tracing::debug!(%said, "worker");
                }
                serde_json::from_value(value).map_err(|e| broken("unreadable result", &e))
            }
            Some(Line::Failed(mut failure)) => {
                if !said.is_empty() {
                    failure.detail = format!("{} [{}]", failure.detail, one_line(&said));
                }
                Err(failure)
            }
            _ => {
                let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                let detail =
                    format!("the worker process ended early ({status}) {}", one_line(&said));
                Err(failed(detail.trim().to_owned()))
            }
        }
    }
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("[WARNING]"))
        .collect();
    lines.join("; ").replace(char::is_control, "?")
}
