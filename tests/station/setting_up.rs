//! From the installed package to the first drive: what `--check` accepts, why a station is not there, and the scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use macro_rules_attribute::apply;
use toml::{Table, Value};

use crate::harness::{Rig, Setup, sample, told};
use crate::package::packages;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn checked(rig: &Rig) -> (i32, String) {
    let (code, text) = told(rig.command().arg("--check"));
    (code, shortened(rig, &text))
}

/// A text with paths as seen from the rig's folder.
fn shortened(rig: &Rig, text: &str) -> String {
    text.replace(&format!("{}/", rig.path("").display()).replace("//", "/"), "")
}

/// What cannot work: file, line and key are named, and what would be right.
#[apply(test!)]
#[needs(ROOT)]
fn what_cannot_work_is_an_error() {
    // The key, its value, which may name a place in the station's folder, and what is told.
    type Row = (&'static str, fn(&dyn Fn(&str) -> Value) -> Value, &'static str);
    let rows: [Row; 13] = [
        ("admission.buses", |_| vec!["sata"].into(), "no drive is on a bus \"sata\""),
        ("store.path", |at| at("inbox/store"), "the store inbox/store lies in the inbox"),
        ("store.path", |at| at("file"), "file is not a folder"),
        ("ledger.path", |at| at("inbox/ledger.db"), "the ledger inbox/ledger.db lies in the inbox"),
        ("ledger.path", |at| at("inbox"), "inbox is a folder"),
        ("media.inbox", |at| at("store/in"), "the inbox store/in lies in the store"),
        ("media.inbox", |at| at("file"), "file is not a folder"),
        ("tools.user", |_| "root".into(), "\"root\" may do what media must not: it is root"),
        ("tools.user", |_| "no-such-user".into(), "there is no user \"no-such-user\""),
        ("control.group", |_| "no-such-group".into(), "there is no group \"no-such-group\""),
        ("store.budget", |_| 20.into(), "20 bytes are too few"),
        ("admission.max_size", |_| "30MB".into(), "30000000 bytes do not hold the layout"),
        ("station.name", |_| "".into(), "\"\" is not a name"),
    ];
    for (key, value, told_as) in rows {
        let rig = Rig::new(Setup::default());
        fs::write(rig.path("file"), "").unwrap();
        rig.set(key, value(&|name| rig.path(name).to_str().unwrap().into()));
        let (code, text) = checked(&rig);
        let line = text.lines().next().unwrap_or_default();
        let place = format!("prestaged.toml:{}: {key}: ", line_of(&rig, key));
        let right = code == 78 && line.contains(&place) && line.contains(told_as);
        assert!(right && text.contains("\nhint: "), "{key}: {code} {text}; not {place}{told_as}");
        // The start says the same.
        let (code, started) = told(&mut rig.command());
        assert!(code == 78 && shortened(&rig, &started).contains(line), "{key}: {started}");
    }
}

/// `--check` is the step before the gate is started: all that would end it is told at once, and who cannot be its user.
#[apply(test!)]
#[needs(ROOT)]
fn what_would_end_the_gate_is_told_before() {
    let rig = Rig::new(Setup::default());
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    rig.set("control.view_socket", at("view.sock"));
    rig.set("gate.listen", "127.0.0.1:8480");
    rig.set("gate.user", "root");
    let (code, text) = checked(&rig);
    let place = format!("prestaged.toml:{}: gate.user: ", line_of(&rig, "gate.user"));
    assert!(
        code == 78 && text.contains(&place) && text.contains("hint: leave gate.user"),
        "{text}"
    );
    rig.set("gate.user", "games");
    rig.set("gate.accounts", at("accounts"));
    rig.set("orders.inbox", at("orders"));
    rig.set("orders.results", at("results"));
    rig.set("labels.template", at("label.zpl"));
    let (code, text) = checked(&rig);
    let place = format!("prestaged.toml:{}: gate.accounts: ", line_of(&rig, "gate.accounts"));
    assert!(code == 78 && text.contains(&place), "{code} {text}");
    for expected in [
        "orders.inbox: orders does not exist",
        "orders.results: results does not exist",
        "labels.template: label.zpl cannot be read",
        "gate      127.0.0.1:8480 as games, looks only",
        "signers   none",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    fs::write(rig.path("accounts"), "# nobody\n").unwrap();
    fs::set_permissions(rig.path("accounts"), fs::Permissions::from_mode(0o640)).unwrap();
    let (code, text) = checked(&rig);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("gate.accounts: \"games\" may not read accounts, by"), "{text}");
}

/// The line of the configuration at which a key stands.
fn line_of(rig: &Rig, key: &str) -> usize {
    let text = fs::read_to_string(rig.path("prestaged.toml")).unwrap();
    let (section, name) = key.split_once('.').unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| *line == format!("[{section}]")).unwrap();
    let is_key = |line: &&str| line.split(" = ").next() == Some(name);
    start + lines[start..].iter().position(is_key).unwrap() + 1
}

