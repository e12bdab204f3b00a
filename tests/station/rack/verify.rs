//! A drive that has passed is read again against its record, by the station of another boot.

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Spec};
use serde_json::Value;

use super::Rack;

/// Reads a drive again; returns the report, which must come with this exit code.
fn verified(rack: &mut Rack, serial: &str, code: u8) -> Value {
    let script = format!("prestagectl --json verify {serial}; test $? -eq {code}");
    rack.guest().json(&script).unwrap()
}

/// The first boot program on a drive: where it begins.
fn program(data: &[u8]) -> usize {
    const FIRST: usize = 1 << 20;
    let sectors = data.chunks_exact(512).enumerate().skip(FIRST / 512);
    let program = sectors.map(|(at, sector)| (at * 512, sector));
    program.into_iter().find(|(_, sector)| sector.starts_with(b"MZ")).expect("a boot program").0
}

#[apply(test!)]
#[needs(RACK, LONG)]
fn one_changed_byte_is_found_after_a_reboot() {
    let mut rack = Rack::restored("one changed byte is found after a reboot");
    let serials = ["CHANGED", "SATA0001"];
    for (bus, serial) in [Bus::Nvme, Bus::Sata].into_iter().zip(serials) {
        rack.plug(&Spec::new(bus, serial));
    }
    for serial in serials {
        rack.wait_pass(serial);
        assert_eq!(verified(&mut rack, serial, 0)["outcome"], "same");
    }
    let data = std::fs::read(rack.machine.file("CHANGED")).unwrap();
    // Within the program's header, which no file system writes by itself.
    let at = program(&data) + 100;
    let drives = rack.ctl("drives");
    let drive = drives.as_array().unwrap().iter().find(|drive| drive["serial"] == "CHANGED");
    let node = drive.unwrap()["device"].as_str().unwrap().to_owned();
    let byte = data[at] ^ 1;
    rack.done(&format!(
        "printf '\\{byte:03o}' | dd of={node} bs=1 seek={at} conv=notrunc,fsync status=none"
    ));

    // An armed station would image what is not as it was left, as this one may (`overwrite = "any"`).
    rack.done("sed -i 's/^armed = true/armed = false/' /etc/prestaged/prestaged.toml.d/*.toml");
    rack.machine.reboot().unwrap();
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    for serial in serials {
        let disarmed = rack.wait_decision(serial);
        assert_eq!(disarmed, "not_armed", "{serial}");
    }
    let report = verified(&mut rack, "CHANGED", 1);
    assert_eq!(report["outcome"], "different", "{report:#}");
    assert_eq!(report["started_since"], false, "{report:#}");
    let [range] = &report["ranges"].as_array().unwrap()[..] else { panic!("{report:#}") };
    let (offset, length) = (range["offset"].as_u64().unwrap(), range["length"].as_u64().unwrap());
    let at = u64::try_from(at).unwrap();
    let is_there = (offset..offset + length).contains(&at) && length <= 512;
    assert!(is_there, "{at}: {report:#}");
    let file = report["files"][0]["path"].as_str().unwrap().to_lowercase();
    assert!(file.starts_with("esp:/efi/"), "{report:#}");
    assert_eq!(verified(&mut rack, "SATA0001", 0)["outcome"], "same");
}
