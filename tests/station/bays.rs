//! Bays get their names by plugging drives in.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use macro_rules_attribute::apply;

use crate::harness::{Drive, Rig, Setup, bay, group, sample, wait_for};

/// A person who runs `prestagectl bays learn`.
struct Walk {
    program: Child,
    answers: Option<ChildStdin>,
    said: Arc<Mutex<String>>,
    listeners: Option<[JoinHandle<String>; 2]>,
}

impl Walk {
    fn begin(rig: &Rig, options: &[&str]) -> Self {
        let mut program = rig
            .prestagectl()
            .args(["bays", "learn", "--only"])
            // Other tests make loop devices too.
            .arg(format!("loop-{}*", rig.name))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let out: Box<dyn Read + Send> = Box::new(program.stdout.take().unwrap());
        let aside: Box<dyn Read + Send> = Box::new(program.stderr.take().unwrap());
        let listeners = [out, aside].map(|pipe| {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                let mut own = String::new();
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    own += &(line.clone() + "\n");
                    *said.lock().unwrap() += &(line + "\n");
                }
                own
            })
        });
        let answers = program.stdin.take();
        Self { program, answers, said, listeners: Some(listeners) }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until the program has printed a text so often.
    fn hears(&self, text: &str, times: usize) {
        wait_for(&format!("{text:?} in {:?}", self.said()), || {
            (self.said().matches(text).count() >= times).then_some(())
        });
    }

    /// Waits until the program has asked a question so often, and answers.
    fn answers(&mut self, question: &str, times: usize, answer: &str) {
        self.hears(question, times);
        writeln!(self.answers.as_mut().unwrap(), "{answer}").unwrap();
    }

    fn interrupt(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.program);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the program's end; returns its exit code, if no signal ended it, and all that it printed.
    fn end(self) -> (Option<i32>, String) {
        let (code, all) = self.ended();
        (code, all.concat())
    }

    /// Like [`Self::end`], with standard output and standard error apart.
    fn ended(mut self) -> (Option<i32>, [String; 2]) {
        let status = wait_for("the end", || self.program.try_wait().unwrap());
        let listeners = self.listeners.take().unwrap();
        (status.code(), listeners.map(|listener| listener.join().unwrap()))
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

const INVITED: &str = "Plug a drive into";

fn file(rig: &Rig) -> String {
    fs::read_to_string(rig.path("prestaged.toml.d/bays.toml")).unwrap_or_default()
}

fn path(drive: &Drive) -> String {
    format!("loop-{}", drive.file.file_name().unwrap().to_str().unwrap())
}

/// A disarmed station that allows no bay.
fn fresh() -> Rig {
    let rig = Rig::new(Setup::default().disarmed());
    rig.unset("admission.bays");
    rig
}

#[apply(test!)]
#[needs(LOOP)]
fn learned_names_appear_in_status_records_and_log() {
    let rig = fresh();
    rig.add_media(&sample(&["--compress=LZX"]), "win.wim");
    rig.start();
    let drives = ["A", "B", "C"].map(|name| rig.drive(name, 160));
    let before = drives[0].checksum();
    let walk = Walk::begin(&rig, &["--json", "--names", "left 1,right 1"]);
    for (at, drive) in drives[..2].iter().enumerate() {
        walk.hears(INVITED, at + 1);
        drive.attach(&[]);
    }
    let (code, [document, said]) = walk.ended();
    assert_eq!(code, Some(0), "{said}");
    let summary: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(summary["bays"][0]["name"], "left 1", "{summary:#}");
    assert_eq!(summary["bays"][0]["serial"], drives[0].serial.as_str(), "{summary:#}");
    assert_eq!(summary["restart"], "systemctl restart prestaged");
    drives[0].assert_untouched(&before);
    let _shown = rig.shown();
    insta::assert_snapshot!("names_before_a_restart", rig.ctl_ok(&["bays", "list"]));

    // Naming a bay does not allow it; the printed lines allow exactly the two.
    let allow = summary["allow"].as_str().unwrap();
    assert_eq!(allow, "[admission]\nbays = [\"left 1\", \"right 1\"]\n");
    fs::write(rig.path("prestaged.toml.d/50-allowed.toml"), allow).unwrap();
    drives[2].attach(&[]);
    rig.terminate();
    assert!(rig.wait_end());
    rig.start();
    rig.wait_media("win.wim", "valid");
    rig.ctl_ok(&["arm"]);
    for (drive, name) in drives.iter().zip(["left 1", "right 1"]) {
        rig.wait_state(&drive.serial, &["passed"]);
        assert_eq!(rig.wait_pass(&drive.serial)["bay"], name);
        assert_eq!(rig.drive_status(&drive.serial).unwrap()["bay"], name);
        assert_eq!(rig.decision(&drive.serial)["bay"], name);
        assert_eq!(rig.decision(&drive.serial)["path"], path(drive));
        let started = format!("{} started: win.wim, bay {name}", drive.serial);
        assert!(rig.log().contains(&started), "{}", rig.log());
    }
    assert_eq!(rig.decision(&drives[2].serial)["code"], "bay_not_allowed");
    let text = rig.ctl_ok(&["status"]);
    let row = text.lines().find(|line| line.starts_with("left 1 ")).unwrap();
    assert!(row.contains(&drives[0].serial) && row.contains("  PASS  "), "{text}");
    drives[1].detach();
    let rows = wait_for("the drive to go", || {
        let rows = rig.json(&["bays", "list"]);
        rows[1]["device"].is_null().then_some(rows)
    });
    let expected = serde_json::json!([
        { "name": "left 1", "path": path(&drives[0]), "device": drives[0].node(), "serial": drives[0].serial },
        { "name": "right 1", "path": path(&drives[1]), "device": null, "serial": null },
    ]);
    assert_eq!(rows, expected);
    insta::assert_snapshot!("names_after_a_restart", rig.ctl_ok(&["bays", "list"]));
}

/// `--allow` admits the learned bays, and their bus, in the drop-in that learning writes; the file beside it has its own
/// `[admission]`, and the station starts with both.
#[apply(test!)]
#[needs(LOOP)]
fn learned_bays_are_allowed_at_once() {
    let rig = fresh();
    rig.set("admission.bays", vec!["pci-0000:7f:00.0-nvme-1"]);
    rig.start();
    let drives = ["A", "B", "C"].map(|name| rig.drive(name, 160));
    let walk = Walk::begin(&rig, &["--allow", "--names", "left 1,right 1"]);
    for (at, drive) in drives[..2].iter().enumerate() {
        walk.hears(INVITED, at + 1);
        drive.attach(&[]);
    }
    let (code, said) = walk.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("The configuration allows these bays."), "{said}");
    let text = file(&rig);
    let list = "bays = [\"pci-0000:7f:00.0-nvme-1\", \"left 1\", \"right 1\"]";
    assert!(text.contains(list) && !text.contains("buses"), "{text}");
    drives[2].attach(&[]);
    rig.terminate();
    assert!(rig.wait_end());
    let (code, checked) = crate::harness::told(rig.command().arg("--check"));
    assert!(
        code == 0 && checked.contains("left 1, right 1  (") && checked.contains("bays.toml:"),
        "{checked}"
    );
    rig.start();
    for drive in &drives[..2] {
        assert_eq!(rig.decision(&drive.serial)["code"], "not_armed", "allowed");
    }
    assert_eq!(rig.decision(&drives[2].serial)["code"], "bay_not_allowed");
}

