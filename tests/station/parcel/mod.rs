//! Media as parcels: packed, signed, sent in any way, cut, changed, and taken in.

mod contents;
mod lists;
mod server;
mod trust;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use macro_rules_attribute::apply;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::sample::run;
use crate::harness::{Rig, Setup, Tmpfs, sample, told, wait_for};

fn ctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
    command.stdin(Stdio::null());
    command
}

/// A maker's desk: a folder with media and keys.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        fs::copy(sample(&["--compress=LZX"]), desk.path("win11-7.wim")).unwrap();
        desk.key("maker");
        fs::create_dir(desk.path("inbox")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Makes a key; its public part lies beside it.
    fn key(&self, name: &str) {
        let output =
            ctl().args(["key", "new", "--name", name]).arg(self.path(name)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::write(self.path(&format!("{name}.pub")), output.stdout).unwrap();
    }

    /// Packs media, in packs of a mebibyte.
    fn pack(&self, media: &str, sequence: u32, more: &[&str]) -> PathBuf {
        let (code, text) = told(
            ctl()
                .args(["--json", "media", "pack"])
                .arg(self.path(media))
                .args(["--product", "win11", "--pack-size", "1MiB"])
                .args(["--sequence", &sequence.to_string(), "--to", &self.text("")])
                .args(["--key", &self.text("maker")])
                .args(more),
        );
        assert_eq!(code, 0, "{text}");
        self.path(&media.replace(".wim", ".parcel"))
    }

    /// Takes a parcel in with the maker's key.
    fn receive(&self, from: &str) -> (i32, Value) {
        let output = self.receiving(from).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let document = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (output.status.code().unwrap(), document)
    }

    fn receiving(&self, from: &str) -> Command {
        let mut command = ctl();
        command.args(["--json", "media", "receive", from, "--key", &self.text("maker.pub")]);
        command.args(["--to", &self.text("inbox")]);
        command
    }

    /// What whoever looks into the inbox sees.
    fn inbox(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("inbox")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// Whether media is in the inbox, whole, or nothing of it.
    fn has_all_or_nothing(&self, media: &str) -> bool {
        match fs::read(self.path("inbox").join(media)) {
            Ok(data) => {
                assert!(
                    data == fs::read(self.path(media)).unwrap(),
                    "{media} is not what was packed"
                );
                true
            }
            Err(_) => false,
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The packs of a parcel.
fn packs(parcel: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parcel).unwrap().map(|entry| entry.unwrap().path());
    let mut packs: Vec<PathBuf> =
        entries.filter(|path| path.to_str().unwrap().contains("pack.")).collect();
    packs.sort();
    packs
}

/// From the maker's desk to a drive, over a stick that is pulled in the middle.
#[apply(test!)]
#[needs(LOOP)]
fn media_goes_from_its_maker_to_a_drive() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &["--expires", "2099-06-30"]);
    let rig = Rig::new(Setup::default());
    rig.start();
    let receive = ["--json", "media", "receive", parcel.to_str().unwrap()];
    let hidden = desk.path("pulled");
    fs::create_dir(&hidden).unwrap();
    let all = packs(&parcel);
    assert!(all.len() > 4, "{all:?}");
    for pack in &all[all.len() / 2..] {
        fs::rename(pack, hidden.join(pack.file_name().unwrap())).unwrap();
    }
    let text = rig.ctl_fails(1, &receive);
    assert!(text.contains("parcel_incomplete") && text.contains("hint: put the parcel"), "{text}");
    assert_eq!(rig.json(&["media", "list"]).as_array().unwrap().len(), 0);
    fs::rename(&parcel, desk.path("gone")).unwrap();
    assert!(rig.ctl_fails(1, &receive).contains("parcel_incomplete"));
    fs::rename(desk.path("gone"), &parcel).unwrap();
    for pack in fs::read_dir(&hidden).unwrap() {
        let pack = pack.unwrap();
        fs::rename(pack.path(), parcel.join(pack.file_name())).unwrap();
    }
    let done: Value = serde_json::from_str(&rig.ctl_ok(&receive)).unwrap();
    let [loaded, kept] = ["loaded_bytes", "kept_bytes"].map(|key| done[key].as_u64().unwrap());
    let size = fs::metadata(desk.path("win11-7.wim")).unwrap().len();
    assert!(loaded + kept == size && kept > size / 3, "{done:#}");
    let media = rig.wait_media("win11-7.wim", "valid");
    assert_eq!(media["sha256"], done["sha256"]);
    let again: Value = serde_json::from_str(&rig.ctl_ok(&receive)).unwrap();
    assert_eq!(again["loaded_bytes"], 0);
    let drive = rig.attached("A", 160, 512);
    assert_eq!(rig.wait_pass(&drive.serial)["media"]["sha256"], done["sha256"]);
}

/// A parcel that is copied into the inbox is taken in there, also when its packs come one after the other.
#[apply(test!)]
#[needs(LOOP)]
fn a_parcel_that_is_copied_into_the_inbox_is_taken_in() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    let rig = Rig::new(Setup::default());
    let dropped = rig.path("inbox/win11-7.parcel");
    let late = packs(&parcel).pop().unwrap();
    let name = late.file_name().unwrap().to_owned();
    fs::rename(&late, desk.path("late")).unwrap();
    copy_folder(&parcel, &dropped);
    rig.start();
    let shown = || rig.json(&["status"])["inbox"]["parcels"][0].clone();
    wait_for("what is missing to be told", || {
        (shown()["problem"]["code"] == "parcel_incomplete").then_some(())
    });
    assert_eq!(rig.json(&["media", "list"]).as_array().unwrap().len(), 0);
    assert!(!rig.ctl_ok(&["status"]).contains("ignored"));
    fs::copy(desk.path("late"), dropped.join(name)).unwrap();
    wait_for("the parcel to be taken in", || (shown()["done"] == true).then_some(()));
    let media = rig.wait_media("win11-7.wim", "valid");
    assert!(media["signed"]["by"].as_array().unwrap().is_empty(), "nobody is listed: {media:#}");
    assert!(dropped.join("manifest.json").exists(), "what others have put there stays");
}

/// OpenSSL knows the keys, and verifies what was signed; a station of one's own needs no tool of ours.
#[apply(test!)]
fn openssl_verifies_what_was_signed() {
    let desk = Desk::new();
    let mode = fs::metadata(desk.path("maker")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = fs::read_to_string(desk.path("maker.pub")).unwrap();
    assert_eq!(run("openssl", &["pkey", "-in", &desk.text("maker"), "-pubout"]), public);
    let taken = told(ctl().args(["key", "new", "--name", "x"]).arg(desk.path("maker")));
    assert!(taken.0 == 2 && taken.1.contains("there already"), "{taken:?}");
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    let text = fs::read_to_string(parcel.join("manifest.json")).unwrap();
    let envelope: Value = serde_json::from_str(&text).unwrap();
    let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let (payload, kind) =
        (decoded(&envelope["payload"]), envelope["payloadType"].as_str().unwrap());
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    let verify = |message: &[u8]| {
        fs::write(desk.path("message"), message).unwrap();
        fs::write(desk.path("signature"), decoded(&envelope["signatures"][0]["sig"])).unwrap();
        let public = desk.text("maker.pub");
        told(
            Command::new("openssl")
                .args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", &public])
                .args(["-in", &desk.text("message"), "-sigfile", &desk.text("signature")]),
        )
    };
    let message = [head.as_bytes(), &payload].concat();
    assert_eq!(verify(&message).0, 0);
    let mut flipped = message.clone();
    flipped[100] ^= 1;
    assert_ne!(verify(&flipped).0, 0);
    // A key that OpenSSL has made signs as well.
    run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &desk.text("theirs")]);
    fs::remove_dir_all(&parcel).unwrap();
    desk.pack("win11-7.wim", 7, &["--key", &desk.text("theirs")]);
    assert_eq!(desk.receive(parcel.to_str().unwrap()).0, 0);
}

