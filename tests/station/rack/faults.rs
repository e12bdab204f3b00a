//! Drives with bad sectors, write-protected ones, and drives of odd sizes.

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Fault, Spec};

use super::Rack;

/// Where the Windows partition begins in the rack's layout: 1 MiB, ESP, MSR; in sectors of 512 bytes.
const WINDOWS: u64 = (1 + 300 + 16) * 2048;

/// The place that an error names: "… N bytes at byte M: …".
fn place(detail: &str) -> (u64, u64) {
    let words: Vec<&str> = detail.split([' ', ':']).collect();
    let at = words.windows(4).position(|words| words == ["bytes", "at", "byte", words[3]]).unwrap();
    (words[at + 3].parse().unwrap(), words[at - 1].parse().unwrap())
}

#[apply(test!)]
#[needs(RACK)]
fn odd_drives() {
    let mut rack = Rack::restored("drives with faults");
    // This sector lies behind the boot sector's cluster, so it is written before the commit.
    let bad = WINDOWS + 64;
    rack.plug(&Spec::new(Bus::Scsi, "BADWRITE").fault(Fault::Write(bad)));
    rack.plug(&Spec::new(Bus::Scsi, "BADREAD").fault(Fault::Read(bad)));
    rack.plug(&Spec::new(Bus::Scsi, "LOCKED").read_only());
    rack.plug(&Spec::new(Bus::Nvme, "SMALL").mebibytes(64));
    rack.plug(&Spec::new(Bus::Nvme, "FOURK").sector(4096));
    rack.plug(&Spec::new(Bus::Usb, "GOOD"));

    for (serial, code) in [("LOCKED", "read_only"), ("SMALL", "too_small")] {
        assert_eq!(rack.wait_decision(serial), code);
        let record = rack.wait_verdict(serial);
        assert_eq!(
            (&record["verdict"], &record["reason"]["code"]),
            (&"refused".into(), &code.into())
        );
    }
    for (serial, code) in [("BADWRITE", "write_error"), ("BADREAD", "read_error")] {
        let record = rack.wait_verdict(serial);
        assert_eq!(record["verdict"], "failed", "{record:#}");
        assert_eq!(record["reason"]["code"], code, "{record:#}");
        let (from, length) = place(record["reason"]["detail"].as_str().unwrap());
        assert!((from..from + length).contains(&(bad * 512)), "{record:#}");
        rack.check_no_tables(serial);
    }
    assert_eq!(rack.wait_pass("GOOD")["logical_sector_bytes"], 512);
    assert_eq!(rack.wait_pass("FOURK")["logical_sector_bytes"], 4096);
    rack.check_tables("GOOD");
}
