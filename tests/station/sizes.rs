//! Speed that must not cost a digest: every way to hash, on the whole station.

use macro_rules_attribute::apply;
use model::digest::HashPath;

use crate::harness::{Rig, Setup};

/// Drives pass on every path that this processor has, and the station says which it is.
#[apply(test!)]
#[needs(LOOP)]
fn every_way_to_hash_finds_the_same() {
    let rig = Rig::new(Setup::default());
    let mut paths: Vec<HashPath> = HashPath::available().collect();
    paths.sort_by_key(|path| path.lanes());
    for path in paths {
        rig.set("replicate.hashing", path.to_string());
        if path == HashPath::Single {
            rig.start_with_media();
        } else {
            rig.start();
        }
        let status = rig.json(&["status"]);
        assert_eq!(status["hashing"]["path"], path.to_string());
        assert_eq!(status["hashing"]["at_once"], path.lanes());
        assert!(status["hashing"]["bytes_per_second"].as_u64().unwrap() > 0, "{status}");
        let lanes = path.lanes();
        let told = format!("chunks are hashed on path {path}, {lanes} at once on each core");
        assert!(rig.log().contains(&told), "{told}");
        // A master that was hashed on one path is checked on the next, when the station starts anew.
        let drive = rig.attached(&path.to_string(), 200, 512);
        let record = rig.wait_pass(&drive.serial);
        rig.ctl_ok(&["audit", &drive.node()]);
        assert_eq!(record["readback_sha256"], rig.records(&drive.serial)[0]["readback_sha256"]);
        drive.detach();
        rig.terminate();
        assert!(rig.wait_end());
    }
}

/// A path that the processor lacks is a mistake that is told before anything begins.
#[apply(test!)]
fn a_way_to_hash_that_is_not_there_is_told() {
    let rig = Rig::new(Setup::default());
    for path in [HashPath::Pair, HashPath::Avx2, HashPath::Avx512] {
        rig.set("replicate.hashing", path.to_string());
        let check = rig.command().arg("--check").output().unwrap();
        let told = String::from_utf8_lossy(&check.stderr).into_owned();
        let mistake = format!("this processor does not have what \"{path}\" needs");
        assert_eq!(path.is_available(), check.status.success(), "{told}");
        assert_eq!(!path.is_available(), told.contains(&mistake), "{told}");
    }
}
