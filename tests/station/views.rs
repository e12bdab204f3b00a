//! What operators see: verdicts that stay after the drive is pulled, the last verdicts of a bay, who is to blame.

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::harness::faulty::{Faults, FaultyDrive};
use crate::harness::{Rig, Setup, bay, wait_for};

/// Size of the drives.
const MIB: u64 = 160;

/// A station with one bay for all its drives, which are plugged in one after the other.
fn one_bay() -> Rig {
    let rig = Rig::new(Setup::default());
    rig.set("bay", bay("left", &format!("loop-{}*", rig.name)));
    rig.set("admission.bays", vec!["left"]);
    rig.start_with_media();
    rig
}

fn shown(rig: &Rig) -> Value {
    rig.json(&["status"])
}

/// Whoever pulls a bad drive looks at the screen afterwards. Its verdict must be there until the next drive comes, and that
/// it has failed until somebody says that it is in the red bin.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_failure_outlives_the_drive_that_follows_it() {
    let rig = one_bay();
    let broken = Faults { write_error_at: Some(4096), ..Faults::default() };
    let bad = FaultyDrive::new(&rig, "BAD", MIB, broken);
    bad.attach(&[]);
    let record = rig.wait_recorded(&bad.serial);
    assert_eq!(record["verdict"], "failed", "{record:#}");
    let ended = rig.drive_status(&bad.serial).unwrap()["ended"].clone();
    assert_eq!(ended, record["closed"], "the moment of the verdict is the record's");
    let piped = rig.ctl_ok(&["status"]);
    assert!(piped.contains("FAIL"), "{piped}");
    bad.detach();
    rig.wait_gone(&bad.serial);
    let status = shown(&rig);
    assert_eq!(status["departed"][0]["drive"]["serial"], bad.serial.as_str(), "{status:#}");
    assert!(status["departed"][0].get("followed").is_none(), "{status:#}");
    assert!(rig.ctl_ok(&["status"]).contains("pulled at"));

    let good = rig.attached("GOOD", MIB, 512);
    // From the moment on in which the new drive is there at all.
    let status = wait_for("the next drive", || {
        rig.drive_status(&good.serial)?;
        Some(shown(&rig))
    });
    assert_eq!(status["departed"][0]["followed"], true, "{status:#}");
    rig.wait_pass(&good.serial);
    let told = rig.ctl_ok(&["status"]);
    let row = told.lines().find(|line| line.starts_with("left")).unwrap().to_owned();
    assert!(row.contains("PASS") && row.contains(&good.serial), "{told}");
    let remark = format!("{} has failed in left, and nobody has acknowledged it", bad.serial);
    assert!(told.contains(&remark), "{told}");
    rig.ctl_ok(&["release", &bad.serial]);
    assert!(!rig.ctl_ok(&["status"]).contains("acknowledged"));
    assert_eq!(shown(&rig)["departed"], Value::Array(Vec::new()));
    rig.ctl_fails(2, &["release", &bad.serial]);

    // How the bay's jobs have ended is known after a restart, too.
    let verdicts = |status: &Value| -> Vec<String> {
        let history = status["history"][0]["ended"].as_array().unwrap().iter();
        history.map(|ended| ended["verdict"].as_str().unwrap().to_owned()).collect()
    };
    let before = shown(&rig);
    assert_eq!(verdicts(&before), ["failed", "passed"], "{before:#}");
    assert_eq!(before["history"][0]["ended"][0]["code"], record["reason"]["code"]);
    rig.terminate();
    assert!(rig.wait_end());
    rig.start();
    assert_eq!(shown(&rig)["history"], before["history"]);
}
