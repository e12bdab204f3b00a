//! The station's side of workers: starts one, sends it a task, and receives its progress and its result.

use std::error::Error;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use model::account::Account;
use model::api::line::{Line, Progress};
use model::code::FailureCode;
use model::failure::{Failure, chain};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::effort::Effort;
use super::handover;
use super::{ARGUMENT, Task, Work};

/// Starts workers.
#[derive(Clone, Debug)]
pub struct Workers {
    program: PathBuf,
    /// The account of workers, if it is not the station's own.
    account: Option<Account>,
}

/// A running worker. Dropping it kills the worker and the worker's children.
struct Guard {
    child: Child,
    group: Option<Pid>,
    _scratch: Option<Scratch>,
}

impl Guard {
    fn kill_group(&self) {
        // After the worker has been waited for, its number may belong to another process.
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

/// The temporary folder of one worker. No other worker can look into it, and it goes with the worker.
struct Scratch(PathBuf);

impl Scratch {
    fn new(account: Option<Account>) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let own = std::process::id();
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("prestaged-worker-{own}-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            let scratch = Self(path);
            if let Some(Account { uid, gid }) = account {
                chown(&scratch.0, Some(uid), Some(gid))?;
            }
            return Ok(scratch);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "cannot remove a worker's folder");
        }
    }
}

/// How long a line of a worker may be; the places of a master of many fragments take some megabytes. Hostile media must
/// not fill the station's memory through its worker.
const LONGEST_LINE: u64 = 64 << 20;

/// How long to wait for the rest of a worker's stderr after the worker has ended.
const LAST_WORD: Duration = Duration::from_secs(10);

impl Workers {
    /// Workers run this very program, even if an upgrade has replaced its file meanwhile. They run under `account`, in
    /// no other groups and without a way to more rights: they read files from outside, and must not be able to open a
    /// drive.
    pub fn new(account: Option<Account>) -> Self {
        Self { program: "/proc/self/exe".into(), account }
    }

    /// The account of workers, if it is not the station's own.
    pub fn account(&self) -> Option<Account> {
        self.account
    }

    /// Runs a task to its end. `report` is called for each progress line. What the worker prints on stderr goes to the
    /// log.
    ///
    /// # Errors
    /// The worker's own [`Failure`]; one with the code `worker_failed` if the worker crashed or was killed.
    pub async fn run<W: Work>(
        &self,
        task: &W,
        report: impl FnMut(Progress),
    ) -> Result<W::Output, Failure> {
        self.run_with(task, &[], report).await
    }

    /// Runs a task as [`Workers::run`] does, and gives the worker these open files.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub async fn run_with<W: Work>(
        &self,
        task: &W,
        files: &[OwnedFd],
        mut report: impl FnMut(Progress),
    ) -> Result<W::Output, Failure> {
        let failed = |detail: String| Failure::new(FailureCode::WorkerFailed, detail);
        let broken = |what: &str, error: &dyn Error| failed(format!("{what}: {}", chain(error)));
        let mut command = Command::new(&self.program);
        if let Some(Account { uid, gid }) = self.account {
            // This drops supplementary groups as well: the standard library does so when root changes the user.
            command.uid(uid).gid(gid);
        }
        let mut scratch = None;
        if W::NEEDS_SCRATCH {
            let made = Scratch::new(self.account);
            let made = made.map_err(|e| broken("cannot make a worker's temporary folder", &e))?;
            command.env("TMPDIR", &made.0);
            scratch = Some(made);
        }
        let (socket, input) = Socket::pair()
            .and_then(|(ours, theirs)| {
                ours.set_nonblocking(true)?;
                Ok((UnixStream::from_std(ours)?, theirs))
            })
            .map_err(|e| broken("cannot make a worker's socket", &e))?;
        let child = command
            .arg(ARGUMENT)
            .current_dir("/")
            // The message of a panic becomes the detail of the failure; a backtrace would not help there.
            .env_remove("RUST_BACKTRACE")
            .stdin(OwnedFd::from(input))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| broken("cannot start a worker process", &e))?;
        // The command holds the worker's end of the socket.
        drop(command);
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // Ends before the folder is removed.
        let mut guard = Guard { child, group, _scratch: scratch };
        let request = serde_json::to_vec(&Task { name: W::NAME.into(), work: task })
            .map_err(|e| broken("cannot write the task", &e))?;
        let (Some(stdout), Some(mut stderr)) =
            (guard.child.stdout.take(), guard.child.stderr.take())
        else {
            return Err(failed("the worker process has no pipes".into()));
        };
        // A worker that ends before it has read its task says more by how it ends.
        if let Err(error) = handover::send(socket, &request, files).await {
            tracing::debug!(task = W::NAME, %error, "cannot send a worker its task");
        }
        let stderr = tokio::spawn(async move {
            let mut text = Vec::new();
            let mut part = [0_u8; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut part).await {
                text.extend_from_slice(&part[..count]);
                let excess = text.len().saturating_sub(2048);
                text.drain(..excess);
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        let mut end = None;
        let mut effort = Effort::of(guard.child.id());
        loop {
            line.clear();
            let since = Instant::now();
            let read = {
                let mut limited = (&mut stdout).take(LONGEST_LINE);
                let mut reading = std::pin::pin!(limited.read_until(b'\n', &mut line));
                loop {
                    match timeout(W::PATIENCE, reading.as_mut()).await {
                        Ok(read) => break read,
                        Err(_) if effort.has_grown() => {
                            if since.elapsed() >= W::ENDURANCE {
                                let seconds = since.elapsed().as_secs();
                                let detail = format!(
                                    "the worker was busy for {seconds} s and has reported nothing"
                                );
                                return Err(Failure::new(W::IDLE, detail));
                            }
                        }
                        Err(_) => {
                            let seconds = W::PATIENCE.as_secs();
                            let detail = format!(
                                "nothing was done for {seconds} s: what is read or written does not answer"
                            );
                            return Err(Failure::new(W::IDLE, detail));
                        }
                    }
                }
            };
            if !matches!(read, Ok(1..)) {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(Line::Progress(progress)) => report(progress),
                Ok(last) => {
                    end = Some(last);
                    break;
                }
                Err(error) => {
                    tracing::warn!(task = W::NAME, %error, "skipping a line from a worker that cannot be read");
                }
            }
        }
        // The worker has written its last line or is ending, so its children must end as well. A process that is ending
        // already keeps its exit status.
        guard.kill_group();
        let status = guard.child.wait().await;
        let stderr = timeout(LAST_WORD, stderr).await.map(Result::unwrap_or_default);
        let stderr = stderr.unwrap_or_default();
        let printed = one_line(&stderr);
        match end {
            Some(Line::Done(value)) => {
                if !stderr.is_empty() {
                    tracing::debug!(task = W::NAME, %stderr, "a worker printed messages");
                }
                serde_json::from_value(value)
                    .map_err(|e| broken("cannot read the worker's result", &e))
            }
            Some(Line::Failed(failure)) => {
                if !printed.is_empty() {
                    let sentence = failure.sentence();
                    tracing::warn!(task = W::NAME, "{sentence}; the worker printed: {printed}");
                }
                Err(failure)
            }
            _ => {
                let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                let mut detail = format!("the worker process ended early ({status})");
                if !printed.is_empty() {
                    detail = format!("{detail}: {printed}");
                }
                Err(failed(detail))
            }
        }
    }
}

/// The lines of a worker's stderr as one, without libwim's warnings.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("[WARNING]"))
        .collect();
    lines.join("; ").replace(char::is_control, "?")
}
