//! What a drive held before: which of it anybody finds afterwards, and what the record says of the rest.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::process::Command;

use macro_rules_attribute::apply;
use masters::allocation;
use model::drive::Geometry;
use model::layout::{Layout, Plan};
use model::ranges::{self, RangeSet};
use model::units::{Bytes, SectorSize};
use serde_json::Value;

use super::Case;
use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::{Rig, Setup, noise, partitions, wait_for};

/// Size of the drives.
const MIB: u64 = 420;
/// A byte in the middle of the Windows volume's free space, where nothing is written but for the sake of old data.
const FREE_BYTE: u64 = (330 << 20) + 20_000;

/// The disk and its partitions: what is said of it, offset, size.
type Part = (String, u64, u64);

/// The disk and the partitions of a record.
fn parts(record: &Value) -> Vec<Part> {
    let size = record["size_bytes"].as_u64().unwrap();
    let partitions = partitions(record).into_iter().zip(1..);
    let partitions = partitions.map(|((_, offset, size), n)| (format!("p{n}"), offset, size));
    [("disk".to_owned(), 0, size)].into_iter().chain(partitions).collect()
}

/// Lets libblkid look for everything it knows in a part of a file or a device.
fn probe(path: &str, (_, offset, size): &Part) {
    let (offset, size) = (offset.to_string(), size.to_string());
    // Its exit code says what it has found; here only counts where it has looked.
    Command::new("blkid").args(["-p", "-O", &offset, "-S", &size, path]).output().unwrap();
}

/// The types of the signatures that wipefs finds on a device or in a file.
fn signatures(path: &str) -> BTreeSet<String> {
    let arguments = ["--no-act", "--noheadings", "--output", "TYPE", path];
    let output = Command::new("wipefs").args(arguments).output().unwrap();
    assert!(output.status.success(), "wipefs {path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

/// What wipefs finds on the disk and on each partition of an imaged drive, by type: `disk: PMBR gpt, p1: vfat, ...`.
fn found(rig: &Rig, drive: &FaultyDrive, parts: &[Part]) -> String {
    let found = parts.iter().map(|(name, offset, size)| {
        // A copy, because no station shall see another device. In a file, wipefs takes NTFS's boot sector for an MBR, too.
        let copy = rig.path("part");
        fs::write(&copy, drive.holds(*offset, usize::try_from(*size).unwrap())).unwrap();
        let types: Vec<String> = signatures(copy.to_str().unwrap()).into_iter().collect();
        format!("{name}: {}", types.join(" "))
    });
    found.collect::<Vec<_>>().join(", ").replace(": ,", ": -,")
}

/// What is left of the noise that filled the drive, in sectors, of these bytes.
fn left(drive: &FaultyDrive, size: u64, bytes: &Range<u64>) -> usize {
    let noise = noise(size);
    let (start, end) = (bytes.start / 512 * 512, bytes.end.next_multiple_of(512).min(size));
    let now = drive.holds(start, usize::try_from(end - start).unwrap());
    let sectors = (start..end).step_by(512).zip(now.chunks(512));
    let was = |at: u64| {
        let at = usize::try_from(at).unwrap() % noise.len();
        &noise[at..at + 512]
    };
    sectors.filter(|(at, now)| *now == was(*at)).count()
}

/// A layout's plan for a drive of this size.
fn plan(size: u64, sector: SectorSize) -> Plan {
    Layout::default().plan(Geometry { size: Bytes(size), sector }).unwrap()
}

/// The places that libblkid reads, on drives of many capacities and on each of their partitions to be, are among those
/// that every drive is written in and read back: no list of ours is asked which they are.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn every_place_that_libblkid_reads_is_written() {
    let outside = |size: u64, sector: SectorSize| -> usize {
        let plan = plan(size, sector);
        let guarded =
            allocation::guards(&plan).into_iter().collect::<RangeSet>().aligned(Bytes(size));
        let drive = FaultyDrive::empty("probed", size);
        let of = |p: &model::layout::PlannedPartition| {
            ("p".to_owned(), p.offset(sector).0, p.size(sector).0)
        };
        let parts = [("disk".to_owned(), 0, size)].into_iter();
        let parts: Vec<Part> = parts.chain(plan.partitions.iter().map(of)).collect();
        let large = sector == SectorSize::B4096;
        let path = if large {
            drive.attach(&["--sector-size", "4096"]);
            // So that a read of a place reads no more than its page.
            Command::new("blockdev").args(["--setra", "0", &drive.node()]).status().unwrap();
            drive.node()
        } else {
            drive.file.to_str().unwrap().to_owned()
        };
        drive.reads();
        parts.iter().for_each(|part| probe(&path, part));
        let reads = drive.reads();
        assert!(reads.len() > 40, "{size}: libblkid read {} places", reads.len());
        let missed: Vec<_> = reads
            .iter()
            .filter(|read| {
                let read = ranges::Range::new(Bytes(read.start), Bytes(read.end.min(size)));
                !guarded.covers(read)
            })
            .collect();
        assert!(missed.is_empty(), "{size}: {missed:?}");
        missed.len()
    };
    let mut sum = 0;
    for size in [8 << 30, (8 << 30) + 745_472, 500_107_862_016, 960_197_124_096, 1_000_204_886_016]
    {
        sum += outside(size, SectorSize::B512);
    }
    for size in [(8 << 30) + 8192, 1_000_204_886_016, 4_000_787_030_016] {
        sum += outside(size, SectorSize::B4096);
    }
    let case = Case {
        line: "A.4",
        tried: "every place that libblkid reads, on eight capacities",
        right: "0 of them unwritten",
        before: "Promise's block, LUKS2's second header",
    };
    case.saw(&format!("{sum} of them unwritten"));
}

/// A drive full of noise, without discard: nothing is left of it where libblkid looks.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn libblkid_reads_nothing_that_stood_there_before() {
    let rig = Rig::started(Setup::default());
    let size = MIB << 20;
    let drive = FaultyDrive::new(&rig, "A", MIB, Faults::default());
    drive.attach(&[]);
    let record = rig.wait_pass(&drive.serial);
    drive.detach();
    rig.wait_gone(&drive.serial);
    drive.reads();
    let path = drive.file.to_str().unwrap().to_owned();
    parts(&record).iter().for_each(|part| probe(&path, part));
    signatures(&path);
    let reads = drive.reads();
    assert!(reads.len() > 100, "libblkid read {} places", reads.len());
    let sectors: usize = reads.iter().map(|read| left(&drive, size, read)).sum();
    // The test can fail: the free space between them is as it was.
    assert!(left(&drive, size, &(FREE_BYTE..FREE_BYTE + 1)) == 1);
    let case = Case {
        line: "A.4",
        tried: "all that libblkid reads of an imaged drive",
        right: "0 sectors of before",
        before: "sectors of before",
    };
    case.saw(&format!("{sectors} sectors of before"));
}

