//! A drive that comes back is read again against its own record: what is the same is said to be, every kind of change is
//! found and told where it is, and what an operating system changes is told apart from what nobody should have changed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use macro_rules_attribute::apply;
use model::api::schema::Document;
use serde_json::Value;

use crate::harness::odd_wim::{OddWim, file, folder};
use crate::harness::sample::run;
use crate::harness::{Drive, Rig, Setup, Volume, attach, noise, partitions, schema};

const SAME: i32 = 0;
const DIFFERENT: i32 = 1;
const NOT_KNOWN: i32 = 2;

/// Reads a drive again; returns exit code and report, or error.
fn verified(rig: &Rig, drive: &Drive) -> (i32, Value) {
    let (code, text) = rig.ctl(&["--json", "verify", &drive.node()]);
    // What is printed on standard error follows.
    let mut documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let report = documents.next().and_then(Result::ok).unwrap_or_else(|| panic!("{text}"));
    if report.get("outcome").is_some() {
        schema::assert_is(Document::Verify, &report);
    }
    (code, report)
}

#[track_caller]
fn is(rig: &Rig, drive: &Drive, code: i32, outcome: &str) -> Value {
    let (is, report) = verified(rig, drive);
    assert_eq!(
        (is, report["outcome"].as_str()),
        (code, Some(outcome)),
        "{report:#}\n{}",
        rig.log()
    );
    report
}

/// The paths of the files that a report lists.
fn files(report: &Value) -> Vec<&str> {
    let files = report["files"].as_array().unwrap();
    files.iter().map(|file| file["path"].as_str().unwrap()).collect()
}

/// Whether a report lists a range with this byte, and these words for it.
fn lists(report: &Value, at: u64, what: &str, at_most: u64) -> bool {
    report["ranges"].as_array().unwrap().iter().any(|range| {
        let number = |name: &str| range[name].as_u64().unwrap();
        let (offset, length) = (number("offset"), number("length"));
        offset <= at
            && at < offset + length
            && length <= at_most
            && range["what"].as_str().unwrap().contains(what)
    })
}

