//! Media made to do harm. Every file in the inbox gets an answer, and other media stay usable.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use macro_rules_attribute::apply;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::harness::wim::{FIELDS, Raw, intake};
use crate::harness::{Rig, Setup, wait_for};

/// Makes a small WIM of uncompressed files, in a folder of its own.
fn small() -> (tempfile::TempDir, Raw) {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("dirdir")).unwrap();
    for name in ["xx", "a.b", "dirdir/in.txt", "one", "onf", "x1", "end1"] {
        fs::write(tree.join(name), format!("data of {name}")).unwrap();
    }
    fs::write(tree.join("zeros"), vec![0; 100_000]).unwrap();
    let wim = Raw::capture(&tree, &folder.path().join("small.wim"), &["--compress=none"]);
    (folder, wim)
}

/// Writes a WIM to a file and lets an intake worker read it.
fn read(folder: &Path, wim: &Raw) -> Value {
    let path = folder.join("x.wim");
    fs::write(&path, &wim.0).unwrap();
    intake(&path, 1, false)
}

/// Returns the media in a worker's answer, if the worker found no problem.
fn valid(answer: &Value) -> Option<&Value> {
    let media = answer["done"].get("media")?;
    (media["problems"] == serde_json::json!([])).then_some(media)
}

/// Returns the codes of all problems in a worker's answer.
fn codes(answer: &Value) -> Vec<&str> {
    if let Some(code) = answer["failed"]["code"].as_str() {
        assert_ne!(answer["failed"]["detail"], "");
        return vec![code];
    }
    let problems = answer["done"]["media"]["problems"].as_array();
    problems.into_iter().flatten().map(|problem| problem["code"].as_str().unwrap()).collect()
}

#[apply(test!)]
fn a_wrong_header_is_refused_or_changes_nothing() {
    let (folder, good) = small();
    let answer = read(folder.path(), &good);
    let expected = valid(&answer).unwrap();
    for (name, at, length) in FIELDS {
        let is = good.get(at, length);
        let all = u64::MAX >> (64 - 8 * length);
        let top = 1 << (8 * length - 1);
        for value in [0, all, top, is.wrapping_add(1) & all, is.wrapping_sub(1) & all] {
            let mut bad = good.clone();
            bad.put(at, length, value);
            let answer = read(folder.path(), &bad);
            // libwim ignores some fields. Then the worker must have read the same as without the change.
            if let Some(media) = valid(&answer) {
                for part in ["inventory", "images"] {
                    assert_eq!(media[part], expected[part], "{name} = {value:#x}");
                }
            } else {
                assert!(!codes(&answer).is_empty(), "{name} = {value:#x}: {answer}");
            }
        }
    }
}

#[apply(test!)]
fn what_is_cut_off_or_claims_other_sizes_is_refused() {
    let (folder, good) = small();
    let size = good.0.len();
    for length in [0, 1, 8, 100, 207, 208, 209, size / 2, size - 600, size - 1] {
        let answer = read(folder.path(), &Raw(good.0[..length].to_vec()));
        assert_eq!(codes(&answer), ["wim_damaged"], "cut to {length} of {size} bytes: {answer}");
    }
    let memory = rustix::system::sysinfo();
    let memory = memory.totalram * u64::from(memory.mem_unit);
    for entry in good.entries() {
        let is = good.get(entry + 16, 8);
        for claim in [0, is - 1, is + 1, memory / 4 * 3, 1 << 40, 1 << 52, u64::MAX] {
            for kind in [0, 4] {
                let mut bad = good.clone();
                bad.put(entry, 7, claim.min(1 << 55));
                bad.put(entry + 16, 8, claim);
                // Once uncompressed, and once as a compressed resource, which may be smaller in the file.
                bad.0[entry + 7] |= kind;
                if kind != 0 {
                    bad.put(entry, 7, is);
                }
                let answer = read(folder.path(), &bad);
                let codes = codes(&answer);
                assert!(
                    !codes.is_empty()
                        && !codes
                            .iter()
                            .any(|code| ["worker_failed", "check_failed"].contains(code)),
                    "{claim}: {answer}"
                );
                if entry == good.entries()[0] && claim == memory / 4 * 3 {
                    let said = answer.to_string();
                    assert!(said.contains("memory"), "no room for so much metadata: {said}");
                }
            }
        }
    }
}

