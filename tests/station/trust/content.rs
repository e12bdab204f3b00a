//! What stands on a drive is read from the drive: what counts as ours, as blank, as passed, and what is not read at all.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{Faults, FaultyDrive, slow};
use crate::harness::sample::{Noise, run};
use crate::harness::{Drive, Rig, Setup, Volume, attach, partitions};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 200 * MIB;

/// A station that overwrites blank drives and its own.
fn careful() -> Setup {
    Setup::default().set("admission.overwrite", "blank_or_ours")
}

/// A drive full of zeros, not attached yet.
fn blank(rig: &Rig, name: &str) -> Drive {
    let serial = format!("{}{name}", rig.name);
    let file = rig.path("drives").join(format!("{serial}.img"));
    File::create(&file).unwrap().set_len(SIZE).unwrap();
    Drive::new(serial, file)
}

fn copy(from: &Path, to: &Path) {
    run("cp", &["--sparse=always", from.to_str().unwrap(), to.to_str().unwrap()]);
}

fn put(drive: &Drive, at: u64, data: &[u8]) {
    File::options().write(true).open(&drive.file).unwrap().write_all_at(data, at).unwrap();
}

fn noise(length: u64) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(length).unwrap()];
    Noise::new(length).fill(&mut data);
    data
}

/// Attaches a drive, waits for the decision, and takes it away again. The words are the verdict and its code; a drive that
/// is refused must not have changed.
fn plugged(rig: &Rig, drive: &Drive) -> (String, Value) {
    let known = rig.records(&drive.serial).len();
    let before = drive.checksum();
    drive.attach(&[]);
    let record = crate::harness::wait_for(&format!("a verdict on {}", drive.serial), || {
        let records = rig.records(&drive.serial);
        // A loop device that is just being attached has no size yet; it is judged again when it has.
        let sizeless = |record: &Value| record["size_bytes"] == 0;
        records
            .into_iter()
            .nth(known)
            .filter(|record| !record["verdict"].is_null() && !sizeless(record))
    });
    let verdict = record["verdict"].as_str().unwrap().to_owned();
    let words = match record["reason"]["code"].as_str() {
        Some(code) => format!("{verdict} {code}"),
        None => verdict.clone(),
    };
    if verdict == "refused" {
        assert!(drive.checksum() == before, "something was written: {record:#}");
    }
    drive.detach();
    rig.wait_gone(&drive.serial);
    (words, record)
}

/// A station with one drive that has passed and is out of its bay, and a copy of what it holds.
struct Imaged {
    rig: Rig,
    drive: Drive,
    record: Value,
    pristine: PathBuf,
}

impl Imaged {
    fn new(setup: Setup) -> Self {
        let rig = Rig::started(setup);
        let drive = blank(&rig, "A");
        let (verdict, record) = plugged(&rig, &drive);
        assert_eq!(verdict, "passed", "{record:#}");
        let pristine = rig.path("pristine");
        copy(&drive.file, &pristine);
        Self { rig, drive, record, pristine }
    }

    /// What becomes of the drive when it comes back after a change: verdict and code, and the record.
    fn comes_back(&self, change: impl FnOnce(&Self)) -> (String, Value) {
        copy(&self.pristine, &self.drive.file);
        change(self);
        plugged(&self.rig, &self.drive)
    }

    /// The place of a partition: offset and size.
    fn partition(&self, kind: &str) -> (u64, u64) {
        let all = partitions(&self.record);
        let (_, offset, size) = all.into_iter().find(|(found, _, _)| found == kind).unwrap();
        (offset, size)
    }

    fn windows(&self) -> (u64, u64) {
        self.partition("ebd0a0a2")
    }

    /// Puts a file system of this kind at an offset, as its owner would.
    fn format(&self, tool: &[&str], offset: u64, mib: u64) {
        let scratch = self.rig.path("scratch");
        File::create(&scratch).unwrap().set_len(mib * MIB).unwrap();
        run(tool[0], &[&tool[1..], &[scratch.to_str().unwrap()]].concat());
        let (from, to) =
            (format!("if={}", scratch.display()), format!("of={}", self.drive.file.display()));
        let seek = format!("seek={}", offset / MIB);
        run("dd", &[&from, &to, "bs=1M", &seek, "conv=notrunc,sparse", "status=none"]);
        fs::remove_file(scratch).unwrap();
    }