/// What owners leave, planted wherever it may stand: nobody finds it.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn signatures_of_former_owners_are_not_found() {
    let rig = Rig::started(Setup::default().set("admission.reimage", true));
    let size = MIB << 20;
    let drive = FaultyDrive::new(&rig, "A", MIB, Faults::default());
    drive.attach(&[]);
    let parts = parts(&rig.wait_pass(&drive.serial));
    drive.detach();
    rig.wait_gone(&drive.serial);
    plant(&drive, size, &parts);
    // They are really there.
    let before = found(&rig, &drive, &parts);
    for owner in ["promise_fasttrack_raid_member", "crypto_LUKS", "VMFS"] {
        assert!(before.contains(owner), "{before}");
    }
    drive.attach(&[]);
    wait_for("another record", || (rig.records(&drive.serial).len() == 2).then_some(()));
    rig.wait_pass(&drive.serial);
    drive.detach();
    rig.wait_gone(&drive.serial);
    let now = found(&rig, &drive, &parts);
    for (name, offset, _) in &parts {
        for copy in [1 << 20, 4 << 20, 64 << 20] {
            let held = drive.holds((offset + copy).min((MIB << 20) - 64), 64);
            assert!(held != SECOND_HEADER && !held.starts_with(b"_BHRfS_M"), "{name} at {copy}");
        }
    }
    let case = Case {
        line: "A.4",
        tried: "RAIDs at the end, VMFS and LUKS2 and btrfs inside, planted",
        right: "disk: PMBR gpt, p1: vfat, p2: -, p3: dos ntfs, p4: dos ntfs",
        before: "disk: promise_fasttrack_raid_member, LUKS2 at 1, 2, 4 MiB",
    };
    case.saw(&now);
}

