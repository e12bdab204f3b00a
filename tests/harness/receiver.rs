//! Somebody who is told what has happened: takes events over HTTP, or does whatever else a receiver might do.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::digest::Digest;
use serde_json::Value;

/// What a receiver does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Takes what is signed right, and answers 401 to all else.
    Take,
    Answer(u16),
    /// Sends whoever asks to another address.
    SendTo(String),
    /// Reads, and says nothing.
    Hang,
    /// Ends the connection without an answer.
    Close,
}

/// A receiver that listens. Its threads end with the test's process.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    does: Does,
    secret: Vec<u8>,
    /// What was taken, in order, without repeats.
    taken: Vec<Value>,
    ids: BTreeSet<String>,
    /// How many requests there were, and how many were signed wrong.
    asked: usize,
    forged: usize,
}

/// A secret, and the line with it.
pub(crate) fn secret(byte: u8) -> (Vec<u8>, String) {
    let secret = vec![byte; 32];
    let line = format!("whsec_{}\n", STANDARD.encode(&secret));
    (secret, line)
}

/// HMAC by RFC 2104, for keys no longer than a block.
fn hmac(key: &[u8], message: &[u8]) -> Digest {
    let pad = |with: u8| -> Vec<u8> {
        (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ with).collect()
    };
    let inner = Digest::of(&[&pad(0x36)[..], message].concat());
    Digest::of(&[&pad(0x5c)[..], &inner.0].concat())
}

impl Receiver {
    pub(crate) fn new(does: Does, secret: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, ids) = (Vec::new(), BTreeSet::new());
        let state = State { does, secret, taken, ids, asked: 0, forged: 0 };
        let receiver = Self { port, state: Arc::new(Mutex::new(state)) };
        let own = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                // Whoever asked may have gone.
                thread::spawn(move || own.serve(stream).ok());
            }
        });
        receiver
    }

    pub(crate) fn does(&self, does: Does) {
        self.state.lock().unwrap().does = does;
    }

    /// What it has taken, in order, each once.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.state.lock().unwrap().taken.clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    pub(crate) fn forged(&self) -> usize {
        self.state.lock().unwrap().forged
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let header = |name: &str| {
                let found = head.iter().filter_map(|line| line.split_once(": "));
                let mut found = found.filter(|(found, _)| found.eq_ignore_ascii_case(name));
                found.next().map(|(_, value)| value.to_owned()).unwrap_or_default()
            };
            let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
            reader.read_exact(&mut body)?;
            let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
            let signature = header("webhook-signature");
            let mut state = self.state.lock().unwrap();
            state.asked += 1;
            let message = [format!("{id}.{at}.").as_bytes(), &body].concat();
            let right = format!("v1,{}", STANDARD.encode(hmac(&state.secret, &message).0));
            let is_signed = signature.split(' ').any(|one| one == right);
            let answer = match state.does.clone() {
                Does::Take if is_signed => {
                    let event: Value = serde_json::from_slice(&body).unwrap();
                    assert_eq!(event["id"], id.as_str());
                    if state.ids.insert(id) {
                        state.taken.push(event);
                    }
                    "204 No Content".to_owned()
                }
                Does::Take => {
                    state.forged += 1;
                    "401 Unauthorized".to_owned()
                }
                Does::Answer(status) => format!("{status} So"),
                Does::SendTo(address) => format!("307 Elsewhere\r\nlocation: {address}"),
                Does::Hang => {
                    drop(state);
                    let _ = reader.read_line(&mut String::new());
                    return Ok(());
                }
                Does::Close => return Ok(()),
            };
            drop(state);
            let length = if answer.starts_with("204") { "" } else { "content-length: 0\r\n" };
            write!(stream, "HTTP/1.1 {answer}\r\n{length}\r\n")?;
        }
    }
}
