//! A parcel on a server.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use macro_rules_attribute::apply;

use super::{Desk, packs};
use crate::harness::signed::self_signed;
use crate::harness::wait_for;

/// Serves a folder with ranges, and cuts each connection for a pack after so many bytes.
struct Server {
    address: String,
    served: Arc<AtomicU64>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start(folder: &Path, cut: usize, ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/win11-7.parcel/", listener.local_addr().unwrap());
        let (served, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (folder, counts) = (folder.to_owned(), (Arc::clone(&served), Arc::clone(&asked)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&mut stream.unwrap(), &folder, cut, ranges, &counts);
            }
        });
        Self { address, served, asked }
    }
}

fn answer(
    stream: &mut TcpStream,
    folder: &Path,
    cut: usize,
    ranges: bool,
    (served, asked): &(Arc<AtomicU64>, Arc<AtomicUsize>),
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let name = request.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
    let Ok(data) = fs::read(folder.join(&name)) else {
        let _ = stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    };
    let range = headers.iter().find_map(|line| {
        let line = line.to_lowercase();
        let (from, to) = line.strip_prefix("range: bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap() + 1))
    });
    asked.fetch_add(1, Ordering::Relaxed);
    let (head, body) = match range.filter(|_| ranges) {
        Some((from, to)) => {
            let to = to.min(data.len());
            let all = data.len();
            let line =
                format!("HTTP/1.1 206 Partial\r\ncontent-range: bytes {from}-{}/{all}\r\n", to - 1);
            (line, &data[from..to])
        }
        None => ("HTTP/1.1 200 OK\r\n".to_owned(), &data[..]),
    };
    let sent = if name.starts_with("pack.") { &body[..body.len().min(cut)] } else { body };
    let head = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
    served.fetch_add(u64::try_from(sent.len()).unwrap(), Ordering::Relaxed);
}

/// Connections break in the middle of pieces; no byte that came is asked for twice.
#[apply(test!)]
fn a_server_may_cut_every_connection() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    let server = Server::start(&parcel, 300_000, true);
    let (code, done) = desk.receive(&server.address);
    assert_eq!(code, 0, "{done:#}");
    assert!(desk.has_all_or_nothing("win11-7.wim"));
    let size = fs::metadata(desk.path("win11-7.wim")).unwrap().len();
    let files =
        ["manifest.json", "index"].map(|name| fs::metadata(parcel.join(name)).unwrap().len());
    assert_eq!(server.served.load(Ordering::Relaxed), size + files[0] + files[1], "each byte once");
    assert!(server.asked.load(Ordering::Relaxed) > packs(&parcel).len() + 2);
    // What a server lacks is told as what a stick lacks; one that gives no ranges is told as such.
    fs::remove_file(desk.path("inbox/win11-7.wim")).unwrap();
    let last = packs(&parcel).pop().unwrap();
    fs::rename(&last, desk.path("last")).unwrap();
    let (code, refused) = desk.receive(&server.address);
    assert_eq!((code, &refused["error"]["code"]), (1, &"parcel_incomplete".into()), "{refused:#}");
    fs::rename(desk.path("last"), &last).unwrap();
    let whole = Server::start(&parcel, usize::MAX, false);
    let (code, done) = desk.receive(&whole.address);
    assert_eq!(code, 0, "the last pack was asked for from its begin: {done:#}");
    fs::remove_file(desk.path("inbox/win11-7.wim")).unwrap();
    let (code, refused) = desk.receive(&server.address.replace("http://", "http://127.0.0.1:1/"));
    assert_eq!((code, &refused["error"]["code"]), (1, &"parcel_incomplete".into()), "{refused:#}");
}

/// TLS before a server that knows none.
struct Terminator(Child);

impl Drop for Terminator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes TLS connections with this certificate and its key, passes them on to a port, and writes its own port to a file.
const TERMINATOR: &str = r#"
import os, socket, ssl, sys, threading
certificate, key, behind, told = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))
with open(told + ".new", "w") as file:
    file.write(str(listener.getsockname()[1]))
os.rename(told + ".new", told)
def serve(plain):
    with context.wrap_socket(plain, server_side=True) as tls:
        with socket.create_connection(("127.0.0.1", int(behind))) as server:
            server.sendall(tls.recv(1 << 16))
            while data := server.recv(1 << 16):
                tls.sendall(data)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// A server is who its certificate says, by those who vouch for it and nobody else.
#[apply(test!)]
fn a_server_must_have_the_right_certificate() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    let server = Server::start(&parcel, 300_000, true);
    let behind = server.address.split(['/', ':']).nth(4).unwrap();
    let (key, certificate, told) = (desk.text("tls.key"), desk.text("tls.pem"), desk.text("port"));
    self_signed(&key, &certificate);
    let mut terminator = Command::new("python3");
    terminator.args(["-c", TERMINATOR, &certificate, &key, behind, &told]);
    let _terminator = Terminator(terminator.stderr(std::process::Stdio::null()).spawn().unwrap());
    let port = wait_for("the server", || fs::read_to_string(&told).ok());
    let receive = |host: &str, vouching: &str| {
        let address = format!("https://{host}:{port}/win11-7.parcel");
        let output = desk.receiving(&address).env("SSL_CERT_FILE", vouching).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let other = desk.text("other.pem");
    self_signed(&desk.text("other.key"), &other);
    for (host, vouching) in [("localhost", &*other), ("127.0.0.1", &certificate)] {
        let (code, refused) = receive(host, vouching);
        assert_eq!(code, Some(1), "{refused}");
        assert!(refused.contains("certificate"), "{refused}");
        assert_eq!(server.asked.load(Ordering::Relaxed), 0, "nothing was asked for");
        assert!(desk.inbox().is_empty());
    }
    let (code, done) = receive("localhost", &certificate);
    assert_eq!(code, Some(0), "{done}");
    assert!(desk.has_all_or_nothing("win11-7.wim"));
}
