//! Media with several boot managers: which of them a drive gets, and what its record says of it.

use std::fs;

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::boot_media::{Media, codes, good, program};
use crate::harness::odd_wim::{file, folder};
use crate::harness::sample::{AMD64, run};
use crate::harness::signed::{NEW, OLD, signed as by};
use crate::harness::{Drive, Rig, Setup, partitions, wait_for};

/// Media whose boot managers are signed by these certificates, if it has them: in `\Windows\Boot\EFI`, in `EFI_EX` beside
/// it, in `\EFI\Microsoft\Boot`, in `\EFI\Boot`.
fn signed(certificates: [Option<&str>; 4]) -> Media {
    let mut media = Media { manager: Vec::new(), ..good() };
    let [windows, ex, microsoft, fallback] =
        certificates.map(|name| name.map(|name| by(program(AMD64, 10, ""), &[name])));
    // Their ends say where they come from.
    let named = |name: &str, place: u8, data: Option<Vec<u8>>| {
        data.map(|mut data| {
            data.push(place);
            file(name, data)
        })
    };
    media.manager.extend(named("bootmgfw.efi", b'w', windows));
    if let Some(ex) = named("bootmgfw_EX.efi", b'x', ex) {
        media.windows.push(folder("EFI_EX", [ex, file("other.efi", "not taken")]));
        media.windows.push(folder("Fonts_EX", [file("segoe_slboot_EX.ttf", "a newer font")]));
    }
    media.microsoft.extend(named("bootmgfw.efi", b'm', microsoft));
    media.fallback.extend(named("bootx64.efi", b'f', fallback));
    media
}

#[apply(test!)]
fn the_boot_manager_is_taken_by_the_rule() {
    let (old, new) = (Some(OLD), Some(NEW));
    for (certificates, rule, taken) in [
        ([old, None, None, None], "newest", "Windows\\Boot\\EFI\\bootmgfw.efi"),
        ([old, new, new, new], "newest", "Windows\\Boot\\EFI_EX\\bootmgfw_EX.efi"),
        ([old, None, new, old], "newest", "EFI\\Microsoft\\Boot\\bootmgfw.efi"),
        ([old, old, old, new], "newest", "EFI\\Boot\\bootx64.efi"),
        ([new, new, None, None], "newest", "Windows\\Boot\\EFI\\bootmgfw.efi"),
        ([new, old, new, None], "2011", "Windows\\Boot\\EFI_EX\\bootmgfw_EX.efi"),
        ([old, None, None, new], "2023", "EFI\\Boot\\bootx64.efi"),
    ] {
        let judged = signed(certificates).judged_with(1 << 30, rule);
        assert_eq!(judged["problems"], json!([]), "{judged:#}");
        let step = judged["first_start"][0].as_str().unwrap();
        assert!(step.contains(&format!("which is \\{taken} and signed")), "{rule}: {step}");
        let is_old = codes(&judged, "warnings") == ["boot_manager_2011"];
        assert_eq!(is_old, step.ends_with("certificate of 2011"), "{judged:#}");
    }
    for (certificates, rule) in [([old, None, None, old], "2023"), ([new, new, None, None], "2011")]
    {
        let judged = signed(certificates).judged_with(1 << 30, rule);
        assert_eq!(codes(&judged, "problems"), ["boot_files_missing"], "{judged:#}");
        let detail = judged["problems"][0]["detail"].as_str().unwrap();
        assert!(detail.ends_with(rule), "{detail}");
    }
}

