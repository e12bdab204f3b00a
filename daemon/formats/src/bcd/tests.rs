//! Shapes of boot configurations that are met in the world, described here and written from nothing: judged, explained,
//! and patched.

use std::fmt::Write as _;

use model::layout::Places;
use uuid::Uuid;

use super::fixture::{
    Bcd, boot, bytes, list, locate, locate_block, number, on_partition, ramdisk, ramdisk_in, text,
    virtual_disk,
};
use super::store::Store;
use super::{BcdError, Lookup, Place, Start, check, script};

const MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
const GLOBAL: &str = "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}";
const LOADER_SETTINGS: &str = "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}";
const MEMORY_TEST: &str = "{b2721d73-1db4-4c62-bf78-c548a880142d}";
const OPTIONS: &str = "{ae5534e0-a924-466c-b836-758539a3ee3a}";
/// The loader of the ADK's own stores.
const SETUP: &str = "{7619dcc9-fafe-11d9-b411-000476eba25f}";
const OTHER: &str = "{11111111-2222-3333-4444-555555555555}";
const RESUME: &str = "{66666666-7777-8888-9999-aaaaaaaaaaaa}";

const BOOT_MANAGER: u32 = 0x1010_0002;
const OS_LOADER: u32 = 0x1020_0003;
const INHERITED: u32 = 0x1400_0006;
const DEVICE: u32 = 0x1100_0001;
const PATH: u32 = 0x1200_0002;
const TITLE: u32 = 0x1200_0004;
const OS_DEVICE: u32 = 0x2100_0001;
const SDI_DEVICE: u32 = 0x3100_0003;
const SDI_PATH: u32 = 0x3200_0004;
const DEFAULT: u32 = 0x2300_0003;
const SHOWN: u32 = 0x2400_0001;
const SEQUENCE: u32 = 0x2400_0002;
const TOOLS: u32 = 0x2400_0010;
const TIMEOUT: u32 = 0x2500_0004;

const BOOT_WIM: &str = "\\sources\\boot.wim";
const BOOT_SDI: &str = "\\boot\\boot.sdi";
const WINLOAD: &str = "\\windows\\system32\\boot\\winload.efi";

/// Boot manager, loader and ramdisk options, as little as there can be.
fn smallest() -> Bcd {
    let image = || ramdisk(BOOT_WIM, OPTIONS);
    Bcd::default()
        .object(MANAGER, BOOT_MANAGER, vec![(DEFAULT, text(SETUP))])
        .object(
            SETUP,
            OS_LOADER,
            vec![(DEVICE, image()), (OS_DEVICE, image()), (PATH, text(WINLOAD))],
        )
        .object(OPTIONS, 0x3000_0000, vec![(SDI_DEVICE, boot()), (SDI_PATH, text(BOOT_SDI))])
}

/// As `copype` of the ADK lays it down for UEFI: settings by inheritance, a memory test among the tools.
fn adk() -> Bcd {
    smallest()
        .with(MANAGER, INHERITED, list(&[GLOBAL]))
        .with(MANAGER, SHOWN, list(&[SETUP]))
        .with(MANAGER, TOOLS, list(&[MEMORY_TEST]))
        .with(MANAGER, TIMEOUT, number(30))
        .with(SETUP, INHERITED, list(&[LOADER_SETTINGS]))
        .with(SETUP, TITLE, text("Windows Setup"))
        .with(SETUP, 0x2200_0002, text("\\windows"))
        .with(SETUP, 0x2600_0010, bytes(&[1]))
        .with(SETUP, 0x2600_0022, bytes(&[1]))
        .object(GLOBAL, 0x2010_0000, vec![(0x1500_0011, number(4))])
        .object(LOADER_SETTINGS, 0x2020_0003, vec![(INHERITED, list(&[GLOBAL]))])
        .object(
            MEMORY_TEST,
            0x1020_0005,
            vec![(DEVICE, boot()), (PATH, text("\\EFI\\Microsoft\\Boot\\memtest.efi"))],
        )
}

/// The ADK's store with a second loader, of a ramdisk in a folder of its own.
fn two_loaders() -> Bcd {
    let image = || ramdisk("\\Deploy\\Boot\\LiteTouchPE_x64.wim", OPTIONS);
    let elements = vec![
        (DEVICE, image()),
        (OS_DEVICE, image()),
        (PATH, text(WINLOAD)),
        (TITLE, text("Lite Touch [EFI x64]")),
    ];
    adk().with(MANAGER, SHOWN, list(&[SETUP, OTHER])).object(OTHER, OS_LOADER, elements)
}

/// The ADK's store with another file as its ramdisk.
fn in_ramdisk(path: &str) -> Bcd {
    let image = || ramdisk(path, OPTIONS);
    adk().with(SETUP, DEVICE, image()).with(SETUP, OS_DEVICE, image())
}

