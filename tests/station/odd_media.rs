//! Media that no capture makes, written entry by entry: what intake says of it before any drive is judged.

use std::fs;
use std::path::{Path, PathBuf};

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::odd_wim::{Entry, OddWim, file, folder, security};
use crate::harness::sample::run;
use crate::harness::wim::{intake, intake_for, layout};
use crate::harness::{Rig, Setup, sample, wait_for};

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

/// Checks that intake has this one problem with media of these entries, and that the problem names all of this.
#[track_caller]
pub(crate) fn assert_problem(entries: impl Into<Vec<Entry>>, code: &str, named: &[&str]) {
    let media = Medium::of(&OddWim::of(entries)).judged();
    assert_one(&media, code, named);
}

#[track_caller]
fn assert_one(media: &Value, code: &str, named: &[&str]) {
    let problems = media["problems"].as_array().unwrap_or_else(|| panic!("{media:#}"));
    let codes: Vec<_> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    assert_eq!(codes, [code], "{named:?}: {problems:#?}");
    let detail = problems[0]["detail"].as_str().unwrap();
    for word in named {
        assert!(detail.contains(word), "{word}: {detail}");
    }
}

/// Checks that intake has no problem with media of these entries.
#[track_caller]
pub(crate) fn assert_valid(entries: impl Into<Vec<Entry>>) {
    let media = Medium::of(&OddWim::of(entries)).judged();
    assert_eq!(media["problems"], json!([]), "{media:#}");
}

/// Reparse points that libntfs-3g does not set, and some that it does.
#[apply(test!)]
fn reparse_points_are_tried() {
    let tagged = |tag, attributes, data: &[u8]| {
        [folder("d", [file("odd", "").reparse(tag, data).attributes(attributes)])]
    };
    for tag in [0x8000_0023, 0x8000_0024, 0x8000_0025, 0x8000_0026] {
        assert_problem(tagged(tag, 0x4_0420, b""), "not_applicable", &["/d/odd", "reparse"]);
    }
    // A junction must say how long its names are; a tag that is not Microsoft's begins with a GUID.
    assert_problem(tagged(0xa000_0003, 0x410, b"\x01"), "not_applicable", &["/d/odd"]);
    assert_problem(tagged(0x0000_0017, 0x420, b"short"), "not_applicable", &["/d/odd"]);
    assert_valid(tagged(0x8000_001b, 0x420, b"\x03\0\0\0"));
    assert_valid(tagged(0x8000_0017, 0x420, b"\x01\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0"));
}

#[apply(test!)]
fn security_descriptors_are_tried() {
    use security::{SYSTEM, USERS, ace, acl, descriptor, plain};
    let dacl = acl(&[ace(0, 0, 0x1f_01ff, SYSTEM)]);
    let secured = |descriptor: &[u8]| [folder("d", [file("odd", "1").secured(descriptor)])];
    let mut revised = plain();
    revised[0] = 2;
    let mut beyond = plain();
    beyond[16] = 0xf0;
    for odd in [
        // Without owner and group, or without one of them.
        descriptor(None, None, Some(&dacl)),
        descriptor(None, Some(SYSTEM), Some(&dacl)),
        descriptor(Some(USERS), None, Some(&dacl)),
        [plain(), vec![0; 12]].concat(),
        revised,
        // A list that lies beyond the end; one that is cut off; and nothing at all.
        beyond,
        plain()[..24].to_vec(),
        Vec::new(),
    ] {
        assert_problem(secured(&odd), "not_applicable", &["/d/odd", "security descriptor"]);
    }
    assert_valid(secured(&descriptor(Some(USERS), Some(SYSTEM), None)));
    assert_valid(secured(&descriptor(Some(USERS), Some(SYSTEM), Some(&acl(&[])))));
}

