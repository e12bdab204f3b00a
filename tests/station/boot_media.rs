//! Media whose boot files are not what they must be, or whose boot configuration starts what is not there: what intake
//! says of it before any drive is judged. Whole media, written entry by entry; the shapes of BCDs are in the unit tests of
//! `formats::bcd`.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::bcd;
use crate::harness::hive::{self, LOADER, MANAGER, OPTIONS};
use crate::harness::odd_wim::{ARCHIVE, Entry, OddWim, REPARSE, file, folder};
use crate::harness::sample::{AMD64, head, run};
use crate::harness::signed::{NEW, signed};
use crate::harness::wim::{intake, intake_task, layout};
use crate::harness::{Rig, Setup, wait_for};

const X86: u16 = 0x014c;
const ARM: u16 = 0x01c4;
const ARM64: u16 = 0xaa64;
/// The tag of a file that Windows has compressed.
const WOF: u32 = 0x8000_0017;

/// A program that is not signed, with this text in it.
pub(crate) fn program(machine: u16, subsystem: u16, text: &str) -> Vec<u8> {
    let mut data = vec![b'm'; 9000];
    head(&mut data, machine, subsystem);
    data[5000..5000 + text.len()].copy_from_slice(text.as_bytes());
    data
}

/// A boot manager that is signed as those of today are.
pub(crate) fn manager(machine: u16) -> Vec<u8> {
    signed(program(machine, 10, ""), &[NEW])
}

/// The architecture in winnt.h.
fn boot_image(architecture: u32) -> OddWim {
    let loader = folder("Boot", [file("winload.efi", "loader")]);
    OddWim::of([folder("Windows", [folder("System32", [loader])])])
        .described(&format!("<WINDOWS><ARCH>{architecture}</ARCH></WINDOWS>"))
        .boot(1)
}

pub(crate) fn boot_wim(architecture: u32) -> Vec<u8> {
    boot_image(architecture).raw().0
}

