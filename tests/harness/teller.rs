//! In a daemon's place: tells a gate whatever snapshot a test has made, on the socket for looking.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use model::api::snapshot::Snapshot;

/// The document that is told, and how often it has changed.
#[derive(Default)]
struct Told {
    now: Mutex<(u64, String)>,
    changed: Condvar,
}

/// Its threads end with the test's process.
pub(crate) struct Teller(Arc<Told>);

impl Teller {
    pub(crate) fn new(socket: &Path) -> Self {
        let told = Arc::<Told>::default();
        let listener = UnixListener::bind(socket).unwrap();
        fs::set_permissions(socket, Permissions::from_mode(0o777)).unwrap();
        let teller = Self(Arc::clone(&told));
        teller.tell(&Snapshot::default());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                // Whoever asked may have gone.
                thread::spawn(move || answer(stream, &told).ok());
            }
        });
        teller
    }

    pub(crate) fn tell(&self, snapshot: &Snapshot) {
        let mut now = self.0.now.lock().unwrap();
        *now = (now.0 + 1, serde_json::to_string(snapshot).unwrap());
        self.0.changed.notify_all();
    }
}

fn answer(stream: UnixStream, told: &Told) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let asked = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut stream = stream;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let path = asked.split(' ').nth(1).unwrap_or_default();
    if path != "/v1/events" {
        let (_, status) = told.now.lock().unwrap().clone();
        let body = if path == "/v1/status" { status } else { "[]".to_owned() };
        return write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
    }
    write!(stream, "{head}\r\n")?;
    let mut shown = 0;
    loop {
        let now = told.now.lock().unwrap();
        let wait = Duration::from_millis(500);
        let (now, _) = told.changed.wait_timeout_while(now, wait, |now| now.0 == shown).unwrap();
        let (number, document) = now.clone();
        drop(now);
        shown = number;
        stream.write_all(format!("{document}\n").as_bytes())?;
    }
}