#[apply(test!)]
fn xml_forges_nothing() {
    let (folder, good) = small();
    let xml = good.xml();
    let named = |name: &str| xml.replace("Small", name);
    let bomb: String = (1..12)
        .map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10)))
        .collect();
    for bad in [
        String::new(),
        xml.replace("INDEX=\"1\"", "INDEX=\"4294967295\""),
        xml.replace("INDEX=\"1\"", "INDEX=\"-1\""),
        xml.replace("</NAME>", ""),
        xml.replace("</IMAGE>", "</IMAGE><IMAGE INDEX=\"1\"></IMAGE>"),
        format!("<!DOCTYPE WIM [<!ENTITY e0 \"x\">{bomb}]>{}", named("&e11;")),
        named(&("<A>".repeat(100_000) + &"</A>".repeat(100_000))),
        named("\u{1b}[2J"),
    ] {
        let answer = read(folder.path(), &good.with_xml(&bad));
        assert_eq!(codes(&answer), ["wim_damaged"], "{}", &bad[..bad.len().min(300)]);
    }
    let secret = folder.path().join("secret");
    fs::write(&secret, "top secret").unwrap();
    let entity = format!("<!DOCTYPE WIM [<!ENTITY e SYSTEM \"file://{}\">]>", secret.display());
    let most = "n".repeat(256);
    for (bad, name) in [
        (named("A\nB\r\tC\u{85}\u{9b}2J\"'&lt;"), "A?B??C??2J\"'<"),
        (named(&"n".repeat(2_000_000)), most.as_str()),
        (entity + &named("&e;"), ""),
        (xml.replace("<TOTALBYTES>", "<TOTALBYTES>99999999999999999999"), "Small"),
    ] {
        let answer = read(folder.path(), &good.with_xml(&bad));
        let media = valid(&answer).unwrap_or_else(|| panic!("{name}: {answer}"));
        assert_eq!(media["images"][0]["name"], name);
    }
}

#[apply(test!)]
fn names_that_lead_elsewhere_are_refused_or_left_out() {
    let (folder, good) = small();
    for (old, new) in [
        ("a.b", "a/b"),
        ("a.b", "a\\b"),
        ("a.b", "a:b"),
        ("a.b", "a\nb"),
        ("a.b", "\u{1b}[m"),
        ("dirdir", "..\\../"),
        ("dirdir", "../../"),
    ] {
        let answer = read(folder.path(), &good.renamed(old, new));
        assert_eq!(codes(&answer), ["names_invalid"], "{new:?}");
        let root = answer["done"]["media"]["inventory"]["root"].to_string();
        assert!(!root.contains("\\n") && !root.contains("\\u"), "{root}");
    }
    // libwim drops some of these without a word.
    for (old, new, code) in [
        ("xx", "..", "names_invalid"),
        ("a.b", "a\0b", "names_invalid"),
        ("onf", "one", "names_twice"),
        ("onf", "ONE", "names_twice"),
    ] {
        let answer = read(folder.path(), &good.renamed(old, new));
        assert_eq!(codes(&answer), [code], "{new:?}: {answer}");
    }
    for (old, new) in [("x1", "x."), ("x1", "x "), ("a.b", "NUL"), ("end1", "\"'$`")] {
        let answer = read(folder.path(), &good.renamed(old, new));
        let media = valid(&answer).unwrap_or_else(|| panic!("{new:?}: {answer}"));
        let root = media["inventory"]["root"].as_array().unwrap();
        assert_eq!(root.iter().filter(|found| *found == new).count(), 1, "{new:?}: {root:?}");
    }
}

/// The station unpacks and reads boot files: a link among them must not lead to the station's own files.
#[apply(test!)]
fn links_in_media_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let fifo = folder.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (link, target) in [
        ("EFI/Microsoft/Boot/BCD", "/dev/zero"),
        ("Windows/Boot/EFI/bootmgfw.efi", fifo.to_str().unwrap()),
        ("sources/boot.wim", fifo.to_str().unwrap()),
        ("EFI/Boot", "/dev"),
    ] {
        let path = tree.join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }
    let path = folder.path().join("links.wim");
    Raw::capture(&tree, &path, &[]);
    let answer = intake(&path, 1, true);
    let codes = codes(&answer);
    for code in ["boot_files_missing", "bcd_missing", "boot_image_damaged"] {
        assert!(codes.contains(&code), "{code}: {answer}");
    }
}

/// A boot.wim that claims to be huge does not fill the station's disk.
#[apply(test!)]
fn boot_files_without_end_are_not_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("sources")).unwrap();
    fs::write(tree.join("sources/boot.wim"), "MSWIM").unwrap();
    let path = folder.path().join("large.wim");
    let mut wim = Raw::capture(&tree, &path, &["--compress=none"]);
    let entry = wim.entries()[1];
    wim.put(entry, 7, 1 << 52);
    wim.put(entry + 16, 8, 1 << 52);
    fs::write(&path, &wim.0).unwrap();
    let answer = intake(&path, 1, true);
    assert_eq!(codes(&answer), ["wim_damaged", "unpack_failed"], "{answer}");
}

#[apply(test!)]
fn a_thousand_images_are_counted_not_listed() {
    let (folder, good) = small();
    let path = folder.path().join("many.wim");
    fs::write(&path, good.multiplied(1500).0).unwrap();
    let answer = intake(&path, 1500, false);
    let media = valid(&answer).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(media["images"].as_array().unwrap().len(), 256);
    let answer = intake(&path, 1501, false);
    assert_eq!(codes(&answer), ["image_missing"]);
    assert!(answer.to_string().contains("1500 images, none with index 1501"), "{answer}");
}