/// A name that stands anywhere else in a program is no signature.
#[apply(test!)]
fn only_signatures_say_by_whom_a_program_is_signed() {
    let both = format!("{NEW} {OLD}");
    let with = |data: Vec<u8>| Media { manager: vec![file("bootmgfw.efi", data)], ..good() };
    for (data, says, warnings) in [
        (program(AMD64, 10, NEW), "not signed", &["boot_manager_unsigned"][..]),
        (program(AMD64, 10, &both), "not signed", &["boot_manager_unsigned"]),
        (by(program(AMD64, 10, NEW), &["A"]), "by none of Microsoft's", &["boot_manager_unsigned"]),
        (by(program(AMD64, 10, NEW), &[OLD]), "certificate of 2011", &["boot_manager_2011"]),
        (by(program(AMD64, 10, ""), &[OLD, NEW]), "certificate of 2011 and 2023", &[]),
        (by(program(AMD64, 10, ""), &["A", NEW]), "certificate of 2023", &[]),
    ] {
        let judged = with(data).judged_with(1 << 30, "newest");
        assert_eq!(judged["problems"], json!([]), "{judged:#}");
        assert_eq!(codes(&judged, "warnings"), warnings, "{judged:#}");
        let step = judged["first_start"][0].as_str().unwrap();
        assert!(step.contains(says), "{says}: {step}");
    }
    // One of 2011 that has the newer one's name in its code is not taken in place of the newer one.
    let mut media = with(by(program(AMD64, 10, NEW), &[OLD]));
    media.fallback = vec![file("bootx64.efi", by(program(AMD64, 10, ""), &[NEW]))];
    let step = media.judged_with(1 << 30, "newest")["first_start"][0].to_string();
    assert!(step.contains("bootx64.efi and signed by Microsoft's certificate of 2023"), "{step}");
}

/// What was chosen is what lies on the ESP, and the record says by whom it is signed.
#[apply(test!)]
#[needs(LOOP)]
fn the_record_says_who_has_signed_the_boot_manager() {
    let rig = Rig::new(Setup::default());
    let (old, new) = (Some(OLD), Some(NEW));
    let add = |name: &str, media: Media| {
        media.wim().write(&rig.path(name));
        rig.add_media(&rig.path(name), name);
    };
    add("ex.wim", signed([old, new, old, old]));
    rig.start();
    let seen = |name: &str| {
        wait_for("the media to be seen", || {
            rig.json(&["media", "list"]).to_string().contains(name).then_some(())
        });
        rig.wait_media(name, "valid");
    };
    let contents = |drive: &Drive, record: &Value, path: &str| {
        let esp = format!("{}@@{}", drive.file.display(), partitions(record)[0].1);
        let out = rig.path("out");
        run("mcopy", &["-n", "-o", "-i", &esp, path, out.to_str().unwrap()]);
        fs::read(out).unwrap()
    };
    seen("ex.wim");
    let drive = rig.attached("A", 420, 512);
    let record = rig.wait_pass(&drive.serial);
    let both = ["::/EFI/BOOT/BOOTX64.EFI", "::/EFI/Microsoft/Boot/bootmgfw.efi"];
    for path in both {
        assert_eq!(contents(&drive, &record, path).last(), Some(&b'x'), "{path}");
    }
    let font = contents(&drive, &record, "::/EFI/Microsoft/Boot/Fonts/segoe_slboot.ttf");
    assert_eq!(font, b"a newer font");
    let listed = |certificate: &str| {
        json!([
            { "path": "\\efi\\boot\\bootx64.efi", "certificates": [certificate] },
            { "path": "\\efi\\microsoft\\boot\\bootmgfw.efi", "certificates": [certificate] },
        ])
    };
    assert_eq!(record["boot_programs"], listed("2023"));
    let line = rig.ctl_ok(&["records", "--csv"]);
    assert!(line.contains("\\efi\\boot\\bootx64.efi: 2023"), "{line}");
    drive.detach();
    rig.wait_gone(&drive.serial);

    let imaged = |name: &str, last: u8, certificate: &str| {
        let drive = rig.attached(name, 420, 512);
        let record = rig.wait_pass(&drive.serial);
        for path in both {
            assert_eq!(contents(&drive, &record, path).last(), Some(&last), "{path}");
        }
        assert_eq!(record["boot_programs"], listed(certificate));
        drive
    };
    // Another rule is another master.
    rig.terminate();
    rig.wait_end();
    rig.set("layout.0.boot_manager", "2011");
    rig.start();
    seen("ex.wim");
    imaged("B", b'w', "2011").detach();

    // The newest in `\EFI\Boot` alone wins at both places.
    rig.terminate();
    rig.wait_end();
    rig.unset("layout.0.boot_manager");
    fs::remove_file(rig.path("inbox/ex.wim")).unwrap();
    add("own.wim", signed([old, None, None, new]));
    rig.start();
    seen("own.wim");
    imaged("C", b'f', "2023");
}
