//! Whatever is spoilt on a drive or added to it behind the station's back, an audit tells.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use macro_rules_attribute::apply;
use rustix::fs::XattrFlags;

use crate::audits::{DIFFERENT, Imaged, SAME};
use crate::harness::odd_wim::file;
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, attach, partitions};

/// A way to spoil a drive behind the station's back: what is done to its file, given the offset of a partition, and what an
/// audit must tell.
struct Spoilt {
    what: &'static str,
    partition: usize,
    how: fn(&str, u64),
    told: &'static str,
}

/// A drive is more than its Windows volume: every row starts with a drive of which an audit says SAME.
const SPOILT: &[Spoilt] = &[
    Spoilt {
        what: "the boot manager is taken off the ESP",
        partition: 0,
        how: |file, at| {
            drop(run("mdel", &["-i", &format!("{file}@@{at}"), "::/EFI/BOOT/BOOTX64.EFI"]))
        },
        told: "ESP:/efi/boot/bootx64.efi is missing",
    },
    Spoilt {
        what: "a file is put there",
        partition: 0,
        how: |file, at| {
            drop(run("mcopy", &["-i", &format!("{file}@@{at}"), "/etc/hostname", "::/X.EFI"]))
        },
        told: "ESP:/x.efi is not in the media",
    },
    Spoilt {
        what: "the BCD is taken away",
        partition: 0,
        how: |file, at| {
            drop(run("mdel", &["-i", &format!("{file}@@{at}"), "::/EFI/Microsoft/Boot/BCD"]))
        },
        told: "ESP:/efi/microsoft/boot/bcd is missing",
    },
    Spoilt {
        what: "the BCD is another file",
        partition: 0,
        how: |file, at| {
            let image = format!("{file}@@{at}");
            run("mcopy", &["-o", "-i", &image, "/etc/hostname", "::/EFI/Microsoft/Boot/BCD"]);
        },
        told: "ESP:/efi/microsoft/boot/bcd ",
    },
    Spoilt {
        what: "the whole ESP is zeros",
        partition: 0,
        how: |file, at| zero(file, at, 40 << 20),
        told: "ESP: cannot be read",
    },
    Spoilt {
        what: "something stands in the MSR partition",
        partition: 1,
        how: |file, at| put(file, at + 4096, b"x"),
        told: "the MSR partition is not empty at byte 4096",
    },
    Spoilt {
        what: "a file is put onto the recovery volume",
        partition: 3,
        how: |file, at| {
            let node = attach(
                file,
                &["--offset", &at.to_string(), "--sizelimit", &(20_u64 << 20).to_string()],
            );
            run("ntfscp", &["-f", &node, "/etc/hostname", "hidden.txt"]);
            run("losetup", &["-d", &node]);
        },
        told: "/hidden.txt recovery: is on the drive",
    },
    Spoilt {
        what: "a partition has another name",
        partition: 0,
        how: |file, _| drop(run("sgdisk", &["-c", "3:Data", file])),
        told: "the partition tables the partition table is wrong: the name of partition 3 is \"Data\"",
    },
    Spoilt {
        what: "boot code stands before the tables",
        partition: 0,
        how: |file, _| put(file, 0, b"\xeb\x63"),
        told: "the partition tables the protective MBR is not as it is written",
    },
];

fn put(file: &str, at: u64, bytes: &[u8]) {
    File::options().write(true).open(file).unwrap().write_all_at(bytes, at).unwrap();
}

fn zero(file: &str, at: u64, length: usize) {
    put(file, at, &vec![0; length]);
}

#[apply(test!)]
#[needs(LOOP)]
fn everything_on_a_drive_is_compared() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let starts: Vec<u64> = partitions(&record).iter().map(|(_, offset, _)| *offset).collect();
    let before = drive.contents();
    let file = drive.file.to_str().unwrap();
    let (code, text) = rig.ctl(&["audit", &drive.node()]);
    assert_eq!(code, SAME, "{text}");
    for Spoilt { what, partition, how, told } in SPOILT {
        how(file, starts[*partition]);
        let (code, text) = rig.ctl(&["audit", &drive.node()]);
        // In a pipe, path and difference are columns.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(code == DIFFERENT && text.contains(told), "{what}: {code}, {text}");
        put(file, 0, &before);
    }
    let (code, text) = rig.ctl(&["audit", &drive.node()]);
    assert_eq!(code, SAME, "{text}");
}

/// Nothing may be added to a file.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn what_is_added_to_files_is_told() {
    let imaged = Imaged::with([file("plain", "x"), file("known", "y").object_id(&[5; 16])]);
    imaged.is(SAME, &[]);
    let (_, offset, size) = partitions(&imaged.record)[2].clone();
    let mount = imaged.rig.path("mount");
    std::fs::create_dir(&mount).unwrap();
    // One entry of `struct FILE_FULL_EA_INFORMATION`: its length, no flags, the lengths of name and value, both.
    let extended: &[u8] = b"\x10\0\0\0\0\x03\x04\0KEY\0VALU";
    for (attribute, value, told) in [
        ("system.ntfs_ea", extended, "has extended attributes"),
        ("system.ntfs_object_id", &[1; 16], "the object ID differs"),
    ] {
        let before = imaged.drive.contents();
        let (offset, size) = (offset.to_string(), size.to_string());
        let file = imaged.drive.file.to_str().unwrap();
        let node = attach(file, &["--offset", &offset, "--sizelimit", &size]);
        run("ntfs-3g", &[&node, mount.to_str().unwrap()]);
        let path = mount.join("plain");
        rustix::fs::setxattr(&path, attribute, value, XattrFlags::empty()).unwrap();
        run("umount", &[mount.to_str().unwrap()]);
        run("losetup", &["-d", &node]);
        imaged.is(DIFFERENT, &[told]);
        put(file, 0, &before);
    }
    imaged.is(SAME, &[]);
}
