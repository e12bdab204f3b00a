//! Masters that lie in the store under each other's names, or with each other's manifests: no drive gets what is not its own.

use std::fs;
use std::path::{Path, PathBuf};

use macro_rules_attribute::apply;

use crate::harness::sample::{Sample, run};
use crate::harness::{Rig, Setup, sample_of, wait_for};

fn exchange(one: &Path, other: &Path) {
    let between = one.with_extension("between");
    fs::rename(one, &between).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(between, other).unwrap();
}

/// The folder of the master for drives of this size, which is pressed if it is not there.
fn master(rig: &Rig, media: &str, mib: u64) -> PathBuf {
    let size = mib << 20;
    rig.ctl_ok(&["master", "press", "--media", media, "--size", &size.to_string()]);
    let id = wait_for("the master", || {
        let all = rig.json(&["master", "list"]);
        let own =
            |master: &&serde_json::Value| master["media"] == media && master["size_bytes"] == size;
        let found = all.as_array().unwrap().iter().find(own);
        found.map(|master| master["id"].as_str().unwrap().to_owned())
    });
    let config: toml::Table =
        fs::read_to_string(rig.path("prestaged.toml")).unwrap().parse().unwrap();
    Path::new(config["store"]["path"].as_str().unwrap()).join("masters").join(id)
}

/// A drive gets its own media, with tables for its own capacity, at once and without a fault.
fn gets_its_own(rig: &Rig, name: &str, mib: u64) {
    let drive = rig.attached(name, mib, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["media"]["name"], "win.wim", "{record:#}\n{}", rig.log());
    assert_eq!(rig.records(&drive.serial).len(), 1, "no drive is touched before: {}", rig.log());
    let told = run("sgdisk", &["-v", drive.file.to_str().unwrap()]);
    assert!(told.contains("No problems found"), "{told}");
    assert_eq!(rig.json(&["audit", &drive.serial])["verdict"], "same");
}

#[apply(test!)]
#[needs(LOOP)]
fn masters_that_were_exchanged_reach_no_drive() {
    let rig = Rig::new(Setup::default());
    rig.start_with_media();
    let other = Sample { seed: 11, ..Sample::default() };
    rig.add_media(&sample_of(&other, &["--compress=LZX"]), "other.wim");
    rig.wait_media("other.wim", "valid");
    rig.ctl_ok(&["media", "offer", "other.wim", "hidden"]);
    let [small, large] = [480, 560].map(|mib| master(&rig, "win.wim", mib));
    exchange(&small, &master(&rig, "other.wim", 480));
    gets_its_own(&rig, "A", 480);
    exchange(&master(&rig, "win.wim", 480), &master(&rig, "win.wim", 560));
    gets_its_own(&rig, "B", 560);
    gets_its_own(&rig, "C", 480);
    // The manifests alone, while their images stay and have been checked.
    master(&rig, "win.wim", 480);
    master(&rig, "win.wim", 560);
    exchange(&small.join("manifest.json"), &large.join("manifest.json"));
    gets_its_own(&rig, "D", 480);
    gets_its_own(&rig, "E", 560);
}