/// A file that Windows has compressed, as an offline capture holds it.
pub(crate) fn compressed(name: &str, data: &[u8]) -> Entry {
    file(name, vec![0; data.len()])
        .attributes(0x200 | ARCHIVE)
        .reparse(WOF, [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
        .stream("WofCompressedData", &data[..data.len() / 2])
        .attributes(0x200 | ARCHIVE | REPARSE)
}

/// The boot files of media, each as an entry, so that any of them can be odd or missing.
#[derive(Clone)]
pub(crate) struct Media {
    /// `\EFI\Microsoft\Boot`
    pub(crate) microsoft: Vec<Entry>,
    /// `\EFI\Boot`
    pub(crate) fallback: Vec<Entry>,
    /// `\Windows\Boot\EFI`
    pub(crate) manager: Vec<Entry>,
    /// `\Windows\Boot`
    pub(crate) windows: Vec<Entry>,
    /// `\boot`
    pub(crate) sdi: Vec<Entry>,
    /// `\sources`
    pub(crate) sources: Vec<Entry>,
    /// The root.
    pub(crate) others: Vec<Entry>,
}

/// The BCD of good media.
pub(crate) fn good_bcd() -> &'static [u8] {
    static BCD: OnceLock<Vec<u8>> = OnceLock::new();
    BCD.get_or_init(|| hive::bcd(tempfile::tempdir().unwrap().path()))
}

/// The BCD of good media with one element set anew.
pub(crate) fn bcd_with(object: &str, element: &str, value: &str) -> Entry {
    file("BCD", bcd::set(good_bcd(), object, element, value))
}

/// The BCD of good media with one element more.
fn bcd_and(object: &str, element: &str, value: &str) -> Entry {
    file("BCD", bcd::add(good_bcd(), object, element, value))
}

/// Media that starts well.
pub(crate) fn good() -> Media {
    Media {
        microsoft: vec![file("BCD", good_bcd())],
        fallback: Vec::new(),
        manager: vec![file("bootmgfw.efi", manager(AMD64))],
        windows: vec![folder("Fonts", [file("segoe_slboot.ttf", "a font")])],
        sdi: vec![file("boot.sdi", "a system deployment image")],
        sources: vec![file("boot.wim", boot_wim(9))],
        others: Vec::new(),
    }
}

impl Media {
    pub(crate) fn with_bcd(self, bcd: Entry) -> Self {
        Self { microsoft: vec![bcd], ..self }
    }

    pub(crate) fn with_manager(self, data: impl Into<Vec<u8>>) -> Self {
        Self { manager: vec![file("bootmgfw.efi", data)], ..self }
    }

    pub(crate) fn with_boot_wim(self, data: impl Into<Vec<u8>>) -> Self {
        Self { sources: vec![file("boot.wim", data)], ..self }
    }

    pub(crate) fn wim(self) -> OddWim {
        let mut efi = vec![folder("Microsoft", [folder("Boot", self.microsoft)])];
        if !self.fallback.is_empty() {
            efi.push(folder("Boot", self.fallback));
        }
        let mut windows = self.windows;
        windows.push(folder("EFI", self.manager));
        let mut root = vec![
            folder("EFI", efi),
            folder("Windows", [folder("Boot", windows)]),
            folder("boot", self.sdi),
            folder("sources", self.sources),
        ];
        root.extend(self.others);
        OddWim::of(root)
    }

    /// What intake says of it with so many bytes of memory, and by this rule for boot managers.
    pub(crate) fn judged_with(self, memory: u64, rule: &str) -> Value {
        let work = TempDir::new().unwrap();
        let path = work.path().join("boot.wim");
        self.wim().write(&path);
        let mut layout = layout("prestaged", 40);
        layout["boot_manager"] = json!(rule);
        let task = intake_task(&path, 1, &layout);
        let mut child = Command::new("prlimit")
            .args([&format!("--data={memory}"), "timeout", "-s", "KILL", "120"])
            .args([env!("CARGO_BIN_EXE_prestaged"), "worker"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(task.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap();
        assert!(last["done"]["media"].is_object(), "{text}");
        last["done"]["media"].clone()
    }

    /// What intake says of it.
    pub(crate) fn judged(self) -> Value {
        let work = TempDir::new().unwrap();
        let path = work.path().join("boot.wim");
        self.wim().write(&path);
        intake(&path, 1, true)["done"]["media"].clone()
    }
}

/// The codes of problems or warnings.
pub(crate) fn codes(media: &Value, what: &str) -> Vec<String> {
    let found = media[what].as_array().unwrap();
    found.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Media with this one problem, whose detail has these words.
#[track_caller]
pub(crate) fn refused(name: &str, media: Media, code: &str, words: &str) {
    let judged = media.judged();
    assert_eq!(codes(&judged, "problems"), [code], "{name}: {judged:#}");
    let detail = judged["problems"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(words), "{name}: {detail}");
}

/// Media without a problem and with no warnings but these.
#[track_caller]
pub(crate) fn accepted(name: &str, media: Media, warnings: &[&str]) -> Value {
    let judged = media.judged();
    assert_eq!(judged["problems"], json!([]), "{name}");
    assert_eq!(codes(&judged, "warnings"), warnings, "{name}: {judged:#}");
    judged
}

#[apply(test!)]
fn good_media_is_told_step_by_step() {
    let judged = accepted("good", good(), &[]);
    let steps = [
        "firmware of amd64 starts \\EFI\\BOOT\\BOOTX64.EFI, which is \\Windows\\Boot\\EFI\\bootmgfw.efi and signed by Microsoft's certificate of 2023",
        "the boot manager takes the default entry",
        "it loads \\sources\\boot.wim into memory, by \\boot\\boot.sdi",
        "it starts \\windows\\system32\\boot\\winload.efi from there",
    ];
    assert_eq!(judged["first_start"], json!(steps));
    assert_eq!(judged["boot_image"]["architecture"], "amd64");
}

#[apply(test!)]
fn boot_files_that_windows_has_compressed_are_named() {
    let code = "boot_files_compressed";
    let compact = || compressed("bootmgfw.efi", &program(AMD64, 10, ""));
    let font = || folder("Fonts", [compressed("segoe_slboot.ttf", &[1; 9000])]);
    let media = Media { manager: vec![compact()], ..good() };
    refused("manager", media, code, "\\Windows\\Boot\\EFI\\bootmgfw.efi is compressed by Windows");
    let media = Media { windows: vec![font()], ..good() };
    refused("font", media, code, "\\Windows\\Boot\\Fonts\\segoe_slboot.ttf");
    let media = Media { windows: vec![font()], manager: vec![compact()], ..good() };
    refused("both", media, code, "and so are 1 others of the boot files");
    let media = Media { microsoft: vec![compressed("BCD", good_bcd())], ..good() };
    refused("BCD", media, code, "\\EFI\\Microsoft\\Boot\\BCD");
    let media = Media { sources: vec![compressed("boot.wim", &boot_wim(9))], ..good() };
    refused("boot.wim", media, code, "\\sources\\boot.wim");
    let media = Media { sdi: vec![compressed("boot.sdi", &[1; 9000])], ..good() };
    refused("boot.sdi", media, code, "\\boot\\boot.sdi");
    let link = file("bootmgr.efi", "").reparse(0xa000_000c, [0; 12]);
    let media = Media { fallback: vec![link], ..good() };
    refused("a link", media, code, "\\EFI\\Boot\\bootmgr.efi is a reparse point (0xa000000c)");
}

#[apply(test!)]
fn a_boot_manager_is_a_program_for_firmware() {
    for (name, data, words) in [
        ("empty", Vec::new(), "it is empty"),
        ("zeros", vec![0; 5000], "nothing but zeros"),
        ("text", b"404 not found".to_vec(), "it has no PE header"),
        ("ELF", [&b"\x7fELF"[..], &[2; 500]].concat(), "it has no PE header"),
        ("a program for Windows", program(AMD64, 3, ""), "a program for Windows"),
        ("a driver", program(AMD64, 11, ""), "a driver for UEFI"),
        ("winload.efi", program(AMD64, 16, ""), "a program that a boot manager starts"),
        ("Itanium", program(0x200, 10, ""), "a machine that is not known (0x0200)"),
    ] {
        refused(name, good().with_manager(data), "boot_manager_invalid", words);
    }
    let mut unclear = manager(AMD64);
    unclear[0x98] = b'm';
    let warnings = ["boot_manager_unclear", "boot_manager_unsigned"];
    accepted("no optional header", good().with_manager(unclear), &warnings);
    refused("none", Media { manager: Vec::new(), ..good() }, "boot_files_missing", "bootia32.efi");
}

#[apply(test!)]
fn the_boot_manager_of_each_machine_is_found_by_firmware() {
    for (machine, architecture, name) in [
        (AMD64, 9, "BOOTX64.EFI"),
        (X86, 0, "BOOTIA32.EFI"),
        (ARM, 5, "BOOTARM.EFI"),
        (ARM64, 12, "BOOTAA64.EFI"),
    ] {
        let media = good().with_boot_wim(boot_wim(architecture));
        let judged = accepted(name, media.clone().with_manager(manager(machine)), &[]);
        let starts = format!("starts \\EFI\\BOOT\\{name}, which is ");
        let step = judged["first_start"][0].as_str().unwrap();
        assert!(step.contains(&starts), "{step}");
        // Without one of Windows, the program at that place will do.
        let own = file(name.to_lowercase(), manager(machine));
        let media = Media { manager: Vec::new(), fallback: vec![own], ..media };
        let judged = accepted(name, media, &[]);
        let step = judged["first_start"][0].as_str().unwrap();
        assert!(step.contains(&starts), "{step}");
    }
    let media = good().with_manager(program(X86, 10, ""));
    refused("another machine", media, "boot_image_architecture", "the boot manager for x86");
    let wrong = |name: &str| file(name, program(X86, 10, ""));
    let media = Media { fallback: vec![wrong("bootaa64.efi")], ..good() };
    refused("another name", media, "boot_manager_invalid", "it is for x86, which its name is not");
    // The boot manager of Windows takes its place.
    let media = Media { fallback: vec![wrong("BootX64.efi")], ..good() };
    accepted("replaced", media, &[]);
}

#[apply(test!)]
fn a_boot_image_is_read_to_its_last_blob() {
    let sound = boot_wim(9);
    let data = sound.windows(6).position(|part| part == b"loader").unwrap();
    let mut flipped = sound.clone();
    flipped[data] ^= 1;
    let mut part = sound.clone();
    part[42] = 2;
    let none = OddWim::of([file("a", "a")]).raw().0;
    for (name, data, words) in [
        ("a blob", flipped, "\\sources\\boot.wim is damaged: cannot verify"),
        ("empty", Vec::new(), "\\sources\\boot.wim is empty"),
        ("zeros", vec![0; 9000], "is no WIM file"),
        ("text", b"404 not found".to_vec(), "is no WIM file"),
        ("cut", sound[..sound.len() - 300].to_vec(), "is damaged"),
        ("a part", part, "is part 1 of a split set"),
        ("not bootable", none, "no image that is marked as bootable"),
    ] {
        refused(name, good().with_boot_wim(data), "boot_image_damaged", words);
    }
    let media = good().with_boot_wim(&b"$SDI0001 and more"[..]);
    accepted("an SDI image", media, &["boot_image_unknown"]);
    let media = Media { sources: Vec::new(), ..good() };
    refused("none", media, "boot_image_missing", "\\sources\\boot.wim is missing");
}

#[apply(test!)]
fn what_the_bcd_starts_is_looked_up() {
    let path = |path: &str| bcd_with(LOADER, "12000002", &hive::text(path));
    let image = |path: &str| {
        let one = bcd::set(good_bcd(), LOADER, "11000001", &bcd::ramdisk(path));
        file("BCD", bcd::set(&one, LOADER, "21000001", &bcd::ramdisk(path)))
    };
    let sdi = |path: &str| bcd_with(OPTIONS, "32000004", &hive::text(path));

    let bios = path("\\windows\\system32\\boot\\winload.exe");
    refused("winload.exe", good().with_bcd(bios), "bcd_invalid", "which is no UEFI program");
    let media = good().with_bcd(bcd_with(LOADER, "11000001", &bcd::on_boot()));
    refused("no ramdisk", media, "bcd_invalid", "the default entry starts no ramdisk");
    let media = good().with_bcd(bcd_with(MANAGER, "23000003", &hive::text(OPTIONS)));
    refused("no loader", media, "bcd_invalid", "the default entry is the options of a device");
    let other = "{11111111-2222-3333-4444-555555555555}";
    let media = good().with_bcd(bcd_and(MANAGER, "24000002", &bcd::list(&[other])));
    refused("boot sequence", media, "bcd_invalid", "entry 1 of the boot sequence");
    let media = good().with_bcd(bcd_and(MANAGER, "24000002", &bcd::list(&[LOADER])));
    let judged = accepted("boot sequence", media, &[]);
    let step = judged["first_start"][1].as_str().unwrap();
    assert!(step.starts_with("at the first start only"), "{step}");

    let missing = "boot_image_missing";
    let media = good().with_bcd(image("\\SMS\\boot.wim"));
    refused("ramdisk missing", media, missing, "the BCD starts \\SMS\\boot.wim");
    refused("a folder", good().with_bcd(image("\\sources")), missing, "starts \\sources, which");
    let media = good().with_bcd(image("\\sources\\..\\sources\\boot.wim"));
    refused("not as NTFS does", media, missing, "\\sources\\..\\sources\\boot.wim");
    accepted("other case", good().with_bcd(image("\\SOURCES\\Boot.WIM")), &[]);
    let pe = folder("SMS", [folder("pe", [file("WinPE.wim", boot_wim(9))])]);
    let media = Media { sources: Vec::new(), others: vec![pe], ..good() };
    accepted("in a folder", media.with_bcd(image("\\SMS\\pe\\winpe.wim")), &[]);
    // What is started is what is examined.
    let mut damaged = boot_wim(9);
    damaged.truncate(1000);
    let pe = folder("SMS", [file("boot.wim", damaged)]);
    let media = Media { others: vec![pe], ..good() }.with_bcd(image("\\SMS\\boot.wim"));
    refused("damaged in a folder", media, "boot_image_damaged", "\\SMS\\boot.wim");

    let media = good().with_bcd(sdi("\\sources\\boot.sdi"));
    refused("sdi missing", media, "boot_sdi_missing", "\\sources\\boot.sdi");
    let media = Media { sdi: vec![file("boot.sdi", "")], ..good() };
    refused("sdi empty", media, "boot_sdi_missing", "\\boot\\boot.sdi");
    let media = Media { sdi: Vec::new(), ..good() };
    refused("no sdi", media, "boot_sdi_missing", "\\boot\\boot.sdi");
    let mut media = good().with_bcd(sdi("\\EFI\\Microsoft\\Boot\\boot.sdi"));
    media.microsoft.append(&mut media.sdi);
    accepted("sdi elsewhere", media, &[]);

    let media = good().with_bcd(path("\\windows\\winload.efi"));
    let judged = accepted("loader missing", media, &["boot_loader_missing"]);
    let last = judged["first_start"][3].as_str().unwrap();
    assert!(last.contains("(MISSING)"), "{last}");
    accepted(
        "loader in other case",
        good().with_bcd(path("\\WINDOWS\\System32\\BOOT\\WinLoad.EFI")),
        &[],
    );
}

/// The memory that reading takes does not grow with the boot image.
#[apply(test!)]
fn a_large_boot_image_is_read_a_piece_at_a_time() {
    let large = boot_image(9).and([file("large", vec![0x5a; 200 << 20])]).raw().0;
    let judged = good().with_boot_wim(large).judged_with(100_000_000, "newest");
    assert_eq!(judged["problems"], json!([]), "{judged:#}");
}

/// What was judged is what lies on the ESP.
#[apply(test!)]
#[needs(LOOP)]
fn a_32_bit_boot_manager_lies_where_its_firmware_looks() {
    let rig = Rig::new(Setup::default());
    let mut media = good().with_manager(manager(X86)).with_boot_wim(boot_wim(0));
    let names = ["ü.txt", "Ü2.TXT", "Français.txt", "ß.txt", "日本.txt", "a b.txt"];
    media.fallback.extend(names.map(|name| file(name, name)));
    media.fallback.push(folder("größe", [file("ö.efi.mui", "1")]));
    media.wim().write(&rig.path("x86.wim"));
    rig.add_media(&rig.path("x86.wim"), "x86.wim");
    rig.start();
    wait_for("the media to be seen", || {
        rig.json(&["media", "list"]).to_string().contains("x86.wim").then_some(())
    });
    rig.wait_media("x86.wim", "valid");
    rig.ctl_ok(&["master", "press", "--media", "x86.wim", "--size", "420MiB"]);
    let id = rig.json(&["master", "list"])[0]["id"].as_str().unwrap().to_owned();
    let image = rig.path("store/masters").join(id).join("disk.raw");
    let esp = format!("{}@@1M", image.display());
    let listed = run("mdir", &["-b", "-/", "-i", &esp, "::/EFI"]).to_uppercase();
    assert!(listed.contains("/EFI/BOOT/BOOTIA32.EFI"), "{listed}");
    assert!(!listed.contains("BOOTX64.EFI"), "{listed}");
    // mdir is not the reader by which a press is checked.
    let listed = run("mdir", &["-b", "-/", "-i", &esp, "::/EFI"]);
    for name in names.into_iter().chain(["größe/ö.efi.mui"]) {
        assert!(listed.lines().any(|line| line.ends_with(&format!("/{name}"))), "{name}: {listed}");
    }
}
