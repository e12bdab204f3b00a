//! Starts the daemon's program as a worker, and follows it to its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use model::api::line::Line;
use rustix::process::{self, Pid, kill_process_group};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::progress::Progress;
use super::{CommandError, exit};

/// The daemon's program.
const PROGRAM: &str = "prestaged";
/// Where packages put it.
const PLACES: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// How its first argument makes it a worker.
const WORKER: &str = "worker";
/// The end of what a worker prints that is kept.
const LAST_WORDS: usize = 2048;

/// A task as a worker reads it.
#[derive(Serialize)]
struct Task<'a, W> {
    task: &'a str,
    #[serde(flatten)]
    work: &'a W,
}

/// The worker's program: the one that was named, or the one beside this, or an installed one.
fn find(named: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let folders = beside.into_iter().chain(PLACES.map(PathBuf::from));
    let found = folders.map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let text = format!("the program {PROGRAM}, which makes media, is not beside prestagectl");
        let error = CommandError::new(exit::UNAVAILABLE, text);
        error.with_hint("install the package prestaged, or name the program with --worker")
    })
}

/// A worker's run, as its user sees it.
pub(in super::super) struct Run<'a> {
    /// The worker's program, if it was named.
    pub(in super::super) program: Option<&'a Path>,
    /// Name of the task.
    pub(in super::super) task: &'a str,
    /// Name of the file.
    pub(in super::super) name: &'a str,
    /// What is done with it.
    pub(in super::super) doing: &'a str,
    /// Whether a bar shows how far it is.
    pub(in super::super) bar: bool,
}

impl Run<'_> {
    /// Goes on to the end of a task. Whoever interrupts it ends the worker, if that is watched.
    pub(in super::super) async fn of<T: DeserializeOwned>(
        &self,
        work: &impl Serialize,
        mut ends: Option<Ends>,
    ) -> Result<T, CommandError> {
        let Self { program, task, name, doing, bar } = *self;
        let program = find(program)?;
        let request = serde_json::to_vec(&Task { task, work }).map_err(|error| {
            CommandError::new(exit::USAGE, format!("a path is not UTF-8: {error}"))
        })?;
        let folder = serde_json::to_value(work).ok();
        let folder = folder.as_ref().and_then(|work| work.get("folder")?.as_str());
        let failed = |error: std::io::Error| {
            let text = format!("cannot run {}: {error}", program.display());
            CommandError::new(exit::UNAVAILABLE, text)
        };
        let mut command = Command::new(&program);
        command.arg(WORKER).current_dir("/").env_remove("RUST_BACKTRACE");
        // Scratch files go with the folder.
        command.envs(folder.map(|folder| ("TMPDIR", folder)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C is for prestagectl, which then ends the worker.
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A worker that ends before it has read its task says more by how it ends.
            let _ = stdin.write_all(&request).await;
        }
        let ended = tokio::select! {
            ended = follow(&mut child, name, bar) => ended,
            () = interrupted(&mut ends) => None,
        };
        let Some((last, said)) = ended else {
            end(&mut child).await;
            let text = format!("interrupted; there is no {name}, and nothing is left of it");
            return Err(CommandError::new(exit::INTERRUPTED, text));
        };
        let status = child.wait().await.map_err(failed)?;
        match last {
            Some(Line::Done(value)) => serde_json::from_value(value).map_err(|error| {
                let text = format!("{} is of another version: {error}", program.display());
                CommandError::new(exit::UNAVAILABLE, text)
            }),
            Some(Line::Failed(failure)) => {
                Err(CommandError::failed(&format!("{doing} {name}"), failure))
            }
            _ => {
                let said = said.trim().replace('\n', "; ");
                let colon = if said.is_empty() { "" } else { ": " };
                let text = format!("{} ended early ({status}){colon}{said}", program.display());
                Err(CommandError::new(exit::FAILED, text))
            }
        }
    }
}

/// Waits for an interruption, if any is watched.
async fn interrupted(ends: &mut Option<Ends>) {
    match ends {
        Some(ends) => ends.one().await,
        None => std::future::pending().await,
    }
}

/// Ends a worker, and the programs that it has started.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        let _ = kill_process_group(group, process::Signal::KILL);
    }
    let _ = child.kill().await;
}

/// What tells this program to end: a terminal, or another program. From when this is made on, it ends in order.
pub(in super::super) struct Ends([Signal; 3]);

impl Ends {
    /// To be made before anything that must be taken away again.
    pub(in super::super) fn watched() -> Result<Self, CommandError> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [one, two, three] = kinds.map(signal);
        let all = one.and_then(|one| Ok(Self([one, two?, three?])));
        all.map_err(|error| {
            CommandError::new(exit::FAILED, format!("cannot watch signals: {error}"))
        })
    }

    pub(in super::super) async fn one(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Shows a worker's progress until its last line, which is returned with the end of what it printed.
async fn follow(child: &mut Child, name: &str, shown: bool) -> Option<(Option<Line>, String)> {
    let (stdout, mut stderr) = (child.stdout.take()?, child.stderr.take()?);
    let words = tokio::spawn(async move {
        let mut said = Vec::new();
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut part).await {
            said.extend_from_slice(&part[..count]);
            said.drain(..said.len().saturating_sub(LAST_WORDS));
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    let progress = Progress::new(name, shown);
    let since = Instant::now();
    let mut lines = BufReader::new(stdout).lines();
    let mut last = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Line::Progress(step)) => {
                let whole = whole(&step.step, step.fraction);
                let left = left(since.elapsed(), whole);
                progress.set(100.0 * whole, format!("{}{left}", step.step));
            }
            Ok(end) => {
                last = Some(end);
                break;
            }
            Err(_) => {}
        }
    }
    let said = words.await.unwrap_or_default();
    Some((last, said))
}

/// The steps in their order, with the share of the whole at which each ends.
const STEPS: [(&str, f64, f64); 3] =
    [("checking", 0.0, 0.3), ("writing", 0.3, 0.7), ("verifying", 0.7, 1.0)];

/// How much of the whole is done, of which this share of a step.
fn whole(step: &str, fraction: f64) -> f64 {
    let known = STEPS.iter().find(|(name, ..)| step.starts_with(name));
    known.map_or(0.0, |(_, from, to)| from + (to - from) * fraction.clamp(0.0, 1.0))
}

/// How long it will go on, in words, if it goes on as it did.
fn left(elapsed: Duration, whole: f64) -> String {
    if elapsed < Duration::from_secs(2) || whole < 0.01 {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
    let seconds = (elapsed.as_secs_f64() * (1.0 - whole) / whole) as u64;
    format!(", {}:{:02} left", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_once_it_means_something() {
        assert_eq!(left(Duration::from_secs(1), 0.5), "");
        assert_eq!(left(Duration::from_secs(60), 0.5), ", 1:00 left");
        assert_eq!(left(Duration::from_secs(90), 0.25), ", 4:30 left");
        let done = [("checking", 0.5), ("writing 3 MB/s", 1.0), ("verifying", 1.0), ("other", 1.0)];
        let done = done.map(|(step, fraction)| (100.0 * whole(step, fraction)).round());
        assert_eq!(done, [15.0, 70.0, 100.0, 0.0]);
    }

    #[test]
    fn a_missing_program_is_told() {
        // The tests' own program lies in a folder without the daemon's, unless this machine has it installed.
        if let Err(error) = find(None) {
            assert_eq!(error.exit, exit::UNAVAILABLE);
        }
        assert_eq!(find(Some(Path::new("/x"))).unwrap(), Path::new("/x"));
    }
}
