//! A broker of MQTT that events go to (mosquitto), and somebody who listens there.

use std::cell::RefCell;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::needs::MOSQUITTO_PATH;
use super::sample::run;
use super::signed::self_signed;
use super::wait_for;

/// The password of the user `rack`.
pub(crate) const RIGHT: &str = "correct horse battery";

/// A broker, with a folder for all that it has.
pub(crate) struct Broker {
    folder: PathBuf,
    pub(crate) port: u16,
    child: RefCell<Option<Child>>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Broker {
    /// A broker that does not run yet. It is `localhost` by `broker.pem`; `own.pem` and `own.key` are somebody else's.
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("data")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let broker = Self { folder: folder.to_owned(), port, child: RefCell::new(None) };
        self_signed(&broker.at("broker.key"), &broker.at("broker.pem"));
        self_signed(&broker.at("own.key"), &broker.at("own.pem"));
        let users = broker.at("users");
        run("mosquitto_passwd", &["-b", "-c", &users, "rack", RIGHT]);
        run("mosquitto_passwd", &["-b", &users, "listener", "heard"]);
        broker
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Starts it, with further lines in its configuration. It knows what it knew before.
    pub(crate) fn start(&self, lines: &str) {
        let text = format!(
            "listener {} 127.0.0.1\ncertfile {}\nkeyfile {}\nallow_anonymous false\npassword_file {}\n\
             user root\npersistence true\npersistence_location {}/\nautosave_on_changes true\n\
             autosave_interval 1\nlog_dest stderr\n{lines}",
            self.port,
            self.at("broker.pem"),
            self.at("broker.key"),
            self.at("users"),
            self.at("data"),
        );
        fs::write(self.at("conf"), text).unwrap();
        let log = File::options().create(true).append(true).open(self.at("log")).unwrap();
        let child = Command::new(MOSQUITTO_PATH)
            .args(["-c", &self.at("conf")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.child.borrow_mut() = Some(child);
        wait_for("the broker", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it, if it runs.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.borrow_mut().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A message as it has come.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) kind: String,
    pub(crate) is_retained: bool,
    pub(crate) event: Value,
}

/// Somebody who listens, and for whom the broker keeps what comes while they cannot.
pub(crate) struct Listener {
    child: Child,
    heard: PathBuf,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Listener {
    /// Listens at the topics below this one, from now on.
    pub(crate) fn new(broker: &Broker, topic: &str) -> Self {
        let heard = PathBuf::from(broker.at("heard"));
        let (port, filter) = (broker.port.to_string(), format!("{topic}/#"));
        let (ca, own, key) = (broker.at("broker.pem"), broker.at("own.pem"), broker.at("own.key"));
        let child = Command::new("sh")
            // It ends with each connection.
            .args(["-c", "while :; do \"$@\"; sleep 0.2; done", "sh"])
            .args(["mosquitto_sub", "-V", "5", "-h", "localhost", "-p", &port, "--cafile", &ca])
            .args(["--cert", &own, "--key", &key, "-u", "listener", "-P", "heard"])
            .args(["-i", "listener", "-c", "-q", "1", "-t", &filter, "-F", "%r\t%t\t%C\t%p"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(&heard).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let listener = Self { child, heard };
        let known = broker.at("data/mosquitto.db");
        wait_for("the listener to be known", || {
            let known = fs::read(&known).unwrap_or_default();
            known.windows(filter.len()).any(|part| part == filter.as_bytes()).then_some(())
        });
        listener
    }

    /// All that has come, in order; what came again at once is there once.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let text = fs::read_to_string(&self.heard).unwrap();
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut heard: Vec<Heard> = whole.lines().map(message).collect();
        heard.dedup_by(|next, one| next.event["id"] == one.event["id"]);
        heard
    }
}

fn message(line: &str) -> Heard {
    let parts: Vec<&str> = line.splitn(4, '\t').collect();
    let [retained, topic, kind, event] = parts[..] else { panic!("{line:?}") };
    let event = serde_json::from_str(event).unwrap();
    Heard { topic: topic.to_owned(), kind: kind.to_owned(), is_retained: retained != "0", event }
}
