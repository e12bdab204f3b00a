//! The screen above the bench: the command of its unit, with the real cage and a browser, on a screen that only it sees.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use macro_rules_attribute::apply;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::gate::{GAMES, rig, start_gate};
use crate::harness::looks::{station, usual};
use crate::harness::teller::Teller;
use crate::harness::{group, wait_for};

const UNIT: &str = include_str!("../../systemd/prestaged-kiosk.service");

/// What the unit starts, as a list of words.
fn command() -> Vec<String> {
    let unit = UNIT.replace("\\\n", " ");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// Ends with all that it has started.
struct Screen(Child);

impl Drop for Screen {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The screen is switched on before there is a gate, follows the station as soon as there is one, and again when the gate
/// was gone.
#[apply(test!)]
#[needs(ROOT, BROWSER, CAGE)]
fn the_screen_shows_the_wall() {
    let (rig, port) = rig(&[]);
    let daemon = Teller::new(&rig.path("view.sock"));
    daemon.tell(&station(8, &usual()));
    let folder = rig.path("kiosk");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(rig.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(&folder, Some(GAMES), None).unwrap();
    let wall = format!("http://localhost:{port}/wall");
    let mut words = command();
    assert!(UNIT.contains("Environment=PRESTAGED_WALL=http://localhost:8480/wall\n"));
    for word in &mut words {
        *word = word.replace("${RUNTIME_DIRECTORY}", folder.to_str().unwrap());
        *word = word.replace("${PRESTAGED_WALL}", &wall);
        *word = word.replace("/usr/bin/", "");
    }
    // Where tests run there may be no namespaces for the browser's sandbox.
    words.insert(words.len() - 1, "--no-sandbox".into());
    let log = fs::File::create(rig.path("kiosk.log")).unwrap();
    let mut screen = Command::new(&words[0]);
    screen
        .args(&words[1..])
        .envs([
            ("WLR_BACKENDS", "headless"),
            ("WLR_LIBINPUT_NO_DEVICES", "1"),
            ("WLR_RENDERER", "pixman"),
        ])
        .env("XDG_RUNTIME_DIR", &folder)
        .env("HOME", &folder)
        .uid(GAMES)
        .gid(group("games"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let screen = Screen(screen.spawn().unwrap());
    wait_for("the browser", || folder.join("chromium").exists().then_some(()));
    for _ in 0..2 {
        let gate = start_gate(&rig, port);
        wait_for("a page that follows", || {
            gate.get("/metrics").body.contains("\nprestaged_gate_pages 1\n").then_some(())
        });
        drop(gate);
    }
    drop(screen);
}
