//! Large drives: where numbers of sectors, clusters and files end.
//!
//! Drives and store lie in memory, because a drive's file is as large as the drive, and not every file system has such
//! files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Tmpfs, partitions};
use crate::imaging::tools_agree;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const ESP_MIB: u64 = 300;
/// Tables, ESP, MSR and Recovery: what is not Windows.
const OTHERS: u64 = (2 + ESP_MIB + 16 + 20) * MIB;

/// A station whose store and drives lie in memory.
struct Shop {
    rig: Rig,
    memory: PathBuf,
    _memory: Tmpfs,
}

impl Shop {
    fn open() -> Self {
        Self::with_store(|memory| memory.join("store"))
    }

    fn with_store(store: impl FnOnce(&PathBuf) -> PathBuf) -> Self {
        let rig = Rig::new(Setup::default().esp_mib(300).set("store.press_ahead", false));
        let memory = rig.path("memory");
        let mounted = Tmpfs::mount(memory.clone(), "6g");
        rig.set("store.path", store(&memory).to_str().unwrap());
        rig.start_with_media();
        Self { rig, memory, _memory: mounted }
    }

    fn drive(&self, size: u64, sector: u32) -> Drive {
        let serial = format!("{}S{size}N{sector}", self.rig.name);
        let file = self.memory.join(format!("{serial}.img"));
        File::create(&file).unwrap().set_len(size).unwrap();
        let drive = Drive::new(serial, file);
        drive.attach(&["--sector-size", &sector.to_string()]);
        drive
    }

    /// Images a drive of this size, and has other programs look at it. Returns what a row shows of it.
    fn image(&self, size: u64, sector: u32) -> String {
        let drive = self.drive(size, sector);
        let record = self.rig.wait_verdict(&drive.serial);
        let seen = match record["verdict"].as_str().unwrap() {
            "passed" => {
                tools_agree(&self.rig, &drive, &record, sector);
                format!("passed, {}", volumes(&drive, &record))
            }
            verdict => format!("{verdict} {}", record["reason"]["code"].as_str().unwrap()),
        };
        drive.detach();
        self.rig.wait_gone(&drive.serial);
        fs::remove_file(&drive.file).unwrap();
        if let Some(id) = record["master"]["id"].as_str() {
            self.rig.ctl_ok(&["master", "remove", id]);
        }
        seen
    }
}

/// The clusters of the Windows volume, and the place that the Recovery volume's boot sector and its copy name.
fn volumes(drive: &Drive, record: &Value) -> String {
    let file = File::open(&drive.file).unwrap();
    let sector = record["logical_sector_bytes"].as_u64().unwrap();
    let read = |at: u64| {
        let mut boot = [0; 512];
        file.read_exact_at(&mut boot, at).unwrap();
        assert_eq!(boot[3..11], *b"NTFS    ");
        boot
    };
    let all = partitions(record);
    let (windows, recovery) = (&all[2], &all[3]);
    let hidden = |boot: [u8; 512]| u32::from_le_bytes(boot[28..32].try_into().unwrap());
    let [first, copy] = [recovery.1, recovery.1 + recovery.2 - sector].map(|at| hidden(read(at)));
    assert_eq!(first, copy, "the boot sector and its copy are alike");
    let place =
        if u64::from(first) == recovery.1 / sector { "named".into() } else { first.to_string() };
    format!("{} KiB clusters, place {place}", (u64::from(read(windows.1)[13]) * sector) >> 10)
}

fn row(tried: &'static str, right: &'static str, before: &'static str, now: &str) {
    Case { line: "B.8", tried, right, before }.saw(now);
}

#[apply(test!)]
#[needs(LOOP)]
fn drives_beyond_two_tebibytes() {
    let shop = Shop::open();
    let before = "failed press_failed";
    let far = "passed, 4 KiB clusters, place 0";
    row("a 4 TB drive", far, before, &shop.image(4_000_787_030_016, 512));
}

/// The Recovery partition starts at the last sector, in mebibytes, that 32 bits can name, and at the next.
#[apply(test!)]
#[needs(LOOP, LONG)]
fn places_at_the_edge_of_32_bits() {
    let shop = Shop::open();
    let last = (1 << 32) * 512 + 20 * MIB;
    let near = "passed, 4 KiB clusters, place named";
    row("a partition that starts 2048 sectors before 2^32", near, "passed", &shop.image(last, 512));
    let (far, before) = ("passed, 4 KiB clusters, place 0", "failed press_failed");
    row("a partition that starts at sector 2^32", far, before, &shop.image(last + MIB, 512));
}