/// What LUKS2's second header begins with.
const SECOND_HEADER: [u8; 64] = {
    let mut header = [0; 64];
    let magic = *b"SKUL\xba\xbe";
    let mut at = 0;
    while at < magic.len() {
        header[at] = magic[at];
        at += 1;
    }
    header
};

/// Plants what many owners leave.
fn plant(drive: &FaultyDrive, size: u64, parts: &[Part]) {
    for (_, start, length) in parts {
        drive.plant(start + (1 << 20), &SECOND_HEADER);
        drive.plant(start + (2 << 20), b"\x5e\xf1\xab\x2f");
        drive.plant(start + (4 << 20), &SECOND_HEADER);
        if 65 << 20 < *length {
            drive.plant(start + (64 << 20), b"_BHRfS_M");
        }
        let end = start + length;
        for back in [63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087] {
            drive.plant(end - back * 512, b"Promise Technology, Inc.");
        }
        drive.plant(end - 1024, b"NVIDIA  ");
        drive.plant(end - 512, b"JM");
    }
    // LVM, behind where no partition begins.
    drive.plant(512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001");
    assert_eq!(parts[0].2, size);
}

/// What a record says of old data, in words: `left, 120 of 128 places, warned`.
fn old_data(record: &Value) -> String {
    let old_data = &record["old_data"];
    let fate = old_data["fate"].as_str().unwrap_or("unknown");
    let number = |key: &str| old_data[key].as_u64().unwrap();
    let (seen, held) = (number("sampled_places"), number("places_with_data"));
    let held = match held {
        0 => "none",
        _ if held * 2 > seen => "most",
        _ => "some",
    };
    let warnings = record["warnings"].as_array().unwrap().iter();
    let warned = warnings.map(|w| w.as_str().unwrap()).any(|w| w.starts_with("old_data_left: "));
    let warned = if warned { "warned" } else { "silent" };
    format!("{fate}, {held} of {seen} places hold data, {warned}")
}

/// How much noise is left on a drive: nothing, something.
fn remains(drive: &FaultyDrive) -> usize {
    left(drive, MIB << 20, &(0..MIB << 20))
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn what_a_discard_leaves_is_recorded() {
    let rig = Rig::started(Setup::default());
    let takes = rig.drive("TAKES", MIB);
    let ignoring = Faults { ignores_discards: true, ..Faults::default() };
    let ignores = FaultyDrive::new(&rig, "IGNORES", MIB, ignoring);
    let refuses = FaultyDrive::new(&rig, "REFUSES", MIB, Faults::default());
    takes.attach(&[]);
    ignores.attach(&[]);
    refuses.attach(&[]);
    let before = "381 of 418 MiB stay, nothing is said";
    for (serial, tried, right) in [
        (&takes.serial, "a discard that works", "discarded, none of 128 places hold data, silent"),
        (&ignores.serial, "a discard without effect", "left, most of 128 places hold data, warned"),
        (&refuses.serial, "a drive without discard", "left, most of 128 places hold data, warned"),
    ] {
        let record = rig.wait_pass(serial);
        Case { line: "A.7", tried, right, before }.saw(&old_data(&record));
        assert_eq!(record["written_bytes"], record["verified_bytes"]);
        let all = record["old_data"]["bytes"].as_u64().unwrap();
        assert_eq!(all + record["written_bytes"].as_u64().unwrap(), MIB << 20);
    }
    // What the samples say is true.
    assert!(remains(&ignores) > 100_000 && remains(&refuses) > 100_000);
    // For factory systems and for people.
    let csv = rig.ctl_ok(&["records", "--csv"]);
    assert!(csv.lines().any(|line| line.contains(",discarded,128,0,")), "{csv}");
    let shown = rig.ctl_ok(&["records", "--serial", &ignores.serial]);
    assert!(shown.contains("old_data_left: the drive took the discard, and "), "{shown}");
}

#[apply(test!)]
#[needs(LOOP, FUSE)]
fn an_overwritten_drive_holds_nothing_of_before() {
    let rig = Rig::started(Setup::default().set("replicate.old_data", "overwrite"));
    let flips = Faults { flip_at: Some(FREE_BYTE), ..Faults::default() };
    let fails = Faults { write_error_at: Some(FREE_BYTE), ..Faults::default() };
    let good = FaultyDrive::new(&rig, "GOOD", MIB, Faults::default());
    let flips = FaultyDrive::new(&rig, "FLIPS", MIB, flips);
    let fails = FaultyDrive::new(&rig, "FAILS", MIB, fails);
    let stopped = FaultyDrive::new(&rig, "STOPPED", MIB, slow(15));
    for drive in [&good, &flips, &fails, &stopped] {
        drive.attach(&[]);
    }
    rig.wait_state(&stopped.serial, &["writing"]);
    rig.ctl_ok(&["stop", &stopped.serial]);
    let record = rig.wait_pass(&good.serial);
    let now = format!("{}, {} sectors of before", old_data(&record), remains(&good));
    let case = Case {
        line: "A.7",
        tried: "overwrite, on a drive without discard",
        right: "overwritten, none of 0 places hold data, silent, 0 sectors of before",
        before: "no such policy",
    };
    case.saw(&now);
    assert_eq!(record["written_bytes"], record["verified_bytes"]);
    rig.ctl_ok(&["audit", &good.node()]);
    for (drive, tried, right) in [
        (&flips, "overwrite, a zero that reads back as one", "failed mismatch, no table"),
        (&fails, "overwrite, a sector that cannot be written", "failed write_error, no table"),
        (&stopped, "overwrite, stopped by an operator", "stopped operator_stop, no table"),
    ] {
        let record = rig.wait_recorded(&drive.serial);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (verdict, code) = (text(&record["verdict"]), text(&record["reason"]["code"]));
        let head = drive.holds(0, 1 << 20);
        let table = if head[510..1024].iter().all(|b| *b == 0) { "no table" } else { "a table" };
        Case { line: "A.7", tried, right, before: "no such policy" }
            .saw(&format!("{verdict} {code}, {table}"));
        assert_eq!(record["old_data"]["fate"], Value::Null);
    }
}

#[apply(test!)]
#[needs(LOOP)]
fn what_shall_be_left_is_left() {
    let rig = Rig::started(Setup::default().set("replicate.old_data", "leave"));
    let drive = rig.attached("A", MIB, 512);
    let record = rig.wait_pass(&drive.serial);
    let case = Case {
        line: "A.7",
        tried: "leave, on a drive that would take a discard",
        right: "left, most of 128 places hold data, silent",
        before: "no such policy",
    };
    case.saw(&old_data(&record));
}

/// A drive that spoils what was read back when its tables are written.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn a_drive_that_changes_during_the_commit_is_found() {
    let rig = Rig::started(Setup::default());
    let spoils =
        |start: u64, end: u64| Faults { spoilt_by_table: Some((start, end)), ..Faults::default() };
    // All of the Windows volume but what the commit itself writes and reads.
    let large = FaultyDrive::new(&rig, "LARGE", MIB, spoils((57 << 20) + 4096, 390 << 20));
    let beside = FaultyDrive::new(&rig, "BESIDE", MIB, spoils(BODY_BYTE, BODY_BYTE + 1));
    large.attach(&[]);
    beside.attach(&[]);
    for (drive, tried) in [
        (&large, "a drive that spoils a volume at the commit"),
        (&beside, "a drive that spoils a byte beside a boot sector"),
    ] {
        let record = rig.wait_recorded(&drive.serial);
        let head = drive.holds(0, 1 << 20);
        let table = if head[510..1024].iter().all(|b| *b == 0) { "no table" } else { "a table" };
        let code = record["reason"]["code"].as_str().unwrap_or("-");
        let now = format!("{} {code}, {table}", record["verdict"].as_str().unwrap());
        Case { line: "C.13", tried, right: "failed mismatch, no table", before: "passed" }
            .saw(&now);
        assert!(record["verified_bytes"].as_u64() < record["written_bytes"].as_u64());
        assert!(record["readback_sha256"].is_null());
    }
    let listed = &rig.wait_recorded(&beside.serial)["mismatches"][0];
    assert!(listed["offset"].as_u64().unwrap() / 512 == BODY_BYTE / 512, "{listed:#}");
}
