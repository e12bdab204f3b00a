//! `prestagectl top` on a real terminal, tmux: every width, with and without colours, keys, and that the terminal is given
//! back however the program ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use macro_rules_attribute::apply;
use model::api::snapshot::Snapshot;

use crate::harness::gate::GAMES;
use crate::harness::looks::{station, usual};
use crate::harness::teller::Teller;
use crate::harness::{Rig, Setup, told, wait_for};

/// A tmux server of its own, which ends with the test.
struct Tmux {
    socket: String,
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

impl Tmux {
    fn new(rig: &Rig) -> Self {
        Self { socket: rig.path("tmux").to_str().unwrap().to_owned() }
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        let (code, text) =
            told(command.args(["-u", "-S", &self.socket, "-f", "/dev/null"]).args(arguments));
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    }

    /// A shell line in a terminal of this size. When it has ended, its exit code is told.
    fn run(&self, name: &str, (columns, rows): (u16, u16), line: &str) {
        let line = format!("{line}; echo ended with $?; stty -a; sleep 1000");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.ask(&["new-session", "-d", "-s", name, "-x", &columns, "-y", &rows, &line]);
    }

    fn shown(&self, name: &str) -> String {
        self.ask(&["capture-pane", "-p", "-t", name])
    }

    fn coloured(&self, name: &str) -> String {
        self.ask(&["capture-pane", "-p", "-e", "-t", name])
    }

    fn press(&self, name: &str, keys: &[&str]) {
        self.ask(&[&["send-keys", "-t", name], keys].concat());
    }

    fn wait(&self, name: &str, what: &str, is: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("{name}: {what}: {}", self.shown(name)), || {
            Some(self.shown(name)).filter(|shown| is(shown))
        })
    }

    /// That the terminal is as a shell wants it: its own screen, a cursor, and what is typed is seen.
    fn is_given_back(&self, name: &str, code: &str) {
        let shown = self.wait(name, "its end", |shown| shown.contains("ended with"));
        assert!(shown.contains(&format!("ended with {code}")), "{name}: {shown}");
        let shown = self.wait(name, "its modes", |shown| shown.contains("echoke"));
        for mode in [" icanon ", " echo "] {
            assert!(shown.replace(['\n', ';'], " ").contains(mode), "{name}: {mode}: {shown}");
        }
        let flags = self.ask(&["display", "-p", "-t", name, "#{alternate_on}#{cursor_flag}"]);
        assert_eq!(flags.trim(), "01", "{name}");
    }
}

/// 24 bays, as a teller in the daemon's place tells them.
fn rack(rig: &Rig) -> (Teller, String) {
    let socket = rig.path("control.sock");
    let daemon = Teller::new(&socket);
    daemon.tell(&Snapshot { station: "rack-03".into(), ..station(24, &usual()) });
    let program = env!("CARGO_BIN_EXE_prestagectl");
    (daemon, format!("{program} --socket {} top", socket.display()))
}

/// How many bays a screen lists, and how many it says that it does not.
fn listed(shown: &str) -> usize {
    let more = shown.lines().find_map(|line| line.trim_start().strip_prefix("and "));
    let more = more.map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap());
    let bays = (1..=24).filter(|bay| {
        let name = format!("bay {bay} ");
        shown.lines().any(|line| !line.contains("NEED HANDS") && line.contains(&name))
    });
    bays.count() + more
}

