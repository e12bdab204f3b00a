//! The programs themselves: exit codes, errors at start, journald.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::harness::needs::JOURNALD_PATH;
use crate::harness::{Rig, Setup, Volume, attach, told, wait_for};

fn check(rig: &Rig) -> (i32, String) {
    told(rig.command().arg("--check"))
}

/// The line in which a daemon that does not start says why, without what it has logged before.
fn error(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("prestaged: ")).unwrap_or(text)
}

#[apply(test!)]
fn check_says_what_would_be_watched() {
    let rig = Rig::new(Setup::default());
    let (code, text) = check(&rig);
    assert_eq!(code, 0, "{text}");
    let _shown = rig.shown();
    insta::assert_snapshot!("check", text);
}

#[apply(test!)]
fn a_wrong_configuration_is_exit_code_78_and_names_the_key() {
    let rig = Rig::new(Setup::default().set("admision.armed", true));
    let (code, text) = check(&rig);
    assert_eq!(code, 78, "{text}");
    let _shown = rig.shown();
    insta::assert_snapshot!("unknown_key", text);
}

#[apply(test!)]
fn a_missing_program_names_its_package() {
    let rig = Rig::new(Setup::default());
    let tools = rig.path("tools");
    fs::create_dir(&tools).unwrap();
    rig.set("tools.search", vec![tools.to_str().unwrap()]);
    let _shown = rig.shown();
    for program in ["mkntfs", "mkfs.vfat", "mcopy", "hivexsh", "blkid"] {
        let (code, text) = check(&rig);
        assert_eq!(code, 78, "{text}");
        insta::assert_snapshot!(format!("no_{program}"), text);
        fs::write(tools.join(program), "").unwrap();
    }
}

#[apply(test!)]
#[needs(ROOT)]
fn a_missing_libwim_names_its_package() {
    let listed = Command::new("ldconfig").arg("-p").output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let line = listed.lines().find(|line| line.contains("libwim.so.15")).unwrap();
    let library = line.split("=> ").nth(1).unwrap();
    // Hidden in a mount namespace of its own, for this one program.
    let script = format!("mount --bind /dev/null {library} && exec \"$@\"");
    let rig = Rig::new(Setup::default().wrapped(&["unshare", "-m", "sh", "-c", &script, "sh"]));
    let (code, text) = check(&rig);
    assert_eq!(code, 78, "{text}");
    let _shown = rig.shown();
    insta::assert_snapshot!("no_libwim", text);
}

#[apply(test!)]
#[needs(LOOP)]
fn two_stations_do_not_share_a_socket_a_store_or_a_ledger() {
    let rig = Rig::new(Setup::default());
    rig.start();
    let _shown = rig.shown();
    let mut said = String::new();
    // Each hint is followed, and then the next thing is found that they share.
    for key in ["control.socket", "store.path", "ledger.path"] {
        let (code, text) = told(&mut rig.command());
        assert_eq!(code, 78, "{text}");
        let told: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("prestaged: ") || line.starts_with("hint: "))
            .collect();
        said += &format!("{}\n", told.join("\n"));
        rig.set(key, rig.path(&format!("second-{key}")).to_str().unwrap());
    }
    insta::assert_snapshot!("what_two_stations_share", said);
    let socket = rig.path("control.sock");
    let (code, text) = told(rig.prestagectl().arg("status"));
    assert_eq!(code, 0, "{}: {text}", socket.display());
}

#[apply(test!)]
fn a_store_that_cannot_be_written_is_told_at_start() {
    let rig = Rig::new(Setup::default());
    fs::write(rig.path("store"), "a file in the way").unwrap();
    let (code, text) = told(&mut rig.command());
    assert_eq!(code, 78, "{text}");
    let _shown = rig.shown();
    insta::assert_snapshot!("store_is_a_file", error(&text));
}

