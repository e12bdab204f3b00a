//! Why the daemon does not answer: from its socket, and from what systemd knows of its unit.
//!
//! The unit is asked only about the socket that its own configuration names. Where there is no systemd, or it does not
//! know the unit, the socket alone tells what is plain.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use config::Config;

const UNIT: &str = "prestaged.service";
/// The unit's properties that tell what became of it.
const PROPERTIES: &str = "LoadState,ActiveState,SubState,Result,ExecMainStatus,InvocationID";
/// So many lines of the unit's journal are read back: a start's error and its hints are the last of them.
const LINES: &str = "40";

/// What an operator is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) text: String,
    pub(super) hint: String,
}

/// Finds out why nobody answers on a socket that could not be connected to.
pub(super) fn explain(socket: &Path, error: &io::Error) -> Absence {
    let found = Found::at(socket, error);
    let unit = is_of_the_service(socket).then(Unit::ask).flatten();
    tell(socket, &found, unit.as_ref())
}

/// What stands in the socket's place.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A socket on which nobody listens.
    Dead,
    NoSocket(&'static str),
    /// The error says it.
    Other(String),
}

impl Found {
    fn at(socket: &Path, error: &io::Error) -> Self {
        match (fs::metadata(socket).map(|meta| meta.file_type()), error.kind()) {
            (Err(missing), _) if missing.kind() == io::ErrorKind::NotFound => Self::Nothing,
            (Ok(kind), _) if kind.is_dir() => Self::NoSocket("a folder"),
            (Ok(kind), _) if !kind.is_socket() => Self::NoSocket("a file"),
            (Ok(_), io::ErrorKind::ConnectionRefused) => Self::Dead,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Whether the installed service would answer on this socket. A configuration that cannot be read, which may be the very
/// reason of its absence, leaves the default.
fn is_of_the_service(socket: &Path) -> bool {
    let configured =
        Config::load(Path::new(config::DEFAULT_PATH)).map(|config| config.control.socket);
    configured.map_or(socket == Path::new(config::DEFAULT_SOCKET), |path| path == socket)
}

/// The unit as systemd shows it, with the last error that it has logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unit {
    active: String,
    sub: String,
    result: String,
    status: String,
    /// What the daemon said last about why it ends, without its name; and its hints.
    error: Option<(String, Vec<String>)>,
}

impl Unit {
    /// The unit; `None` where there is no systemd, or no such unit.
    fn ask() -> Option<Self> {
        let shown = output("systemctl", &["show", UNIT, "--property", PROPERTIES])?;
        let value = |name: &str| {
            let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        if value("LoadState") != "loaded" {
            return None;
        }
        let invocation = format!("_SYSTEMD_INVOCATION_ID={}", value("InvocationID"));
        let options =
            ["--unit", UNIT, "--lines", LINES, "--output", "cat", "--no-pager", "--quiet"];
        let said = match invocation.ends_with('=') {
            true => output("journalctl", &options),
            false => output(
                "journalctl",
                &[
                    &["--lines", LINES, "--output", "cat", "--no-pager", "--quiet"],
                    &[invocation.as_str()][..],
                ]
                .concat(),
            ),
        };
        Some(Self {
            active: value("ActiveState"),
            sub: value("SubState"),
            result: value("Result"),
            status: value("ExecMainStatus"),
            error: said.as_deref().and_then(last_error),
        })
    }
}

/// What a program prints; `None` if it cannot be run, or fails.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last error in a journal, and the hints below it.
fn last_error(journal: &str) -> Option<(String, Vec<String>)> {
    let lines: Vec<&str> = journal.lines().collect();
    let at = lines.iter().rposition(|line| line.starts_with("prestaged: "))?;
    let error = lines[at].strip_prefix("prestaged: ")?.to_owned();
    let hints = lines[at + 1..].iter().filter_map(|line| line.strip_prefix("hint: "));
    Some((error, hints.map(str::to_owned).collect()))
}

/// Puts together what was found.
fn tell(socket: &Path, found: &Found, unit: Option<&Unit>) -> Absence {
    let path = socket.display();
    if let Some(unit) = unit {
        return of_unit(&path.to_string(), unit);
    }
    let (why, hint) = match found {
        Found::Nothing => (
            "there is no such socket".to_owned(),
            "start the station (`sudo prestaged`, with its --config if it has one), or name its socket with --socket",
        ),
        Found::Dead => (
            "the station that made this socket has ended".to_owned(),
            "start it again, or name another one's socket with --socket",
        ),
        Found::NoSocket(what) => (
            format!("{what} stands there, and no socket"),
            "name the station's socket with --socket: control.socket in its configuration",
        ),
        Found::Other(error) => (
            error.clone(),
            "name the station's socket with --socket: control.socket in its configuration",
        ),
    };
    Absence { text: format!("cannot reach the daemon at {path}: {why}"), hint: hint.into() }
}

fn of_unit(path: &str, unit: &Unit) -> Absence {
    let start = "sudo systemctl start prestaged";
    let log = "sudo journalctl -u prestaged -e";
    let (text, mut hints) = match (unit.active.as_str(), unit.sub.as_str()) {
        ("active", _) => (
            format!("prestaged.service runs, but nobody answers at {path}"),
            vec![format!("see what it logs: {log}")],
        ),
        ("activating", "auto-restart") => (
            "prestaged.service has failed and is started again by itself".into(),
            vec![format!("wait some seconds; if it comes again: {log}")],
        ),
        ("activating" | "reloading", _) => (
            "prestaged.service is starting".into(),
            vec!["wait some seconds, and try again".into()],
        ),
        ("deactivating", _) => (
            "prestaged.service is ending: it finishes the drives that it writes".into(),
            vec![format!("start it again when it has ended: {start}")],
        ),
        ("failed", _) if unit.status == "78" => (
            "prestaged.service does not start (exit code 78)".into(),
            vec![format!("then check it with `sudo prestaged --check`, and start it: {start}")],
        ),
        ("failed", _) => {
            let how = match unit.result.as_str() {
                "exit-code" => format!("exit code {}", unit.status),
                result => result.to_owned(),
            };
            (
                format!("prestaged.service has failed ({how})"),
                vec![
                    format!("see what it logged: {log}"),
                    format!("then start it: sudo systemctl reset-failed prestaged; {start}"),
                ],
            )
        }
        _ => ("prestaged.service is stopped".into(), vec![format!("start it: {start}")]),
    };
    // A station that was stopped has no error, whatever it said before.
    let told = matches!(unit.active.as_str(), "failed" | "activating");
    let Some((error, own)) = unit.error.as_ref().filter(|_| told) else {
        if unit.active == "failed" && unit.status == "78" {
            hints = vec![
                format!("see what is wrong: sudo prestaged --check"),
                format!("then start it: {start}"),
            ];
        }
        return Absence { text, hint: hints.join("\n") };
    };
    let hint = [own.clone(), hints].concat().join("\n");
    Absence { text: format!("{text}: {error}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: &Found, unit: Option<Unit>) -> String {
        let Absence { text, hint } =
            tell(Path::new("/run/prestaged/control.sock"), found, unit.as_ref());
        format!("{text}\n{hint}\n")
    }

    #[test]
    fn an_error_is_found_with_its_hints() {
        let journal = "starts\nprestaged: first\nhint: no more\nStarted.\n\
            prestaged: /etc/x.toml:3: admission.armd: no such key\nhint: did you mean \"armed\"?\n\
            prestaged.service: Main process exited, code=exited, status=78/CONFIG\n";
        let (error, hints) = last_error(journal).unwrap();
        assert_eq!(error, "/etc/x.toml:3: admission.armd: no such key");
        assert_eq!(hints, ["did you mean \"armed\"?"]);
        assert_eq!(last_error("nothing\nprestaged.service: Failed"), None);
    }

    #[test]
    fn what_is_told_of_each_state() {
        let unit = |active: &str, sub: &str, result: &str, status: &str| Unit {
            active: active.into(),
            sub: sub.into(),
            result: result.into(),
            status: status.into(),
            error: None,
        };
        let wrong = Some((
            "x.toml:3: admission.armd: no such key".to_owned(),
            vec!["did you mean \"armed\"?".to_owned()],
        ));
        let failed = unit("failed", "failed", "exit-code", "78");
        let mut text = String::new();
        for (name, found, unit) in [
            ("no socket", Found::Nothing, None),
            ("a dead socket", Found::Dead, None),
            ("a file", Found::NoSocket("a file"), None),
            ("another error", Found::Other("Not a directory (os error 20)".into()), None),
            (
                "stopped",
                Found::Nothing,
                Some(Unit { error: wrong.clone(), ..unit("inactive", "dead", "success", "0") }),
            ),
            (
                "wrong configuration",
                Found::Nothing,
                Some(Unit { error: wrong.clone(), ..failed.clone() }),
            ),
            ("the same, unreadable journal", Found::Nothing, Some(failed)),
            ("killed", Found::Dead, Some(unit("failed", "failed", "watchdog", "6"))),
            ("another exit code", Found::Dead, Some(unit("failed", "failed", "exit-code", "1"))),
            (
                "restarts",
                Found::Dead,
                Some(Unit { error: wrong, ..unit("activating", "auto-restart", "exit-code", "1") }),
            ),
            ("starts", Found::Nothing, Some(unit("activating", "start", "success", "0"))),
            ("ends", Found::Nothing, Some(unit("deactivating", "stop-sigterm", "success", "0"))),
            ("another socket", Found::Nothing, Some(unit("active", "running", "success", "0"))),
        ] {
            text += &format!("# {name}\n{}\n", told(&found, unit));
        }
        crate::fixture::snapshot("absence", &text);
    }
}