/// What works and is probably not meant: `--check` shows it and exits with 0, and the start logs it.
#[apply(test!)]
fn what_is_doubtful_is_a_warning() {
    let rig = Rig::new(Setup::default());
    rig.set("media.inbox", rig.path("missing").to_str().unwrap());
    rig.set("media.expires", Table::from_iter([("a.wim".to_owned(), Value::from("2020-01-01"))]));
    rig.set("store.budget", "900TB");
    rig.set("admission.bays", vec![&format!("loop-{}*", rig.name), "bay-1"]);
    rig.set("replicate.min_write_rate", "5B/s");
    fs::create_dir_all(rig.path("prestaged.toml.d")).unwrap();
    fs::write(rig.path("prestaged.toml.d/10.conf"), "[admission]\n").unwrap();
    let (code, text) = checked(&rig);
    assert_eq!(code, 0, "{text}");
    rig.start();
    let log = rig.log();
    for expected in [
        "prestaged.toml.d/10.conf: is ignored: names of drop-ins end in .toml",
        "media.inbox: missing does not exist; it will be made, empty",
        "media.expires: \"a.wim\": 2020-01-01 is over, so drives are refused this media (media_expired)",
        "store.budget: 900.0 TB are more than the",
        "admission.bays: no bay has the name \"bay-1\"",
        "replicate.min_write_rate: every drive is faster than 5 B/s",
    ] {
        let line = text.lines().find(|line| line.contains(expected));
        let line = line.unwrap_or_else(|| panic!("{expected}: {text}"));
        assert!(line.starts_with("warning   prestaged.toml"), "{line}");
        assert!(shortened(&rig, &log).contains(expected), "{expected}: {log}");
    }
}

/// A folder with programs that stand in for the machine's.
struct Programs(PathBuf);

impl Programs {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn add(&self, name: &str, script: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn before(&self, command: &mut Command) -> (i32, String) {
        let path = std::env::var("PATH").unwrap();
        told(command.env("PATH", format!("{}:{path}", self.0.display())))
    }
}

/// The station's own error reaches whoever asks for it with prestagectl.
#[apply(test!)]
fn prestagectl_says_why_the_service_is_not_there() {
    if Path::new("/run/prestaged/control.sock").exists() || Path::new("/etc/prestaged").exists() {
        return;
    }
    let rig = Rig::new(Setup::default().set("admision.armed", true));
    let (code, error) = told(&mut rig.command());
    assert_eq!(code, 78, "{error}");
    fs::write(rig.path("journal"), format!("an earlier line\n{error}prestaged.service: Failed\n"))
        .unwrap();
    let programs = Programs::new(rig.path("bin"));
    programs.add(
        "systemctl",
        "printf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nExecMainStatus=78\\nInvocationID=5\\n'",
    );
    programs.add(
        "journalctl",
        &format!(
            "case \"$*\" in *_SYSTEMD_INVOCATION_ID=5*) cat {} ;; esac",
            rig.path("journal").display()
        ),
    );
    let ctl = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
        command.args(["--socket", "/run/prestaged/control.sock", "status"]);
        command
    };
    let (code, text) = programs.before(&mut ctl());
    assert_eq!(code, 69, "{text}");
    let _shown = rig.shown();
    insta::assert_snapshot!("a_service_that_does_not_start", text);
    // Where there is no systemd, and about any other socket, the plain thing is said.
    programs.add("systemctl", "echo 'System has not been booted with systemd' >&2; exit 1");
    let (code, text) = programs.before(&mut ctl());
    assert_eq!(code, 69, "{text}");
    insta::assert_snapshot!("no_systemd", text);
    fs::write(rig.path("control.sock"), "").unwrap();
    insta::assert_snapshot!("a_file_in_place_of_the_socket", rig.ctl_fails(69, &["status"]));
}

