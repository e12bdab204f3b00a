//! The gate beside a station under test, and what a browser would ask it.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Rig, Setup, bay, group, wait_for};

/// The user games: everybody's Debian has it, and nothing runs as it. Its number is Debian's, too.
pub(crate) const GAMES: u32 = 5;
/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// An answer of the gate.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name))
        })?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

/// The gate of a station, as a user of its own.
pub(crate) struct Gate {
    port: u16,
    pub(crate) child: RefCell<Child>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A port on which nobody listens at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A station that has a gate beside it, with `left` as the bay of all its drives. Three people may sign in.
pub(crate) fn rig(keys: &[(&str, toml::Value)]) -> (Rig, u16) {
    let port = free_port();
    let rig = Rig::new(Setup::default());
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    rig.set("bay", bay("left", &format!("loop-{}*", rig.name)));
    rig.set("admission.bays", vec!["left"]);
    rig.set("control.group", "games");
    rig.set("control.view_group", "games");
    rig.set("control.view_socket", at("view.sock"));
    rig.set("gate.listen", format!("127.0.0.1:{port}"));
    rig.set("gate.user", "games");
    rig.set("gate.accounts", at("accounts"));
    for (key, value) in keys {
        rig.set(key, value.clone());
    }
    let account = |name: &str, role: &str| -> String {
        let mut child = Command::new(env!("CARGO_BIN_EXE_prestaged-gate"))
            .args(["account", name, role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let accounts: String = [("vera", "view"), ("olga", "operate"), ("adam", "admin")]
        .map(|(name, role)| account(name, role))
        .concat();
    fs::write(rig.path("accounts"), accounts).unwrap();
    for_games(&rig.path("accounts"));
    (rig, port)
}

/// Makes a file readable to the gate's user and to nobody else.
pub(crate) fn for_games(file: &Path) {
    chown(file, Some(GAMES), None).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn start_gate(rig: &Rig, port: u16) -> Gate {
    let copy = rig.path("prestaged-gate");
    if !copy.exists() {
        fs::copy(env!("CARGO_BIN_EXE_prestaged-gate"), &copy).unwrap();
    }
    let log = fs::File::options().create(true).append(true).open(rig.path("gate.log")).unwrap();
    let mut command = Command::new(copy);
    command
        .arg("--config")
        .arg(rig.path("prestaged.toml"))
        .uid(GAMES)
        .gid(group("games"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    // A child of another test, begun while the program was copied, holds it open for a moment.
    let child = wait_for("the gate to be started", || match command.spawn() {
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
        started => Some(started.unwrap()),
    });
    let gate = Gate { port, child: RefCell::new(child) };
    wait_for("the gate to listen", || {
        let ended = gate.child.borrow_mut().try_wait().unwrap();
        let log = || fs::read_to_string(rig.path("gate.log")).unwrap_or_default();
        assert!(ended.is_none(), "the gate ended: {}", log());
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    gate
}

impl Gate {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends bytes as they are; returns what comes back until the connection ends.
    fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A request with these further lines in its head.
    pub(crate) fn ask(&self, method: &str, path: &str, lines: &[&str], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !lines.iter().any(|line| line.starts_with("host:")) {
            head += &format!("host: localhost:{}\r\n", self.port);
        }
        for line in lines {
            head += &format!("{line}\r\n");
        }
        if method == "POST" {
            let form = "content-type: application/x-www-form-urlencoded";
            head += &format!("{form}\r\ncontent-length: {}\r\n", body.len());
        }
        self.raw(&format!("{head}\r\n{body}"))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// Signs in; returns the line with the cookie.
    pub(crate) fn sign_in(&self, name: &str) -> String {
        let body = format!("name={name}&password={}", PASSWORD.replace(' ', "+"));
        let answer = self.ask("POST", "/login", &[], &body);
        assert_eq!(answer.status, 303, "{name}: {answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        format!("cookie: {}", cookie.split(';').next().unwrap())
    }

    /// The news of a page, one event after the other.
    pub(crate) fn news(&self, path: &str) -> News {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost:{}\r\n\r\n", self.port).unwrap();
        News(BufReader::new(stream))
    }
}

/// A stream of events.
pub(crate) struct News(BufReader<TcpStream>);

impl News {
    /// The next event: its name and its data.
    fn next(&mut self) -> Option<(String, String)> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(found) = line.strip_prefix("event: ") {
                name = found.trim().to_owned();
            } else if let Some(found) = line.strip_prefix("data: ") {
                data += found.trim_end();
            } else if line.trim().is_empty() && !name.is_empty() {
                return Some((name, data));
            }
        }
    }

    /// The next event that is as it must be.
    pub(crate) fn wait(&mut self, what: &str, is: impl Fn(&str, &str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let (name, data) = self.next().unwrap_or_else(|| panic!("no news: {what}"));
            if is(&name, &data) {
                return data;
            }
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "waited in vain for {what}: {data}"
            );
        }
    }
}

pub(crate) fn beat(data: &str) -> Value {
    serde_json::from_str(data).unwrap()
}
