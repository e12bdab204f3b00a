//! The station among others: paths that lead to somebody else's files, clients without end, a log that nobody reads, an
//! inbox full of traps, signals, limits that no machine has.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{Faults, FaultyDrive, slow};
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, group, sample, told, wait_for};

/// Writes a file and the folders that lead to it.
fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Whether all files hold these texts, in words.
fn all_kept(files: &[(PathBuf, &str)]) -> &'static str {
    let kept = |(path, text): &(PathBuf, &str)| fs::read_to_string(path).is_ok_and(|t| t == *text);
    if files.iter().all(kept) { "all kept" } else { "something is gone" }
}

#[apply(test!)]
#[needs(LOOP)]
fn a_folder_of_others_is_no_store() {
    let rig = Rig::new(Setup::default());
    let store = rig.path("store");
    let files = ["masters/golden-2024/image.wim", "press-kit/photo.jpg", "lock"]
        .map(|name| (store.join(name), "precious"));
    files.iter().for_each(|(path, text)| put(path, text));
    let (code, text) = told(&mut rig.command());
    let named = text.contains("masters/golden-2024") && text.contains("press-kit");
    let marked = store.join(".prestaged").exists();
    Case {
        line: "E.18",
        tried: "store.path at a folder of others",
        right: "exit 78, named, all kept, not marked",
        before: "golden image and press kit deleted",
    }
    .saw(&format!(
        "exit {code}, {}, {}, {}",
        if named { "named" } else { "not named" },
        all_kept(&files),
        if marked { "marked" } else { "not marked" },
    ));
}

#[apply(test!)]
#[needs(LOOP)]
fn a_store_touches_only_what_it_made() {
    let rig = Rig::started(Setup::default());
    let store = rig.path("store");
    let first = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&first.serial);
    rig.kill();
    // As an older version left it, with things of others between.
    fs::remove_file(store.join(".prestaged")).unwrap();
    fs::remove_file(rig.master(&record).join(".prestaged")).unwrap();
    let files = [
        "masters/golden/image.wim",
        "masters/README.txt",
        "masters/0123456789abcdef/notes.txt",
        "press-kit/photo.jpg",
        "press-0123456789abcdef/photo.jpg",
    ]
    .map(|name| (store.join(name), "precious"));
    files.iter().for_each(|(path, text)| put(path, text));
    let outside = rig.path("outside");
    put(&outside.join("disk.raw"), "precious");
    symlink(&outside, store.join("masters/fedcba9876543210")).unwrap();
    rig.start();
    rig.wait_media("win.wim", "valid");
    let second = rig.attached("B", 160, 512);
    rig.wait_pass(&second.serial);
    let used = rig.log().matches("pressing a master").count() == 1;
    Case {
        line: "E.18",
        tried: "the store of an older version is taken over",
        right: "its master is used",
        before: "its master is used",
    }
    .saw(if used { "its master is used" } else { "pressed anew" });
    rig.ctl_fails(2, &["master", "remove", "0123456789abcdef"]);
    rig.ctl_fails(2, &["master", "remove", "fedcba9876543210"]);
    rig.ctl_ok(&["master", "remove", record["master"]["id"].as_str().unwrap()]);
    rig.kill();
    rig.start();
    let files: Vec<_> = files.into_iter().chain([(outside.join("disk.raw"), "precious")]).collect();
    let told = files.iter().all(|(path, _)| {
        let entry = path.parent().unwrap();
        let entry = if entry.ends_with("masters") { path } else { entry };
        entry == outside || rig.log().contains(&format!("{} lies in the store", entry.display()))
    });
    Case {
        line: "E.18",
        tried: "strangers in a store, at start, eviction and removal",
        right: "all kept, each named in the log",
        before: "removed as masters that cannot be read",
    }
    .saw(&format!(
        "{}, {}",
        all_kept(&files),
        if told { "each named in the log" } else { "untold" }
    ));
}

