//! From the media to a master: what a press leaves, and what a worker may do.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use macro_rules_attribute::apply;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Case;
use crate::harness::sample::Sample;
use crate::harness::{Drive, NOBODY, Rig, Setup, sample, sample_of, wait_for};

/// A station that presses a master for each capacity: what happens to an image on its way is told there.
fn pressed() -> Setup {
    Setup::default().set("store.derive", false)
}

/// Verdict and reason of a record.
fn verdict(record: &Value) -> String {
    let verdict = record["verdict"].as_str().unwrap();
    match record["reason"]["code"].as_str() {
        Some(code) => format!("{verdict} {code}"),
        None => verdict.to_owned(),
    }
}

/// A worker that was stopped between libwim's last write and its end.
struct Stopped {
    worker: Pid,
    /// The folder that it presses into.
    staging: PathBuf,
    drive: Drive,
}

impl Stopped {
    /// Lets the worker go on, and waits for the verdict on the drive.
    fn verdict(&self, rig: &Rig) -> String {
        kill_process(self.worker, Signal::CONT).unwrap();
        verdict(&rig.wait_verdict(&self.drive.serial))
    }

    fn image(&self) -> PathBuf {
        self.staging.join("disk.raw")
    }
}

/// How often a process has the image of a press open.
fn handles(worker: &str) -> usize {
    let files = fs::read_dir(format!("/proc/{worker}/fd")).into_iter().flatten().flatten();
    files.filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.ends_with("disk.raw"))).count()
}

/// Attaches drives until the press for one was caught when libwim had just closed the image. A press that was missed
/// is another drive's.
fn stopped_after_apply(rig: &Rig) -> Stopped {
    // Each drive has a size of its own, and so a press.
    static SIZE: AtomicU64 = AtomicU64::new(420);
    for _ in 0..8 {
        let size = SIZE.fetch_add(1, Ordering::Relaxed);
        let drive = rig.attached(&format!("A{size}"), size, 512);
        let (worker, staging) = wait_for("a press", || {
            let worker = rig.children().into_iter().find(|child| handles(child) > 0)?;
            let mut names = fs::read_dir(rig.path("store")).unwrap().flatten();
            let press = names.find(|e| e.file_name().to_string_lossy().starts_with("press-"))?;
            Some((worker, press.path()))
        });
        while handles(&worker) == 1 {}
        while handles(&worker) > 1 {}
        let pid = Pid::from_raw(worker.parse().unwrap()).unwrap();
        let _ = kill_process(pid, Signal::STOP);
        if handles(&worker) == 1 {
            return Stopped { worker: pid, staging, drive };
        }
        let _ = kill_process(pid, Signal::CONT);
        rig.wait_pass(&drive.serial);
    }
    panic!("no press was caught in time");
}

/// Where these bytes stand in a part of a file.
fn places(file: &File, part: std::ops::Range<u64>, bytes: &[u8]) -> Vec<u64> {
    let mut data = vec![0; usize::try_from(part.end - part.start).unwrap()];
    file.read_exact_at(&mut data, part.start).unwrap();
    let found = data.windows(bytes.len()).enumerate().filter(|(_, found)| *found == bytes);
    found.map(|(at, _)| part.start + u64::try_from(at).unwrap()).collect()
}

/// Flips a bit of this byte.
fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// The EFI system partition, and the Windows volume, of a drive in these tests.
const ESP: std::ops::Range<u64> = 1 << 20..41 << 20;
const WINDOWS: std::ops::Range<u64> = 57 << 20..399 << 20;

/// A master is compared with its media before it exists: contents, streams and names, and the files of the ESP.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn a_master_that_differs_from_its_media_is_none() {
    let rig = Rig::started(pressed());
    let name: Vec<u8> = "hidden.sys".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (tried, part, bytes, skip, told) in [
        (
            "a flipped bit in a file",
            WINDOWS,
            &b"block 3 of a sample file"[..],
            2,
            "the data differs",
        ),
        (
            "a flipped bit in a named stream",
            WINDOWS,
            b"[ZoneTransfer]",
            4,
            "Zone.Identifier: the data differs",
        ),
        ("a flipped bit in a name", WINDOWS, &name, 0, "/Windows/hidden.sys: "),
        ("a flipped bit in the boot manager", ESP, b"PE\0\0\x64\x86", 500, "ESP:/efi/"),
        ("a flipped bit in the BCD", ESP, b"regf", 4, "ESP:/efi/microsoft/boot/bcd"),
    ] {
        let stopped = stopped_after_apply(&rig);
        let before = stopped.drive.checksum();
        let image = File::options().read(true).write(true).open(stopped.image()).unwrap();
        let found = places(&image, part, bytes);
        assert!(!found.is_empty(), "{tried}");
        // A name stands in its folder and in its file record; contents stand once, or once more.
        for at in found.iter().take(if skip == 0 { usize::MAX } else { 1 }) {
            flip(&image, at + skip);
        }
        drop(image);
        let seen = stopped.verdict(&rig);
        stopped.drive.assert_untouched(&before);
        let log = rig.log();
        let line = log
            .lines()
            .find(|line| line.contains("differs from the media: ") && line.contains(told));
        assert!(line.is_some(), "{tried}: {log}");
        let (right, before) = ("failed press_failed", "passed");
        Case { line: "C.9", tried, right, before }.saw(&seen);
        stopped.drive.detach();
        rig.wait_gone(&stopped.drive.serial);
    }
}

