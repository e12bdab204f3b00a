//! Files without a security descriptor, as everything is that was added to a WIM on Linux: what they get on the drive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use macro_rules_attribute::apply;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::{Value, json};

use crate::harness::odd_wim::security::{SYSTEM, USERS, ace, acl, descriptor, plain};
use crate::harness::odd_wim::{Entry, OddWim, file, folder};
use crate::harness::sample::run;
use crate::harness::wim::intake;
use crate::harness::{Drive, Rig, Setup, attach, partitions, wait_for};

const ADMINISTRATORS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
const ALL: u32 = 0x1f_01ff;
const READ: u32 = 0x12_00a9;
/// Passed on to files and folders.
const ON: u8 = 3;
/// Was passed on.
const INHERITED: u8 = 0x10;

/// A descriptor of the system with these entries of who may do what; `marked` as Windows marks what it passes on.
fn secured(marked: bool, entries: &[(&[u8], u32, u8)]) -> Vec<u8> {
    let entries: Vec<_> =
        entries.iter().map(|(sid, mask, flags)| ace(0, *flags, *mask, sid)).collect();
    let mut bytes = descriptor(Some(SYSTEM), Some(SYSTEM), Some(&acl(&entries)));
    if marked {
        bytes[3] |= 4;
    }
    bytes
}

/// What a test expects of a descriptor: owner, group, and who may do what with which flags.
fn expected(entries: &[(&[u8], u32, u8)]) -> Value {
    let all: Vec<_> = entries.iter().map(|(sid, mask, flags)| json!([sid, mask, flags])).collect();
    json!({ "owner": ADMINISTRATORS, "group": SYSTEM, "entries": all })
}

/// The same of a descriptor on a volume.
fn read(descriptor: &[u8]) -> Value {
    let word = |at: usize| u32::from_le_bytes(descriptor[at..at + 4].try_into().unwrap());
    let sid = |at: usize| &descriptor[at..at + 8 + 4 * usize::from(descriptor[at + 1])];
    let place = |at: usize| usize::try_from(word(at)).unwrap();
    let list = place(16);
    let mut at = list + 8;
    let mut all = Vec::new();
    for _ in 0..descriptor[list + 4] {
        all.push(json!([sid(at + 8), word(at + 4), descriptor[at + 1]]));
        at += usize::from(descriptor[at + 2]);
    }
    json!({ "owner": sid(place(4)), "group": sid(place(8)), "entries": all })
}

/// The Windows volume of a drive, mounted by ntfs-3g; unmounted when dropped.
struct Mounted {
    device: String,
    folder: PathBuf,
}

impl Mounted {
    /// The station must not be armed: to it, the volume's device is a drive.
    fn of(rig: &Rig, drive: &Drive, record: &Value, options: &str) -> Self {
        rig.ctl_ok(&["disarm"]);
        let (_, offset, size) = partitions(record)[2];
        let (offset, size) = (offset.to_string(), size.to_string());
        let device =
            attach(drive.file.to_str().unwrap(), &["--offset", &offset, "--sizelimit", &size]);
        let folder = rig.path("mounted");
        fs::create_dir_all(&folder).unwrap();
        run("ntfs-3g", &["-o", options, &device, folder.to_str().unwrap()]);
        Self { device, folder }
    }