#[apply(test!)]
#[needs(LOOP)]
fn only_a_dead_socket_of_ours_is_replaced() {
    let rig = Rig::new(Setup::default());
    let socket = rig.path("control.sock");
    let precious = rig.path("precious");
    put(&precious, "precious");
    let case = |tried, right| Case { line: "E.18", tried, right, before: "unlinked" };
    let refused = |tried| {
        let (code, text) = told(&mut rig.command());
        assert!(text.contains("control.socket"), "{text}");
        case(tried, "exit 78, kept").saw(&format!(
            "exit {code}, {}",
            if fs::symlink_metadata(&socket).is_ok() { "kept" } else { "gone" }
        ));
    };
    put(&socket, "precious");
    refused("an ordinary file at control.socket");
    assert_eq!(all_kept(&[(socket.clone(), "precious")]), "all kept");
    fs::remove_file(&socket).unwrap();
    symlink(&precious, &socket).unwrap();
    refused("a link at control.socket");
    fs::remove_file(&socket).unwrap();
    let datagrams = UnixDatagram::bind(&socket).unwrap();
    refused("the datagram socket of another program");
    drop(datagrams);
    fs::remove_file(&socket).unwrap();
    assert_eq!(all_kept(&[(precious, "precious")]), "all kept");
    rig.start();
    rig.kill();
    assert!(fs::symlink_metadata(&socket).is_ok());
    rig.start();
    case("the socket that a killed station left", "replaced").saw("replaced");
    // Somebody else takes the place: the station must not remove that when it ends.
    fs::remove_file(&socket).unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    rig.terminate();
    rig.wait_end();
    let kept = fs::symlink_metadata(&socket).is_ok();
    case("another socket in our place when the station ends", "kept").saw(if kept {
        "kept"
    } else {
        "unlinked"
    });
}

/// A datagram socket in the place of journald's, whose queue is full and which nobody reads until the test does.
fn standing_journal(rig: &Rig) -> UnixDatagram {
    let folder = rig.path("journal");
    fs::create_dir(&folder).unwrap();
    let journal = UnixDatagram::bind(folder.join("socket")).unwrap();
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"MESSAGE=x\n", folder.join("socket")).is_ok() {}
    journal
}

/// Starts a station whose journal is the socket in `folder`, in a mount namespace of its own.
fn journal_in(folder: &Path) -> Setup {
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
         && mount --bind {} /run/systemd/journal && exec \"$@\"",
        folder.display()
    );
    Setup::default().wrapped(&[
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
        "sh",
    ])
}

/// Images a drive and gives a command; what became of both, in words.
fn works(rig: &Rig) -> String {
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_verdict(&drive.serial);
    let disarmed = rig.ctl(&["disarm"]).0 == 0;
    let answer = if disarmed { "answers" } else { "does not answer" };
    format!("{answer}, {}", record["verdict"].as_str().unwrap())
}

#[apply(test!)]
#[needs(LOOP, ROOT)]
fn a_journal_that_stands_still_holds_nothing_up() {
    let shell = Rig::new(Setup::default());
    let journal = standing_journal(&shell);
    let rig = Rig::started(journal_in(&shell.path("journal")));
    Case {
        line: "E.20",
        tried: "journald that takes nothing, from the start on",
        right: "answers, passed",
        before: "main loop and drives' threads hang",
    }
    .saw(&works(&rig));
    // It goes on: what was queued arrives, with the records.
    journal.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    let came = wait_for("the queued messages", || {
        let mut message = vec![0; 1 << 16];
        while let Ok(length) = journal.recv(&mut message) {
            all.extend_from_slice(&message[..length]);
        }
        String::from_utf8_lossy(&all).contains(record::journal::PASSED).then_some("copied")
    });
    Case {
        line: "E.20",
        tried: "records while journald stood still, once it goes on",
        right: "copied",
        before: "main loop and drives' threads hang",
    }
    .saw(came);
}

#[apply(test!)]
#[needs(LOOP)]
fn standard_error_that_nobody_reads_holds_nothing_up() {
    let shell = Rig::new(Setup::default());
    let pipe = shell.path("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut held = File::options().read(true).write(true).open(&pipe).unwrap();
    let flags = rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&held, flags).unwrap();
    while held.write_all(&[b'x'; 4096]).is_ok() {}
    let script = format!("exec \"$@\" 2>{}", pipe.display());
    let rig = Rig::started(Setup::default().wrapped(&["sh", "-c", &script, "sh"]));
    let seen = works(&rig);
    rig.terminate();
    let ended = if rig.wait_end() { "ends" } else { "ends badly" };
    Case {
        line: "E.20",
        tried: "a pipe at standard error that nobody reads",
        right: "answers, passed, ends",
        before: "every thread that logs hangs",
    }
    .saw(&format!("{seen}, {ended}"));
}

/// Speaks to the control socket; returns all that comes back until the station closes the connection.
fn spoken(socket: &Path, said: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let _ = stream.write_all(said.as_bytes());
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// The status line of an answer, or that there is none.
fn status_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or("closed")
}

