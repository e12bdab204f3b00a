//! Who may do what: who may use the control socket, what workers may do, what the systemd unit allows.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use macro_rules_attribute::apply;

use crate::harness::{NOBODY, Rig, Setup, group, sample, told, wait_for};

/// Sends bytes to the control socket and returns the whole answer.
fn talk(rig: &Rig, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(rig.path("control.sock")).unwrap();
    // The server may close the connection before it has read the whole request.
    let _ = stream.write_all(request);
    if !request.windows(17).any(|part| part == b"connection: close") {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The daemon itself checks who asks, whatever the socket's mode.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn strangers_on_the_control_socket_are_sent_away() {
    let rig = Rig::new(Setup::default());
    rig.set("control.mode", "0666");
    rig.start();
    for verb in ["status", "arm", "disarm"] {
        let (code, text) = rig.ctl_as_nobody(NOBODY, &[verb]);
        assert_eq!(code, 77, "{verb}: {text}");
        insta::assert_snapshot!("a_stranger_is_sent_away", text);
    }
    rig.kill();
    rig.set("control.group", "disk");
    rig.start();
    assert_eq!(rig.ctl_as_nobody(group("disk"), &["status"]).0, 0);
    assert_eq!(rig.ctl_as_nobody(NOBODY, &["status"]).0, 77);
}

#[apply(test!)]
#[needs(LOOP)]
fn what_is_no_request_gets_an_answer_and_harms_nothing() {
    let rig = Rig::new(Setup::default());
    rig.start();
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let huge = post("/v1/image", &"x".repeat(1 << 20));
    let long = format!("GET /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20));
    let _shown = rig.shown();
    let mut answers = String::new();
    for (request, status, code) in [
        (post("/v1/image", "{"), "400", "bad_request"),
        (post("/v1/image", "{\"device\": 7}"), "400", "bad_request"),
        (post("/v1/image", "{\"device\": \"x\", \"force\": true}"), "400", "force"),
        (post("/v1/image", "\u{1b}[2J"), "400", "bad_request"),
        (huge, "413", "bad_request"),
        (post("/v1/status", ""), "405", "wrong_method"),
        (post("/v1/no-such", ""), "404", "no_such_path"),
        (post("/v1/drives/%ff%00/retry", ""), "400", "bad_request"),
        (
            post("/v1/masters", "{\"media\":\"x\",\"size_bytes\":1,\"logical_sector_bytes\":7}"),
            "400",
            "sectors",
        ),
        (
            "DELETE /v1/masters/..%2f..%2fetc HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                .into(),
            "404",
            "no_such_master",
        ),
        (
            "GET /v1/records?verdict=maybe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(),
            "400",
            "maybe",
        ),
        (
            "GET /v1/records?colour=red HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(),
            "400",
            "bad_request",
        ),
    ] {
        let answer = talk(&rig, request.as_bytes());
        let first = answer.lines().next().unwrap_or_default();
        let head: String = request.chars().take(60).collect();
        assert!(first.contains(status), "{head:?}: {answer}");
        assert!(answer.contains(code), "{head:?}: {answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        assert!(!body.contains(char::is_control), "{body:?}");
        let line = request.lines().next().unwrap();
        answers += &format!("{line}\n    {status} {body}\n");
    }
    insta::assert_snapshot!("answers_to_what_is_no_request", answers);
    for request in [&long.into_bytes()[..], b"\0\0\0\0", b"GET", b"", &[0xff; 70_000]] {
        let answer = talk(&rig, request);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    rig.ctl_ok(&["status"]);
}

/// Workers read media and press without root, without further groups, and with no way to regain them.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn workers_have_no_rights() {
    let rig = Rig::new(Setup::default());
    rig.add_media(&sample(&["--solid"]), "win.wim");
    rig.start();
    let drive = rig.attached("A", 420, 512);
    let seen = wait_for("a pressing worker", || {
        let worker = rig.children().pop()?;
        let command = fs::read(format!("/proc/{worker}/cmdline")).ok()?;
        let pressing = rig.json(&["status"])["presses"].as_array().is_some_and(|p| !p.is_empty());
        (pressing && command.ends_with(b"worker\0")).then_some(())?;
        let status = fs::read_to_string(format!("/proc/{worker}/status")).ok()?;
        status.contains("NoNewPrivs:\t1").then_some(status)
    });
    let field = |name: &str| {
        let line = seen.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!field("Uid:").contains(&"0".to_owned()), "{seen}");
    assert!(!field("Gid:").contains(&"0".to_owned()), "{seen}");
    assert!(field("Groups:").is_empty(), "{seen}");
    for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{seen}");
    }
    rig.wait_pass(&drive.serial);
    // The master belongs to root, not to the worker.
    let masters = rig.path("store/masters");
    for master in fs::read_dir(masters).unwrap() {
        for path in [master.unwrap().path()].iter().flat_map(|m| [m.clone(), m.join("disk.raw")]) {
            assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).unwrap()), 0);
        }
    }
}