fn shapes() -> Vec<(&'static str, Bcd)> {
    let memory_test = || list(&[MEMORY_TEST]);
    vec![
        ("as little as there can be", smallest()),
        ("ADK, copype", adk()),
        (
            "ConfigMgr, boot media",
            adk()
                .with(SETUP, TITLE, text("Microsoft Configuration Manager"))
                .with(MANAGER, TIMEOUT, number(0))
                .with(SETUP, 0x1200_0005, text("en-US")),
        ),
        (
            "MDT, the second loader is the default",
            two_loaders().with(MANAGER, DEFAULT, text(OTHER)),
        ),
        ("several loaders, without a default", two_loaders().without(MANAGER, DEFAULT)),
        (
            "several loaders, without a default and without a menu",
            two_loaders().without(MANAGER, DEFAULT).without(MANAGER, SHOWN),
        ),
        (
            "one loader, without a default and without a menu",
            adk().without(MANAGER, DEFAULT).without(MANAGER, SHOWN),
        ),
        ("without a menu", adk().without(MANAGER, SHOWN)),
        ("a default that is missing", adk().with(MANAGER, DEFAULT, text(OTHER))),
        ("a default that is no GUID", adk().with(MANAGER, DEFAULT, text("{default}"))),
        (
            "no loader at all",
            adk().lacking(SETUP).without(MANAGER, DEFAULT).without(MANAGER, SHOWN),
        ),
        ("no boot manager", adk().lacking(MANAGER)),
        (
            "a boot sequence of another loader",
            two_loaders().with(MANAGER, SEQUENCE, list(&[OTHER])),
        ),
        ("a boot sequence of two", two_loaders().with(MANAGER, SEQUENCE, list(&[OTHER, SETUP]))),
        ("a boot sequence that tests memory", adk().with(MANAGER, SEQUENCE, memory_test())),
        ("a boot sequence that is missing", adk().with(MANAGER, SEQUENCE, list(&[OTHER]))),
        (
            "a store for BIOS: winload.exe",
            adk().with(SETUP, PATH, text("\\windows\\system32\\boot\\winload.exe")),
        ),
        ("a loader without a path", adk().without(SETUP, PATH)),
        ("a ramdisk in a folder", in_ramdisk("\\SMS\\pe\\WinPE.wim")),
        ("a ramdisk that the media lacks", in_ramdisk("\\SMS\\boot.wim")),
        ("a ramdisk whose path is a folder", in_ramdisk("\\sources")),
        (
            "a ramdisk on a partition that is searched for",
            adk().with(SETUP, DEVICE, ramdisk_in(&locate_block(BOOT_WIM), BOOT_WIM, OPTIONS)),
        ),
        (
            "with an entry for the return from hibernation",
            adk()
                .with(MANAGER, 0x2300_0006, text(RESUME))
                .with(SETUP, 0x2300_0003, text(RESUME))
                .object(
                    RESUME,
                    0x1020_0004,
                    vec![
                        (DEVICE, on_partition()),
                        (PATH, text("\\Windows\\system32\\winresume.efi")),
                    ],
                ),
        ),
        ("the return from hibernation as default", {
            let resume = vec![(DEVICE, on_partition())];
            adk().with(MANAGER, DEFAULT, text(RESUME)).object(RESUME, 0x1020_0004, resume)
        }),
        (
            "path and device inherited from {bootloadersettings}",
            adk()
                .without(SETUP, PATH)
                .without(SETUP, DEVICE)
                .with(LOADER_SETTINGS, PATH, text(WINLOAD))
                .with(GLOBAL, DEVICE, ramdisk(BOOT_WIM, OPTIONS)),
        ),
        (
            "default inherited from {globalsettings}",
            adk().without(MANAGER, DEFAULT).with(GLOBAL, DEFAULT, text(SETUP)),
        ),
        (
            "settings that inherit from each other",
            adk().with(GLOBAL, INHERITED, list(&[LOADER_SETTINGS])).without(SETUP, PATH),
        ),
        (
            "the installed Windows as default: a partition",
            adk().with(SETUP, DEVICE, on_partition()),
        ),
        ("a device that is searched for", adk().with(SETUP, DEVICE, locate("\\windows"))),
        (
            "osdevice is another ramdisk that is there",
            adk().with(SETUP, OS_DEVICE, ramdisk("\\SMS\\pe\\WinPE.wim", OPTIONS)),
        ),
        (
            "osdevice is a ramdisk that the media lacks",
            adk().with(SETUP, OS_DEVICE, ramdisk("\\other.wim", OPTIONS)),
        ),
        ("osdevice is a partition", adk().with(SETUP, OS_DEVICE, on_partition())),
        (
            "osdevice is the same ramdisk in other case",
            adk().with(SETUP, OS_DEVICE, ramdisk(&BOOT_WIM.to_uppercase(), OPTIONS)),
        ),
        ("without osdevice", adk().without(SETUP, OS_DEVICE)),
        ("a systemroot that boot.wim lacks", adk().with(SETUP, 0x2200_0002, text("\\nowhere"))),
        ("a systemroot that is a file", adk().with(SETUP, 0x2200_0002, text(WINLOAD))),
        (
            "a systemroot with a backslash at its end",
            adk().with(SETUP, 0x2200_0002, text("\\Windows\\")),
        ),
        ("a device [boot]", adk().with(SETUP, DEVICE, boot())),
        ("a virtual disk", adk().with(SETUP, DEVICE, virtual_disk("\\win.vhdx"))),
        ("a device of an unknown type", adk().with(SETUP, DEVICE, bytes(&[9; 40]))),
        ("a device cut off", adk().with(SETUP, DEVICE, bytes(&[0; 12]))),
        ("without a device", adk().without(SETUP, DEVICE)),
        ("a ramdisk without options", {
            let nil = Uuid::nil().to_string();
            adk().with(SETUP, DEVICE, ramdisk(BOOT_WIM, &nil))
        }),
        ("options that are missing", adk().lacking(OPTIONS)),
        ("options of an own GUID", {
            let own = vec![(SDI_PATH, text("\\boot\\BOOT.SDI"))];
            let image = ramdisk(BOOT_WIM, OTHER);
            adk().lacking(OPTIONS).with(SETUP, DEVICE, image).object(OTHER, 0x3000_0000, own)
        }),
        ("options without boot.sdi", adk().without(OPTIONS, SDI_PATH)),
        ("boot.sdi elsewhere", adk().with(OPTIONS, SDI_PATH, text("\\sources\\boot.sdi"))),
        ("a loader that the boot image lacks", adk().with(SETUP, PATH, text("\\winload.efi"))),
        (
            "elements and objects that nobody knows",
            adk()
                .with(SETUP, 0x1234_5678, bytes(&[0; 300]))
                .with(MANAGER, 0x2700_0030, bytes(b"odd"))
                .object("{00000000-0000-0000-0000-000000000001}", 0xffff_ffff, Vec::new())
                .object("custom", 0x1020_0003, Vec::new()),
        ),
        ("an entry of an unknown kind", {
            let mut bcd = adk();
            bcd.0.iter_mut().find(|(name, ..)| name == SETUP).unwrap().1 = Some(0x1020_000f);
            bcd
        }),
        ("an entry of no kind", {
            let mut bcd = adk();
            bcd.0.iter_mut().find(|(name, ..)| name == SETUP).unwrap().1 = None;
            bcd
        }),
    ]
}

