//! Drives are plugged and pulled.

use std::time::{Duration, Instant};

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Spec};
use serde_json::Value;

use super::Rack;

/// Reads a drive's udev properties, and its size, model and firmware from sysfs.
fn udev(rack: &mut Rack, serial: &str) -> Value {
    let script = format!(
        r#"for disk in /sys/block/*; do
            properties=$(udevadm info -q property $disk)
            case $properties in *SERIAL*={serial}*) ;; *) continue ;; esac
            echo "$properties" | jq -R -s --arg model "$(cat $disk/device/model)" --arg size "$(cat $disk/size)" \
                --arg firmware "$(cat $disk/device/rev 2>/dev/null || cat $disk/device/firmware_rev)" \
                'split("\n") | map(select(length > 0) | capture("(?<key>[^=]*)=(?<value>.*)")) | from_entries
                 | . + {{model: ($model | sub(" +$"; "")), size: ($size | tonumber * 512), firmware: ($firmware | sub(" +$"; ""))}}'
        done"#
    );
    rack.guest().json(&script).unwrap()
}

/// Checks that a record says of its drive what udev says.
fn check_against_udev(rack: &mut Rack, record: &Value, wwn: bool) {
    let serial = record["serial"].as_str().unwrap();
    let udev = udev(rack, serial);
    // A SCSI drive with a WWN has that as its ID_SERIAL_SHORT.
    let own = if udev["ID_SCSI_SERIAL"].is_null() { "ID_SERIAL_SHORT" } else { "ID_SCSI_SERIAL" };
    assert_eq!(record["serial"], udev[own], "{udev:#}");
    assert_eq!(record["bay"], udev["ID_PATH"], "{udev:#}");
    assert_eq!(record["size_bytes"], udev["size"], "{udev:#}");
    assert_eq!(record["model"], udev["model"], "{udev:#}");
    assert_eq!(record["firmware"], udev["firmware"], "{udev:#}");
    let bus = udev["ID_BUS"].as_str().unwrap_or("nvme");
    assert_eq!(record["bus"], bus, "{udev:#}");
    assert_eq!(!udev["ID_WWN"].is_null(), wwn, "{udev:#}");
    assert_eq!(record["wwn"], udev["ID_WWN"], "{udev:#}");
}

/// Eight drives are plugged within a second, and a ninth when they are half done. The guest's own disk stays untouched.
#[apply(test!)]
#[needs(RACK)]
fn mixed_buses() {
    let mut rack = Rack::restored("nine drives on four buses");
    let drives = [
        Spec::new(Bus::Sata, "SATA0001"),
        Spec::new(Bus::Sata, "SATA0002"),
        Spec::new(Bus::Nvme, "NVME0001"),
        Spec::new(Bus::Nvme, "NVME0002"),
        Spec::new(Bus::Scsi, "SAS00001").wwn(0x5000_c500_a1b2_c3d4),
        Spec::new(Bus::Scsi, "SAS00002"),
        Spec::new(Bus::Usb, "USB00001"),
        Spec::new(Bus::Usb, "USB00002"),
    ];
    let start = Instant::now();
    drives.iter().for_each(|drive| rack.plug(drive));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "plugging took {took:?}");

    rack.wait_state("SAS00001", "reading_back", 50.0);
    rack.plug(&Spec::new(Bus::Nvme, "NVME0009"));
    let all = drives
        .iter()
        .map(|drive| (drive.serial.as_str(), drive.bus))
        .chain([("NVME0009", Bus::Nvme)]);
    let mut guids = std::collections::HashSet::new();
    for (serial, bus) in all {
        let record = rack.wait_pass(serial);
        assert_eq!(rack.records(serial).len(), 1, "{serial} was imaged once");
        assert_eq!(record["bus"], bus.name());
        check_against_udev(
            &mut rack,
            &record,
            !matches!(serial, "SAS00002" | "USB00001" | "USB00002"),
        );
        assert!(guids.insert(record["identity"]["disk_guid"].to_string()), "its own GUID");
        rack.check_tables(serial);
    }

    assert_eq!(rack.wait_decision(prestaged_rack::machine::SYSTEM_DRIVE), "system_disk");
    rack.done("test \"$(lsblk -n -o LABEL /dev/disk/by-partlabel/system)\" = system");

    // The journal finds the entries of one drive and of no other.
    let story = rack.done("journalctl --no-pager -o json PRESTAGED_SERIAL=SAS00001");
    let lines: Vec<Value> = story.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 2, "opened and closed: {story}");
    assert!(lines.iter().all(|line| line["PRESTAGED_SERIAL"] == "SAS00001"), "{story}");
    let last = lines.last().unwrap();
    assert_eq!(last["PRESTAGED_VERDICT"], "passed", "{story}");
    assert_eq!(last["_SYSTEMD_UNIT"], "prestaged.service", "{story}");
    assert_eq!(last["PRESTAGED_BAY"], rack.records("SAS00001")[0]["bay"], "{story}");
}