/// Changes a parcel.
type Change<'a> = &'a dyn Fn(&Path);

/// Whatever is changed in a parcel, on purpose or not, is told by name, and nothing of it reaches the inbox.
#[apply(test!)]
fn nothing_can_be_changed_in_a_parcel() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    fs::rename(&parcel, desk.path("good")).unwrap();
    // The same media packed again, and other media under the same name.
    let twin = desk.pack("win11-7.wim", 8, &[]);
    fs::rename(&twin, desk.path("newer")).unwrap();
    run(
        "wimlib-imagex",
        &["export", &desk.text("win11-7.wim"), "1", &desk.text("other.wim"), "--compress=XPRESS"],
    );
    fs::rename(desk.path("win11-7.wim"), desk.path("kept")).unwrap();
    fs::rename(desk.path("other.wim"), desk.path("win11-7.wim")).unwrap();
    let other = desk.pack("win11-7.wim", 9, &[]);
    fs::rename(&other, desk.path("other")).unwrap();
    fs::rename(desk.path("kept"), desk.path("win11-7.wim")).unwrap();
    let flip = |name: &'static str, at: usize| {
        move |parcel: &Path| {
            let path = parcel.join(name);
            let mut data = fs::read(&path).unwrap();
            let at = at % data.len();
            data[at] ^= 0x20;
            fs::write(path, data).unwrap();
        }
    };
    let shorten = |name: &'static str| {
        move |parcel: &Path| {
            let file = File::options().write(true).open(parcel.join(name)).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        }
    };
    let from_other = |name: &'static str| {
        let other = desk.path("other");
        move |parcel: &Path| {
            fs::copy(other.join(name), parcel.join(name)).unwrap();
        }
    };
    let swap = |parcel: &Path| {
        fs::rename(parcel.join("pack.000"), parcel.join("x")).unwrap();
        fs::rename(parcel.join("pack.001"), parcel.join("pack.000")).unwrap();
        fs::rename(parcel.join("x"), parcel.join("pack.001")).unwrap();
    };
    let old_manifest = |parcel: &Path| {
        for name in ["index", "pack.000", "pack.001"] {
            fs::copy(desk.path("other").join(name), parcel.join(name)).unwrap();
        }
    };
    let stranger = |parcel: &Path| {
        let text = fs::read_to_string(parcel.join("manifest.json")).unwrap();
        let mut envelope: Value = serde_json::from_str(&text).unwrap();
        envelope["signatures"][0]["keyid"] = "00".repeat(32).into();
        fs::write(parcel.join("manifest.json"), envelope.to_string()).unwrap();
    };
    let damaged = "parcel_damaged";
    let rows: &[(&str, Change<'_>, &str, &str)] = &[
        ("a byte of the payload", &flip("manifest.json", 300), damaged, "manifest"),
        (
            "a byte of the end of the manifest",
            &flip("manifest.json", usize::MAX - 90),
            "",
            "manifest",
        ),
        ("a byte of the index", &flip("index", 100), damaged, "index"),
        ("the last byte of the index", &flip("index", 47), damaged, "index"),
        ("a byte of the first pack", &flip("pack.000", 5), damaged, "piece 0 (pack.000 at byte 0)"),
        ("a byte of a later pack", &flip("pack.003", 777), damaged, "(pack.003 at byte"),
        ("a pack is cut", &shorten("pack.002"), "parcel_incomplete", "pack.002"),
        ("the index is cut", &shorten("index"), damaged, "index"),
        ("the manifest is cut", &shorten("manifest.json"), "", ""),
        ("packs in another order", &swap, damaged, "pack.000"),
        ("a pack of another parcel", &from_other("pack.001"), damaged, "pack.001"),
        ("the index of another parcel", &from_other("index"), damaged, "index"),
        ("the manifest of another parcel", &from_other("manifest.json"), damaged, "index"),
        ("an old manifest with new packs", &old_manifest, damaged, "index"),
        ("a signature in a stranger's name", &stranger, "signer_unknown", "manifest"),
    ];
    for (what, change, code, named) in rows {
        let (folder, inbox) = (desk.path("changed"), desk.path("inbox"));
        copy_folder(&desk.path("good"), &folder);
        change(&folder);
        let (exit, told) = desk.receive(folder.to_str().unwrap());
        // The line break at a manifest's end is no part of what was signed.
        if *what == "the manifest is cut" {
            assert_eq!(exit, 0, "{what}: {told:#}");
        } else {
            let detail = told["error"]["detail"].as_str().unwrap_or_default();
            assert!(exit != 0 && detail.contains(named), "{what}: {told:#}");
            assert!(code.is_empty() || told["error"]["code"] == *code, "{what}: {told:#}");
            assert!(desk.inbox().is_empty(), "{what}: {:?}", desk.inbox());
        }
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_dir_all(&inbox).unwrap();
        fs::create_dir(&inbox).unwrap();
    }
    // The pieces of one media are the same in each parcel of it; only the manifest says which sequence it is.
    assert_eq!(desk.receive(&desk.text("newer")).1["sequence"], 8);
    desk.key("stranger");
    let (code, refused) = {
        let output = ctl()
            .args(["--json", "media", "receive", &desk.text("good"), "--to", &desk.text("inbox")])
            .args(["--key", &desk.text("stranger.pub")])
            .output()
            .unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    assert_eq!((code, &refused["error"]["code"]), (Some(2), &"signer_unknown".into()));
}

/// How often something is killed or runs out of room: a few times, or a hundred where there is time.
fn rounds() -> u32 {
    if std::env::var_os("PRESTAGED_LONG").is_some() { 100 } else { 4 }
}

/// Killed at any moment, there is the old state or the whole new one.
#[apply(test!)]
fn killed_at_any_moment_nothing_is_half_there() {
    let desk = Desk::new();
    let good = desk.pack("win11-7.wim", 7, &[]);
    fs::rename(&good, desk.path("good")).unwrap();
    let mut finished = [0, 0];
    for round in 0..rounds() {
        let killed = |command: &mut Command| {
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_millis(fastrand::u64(0..250)));
            let _ = child.kill();
            child.wait().unwrap().success()
        };
        let mut pack = ctl();
        pack.args([
            "media",
            "pack",
            &desk.text("win11-7.wim"),
            "--product",
            "win11",
            "--sequence",
            "7",
        ]);
        pack.args(["--key", &desk.text("maker"), "--to", &desk.text("")]);
        finished[0] += u32::from(killed(&mut pack));
        if good.exists() {
            let names = ["manifest.json", "index", "pack.000"];
            assert!(names.iter().all(|name| good.join(name).exists()), "round {round}");
            assert_eq!(desk.receive(good.to_str().unwrap()).0, 0, "round {round}");
            fs::remove_dir_all(&good).unwrap();
        }
        // Half of the rounds go on with what earlier ones left.
        if round % 2 == 0 || desk.has_all_or_nothing("win11-7.wim") {
            fs::remove_dir_all(desk.path("inbox")).unwrap();
            fs::create_dir(desk.path("inbox")).unwrap();
        }
        let mut receive = desk.receiving(&desk.text("good"));
        finished[1] += u32::from(killed(&mut receive));
        let whole = desk.has_all_or_nothing("win11-7.wim");
        assert!(whole || desk.inbox().iter().all(|name| name == "win11-7.wim.manifest.json"));
    }
    // What was left of all that is in nobody's way.
    assert_eq!(desk.receive(&desk.text("good")).0, 0);
    assert!(desk.has_all_or_nothing("win11-7.wim"));
    desk.pack("win11-7.wim", 7, &[]);
    assert_eq!(desk.inbox(), ["win11-7.wim", "win11-7.wim.manifest.json"]);
}