/// What media has that such configurations are made for.
fn media(place: Place<'_>, path: &str) -> Lookup {
    let files = match place {
        Place::Media => {
            &[BOOT_WIM, BOOT_SDI, "\\deploy\\boot\\litetouchpe_x64.wim", "\\sms\\pe\\winpe.wim"][..]
        }
        Place::Image(_) => &[WINLOAD][..],
    };
    let path = path.to_lowercase();
    if files.contains(&path.as_str()) {
        Lookup::File
    } else if files.iter().any(|file| file.starts_with(&format!("{path}\\"))) {
        Lookup::Folder
    } else {
        Lookup::Nothing
    }
}

fn places() -> Places {
    Places { disk: Uuid::from_u128(1), esp: Uuid::from_u128(2), windows: Uuid::from_u128(3) }
}

#[test]
fn shapes_are_judged_and_explained() {
    let mut told = String::new();
    for (name, bcd) in shapes() {
        let _ = writeln!(told, "== {name}");
        match Start::of(&bcd.hive()) {
            Err(error) => {
                let _ = writeln!(told, "refused: {error}");
            }
            Ok(start) => {
                let walk = start.walk(&mut media);
                for step in walk.steps {
                    let _ = writeln!(told, "{step}");
                }
                for lacking in walk.lacking {
                    let _ = writeln!(told, "lacking: {lacking:?}");
                }
                for words in walk.differing {
                    let _ = writeln!(told, "differing: {words}");
                }
            }
        }
    }
    assert!(shapes().len() >= 24);
    insta::assert_snapshot!("shapes", told);
}

