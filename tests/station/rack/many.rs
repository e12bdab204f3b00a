//! Many drives at once, and one that is slow.

use prestaged_rack::{Bus, Spec};
use serde_json::Value;

use super::{Rack, is_long};

/// The configured ceiling of chunks, what else the daemon holds, and the page cache of its control group aside.
const CEILING: u64 = (64 + 64) << 20;

#[test]
fn twenty_four_drives() {
    if !is_long("twenty-four drives") {
        return;
    }
    let Some(mut rack) = Rack::restored("twenty-four drives") else { return };
    let serials: Vec<String> = (1..=24).map(|n| format!("SAS{n:05}")).collect();
    serials.iter().for_each(|serial| rack.plug(&Spec::new(Bus::Scsi, serial)));
    serials.iter().for_each(|serial| drop(rack.wait_pass(serial)));
    let process = rack.main_process();
    let peak = rack.done(&format!("awk '/^VmHWM:/ {{print $2}}' /proc/{process}/status"));
    let peak: u64 = peak.trim().parse::<u64>().unwrap() << 10;
    super::say(&format!("24 drives: peak of the daemon {} MiB", peak >> 20));
    assert!(peak <= CEILING, "{} MiB", peak >> 20);
}

/// Drives at a rate that leaves the emulated processors time, with and without one that is ten times slower.
#[test]
fn slow_neighbour() {
    if !is_long("a slow neighbour") {
        return;
    }
    let Some(mut rack) = Rack::restored("a slow neighbour") else { return };
    const RATE: u64 = 3 << 20;
    // Seconds that the drives' two long phases took, by their records.
    let mut round = |name: &str| -> f64 {
        let serials: Vec<String> = (0..3).map(|n| format!("{name}{n}")).collect();
        serials.iter().for_each(|serial| rack.plug(&Spec::new(Bus::Scsi, serial).rate(RATE)));
        let took = |record: &Value| -> f64 {
            let number = |field: &str| record[field].as_f64().unwrap();
            number("written_bytes") / number("write_bytes_per_second")
                + number("verified_bytes") / number("verify_bytes_per_second")
        };
        let all: Vec<f64> = serials.iter().map(|serial| took(&rack.wait_pass(serial))).collect();
        serials.iter().for_each(|serial| rack.unplug(serial));
        if name.starts_with("ALONE") {
            rack.plug(&Spec::new(Bus::Scsi, "SNAIL").rate(RATE / 10));
            rack.wait_state("SNAIL", "writing", 0.0);
        } else {
            let snail = rack.records("SNAIL").pop().unwrap();
            assert!(snail["verdict"].is_null(), "it ran all the time: {snail:#}");
            rack.unplug("SNAIL");
            std::fs::remove_file(rack.machine.file("SNAIL")).unwrap();
        }
        all.iter().sum::<f64>() / 3.0
    };
    // What else this machine does slows either round down, so the best of some pairs counts; waiting for a slow neighbour
    // would show in all of them.
    let mut best = f64::MAX;
    for pair in 1..=3 {
        let (alone, beside) = (round(&format!("ALONE{pair}")), round(&format!("BESIDE{pair}")));
        super::say(&format!(
            "{alone:.1} s alone, {beside:.1} s beside one at a tenth of their rate"
        ));
        best = best.min(beside / alone);
        if best <= 1.05 {
            return;
        }
    }
    panic!("{best:.2} times as long beside a slow one");
}