#[apply(test!)]
#[needs(LOOP)]
fn exit_codes_are_the_contract_s() {
    let rig = Rig::new(Setup::default());
    let _shown = rig.shown();
    insta::assert_snapshot!("no_daemon", rig.ctl_fails(69, &["status"]));
    rig.start();
    rig.ctl_ok(&["status"]);
    rig.ctl_ok(&["--help"]);
    let said = [
        (64, &["no-such-verb"][..]),
        (64, &["records", "--since", "yesterday"]),
        (64, &["records", "--verdict", "maybe"]),
        (2, &["image", "/dev/no-such-drive"]),
        (2, &["retry", "NO-SUCH-SERIAL"]),
        (2, &["media", "show", "no.wim"]),
        (2, &["master", "remove", "no-such-master"]),
    ]
    .map(|(code, words)| format!("# {}\n{}", words.join(" "), rig.ctl_fails(code, words)));
    insta::assert_snapshot!("errors_of_prestagectl", said.join("\n"));
    assert_eq!(rig.ctl_ok(&["disarm"]), "disarmed\n");
    assert_eq!(rig.json(&["status"])["armed"], false);
}

#[apply(test!)]
#[needs(LOOP)]
fn records_come_as_csv_too() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let text = rig.ctl_ok(&["records", "--csv", "--verdict", "passed", "--since", "1h"]);
    insta::assert_snapshot!("columns_of_records", text.lines().next().unwrap());
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = table.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1, "{text}");
    // The sample's programs are signed by nobody.
    let programs = record["boot_programs"].as_array().unwrap().iter();
    let programs: Vec<String> =
        programs.map(|p| format!("{}: no certificate", p["path"].as_str().unwrap())).collect();
    let programs = Value::from(programs.join("; "));
    let known = [
        ("boot_programs", &programs),
        ("media", &record["media"]["name"]),
        ("media_sha256", &record["media"]["sha256"]),
        ("disk_guid", &record["identity"]["disk_guid"]),
        ("old_data", &record["old_data"]["fate"]),
        ("old_data_sampled_places", &record["old_data"]["sampled_places"]),
        ("old_data_places_with_data", &record["old_data"]["places_with_data"]),
    ];
    for (column, field) in &rows[0] {
        let known = known.iter().find(|(name, _)| name == column);
        let expected = match known.map_or(&record[column], |(_, value)| value) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(list) if list.is_empty() => String::new(),
            other => other.to_string(),
        };
        assert_eq!(*field, expected, "{column}: {record:#}");
    }
    assert_eq!(rows[0]["serial"], drive.serial);
    assert_eq!(record["schema"], 2);
    // Other programs read the ledger while the station runs.
    let query = "SELECT json_extract(record, '$.serial') FROM records WHERE verdict = 'passed'";
    let ledger = rig.path("ledger.db");
    let found = crate::harness::sample::run("sqlite3", &[ledger.to_str().unwrap(), query]);
    assert_eq!(found.trim(), drive.serial);
}