/// Nothing is removed, and what is missing is named.
#[apply(test!)]
fn packages_are_installed_and_none_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs::new(folder.path().join("bin"));
    let asked = folder.path().join("asked");
    let answer = |simulated: &str| {
        programs.add(
            "apt-get",
            &format!(
                "echo \"$*\" >>{}\ncase \"$*\" in *--simulate*) {simulated} ;; esac",
                asked.display()
            ),
        );
    };
    programs.add("sudo", "exec \"$@\"");
    programs.add(
        "dpkg-query",
        "case \"$*\" in *jq) echo not-installed; exit 1 ;; *) echo installed ;; esac",
    );
    let packages = || {
        let mut command = Command::new(format!("{TOP}/scripts/packages"));
        command.arg("run").env_remove("PRESTAGED_DOWNGRADE");
        command
    };
    let run = || programs.before(&mut packages());
    answer("echo 'Inst jq (1.6)'; echo 'Inst libjq1 (1.6)'");
    let (code, text) = run();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("installing (a minute or more): jq\nwith what they need: 2 packages\n"),
        "{text}"
    );
    let commands = fs::read_to_string(&asked).unwrap();
    let installs: Vec<&str> = commands.lines().filter(|line| line.contains("install")).collect();
    assert_eq!(installs.len(), 2, "{commands}");
    assert!(installs.iter().all(|line| line.contains("--no-remove")), "{commands}");
    // apt would have to remove something.
    fs::remove_file(&asked).unwrap();
    answer("echo 'E: Packages need to be removed but remove is disabled.'; exit 100");
    let (code, text) = run();
    assert!(code == 1 && text.contains("remove is disabled"), "{code} {text}");
    assert!(
        text.contains("apt cannot install jq without removing other packages; nothing was changed"),
        "{text}"
    );
    let commands = fs::read_to_string(&asked).unwrap();
    let mut installs = commands.lines().filter(|line| line.contains("install"));
    assert!(installs.all(|line| line.contains("--simulate")), "{commands}");
    // What is in the way is a newer version than the release's.
    fs::remove_file(&asked).unwrap();
    programs.add("apt-cache", "echo 'libjq1 | 1.6-2 | http://deb.debian.org'");
    answer(
        "case \"$*\" in *--allow-downgrades*) echo 'Inst jq (1.6)' ;; *--no-remove*) exit 100 ;; \
         *) echo 'Remv libjq1 [1.7]' ;; esac",
    );
    let (code, text) = run();
    assert!(code == 1 && text.contains("PRESTAGED_DOWNGRADE=1"), "{code} {text}");
    assert!(text.contains("take its place: libjq1=1.6-2"), "{text}");
    let (code, text) = programs.before(packages().env("PRESTAGED_DOWNGRADE", "1"));
    assert_eq!(code, 0, "{text}");
    let commands = fs::read_to_string(&asked).unwrap();
    let mut done = commands.lines().filter(|l| l.contains("install") && !l.contains("--simulate"));
    assert!(done.next().is_some_and(|line| line.ends_with(" jq libjq1=1.6-2")), "{commands}");
    assert_eq!(done.next(), None);
    // A package without its program.
    programs.add("dpkg-query", "echo installed");
    for name in ["hivexsh", "mkntfs", "mkfs.vfat", "mcopy", "losetup", "wimlib-imagex", "sgdisk"] {
        programs.add(name, "");
    }
    for name in ["sed", "dirname", "wc", "id", "cat", "sh", "uname"] {
        let found = told(Command::new("sh").args(["-c", &format!("command -v {name}")])).1;
        let _ = std::os::unix::fs::symlink(found.trim(), programs.0.join(name));
    }
    // The script looks in /usr/sbin and /sbin as well, where jq is not.
    let mut script = Command::new(format!("{TOP}/scripts/packages"));
    let (code, text) = told(script.arg("run").env("PATH", &programs.0));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("there is no program jq, which the package jq brings\nhint: apt-get install"),
        "{text}"
    );
}

/// `scripts/demo --keep`: what it prints works, and ends all that it has begun.
#[apply(test!)]
#[needs(LOOP, LONG)]
fn the_demo_is_kept_and_ended_by_what_it_prints() {
    let bin = Path::new(env!("CARGO_BIN_EXE_prestaged")).parent().unwrap();
    let media = sample(&["--compress=LZX"]);
    let (code, text) = told(
        Command::new(format!("{TOP}/scripts/demo"))
            .args(["--keep", "--media"])
            .arg(media)
            .arg("--bin")
            .arg(bin),
    );
    assert_eq!(code, 0, "{text}");
    let line = |start: &str| {
        let found = text.lines().rev().find_map(|line| line.trim().strip_prefix(start));
        found.unwrap_or_else(|| panic!("{start}: {text}")).to_owned()
    };
    let socket = line("export PRESTAGED_SOCKET=");
    let shell = |script: &str| told(Command::new("bash").args(["-c", script]));
    let (code, status) =
        shell(&format!("export PRESTAGED_SOCKET={socket}; {}/prestagectl status", bin.display()));
    assert!(code == 0 && status.matches("PASS").count() >= 5, "{status}");
    let work = Path::new(&socket).parent().unwrap();
    let (code, ended) = shell(work.join("end").to_str().unwrap());
    assert!(code == 0 && !work.exists(), "{code} {ended}");
    let loops = shell("losetup --list --noheadings --output BACK-FILE").1;
    assert!(!loops.contains(work.to_str().unwrap()), "{loops}");
}

/// Nothing that Debian's own checker would have another way, but for what `lintian-overrides` gives reasons for.
#[apply(test!)]
#[needs(DEB, LINTIAN)]
fn lintian_finds_nothing() {
    let package = packages().join("1.deb");
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(package);
    let (code, text) = told(&mut lintian);
    assert_eq!(code, 0, "{text}");
}
