//! Media that is made here: of its parts, by a recipe, without a daemon.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::boot;
use crate::harness::needs::LONG;
use crate::harness::parts::Workshop;
use crate::harness::sample::{Noise, Sample, run};
use crate::harness::{Rig, Setup, Tmpfs, told};

/// The files below a folder with their contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// A path of the media, unpacked by wimlib-imagex.
fn unpacked(shop: &Workshop, wim: &str, path: &str) -> std::path::PathBuf {
    let into = shop.path("unpacked");
    let _ = fs::remove_dir_all(&into);
    let option = format!("--dest-dir={}", into.display());
    run("wimlib-imagex", &["extract", &shop.shown(wim), "1", path, &option, "--no-acls"]);
    into.join(path.rsplit('/').next().unwrap())
}

#[apply(test!)]
fn every_file_of_the_parts_is_in_the_media_byte_for_byte() {
    let shop = Workshop::new();
    shop.full_recipe("[site]\nfrom = \"site.wim\"\n[image]\nname = \"Acme & Sons\"\nversion = \"7\"\ncreated_by = \"us\"\n");
    let dry = shop.create(0, &["--check"]);
    assert!(dry.contains("out.wim can be made") && dry.contains("recomposed"), "{dry}");
    assert!(!shop.path("out.wim").exists());
    let made: Value = serde_json::from_str(&shop.create(0, &["--json"])).unwrap();
    assert_eq!(made["product"], "recomposed");
    let size = fs::metadata(shop.path("out.wim")).unwrap().len();
    assert_eq!(made["size_bytes"], size);
    assert!(made["needed_bytes"].as_u64().unwrap() >= size);
    let digest = run("sha256sum", &[&shop.shown("out.wim")]);
    assert!(digest.starts_with(made["sha256"].as_str().unwrap()), "{digest}");
    assert_eq!(made["packages"][2]["kind"], "driver");
    // Others agree.
    run("wimlib-imagex", &["verify", &shop.shown("out.wim")]);
    let info = run("wimlib-imagex", &["info", &shop.shown("out.wim")]);
    assert!(info.contains("Acme & Sons") && info.contains("Integrity info"), "{info}");
    for (id, folder) in [("ACM00001", "app"), ("ACM00002", "pack"), ("ACM00003", "net")] {
        let path = format!("/_SMSTaskSequence/Packages/{id}");
        assert_eq!(files(&unpacked(&shop, "out.wim", &path)), files(&shop.path(folder)), "{id}");
    }
    let names = run("wimlib-imagex", &["dir", &shop.shown("out.wim"), "1"]);
    for name in
        ["/_SMSTaskSequence/Packages/ACM00001/empty folder", "/Windows/Panther/unattend.xml"]
    {
        assert!(names.lines().any(|line| line == name), "{name}");
    }
    let site = files(&unpacked(&shop, "site.wim", "/SMS/data"));
    assert_eq!(files(&unpacked(&shop, "out.wim", "/SMS/data")), site);
    assert_eq!(
        fs::read(unpacked(&shop, "out.wim", "/sources/boot.wim")).unwrap(),
        fs::read(shop.path("boot.wim")).unwrap()
    );
    assert_eq!(
        fs::read(unpacked(&shop, "out.wim", "/boot/boot.sdi")).unwrap(),
        fs::read(shop.path("boot.sdi")).unwrap()
    );
    let bcd = unpacked(&shop, "out.wim", "/EFI/Microsoft/Boot/BCD");
    let key = "\\Objects\\{9dea862c-5cdd-4e70-acc1-f32b344d4795}\\Elements\\23000003";
    let entry = run("hivexget", &[bcd.to_str().unwrap(), key, "Element"]);
    assert!(entry.contains("{7619dcc9-fafe-11d9-b411-000476eba25f}"), "{entry}");
    // Nothing is replaced unless that is asked for.
    let before = fs::read(shop.path("out.wim")).unwrap();
    let text = shop.create(2, &[]);
    assert!(text.contains("is there already"), "{text}");
    assert_eq!(fs::read(shop.path("out.wim")).unwrap(), before);
    shop.create(0, &["--replace"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn drives_pass_with_media_that_was_made() {
    let shop = Workshop::new();
    shop.full_recipe("");
    shop.create(0, &[]);
    let rig = Rig::new(Setup::default());
    rig.add_media(&shop.path("out.wim"), "made.wim");
    rig.start();
    let media = rig.wait_media("made.wim", "valid");
    let warned: Vec<_> =
        media["warnings"].as_array().unwrap().iter().map(|w| w["code"].as_str().unwrap()).collect();
    // What was added has no descriptors, and gets such as nobody may misuse.
    assert!(warned.contains(&"no_security_descriptor"), "{warned:?}");
    assert!(media["warnings"].to_string().contains("nobody may change them"), "{media:#}");
    assert!(!warned.contains(&"counts_differ"), "{warned:?}");
    let drive = rig.attached("A", 480, 512);
    rig.wait_pass(&drive.serial);
    let audit: Value = rig.json(&["audit", &drive.serial]);
    assert_eq!(audit["verdict"], "same", "{audit:#}");
}

/// Firmware starts the boot manager of the operating system image, which finds boot image and package as they were made.
#[apply(test!)]
#[needs(LOOP, QEMU)]
fn a_computer_starts_from_a_drive_with_media_that_was_made() {
    let scratch = tempfile::tempdir().unwrap();
    let manager = Some(boot::manager(scratch.path()));
    let shop = Workshop::of(&Sample { manager, ..Sample::default() });
    let package = unpacked(&shop, "site.wim", "/_SMSTaskSequence/Packages/PRE00001");
    shop.recipe(&format!("[[package]]\nid = \"PRE00001\"\npath = \"{}\"\n", package.display()));
    shop.create(0, &[]);
    let rig = Rig::new(Setup::default());
    rig.add_media(&shop.path("out.wim"), "made.wim");
    rig.start();
    rig.wait_media("made.wim", "valid");
    let drive = rig.attached("A", 480, 512);
    rig.wait_pass(&drive.serial);
    drive.detach();
    let console = boot::start(&rig, &drive, &boot::nvme(512));
    assert!(console.contains("HASH-OK"), "{console}");
}

#[apply(test!)]
fn a_boot_image_gets_its_start_script() {
    let shop = Workshop::new();
    shop.write("start.cmd", b"wpeinit\r\n");
    let recipe = "start = \"start.cmd\"\n[[package]]\nid = \"P1\"\npath = \"net/e1r.sys\"\n";
    shop.recipe(recipe);
    let made: Value = serde_json::from_str(&shop.create(0, &["--json"])).unwrap();
    assert_eq!(made["product"], "stand_alone");
    let boot = unpacked(&shop, "out.wim", "/sources/boot.wim");
    fs::copy(boot, shop.path("made-boot.wim")).unwrap();
    let info = run("wimlib-imagex", &["info", &shop.shown("made-boot.wim")]);
    assert!(
        info.lines().any(|line| line.starts_with("Boot Index:") && line.ends_with('1')),
        "{info}"
    );
    let script = unpacked(&shop, "made-boot.wim", "/Windows/System32/startnet.cmd");
    assert_eq!(fs::read(script).unwrap(), b"wpeinit\r\n");
    let names = run("wimlib-imagex", &["dir", &shop.shown("made-boot.wim"), "1"]);
    assert!(!names.contains("winpeshl.ini"), "{names}");
    let package = unpacked(&shop, "out.wim", "/_SMSTaskSequence/Packages/P1");
    assert_eq!(
        fs::read(package.join("e1r.sys")).unwrap(),
        fs::read(shop.path("net/e1r.sys")).unwrap()
    );
}

#[apply(test!)]
fn what_is_in_the_way_gives_way_and_is_named() {
    let shop = Workshop::new();
    fs::copy(shop.path("site.wim"), shop.path("os.wim")).unwrap();
    shop.recipe("[[package]]\nid = \"pre00001\"\npath = \"pack\"\n[[file]]\nfrom = \"unattend.xml\"\nto = '\\windows\\hidden.sys'\n");
    let text = shop.create(0, &["--json"]);
    let made: Value = serde_json::from_str(&text).unwrap();
    let gone = made["replaced"].to_string();
    for path in ["Packages\\\\\\\\pre00001", "hidden.sys", "boot.wim", "BCD"] {
        assert!(gone.contains(&path.replace("\\\\\\\\", "\\\\")), "{path}: {gone}");
    }
    assert_eq!(files(&unpacked(&shop, "out.wim", "/_SMSTaskSequence/Packages/pre00001")).len(), 1);
    assert_eq!(
        fs::read(unpacked(&shop, "out.wim", "/Windows/hidden.sys")).unwrap(),
        b"<unattend/>"
    );
}

/// Thirty names that Windows has no use for, each refused with its path, and nothing written.
#[apply(test!)]
fn hostile_names_are_refused_by_name() {
    let shop = Workshop::new();
    shop.recipe("[[package]]\nid = \"X\"\npath = \"hostile\"\n");
    let names: [&[u8]; 26] = [
        b"CON",
        b"con.txt",
        b"PRN",
        b"AUX.log",
        b"NUL",
        b"nul .x",
        b"COM1",
        b"com9.inf",
        b"LPT1",
        b"COM0",
        "COM¹".as_bytes(),
        "lpt³.dat".as_bytes(),
        b"CONIN$",
        b"CONOUT$",
        b"tail.",
        b"tail ",
        b"a:b",
        b"back\\slash",
        b"less<",
        b"more>",
        b"pipe|",
        b"what?",
        b"star*",
        b"quote\"",
        b"bell\x07",
        b"half\xed\xa0\xbd",
    ];
    let refused = |shop: &Workshop, name: &[u8]| {
        let text = shop.create(1, &["--check"]);
        let stem: String =
            String::from_utf8_lossy(name).chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(text.contains("names_invalid: 1 names") && text.contains(&stem), "{stem}: {text}");
    };
    let folder = shop.path("hostile");
    for name in names {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep").join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        refused(&shop, name);
    }
    type Odd<'a> = (&'a str, fn(&Path));
    let odd: [Odd<'_>; 4] = [
        ("link", |at| symlink("/etc/passwd", at.join("link")).unwrap()),
        ("pipe", |at| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                at.join("pipe"),
                rustix::fs::FileType::Fifo,
                0o600.into(),
                0,
            )
            .unwrap()
        }),
        ("case", |at| {
            ["case", "CASE"].iter().for_each(|name| fs::write(at.join(name), "x").unwrap())
        }),
        ("raw", |at| fs::write(at.join(std::ffi::OsStr::from_bytes(b"raw\xff")), "x").unwrap()),
    ];
    for (name, make) in odd {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        make(&folder);
        let text = shop.create(1, &[]);
        assert!(
            text.contains("names_invalid: 1 names") && text.to_lowercase().contains(name),
            "{name}: {text}"
        );
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    (0..40).for_each(|number| fs::write(folder.join(format!("{number}.")), "x").unwrap());
    let text = shop.create(1, &[]);
    assert!(text.contains("40 names") && text.contains("and 24 more"), "{text}");
    // A file in the way of a folder of Windows.
    shop.recipe("[[file]]\nfrom = \"unattend.xml\"\nto = '\\WINDOWS\\System32'\n");
    let text = shop.create(1, &["--check"]);
    assert!(text.contains("is a folder in the operating system image"), "{text}");
}

/// Ten sources that are damaged, each refused by its name, and nothing written.
#[apply(test!)]
fn damaged_sources_are_refused_by_name() {
    let shop = Workshop::new();
    shop.full_recipe("[site]\nfrom = \"site.wim\"\n");
    let flip = |name: &str, share: u64| {
        let mut data = fs::read(shop.path(name)).unwrap();
        let at = data.len() * usize::try_from(share).unwrap() / 100;
        data[at] ^= 0x10;
        shop.write(name, &data);
    };
    let cut = |name: &str| {
        let data = fs::read(shop.path(name)).unwrap();
        shop.write(name, &data[..data.len() - 5000]);
    };
    type Case<'a> = (&'a str, &'a str, &'a dyn Fn());
    let cases: [Case<'_>; 10] = [
        ("os.wim", "source_damaged", &|| flip("os.wim", 30)),
        ("os.wim", "source_damaged", &|| flip("os.wim", 70)),
        ("os.wim", "source_damaged", &|| cut("os.wim")),
        ("os.wim", "source_damaged", &|| shop.write("os.wim", b"no WIM at all")),
        ("boot.wim", "source_damaged", &|| flip("boot.wim", 50)),
        ("boot.wim", "source_damaged", &|| cut("boot.wim")),
        ("boot.wim", "source_damaged", &|| shop.write("boot.wim", b"")),
        ("site.wim", "source_damaged", &|| flip("site.wim", 40)),
        ("site.wim", "source_unreadable", &|| fs::remove_file(shop.path("site.wim")).unwrap()),
        ("net", "source_unreadable", &|| fs::remove_dir_all(shop.path("net")).unwrap()),
    ];
    for (name, code, spoil) in cases {
        let good = shop.path(name).is_file().then(|| fs::read(shop.path(name)).unwrap());
        spoil();
        let text = shop.create(1, &[]);
        assert!(text.contains(code) && text.contains(&format!("/{name}")), "{name}: {text}");
        if let Some(good) = good {
            shop.write(name, &good);
        }
    }
    shop.write("net/e1r.inf", b"[Version]\r\n");
    shop.recipe("index = 3\n");
    let text = shop.create(1, &["--json"]);
    assert!(text.contains("\"image_missing\"") && text.contains("boot.wim has 1 images"), "{text}");
    shop.write(
        "recipe.toml",
        b"[os]\nwim = \"os.wim\"\n[boot]\nwim = \"boot.wim\"\nsdii = \"x\"\n",
    );
    let text = shop.create(64, &[]);
    assert!(
        text.contains("recipe.toml:5: boot.sdii: no such key")
            && text.contains("did you mean \"sdi\"?"),
        "{text}"
    );
}