#[apply(test!)]
#[needs(LOOP)]
fn a_person_is_asked_told_what_is_wrong_and_may_rename() {
    let rig = fresh();
    rig.set("bay", bay("lower", "loop-*LOWER*"));
    rig.start();
    let first = rig.attached("FIRST", 4, 512);
    let drives = ["A[1]", "B", "LOWER", "D"].map(|name| rig.drive(name, 4));
    rig.decision(&first.serial);
    let mut walk = Walk::begin(&rig, &["--prefix", "rack 7-"]);
    walk.hears(INVITED, 1);
    assert!(walk.said().contains("already (1)"), "{}", walk.said());
    drives[0].attach(&[]);
    walk.hears(&format!("{}, 4", drives[0].serial), 1);
    let question = "name of this bay [rack 7-1]";
    for (at, (name, why)) in [
        ("bay*", "pattern in admission.bays"),
        ("loop-x", "would be taken for a path"),
        ("Lower", "\"lower\" is the name of the bay at loop-*LOWER*"),
    ]
    .into_iter()
    .enumerate()
    {
        walk.answers(question, at + 1, name);
        walk.hears(why, 1);
    }
    assert_eq!(file(&rig), "");
    walk.answers(question, 4, "");
    walk.hears("this is now the bay \"rack 7-1\"", 1);
    assert!(file(&rig).contains("A[[]1[]].img"), "{}", file(&rig));
    drives[1].attach(&[]);
    walk.answers("name of this bay [rack 7-2]", 1, "rack 7-1");
    walk.answers("name of this bay [rack 7-2]", 2, "upper");
    // This drive's bay has a name already, by a pattern in another file.
    walk.hears(INVITED, 3);
    drives[2].attach(&[]);
    walk.answers("this bay is \"lower\" already", 1, "");
    walk.hears("kept", 1);
    // A drive comes to the first bay again, whose name can be changed.
    drives[0].detach();
    walk.hears(INVITED, 4);
    wait_for("the drive to go", || {
        let all = rig.json(&["drives"]);
        let there =
            all.as_array().unwrap().iter().any(|d| d["serial"] == drives[0].serial.as_str());
        (!there).then_some(())
    });
    drives[0].attach(&[]);
    walk.answers("this bay is \"rack 7-1\" already", 1, "top");
    walk.hears("this is now the bay \"top\", which was \"rack 7-1\"", 1);
    drives[3].attach(&[]);
    walk.answers("name of this bay [rack 7-1]", 2, "-");
    walk.answers(INVITED, 6, "");
    let (code, said) = walk.end();
    assert_eq!(code, Some(0), "{said}");
    let _shown = rig.shown();
    insta::assert_snapshot!("a_whole_walk", said);
    let text = file(&rig);
    assert_eq!(text.matches("[[bay]]").count(), 2, "lower keeps its place: {text}");
    assert!(!text.contains("rack 7"), "{text}");
    rig.terminate();
    rig.wait_end();
    rig.start();
    let names = ["top", "upper", "lower"];
    for (drive, name) in drives.iter().zip(names) {
        assert_eq!(rig.decision(&drive.serial)["bay"], name);
    }
    // The next walk knows the names that the last one gave.
    let walk = Walk::begin(&rig, &["--names", "top"]);
    let (code, said) = walk.end();
    assert_eq!(code, Some(64), "{said}");
    insta::assert_snapshot!("a_name_is_taken", said);
    for (options, name) in [
        (["--names", "a,A"], "a_name_is_given_twice"),
        (["--prefix", "[x]"], "a_prefix_is_a_pattern"),
    ] {
        let (code, said) = Walk::begin(&rig, &options).end();
        assert_eq!(code, Some(64), "{said}");
        insta::assert_snapshot!(name, said);
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn what_was_confirmed_is_kept_whatever_ends_the_walk() {
    let rig = fresh();
    rig.start();
    let drives = ["A", "B", "C", "D", "E", "F"].map(|name| rig.drive(name, 4));
    let mut walk = Walk::begin(&rig, &[]);
    walk.hears(INVITED, 1);
    drives[0].attach(&[]);
    walk.answers("name of this bay", 1, "one");
    walk.hears(INVITED, 2);
    drives[1].attach(&[]);
    walk.hears("name of this bay", 2);
    walk.interrupt(rustix::process::Signal::INT);
    let (code, said) = walk.end();
    assert_eq!(code, Some(0), "{said}");
    let _shown = rig.shown();
    insta::assert_snapshot!("an_interrupted_walk", said);
    let kept = |names: &[&str]| {
        let text = file(&rig);
        let found: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
        assert_eq!(found, names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>());
    };
    kept(&["one"]);
    // Killed.
    let walk = Walk::begin(&rig, &["--names", "two,three"]);
    walk.hears(INVITED, 1);
    let (code, said) = Walk::begin(&rig, &["--names", "x"]).end();
    assert_eq!(code, Some(2), "{said}");
    insta::assert_snapshot!("another_walk_goes_on", said);
    drives[2].attach(&[]);
    walk.hears("this is now the bay \"two\"", 1);
    walk.interrupt(rustix::process::Signal::KILL);
    walk.end();
    kept(&["one", "two"]);
    // Names come from a pipe that ends.
    let mut walk = Walk::begin(&rig, &[]);
    writeln!(walk.answers.as_mut().unwrap(), "three").unwrap();
    drop(walk.answers.take());
    walk.hears(INVITED, 1);
    drives[3].attach(&[]);
    let (code, said) = walk.end();
    assert_eq!(code, Some(0), "{said}");
    insta::assert_snapshot!("names_from_a_pipe", said);
    kept(&["one", "two", "three"]);
    // Armed by somebody else.
    let walk = Walk::begin(&rig, &["--names", "four,five"]);
    walk.hears(INVITED, 1);
    drives[4].attach(&[]);
    walk.hears("this is now the bay \"four\"", 1);
    rig.ctl_ok(&["arm"]);
    let (code, said) = walk.end();
    assert_eq!(code, Some(2), "{said}");
    insta::assert_snapshot!("armed_during_a_walk", said);
    let (code, said) = Walk::begin(&rig, &[]).end();
    assert_eq!(code, Some(2), "{said}");
    insta::assert_snapshot!("armed_before_a_walk", said);
    rig.ctl_ok(&["disarm"]);
    // The daemon ends.
    let walk = Walk::begin(&rig, &["--names", "five,six"]);
    walk.hears(INVITED, 1);
    drives[5].attach(&[]);
    walk.hears("this is now the bay \"five\"", 1);
    rig.terminate();
    let (code, said) = walk.end();
    assert_eq!(code, Some(69), "{said}");
    kept(&["one", "two", "three", "four", "five"]);
}

#[apply(test!)]
#[needs(LOOP, ROOT)]
fn a_configuration_that_cannot_be_changed_is_told_before_anybody_walks() {
    let rig = fresh();
    rig.set("control.mode", "0666");
    rig.set("control.group", "disk");
    rig.start();
    let member = |verb: &str| rig.ctl_as_nobody(group("disk"), &["bays", verb]);
    let (code, said) = member("learn");
    assert_eq!(code, 77, "{said}");
    let _shown = rig.shown();
    insta::assert_snapshot!("a_member_cannot_name_bays", said);
    assert_eq!(member("list").0, 0);
    // A walk does not begin with a configuration that the daemon would not start with.
    let folder = rig.path("prestaged.toml.d");
    fs::create_dir_all(&folder).unwrap();
    for (name, text, told) in [
        ("z.toml", "[admision]", "a_wrong_configuration"),
        ("bays.toml", "[admission]\narmed = false", "names_beside_other_keys"),
    ] {
        fs::write(folder.join(name), text).unwrap();
        let (code, said) = Walk::begin(&rig, &[]).end();
        assert_eq!(code, Some(78), "{said}");
        insta::assert_snapshot!(told, said);
        fs::remove_file(folder.join(name)).unwrap();
    }
}
