//! The main job: a drive is plugged in and imaged, and tools that share no code with the station find it right.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;
use masters::image::Outline;
use model::digest::{HashPath, HashPaths};
use model::manifest::Manifest;
use serde_json::Value;

use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Volume, partitions, sample, wait_for};

const ESP: &str = "c12a7328";
const MSR: &str = "e3c9e316";

/// Checks an imaged drive with sgdisk, fsck.fat and ntfsfix, and by an audit.
pub(crate) fn tools_agree(rig: &Rig, drive: &Drive, record: &Value, sector: u32) {
    let verdict = run("sgdisk", &["-v", &drive.node()]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    for (kind, offset, size) in partitions(record) {
        if kind == MSR {
            continue;
        }
        let volume = Volume::of(drive, offset, size, sector);
        if kind == ESP {
            run("fsck.fat", &["-n", &volume.0]);
        } else {
            run("ntfsfix", &["-n", &volume.0]);
        }
    }
    rig.ctl_ok(&["audit", &drive.node()]);
}

/// Lists an image with `wimlib-imagex dir --detailed`, one entry per string. Lines that belong to the WIM file and not
/// to the image are left out: where a blob lies, its compressed size, its count of references. Link group numbers are
/// inode numbers, and are left out too.
fn listing(wim: &str) -> Vec<String> {
    let text = run("wimlib-imagex", &["dir", wim, "1", "--detailed"]);
    let dropped = [
        "Raw compressed size",
        "Offset in WIM",
        "Part Number",
        "Reference Count",
        "Link Group ID",
        "Flags",
        "Compressed size",
    ];
    let keep = |line: &&str| !dropped.iter().any(|name| line.trim_start().starts_with(name));
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines().filter(keep) {
        if line.starts_with("Full Path") {
            entries.push(String::new());
        }
        if let Some(entry) = entries.last_mut() {
            entry.push_str(line);
            entry.push('\n');
        }
    }
    entries.sort();
    entries
}

/// Captures the drive's NTFS volume and checks that its listing equals the media's.
fn captures_back(rig: &Rig, drive: &Drive, record: &Value, sector: u32) {
    let all = partitions(record);
    let (_, offset, size) = &all[2];
    let volume = Volume::of(drive, *offset, *size, sector);
    let back = rig.path("back.wim");
    let _ = fs::remove_file(&back);
    run("wimlib-imagex", &["capture", &volume.0, back.to_str().unwrap(), "--compress=none"]);
    let (expected, found) =
        (listing(sample(&["--compress=LZX"]).to_str().unwrap()), listing(back.to_str().unwrap()));
    assert!(expected.len() > 300, "{} entries", expected.len());
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found);
    }
}

fn manifest(rig: &Rig, record: &Value) -> Value {
    serde_json::from_slice(&fs::read(rig.master(record).join("manifest.json")).unwrap()).unwrap()
}

/// Reads a list of `{offset, length}`.
fn ranges(list: &Value) -> Vec<(u64, u64)> {
    let number = |value: &Value| value.as_u64().unwrap();
    list.as_array().unwrap().iter().map(|i| (number(&i["offset"]), number(&i["length"]))).collect()
}

/// Checks that two drives hold the same in all chunks, except at fix-up sites.
fn differ_only_at_sites(rig: &Rig, first: (&Drive, &Value), second: (&Drive, &Value)) {
    let manifest = manifest(rig, first.1);
    let (a, b) = (File::open(&first.0.file).unwrap(), File::open(&second.0.file).unwrap());
    let (sites, mut differing) = (ranges(&manifest["sites"]), 0);
    for (offset, length) in ranges(&manifest["chunks"]) {
        let length = usize::try_from(length).unwrap();
        let (mut x, mut y) = (vec![0; length], vec![0; length]);
        a.read_exact_at(&mut x, offset).unwrap();
        b.read_exact_at(&mut y, offset).unwrap();
        for (at, (x, y)) in (offset..).zip(x.iter().zip(&y)) {
            if x != y {
                let known = sites.iter().any(|(start, length)| *start <= at && at < start + length);
                assert!(known, "byte {at} differs and is no fix-up site");
                differing += 1;
            }
        }
    }
    assert!(differing > 100, "only {differing} bytes differ: identities were not written");
}

