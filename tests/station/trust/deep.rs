//! `admission.blank_check = "deep"`: a drive that seems blank is read whole before its first byte is written.

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{Faults, FaultyDrive, slow};
use crate::harness::{Rig, Setup};

const MIB: u64 = 160;

fn station() -> Rig {
    let setup = Setup::default();
    let setup = setup.set("admission.overwrite", "blank_or_ours");
    Rig::started(setup.set("admission.blank_check", "deep"))
}

fn row(tried: &'static str, right: &'static str, before: &'static str, record: &Value) {
    let verdict = record["verdict"].as_str().unwrap();
    let now = match record["reason"]["code"].as_str() {
        Some(code) => format!("{verdict} {code}"),
        None => verdict.to_owned(),
    };
    Case { line: "A.2", tried, right, before }.saw(&now);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn one_bit_anywhere_is_found() {
    let rig = station();
    // Samples miss so little nearly always; where they hit it, the verdict is the same.
    for (name, place) in [("A", 8 << 20), ("B", 111 << 20), ("C", (MIB - 8) << 20)] {
        let drive = FaultyDrive::new(&rig, name, MIB, Faults::default()).blank();
        drive.plant(place - 1, &[4]);
        drive.attach(&[]);
        let record = rig.wait_verdict(&drive.serial);
        row("deep: one bit on a drive", "refused not_blank", "passed: it was erased", &record);
        let detail = record["reason"]["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!("at byte {}", place - 4096)), "{detail}");
        assert_eq!(drive.holds(place - 1, 1), [4]);
    }
    let drive = FaultyDrive::new(&rig, "D", MIB, Faults::default()).blank();
    drive.attach(&[]);
    row("deep: a blank drive", "passed", "passed", &rig.wait_verdict(&drive.serial));
    assert!(drive.reads().iter().any(|read| read.contains(&(111 << 20))), "it was read");
    drive.detach();
    rig.wait_gone(&drive.serial);
    // What is compared with what was written there is not read whole.
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "already_passed");
}

#[apply(test!)]
#[needs(LOOP, FUSE, LONG)]
fn what_ends_the_look_leaves_the_drive_alone() {
    let rig = station();
    let bad = Faults { read_error_at: Some(111 << 20), ..Faults::default() };
    let bad = FaultyDrive::new(&rig, "BAD", MIB, bad).blank();
    bad.attach(&[]);
    let record = rig.wait_verdict(&bad.serial);
    row("deep: a place that cannot be read", "refused read_error", "not tried", &record);
    let drive = FaultyDrive::new(&rig, "SLOW", MIB, slow(30)).blank();
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["checking"]);
    rig.ctl_ok(&["stop", &drive.serial]);
    let record = rig.wait_verdict(&drive.serial);
    row("deep: stopped meanwhile", "stopped operator_stop", "not tried", &record);
    assert_eq!(record["written_bytes"], 0, "{record:#}");
    let all = usize::try_from(MIB << 20).unwrap();
    for drive in [&bad, &drive] {
        drive.set(Faults::default());
        assert!(drive.holds(0, all).iter().all(|byte| *byte == 0), "{} is untouched", drive.serial);
    }
    rig.ctl_ok(&["retry", &drive.serial]);
    row("deep: retried", "passed", "not tried", &rig.wait_verdict(&drive.serial));
}