#[apply(test!)]
fn names_that_a_volume_refuses_are_tried() {
    let long = |units: usize| [folder("d", [file("n".repeat(units), "1")])];
    assert_problem([file("$MFT", "1")], "names_twice", &["/$MFT", "volume's own"]);
    assert_problem([file("$Bitmap", "1")], "names_twice", &["/$Bitmap"]);
    assert_problem([folder("$Extend", [])], "names_twice", &["/$Extend"]);
    assert_valid([folder("d", [file("$MFT", "1"), file("$Bitmap", "1")])]);
    for units in [256, 300, 512, 600] {
        assert_problem(long(units), "names_invalid", &["/d/nnn", "255"]);
    }
    assert_valid(long(255));
    let taken = [file("PROGRA~1", "1"), folder("Program Files", []).short("PROGRA~1")];
    assert_problem(taken, "names_twice", &["PROGRA~1"]);
    let both = [file("first one", "1").short("FIRST~1"), file("first two", "2").short("FIRST~1")];
    assert_problem(both, "names_twice", &["/first two"]);
    let stream = |units: usize| [file("w", "1").stream("n".repeat(units), "1")];
    for units in [256, 300, 512] {
        assert_problem(stream(units), "names_invalid", &["/w:nnn"]);
    }
    assert_problem([file("w", "").stream("a:b", "1")], "names_invalid", &["/w:a:b"]);
    for other in ["s", "S"] {
        let twice = file("w", "").stream("s", "1").stream(other, "2");
        assert_problem([twice], "names_twice", &["/w:", "stream"]);
    }
    assert_valid(stream(255));
}

/// Names as Windows knows them: in UTF-16, which may be broken, and whatever their case.
#[apply(test!)]
fn names_are_judged_without_loss() {
    let half =
        |rest: &str| -> Vec<u16> { [0xd800].into_iter().chain(rest.encode_utf16()).collect() };
    for bad in ["/evil", "\\evil", ":evil", "\u{1}evil"] {
        assert_problem([file(half(bad), "1")], "names_invalid", &["1 files"]);
    }
    let low = [0xdc00, u16::from(b':')];
    assert_problem([folder("d", [folder(low, [])])], "names_invalid", &["/d/"]);
    assert_valid([file(half("fine"), "1"), folder([0xdc00], [file([0xd83d], "2")])]);
    for name in ["..", "."] {
        assert_problem([folder("d", [file(name, "1")])], "names_invalid", &["/d/", "\"..\""]);
    }
    assert_problem([folder("d", [file("", "1")])], "names_invalid", &["/d/"]);
    assert_problem([file("a\0b", "1")], "names_invalid", &["1 files"]);
}

#[apply(test!)]
fn names_twice_in_a_folder_are_told() {
    let same = [file("same.txt", "first"), file("same.txt", "second")];
    assert_problem(same, "names_twice", &["/same.txt, which is there twice"]);
    let folders = [folder("d", [file("x", "1")]), folder("d", [file("y", "2")])];
    assert_problem(folders, "names_twice", &["/d, which is there twice"]);
    let three = [folder("d", ["a", "a", "A"].map(|name| file(name, name)))];
    assert_problem(three, "names_twice", &["2 files", "/d/a"]);
    let case = [folder("d", [file("Read.me", "1"), file("README", "2"), file("read.ME", "3")])];
    assert_problem(
        case,
        "names_twice",
        &["/d/read.ME, which differs from /d/Read.me only in case"],
    );
    let umlauts = [file("stra\u{df}e \u{e4}", "1"), file("STRA\u{df}E \u{c4}", "2")];
    assert_problem(umlauts, "names_twice", &["only in case"]);
    let links = [file("link", "1").linked(3), file("LINK", "1").linked(3)];
    assert_problem(links, "names_twice", &["/LINK"]);
    // NTFS has no capital for a dotless i, and knows the Kelvin sign from a K.
    assert_valid([file("i", "1"), file("\u{131}", "2"), file("k", "3"), file("\u{212a}", "4")]);
    assert_valid([folder("a", [file("x", "1")]), folder("b", [file("X", "2")])]);
}