/// Checks that a text holds no control characters: they could move the cursor, forge a line or change the terminal.
fn assert_printable(what: &str, text: &str) {
    let bad = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(bad, None, "{what}: {text:?}");
}

#[apply(test!)]
#[needs(LOOP)]
fn an_inbox_full_of_traps_harms_nothing() {
    let rig = Rig::new(Setup::default().content_only());
    let (_folder, good) = small();
    let inbox = rig.path("inbox");
    let names: [&[u8]; 7] = [
        b"new\nline.wim",
        b"quo\"te'$(id)`id`.wim",
        b"\x1b[2J\x1b]0;title\x07.wim",
        "c1\u{9b}2J.wim".as_bytes(),
        b"--json.wim",
        &[&[b'n'; 251], &b".wim"[..]].concat(),
        b"latin1\xff.wim",
    ];
    // Each file is the first part of a split set whose other parts are missing.
    let mut part = good.clone();
    part.put(42, 2, 0xffff);
    for name in names {
        fs::write(inbox.join(OsStr::from_bytes(name)), &part.0).unwrap();
    }
    let mut damaged = good.clone();
    let entry = damaged.entries()[0];
    damaged.put(entry + 16, 8, 7);
    fs::write(inbox.join("dam\naged\u{1b}[m.wim"), &damaged.0).unwrap();
    fs::write(inbox.join("control.wim"), &good.renamed("a.b", "\u{1b}[m").0).unwrap();
    fs::write(inbox.join("zero.wim"), "").unwrap();
    fs::create_dir(inbox.join("folder.wim")).unwrap();
    for name in ["fifo.wim", "fifo.swm"] {
        mknodat(CWD, inbox.join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    symlink("loop.wim", inbox.join("loop.wim")).unwrap();
    symlink("/dev/zero", inbox.join("endless.wim")).unwrap();
    rig.start();
    let list = || rig.json(&["media", "list"]).as_array().unwrap().clone();
    wait_for("everything to be read", || {
        let all = list();
        (all.len() >= names.len() + 3 && all.iter().all(|m| m["state"] != "checking")).then_some(())
    });
    assert_eq!(list().len(), names.len() + 3, "folders, FIFOs and links to nowhere are no media");
    for media in list() {
        assert_eq!(media["state"], "invalid", "{media:#}");
        assert!(media["problems"][0]["detail"].as_str().unwrap().len() < 4096);
        let name = media["name"].as_str().unwrap();
        assert_printable("name", name);
        let text = rig.ctl_ok(&["media", "show", "--", name]);
        assert_printable(name, &text);
        assert!(text.contains("PROBLEM"), "{text}");
    }
    let good_path = rig.path("good.wim");
    fs::write(&good_path, &good.0).unwrap();
    rig.add_media(&good_path, "good.wim");
    rig.wait_media("good.wim", "valid");
    let drive = rig.attached("A", 160, 512);
    assert_eq!(rig.wait_pass(&drive.serial)["media"]["name"], "good.wim");
    let arguments = ["image", &drive.node(), "--media", "control.wim"];
    rig.ctl_fails(2, &arguments);
    for arguments in [
        &["media", "list"][..],
        &["status"],
        &["drives"],
        &["master", "list"],
        &["records"],
        &["records", "--csv"],
        &["--json", "status"],
        &["--json", "records"],
    ] {
        let text = rig.ctl_ok(arguments);
        assert_printable(&arguments.join(" "), &text);
    }
    assert_printable("log", &rig.log());
}

/// A file of a few megabytes can take hours to decompress. The station gives it up as soon as an operator removes it.
#[apply(test!)]
#[needs(LOOP)]
fn a_bomb_can_be_taken_out_of_the_inbox() {
    let rig = Rig::new(Setup::default().content_only());
    let (_folder, good) = small();
    let tree = rig.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("zeros"), vec![0; 4 << 20]).unwrap();
    let options = ["--compress=LZX", "--chunk-size=2097152"];
    let bomb = Raw::capture(&tree, &rig.path("bomb.wim"), &options).inflated(2 << 20, 1 << 19);
    fs::write(rig.path("inbox/bomb.wim"), &bomb.0).unwrap();
    rig.start();
    wait_for("the bomb to be read", || {
        (rig.json(&["media", "list"])[0]["state"] == "checking").then_some(())
    });
    fs::write(rig.path("good.wim"), &good.0).unwrap();
    rig.add_media(&rig.path("good.wim"), "good.wim");
    wait_for("the other media to wait", || {
        (rig.json(&["media", "list"])[1]["state"] == "checking").then_some(())
    });
    fs::remove_file(rig.path("inbox/bomb.wim")).unwrap();
    rig.wait_media("good.wim", "valid");
}
