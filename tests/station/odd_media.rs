//! Media that no capture makes, written entry by entry: what intake says of it before any drive is judged.

use std::path::{Path, PathBuf};

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::odd_wim::{Entry, OddWim, file, folder, security};
use crate::harness::sample::run;
use crate::harness::wim::intake;

/// A medium in a folder of its own.
struct Medium {
    _folder: TempDir,
    path: PathBuf,
}

impl Medium {
    fn of(wim: &OddWim) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.wim");
        wim.write(&path);
        Self { _folder: folder, path }
    }

    /// What intake says of the content, without a layout that needs boot files.
    fn judged(&self) -> Value {
        intake(&self.path, 1, false)["done"]["media"].clone()
    }
}

/// What an independent reader says of a file.
fn listed(verb: &str, path: &Path, options: &[&str]) -> String {
    run("wimlib-imagex", &[&[verb, path.to_str().unwrap()], options].concat())
}

/// The writer of the tests itself: others read what it writes.
#[apply(test!)]
fn what_the_tests_write_is_a_wim() {
    let linked = |name: &str| file(name, "one file").linked(7);
    let mount_point = b"\x0c\0\x0a\0\0\0\x0c\0C\0:\0\\\0x\0y\0\0\0C\0:\0\\\0x\0y\0\0\0";
    let entries: Vec<Entry> = vec![
        folder("dir", [linked("first"), linked("second"), folder("empty", [])]),
        file("Long Name.txt", "text").short("LONGNA~1.TXT").stream("zone", "stream"),
        file([0xd83d, u16::from(b'!')], "").object_id(&[5; 16]),
        folder("junction", []).reparse(0xa000_0003, mount_point),
        file("both.bin", "data").reparse(0x8000_001b, b"data of a tag").attributes(0x420),
        file("bare", "x").unsecured(),
    ];
    let medium = Medium::of(&OddWim::of(entries).and([file("other", "image")]).boot(2));
    let info = listed("info", &medium.path, &[]);
    for line in ["Image Count:    2", "Boot Index:     2", "Directory Count:        4"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    listed("verify", &medium.path, &[]);
    let all = listed("dir", &medium.path, &["1", "--detailed"]);
    for line in ["/dir/second", "= \"LONGNA~1.TXT\"", "Named data stream \"zone\"", "0x8000001b"] {
        assert!(all.contains(line), "{line}: {all}");
    }
    let media = medium.judged();
    assert_eq!(media["problems"], json!([]), "{media:#}");
    let inventory = &media["inventory"];
    for (count, expected) in [
        ("directories", 4),
        ("files", 5),
        ("extra_links", 1),
        ("short_names", 1),
        ("named_streams", 1),
        ("reparse_points", 2),
        ("secured", 8),
    ] {
        assert_eq!(inventory[count], expected, "{count}: {inventory:#}");
    }
}

/// It also writes what is not so.
#[apply(test!)]
fn what_the_tests_write_may_lie() {
    let stranger = security::descriptor(None, Some(security::USERS), None);
    let entries = [file("a", "a").secured(stranger), file("gone", "").missing([7; 20])];
    let wim = OddWim::of_root(folder("", entries).times([1 << 57, 0, 1 << 58]));
    let medium = Medium::of(&wim.counts(70, 80).described("<WINDOWS><ARCH>9</ARCH></WINDOWS>"));
    let info = listed("info", &medium.path, &[]);
    for line in ["Directory Count:        70", "File Count:             80", "x86_64"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    let all = listed("dir", &medium.path, &["1", "--detailed"]);
    assert!(all.contains("0707070707070707070707070707070707070707"), "{all}");
    let media = medium.judged();
    assert_eq!(media["problems"][1]["code"], "wim_incomplete", "{media:#}");
}
