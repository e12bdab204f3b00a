//! A store that rots, or is written to, under drives that are being imaged: the store is blamed, never the drive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use macro_rules_attribute::apply;
use model::manifest::{Manifest, Stage};
use rustix::fs::{Advice, fadvise};
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::{Ext4, Rig, Setup, wait_for};

const MIB: u64 = 160;
/// Milliseconds that each access to a drive takes: so long that the test is there before the last chunk.
const SLOW: u64 = 25;

/// A station that holds only a small part of a master in memory, with a master in its store.
struct Shop(Rig);

impl Shop {
    fn open(setup: Setup) -> Self {
        let rig = Rig::new(setup.set("replicate.memory", "64MiB"));
        Self(rig)
    }

    /// Starts the station and presses the master.
    fn press(&self) {
        self.0.start_with_media();
        let size = (MIB << 20).to_string();
        self.0.ctl_ok(&["master", "press", "--media", "win.wim", "--size", &size]);
        wait_for("the master", || {
            (self.0.json(&["master", "list"]).as_array().unwrap().len() == 1).then_some(())
        });
    }

    fn master(&self) -> PathBuf {
        let masters = PathBuf::from(self.store()).join("masters");
        fs::read_dir(masters).unwrap().next().unwrap().unwrap().path()
    }