    /// Mounts the Windows volume with ntfs-3g, for writing, and does something there.
    fn use_volume(&self, work: impl FnOnce(&Path)) {
        let (offset, size) = self.windows();
        let (offset, size) = (offset.to_string(), size.to_string());
        // Under another name, so that it lies in no bay of the station.
        let away = self.rig.path("away.img");
        fs::hard_link(&self.drive.file, &away).unwrap();
        let options = ["--offset", &offset, "--sizelimit", &size];
        let volume = Volume(attach(away.to_str().unwrap(), &options));
        let mount = self.rig.path("mount");
        fs::create_dir_all(&mount).unwrap();
        run("ntfs-3g", &[&volume.0, mount.to_str().unwrap()]);
        work(&mount);
        run("umount", &[mount.to_str().unwrap()]);
        drop(volume);
        fs::remove_file(away).unwrap();
    }
}

fn case(tried: &'static str, right: &'static str, before: &'static str) -> Case {
    Case { line: "A.1", tried, right, before }
}

/// Expects a refusal `not_blank` whose detail names the proof that failed.
#[track_caller]
fn not_ours(imaged: &Imaged, tried: &'static str, names: &str, change: impl FnOnce(&Imaged)) {
    let (now, record) = imaged.comes_back(change);
    case(tried, "refused not_blank", "passed: it was erased").saw(&now);
    let detail = record["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains(names), "{tried}: {detail}");
    let hint = record["reason"]["hint"].as_str().unwrap();
    for helps in ["wipe all of it with `blkdiscard -f /dev/loop", " --overwrite --reason TEXT`"] {
        assert!(hint.contains(helps), "{hint}");
    }
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_drive_that_was_used_is_its_owner_s() {
    let imaged = Imaged::new(careful());
    let (now, _) = imaged.comes_back(|_| ());
    case("nobody has touched it", "refused already_passed", "refused already_passed").saw(&now);
    not_ours(&imaged, "its owner wrote one document", "partition is not as it was written", |i| {
        i.use_volume(|mount| fs::write(mount.join("thesis.docx"), b"three years").unwrap());
    });
    not_ours(&imaged, "its owner deleted a file", "partition is not as it was written", |i| {
        i.use_volume(|mount| {
            let file = fs::read_dir(mount).unwrap().flatten().find(|e| e.path().is_file());
            fs::remove_file(file.unwrap().path()).unwrap();
        });
    });
    not_ours(&imaged, "a file was written in place", "partition is not as it was written", |i| {
        i.use_volume(|mount| {
            let file = fs::read_dir(mount).unwrap().flatten().find(|e| e.path().is_file());
            let file = File::options().write(true).open(file.unwrap().path()).unwrap();
            file.write_all_at(b"x", 0).unwrap();
        });
    });
    not_ours(
        &imaged,
        "half of its content was overwritten, no metadata",
        "is not as it was written",
        |i| {
            let (start, size) = i.windows();
            put(&i.drive, (start + size / 2).next_multiple_of(MIB), &noise(size / 2 - 8 * MIB));
        },
    );
    not_ours(
        &imaged,
        "the ESP holds another file",
        "esp partition is not as it was written",
        |i| {
            let (offset, _) = i.partition("c12a7328");
            let image = format!("{}@@{offset}", i.drive.file.display());
            let note = i.rig.path("note");
            fs::write(&note, "x").unwrap();
            run("mcopy", &["-i", &image, note.to_str().unwrap(), "::/note.txt"]);
        },
    );
}

#[apply(test!)]
#[needs(LOOP)]
fn a_partition_table_that_is_not_whole_is_no_proof() {
    let imaged = Imaged::new(careful());
    let sector = |i: &Imaged, number: u64| {
        let mut data = vec![0; 512];
        File::open(&i.drive.file).unwrap().read_exact_at(&mut data, number * 512).unwrap();
        data
    };
    let last = SIZE / 512 - 1;
    let spoil = move |i: &Imaged, number: u64, at: usize| {
        let mut data = sector(i, number);
        data[at] ^= 1;
        put(&i.drive, number * 512, &data);
    };
    not_ours(&imaged, "the checksum of the primary header is wrong", "partition table", |i| {
        spoil(i, 1, 40)
    });
    not_ours(&imaged, "the checksum of the backup header is wrong", "partition table", |i| {
        spoil(i, last, 40)
    });
    not_ours(&imaged, "both checksums are wrong", "partition table", |i| {
        spoil(i, 1, 40);
        spoil(i, last, 40);
    });
    not_ours(&imaged, "the entries of one table are wrong", "partition table", |i| spoil(i, 2, 40));
    not_ours(&imaged, "its protective MBR is gone", "protective MBR", |i| {
        put(&i.drive, 446, &[0; 66])
    });
    not_ours(&imaged, "an MBR was written over it, with ext4", "protective MBR", |i| {
        let mut entry = [0_u8; 66];
        entry[..16].copy_from_slice(&[0x80, 0, 2, 0, 0x83, 255, 255, 255, 0, 8, 0, 0, 0, 0, 32, 0]);
        (entry[64], entry[65]) = (0x55, 0xaa);
        put(&i.drive, 446, &entry);
        i.format(&["mkfs.ext4", "-q", "-F"], MIB, 64);
    });
    not_ours(&imaged, "its owner's partitions under our disk GUID", "partition", |i| {
        let file = i.drive.file.to_str().unwrap();
        run("sgdisk", &["-d", "3", "-d", "4", "-n", "3:0:0", "-t", "3:8300", file]);
    });
    not_ours(&imaged, "one name of a partition was changed", "the name of partition 3", |i| {
        run("sgdisk", &["-c", "3:home", i.drive.file.to_str().unwrap()]);
    });
}

#[apply(test!)]
#[needs(LOOP)]
fn another_signature_on_it_is_somebody_s() {
    let imaged = Imaged::new(careful());
    not_ours(&imaged, "LUKS in the place of the MBR", "a LUKS volume", |i| {
        let mut header = vec![0_u8; 512];
        header[..8].copy_from_slice(b"LUKS\xba\xbe\x00\x01");
        header[168..208].copy_from_slice(b"00000000-0000-4000-8000-000000000000\0\0\0\0");
        put(&i.drive, 0, &header);
    });
    not_ours(&imaged, "btrfs at 64 KiB", "btrfs", |i| {
        let mut block = vec![0_u8; 4096];
        block[0x40..0x48].copy_from_slice(b"_BHRfS_M");
        put(&i.drive, 0x1_0000, &block);
    });
    not_ours(&imaged, "ext4 in the Windows partition", "ext4", |i| {
        let (start, _) = i.windows();
        i.format(&["mkfs.ext4", "-q", "-F"], start, 64);
    });
    not_ours(&imaged, "swap in the MSR", "the msr partition", |i| {
        let (start, size) = i.partition("e3c9e316");
        i.format(&["mkswap", "-q"], start, size / MIB);
    });
    not_ours(
        &imaged,
        "a RAID superblock (1.2) over a stale GPT header",
        "a member of a Linux RAID",
        |i| {
            put(&i.drive, 4096, &md_superblock());
            put(&i.drive, 64 * MIB, &noise(MIB));
        },
    );
    not_ours(&imaged, "a RAID superblock (0.90) at the end", "a member of a Linux RAID", |i| {
        let mut block = vec![0_u8; 4096];
        for (at, word) in [(0, 0xa92b_4efc_u32), (4, 0), (8, 90), (24, 1), (28, 1000), (36, 2)] {
            block[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        put(&i.drive, SIZE / 65536 * 65536 - 65536, &block);
    });
}

/// A superblock of version 1.2 as mdadm writes it, with its checksum.
fn md_superblock() -> Vec<u8> {
    let mut block = vec![0_u8; 4096];
    let mut word = |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_le_bytes());
    word(0, 0xa92b_4efc);
    word(4, 1);
    word(72, 1);
    word(80, 400_000);
    word(92, 2);
    word(128, 2048);
    word(136, 400_000);
    word(144, 8);
    word(220, 2);
    word(256, 1 << 16);
    let sum: u64 =
        block[..260].as_chunks::<4>().0.iter().map(|w| u64::from(u32::from_le_bytes(*w))).sum();
    let sum = u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap();
    block[216..220].copy_from_slice(&sum.to_le_bytes());
    block
}

#[apply(test!)]
#[needs(LOOP)]
fn what_cannot_be_compared_is_not_ours() {
    let imaged = Imaged::new(careful());
    let clone = blank(&imaged.rig, "B");
    copy(&imaged.pristine, &clone.file);
    let (now, record) = plugged(&imaged.rig, &clone);
    case("a byte copy on another serial", "refused not_blank", "passed: it was erased").saw(&now);
    let detail = record["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("copied from drive {}", imaged.drive.serial)), "{detail}");
    // The master goes, but what was written is still known.
    let id = imaged.record["master"]["id"].as_str().unwrap();
    imaged.rig.ctl_ok(&["master", "remove", id]);
    let (now, _) = imaged.comes_back(|_| ());
    let known = "the master is gone, its manifest is kept";
    case(known, "refused already_passed", "refused already_passed").saw(&now);
    fs::remove_dir_all(imaged.rig.path("store/manifests")).unwrap();
    let _ = fs::remove_dir_all(imaged.rig.master(&imaged.record));
    not_ours(&imaged, "master and manifest are gone", "digests of what was written", |_| ());
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn an_interrupted_drive_is_ours_until_somebody_uses_it() {
    let rig = Rig::started(careful());
    let drive = FaultyDrive::new(&rig, "A", 200, slow(10)).blank();
    drive.attach(&[]);
    rig.wait_state(&drive.serial, &["writing"]);
    rig.ctl_ok(&["stop", &drive.serial]);
    assert_eq!(rig.wait_verdict(&drive.serial)["verdict"], "stopped");
    drive.set(Faults::default());
    let stopped = |tried| Case {
        line: "A.1",
        tried,
        right: "refused not_blank",
        before: "passed: it was erased",
    };
    // Whoever has it open for writing uses it.
    let write = |data: &[u8], at: u64| {
        let node = File::options().read(true).write(true).open(drive.node()).unwrap();
        let mut before = vec![0; data.len()];
        node.read_exact_at(&mut before, at).unwrap();
        node.write_all_at(data, at).and_then(|()| node.sync_all()).unwrap();
        before
    };
    let refused = |tried, at: u64, data: &[u8]| {
        let before = write(data, at);
        let text = rig.ctl_fails(2, &["retry", &drive.serial]);
        let now = text.split(": ").skip(1).take(1).collect::<String>();
        assert!(write(&before, at) == data, "{tried}: something was written");
        stopped(tried).saw(&format!("refused {now}"));
    };
    refused("stopped half-way, then ext4 was made on it", 0x438, &[0x53, 0xef]);
    refused("stopped half-way, then a boot sector was written", 57 * MIB, &noise(512));
    refused("stopped half-way, then data was written to its end", SIZE - MIB, &noise(4096));
    let tried = "stopped half-way, then data was put where the job writes nothing";
    refused(tried, 150 * MIB, &noise(8 * MIB));
    rig.ctl_ok(&["retry", &drive.serial]);
    let record = rig.wait_pass(&drive.serial);
    let tried = "stopped half-way and untouched since, by `retry`";
    Case { line: "A.1", tried, right: "passed", before: "passed" }
        .saw(record["verdict"].as_str().unwrap());
    drop(rig);
}

#[apply(test!)]
#[needs(LOOP)]
fn blank_is_more_than_two_mebibytes() {
    let rig = Rig::started(careful());
    let refused = |tried: &'static str, change: &dyn Fn(&Drive)| {
        let drive = blank(&rig, "A");
        change(&drive);
        let (now, _) = plugged(&rig, &drive);
        Case { line: "A.2", tried, right: "refused not_blank", before: "passed: it was erased" }
            .saw(&now);
    };
    refused("data between two zeroed mebibytes", &|d| put(d, MIB, &noise(SIZE - 2 * MIB)));
    refused("VMFS at 1 MiB", &|d| {
        put(d, MIB, &[0x0d, 0xd0, 0x01, 0xc0]);
        put(d, 2 * MIB, &[0x5e, 0xf1, 0xab, 0x2f]);
    });
    refused("LUKS2, its second header at 4 MiB", &|d| {
        let mut header = vec![0_u8; 4096];
        header[..8].copy_from_slice(b"SKUL\xba\xbe\x00\x02");
        put(d, 4 * MIB, &header);
    });
    refused("40 MiB of one other byte, amid zeros", &|d| put(d, 100 * MIB, &vec![0xff; 40 << 20]));
    refused("8 MiB of data, far from both ends", &|d| put(d, 111 * MIB, &noise(8 * MIB)));
    refused("one bit in the last sector", &|d| put(d, SIZE - 1, &[1]));
    let drive = blank(&rig, "F");
    put(&drive, 0, &vec![0xff; usize::try_from(SIZE).unwrap()]);
    let (now, _) = plugged(&rig, &drive);
    let tried = "0xff everywhere";
    Case { line: "A.2", tried, right: "passed", before: "passed" }.saw(&now);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_pass_counts_only_while_it_stands_on_the_drive() {
    for policy in ["blank_or_ours", "any"] {
        let imaged = Imaged::new(Setup::default().set("admission.overwrite", policy));
        let case = |tried, right, before| Case { line: "A.3", tried, right, before };
        let before = "refused already_passed";
        let (now, _) = imaged.comes_back(|_| ());
        case("it passed and was not touched", "refused already_passed", before).saw(&now);
        let (now, _) = imaged.comes_back(|i| {
            File::create(&i.drive.file).unwrap().set_len(SIZE).unwrap();
        });
        case("it passed and was wiped to zeros", "passed", before).saw(&now);
        let (now, record) = imaged.comes_back(|i| put(&i.drive, 0, &noise(SIZE)));
        let right = if policy == "any" { "passed" } else { "refused not_blank" };
        case("another drive with its serial number, full of data", right, before).saw(&now);
        if policy != "any" {
            let detail = record["reason"]["detail"].as_str().unwrap();
            assert!(detail.contains("partition tables are gone"), "{detail}");
        }
        let (now, _) = imaged.comes_back(|i| {
            put(&i.drive, 0, &vec![0; 1 << 20]);
            put(&i.drive, SIZE - MIB, &vec![0; 1 << 20]);
        });
        case("it passed, and `diskpart clean` took its tables", right, "passed: it was erased")
            .saw(&now);
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn drives_that_are_nobody_s_business_are_not_read() {
    let sectors_read = |drive: &Drive| -> u64 {
        let name = drive.node().replace("/dev/", "");
        let text = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
        text.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    let other_bay = Setup::default().set("admission.bays", vec!["loop-elsewhere*"]);
    let cases: [(&'static str, Setup, &[&str], &str); 4] = [
        ("its bay is not the station's", other_bay, &[], "bay_not_allowed"),
        (
            "its bus is not the station's",
            careful().set("admission.buses", vec!["usb"]),
            &[],
            "bus_not_allowed",
        ),
        (
            "its model is not allowed",
            careful().set("admission.models", vec!["X"]),
            &[],
            "model_not_allowed",
        ),
        ("it is write-protected", careful(), &["--read-only"], "read_only"),
    ];
    for (tried, setup, options, code) in cases {
        let rig = Rig::new(setup);
        let drive = blank(&rig, "A");
        drive.attach(options);
        let before = sectors_read(&drive);
        rig.start_with_media();
        rig.wait_refused(&drive.serial, code);
        for verb in ["disarm", "arm"] {
            rig.ctl_ok(&[verb]);
        }
        rig.ctl_fails(2, &["image", &drive.node()]);
        let now = format!("{} sectors read", sectors_read(&drive) - before);
        Case { line: "A.5", tried, right: "0 sectors read", before: "3.7 MB were read" }.saw(&now);
    }
}