#[apply(test!)]
fn a_boot_image_for_another_machine_is_refused() {
    let shop =
        Workshop::of(&Sample { files: 20, bytes: 1 << 20, architecture: 0, ..Sample::default() });
    shop.recipe("");
    let text = shop.create(1, &["--check"]);
    assert!(text.contains("boot_image_architecture") && text.contains("x86"), "{text}");
}

#[apply(test!)]
fn split_sets_are_taken_and_made() {
    let shop = Workshop::new();
    let parts = shop.path("parts");
    fs::create_dir(&parts).unwrap();
    let split = |wim: &str, size: &str, out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
        command.args([
            "media",
            "split",
            &shop.shown(wim),
            "--size",
            size,
            "--out",
            &shop.shown(out),
        ]);
        told(&mut command)
    };
    let (code, text) = split("os.wim", "2MiB", "parts/os.swm");
    assert_eq!(code, 0, "{text}");
    for part in fs::read_dir(&parts).unwrap() {
        let part = part.unwrap();
        assert!(part.metadata().unwrap().len() <= 2 << 20, "{part:?} is larger than asked for");
    }
    let (code, text) = split("os.wim", "5KiB", "parts/none.swm");
    assert!(code == 1 && text.contains("would hold no file"), "{code}: {text}");
    run(
        "wimlib-imagex",
        &["verify", &shop.shown("parts/os.swm"), &format!("--ref={}", shop.shown("parts/os*.swm"))],
    );
    shop.recipe("");
    let recipe = fs::read_to_string(shop.path("recipe.toml")).unwrap();
    shop.write("recipe.toml", recipe.replace("os.wim", "parts/os.swm").as_bytes());
    shop.create(0, &[]);
    // Once more, with a part gone.
    fs::remove_file(shop.path("parts/os2.swm")).unwrap();
    fs::remove_file(shop.path("out.wim")).unwrap();
    let text = shop.create(1, &["--check"]);
    assert!(text.contains("source_damaged") && text.contains("part 2"), "{text}");
    assert_eq!(split("os.wim", "2MiB", "parts/os.swm").0, 2, "a part is there already");
    let (code, text) = split("os.wim", "2MiB", "parts/os.wim");
    assert_eq!(code, 64, "{text}");
    assert_eq!(
        fs::read_dir(&parts)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().as_bytes()[0] == b'.')
            .count(),
        0
    );
}