/// A line of the script for hivexsh, carried out on the values from which the hive was made.
fn carried_out(mut bcd: Bcd, script: &str) -> Bcd {
    let mut at = (String::new(), 0);
    for line in script.lines() {
        if let Some(object) = line.strip_prefix("cd \\Objects\\") {
            at.0 = object.strip_suffix("\\Elements").unwrap().to_owned();
        } else if let Some(element) = line.strip_prefix("cd ") {
            at.1 = u32::from_str_radix(element, 16).unwrap();
        } else if let Some(hex) = line.strip_prefix("hex:3:") {
            let data: Vec<u8> =
                hex.split(',').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            bcd = bcd.with(&at.0, at.1, bytes(&data));
        }
    }
    bcd
}

#[test]
fn every_entry_that_is_started_names_the_drives_own_partitions() {
    let mut patched = 0;
    for (name, bcd) in shapes() {
        let hive = bcd.hive();
        let Ok(start) = Start::of(&hive) else {
            assert!(script(&hive, &places()).is_err() && check(&hive, &places()).is_err());
            continue;
        };
        let script = script(&hive, &places()).unwrap();
        assert!(matches!(check(&hive, &places()), Err(BcdError::Wrong { .. })), "{name}");
        let after = carried_out(bcd, &script).hive();
        check(&after, &places()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let others = Places { esp: Uuid::from_u128(9), ..places() };
        assert!(check(&after, &others).is_err(), "{name}");
        let mut same = Start::of(&after).unwrap();
        same.menu = start.menu;
        let mut start = start;
        start.entries.iter_mut().for_each(|entry| entry.os_device = None);
        assert_eq!(same, start, "{name}: nothing but the devices is changed");
        patched += 1;
    }
    assert!(patched >= 15, "{patched} shapes are usable");
}

#[test]
fn what_is_no_hive_is_an_error_not_a_panic() {
    assert!(Start::of(b"").is_err());
    assert!(Start::of(&[0x55; 8192]).is_err());
    let mut hive = vec![0; 8192];
    hive[..4].copy_from_slice(b"regf");
    assert!(Start::of(&hive).is_err());
    assert_eq!(Start::of(&vec![0; 5 << 20]), Err(BcdError::TooLarge("its file")));
}

#[test]
fn a_hive_that_was_not_closed_is_told() {
    let mut dirty = adk().hive();
    dirty[8] ^= 2;
    dirty[508] ^= 2;
    assert_eq!(Start::of(&dirty), Err(BcdError::Dirty));
}

#[test]
fn hives_made_to_do_harm_end_soon() {
    // More of everything than there ever is.
    let many = (0..2000_u128).fold(adk(), |bcd, index| {
        bcd.object(&format!("{{{}}}", Uuid::from_u128(index)), OS_LOADER, Vec::new())
    });
    assert_eq!(Start::of(&many.hive()), Err(BcdError::TooLarge("its objects")));
    let mut many = adk().root();
    let values = &mut many.keys[1].keys[0].keys[0].values;
    *values = vec![("x".to_owned(), 3, Vec::new()); 1000];
    assert_eq!(Start::of(&many.hive()), Err(BcdError::TooLarge("the values of a key")));
    let long: Vec<&str> = vec![SETUP; 100];
    let long = adk().with(MANAGER, SEQUENCE, list(&long));
    assert_eq!(Start::of(&long.hive()), Err(BcdError::TooLarge("its boot sequence")));
    // Keys of keys.
    let mut deep = adk().root();
    for level in 0..200 {
        let name = format!("{level}");
        deep = super::hive::Key { name, keys: vec![deep], ..Default::default() };
    }
    assert_eq!(Start::of(&deep.hive()), Err(BcdError::Missing("objects")));
    // An object that inherits from itself, and from a hundred others that do.
    let names: Vec<String> = (0..100).map(|n| format!("{{{}}}", Uuid::from_u128(n))).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let circle = names.iter().fold(adk().with(SETUP, INHERITED, list(&all)), |bcd, name| {
        bcd.object(name, 0x2020_0003, vec![(INHERITED, list(&all))])
    });
    let circle = circle.without(SETUP, PATH);
    assert!(matches!(Start::of(&circle.hive()), Err(BcdError::NoLoader(_))));
}

#[test]
fn two_objects_of_one_name_are_refused() {
    let twice = adk().object(&SETUP.to_uppercase(), OS_LOADER, Vec::new());
    assert_eq!(Start::of(&twice.hive()), Err(BcdError::Hive("it has an object twice".into())));
}

#[test]
fn an_inherited_element_is_found_by_the_nearest_way() {
    let bcd = adk()
        .with(SETUP, INHERITED, list(&[LOADER_SETTINGS, GLOBAL]))
        .without(SETUP, TITLE)
        .with(LOADER_SETTINGS, TITLE, text("near"))
        .with(GLOBAL, TITLE, text("far"));
    let store = Store::read(&bcd.hive()).unwrap();
    let title = store.element(Uuid::parse_str(SETUP).unwrap(), TITLE);
    assert_eq!(title, Some(&text("near").1[..]));
}