    fn store(&self) -> String {
        let config = fs::read_to_string(self.0.path("prestaged.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        config["store"]["path"].as_str().unwrap().to_owned()
    }

    fn image(&self) -> File {
        let path = self.master().join("disk.raw");
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn manifest(&self) -> Manifest {
        Manifest::parse(&fs::read(self.master().join("manifest.json")).unwrap()).unwrap()
    }

    /// A byte of the last chunk of the Windows volume's body: it is read from the store last.
    fn late_byte(&self) -> u64 {
        let manifest = self.manifest();
        let end = manifest.plan.partitions[2].range(manifest.plan.geometry.sector).end;
        let chunks = manifest.chunks.iter().rev();
        let mut body = chunks.filter(|chunk| chunk.stage == Stage::Body && chunk.offset < end);
        body.next().unwrap().offset.0 + 100
    }

    fn flip(&self, at: u64) {
        let image = self.image();
        let mut byte = [0];
        image.read_exact_at(&mut byte, at).unwrap();
        image.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    fn slow_drive(&self, name: &str) -> FaultyDrive {
        let drive = FaultyDrive::new(&self.0, name, MIB, slow(SLOW));
        drive.attach(&[]);
        drive
    }

    /// The start of a block of a file's contents, to be found on the store's own disk.
    fn full_block(&self) -> u64 {
        let (image, manifest) = (self.image(), self.manifest());
        let full = |at: &u64| {
            let mut block = [0; 4096];
            image.read_exact_at(&mut block, *at).unwrap();
            // Noise: neither text nor the 0xff of NTFS's log.
            block.iter().collect::<BTreeSet<_>>().len() > 200
        };
        let body = manifest.chunks.iter().filter(|chunk| chunk.stage == Stage::Body);
        body.map(|chunk| chunk.offset.0).rfind(full).unwrap()
    }

    fn wait_state(&self, drive: &FaultyDrive, state: &str) {
        self.0.wait_state(&drive.serial, &[state]);
    }

    /// How the jobs of a drive ended, in their order.
    fn ends(&self, drive: &FaultyDrive) -> String {
        self.0.wait_verdict(&drive.serial);
        let end = |record: &Value| match record["reason"]["code"].as_str() {
            Some(code) => format!("{} {code}", record["verdict"].as_str().unwrap()),
            None => record["verdict"].as_str().unwrap().to_owned(),
        };
        let records = self.0.records(&drive.serial);
        for record in records.iter().filter(|record| record["reason"]["code"] == "store_error") {
            assert_eq!(record["mismatches"], Value::Array(Vec::new()), "{record:#}");
        }
        records.iter().map(end).collect::<Vec<_>>().join(", ")
    }

    fn presses(&self) -> usize {
        self.0.log().matches("pressing a master").count()
    }
}

fn row(tried: &'static str, right: &'static str, before: &'static str, now: &str) {
    Case { line: "C.12", tried, right, before }.saw(now);
}

const TWICE: &str = "failed store_error, passed";

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_master_that_changes_under_running_drives() {
    let shop = Shop::open(Setup::default());
    shop.press();
    let drives = ["A", "B", "C"].map(|name| FaultyDrive::new(&shop.0, name, MIB, slow(SLOW)));
    drives.iter().for_each(|drive| drive.attach(&[]));
    drives.iter().for_each(|drive| shop.wait_state(drive, "writing"));
    let rotten = shop.late_byte();
    shop.flip(rotten);
    drives.iter().for_each(|drive| shop.wait_state(drive, "reading_back"));
    drives.iter().for_each(|drive| drive.set(Faults::default()));
    for drive in &drives {
        let tried = "a byte of the master changes under three running drives";
        row(tried, TWICE, "failed mismatch", &shop.ends(drive));
        shop.0.ctl_ok(&["audit", &drive.node()]);
    }
    assert_eq!(shop.presses(), 2, "pressed anew once, for all of them");
    // What is wrong with a drive is still its own.
    let bad = Faults { flip_at: Some(BODY_BYTE), ..Faults::default() };
    let bad = FaultyDrive::new(&shop.0, "BAD", MIB, bad);
    bad.attach(&[]);
    let mismatch = "failed mismatch";
    row("a drive that flips a bit, with a good master", mismatch, mismatch, &shop.ends(&bad));
    assert_eq!(shop.presses(), 2);
    drop(shop);
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_bad_drive_with_a_rotten_master() {
    let shop = Shop::open(Setup::default());
    shop.press();
    let bad = shop.slow_drive("BAD");
    shop.wait_state(&bad, "writing");
    shop.flip(shop.late_byte());
    bad.set(Faults { flip_at: Some(BODY_BYTE), ..slow(SLOW) });
    shop.wait_state(&bad, "reading_back");
    bad.set(Faults { flip_at: Some(BODY_BYTE), ..Faults::default() });
    let right = "failed store_error, failed mismatch";
    row(
        "a drive that flips a bit, with a rotten master",
        right,
        "failed mismatch",
        &shop.ends(&bad),
    );
    drop(shop);
}

/// Between the writing and the read-back somebody puts the byte back: the store looks whole then.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_master_that_changes_and_is_put_back() {
    let shop = Shop::open(Setup::default());
    shop.press();
    let drive = shop.slow_drive("A");
    shop.wait_state(&drive, "writing");
    let rotten = shop.late_byte();
    shop.flip(rotten);
    shop.wait_state(&drive, "reading_back");
    shop.flip(rotten);
    drive.set(Faults::default());
    let tried = "a byte of the master changes, and is put back before the read-back";
    row(tried, TWICE, "failed mismatch", &shop.ends(&drive));
    assert_eq!(shop.presses(), 1, "it is whole, so it is used again");
    drop(shop);
}

/// Ends of a job that the store has failed before the read-back.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_master_that_cannot_be_read_or_committed() {
    let shop = Shop::open(Setup::default());
    shop.press();
    let drive = shop.slow_drive("A");
    shop.wait_state(&drive, "writing");
    let end = shop.manifest().plan.partitions[2].first.0 * 512;
    shop.image().set_len(end + (1 << 20)).unwrap();
    drive.set(Faults::default());
    row("the master is cut off", TWICE, "failed store_error", &shop.ends(&drive));
    let drive = shop.slow_drive("B");
    shop.wait_state(&drive, "reading_back");
    // In the Windows volume's boot sector, which is written in the commit.
    shop.flip(end + 300);
    drive.set(Faults::default());
    row("a byte of a boot sector changes", TWICE, "failed store_error", &shop.ends(&drive));
    assert_eq!(shop.presses(), 3);
    drop(shop);
}

/// A store that goes on failing is not tried for ever.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_store_that_is_dying() {
    let shop = Shop::open(Setup::default());
    shop.press();
    let drive = shop.slow_drive("A");
    shop.wait_state(&drive, "writing");
    shop.flip(shop.late_byte());
    wait_for("the first end", || {
        let records = shop.0.records(&drive.serial);
        (records.first()?["verdict"] == "failed").then_some(())
    });
    shop.wait_state(&drive, "writing");
    shop.flip(shop.late_byte());
    let tried = "the master rots again after it was pressed anew";
    let right = "failed store_error, failed store_error";
    row(tried, right, "failed mismatch", &shop.ends(&drive));
    let record = shop.0.wait_recorded(&drive.serial);
    assert!(record["reason"]["hint"].as_str().unwrap().contains("store.path"), "{record:#}");
    assert_eq!(drive.holds(0, 1 << 20), vec![0; 1 << 20], "no table");
    // An operator may try once more, and follows the drive to its end.
    drive.set(Faults::default());
    shop.0.ctl_ok(&["retry", &drive.serial]);
    assert_eq!(shop.presses(), 3);
    drop(shop);
}

/// The disk below the store's file system changes; no file's time tells.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_disk_that_rots_below_the_store() {
    // The second job finds what the first has left: that is the station's own, and nothing else may be overwritten.
    let shop = Shop::open(Setup::default().set("admission.overwrite", "blank_or_ours"));
    let (disk, at) = (shop.0.path("disk"), shop.0.path("mounted"));
    let mounted = Ext4::mount(&disk, &at, 600);
    shop.0.set("store.path", at.join("store").to_str().unwrap());
    shop.press();
    let image = shop.image();
    let late = shop.full_block();
    // The block is found in the disk by its contents.
    let mut block = vec![0; 4096];
    image.read_exact_at(&mut block, late).unwrap();
    image.sync_all().unwrap();
    let raw = fs::read(&disk).unwrap();
    let found: Vec<usize> =
        (0..raw.len()).step_by(4096).filter(|at| raw[*at..*at + 4096] == block).collect();
    assert_eq!(found.len(), 1, "the block is on the disk once");
    let rotten = File::options().write(true).open(&disk).unwrap();
    rotten.write_all_at(&[block[77] ^ 1], u64::try_from(found[0] + 77).unwrap()).unwrap();
    fadvise(&image, 0, None, Advice::DontNeed).unwrap();
    let mut now = [0];
    image.read_exact_at(&mut now, late + 77).unwrap();
    assert_ne!(now[0], block[77], "the store reads differently");
    let drive = FaultyDrive::new(&shop.0, "A", MIB, Faults::default()).blank();
    drive.attach(&[]);
    row("the disk below the store rots", TWICE, "failed mismatch", &shop.ends(&drive));
    shop.0.ctl_ok(&["audit", &drive.node()]);
    assert_eq!(shop.presses(), 2);
    shop.0.kill();
    drop((image, mounted));
    drop(shop);
}
