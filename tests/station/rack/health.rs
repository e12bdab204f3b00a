//! Drives are asked for their health by the package's units, under a real systemd, with the real smartctl.

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Spec};

use super::{Rack, say};

/// QEMU's NVMe drives tell a health log without spare, its SATA drives attributes, its SCSI drives hardly anything. The
/// unit has the rights to ask each of them, and the station has none of these.
#[apply(test!)]
#[needs(RACK, LONG)]
fn drives_are_asked_and_one_below_the_limit_is_refused() {
    let mut rack = Rack::restored("drives are asked for their health");
    rack.done(
        "printf '[health]\\ntimeout = \"1m\"\\nmin_available_spare = 1\\n' >/etc/prestaged/prestaged.toml.d/20-health.toml
         systemctl enable --now prestaged-health.socket && systemctl restart prestaged",
    );
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    assert_eq!(rack.done("stat -c '%a %U' /run/prestaged-health.sock").trim(), "600 root");
    for spec in [
        Spec::new(Bus::Nvme, "NVME0001"),
        Spec::new(Bus::Sata, "SATA0001"),
        Spec::new(Bus::Scsi, "SAS00001").wwn(0x5000_c500_a1b2_c3d4),
    ] {
        rack.plug(&spec);
    }
    let refused = rack.wait_verdict("NVME0001");
    say(&format!("NVMe: {}", refused["health"]["before"]));
    assert_eq!(refused["reason"]["code"], "health", "{refused:#}");
    let detail = refused["reason"]["detail"].as_str().unwrap();
    assert_eq!(detail, "available spare: 0, at least 1 (health.min_available_spare)");
    assert_eq!(refused["health"]["before"]["temperature_celsius"], 50, "{refused:#}");
    assert_eq!(refused["written_bytes"], 0);

    let passed = rack.wait_pass("SATA0001");
    say(&format!("SATA: {}", passed["health"]["after"]));
    for when in ["before", "after"] {
        let health = &passed["health"][when];
        assert_eq!(health["self_assessment"], "passed", "{passed:#}");
        assert_eq!(health["reallocated"], 0, "{passed:#}");
    }
    let passed = rack.wait_pass("SAS00001");
    say(&format!("SCSI: {}", passed["health"]["after"]));
    assert!(!passed["health"]["before"].is_null(), "{passed:#}");

    // No question has failed, and the station has none of these rights.
    rack.done("test -z \"$(systemctl --failed --quiet)\"");
    let seen =
        rack.done("systemctl show --property CapabilityBoundingSet --value prestaged.service");
    assert!(!seen.contains("rawio") && !seen.contains("sys_admin"), "{seen}");
}