/// The boot files of sample media, as the entries of an image, with more below `\EFI`.
fn bootable(below_efi: impl Into<Vec<Entry>>) -> Vec<Entry> {
    let extracted = tempfile::tempdir().unwrap();
    let [manager, bcd, boot_wim, boot_sdi] = [
        "/Windows/Boot/EFI/bootmgfw.efi",
        "/EFI/Microsoft/Boot/BCD",
        "/sources/boot.wim",
        "/boot/boot.sdi",
    ]
    .map(|path| {
        let destination = format!("--dest-dir={}", extracted.path().display());
        listed("extract", &sample(&["--compress=LZX"]), &["1", path, "--no-acls", &destination]);
        fs::read(extracted.path().join(path.rsplit('/').next().unwrap())).unwrap()
    });
    let mut efi = below_efi.into();
    efi.push(folder("Microsoft", [folder("Boot", [file("BCD", bcd)])]));
    let windows = folder("Boot", [folder("EFI", [file("bootmgfw.efi", manager)])]);
    vec![
        folder("EFI", efi),
        folder("Windows", [windows]),
        folder("sources", [file("boot.wim", boot_wim)]),
        folder("boot", [file("boot.sdi", boot_sdi)]),
    ]
}

/// What intake says of media of which a layout needs the boot files, with an ESP of so many mebibytes.
fn judged_for_esp(entries: Vec<Entry>, mebibytes: u32) -> Value {
    let medium = Medium::of(&OddWim::of(entries));
    intake_for(&medium.path, 1, &layout("prestaged", mebibytes))["done"]["media"].clone()
}

#[apply(test!)]
#[needs(LOOP)]
fn boot_files_must_fit_onto_the_esp() {
    let recovery =
        |mib: usize| bootable([folder("OEM", [file("recovery.bin", vec![7; mib << 20])])]);
    for (mib, esp) in [(45, 40), (120, 100), (40, 40)] {
        let media = judged_for_esp(recovery(mib), esp);
        let sizes =
            ["the boot files take ", " bytes on the EFI system partition, which has room for "];
        assert_one(&media, "esp_too_small", &sizes);
        let hint = media["problems"][0]["hint"].as_str().unwrap();
        assert!(hint.contains("layout"), "{hint}");
        let detail = media["problems"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("the largest are \\EFI\\OEM\\recovery.bin ("), "{detail}");
        // The size that it names is enough.
        let words = hint.split(' ').collect::<Vec<_>>();
        let place = words.iter().position(|word| *word == "MiB").unwrap();
        let enough = words[place - 1].parse::<u32>().unwrap();
        let entries = recovery(mib);
        assert_eq!(judged_for_esp(entries, enough)["problems"], json!([]), "{hint}");
    }
    assert_eq!(judged_for_esp(recovery(30), 40)["problems"], json!([]));
    assert_eq!(judged_for_esp(recovery(45), 64)["problems"], json!([]));
    // What is not to be laid out may be of any size.
    let mut elsewhere = bootable([]);
    elsewhere.push(folder("OEM", [file("recovery.bin", vec![7; 45 << 20])]));
    assert_eq!(judged_for_esp(elsewhere, 40)["problems"], json!([]));
}

#[apply(test!)]
#[needs(LOOP)]
fn names_of_boot_files_must_fit_onto_fat() {
    for name in ["what?", "star*.efi", "dot.", "quote\".txt", "con", "grin\u{1f600}.txt"] {
        let media = judged_for_esp(bootable([folder("OEM", [file(name, "1")])]), 40);
        assert_one(&media, "esp_names_invalid", &[&format!("{name:?}")]);
    }
    let half: Vec<u16> = vec![0x41, 0xd800];
    let media = judged_for_esp(bootable([folder("OEM", [file(half, "1")])]), 40);
    assert_one(&media, "esp_names_invalid", &["A\u{fffd}"]);
    let fine = [
        "\u{fc}ber acht Zeichen.txt",
        "a b.c.d",
        "\u{65e5}\u{672c}",
        "A~1",
        "\u{fc}.txt",
        "\u{dc}2.txt",
        "\u{df}.txt",
    ];
    let media = judged_for_esp(bootable(fine.map(|name| file(name, "1"))), 40);
    assert_eq!(media["problems"], json!([]));
}

