//! The lamps of a rack: which bay has which, and what is left when something goes.

use std::fs;
use std::path::Path;

use super::*;
use crate::sysfs::{ENCLOSURE, Sysfs};

const FAULT: Lamp = Lamp { fault: true, locate: false, passed: false };
const PASSED: Lamp = Lamp { fault: false, locate: false, passed: true };
const NOTHING: Lamp = Lamp { fault: false, locate: false, passed: false };

fn config(folder: &Path, more: &str) -> Config {
    let (sysfs, state) = (folder.join("sys"), folder.join("lamps.json"));
    let text = format!("[lamps]\nsysfs = {sysfs:?}\nstate = {state:?}\n{more}");
    Config::from_table(text.parse().unwrap()).unwrap()
}

fn wish(bay: &str, device: Option<&str>, lamp: Lamp) -> Wish {
    Wish { bay: bay.into(), device: device.map(Into::into), lamp }
}

fn rack() -> (tempfile::TempDir, Sysfs) {
    let folder = tempfile::tempdir().unwrap();
    let sysfs = Sysfs::new(&folder.path().join("sys"));
    sysfs.enclosure(4);
    (folder, sysfs)
}

fn faults(sysfs: &Sysfs) -> Vec<String> {
    (1..=4).map(|number| sysfs.get(&format!("{}/fault", Sysfs::slot(number)))).collect()
}

#[test]
fn a_bay_keeps_its_lamps_when_its_drive_is_gone() {
    let (folder, sysfs) = rack();
    sysfs.plug_in("sdb", 2);
    let mut panel = Panel::new(&config(folder.path(), ""));
    let report = panel.show(&[wish("b", Some("/dev/sdb"), FAULT), wish("c", None, NOTHING)]);
    assert_eq!((report.bays, report.troubles), (1, Vec::new()));
    assert_eq!(faults(&sysfs), ["0", "1", "0", "0"]);
    sysfs.pull_out("sdb", 2);
    panel.show(&[wish("b", None, FAULT)]);
    assert_eq!(faults(&sysfs), ["0", "1", "0", "0"], "pulled, and nobody has acknowledged it");
    panel.show(&[wish("b", None, NOTHING)]);
    assert_eq!(faults(&sysfs), ["0"; 4]);
}

/// Whoever is killed leaves lamps lit. The next start switches them off, also where no drive leads to them any more.
#[test]
fn what_an_earlier_run_has_lit_is_switched_off() {
    let (folder, sysfs) = rack();
    sysfs.plug_in("sdb", 2);
    let config = config(folder.path(), "");
    Panel::new(&config).show(&[wish("b", Some("/dev/sdb"), FAULT)]);
    sysfs.pull_out("sdb", 2);
    assert_eq!(faults(&sysfs)[1], "1");
    // The state of the enclosure's other lamps is somebody else's.
    sysfs.put(&format!("{}/fault", Sysfs::slot(4)), "1");
    let mut panel = Panel::new(&config);
    panel.show(&[]);
    assert_eq!(faults(&sysfs), ["0", "0", "0", "1"]);
    // And the bay still has its lamps.
    panel.show(&[wish("b", None, FAULT)]);
    assert_eq!(faults(&sysfs)[1], "1");
}

#[test]
fn a_memory_that_cannot_be_read_is_made_anew() {
    let (folder, sysfs) = rack();
    sysfs.plug_in("sdb", 2);
    let config = config(folder.path(), "");
    for text in ["", "{\"bays\": {\"b\": \"ses:../..\"}}", "[1]"] {
        fs::write(folder.path().join("lamps.json"), text).unwrap();
        let report = Panel::new(&config).show(&[wish("b", Some("/dev/sdb"), FAULT)]);
        assert_eq!(report.bays, 1);
        let kept = fs::read_to_string(folder.path().join("lamps.json")).unwrap();
        assert!(kept.contains(&format!("ses:{ENCLOSURE}/Slot 02")), "{kept}");
    }
}

#[test]
fn two_bays_with_the_same_lamps_are_told_and_show_no_pass_that_is_not_both_s() {
    let (folder, sysfs) = rack();
    sysfs.plug_in("sdb", 2);
    let named = format!(
        "passed = \"locate\"\n[[bay]]\nname = \"c\"\npath = \"c\"\nlamp = \"ses:{ENCLOSURE}/Slot 02\"\n"
    );
    let mut panel = Panel::new(&config(folder.path(), &named));
    let report = panel.show(&[wish("b", Some("/dev/sdb"), PASSED), wish("c", None, FAULT)]);
    assert_eq!(faults(&sysfs)[1], "1");
    assert_eq!(sysfs.get(&format!("{}/locate", Sysfs::slot(2))), "0", "one of them has failed");
    let what: Vec<_> = report.troubles.iter().map(|trouble| trouble.what.as_str()).collect();
    assert_eq!(what, ["b and c have the same lamps"]);
    assert_eq!(panel.logged.len(), 1);
    panel.show(&[wish("b", Some("/dev/sdb"), PASSED), wish("c", None, PASSED)]);
    assert_eq!(sysfs.get(&format!("{}/locate", Sysfs::slot(2))), "1", "both have passed");
    assert_eq!(panel.logged.len(), 1, "it is said once");
}

#[test]
fn passed_is_shown_only_where_the_configuration_says_how() {
    let (folder, sysfs) = rack();
    sysfs.npem("nvme0n1");
    sysfs.plug_in("sdb", 1);
    let led =
        |name: &str| sysfs.get(&format!("class/leds/0000:00:1d.0:enclosure:{name}/brightness"));
    let both = [wish("a", Some("/dev/nvme0n1"), PASSED), wish("b", Some("/dev/sdb"), PASSED)];
    for (passed, lamps, troubles) in
        [("off", ["0", "0"], 0), ("ok", ["1", "0"], 1), ("locate", ["0", "1"], 0)]
    {
        let config = config(folder.path(), &format!("passed = \"{passed}\""));
        let mut panel = Panel::new(&config);
        let report = panel.show(&both);
        assert_eq!([led("ok"), led("locate")], lamps, "{passed}");
        // The slot has no lamp for "ok".
        assert_eq!(report.troubles.len(), troubles, "{passed}: {report:?}");
        panel.show(&both.clone().map(Wish::without_news));
        assert_eq!([led("ok"), led("locate")], ["0", "0"], "{passed}: without news of the station");
    }
}

#[test]
fn a_slot_that_is_missing_is_told_once_and_looked_for_again() {
    let (folder, sysfs) = rack();
    let named =
        format!("[[bay]]\nname = \"c\"\npath = \"c\"\nlamp = \"ses:{ENCLOSURE}/Slot 09\"\n");
    let mut panel = Panel::new(&config(folder.path(), &named));
    for _ in 0..3 {
        let report = panel.show(&[wish("c", None, FAULT)]);
        assert_eq!(report.troubles[0].what, "no such enclosure or slot is there");
    }
    assert_eq!(panel.logged.len(), 1);
    sysfs.enclosure(9);
    // As if half a minute had passed.
    panel.told.clear();
    assert_eq!(panel.show(&[wish("c", None, FAULT)]).troubles, []);
    assert_eq!(sysfs.get(&format!("{}/fault", Sysfs::slot(9))), "1");
}