fn identities(record: &Value) -> Vec<String> {
    let identity = &record["identity"];
    let mut all = vec![identity["disk_guid"].to_string()];
    for partition in identity["partitions"].as_array().unwrap() {
        all.push(partition["guid"].to_string());
        if !partition["volume_serial"].is_null() {
            all.push(partition["volume_serial"].to_string());
        }
    }
    all
}

fn two_drives(setup: Setup, mib: u64, sector: u32) {
    let rig = Rig::started(setup);
    let first = rig.attached("A", mib, sector);
    let second = rig.attached("B", mib, sector);
    let (one, two) = (rig.wait_pass(&first.serial), rig.wait_pass(&second.serial));
    for (drive, record) in [(&first, &one), (&second, &two)] {
        assert_eq!(record["written_bytes"], record["verified_bytes"]);
        assert_eq!(record["logical_sector_bytes"], sector);
        assert_eq!(record["bay"], format!("loop-{}.img", drive.serial));
        tools_agree(&rig, drive, record, sector);
        captures_back(&rig, drive, record, sector);
    }
    let (a, b) = (identities(&one), identities(&two));
    assert!(a.iter().all(|id| !b.contains(id)), "{a:?} {b:?}");
    differ_only_at_sites(&rig, (&first, &one), (&second, &two));
    // Beside it there may be the one from which it was derived.
    let masters = rig.json(&["master", "list"]);
    let of_size = |master: &&Value| master["size_bytes"] == mib << 20;
    let count = masters.as_array().unwrap().iter().filter(of_size).count();
    assert_eq!(count, 1, "both drives use one master: {masters:#}");
}

#[apply(test!)]
#[needs(LOOP)]
fn two_drives_with_512_byte_sectors() {
    two_drives(Setup::default(), 160, 512);
}

#[apply(test!)]
#[needs(LOOP)]
fn two_drives_with_4096_byte_sectors() {
    two_drives(Setup::default().esp_mib(300), 700, 4096);
}

/// Real drives have a few sectors more than a round number; the backup table then crosses a chunk's edge.
#[apply(test!)]
#[needs(LOOP)]
fn a_drive_of_odd_size_passes() {
    let rig = Rig::started(Setup::default());
    let drive = rig.drive("A", 160);
    let size = (160 << 20) + 9 * 512;
    File::options().write(true).open(&drive.file).unwrap().set_len(size).unwrap();
    drive.attach(&[]);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["size_bytes"], size);
    tools_agree(&rig, &drive, &record, 512);
}

#[apply(test!)]
#[needs(LOOP)]
fn the_esp_holds_what_firmware_looks_for() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let image = format!("{}@@{}", drive.file.display(), partitions(&record)[0].1);
    let list = run("mdir", &["-/", "-b", "-i", &image, "::/"]);
    for name in [
        "::/EFI/BOOT/BOOTX64.EFI",
        "::/EFI/Microsoft/Boot/BCD",
        "::/EFI/Microsoft/Boot/bootmgfw.efi",
        "::/EFI/Microsoft/Boot/Fonts/segoe_slboot.ttf",
        "::/EFI/Microsoft/Boot/Resources/bootres.dll",
    ] {
        let found = list.lines().any(|line| line.eq_ignore_ascii_case(name));
        assert!(found, "{name} is missing:\n{list}");
    }
}