/// Names that FAT takes for one, though NTFS does not, or that one of two files has as its short name.
#[apply(test!)]
#[needs(LOOP)]
fn boot_files_that_fat_takes_for_one_are_told() {
    for (first, second) in [
        ("\u{212a}.txt", "k.txt"),
        ("\u{17f}.txt", "s.txt"),
        ("\u{131}.txt", "i.txt"),
        ("\u{3c2}.txt", "\u{3a3}.txt"),
        ("longfi~1.txt", "longfilename.txt"),
    ] {
        let both = [file(first, "first"), file(second, "second")];
        let media = judged_for_esp(bootable([folder("OEM", both)]), 40);
        let named = [format!("{first:?}"), format!("{second:?}")];
        assert_one(&media, "esp_names_invalid", &named.each_ref().map(String::as_str));
        let detail = media["problems"][0].to_string();
        assert!(!detail.contains("mcopy") && !detail.contains("/tmp"), "{detail}");
    }
}

/// A split set of three parts, as `m.swm`, `m2.swm` and `m3.swm` in a folder of its own.
fn split_set() -> TempDir {
    let set = tempfile::tempdir().unwrap();
    let whole = set.path().join("whole");
    let mut noise = fastrand::Rng::with_seed(9);
    let files: Vec<Entry> = (0..12)
        .map(|number| {
            let data: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(700_000).collect();
            file(format!("f{number}.bin"), data)
        })
        .collect();
    OddWim::of([folder("d", files)]).write(&whole);
    let first = set.path().join("m.swm");
    listed("split", &whole, &[first.to_str().unwrap(), "3"]);
    fs::remove_file(whole).unwrap();
    assert_eq!(fs::read_dir(set.path()).unwrap().count(), 3);
    set
}

/// Damages a file in the middle of its contents.
fn damage(path: &Path) {
    let mut data = fs::read(path).unwrap();
    data[1_000_000..1_004_096].fill(0);
    fs::write(path, data).unwrap();
}

/// Names of parts have a rule, and who does not follow it is told.
#[apply(test!)]
fn parts_with_other_names_are_told() {
    for names in [["m.wim", "m2.wim", "m3.wim"], ["m.swm", "m2.WIM", "m3.Wim"]] {
        let set = split_set();
        for (old, new) in ["m.swm", "m2.swm", "m3.swm"].into_iter().zip(names) {
            fs::rename(set.path().join(old), set.path().join(new)).unwrap();
        }
        let media = intake(&set.path().join(names[0]), 1, false)["done"]["media"].clone();
        let second = format!("{} is part 2", names[1]);
        let third = format!("{} is part 3", names[2]);
        assert_one(&media, "split_part_missing", &["part 2, 3 of 3", ".swm", &second, &third]);
        let hint = media["problems"][0]["hint"].as_str().unwrap();
        assert!(hint.starts_with("rename the parts"), "{hint}");
    }
    let set = split_set();
    fs::rename(set.path().join("m3.swm"), set.path().join("m3.wim")).unwrap();
    let media = intake(&set.path().join("m.swm"), 1, false)["done"]["media"].clone();
    assert_one(&media, "split_part_missing", &["part 3 of 3", "m3.wim is part 3"]);
    fs::write(set.path().join("m3.swm"), "no WIM at all").unwrap();
    let media = intake(&set.path().join("m.swm"), 1, false)["done"]["media"].clone();
    assert_one(&media, "split_part_missing", &["no part can be read in m3.swm"]);
}