#[apply(test!)]
#[needs(TMUX)]
fn top_is_whole_at_every_width() {
    let rig = Rig::new(Setup::default());
    let (_daemon, top) = rack(&rig);
    let tmux = Tmux::new(&rig);
    let sizes = [(60, 24), (80, 24), (132, 32), (200, 50)];
    for (columns, rows) in sizes {
        tmux.run(&format!("c{columns}"), (columns, rows), &top);
        tmux.run(&format!("p{columns}"), (columns, rows), &format!("NO_COLOR=1 {top}"));
    }
    for (columns, _) in sizes {
        for plain in [false, true] {
            let name = format!("{}{columns}", if plain { 'p' } else { 'c' });
            let shown = tmux.wait(&name, "the rack", |shown| shown.contains("rack-03"));
            for part in [
                "ARMED",
                "NEED HANDS",
                "pass ",
                "fail ",
                "refused ",
                "Pull it: red bin",
                "? help",
                "R retry",
            ] {
                assert!(shown.contains(part), "{name}: {part}:\n{shown}");
            }
            assert_eq!(listed(&shown), 24, "{name}:\n{shown}");
            // What is to be done with what the station has spoilt, on two lines of a tile perhaps.
            let words = shown
                .split(|c: char| c.is_whitespace() || c == '║')
                .filter(|word| !word.is_empty());
            let words = words.collect::<Vec<_>>();
            assert!(words.contains(&"lead"), "{name}: the end of what is to be done:\n{shown}");
            // Red is the ground of a failure alone.
            let coloured = tmux.coloured(&name);
            let red = ["[41m", ";41m", "48;5;1m"].iter().any(|ground| coloured.contains(ground));
            assert_eq!(red, !plain, "{name}:\n{coloured}");
        }
    }
    // The fourth bay has failed: its page, and what may be done about it.
    let name = "c80";
    tmux.press(name, &["4", "Enter"]);
    let page = tmux.wait(name, "the bay", |shown| shown.contains("last verdicts"));
    assert!(page.contains("Red bin") || page.contains("red bin"), "{page}");
    tmux.press(name, &["R"]);
    tmux.wait(name, "a question", |shown| shown.contains("type \"bay 4\" and Enter"));
    tmux.press(name, &["b", "a", "y", "Enter"]);
    tmux.wait(name, "a refusal", |shown| shown.contains("nothing was done"));
    tmux.press(name, &["l"]);
    tmux.wait(name, "that it is located", |shown| shown.contains("located"));
    tmux.press(name, &["Escape", "?"]);
    tmux.wait(name, "help", |shown| shown.contains("arm or disarm"));
    // A window that becomes another one's size.
    tmux.press(name, &["Escape"]);
    tmux.ask(&["resize-window", "-t", name, "-x", "60", "-y", "10"]);
    let shown =
        tmux.wait(name, "less room", |shown| shown.contains(" and ") && shown.contains("FAIL"));
    assert_eq!(listed(&shown), 24, "{shown}");
    // What comes after it has more lines than that.
    tmux.ask(&["resize-window", "-t", name, "-x", "100", "-y", "30"]);
    tmux.press(name, &["q"]);
    tmux.is_given_back(name, "0");
}

/// What does not know its size gets one; what ends the program, a panic too, gives the terminal back.
#[apply(test!)]
#[needs(TMUX, ROOT)]
fn top_gives_the_terminal_back() {
    let rig = Rig::new(Setup::default());
    let (_daemon, top) = rack(&rig);
    // Everybody reaches the program and the socket.
    fs::set_permissions(rig.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = rig.path("prestagectl");
    fs::copy(env!("CARGO_BIN_EXE_prestagectl"), &copy).unwrap();
    let open = top.replace(env!("CARGO_BIN_EXE_prestagectl"), copy.to_str().unwrap());
    let tmux = Tmux::new(&rig);
    let size = (100, 30);
    tmux.run("none", size, &format!("stty rows 0 cols 0; COLUMNS=60 LINES=20 {top}"));
    tmux.run("term", size, &format!("sh -c 'echo $$ >{}; exec {top}'", rig.path("pid").display()));
    // Nobody else is this user, so the limit is reached with the thread that reads keys, which panics.
    let nobody = format!(
        "setpriv --reuid={} --regid={GAMES} --clear-groups",
        64_000 + std::process::id() % 1000
    );
    tmux.run("panic", size, &format!("prlimit --nproc=1 {nobody} {open}"));
    let shown = tmux.wait("none", "the rack", |shown| shown.contains("rack-03"));
    assert_eq!(listed(&shown), 24, "{shown}");
    tmux.press("none", &["q"]);
    tmux.wait("none", "its end", |shown| shown.contains("ended with 0"));
    tmux.wait("term", "the rack", |shown| shown.contains("rack-03"));
    let pid = fs::read_to_string(rig.path("pid")).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    tmux.is_given_back("term", "0");
    tmux.is_given_back("panic", "101");
    let said = tmux.ask(&["capture-pane", "-p", "-S", "-500", "-t", "panic"]);
    assert!(said.contains("panicked"), "{said}");
}