#[apply(test!)]
#[needs(LOOP)]
fn drives_beyond_sixteen_tebibytes() {
    let shop = Shop::open();
    let before = "failed press_failed";
    let right = "passed, 8 KiB clusters, place 0";
    row("a 24 TB drive, 4096-byte sectors", right, before, &shop.image(24_000_277_250_048, 4096));
}

/// What no master can be made for is said before anything is done.
#[apply(test!)]
#[needs(LOOP)]
fn drives_that_are_too_large_are_refused() {
    let shop = Shop::open();
    let drive = shop.drive(300 * TIB, 512);
    let record = shop.rig.wait_verdict(&drive.serial);
    let detail = record["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains(" at most 281.5 TB") && detail.contains(" windows + "), "{detail}");
    let now = format!(
        "{} {}",
        record["verdict"].as_str().unwrap(),
        record["reason"]["code"].as_str().unwrap()
    );
    row(
        "a drive of 300 TiB: more than NTFS holds",
        "refused too_large",
        "failed press_failed",
        &now,
    );
    let untouched =
        fs::metadata(&drive.file).map(|file| std::os::unix::fs::MetadataExt::blocks(&file));
    assert_eq!(untouched.unwrap(), 0, "nothing was written");
}

/// ext4 holds files up to 16 TiB, with blocks of 1 KiB up to 4 TiB.
#[apply(test!)]
#[needs(LOOP)]
fn drives_larger_than_a_file_in_the_store_are_refused() {
    for (block, size, shown, largest) in [
        ("4096", 18_000_207_937_536, "18.0 TB", "17.6 TB"),
        ("1024", 5_000_981_078_016, "5.0 TB", "4.4 TB"),
    ] {
        let mut mounted = None;
        let shop = Shop::with_store(|memory| {
            let (image, at) = (memory.join("ext4.img"), memory.join("ext4"));
            File::create(&image).unwrap().set_len(200 * MIB).unwrap();
            run("mkfs.ext4", &["-q", "-F", "-b", block, image.to_str().unwrap()]);
            fs::create_dir(&at).unwrap();
            run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
            mounted = Some(Mounted(at.clone()));
            at.join("store")
        });
        let drive = shop.drive(size, 512);
        let record = shop.rig.wait_verdict(&drive.serial);
        let reason = &record["reason"];
        let detail = reason["detail"].as_str().unwrap();
        assert!(detail.contains(shown) && detail.contains(largest), "{detail}");
        assert!(reason["hint"].as_str().unwrap().contains("store.path"), "{reason:#}");
        let now =
            format!("{} {}", record["verdict"].as_str().unwrap(), reason["code"].as_str().unwrap());
        let tried = "a drive larger than any file on the store's ext4";
        row(tried, "refused too_large", "failed press_failed", &now);
        let size = size.to_string();
        let press = ["master", "press", "--media", "win.wim", "--size", &size];
        let (code, told) = shop.rig.ctl(&press);
        assert!(code == 2 && told.contains(largest), "{code}: {told}");
        assert_eq!(shop.rig.json(&["status"])["presses"], Value::Array(Vec::new()));
        shop.rig.kill();
        drop(mounted);
    }
}

/// A mounted file system; unmounted when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Every size that is sold, and both sides of each edge.
#[apply(test!)]
#[needs(LOOP, LONG)]
fn every_size_and_sector() {
    let shop = Shop::open();
    for sector in [512, 4096] {
        for size in [
            3_000_592_982_016,
            4_000_787_030_016,
            15_000_173_281_280,
            15_360_950_534_144,
            18_000_207_937_536,
            24_000_277_250_048,
            30_000_346_562_560,
        ] {
            let clusters = if size - OTHERS < 16 * TIB { 4 } else { 8 };
            let place = if size / u64::from(sector) > 1 << 32 { "0" } else { "named" };
            let right = format!("passed, {clusters} KiB clusters, place {place}");
            assert_eq!(shop.image(size, sector), right, "{size} {sector}");
        }
        // The Windows volume is as large as 4 KiB clusters allow, and a mebibyte larger.
        for (windows, clusters) in
            [(16 * TIB - MIB, 4), (16 * TIB, 8), (32 * TIB - MIB, 8), (32 * TIB, 16)]
        {
            let place =
                if (windows + OTHERS) / u64::from(sector) > 1 << 32 { "0" } else { "named" };
            let right = format!("passed, {clusters} KiB clusters, place {place}");
            assert_eq!(shop.image(windows + OTHERS, sector), right, "{windows} {sector}");
        }
    }
    let most = 256 * TIB - MIB + OTHERS;
    assert_eq!(shop.image(most, 512), "passed, 64 KiB clusters, place 0");
    assert_eq!(shop.image(most + MIB, 512), "refused too_large");
}