/// What changes after the station has hashed the image is found as well: by the comparison, or by the digests.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn an_image_that_changes_while_it_is_compared_ships_no_wrong_byte() {
    let rig = Rig::started(pressed());
    let drive = rig.attached("A", 420, 512);
    let (worker, image) = wait_for("the comparison", || {
        let worker = rig.children().into_iter().find(|child| handles(child) > 0)?;
        let mut names = fs::read_dir(rig.path("store")).unwrap().flatten();
        let image = names.find(|entry| entry.file_name().to_string_lossy().ends_with("-image"))?;
        let pid = Pid::from_raw(worker.parse().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).ok()?;
        Some((pid, image.path().join("disk.raw")))
    });
    let file = File::options().read(true).write(true).open(image).unwrap();
    flip(&file, places(&file, WINDOWS, b"block 3 of a sample file")[0] + 2);
    drop(file);
    kill_process(worker, Signal::CONT).unwrap();
    let record = rig.wait_verdict(&drive.serial);
    let same = record["verdict"] != "passed" || rig.ctl(&["audit", &drive.node()]).0 == 0;
    Case {
        line: "C.9",
        tried: "a flipped bit between hashing and the end of the comparison",
        right: "no wrong byte ships",
        before: "not compared",
    }
    .saw(if same { "no wrong byte ships" } else { "passed with a wrong byte" });
}

/// The comparison fails no good media: files that NTFS compresses are uncompressed for it.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn media_with_compressed_files_passes_and_is_the_same() {
    let rig = Rig::new(pressed());
    rig.add_media(
        &sample_of(&Sample { packed: true, ..Sample::default() }, &["--compress=LZX"]),
        "win.wim",
    );
    rig.start();
    rig.wait_media("win.wim", "valid");
    let drive = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["warnings"], json!([]), "{record:#}");
    let (code, text) = rig.ctl(&["audit", &drive.node()]);
    Case {
        line: "C.9",
        tried: "media with files that NTFS compresses",
        right: "passed, audit 0",
        before: "passed, audit 1",
    }
    .saw(&format!("passed, audit {code}"));
    assert!(text.contains("SAME"), "{text}");
}

/// A station whose mkntfs first runs these lines of a shell, once in a press, with `$staging` as its folder.
fn with_mkntfs(lines: &str) -> Rig {
    let rig = Rig::new(pressed());
    let tools = rig.path("tools");
    fs::create_dir(&tools).unwrap();
    let script = format!(
        "#!/bin/sh\nfor volume; do :; done\nstaging=${{volume%/*}}\ncase $staging in */press-*)\n\
         if ! test -e $staging/once; then\n: > $staging/once\n{lines}\nfi;; esac\n\
         exec /usr/sbin/mkntfs \"$@\"\n"
    );
    fs::write(tools.join("mkntfs"), script).unwrap();
    fs::set_permissions(tools.join("mkntfs"), fs::Permissions::from_mode(0o755)).unwrap();
    rig.set("tools.search", vec![tools.to_str().unwrap(), "/usr/sbin", "/usr/bin"]);
    rig
}

/// The image is taken as a file of the press, not as whatever its name leads to.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn a_link_in_place_of_the_image_leads_nowhere() {
    let rig = Rig::started(pressed());
    let secret = rig.path("secret");
    let owner = 1000;
    fs::write(&secret, "somebody's private file").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&secret, Some(owner), Some(owner)).unwrap();
    let stopped = stopped_after_apply(&rig);
    let size = fs::metadata(stopped.image()).unwrap().len();
    File::options().write(true).open(&secret).unwrap().set_len(size).unwrap();
    fs::rename(stopped.image(), stopped.staging.join("away")).unwrap();
    symlink(&secret, stopped.image()).unwrap();
    let before = stopped.drive.checksum();
    let seen = stopped.verdict(&rig);
    stopped.drive.assert_untouched(&before);
    assert_eq!(fs::metadata(&secret).unwrap().uid(), owner);
    assert!(rig.log().contains("disk.raw, left by the press, cannot be taken over: it is a link"));
    Case {
        line: "C.10",
        tried: "a link to a private file in place of the pressed image",
        right: "failed press_failed",
        before: "passed, and the file was root's and on the drive",
    }
    .saw(&seen);
}