#[apply(test!)]
#[needs(LOOP, ROOT)]
fn media_that_only_root_may_read_is_told() {
    let rig = Rig::new(Setup::default());
    let wim = rig.path("inbox/secret.wim");
    fs::copy(sample(&["--compress=LZX"]), &wim).unwrap();
    fs::set_permissions(&wim, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    rig.start();
    let media = rig.wait_media("secret.wim", "invalid");
    let _shown = rig.shown();
    insta::assert_snapshot!("only_root_may_read", media["problems"][0]["detail"].as_str().unwrap());
}

const UNIT: &str = include_str!("../../systemd/prestaged.service");

/// The daemon does its whole job with the capabilities that the unit leaves it.
#[apply(test!)]
#[needs(LOOP, ROOT)]
fn the_unit_s_capabilities_are_enough() {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let names = line.split(' ').map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase());
    let set = names.fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
    let wrapper = ["setpriv", "--bounding-set", &set, "--no-new-privs", "--"];
    let rig = Rig::started(Setup::default().wrapped(&wrapper));
    let status = fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let count = u64::from_str_radix(effective, 16).unwrap().count_ones();
    assert_eq!(usize::try_from(count).unwrap(), line.split(' ').count(), "{status}");
    let drive = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["warnings"], serde_json::json!([]), "{record:#}");
    // The daemon must be able to kill a worker that runs as another user.
    let size = (1_u64 << 30).to_string();
    let pressed = rig.json(&["master", "press", "--media", "win.wim", "--size", &size]);
    wait_for("the press", || rig.log().matches("pressing a master").nth(1).map(|_| ()));
    rig.ctl_ok(&["master", "remove", pressed["id"].as_str().unwrap()]);
    wait_for("the worker to be gone", || rig.children().is_empty().then_some(()));
}

/// No unit gives its program more rights than it needs. `systemd-analyze` reads the files; nothing is started.
#[apply(test!)]
#[needs(SYSTEMD_ANALYZE)]
fn the_units_are_strict() {
    // The exposure by systemd's own measure, times ten. The station's unit gives the reason for each right that is left; the
    // gate's leaves the network itself, the scanner's input devices and the control socket's group, and the one that asks
    // drives for their health the drives and two capabilities.
    for (unit, threshold) in [
        ("prestaged.service", 24),
        ("prestaged-gate.service", 15),
        ("prestaged-health@.service", 15),
        ("prestaged-scanner@.service", 8),
        // What is left are the daemon's sockets.
        ("prestaged-lamps.service", 3),
    ] {
        let path = format!("{}/../systemd/{unit}", env!("CARGO_MANIFEST_DIR"));
        let threshold = format!("--threshold={threshold}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, &path];
        let (code, text) = told(Command::new("systemd-analyze").args(arguments));
        assert_eq!(code, 0, "{unit}: {text}");
    }
    // The daemon has none of what asking drives takes.
    for right in ["CAP_SYS_RAWIO", "CAP_SYS_ADMIN", "/dev/sg", "char-"] {
        let has = |line: &str| !line.starts_with('#') && line.contains(right);
        assert!(!UNIT.lines().any(has), "{right}");
    }
}

/// systemd understands every line of every unit. Programs that this machine lacks are not looked for.
#[apply(test!)]
#[needs(SYSTEMD_ANALYZE)]
fn every_unit_is_one() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd");
    let folder = tempfile::tempdir().unwrap();
    let programs = ["prestaged-gate", "prestaged-lamps", "prestagectl", "prestaged", "cage"];
    let mut units = Vec::new();
    for entry in fs::read_dir(top).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".service") {
            let mut text = fs::read_to_string(entry.path()).unwrap();
            for program in programs {
                text = text.replace(&format!("/usr/bin/{program}\n"), "/bin/true\n");
                text = text.replace(&format!("/usr/bin/{program} "), "/bin/true ");
            }
            text = text.replace("/usr/lib/prestaged/lamps-rights", "/bin/true");
            let unit = folder.path().join(&name);
            fs::write(&unit, text).unwrap();
            units.push(unit);
        }
    }
    assert_eq!(units.len(), 6, "{units:?}");
    let verify = |units: &[std::path::PathBuf]| {
        told(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units))
    };
    assert_eq!(verify(&units), (0, String::new()));
    // And says what it does not.
    let wrong = folder.path().join("wrong.service");
    fs::write(&wrong, "[Service]\nExecStart=/bin/true\nPrivateTemp=yes\n").unwrap();
    let (_, said) = verify(&[wrong]);
    assert!(said.contains("PrivateTemp"), "{said}");
}
