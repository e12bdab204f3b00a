//! Many drives at once, and one that is slow.

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Spec};
use serde_json::Value;

use super::Rack;

/// The configured ceiling for chunks, and for each drive a mebibyte of buffers for erasing and the commit.
const CEILING: u64 = (64 + 24) << 20;

#[apply(test!)]
#[needs(LONG, RACK)]
fn twenty_four_drives() {
    let mut rack = Rack::restored("twenty-four drives");
    let process = rack.main_process();
    let memory = |rack: &mut Rack, field: &str| -> u64 {
        let script = format!("awk '/^{field}:/ {{print $2}}' /proc/{process}/status");
        rack.done(&script).trim().parse::<u64>().unwrap() << 10
    };
    let before = memory(&mut rack, "VmRSS");
    let serials: Vec<String> = (1..=24).map(|n| format!("SAS{n:05}")).collect();
    serials.iter().for_each(|serial| rack.plug(&Spec::new(Bus::Scsi, serial)));
    serials.iter().for_each(|serial| drop(rack.wait_pass(serial)));
    let grown = memory(&mut rack, "VmHWM") - before;
    super::say(&format!(
        "24 drives took {} MiB more than the {} MiB before",
        grown >> 20,
        before >> 20
    ));
    assert!(grown <= CEILING, "{} MiB", grown >> 20);
}

#[apply(test!)]
#[needs(LONG, RACK)]
fn slow_neighbour() {
    let mut rack = Rack::restored("a slow neighbour");
    const RATE: u64 = 3 << 20;
    // Images three drives; returns how many seconds writing and reading back took on average, by their records.
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
    // Other work of this machine slows either round down, so the best of three pairs counts. If drives waited for a slow
    // neighbour, all pairs would show it.
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
