//! Many drives at once.

use std::fs::{self, File};

use crate::harness::{Drive, Rig, Setup, can_loop, wait_for};

/// As many as a rack has bays.
const BAYS: u64 = 24;
/// Size of the drives.
const MIB: u64 = 420;
/// `replicate.memory`, less than a master has.
const MEMORY_MIB: u64 = 64;
/// What each drive may need beside chunks: threads, pieces of what is erased and committed, a look at its boot files.
const EACH_MIB: u64 = 4;

/// The most memory that the daemon has had since it was asked to count anew, in mebibytes.
fn peak(rig: &Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn memory_has_a_ceiling_for_twenty_four_drives() {
    if !can_loop() {
        return;
    }
    let more = format!("[replicate]\nmemory = \"{MEMORY_MIB}MiB\"");
    let rig = Rig::started(Setup { armed: false, more, ..Setup::default() });
    let drives: Vec<Drive> = (0..BAYS)
        .map(|number| {
            let serial = format!("{}D{number:02}", rig.name);
            let file = rig.path("drives").join(format!("{serial}.img"));
            // Empty: noise for so many would be a lot.
            File::create(&file).unwrap().set_len(MIB << 20).unwrap();
            let drive = Drive::new(serial, file);
            drive.attach(&[]);
            drive
        })
        .collect();
    for drive in &drives {
        assert_eq!(rig.wait_verdict(&drive.serial)["reason"]["code"], "not_armed");
    }
    let size = (MIB << 20).to_string();
    assert_eq!(rig.ctl(&["master", "press", "--media", "win.wim", "--size", &size]).0, 0);
    let master = wait_for("the master", || rig.json(&["status"])["masters"].get(0).cloned());
    let payload = master["payload_bytes"].as_u64().unwrap();
    assert!(payload > MEMORY_MIB << 20, "{payload} bytes do not fit into memory");

    fs::write(format!("/proc/{}/clear_refs", rig.pid()), "5").unwrap();
    let idle = peak(&rig);
    assert_eq!(rig.ctl(&["arm"]).0, 0);
    for drive in &drives {
        let record = wait_for(&drive.serial, || {
            let record = rig.records(&drive.serial).pop()?;
            (record["reason"]["code"] != "not_armed" && !record["verdict"].is_null())
                .then_some(record)
        });
        assert_eq!(record["verdict"], "passed", "{record:#}");
        assert!(record["cpu_milliseconds"].as_u64().unwrap() > 0, "{record:#}");
    }
    let peak = peak(&rig);
    let allowed = idle + MEMORY_MIB + BAYS * EACH_MIB;
    assert!(peak <= allowed, "{peak} MiB, {idle} before; {allowed} are allowed");
}