/// A full disk is told before the first byte where that can be known, and leaves nothing half done.
#[apply(test!)]
#[needs(ROOT)]
fn without_room_nothing_is_half_there() {
    let desk = Desk::new();
    let good = desk.pack("win11-7.wim", 7, &[]);
    fs::rename(&good, desk.path("good")).unwrap();
    let size = fs::metadata(desk.path("win11-7.wim")).unwrap().len();
    let tmpfs = Tmpfs::mount(desk.path("small"), &(size + (4 << 20)).to_string());
    let filler = tmpfs.fill();
    for round in 0..rounds() {
        let room = fastrand::u64(0..size - 4096);
        let file = File::options().write(true).open(&filler).unwrap();
        file.set_len(size + (4 << 20)).unwrap();
        drop(file);
        fs::remove_file(&filler).unwrap();
        let taken = usize::try_from(size + (4 << 20) - room).unwrap();
        let _ = fs::write(&filler, vec![1; taken]);
        let pack =
            told(ctl().args(["media", "pack", &desk.text("win11-7.wim"), "--product", "p"]).args(
                ["--sequence", "1", "--key", &desk.text("maker"), "--to", &desk.text("small")],
            ));
        assert!(pack.0 == 1 && pack.1.contains("room"), "round {round}: {pack:?}");
        let output = ctl()
            .args(["media", "receive", &desk.text("good"), "--key", &desk.text("maker.pub")])
            .args(["--to", &desk.text("small")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("room"), "round {round}: {text}");
        let left: Vec<String> = fs::read_dir(desk.path("small"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with(".receiving-"))
            .collect();
        assert_eq!(left, ["filler"], "round {round}");
    }
    fs::remove_file(&filler).unwrap();
    let (code, text) = told(
        ctl()
            .args(["media", "receive", &desk.text("good"), "--key", &desk.text("maker.pub")])
            .args(["--to", &desk.text("small")]),
    );
    assert_eq!(code, 0, "{text}");
}

/// Next month's media: what stays is left out, wherever it has moved to.
#[apply(test!)]
#[needs(LOOP)]
fn a_month_later_only_what_is_new_is_sent() {
    let desk = Desk::new();
    let rig = Rig::new(Setup::default());
    rig.add_media(&desk.path("win11-7.wim"), "win11-7.wim");
    rig.start();
    rig.wait_media("win11-7.wim", "valid");
    let list = rig.ctl_ok(&["media", "have", "--product", "win11"]);
    fs::write(desk.path("have.json"), list.lines().last().unwrap()).unwrap();
    let old = fs::metadata(desk.path("win11-7.wim")).unwrap().len();
    let mut noise = vec![0; usize::try_from(old / 20).unwrap()];
    File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(desk.path("update.bin"), noise).unwrap();
    // Exported anew, so that every resource moves.
    let update = format!("add {} /update.bin\n", desk.text("update.bin"));
    fs::copy(desk.path("win11-7.wim"), desk.path("work.wim")).unwrap();
    run("wimlib-imagex", &["update", &desk.text("work.wim"), "1", "--command", update.trim()]);
    run("wimlib-imagex", &["export", &desk.text("work.wim"), "1", &desk.text("win11-8.wim")]);
    let parcel = desk.pack("win11-8.wim", 8, &["--against", &desk.text("have.json")]);
    let sent: u64 = packs(&parcel).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    let new = fs::metadata(desk.path("win11-8.wim")).unwrap().len();
    assert!(sent * 100 / new < 20, "{sent} of {new} bytes");
    let receive = ["--json", "media", "receive", parcel.to_str().unwrap()];
    let done: Value = serde_json::from_str(&rig.ctl_ok(&receive)).unwrap();
    assert_eq!(done["loaded_bytes"], sent);
    let media = rig.wait_media("win11-8.wim", "valid");
    assert_eq!(media["sha256"], done["sha256"]);
    fs::remove_file(rig.path("inbox/win11-7.wim")).unwrap();
    fs::remove_file(rig.path("inbox/win11-8.wim")).unwrap();
    let text = rig.ctl_fails(1, &receive);
    let base = run("sha256sum", &[&desk.text("win11-7.wim")]);
    assert!(text.contains("base_missing") && text.contains(&base[..64]), "{text}");
}