/// Of two copies of a part the sound one is taken, whatever its name, and the other is named.
#[apply(test!)]
fn copies_of_parts_are_told() {
    let judged =
        |set: &TempDir| intake(&set.path().join("m.swm"), 1, false)["done"]["media"].clone();
    for (copy, bad) in
        [("zcopy.swm", "zcopy.swm"), ("acopy.swm", "acopy.swm"), ("zcopy.swm", "m2.swm")]
    {
        let set = split_set();
        fs::copy(set.path().join("m2.swm"), set.path().join(copy)).unwrap();
        damage(&set.path().join(bad));
        let media = judged(&set);
        assert_eq!(media["problems"], json!([]), "{media:#}");
        assert_eq!(media["warnings"][0]["code"], "split_part_copies", "{media:#}");
        let detail = media["warnings"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{bad}, which is damaged")), "{detail}");
    }
    let set = split_set();
    fs::copy(set.path().join("m3.swm"), set.path().join("b.swm")).unwrap();
    let media = judged(&set);
    assert_eq!(media["problems"], json!([]), "{media:#}");
    let detail = media["warnings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("b.swm is used, not m3.swm"), "{detail}");
    damage(&set.path().join("b.swm"));
    damage(&set.path().join("m3.swm"));
    assert_one(&judged(&set), "wim_damaged", &["verify", "/b.swm"]);
    fs::remove_file(set.path().join("b.swm")).unwrap();
    assert_one(&judged(&set), "wim_damaged", &["verify", "/m3.swm"]);
}

/// What the XML counts is compared with what is there.
#[apply(test!)]
fn counts_that_lie_are_told() {
    let entries = || vec![folder("d", [file("a", "1").linked(4), file("b", "1").linked(4)])];
    let warned = |wim: OddWim| {
        let media = Medium::of(&wim).judged();
        assert_eq!(media["problems"], json!([]), "{media:#}");
        media["warnings"].clone()
    };
    let plain = OddWim::of(entries());
    assert_eq!(warned(plain.clone()), json!([]));
    assert_eq!(warned(plain.clone().counts(1, 2)), json!([]), "the root need not be counted");
    for (folders, files) in [(2, 3), (1, 1), (9, 2), (0, 2), (0, 0)] {
        let warnings = warned(plain.clone().counts(folders, files));
        assert_eq!(warnings[0]["code"], "counts_differ", "{warnings:#}");
        let detail = warnings[0]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{folders} folders and {files} files")), "{detail}");
    }
}

/// What libwim only warns of, and a drive would not have, is no less a problem.
#[apply(test!)]
fn what_a_drive_would_not_have_is_told() {
    let same = |name: &str| file(name, name).object_id(&[9; 16]);
    assert_problem([same("a"), same("b")], "not_applicable", &["/b", "object ID"]);
    assert_valid([same("a"), file("b", "b").object_id(&[8; 16])]);
}

/// Media with everything that is difficult and can be applied is applied.
#[apply(test!)]
fn what_can_be_applied_is_valid() {
    let all: Vec<Entry> = vec![
        folder("Long Folder Name", [file("in it", "x").short("INIT~1")]).short("LONGFO~1"),
        file("linked", "1").linked(2),
        folder("d", [file("linked too", "1").linked(2)]),
        file("sparse", vec![0; 1 << 20]).attributes(0x220),
        file("compressed", vec![7; 1 << 20]).attributes(0x820),
        folder("packed", [file("x", vec![1; 9000])]).attributes(0x810),
        file("many", "x").stream("a", "1").stream("b", vec![3; 5000]).stream("c", ""),
        file("hidden", "").attributes(0x27),
        folder("link", [])
            .reparse(0xa000_000c, b"\x08\0\x08\0\0\0\x08\0\x01\0\0\0d\0/\0.\0.\0d\0/\0.\0.\0"),
        file("bare", "x").unsecured(),
        file("x.", "1"),
        file("x ", "2"),
        file([0xd83d], "3"),
        file("old", "4").times([0; 3]),
    ];
    assert_valid(all);
}

/// A volume that has no room makes a drive too small, and nothing else does.
#[apply(test!)]
#[needs(LOOP)]
fn too_small_is_said_of_room() {
    let rig = Rig::new(Setup::default().content_only());
    OddWim::of([file("large", vec![5; 43_900_000])]).write(&rig.path("full.wim"));
    rig.add_media(&rig.path("full.wim"), "full.wim");
    rig.start();
    rig.wait_media("full.wim", "valid");
    // The Windows volume has 42 MiB: more than the file, but not with what NTFS itself takes.
    let drive = rig.attached("A", 120, 512);
    rig.wait_refused(&drive.serial, "too_small");
    wait_for("the log to say so", || {
        let log = rig.log();
        (log.contains("the content does not fit") && log.contains("No space left")).then_some(())
    });
}
