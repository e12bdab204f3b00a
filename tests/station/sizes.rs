//! Speed that must not cost a byte: every way to hash, and one press for drives of every size.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use formats::ntfs::{accounts, growth};
use macro_rules_attribute::apply;
use masters::layers::{Image, ReadAt as _};
use model::digest::{Digest, HashPath};
use model::manifest::Manifest;
use model::units::Bytes;
use serde_json::Value;

use super::imaging::tools_agree;
use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Volume, wait_for};

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
        // The first answer may come before the station has looked at itself.
        let status = wait_for("what the station says of itself", || {
            let status = rig.json(&["status"]);
            (!status["hashing"].is_null()).then_some(status)
        });
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

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// A drive that holds nothing, of so many bytes.
fn blank(rig: &Rig, name: &str, size: u64, sector: u32) -> Drive {
    let serial = format!("{}{name}", rig.name);
    let file = rig.path("drives").join(format!("{serial}.img"));
    File::create(&file).unwrap().set_len(size).unwrap();
    let drive = Drive::new(serial, file);
    drive.attach(&["--sector-size", &sector.to_string()]);
    drive
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

fn load(folder: &Path) -> Manifest {
    Manifest::parse(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// The master with this name, with all its bytes.
fn open(rig: &Rig, id: &str) -> (Manifest, Image) {
    let folder = rig.path("store/masters").join(id);
    let manifest = load(&folder);
    let own = File::open(folder.join("disk.raw")).unwrap();
    let image = match (&manifest.base, manifest.base_recipe()) {
        (Some(base), Some(recipe)) => {
            let below = rig.path("store/masters").join(recipe.id().0).join("disk.raw");
            let moved = manifest.moved().unwrap();
            Image::derived(own, File::open(below).unwrap(), moved, &base.own).unwrap()
        }
        _ => own.into(),
    };
    (manifest, image)
}

/// The free clusters of a volume, by two programs: `ntfsresize` counts what all files have and compares that with the
/// bitmap; `ntfsinfo` reads the bitmap.
fn sound(volume: &Volume) -> u64 {
    run("ntfsfix", &["-n", &volume.0]);
    // It wants to write to the volume, and with --no-action does not.
    let told =
        run("ntfsresize", &["--info", "--force", "--no-action", "--no-progress-bar", &volume.0]);
    assert!(told.contains("Collecting resizing constraints"), "{told}");
    assert!(!told.contains("inconsistent") && !told.contains("dirty"), "{told}");
    let told = run("ntfsinfo", &["-m", &volume.0]);
    assert!(told.contains("Volume Flags: 0x0000"), "{told}");
    let line = told.lines().find_map(|line| line.trim().strip_prefix("Free Clusters: "));
    line.unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// The size in clusters that a volume says it has.
fn clusters(volume: &Volume) -> u64 {
    let told = run("ntfsinfo", &["-m", &volume.0]);
    let line = told.lines().find_map(|line| line.trim().strip_prefix("Volume Size in Clusters: "));
    line.unwrap().parse().unwrap()
}

/// Writes what a drive gets from a master into an empty file.
fn laid_down(rig: &Rig, id: &str) -> (Manifest, Drive) {
    let (manifest, image) = open(rig, id);
    let file = rig.path("drives").join(format!("{id}.laid"));
    let written = File::create(&file).unwrap();
    written.set_len(manifest.plan.geometry.size.0).unwrap();
    for chunk in &manifest.chunks {
        let mut data = vec![0; chunk.length.as_usize()];
        image.fill(&mut data, chunk.offset).unwrap();
        assert_eq!(Digest::of(&data), chunk.sha256, "{chunk:?}");
        if data.iter().any(|byte| *byte != 0) {
            written.write_all_at(&data, chunk.offset.0).unwrap();
        }
    }
    (manifest, Drive::new(id.to_owned(), file))
}

/// Has the station make a master for drives of this size; returns its name.
fn made(rig: &Rig, size: u64, sector: u32) -> String {
    let (size_text, sector_text) = (size.to_string(), sector.to_string());
    let arguments = ["--media", "win.wim", "--size", &size_text, "--sector", &sector_text];
    rig.ctl_ok(&[&["master", "press"][..], &arguments].concat());
    wait_for("a master", || {
        let status = rig.json(&["status"]);
        let failed = status["presses"].as_array().unwrap().iter().find(|p| p["state"] == "failed");
        assert!(failed.is_none(), "{failed:?}\n{}", rig.log());
        let masters = status["masters"].as_array().unwrap();
        let own = masters.iter().find(|master| {
            master["size_bytes"] == size && master["logical_sector_bytes"] == sector
        });
        own.map(|master| master["id"].as_str().unwrap().to_owned())
    })
}

/// Checks the master for drives of one size with programs that share no code with the station.
fn as_good_as_pressed(rig: &Rig, size: u64, sector: u32) {
    let id = made(rig, size, sector);
    let (manifest, drive) = laid_down(rig, &id);
    assert!(manifest.base.is_some(), "{size} {sector}");
    // sgdisk asks a device how large its sectors are, and takes a file's for 512 bytes.
    if sector == 512 {
        let told = run("sgdisk", &["-v", drive.file.to_str().unwrap()]);
        assert!(told.contains("No problems found"), "{size}: {told}");
    }
    for partition in &manifest.plan.partitions {
        let range = partition.range(manifest.plan.geometry.sector);
        let volume = Volume::of(&drive, range.start.0, range.length().0, sector);
        match partition.role.to_string().as_str() {
            "windows" => {
                let sectors = range.length().0 / u64::from(sector) - 1;
                let whole = sectors * u64::from(sector) / 4096;
                assert_eq!(clusters(&volume), whole, "{size} {sector}");
                let used = used_by_runs(&drive, range.start.0, range.length().0);
                assert_eq!(sound(&volume), whole - used, "{size} {sector}: free clusters");
            }
            "recovery" => drop(sound(&volume)),
            "esp" => drop(run("fsck.fat", &["-n", &volume.0])),
            _ => {}
        }
    }
    fs::remove_file(&drive.file).unwrap();
}

/// The clusters that the files of a volume have, each file record read by the `ntfs` crate.
fn used_by_runs(drive: &Drive, offset: u64, size: u64) -> u64 {
    let file = File::open(&drive.file).unwrap();
    let mut slice = masters::allocation::Slice::new(&file, Bytes(offset), Bytes(size));
    let mut ranges = Vec::new();
    masters::allocation::ntfs_allocated(&mut slice, model::layout::Role::Windows, &mut ranges)
        .unwrap();
    let all: model::ranges::RangeSet = ranges.into_iter().collect();
    // The copy of the boot sector is in no cluster.
    all.total().0 / 4096 - 1
}

/// Drives of four sizes are plugged in while the media is pressed: that happens once, and all of them are found right.
#[apply(test!)]
#[needs(LOOP)]
fn one_press_serves_drives_of_every_size() {
    let rig = Rig::started(Setup::default());
    let sizes = [(GIB, 512), (3 * GIB + 77 * 512, 512), (GIB + 5 * MIB, 512), (40 * GIB, 512)];
    let drives: Vec<Drive> = (0..)
        .zip(sizes)
        .map(|(n, (size, sector))| blank(&rig, &format!("S{n}"), size, sector))
        .collect();
    let records: Vec<Value> = drives.iter().map(|drive| rig.wait_pass(&drive.serial)).collect();
    let log = rig.log();
    assert_eq!(count(&log, "pressing a master of"), 4, "what was wanted is told:\n{log}");
    assert_eq!(count(&log, "derived a master of"), 4, "{log}");
    for (drive, record) in drives.iter().zip(&records) {
        tools_agree(&rig, drive, record, 512);
    }
    let masters = rig.json(&["master", "list"]);
    let masters = masters["masters"].as_array().or(masters.as_array()).unwrap().clone();
    assert_eq!(masters.len(), 5, "{masters:?}");
    let stored = |folder: &Path| -> u64 {
        let files = fs::read_dir(folder).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
    };
    let base = load(&rig.master(&records[0])).base_recipe().unwrap().id();
    let base = stored(&rig.path("store/masters").join(base.0));
    for record in &records {
        let own = stored(&rig.master(record));
        assert!(own * 50 <= base, "{own} of {base} bytes");
    }
}

/// The sizes at which something could go wrong by one.
#[apply(test!)]
#[needs(LOOP)]
fn volumes_of_odd_sizes_are_sound() {
    // With sectors of 4096 bytes, FAT32 needs an ESP of 260 MiB.
    let rig = Rig::started(Setup::default().disarmed().esp_mib(300));
    // A volume of whole mebibytes has 256 clusters in each, and 32768 of them to a cluster of its bitmap.
    let edge = 4 * GIB + (300 + 16 + 20 + 2) * MIB;
    for (size, sector) in [
        (edge + MIB, 512),
        (edge + 127 * MIB + 77 * 512, 512),
        (512_110_190_592, 512),
        (edge + 128 * MIB + 4096, 4096),
    ] {
        as_good_as_pressed(&rig, size, sector);
    }
}

/// The same at many more sizes.
#[apply(test!)]
#[needs(LOOP, LONG)]
fn volumes_of_many_sizes_are_sound() {
    let rig = Rig::started(Setup::default().disarmed().esp_mib(300));
    for sector in [512, 4096] {
        for step in 0..32 {
            let size = 4 * GIB + step * 67 * MIB + (step % 8) * u64::from(sector);
            as_good_as_pressed(&rig, size, sector);
        }
        for size in [250_059_350_016, 960_197_124_096, 2 * TIB, 2 * TIB + 3 * MIB, 4 * TIB] {
            as_good_as_pressed(&rig, size, sector);
        }
    }
}

/// A flipped byte is found before a drive is touched, in a base as in what was derived; both are made anew then.
#[apply(test!)]
#[needs(LOOP)]
fn damage_below_and_above_is_found() {
    let rig = Rig::started(Setup::default());
    let (first, size) = (blank(&rig, "A", 2 * GIB, 512), 2 * GIB);
    let record = rig.wait_pass(&first.serial);
    let folder = rig.master(&record);
    let manifest = load(&folder);
    let base = manifest.base.clone().unwrap();
    let below = rig.path("store/masters").join(manifest.base_recipe().unwrap().id().0);
    let data = manifest.chunks[manifest.chunks.len() / 2].range();
    let bitmap = base.own[base.own.len() / 2].start.0;
    for (name, image, at) in [("B", &below, data.start.0 + 9), ("C", &folder, bitmap + 1)] {
        let file = File::options().read(true).write(true).open(image.join("disk.raw")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let before = count(&rig.log(), "is removed and pressed anew");
        let drive = blank(&rig, name, size, 512);
        let record = rig.wait_pass(&drive.serial);
        assert!(
            count(&rig.log(), "is removed and pressed anew") > before,
            "{name}:\n{}",
            rig.log()
        );
        tools_agree(&rig, &drive, &record, 512);
    }
}

/// What is derived goes with its base, and before it.
#[apply(test!)]
#[needs(LOOP)]
fn a_base_outlives_what_is_derived_of_it() {
    let rig = Rig::started(Setup::default().disarmed());
    let ids = [2 * GIB, 3 * GIB].map(|size| made(&rig, size, 512));
    let base = load(&rig.path("store/masters").join(&ids[0])).base_recipe().unwrap().id();
    let there = |id: &str| rig.path("store/masters").join(id).exists();
    rig.ctl_ok(&["master", "remove", &ids[1]]);
    assert!(there(&ids[0]) && there(&base.0) && !there(&ids[1]));
    let anew = made(&rig, 3 * GIB, 512);
    assert_eq!(anew, ids[1]);
    rig.ctl_ok(&["master", "remove", &base.0]);
    assert!(!there(&ids[0]) && !there(&ids[1]) && !there(&base.0));
}

fn reader(volume: &File) -> impl FnMut(Bytes, usize) -> io::Result<Vec<u8>> {
    |at, length| {
        let mut data = vec![0; length];
        volume.read_exact_at(&mut data, at.0).map(|()| data)
    }
}

/// A small volume of an image file that has grown; `Volume` needs a device.
fn grown(base: &Path, file: &Path, size: u64, sector: u32) -> Vec<growth::Change> {
    fs::copy(base, file).unwrap();
    let volume = File::options().read(true).write(true).open(file).unwrap();
    let changes = growth::changes(&mut reader(&volume), Bytes(size)).unwrap();
    volume.set_len(size).unwrap();
    // As on a drive: what lay behind the last cluster of the smaller volume is gone.
    let old = fs::metadata(base).unwrap().len() - 4096;
    volume.write_all_at(&[0; 4096], old).unwrap();
    for change in &changes {
        volume.write_all_at(&change.data, change.at.0).unwrap();
    }
    accounts::check(&mut reader(&volume), Bytes(size)).unwrap();
    let bytes = changes.iter().map(|change| change.data.len()).sum::<usize>();
    assert!(bytes < 64 << 10, "{bytes} bytes change from {base:?} to {size} ({sector})");
    changes
}

/// A small volume grows to any size, in whole sectors: the programs find each cluster accounted for.
#[apply(test!)]
#[needs(LOOP)]
fn a_small_volume_grows_to_any_size() {
    let rig = Rig::new(Setup::default());
    for sector in [512_u32, 4096] {
        let base = rig.path("base.ntfs");
        let _ = fs::remove_file(&base);
        let size = 24 * MIB;
        File::create(&base).unwrap().set_len(size).unwrap();
        let sector_text = sector.to_string();
        let words = ["-Q", "-F", "-q", "-s", &sector_text, "-c", "4096", base.to_str().unwrap()];
        run("mkntfs", &words);
        let sizes = (0..tries(sector)).map(|n| {
            let noise = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
            size + noise % (600 * MIB) / u64::from(sector) * u64::from(sector)
        });
        for size in sizes.chain([size, size + u64::from(sector), size + 32768, size + 262_144]) {
            let file = rig.path("grown.ntfs");
            grown(&base, &file, size, sector);
            let volume = Volume::of(&Drive::new("grown".into(), file.clone()), 0, size, sector);
            let whole = (size / u64::from(sector) - 1) * u64::from(sector) / 4096;
            assert_eq!(clusters(&volume), whole, "{size} {sector}");
            let used = used_by_runs(&Drive::new("grown".into(), file), 0, size);
            assert_eq!(sound(&volume), whole - used, "{size} {sector}");
        }
    }
}

/// Each byte that makes a volume larger counts: were it left as it was, the station's own look at the volume would find that.
#[apply(test!)]
#[needs(LOOP)]
fn a_volume_that_grew_wrong_is_noticed() {
    let rig = Rig::new(Setup::default());
    let (base, file) = (rig.path("base.ntfs"), rig.path("grown.ntfs"));
    File::create(&base).unwrap().set_len(24 * MIB).unwrap();
    run("mkntfs", &["-Q", "-F", "-q", "-s", "512", "-c", "4096", base.to_str().unwrap()]);
    let size = 300 * MIB + 77 * 512;
    let changes = grown(&base, &file, size, 512);
    let volume = File::options().read(true).write(true).open(&file).unwrap();
    let look = || accounts::check(&mut reader(&volume), Bytes(size)).map(drop);
    look().unwrap();
    let before = fs::read(&base).unwrap();
    let (mut tried, mut unnoticed) = (0, Vec::new());
    for change in &changes {
        for (at, after) in (change.at.0..).zip(&change.data) {
            let before = before.get(usize::try_from(at).unwrap()).copied().unwrap_or(0);
            if before == *after {
                continue;
            }
            tried += 1;
            volume.write_all_at(&[before], at).unwrap();
            if look().is_ok() {
                unnoticed.push(at);
            }
            volume.write_all_at(&[*after], at).unwrap();
        }
    }
    assert!(tried > 60, "{tried}");
    look().unwrap();
    // The size of `$Bitmap` that a listing of the root folder shows, there and in its own record, and bytes behind a list's end.
    assert!(unnoticed.len() <= 9, "{unnoticed:?} of {tried}");
}

/// How many sizes are tried.
fn tries(sector: u32) -> u64 {
    let many = std::env::var_os("PRESTAGED_LONG").is_some();
    match (many, sector) {
        (true, _) => 1000,
        (false, 512) => 24,
        (false, _) => 8,
    }
}
