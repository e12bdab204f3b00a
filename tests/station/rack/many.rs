//! Many drives at once, and one that is slow.

use std::time::{Duration, Instant};

use prestaged_rack::{Bus, Spec};

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
    let peak =
        rack.done(&format!("sed -n 's/^VmHWM: *\\([0-9]*\\) kB/\\1/p' /proc/{process}/status"));
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
    let mut round = |name: &str, slow: bool| -> Duration {
        if slow {
            rack.plug(&Spec::new(Bus::Scsi, "SNAIL").rate(RATE / 10));
            rack.wait_state("SNAIL", "writing", 0.0);
        }
        let start = Instant::now();
        let serials: Vec<String> = (0..3).map(|n| format!("{name}{n}")).collect();
        serials.iter().for_each(|serial| rack.plug(&Spec::new(Bus::Scsi, serial).rate(RATE)));
        serials.iter().for_each(|serial| drop(rack.wait_pass(serial)));
        let took = start.elapsed();
        serials.iter().for_each(|serial| rack.unplug(serial));
        took
    };
    round("WARM", false);
    let alone = round("ALONE", false);
    let beside = round("BESIDE", true);
    super::say(&format!(
        "three drives: {alone:.1?} alone, {beside:.1?} beside one at a tenth of their rate"
    ));
    assert!(beside.as_secs_f64() <= alone.as_secs_f64() * 1.05, "{alone:?} {beside:?}");
}