/// Neither a second name, nor what is no file, nor somebody else's file is taken; nothing waits for a FIFO's writer.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn only_a_file_of_the_press_s_own_is_taken() {
    let rig = Rig::started(pressed());
    let tried = |tried, what: &str, change: &dyn Fn(&Stopped)| {
        let stopped = stopped_after_apply(&rig);
        change(&stopped);
        let seen = stopped.verdict(&rig);
        assert!(rig.log().contains(what), "{}", rig.log());
        let (right, before) = ("failed press_failed", "taken, or waited for");
        Case { line: "C.10", tried, right, before }.saw(&seen);
        stopped.drive.detach();
        rig.wait_gone(&stopped.drive.serial);
    };
    tried("a second name for the image", "it has 2 names instead of one", &|stopped| {
        fs::hard_link(stopped.image(), rig.path("second")).unwrap();
    });
    tried("a FIFO in place of the image", "it is not a regular file", &|stopped| {
        fs::remove_file(stopped.image()).unwrap();
        mknodat(CWD, stopped.image(), FileType::Fifo, Mode::RWXU, 0).unwrap();
    });
    tried("another user's file in place of the image", "it belongs to user 0", &|stopped| {
        fs::rename(stopped.image(), stopped.staging.join("away")).unwrap();
        fs::copy(stopped.staging.join("away"), stopped.image()).unwrap();
    });
}

/// Whoever could still change the image after it is hashed keeps it from becoming a master.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn an_image_that_somebody_can_write_to_is_no_master() {
    let rig = Rig::started(pressed());
    let stopped = stopped_after_apply(&rig);
    // A press that was too quick to be stopped may have made one.
    let masters = || fs::read_dir(rig.path("store/masters")).unwrap().count();
    let before = masters();
    let writer = File::options().write(true).open(stopped.image()).unwrap();
    let seen = stopped.verdict(&rig);
    assert!(rig.log().contains("a process still has the pressed image open for writing"));
    assert_eq!(masters(), before);
    drop(writer);
    Case {
        line: "C.10",
        tried: "another process has the image open for writing",
        right: "failed press_failed",
        before: "passed",
    }
    .saw(&seen);
}

/// A process that a press leaves ends with it, and what it leaves in its folder does not come into the store.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn nothing_of_a_press_remains_but_its_image() {
    let rig = with_mkntfs(
        "echo forged > $staging/manifest.json; mkfifo $staging/fifo; mkdir $staging/folder\n\
         (exec 3<>$staging/disk.raw; exec sleep 7654) < /dev/null > /dev/null 2>&1 &",
    );
    rig.start_with_media();
    let drive = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&drive.serial);
    let mut names: Vec<_> = fs::read_dir(rig.master(&record))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let asleep = Command::new("pgrep").args(["-f", "^sleep 7654$"]).output().unwrap().stdout;
    Case {
        line: "C.10",
        tried: "a press leaves files and a process that holds the image",
        right: ".prestaged disk.raw manifest.json, no process",
        before: "disk.raw fifo folder manifest.json once, the process",
    }
    .saw(&format!(
        "{}, {}",
        names.join(" "),
        if asleep.is_empty() { "no process" } else { "the process" }
    ));
    for file in ["", "disk.raw", "manifest.json"] {
        let meta = fs::metadata(rig.master(&record).join(file)).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o077), (0, 0), "{file:?}");
    }
}