/// A drive is pulled while it is written and in its last phase, and another is plugged into the same bay at once: the kernel
/// gives it the same name.
#[apply(test!)]
#[needs(RACK, LONG)]
fn pulled_and_replaced() {
    replaced(&[(Bus::Nvme, "writing"), (Bus::Scsi, "committing")]);
}

/// The same in the other phases.
#[apply(test!)]
#[needs(LONG, RACK)]
fn pulled_and_replaced_in_other_phases() {
    replaced(&[(Bus::Scsi, "erasing"), (Bus::Usb, "reading_back")]);
}

fn replaced(phases: &[(Bus, &str)]) {
    let mut rack = Rack::restored("pulled and replaced");
    for &(bus, state) in phases {
        let (old, new) = (format!("OLD-{state}"), format!("NEW-{state}"));
        // The first and the last phase are short: only on a slow drive can the test see them.
        let rate = match state {
            "erasing" => 1 << 20,
            "committing" => 4 << 20,
            _ => 12 << 20,
        };
        rack.plug(&Spec::new(bus, &old).bay(5).rate(rate));
        if state == "committing" {
            // The commit writes only some hundred kilobytes, and the guest takes a moment to notice that a drive is pulled.
            for (percent, rate) in [(60.0, 2 << 20), (85.0, 1 << 20), (98.0, 128 << 10)] {
                rack.wait_state(&old, "reading_back", percent);
                rack.machine.set_rate(&old, rate).unwrap();
            }
        }
        rack.wait_state(&old, state, 0.0);
        rack.unplug(&old);
        rack.plug(&Spec::new(bus, &new).bay(5));
        let record = rack.wait_verdict(&old);
        assert_eq!(record["verdict"], "failed", "{state}: {record:#}");
        assert_eq!(record["reason"]["code"], "unplugged", "{state}: {record:#}");
        let next = rack.wait_pass(&new);
        assert_eq!(next["bay"], record["bay"], "{state}: the same place");
        assert_ne!(next["diskseq"], record["diskseq"], "{state}: another insertion");
        assert_ne!(next["identity"]["disk_guid"], record["identity"]["disk_guid"], "{state}");
        rack.check_tables(&new);
        if state != "committing" {
            rack.check_no_tables(&old);
        }
        rack.unplug(&new);
    }
}

/// Bays get names by plugging one drive into each; status, records and journal show the names from then on.
#[apply(test!)]
#[needs(RACK)]
fn bays_are_learned() {
    let mut rack = Rack::restored("bays are learned");
    rack.done("prestagectl disarm");
    rack.guest()
        .start("prestagectl bays learn --names 'top left,top right' >/run/walk 2>&1")
        .unwrap();
    for (bus, serial, name) in [(Bus::Scsi, "LEFT", "top left"), (Bus::Nvme, "RIGHT", "top right")]
    {
        rack.guest().wait("grep -q Plug /run/walk", super::PATIENCE).unwrap();
        rack.plug(&Spec::new(bus, serial));
        let named = format!("grep -q '{name}' /etc/prestaged/prestaged.toml.d/bays.toml");
        rack.guest().wait(&named, super::PATIENCE).unwrap();
    }
    rack.guest().wait("! pidof prestagectl", super::PATIENCE).unwrap();
    let said = rack.done("cat /run/walk");
    assert!(said.contains("systemctl restart prestaged"), "{said}");
    assert_eq!(rack.records("LEFT")[0]["verdict"], "refused", "naming writes nothing");

    // The configuration arms the station at its start.
    rack.done("systemctl restart prestaged");
    for (serial, name) in [("LEFT", "top left"), ("RIGHT", "top right")] {
        let record = rack.wait(&format!("{serial} to pass"), |rack| {
            rack.records(serial).pop().filter(|record| record["verdict"] == "passed")
        });
        assert_eq!(record["bay"], name);
        assert_eq!(rack.records(serial).len(), 1, "the verdict took the refusal's place");
        let status = rack.ctl("status");
        let drive =
            status["drives"].as_array().unwrap().iter().find(|d| d["serial"] == serial).cloned();
        assert_eq!(drive.unwrap()["bay"], name);
        rack.done(&format!("journalctl --no-pager PRESTAGED_SERIAL={serial} PRESTAGED_BAY='{name}' | grep -q passed"));
        let bays = rack.ctl("bays list");
        let bay = bays.as_array().unwrap().iter().find(|bay| bay["name"] == name).cloned().unwrap();
        assert_eq!(bay["path"], udev(&mut rack, serial)["ID_PATH"], "{bays:#}");
        assert_eq!(bay["serial"], serial, "{bays:#}");
    }
}