/// Kills a run after some milliseconds; afterwards there is no result, or all of it.
fn killed_after(shop: &Workshop, milliseconds: u64, signal: &str) {
    let _ = fs::remove_file(shop.path("out.wim"));
    let mut child = shop.command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(milliseconds));
    run("sh", &["-c", &format!("kill -{signal} {} 2>/dev/null || true", child.id())]);
    let status = child.wait().unwrap();
    if shop.path("out.wim").exists() {
        run("wimlib-imagex", &["verify", &shop.shown("out.wim")]);
    } else {
        assert!(!status.success());
    }
    if signal == "INT" {
        assert!(!shop.path(".out.wim.prestaged").exists(), "nothing is left");
    }
}

#[apply(test!)]
fn a_killed_run_leaves_nothing_or_everything() {
    let shop = Workshop::new();
    shop.full_recipe("");
    let rounds = if LONG.missing().is_none() { 100 } else { 4 };
    let mut noise = Noise::new(rounds);
    for round in 0..rounds {
        killed_after(&shop, noise.next() % 1500, if round % 2 == 0 { "KILL" } else { "INT" });
    }
    // A later run clears what the killed ones have left.
    let _ = fs::remove_file(shop.path("out.wim"));
    shop.create(0, &[]);
}

#[apply(test!)]
#[needs(ROOT)]
fn a_full_disk_leaves_nothing() {
    let shop = Workshop::new();
    shop.full_recipe("");
    let made: Value = serde_json::from_str(&shop.create(0, &["--check", "--json"])).unwrap();
    let needed = made["needed_bytes"].as_u64().unwrap() >> 20;
    let rounds = if LONG.missing().is_none() { 100 } else { 3 };
    let mut noise = Noise::new(3);
    for round in 0..rounds {
        let place = shop.path(&format!("small{round}"));
        let small = Tmpfs::mount(place.clone(), &format!("{}m", needed + 8));
        // Somebody else takes the room after it was found to be enough.
        let filler = File::create(place.join("filler")).unwrap();
        let out = place.join("out.wim");
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
        command.args(["media", "create", &shop.shown("recipe.toml"), "--out"]).arg(&out);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(noise.next() % 600));
        let room = (needed + 6 - noise.next() % 4) << 20;
        let _ = rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, room);
        let status = child.wait().unwrap();
        assert_eq!(status.success(), out.exists(), "round {round}");
        if out.exists() {
            run("wimlib-imagex", &["verify", out.to_str().unwrap()]);
        }
        let names: Vec<_> = fs::read_dir(&place).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1 + usize::from(out.exists()), "{names:?}");
        drop(filler);
        drop(small);
    }
    let place = shop.path("smallest");
    let small = Tmpfs::mount(place.clone(), "8m");
    let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
    command
        .args(["media", "create", &shop.shown("recipe.toml"), "--out"])
        .arg(place.join("out.wim"));
    let (code, text) = told(&mut command);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no_room") && text.contains("needs up to"), "{text}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    drop(small);
}