#[apply(test!)]
#[needs(LOOP)]
fn a_client_that_does_not_go_on_is_dropped() {
    let rig = Rig::new(Setup::default());
    rig.start();
    let case = |tried, right, before, seen: &str| {
        Case { line: "E.19", tried, right, before }.saw(status_line(seen));
    };
    let body = "POST /v1/image HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n";
    let socket = rig.path("control.sock");
    let (head, half, idle) = std::thread::scope(|scope| {
        let head = scope.spawn(|| spoken(&socket, "GET /v1/sta"));
        let half = scope.spawn(|| spoken(&socket, &format!("{body}connection: close\r\n\r\n{{")));
        let idle = scope.spawn(|| spoken(&socket, "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n"));
        (head.join().unwrap(), half.join().unwrap(), idle.join().unwrap())
    });
    case("half a header", "closed", "stays for ever", &head);
    case("a body that does not come", "HTTP/1.1 400 Bad Request", "stays for ever", &half);
    case("a connection that is used once", "HTTP/1.1 200 OK", "stays for ever", &idle);
    let long = format!("GET /v1/status HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let too_large = "HTTP/1.1 431 Request Header Fields Too Large";
    case("a header of a megabyte", too_large, "431", &spoken(&socket, &long));
}

/// Sets a flag when dropped, also by a panic: a scope waits for its threads.
struct Set<'a>(&'a AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[apply(test!)]
#[needs(LOOP, ROOT)]
fn clients_beyond_the_limits_delay_no_drive() {
    let few = ["prlimit", "--nofile=256:256", "--"];
    let rig = Rig::started(Setup::default().wrapped(&few).set("control.group", "disk"));
    let (socket, stop) = (rig.path("control.sock"), AtomicBool::new(false));
    let (told, status, verdict) = std::thread::scope(|scope| {
        // As fast as it can, one user opens connections that it does not use.
        let flood = scope.spawn(|| {
            let mut held = VecDeque::new();
            while !stop.load(Ordering::Relaxed) {
                held.extend(UnixStream::connect(&socket));
                if held.len() > 300 {
                    held.pop_front();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let ending = Set(&stop);
        let told = wait_for("the limit", || {
            let (code, text) = rig.ctl(&["status"]);
            // A connection may also be cut before its answer is read.
            text.contains("takes no more").then(|| format!("exit {code}, told"))
        });
        let drive = rig.drive("A", 160);
        drive.attach(&[]);
        let other = |words: &[&str]| rig.ctl_as_nobody(group("disk"), words);
        let status = other(&["status"]).0;
        let verdict = wait_for("the record", || {
            let (_, text) = other(&["--json", "records", "--serial", &drive.serial]);
            let records: Value = serde_json::from_str(&text).ok()?;
            Some(records.as_array()?.last()?["verdict"].as_str()?.to_owned())
        });
        drop(ending);
        flood.join().unwrap();
        (told, status, verdict)
    });
    let case =
        |tried, right, before, seen: &str| Case { line: "E.19", tried, right, before }.saw(seen);
    case("one connection too many of one user", "exit 69, told", "accepted", &told);
    let answered = if status == 0 { "answered" } else { "turned away" };
    case("another user beside a flood of connections", "answered", "not answered", answered);
    case("a good drive beside a flood of connections", "passed", "failed unplugged", &verdict);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn signals_do_not_cost_a_good_drive() {
    let rig = Rig::started(Setup::default());
    let drive = FaultyDrive::new(&rig, "A", 160, slow(20));
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    let send = |signal: &str| run("kill", &["-s", signal, &rig.pid().to_string()]);
    for signal in ["HUP", "USR1", "USR2", "PIPE", "ALRM", "PWR", "XFSZ", "XCPU", "34", "64"] {
        send(signal);
    }
    wait_for("SIGHUP to be told", || rig.log().contains("SIGHUP is ignored").then_some(()));
    let draining = rig.json(&["status"])["draining"] == true;
    Case {
        line: "E.23",
        tried: "HUP, USR1, USR2, PIPE, ALRM, PWR, XFSZ, XCPU, RTMIN, RTMAX",
        right: "goes on",
        before: "ended at once, drives interrupted",
    }
    .saw(if draining { "drains" } else { "goes on" });
    send("QUIT");
    wait_for("the drain", || (rig.json(&["status"])["draining"] == true).then_some(()));
    drive.set(Faults::default());
    assert!(rig.wait_end(), "{}", rig.log());
    rig.start();
    let record = rig.wait_recorded(&drive.serial);
    Case {
        line: "E.23",
        tried: "QUIT while a drive is written",
        right: "passed",
        before: "stopped station_interrupted",
    }
    .saw(record["verdict"].as_str().unwrap());
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_renamed_file_does_not_get_younger() {
    let day = ("One.wim".to_owned(), toml::Value::from("2020-01-01"));
    let rig = Rig::new(Setup::default().set("media.expires", toml::Table::from_iter([day])));
    rig.add_media(&sample(&["--compress=LZX"]), "one.wim");
    let (code, checked) = told(rig.command().arg("--check"));
    rig.start();
    let media = rig.wait_media("one.wim", "valid");
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_verdict(&drive.serial);
    let mut warnings = media["warnings"].as_array().unwrap().iter();
    let warned = warnings.any(|warning| warning["code"] == "expiry_name")
        && code == 0
        && checked.contains("warning   ")
        && checked.contains("media.expires: \"One.wim\" is");
    Case {
        line: "E.23",
        tried: "media.expires has the name in another case",
        right: "refused media_expired, warned",
        before: "passed, never expires",
    }
    .saw(&format!(
        "{} {}, {}",
        record["verdict"].as_str().unwrap(),
        record["reason"]["code"].as_str().unwrap_or("no reason"),
        if warned { "warned" } else { "no warning" }
    ));
}

#[apply(test!)]
fn quantities_that_no_machine_has_are_mistakes() {
    for (key, value, told_as) in [
        ("replicate.memory", "15EiB", "replicate.memory: 17293822569102704640 bytes are more than"),
        ("store.budget", "15EiB", "store.budget: 17293822569102704640 bytes are too many"),
        ("replicate.stall_timeout", "1ns", "replicate.stall_timeout: 1ns are too short"),
        ("replicate.rate_window", "1ns", "replicate.rate_window: 1ns are too short"),
        ("admission.max_size", "15EiB", "admission.max_size: 17293822569102704640 bytes are too"),
        ("layout.0.partitions.3.size", "15EiB", "partitions.size: 17293822569102704640 bytes are"),
    ] {
        let rig = Rig::new(Setup::default().set(key, value));
        let (code, text) = told(rig.command().arg("--check"));
        let named =
            text.contains("prestaged.toml:") && text.contains(told_as) && text.contains("hint: ");
        Case {
            line: "E.23",
            tried: key,
            right: "exit 78, file, line, key and hint",
            before: "exit 0",
        }
        .saw(&format!("exit {code}, {}", if named { "file, line, key and hint" } else { &text }));
    }
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn an_inbox_full_of_traps_holds_up_no_media() {
    let rig = Rig::new(Setup::default());
    let hung = Faults { hangs_at: Some(0), ..Faults::default() };
    let elsewhere = FaultyDrive::new(&rig, "HUNG", 8, hung);
    symlink(&elsewhere.file, rig.path("inbox/a-link.wim")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let fifo = rig.path("inbox/b-fifo.wim");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for number in 0..10_000 {
        fs::write(rig.path(&format!("inbox/broken-{number:05}.wim")), "not a WIM").unwrap();
    }
    rig.start();
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    let media = rig.wait_media("win.wim", "valid");
    Case {
        line: "E.21",
        tried: "media beside 10,000 broken files and a link that hangs",
        right: "valid",
        before: "waits for minutes, or for ever",
    }
    .saw(media["state"].as_str().unwrap());
    let status = rig.json(&["status"]);
    let silent = status["inbox"]["silent"][0]["name"] == "a-link.wim";
    let waiting = status["inbox"]["waiting"].as_u64().unwrap();
    let shown = status["media"].as_array().unwrap().len();
    let told = rig.ctl_ok(&["status"]).contains("a-link.wim has not answered since");
    Case {
        line: "E.21",
        tried: "the same, as status tells it",
        right: "9900 wait, 101 shown, the link is named",
        before: "nothing",
    }
    .saw(&format!(
        "{waiting} wait, {shown} shown, {}",
        if silent && told { "the link is named" } else { "the link is not named" }
    ));
    elsewhere.set(Faults::default());
    wait_for("the link to answer", || {
        let status = rig.json(&["status"]);
        status["inbox"]["silent"].as_array().unwrap().is_empty().then_some(())
    });
    drop(rig);
}