    fn descriptor(&self, path: &str) -> Vec<u8> {
        let mut data = vec![0; 4096];
        let length = getxattr(self.folder.join(path), "system.ntfs_acl", &mut data[..]).unwrap();
        data.truncate(length);
        data
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

/// Images a drive with this media, and audits it.
fn imaged(rig: &Rig, wim: &OddWim, name: &str) -> (Drive, Value) {
    let path = rig.path(name);
    wim.write(&path);
    rig.add_media(&path, name);
    wait_for("the media to be seen", || {
        rig.json(&["media", "list"]).to_string().contains(name).then_some(())
    });
    let media = rig.wait_media(name, "valid");
    assert_eq!(media["warnings"][0]["code"], "no_security_descriptor", "{media:#}");
    let drive = rig.attached(name.strip_suffix(".wim").unwrap(), 420, 512);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!(record["warnings"], json!([]), "{record:#}");
    rig.ctl_ok(&["audit", &drive.node()]);
    (drive, record)
}

#[apply(test!)]
#[needs(LOOP)]
fn what_has_no_descriptor_gets_what_its_folder_passes_on() {
    let rig = Rig::new(Setup::default().content_only());
    rig.start();
    let root = secured(true, &[(SYSTEM, ALL, ON), (USERS, READ, ON)]);
    let linked = |name: &str| file(name, "linked").unsecured().linked(3);
    let package = folder(
        "PRE00001",
        [
            file("setup.exe", "setup").unsecured().stream("Zone.Identifier", "zone"),
            file([0xd83d, u16::from(b'!')], "half of a pair").unsecured(),
            folder("deeper", [file("empty", "").unsecured()]).unsecured(),
            linked("one"),
        ],
    )
    .unsecured();
    let entries: Vec<Entry> = vec![
        folder("_SMSTaskSequence", [folder("Packages", [package]).unsecured()]).unsecured(),
        folder("SMS", [folder("data", [file("variables.dat", "secret").unsecured()])]),
        folder("~open", [file("in", "in").unsecured(), linked("two")])
            .secured(secured(false, &[(EVERYONE, ALL, ON)])),
        file("own", "own").secured(plain()),
        folder("junction", []).unsecured().reparse(0xa000_0003, {
            b"\x0c\0\x0a\0\0\0\x0c\0C\0:\0\\\0x\0y\0\0\0C\0:\0\\\0x\0y\0\0\0"
        }),
    ];
    let wim = OddWim::of_root(folder("", entries).secured(root));
    let (drive, record) = imaged(&rig, &wim, "A.wim");
    drive.detach();

    let mounted = Mounted::of(&rig, &drive, &record, "ro,permissions");
    let packages = "_SMSTaskSequence/Packages/PRE00001";
    let files = expected(&[(SYSTEM, ALL, INHERITED), (USERS, READ, INHERITED)]);
    let folders = expected(&[(SYSTEM, ALL, INHERITED | ON), (USERS, READ, INHERITED | ON)]);
    let closed = expected(&[(SYSTEM, ALL, 0), (ADMINISTRATORS, READ, 0)]);
    for (path, wanted) in [
        ("_SMSTaskSequence", &folders),
        (packages, &folders),
        (&format!("{packages}/setup.exe"), &files),
        (&format!("{packages}/deeper"), &folders),
        (&format!("{packages}/deeper/empty"), &files),
        // A file with several names gets what its first folder passes on, by the order of names.
        (&format!("{packages}/one"), &files),
        ("~open/two", &files),
        // The folder has a descriptor that passes nothing on.
        ("SMS/data/variables.dat", &closed),
        // Its folder says so.
        ("~open/in", &expected(&[(EVERYONE, ALL, 0)])),
    ] {
        let found = mounted.descriptor(path);
        assert_eq!(read(&found), *wanted, "{path}: {found:?}");
    }
    assert_eq!(mounted.descriptor("own"), plain());
    drop(mounted);

    // The comparison can fail: everybody gets the right to change one of them.
    let mounted = Mounted::of(&rig, &drive, &record, "permissions");
    let open = secured(false, &[(EVERYONE, ALL, ON)]);
    let changed = mounted.folder.join(packages).join("setup.exe");
    setxattr(&changed, "system.ntfs_acl", &open, XattrFlags::empty()).unwrap();
    drop(mounted);
    drive.attach(&["--sector-size", "512"]);
    // For a moment the station may still know the volume by this device, which it was attached to before.
    wait_for("an audit that finds the file", || {
        let (code, told) = rig.ctl(&["audit", &drive.node()]);
        (code == 1 && told.contains("setup.exe  the security descriptor differs")).then_some(())
    });
}

/// A whole folder of Linux.
#[apply(test!)]
#[needs(LOOP)]
fn a_root_without_a_descriptor_is_closed_to_users() {
    let rig = Rig::new(Setup::default().content_only());
    rig.start();
    let tree =
        [folder("Windows", [file("a", "a").unsecured()]).unsecured(), file("b", "b").unsecured()];
    let wim = OddWim::of_root(folder("", tree).unsecured());
    let (drive, record) = imaged(&rig, &wim, "B.wim");
    drive.detach();
    let mounted = Mounted::of(&rig, &drive, &record, "ro,permissions");
    let rights = |flags| {
        expected(&[(SYSTEM, ALL, flags), (ADMINISTRATORS, ALL, flags), (USERS, READ, flags)])
    };
    for (path, flags) in
        [("", ON), ("Windows", INHERITED | ON), ("Windows/a", INHERITED), ("b", INHERITED)]
    {
        assert_eq!(read(&mounted.descriptor(path)), rights(flags), "/{path}");
    }
}

/// The count is told, of files and not of their names.
#[apply(test!)]
fn what_has_no_descriptor_is_counted() {
    let work = tempfile::tempdir().unwrap();
    let judged = |wim: &OddWim| {
        let path: &Path = &work.path().join("x.wim");
        wim.write(path);
        intake(path, 1, false)["done"]["media"].clone()
    };
    let linked = |name: &str| file(name, "linked").unsecured().linked(3);
    let open = folder("open", [file("in", "in").unsecured()])
        .secured(secured(false, &[(EVERYONE, ALL, ON)]));
    let media = judged(&OddWim::of([linked("one"), linked("two"), open, file("own", "own")]));
    let warning = &media["warnings"][0];
    assert_eq!(warning["code"], "no_security_descriptor");
    let detail = warning["detail"].as_str().unwrap();
    assert!(detail.starts_with("2 files and folders have no security descriptor"), "{detail}");
    assert!(detail.ends_with("everybody may change 1 of them, as in their folders"), "{detail}");
    assert_eq!(judged(&OddWim::of([file("own", "own")]))["warnings"], json!([]));
}