/// What a program that a press has started can do, under the account that all workers share.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn a_worker_reaches_nothing_but_its_task() {
    let neighbour = Command::new("sleep").arg("600").uid(NOBODY).gid(NOBODY).spawn();
    let mut neighbour = neighbour.unwrap();
    let pid = neighbour.id();
    let rig = with_mkntfs(&format!(
        "try() {{ if \"$@\" > /dev/null 2>&1; then echo can; else echo cannot; fi >> $staging/tried; }}\n\
         rig=${{staging%/*/*}}\n\
         try /bin/kill -0 {pid}\n\
         try cat /proc/{pid}/environ\n\
         try cat $rig/own\n\
         try sh -c \"echo > $rig/own\"\n\
         try setsid true\n\
         try cat /etc/os-release\n\
         mv $staging/tried $staging/told\n\
         while ! test -e $rig/go; do sleep 0.02; done"
    ));
    let own = rig.path("own");
    fs::write(&own, "a file of the workers' account").unwrap();
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    rig.set("tools.user", "nobody");
    rig.start_with_media();
    let drive = rig.attached("A", 420, 512);
    let told = wait_for("what the program could do", || {
        let stores = fs::read_dir(rig.path("store")).unwrap().flatten();
        let mut tried = stores.map(|entry| entry.path().join("told"));
        fs::read_to_string(tried.find(|path| path.exists())?).ok()
    });
    fs::write(rig.path("go"), "").unwrap();
    rig.wait_pass(&drive.serial);
    neighbour.kill().unwrap();
    neighbour.wait().unwrap();
    let told: Vec<&str> = told.lines().collect();
    for (tried, seen) in [
        "signal another process of its account",
        "read another process's environment",
        "read a file of its account",
        "write a file of its account",
        "leave its process group",
        "read the system's files",
    ]
    .into_iter()
    .zip(&told)
    {
        let right = if tried.contains("system's") { "can" } else { "cannot" };
        Case { line: "C.11", tried, right, before: "can" }.saw(seen);
    }
    assert_eq!(told.len(), 6);
}

/// Another process of the same account, outside of all domains, gets into no worker.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn nobody_of_the_account_looks_into_a_worker() {
    let rig = Rig::new(pressed());
    rig.set("tools.user", "nobody");
    rig.start_with_media();
    let stopped = stopped_after_apply(&rig);
    let worker = stopped.worker.as_raw_nonzero();
    // Tracing a process and looking at its map take the same right (ptrace(2), PTRACE_MODE_READ).
    let read = |file: &str| {
        let path = format!("/proc/{worker}/{file}");
        let output = Command::new("cat").arg(path).uid(NOBODY).gid(NOBODY).output().unwrap();
        output.status.success()
    };
    let seen = format!("maps {}, status {}", read("maps"), read("status"));
    assert_eq!(stopped.verdict(&rig), "passed");
    Case {
        line: "C.11",
        tried: "a process of the workers' account looks into a press",
        right: "maps false, status true",
        before: "maps true, status true",
    }
    .saw(&seen);
}

/// Asks for an audit, and returns the stream of its lines.
fn audit(rig: &Rig, device: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(rig.path("control.sock")).unwrap();
    let body = json!({ "device": device }).to_string();
    let length = body.len();
    write!(stream, "POST /v1/audit HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    BufReader::new(stream)
}

/// The lines of a stream up to one that has this text.
fn read_to(stream: &mut BufReader<UnixStream>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before {text:?}");
    }
}

fn status(process: &str) -> String {
    fs::read_to_string(Path::new("/proc").join(process).join("status")).unwrap_or_default()
}

/// An audit reads media as intake does, so its worker has no more rights; and few run at once.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn audits_have_no_rights_and_wait_for_each_other() {
    let rig = Rig::new(pressed());
    rig.add_media(&sample(&["--solid"]), "win.wim");
    rig.start();
    rig.wait_media("win.wim", "valid");
    let drive = rig.attached("A", 420, 512);
    rig.wait_pass(&drive.serial);
    let mut running = Vec::new();
    let mut workers: Vec<String> = Vec::new();
    for _ in 0..2 {
        running.push(audit(&rig, &drive.node()));
        let worker = wait_for("an audit's worker", || {
            let child = rig.children().into_iter().find(|child| !workers.contains(child))?;
            // Stopped once it has given its rights away, and before it is done.
            status(&child).contains("NoNewPrivs:\t1").then_some(child)
        });
        kill_process(Pid::from_raw(worker.parse().unwrap()).unwrap(), Signal::STOP).unwrap();
        workers.push(worker);
    }
    let mut third = audit(&rig, &drive.node());
    read_to(&mut third, "waiting for other audits");
    let mut children = rig.children();
    children.sort();
    workers.sort();
    let root = workers.iter().any(|worker| {
        let status = status(worker);
        status.contains("Uid:\t0\t") || !status.contains("CapEff:\t0000000000000000")
    });
    let seen =
        format!("{} workers, {}", children.len(), if root { "with rights" } else { "no rights" });
    assert_eq!(children, workers);
    for worker in &workers {
        kill_process(Pid::from_raw(worker.parse().unwrap()).unwrap(), Signal::CONT).unwrap();
    }
    for stream in running.iter_mut().chain([&mut third]) {
        read_to(stream, "\"done\"");
    }
    Case {
        line: "C.11",
        tried: "three audits at once",
        right: "2 workers, no rights",
        before: "3 workers, with rights",
    }
    .saw(&seen);
}
