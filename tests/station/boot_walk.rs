//! Media whose first start goes another way than most: entries with a system elsewhere, short names, boot images that are
//! compressed otherwise. What intake tells of the walk.

use macro_rules_attribute::apply;
use tempfile::TempDir;

use super::boot_media::{
    Media, accepted, bcd_with, boot_wim, compressed, good, good_bcd, manager, program, refused,
};
use crate::harness::bcd;
use crate::harness::hive::{self, LOADER, OPTIONS};
use crate::harness::odd_wim::{OddWim, file, folder};
use crate::harness::sample::{AMD64, run};

/// What an entry names besides its boot image and loader.
#[apply(test!)]
fn the_system_of_an_entry_is_looked_up() {
    let os = |value: &str| bcd_with(LOADER, "21000001", value);
    let media = good().with_bcd(os(&bcd::ramdisk("\\other.wim")));
    refused("osdevice missing", media, "boot_image_missing", "osdevice of the default entry");
    let mut media = good().with_bcd(os(&bcd::ramdisk("\\other.wim")));
    media.others.push(file("other.wim", boot_wim(9)));
    accepted("another osdevice", media, &["boot_os_device"]);
    accepted("a partition", good().with_bcd(os(&bcd::on_boot())), &["boot_os_device"]);
    accepted("other case", good().with_bcd(os(&bcd::ramdisk("\\SOURCES\\Boot.wim"))), &[]);

    let root = |path: &str| good().with_bcd(bcd_with(LOADER, "22000002", &hive::text(path)));
    let judged = accepted("systemroot", root("\\nowhere"), &["boot_system_root_missing"]);
    assert!(judged["first_start"][4].as_str().unwrap().contains("\\nowhere"), "{judged:#}");
    accepted(
        "a file",
        root("\\windows\\system32\\boot\\winload.efi"),
        &["boot_system_root_missing"],
    );
    accepted("with a backslash", root("\\Windows\\"), &[]);
}

/// NTFS finds files by their short names, too.
#[apply(test!)]
fn short_names_in_the_bcd_are_looked_up() {
    let image = |path: &str| {
        let one = bcd::set(good_bcd(), LOADER, "11000001", &bcd::ramdisk(path));
        let two = bcd::set(&one, LOADER, "21000001", &bcd::ramdisk(path));
        file("BCD", bcd::set(&two, OPTIONS, "32000004", &hive::text("\\bootfi~1\\BOOTSD~1.SDI")))
    };
    let files = [
        folder("Boot images", [file("Boot image.wim", boot_wim(9)).short("BOOTIM~2.WIM")])
            .short("BOOTIM~1"),
        folder("boot files", [file("boot sdi file.sdi", "sdi").short("BOOTSD~1.SDI")])
            .short("BOOTFI~1"),
    ];
    let media = |path: &str| {
        Media { others: files.to_vec(), sources: Vec::new(), ..good() }.with_bcd(image(path))
    };
    accepted("short", media("\\BOOTIM~1\\bootim~2.wim"), &[]);
    accepted("short and long", media("\\BOOTIM~1\\Boot image.wim"), &[]);
    refused("another", media("\\BOOTIM~2\\bootim~2.wim"), "boot_image_missing", "BOOTIM~2");
    // In the boot image as well.
    let loader = folder("Boot loaders", [file("winload.efi", "loader")]).short("BOOTLO~1");
    let image = OddWim::of([folder("Windows", [loader])])
        .described("<WINDOWS><ARCH>9</ARCH></WINDOWS>")
        .boot(1);
    let media = good().with_boot_wim(image.raw().0);
    let path = hive::text("\\windows\\bootlo~1\\winload.efi");
    accepted("loader", media.with_bcd(bcd_with(LOADER, "12000002", &path)), &[]);
}

/// Windows' boot manager reads what Windows' own programs write; others make more.
#[apply(test!)]
fn a_boot_image_is_compressed_as_windows_reads_it() {
    let work = TempDir::new().unwrap();
    let source = work.path().join("source.wim");
    std::fs::write(&source, boot_wim(9)).unwrap();
    for (options, words) in [
        (&["--compress=LZX"][..], None),
        (&["--compress=XPRESS"], None),
        (&["--compress=none"], None),
        (&["--compress=LZX", "--chunk-size=2M"], Some("LZX in chunks of 2048 KiB")),
        (&["--compress=XPRESS", "--chunk-size=64K"], Some("XPRESS in chunks of 64 KiB")),
        (&["--compress=LZMS"], Some("LZMS or solid")),
        (&["--solid"], Some("LZMS or solid")),
    ] {
        let made = work.path().join("made.wim");
        let _ = std::fs::remove_file(&made);
        let export = ["export", source.to_str().unwrap(), "all", made.to_str().unwrap(), "--boot"];
        run("wimlib-imagex", &[&export[..], options].concat());
        let media = good().with_boot_wim(std::fs::read(&made).unwrap());
        let warnings = words.map(|_| "boot_image_compression");
        let judged = accepted(&format!("{options:?}"), media, warnings.as_slice());
        if let Some(words) = words {
            let detail = judged["warnings"][0]["detail"].as_str().unwrap();
            assert!(detail.contains(words) && detail.contains("\\sources\\boot.wim"), "{detail}");
        }
    }
    let mut unfinished = boot_wim(9);
    unfinished[16] |= 0x40;
    let media = good().with_boot_wim(unfinished);
    refused("unfinished", media, "boot_image_damaged", "its writer has not finished");
}

/// The steps do not tell of a boot manager that there is not, and no text of where intake unpacks files.
#[apply(test!)]
fn what_is_told_contradicts_no_problem() {
    let first = |media: Media| {
        let judged = media.judged();
        let text = format!("{}{}{}", judged["problems"], judged["warnings"], judged["first_start"]);
        assert!(!text.contains("prestaged-") && !text.contains("/tmp"), "{text}");
        for problem in judged["problems"].as_array().unwrap() {
            assert!(problem["hint"].is_string(), "{problem:#}");
        }
        judged["first_start"][0].as_str().unwrap_or_default().to_owned()
    };
    let step = first(Media { manager: Vec::new(), ..good() });
    assert!(step.starts_with("firmware finds no boot manager"), "{step}");
    let fallback = vec![file("bootx64.efi", manager(AMD64))];
    let step = first(Media { fallback, ..good().with_manager("text") });
    assert!(
        step.starts_with("which boot manager firmware starts is open: \\Windows\\Boot"),
        "{step}"
    );
    let compact = vec![compressed("bootmgfw.efi", &program(AMD64, 10, ""))];
    let fallback = vec![file("bootx64.efi", manager(AMD64))];
    let step = first(Media { manager: compact, fallback, ..good() });
    assert!(step.starts_with("which boot manager firmware starts is open"), "{step}");
    let sound = boot_wim(9);
    first(good().with_boot_wim(&sound[..sound.len() - 300]));
    first(good().with_boot_wim(&b"MSWIM\0\0\0"[..]));
    first(Media { sources: Vec::new(), microsoft: Vec::new(), ..good() });
    first(good().with_bcd(file("BCD", "junk")));
}
