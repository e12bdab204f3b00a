//! Lamps in folders like sysfs: where they are, and what they take.

use std::fs;

use super::*;
use crate::sysfs::{ENCLOSURE, Sysfs};

const FAULT: Lit = Lit { fault: true, locate: false, ok: false };
const LOCATE: Lit = Lit { fault: false, locate: true, ok: false };
const OK: Lit = Lit { fault: false, locate: false, ok: true };
const BOTH: Lit = Lit { fault: true, locate: true, ok: false };

fn folder() -> (tempfile::TempDir, Sysfs, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let sysfs = Sysfs::new(&folder.path().join("sys"));
    let tree = Tree::of(&sysfs.0);
    (folder, sysfs, tree)
}

fn said(errors: &[LampError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_drive_leads_to_the_lamps_of_its_place() {
    let (_folder, sysfs, tree) = folder();
    sysfs.enclosure(4);
    sysfs.plug_in("sdb", 3);
    sysfs.port(2, Some("sda"));
    sysfs.npem("nvme0n1");
    let place = |node: &str| tree.of_drive(node).map(|place| place.to_string());
    assert_eq!(place("/dev/sdb"), Some(format!("ses:{ENCLOSURE}/Slot 03")));
    assert_eq!(place("/dev/sda").as_deref(), Some("ahci:0000:00:17.0/2"));
    assert_eq!(place("/dev/nvme0n1").as_deref(), Some("npem:0000:00:1d.0"));
    assert_eq!(place("/dev/sdz"), None);
    // A drive in a place without lamps.
    fs::remove_dir_all(sysfs.at("class/leds")).unwrap();
    assert_eq!(place("/dev/nvme0n1"), None);
    // Without an identifier, which subsystems may lack, the enclosure's address must do.
    fs::write(sysfs.at("class/enclosure/0:0:8:0/id"), "0x0\n").unwrap();
    assert_eq!(place("/dev/sdb").as_deref(), Some("ses:0:0:8:0/Slot 03"));
}

#[test]
fn a_namespace_of_a_subsystem_leads_to_its_only_controller() {
    let (_folder, sysfs, tree) = folder();
    sysfs.npem("nvme9n9");
    let subsystem = "devices/virtual/nvme-subsystem/nvme-subsys0";
    fs::create_dir_all(sysfs.at(&format!("{subsystem}/nvme0n1"))).unwrap();
    sysfs.link("class/block/nvme0n1", &format!("{subsystem}/nvme0n1"));
    sysfs.link(&format!("{subsystem}/nvme0n1/device"), subsystem);
    let controller = "devices/pci0000:00/0000:00:1d.0/0000:3b:00.0/nvme/nvme0";
    sysfs.link(&format!("{subsystem}/nvme0"), controller);
    assert_eq!(tree.of_drive("nvme0n1").unwrap().to_string(), "npem:0000:00:1d.0");
    // With two of them, nobody knows which one it is plugged into.
    sysfs.link(&format!("{subsystem}/nvme1"), controller);
    assert_eq!(tree.of_drive("nvme0n1"), None);
}

#[test]
fn slots_show_what_they_are_told_with_and_without_a_drive() {
    let (_folder, sysfs, tree) = folder();
    sysfs.enclosure(2);
    let place: Place = format!("ses:{ENCLOSURE}/Slot 02").parse().unwrap();
    let state = || {
        let slot = Sysfs::slot(2);
        (sysfs.get(&format!("{slot}/fault")), sysfs.get(&format!("{slot}/locate")))
    };
    for (lit, fault, locate) in
        [(FAULT, "1", "0"), (BOTH, "1", "1"), (LOCATE, "0", "1"), (Lit::default(), "0", "0")]
    {
        assert_eq!(said(&tree.show(&place, lit)), [""; 0]);
        assert_eq!(state(), (fault.to_owned(), locate.to_owned()));
    }
    assert_eq!(
        sysfs.get(&format!("{}/fault", Sysfs::slot(1))),
        "0",
        "the other slot is left alone"
    );
    // By its number, and by the enclosure's address.
    for other in [format!("ses:{ENCLOSURE}/2"), "ses:0:0:8:0/Slot 02".into()] {
        assert_eq!(said(&tree.show(&other.parse().unwrap(), FAULT)), [""; 0], "{other}");
        assert_eq!(state().0, "1", "{other}");
        tree.show(&place, Lit::default());
    }
    assert_eq!(said(&tree.show(&place, OK)), ["it has no ok lamp"]);
}

/// Linux shows a requested fault as 2, and one that the enclosure sees itself as 4.
#[test]
fn a_fault_that_the_enclosure_sees_itself_is_not_ours() {
    let (_folder, sysfs, tree) = folder();
    sysfs.enclosure(1);
    let place: Place = format!("ses:{ENCLOSURE}/Slot 01").parse().unwrap();
    let file = format!("{}/fault", Sysfs::slot(1));
    sysfs.put(&file, "4");
    assert_eq!(said(&tree.show(&place, Lit::default())), [""; 0]);
    assert_eq!(sysfs.get(&file), "4", "nothing was written");
    for requested in ["2", "6"] {
        sysfs.put(&file, requested);
        tree.show(&place, FAULT);
        assert_eq!(sysfs.get(&file), requested, "it is lit already");
    }
}

#[test]
fn a_sata_port_gets_one_message() {
    let (_folder, sysfs, tree) = folder();
    sysfs.port(2, None);
    sysfs.port(3, None);
    let place: Place = "ahci:0000:00:17.0/2".parse().unwrap();
    for (lit, message) in
        [(FAULT, "0x400000"), (BOTH, "0x80000"), (LOCATE, "0x80000"), (Lit::default(), "0x0")]
    {
        assert_eq!(said(&tree.show(&place, lit)), [""; 0]);
        assert_eq!(sysfs.get(&Sysfs::message(2)), message);
    }
    assert_eq!(sysfs.get(&Sysfs::message(3)), "0", "the other port is left alone");
    // The driver writes activity into it, in hexadecimal and without a prefix.
    sysfs.put(&Sysfs::message(2), "410000");
    tree.show(&place, FAULT);
    assert_eq!(sysfs.get(&Sysfs::message(2)), "410000", "it is lit already");
    assert_eq!(said(&tree.show(&place, OK)), ["it has no ok lamp"]);
    sysfs.put(&Sysfs::message(2).replace("em_message", "em_message_type"), "0");
    assert_eq!(said(&tree.show(&place, FAULT)), ["the controller sends nothing to lamps"]);
}

#[test]
fn a_pcie_port_has_a_lamp_for_ok() {
    let (_folder, sysfs, tree) = folder();
    sysfs.npem("nvme0n1");
    let place: Place = "npem:0000:00:1d.0".parse().unwrap();
    let led =
        |name: &str| sysfs.get(&format!("class/leds/0000:00:1d.0:enclosure:{name}/brightness"));
    assert_eq!(said(&tree.show(&place, OK)), [""; 0]);
    assert_eq!([led("fail"), led("locate"), led("ok")], ["0", "0", "1"]);
    assert_eq!(said(&tree.show(&place, BOTH)), [""; 0]);
    assert_eq!([led("fail"), led("locate"), led("ok")], ["1", "1", "0"]);
}

#[test]
fn what_is_not_there_is_told_and_nothing_is_made() {
    let (_folder, sysfs, tree) = folder();
    sysfs.enclosure(1);
    let show = |place: &str| said(&tree.show(&place.parse().unwrap(), BOTH));
    assert_eq!(show(&format!("ses:{ENCLOSURE}/Slot 09")), ["no such enclosure or slot is there"]);
    assert_eq!(show("ses:0x1/Slot 01"), ["no such enclosure or slot is there"]);
    assert_eq!(show("ahci:0000:00:17.0/1"), ["no such port with lamps is there"]);
    assert_eq!(show("npem:0000:00:1d.0"), ["it has no lamps"]);
    // A slot that has one lamp of two.
    let slot = Sysfs::slot(1);
    fs::remove_file(sysfs.at(&format!("{slot}/locate"))).unwrap();
    assert_eq!(show(&format!("ses:{ENCLOSURE}/Slot 01")), ["it has no locate lamp"]);
    assert_eq!(sysfs.get(&format!("{slot}/fault")), "1");
    assert!(!sysfs.at(&format!("{slot}/locate")).exists());
    // One that says what no lamp says.
    sysfs.put(&format!("{slot}/fault"), "on");
    let told = show(&format!("ses:{ENCLOSURE}/Slot 01"));
    assert!(told[0].contains("it says \"on\""), "{told:?}");
}

/// What leads out of the tree, or stands in a lamp's place as a link, is not written to.
#[test]
fn no_link_leads_elsewhere() {
    let (folder, sysfs, tree) = folder();
    sysfs.enclosure(1);
    let outside = folder.path().join("outside");
    fs::write(&outside, "0\n").unwrap();
    let fault = sysfs.at(&format!("{}/fault", Sysfs::slot(1)));
    fs::remove_file(&fault).unwrap();
    std::os::unix::fs::symlink(&outside, &fault).unwrap();
    let place: Place = format!("ses:{ENCLOSURE}/Slot 01").parse().unwrap();
    assert_eq!(tree.show(&place, FAULT).len(), 1);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "0\n");
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("brightness"), "0\n").unwrap();
    fs::create_dir_all(sysfs.at("class/leds")).unwrap();
    let led = sysfs.at("class/leds/0000:00:1d.0:enclosure:fail");
    std::os::unix::fs::symlink(&elsewhere, led).unwrap();
    let place: Place = "npem:0000:00:1d.0".parse().unwrap();
    assert_eq!(said(&tree.show(&place, FAULT)), ["it has no lamps"]);
    assert_eq!(fs::read_to_string(elsewhere.join("brightness")).unwrap(), "0\n");
}