/// Changes one byte of a drive.
fn flip(drive: &Drive, at: u64) {
    let file = File::options().read(true).write(true).open(&drive.file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    file.sync_all().unwrap();
}

/// The place of these bytes on a drive, which is a multiple of 8, from an offset on.
#[track_caller]
fn find(drive: &Drive, bytes: &[u8], from: u64) -> u64 {
    let mut data = vec![0; 64 << 20];
    let count = File::open(&drive.file).unwrap().read_at(&mut data, from).unwrap();
    let place = (0..count).step_by(8).find(|at| data[*at..].starts_with(bytes));
    from + place.expect("the bytes are on the drive") as u64
}

fn partition(record: &Value, kind: &str) -> (u64, u64) {
    let all = partitions(record);
    let (_, offset, size) = all.into_iter().find(|(found, _, _)| found == kind).unwrap();
    (offset, size)
}

/// A whole first start: boot files, identity, a derived master, a drive that comes back under another name.
#[apply(test!)]
#[needs(LOOP)]
fn a_drive_that_comes_back_is_read_against_its_own_record() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let larger = rig.attached("B", 260, 512);
    rig.wait_pass(&larger.serial);
    // Drives that come from now on are not imaged, whatever is on them.
    rig.ctl_ok(&["disarm"]);
    let before = drive.checksum();
    let report = is(&rig, &drive, SAME, "same");
    drive.assert_untouched(&before);
    assert_eq!(
        (&report["compared_by"], &report["record"]["job"]),
        (&"master".into(), &record["job"])
    );
    assert_eq!(report["compared_bytes"], record["verified_bytes"], "{report:#}");
    is(&rig, &larger, SAME, "same");

    // Months later: another bay, another device.
    drive.detach();
    rig.wait_gone(&drive.serial);
    let holder = attach(rig.path("station.key").to_str().unwrap(), &["--read-only"]);
    let elsewhere = drive.file.with_extension("elsewhere");
    fs::rename(&drive.file, &elsewhere).unwrap();
    let drive = Drive::new(drive.serial.clone(), elsewhere);
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "not_armed");
    run("losetup", &["-d", &holder]);
    let report = is(&rig, &drive, SAME, "same");
    assert_eq!(report["record"]["bay"], record["bay"], "{report:#}");

    // A byte in a boot file, in each partition's boot sector, in a partition table.
    let (esp, _) = partition(&record, "c12a7328");
    let (windows, _) = partition(&record, "ebd0a0a2");
    let image = format!("{}@@{esp}", drive.file.display());
    let loader = rig.path("loader");
    run("mcopy", &["-n", "-i", &image, "::/EFI/Boot/bootx64.efi", loader.to_str().unwrap()]);
    let loader = fs::read(loader).unwrap();
    let at = find(&drive, &loader[..512], esp);
    flip(&drive, at);
    let report = is(&rig, &drive, DIFFERENT, "different");
    assert!(lists(&report, at, "the files of the esp partition", 512), "{report:#}");
    let named = files(&report);
    assert!(named.len() == 1 && named[0].to_lowercase().starts_with("esp:/efi/"), "{report:#}");
    assert_eq!(
        (&report["unexplained_ranges"], &report["started_since"]),
        (&1.into(), &false.into())
    );
    flip(&drive, at);
    for (at, what) in [
        (windows + 3, "a boot sector of the windows partition"),
        (512 + 8, "a partition table"),
        (446, "a partition table"),
    ] {
        flip(&drive, at);
        let report = is(&rig, &drive, DIFFERENT, "different");
        assert!(lists(&report, at, what, 4096), "{what}: {report:#}");
        flip(&drive, at);
    }
    // What is its own: the serial number of its NTFS volume, and its disk GUID.
    for (at, what) in
        [(windows + 0x48, "ntfs_serial"), (512 + 56, "disk_guid is not that of the record")]
    {
        flip(&drive, at);
        let report = is(&rig, &drive, DIFFERENT, "different");
        assert!(lists(&report, at, what, 16), "{what}: {report:#}");
        flip(&drive, at);
    }

    // The master itself, with nobody's identity, is no drive of ours.
    let file = File::options().read(true).write(true).open(&drive.file).unwrap();
    let mut tables = [vec![0; 34 * 512], vec![0; 34 * 512]];
    file.read_exact_at(&mut tables[0], 0).unwrap();
    File::open(rig.master(&record).join(masters::IMAGE_FILE))
        .unwrap()
        .read_exact_at(&mut tables[1], 0)
        .unwrap();
    file.write_all_at(&tables[1], 0).unwrap();
    let report = is(&rig, &drive, DIFFERENT, "different");
    assert!(lists(&report, 512 + 56, "disk_guid is not that of the record", 16), "{report:#}");
    file.write_all_at(&tables[0], 0).unwrap();
    file.sync_all().unwrap();

    // Without the masters, by their digests, to the mebibyte. A drive's copy of another one has not its identity.
    for master in rig.json(&["master", "list"]).as_array().unwrap() {
        let _ = rig.ctl(&["master", "remove", master["id"].as_str().unwrap()]);
    }
    for drive in [&drive, &larger] {
        let report = is(&rig, drive, SAME, "same");
        assert_eq!(report["compared_by"], "digests");
    }
    flip(&drive, at);
    let report = is(&rig, &drive, DIFFERENT, "different");
    assert!(lists(&report, at, "esp partition", 1 << 20), "{report:#}");
    assert!(
        files(&report).iter().any(|file| file.to_lowercase().starts_with("esp:/efi/")),
        "{report:#}"
    );
    flip(&drive, at);
    flip(&drive, windows + 0x48);
    let report = is(&rig, &drive, DIFFERENT, "different");
    assert!(lists(&report, windows + 0x48, "ntfs_serial", 8), "{report:#}");
    flip(&drive, windows + 0x48);
    is(&rig, &drive, SAME, "same");

    // Other content, and a drive that has never passed.
    let size = fs::metadata(&drive.file).unwrap().len();
    let file = File::options().write(true).open(&drive.file).unwrap();
    file.write_all_at(&noise(size), 0).unwrap();
    file.sync_all().unwrap();
    let report = is(&rig, &drive, DIFFERENT, "different");
    assert!(report["different_bytes"].as_u64() > Some(1 << 20), "{report:#}");
    assert_eq!(report["started_since"], false, "nobody has used what is not there");
    assert!(report["ranges"].as_array().unwrap().len() <= 100, "{report:#}");
    let stranger = rig.attached("C", 160, 512);
    rig.wait_refused(&stranger.serial, "not_armed");
    let (code, error) = verified(&rig, &stranger);
    assert_eq!((code, &error["error"]["code"]), (NOT_KNOWN, &"no_such_record".into()), "{error:#}");
    let (code, error) = rig.ctl(&["verify", "nowhere"]);
    assert_eq!(code, NOT_KNOWN, "{error}");
    // A record whose digests are lost says so, and nothing else.
    fs::remove_dir_all(rig.path("store/manifests")).unwrap();
    let (code, error) = verified(&rig, &larger);
    assert_eq!(
        (code, &error["error"]["code"]),
        (NOT_KNOWN, &"digests_missing".into()),
        "{error:#}"
    );
}