/// journald runs in a mount namespace of its own: neither the machine's /run nor its journal is touched.
#[apply(test!)]
#[needs(LOOP, JOURNALD)]
fn every_record_is_a_journal_entry() {
    // journald does not start on a machine without a name, such as a bare container.
    const MACHINE: &str = "0123456789abcdef0123456789abcdef";
    // journald ends with the daemon: both are in one process group of a shell that waits for the latter.
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal \
         && {{ test -s /etc/machine-id || {{ echo {MACHINE} > /run/machine-id && touch /etc/machine-id \
         && mount --bind /run/machine-id /etc/machine-id; }}; }} \
         && mount -t tmpfs none /var/log \
         && start() {{ {JOURNALD_PATH} & journal=$!; for i in $(seq 500); do \
         test -S /run/systemd/journal/socket && break; sleep 0.01; done; }} && start \
         && {{ \"$@\" & daemon=$!; echo $daemon >\"$0\"; }}; \
         trap 'kill -9 $journal; wait $journal; rm /run/systemd/journal/socket; touch \"$0.gone\"' USR1; \
         trap 'start; touch \"$0.back\"' USR2; \
         code=160; while [ $code -gt 128 ]; do wait $daemon; code=$?; done; \
         journalctl --no-pager -o json > \"$0.json\"; kill $journal; exit $code"
    );
    let shell = Rig::new(Setup::default());
    // The shell keeps its files in the folder of another rig, because it needs them before the daemon's rig exists.
    let state = shell.path("daemon.pid");
    let wrapper = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "bash",
        "-c",
        &script,
        state.to_str().unwrap(),
    ];
    let rig = Rig::started(Setup::default().wrapped(&wrapper).bay("left 1", "loop-*A.img"));
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["bay"], "left 1");
    // journald dies; the station goes on, and when journald is back so are the entries.
    let signal = |name: &str, file: &str| {
        crate::harness::sample::run("kill", &[name, &rig.pid().to_string()]);
        let file = format!("{}.{file}", state.display());
        wait_for(&file, || fs::exists(&file).unwrap().then_some(()));
    };
    signal("-USR1", "gone");
    let silent = rig.attached("B", 160, 512);
    rig.wait_pass(&silent.serial);
    signal("-USR2", "back");
    let later = rig.attached("C", 160, 512);
    rig.wait_pass(&later.serial);
    let pid = fs::read_to_string(&state).unwrap().trim().to_owned();
    crate::harness::sample::run("kill", &["-TERM", &pid]);
    rig.wait_end();
    let path = state.with_file_name("daemon.pid.json");
    let text = wait_for("the journal", || fs::read_to_string(&path).ok().filter(|t| !t.is_empty()));
    let entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours: Vec<_> =
        entries.iter().filter(|e| e["PRESTAGED_SERIAL"] == drive.serial.as_str()).collect();
    assert_eq!(ours.len(), 2, "one when opened, one when closed: {ours:#?}");
    let of = |serial: &str| entries.iter().filter(|e| e["PRESTAGED_SERIAL"] == serial).count();
    assert_eq!(
        (of(&silent.serial), of(&later.serial)),
        (0, 2),
        "none while journald was gone, two after it came back"
    );
    let closed = ours[1];
    for (field, value) in [
        ("PRESTAGED_VERDICT", "passed"),
        ("PRESTAGED_REASON", ""),
        ("PRESTAGED_JOB", record["job"].as_str().unwrap()),
        ("PRESTAGED_BAY", record["bay"].as_str().unwrap()),
        ("PRESTAGED_MEDIA_SHA256", record["media"]["sha256"].as_str().unwrap()),
        ("PRESTAGED_READBACK_SHA256", record["readback_sha256"].as_str().unwrap()),
        ("MESSAGE_ID", record::journal::PASSED),
    ] {
        assert_eq!(closed[field], value, "{field}");
    }
    let rate = record["write_bytes_per_second"].to_string();
    assert_eq!(closed["PRESTAGED_WRITE_BPS"], rate.as_str());
    let message = closed["MESSAGE"].as_str().unwrap();
    assert!(message.starts_with(&format!("{} passed: win.wim, ", drive.serial)), "{message}");
}

/// Without a udevd the daemon listens to the kernel instead, as in all other tests.
#[apply(test!)]
#[needs(LOOP, UDEVD)]
fn where_udevd_runs_its_events_are_followed() {
    let rig = Rig::started(Setup::default().beside_udevd(""));
    let drives: Vec<_> = ["A", "B", "C"].map(|name| rig.attached(name, 160, 512)).into();
    for drive in &drives {
        rig.wait_pass(&drive.serial);
        assert_eq!(rig.records(&drive.serial).len(), 1);
    }
    // udevd has marked the drives, so that desktops and assemblers of RAIDs leave them alone.
    let properties = || rig.udev_properties(&drives[0].node());
    let file = rig.path("stray.img");
    fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let stranger = Volume(attach(file.to_str().unwrap(), &[]));
    let others = rig.udev_properties(&stranger.0);
    wait_for("the mark", || properties().contains("UDISKS_IGNORE=1").then_some(()));
    assert!(!others.contains("UDISKS_IGNORE=1"), "{others}");
    drop(stranger);
    rig.terminate_beside_udevd();
    assert!(rig.wait_end(), "{}", rig.log());
}
