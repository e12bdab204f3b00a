//! Many drives at once.

use std::fs::{self, File};

use macro_rules_attribute::apply;

use crate::harness::{Drive, Rig, Setup, wait_for};

/// How many drives: as many as a rack has bays.
const BAYS: u64 = 24;
/// Size of the drives.
const MIB: u64 = 160;
/// `replicate.memory`, in mebibytes: less than a master's content.
const MEMORY_MIB: u64 = 64;
/// Mebibytes that each drive may take beside chunks: threads, buffers for erasing and the commit, its boot files.
const EACH_MIB: u64 = 4;

/// Returns the daemon's peak memory since `clear_refs` was written, in mebibytes.
fn peak(rig: &Rig) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[apply(test!)]
#[needs(LOOP)]
fn memory_has_a_ceiling_for_twenty_four_drives() {
    let memory = format!("{MEMORY_MIB}MiB");
    let rig = Rig::started(Setup::default().disarmed().set("replicate.memory", memory));
    let drives: Vec<Drive> = (0..BAYS)
        .map(|number| {
            let serial = format!("{}D{number:02}", rig.name);
            let file = rig.path("drives").join(format!("{serial}.img"));
            // Writing noise to so many drives would take long.
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
    rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", &size]);
    let master = wait_for("the master", || rig.json(&["status"])["masters"].get(0).cloned());
    let payload = master["payload_bytes"].as_u64().unwrap();
    assert!(payload > MEMORY_MIB << 20, "{payload} bytes do not fit into memory");

    fs::write(format!("/proc/{}/clear_refs", rig.pid()), "5").unwrap();
    let idle = peak(&rig);
    rig.ctl_ok(&["arm"]);
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