/// Mounts the Windows volume of a drive with ntfs-3g, for writing, and does something there.
fn used(rig: &Rig, drive: &Drive, record: &Value, work: impl FnOnce(&Path)) {
    let (offset, size) = partition(record, "ebd0a0a2");
    // Under another name, so that it lies in no bay of the station.
    let away = rig.path("away.img");
    fs::hard_link(&drive.file, &away).unwrap();
    let (offset, size) = (offset.to_string(), size.to_string());
    let options = ["--offset", &offset, "--sizelimit", &size];
    let volume = Volume(attach(away.to_str().unwrap(), &options));
    let mount = rig.path("mount");
    fs::create_dir_all(&mount).unwrap();
    run("ntfs-3g", &[&volume.0, mount.to_str().unwrap()]);
    work(&mount);
    run("umount", &[mount.to_str().unwrap()]);
    drop(volume);
    fs::remove_file(away).unwrap();
}

/// What use explains is not taken for damage, and does not hide it.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn use_is_told_apart_from_what_nobody_should_have_changed() {
    let rig = Rig::new(Setup::default().content_only());
    let (text, other) = (noise(300_000), vec![b'w'; 200_000]);
    let medium = OddWim::of([
        folder(
            "system",
            [
                file("driver.sys", text.clone()),
                file("short.ini", "a few bytes that lie in the record"),
            ],
        ),
        file("work.docx", other),
    ]);
    medium.write(&rig.path("odd.wim"));
    rig.add_media(&rig.path("odd.wim"), "odd.wim");
    rig.start();
    rig.wait_media("odd.wim", "valid");
    let drive = rig.attached("A", 120, 512);
    let record = rig.wait_pass(&drive.serial);
    rig.ctl_ok(&["disarm"]);
    is(&rig, &drive, SAME, "same");
    // A changed byte is told by its file: in its contents, and in its record.
    let (windows, _) = partition(&record, "ebd0a0a2");
    let in_contents = find(&drive, &text[100_000..100_064], windows);
    let in_record = find(&drive, b"a few bytes that lie in the record", windows);
    for (at, path, how) in [
        (in_contents, "/system/driver.sys", "its contents differ"),
        (in_record, "/system/short.ini", "its file record differs"),
    ] {
        flip(&drive, at);
        let report = is(&rig, &drive, DIFFERENT, "different");
        assert_eq!(files(&report), [path], "{report:#}");
        assert_eq!(report["files"][0]["what"], how, "{report:#}");
        let told = rig.ctl(&["verify", &drive.serial]).1;
        assert!(told.contains("DIFFERENT: ") && told.contains(path), "{told}");
        flip(&drive, at);
    }
    is(&rig, &drive, SAME, "same");
    // Somebody uses it: files come, go, and are written.
    used(&rig, &drive, &record, |mount| {
        fs::write(mount.join("thesis.docx"), vec![7; 50_000]).unwrap();
        fs::write(mount.join("work.docx"), vec![8; 100_000]).unwrap();
        fs::remove_file(mount.join("system/short.ini")).unwrap();
    });
    let report = is(&rig, &drive, DIFFERENT, "started_since");
    assert_eq!(
        (&report["started_since"], &report["unexplained_ranges"]),
        (&true.into(), &0.into())
    );
    assert!(files(&report).contains(&"/work.docx"), "{report:#}");
    assert!(!files(&report).contains(&"/system/driver.sys"), "{report:#}");
    let told = rig.ctl(&["verify", &drive.node()]).1;
    assert!(told.contains("STARTED SINCE: "), "{told}");
    // And still a byte that nobody has written by way of the file system is found.
    flip(&drive, in_contents);
    let report = is(&rig, &drive, DIFFERENT, "different");
    assert_eq!(
        (&report["started_since"], &report["unexplained_ranges"]),
        (&true.into(), &1.into())
    );
    assert_eq!(files(&report)[0], "/system/driver.sys", "{report:#}");
    assert!(lists(&report, in_contents, "data in the windows partition", 512), "{report:#}");
    flip(&drive, in_contents);
    is(&rig, &drive, DIFFERENT, "started_since");
}