/// Reads the data of a BCD element with hivexget, which shares no code with the station.
fn element(hive: &Path, object: &str, name: &str) -> Vec<u8> {
    let key = format!("\\Objects\\{object}\\Elements\\{name}");
    let output = Command::new("hivexget").arg(hive).args([&key, "Element"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn holds(data: &[u8], guid: &Value) -> bool {
    let guid: uuid::Uuid = guid.as_str().unwrap().parse().unwrap();
    data.windows(16).any(|part| part == guid.to_bytes_le())
}

#[apply(test!)]
#[needs(LOOP)]
fn each_drive_s_bcd_names_its_own_partitions() {
    let rig = Rig::started(Setup::default());
    for name in ["A", "B"] {
        let drive = rig.attached(name, 160, 512);
        let record = rig.wait_pass(&drive.serial);
        let image = format!("{}@@{}", drive.file.display(), partitions(&record)[0].1);
        let copy = rig.path("bcd");
        let _ = fs::remove_file(&copy);
        run("mcopy", &["-i", &image, "::/EFI/Microsoft/Boot/BCD", copy.to_str().unwrap()]);
        let identity = &record["identity"];
        let (esp, windows) = (&identity["partitions"][0], &identity["partitions"][2]);
        let manager = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
        let loader = "{7619dcc9-fafe-11d9-b411-000476eba25f}";
        let options = "{ae5534e0-a924-466c-b836-758539a3ee3a}";
        for (object, name, partition) in [
            (manager, "11000001", esp),
            (loader, "11000001", windows),
            (loader, "21000001", windows),
            (options, "31000003", windows),
        ] {
            let data = element(&copy, object, name);
            let named = holds(&data, &identity["disk_guid"]) && holds(&data, &partition["guid"]);
            assert!(named, "{object} {name}: {data:?}");
        }
        // The media's other elements are kept.
        let path = String::from_utf8(element(&copy, options, "32000004")).unwrap();
        assert_eq!(path.trim(), "\\boot\\boot.sdi");
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn content_alone_needs_no_boot_files() {
    let rig = Rig::new(Setup::default().content_only());
    let tree = rig.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("readme.txt"), "just data").unwrap();
    let wim = rig.path("data.wim");
    run("wimlib-imagex", &["capture", tree.to_str().unwrap(), wim.to_str().unwrap()]);
    rig.add_media(&wim, "data.wim");
    rig.start();
    rig.wait_media("data.wim", "valid");
    let drive = rig.attached("A", 200, 512);
    rig.wait_pass(&drive.serial);
    rig.ctl_ok(&["audit", &drive.node()]);
}

/// A store that turns zeros into holes must not leave a drive's old bytes in a file.
#[apply(test!)]
#[needs(LOOP)]
fn holes_in_a_master_are_written_as_zeros() {
    let rig = Rig::started(Setup::default());
    let first = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&first.serial);
    let image = rig.master(&record).join("disk.raw");
    let blocks = |path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap());
    let before = blocks(&image);
    run("fallocate", &["--dig-holes", image.to_str().unwrap()]);
    assert!(
        before - blocks(&image) > (6 << 20) / 512,
        "fallocate made a hole of the file of zeros"
    );
    // A manifest made from the image with holes still names the chunks of zeros.
    let text = fs::read(image.with_file_name(masters::MANIFEST_FILE)).unwrap();
    let Manifest { recipe, plan, sites, .. } = Manifest::parse(&text).unwrap();
    let file = File::open(&image).unwrap();
    let anew = {
        let outline = Outline::of(&file, &plan, sites).unwrap();
        masters::image::describe(
            &file,
            recipe,
            plan,
            outline,
            &HashPaths::only(HashPath::Single),
            &|_, _| (),
        )
        .unwrap()
    };
    let zeros = vec![0; model::ranges::CHUNK.as_usize()];
    let zero = model::digest::Digest::of(&zeros);
    assert!(
        anew.chunks.iter().any(|chunk| chunk.sha256 == zero),
        "the manifest lacks the chunk of zeros"
    );
    let second = rig.attached("B", 160, 512);
    rig.wait_pass(&second.serial);
    rig.ctl_ok(&["audit", &second.node()]);
}

#[apply(test!)]
#[needs(LOOP)]
fn an_audit_finds_one_flipped_byte() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let (_, offset, size) = partitions(&record)[2];
    let mut volume = vec![0; usize::try_from(size).unwrap()];
    let file = File::options().read(true).write(true).open(&drive.file).unwrap();
    file.read_exact_at(&mut volume, offset).unwrap();
    let text = b"block 3 of a sample file";
    let found = volume.windows(text.len()).position(|part| part == text).unwrap();
    let at = offset + u64::try_from(found).unwrap() + 2;
    file.write_all_at(b"X", at).unwrap();
    file.sync_all().unwrap();
    let text = rig.ctl_fails(1, &["audit", &drive.node()]);
    let _shown = rig.shown();
    insta::assert_snapshot!("audit_finds_a_difference", text);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_replugged_drive_is_a_new_insertion() {
    let rig = Rig::started(Setup::default().set("admission.reimage", true));
    let drive = rig.attached("A", 160, 512);
    let first = rig.wait_pass(&drive.serial);
    drive.detach();
    rig.wait_gone(&drive.serial);
    drive.attach(&[]);
    wait_for("a second record", || (rig.records(&drive.serial).len() == 2).then_some(()));
    let second = rig.wait_pass(&drive.serial);
    assert_ne!(first["diskseq"], second["diskseq"]);
    assert_ne!(first["identity"]["disk_guid"], second["identity"]["disk_guid"]);
    // Neither the station's own writing nor a change event without a change starts another job.
    let node = drive.node();
    fs::write(format!("/sys/block/{}/uevent", &node[5..]), "change").unwrap();
    run("sgdisk", &["-p", &node]);
    rig.ctl_ok(&["image", &node]);
    assert_eq!(rig.records(&drive.serial).len(), 3, "two insertions and one order by hand");
}

#[apply(test!)]
#[needs(LOOP)]
fn every_kind_of_wim_works() {
    for compression in [&["--compress=XPRESS", "--check"][..], &["--compress=none"], &["--solid"]] {
        let rig = Rig::new(Setup::default());
        rig.add_media(&sample(compression), "win.wim");
        rig.start();
        let media = rig.wait_media("win.wim", "valid");
        assert_eq!(media["integrity_table"], compression.contains(&"--check"));
        let drive = rig.attached("A", 160, 512);
        rig.wait_pass(&drive.serial);
        rig.ctl_ok(&["audit", &drive.node()]);
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn a_split_set_works_once_all_parts_are_there() {
    let rig = Rig::new(Setup::default());
    let parts = rig.path("parts");
    fs::create_dir(&parts).unwrap();
    let whole = sample(&["--compress=LZX"]);
    let first = parts.join("win.swm");
    run("wimlib-imagex", &["split", whole.to_str().unwrap(), first.to_str().unwrap(), "6"]);
    let mut names: Vec<String> = fs::read_dir(&parts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    let last = names.pop().unwrap();
    for name in &names {
        rig.add_media(&parts.join(name), name);
    }
    rig.start();
    let media = rig.wait_media("win.swm", "invalid");
    assert_eq!(media["problems"][0]["code"], "split_part_missing", "{media:#}");
    rig.add_media(&parts.join(&last), &last);
    wait_for("the whole set", || {
        // Once the station has read the later parts, it lists them under the first one only.
        let all = rig.json(&["media", "list"]);
        let valid = all[0]["state"] == "valid" && all.as_array()?.len() == 1;
        valid.then_some(())
    });
    let all = rig.json(&["media", "list"]);
    assert_eq!(all[0]["files"].as_array().unwrap().len(), names.len() + 1);
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    rig.ctl_ok(&["audit", &drive.node()]);
}
