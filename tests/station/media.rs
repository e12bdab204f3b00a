//! What the station makes of the files in its inbox.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use macro_rules_attribute::apply;

use crate::harness::sample::{AMD64, Sample, head, run};
use crate::harness::{Rig, Setup, sample, signed, wait_for};

#[apply(test!)]
#[needs(LOOP)]
fn a_growing_file_is_not_picked_up() {
    let rig = Rig::new(Setup::default());
    let wim = fs::read(sample(&["--compress=LZX"])).unwrap();
    let path = rig.path("inbox/win.wim");
    // Half of it is there when the station starts.
    let mut file = File::create(&path).unwrap();
    file.write_all(&wim[..wim.len() / 2]).unwrap();
    rig.start();
    let drive = rig.attached("A", 160, 512);
    rig.wait_refused(&drive.serial, "no_media");
    assert_eq!(
        rig.json(&["media", "list"]).as_array().unwrap().len(),
        0,
        "the growing file is not listed"
    );
    file.write_all(&wim[wim.len() / 2..]).unwrap();
    drop(file);
    wait_for("the media to be valid", || {
        (rig.json(&["media", "list"])[0]["state"] == "valid").then_some(())
    });
    rig.wait_state(&drive.serial, &["passed"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn damaged_media_is_named_and_never_used() {
    let rig = Rig::new(Setup::default());
    let good = sample(&["--compress=LZX"]);
    let data = fs::read(&good).unwrap();
    let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = data.clone();
        change(&mut bad);
        let path = rig.path(name);
        fs::write(&path, bad).unwrap();
        rig.add_media(&path, name);
    };
    damage("cut.wim", &|d| d.truncate(d.len() / 2));
    damage("flipped.wim", &|d| {
        let middle = d.len() / 2;
        d[middle] ^= 1;
    });
    damage("header.wim", &|d| d[57] ^= 0xff);
    damage("text.wim", &|d| *d = b"this is no WIM".to_vec());
    damage("empty.wim", &Vec::clear);
    rig.start();
    let _shown = rig.shown();
    for name in ["cut.wim", "flipped.wim", "header.wim", "text.wim", "empty.wim"] {
        let media = rig.wait_media(name, "invalid");
        assert_eq!(media["problems"][0]["code"], "wim_damaged", "{media:#}");
        let text = rig.ctl_ok(&["media", "show", name]);
        if name == "flipped.wim" {
            // What libwim says depends on where the bit lies in a compressed block.
            let line =
                format!("wim_damaged: cannot verify {}", rig.path("inbox/flipped.wim").display());
            assert!(text.contains(&line), "{text}");
        } else {
            insta::assert_snapshot!(name, text);
        }
    }
    let drive = rig.attached("A", 160, 512);
    rig.wait_refused(&drive.serial, "media_invalid");
    rig.add_media(&good, "good.wim");
    rig.wait_state(&drive.serial, &["passed"]);
    assert_eq!(rig.wait_pass(&drive.serial)["media"]["name"], "good.wim");
    rig.ctl_fails(1, &["media", "verify", "cut.wim"]);
    rig.ctl_ok(&["media", "verify", "good.wim"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn a_byte_flipped_later_is_found_too() {
    let rig = Rig::started(Setup::default());
    let path = rig.path("inbox/win.wim");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let at = fs::metadata(&path).unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    drop(file);
    wait_for("the media to be invalid", || {
        (rig.json(&["media", "list"])[0]["state"] == "invalid").then_some(())
    });
}

#[apply(test!)]
#[needs(LOOP)]
fn missing_boot_files_are_told_at_intake() {
    let rig = Rig::new(Setup::default());
    let wim = rig.path("bare.wim");
    let bare = Sample { files: 20, bytes: 1 << 20, boot: false, ..Sample::default() };
    bare.make(&wim, &["--compress=none"]);
    rig.add_media(&wim, "bare.wim");
    rig.start();
    let media = rig.wait_media("bare.wim", "invalid");
    let codes: Vec<_> = media["problems"].as_array().unwrap().iter().map(|p| &p["code"]).collect();
    assert_eq!(codes, ["boot_files_missing", "bcd_missing"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn what_cannot_be_restored_is_told() {
    let rig = Rig::new(Setup::default().content_only());
    let tree = rig.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "with an attribute").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.join("file"), "user.hint", b"1", flags).unwrap();
    let wim = rig.path("ea.wim");
    run(
        "wimlib-imagex",
        &["capture", tree.to_str().unwrap(), wim.to_str().unwrap(), "--unix-data"],
    );
    rig.add_media(&wim, "ea.wim");
    rig.start();
    let media = rig.wait_media("ea.wim", "valid");
    assert_eq!(media["warnings"][0]["code"], "extended_attributes", "{media:#}");
    let _shown = rig.shown();
    insta::assert_snapshot!("ea.wim", rig.ctl_ok(&["media", "show", "ea.wim"]));
}

#[apply(test!)]
#[needs(LOOP)]
fn wrong_boot_files_are_told_at_intake() {
    let rig = Rig::new(Setup::default());
    let small = Sample { files: 20, bytes: 1 << 20, ..Sample::default() };
    let mut dirty = crate::harness::hive::bcd(rig.path("drives").as_path());
    // A hive that was not closed has another second sequence number; the checksum covers it.
    dirty[8] ^= 2;
    dirty[508] ^= 2;
    let _shown = rig.shown();
    let mut signed = vec![0; 1000];
    head(&mut signed, AMD64, 10);
    let signed = signed::signed(signed, &[signed::OLD]);
    for (name, media, code) in [
        ("x86.wim", Sample { architecture: 0, ..small.clone() }, "boot_image_architecture"),
        ("dirty.wim", Sample { bcd: Some(dirty), ..small.clone() }, "bcd_invalid"),
        ("junk.wim", Sample { bcd: Some(b"junk".to_vec()), ..small.clone() }, "bcd_invalid"),
    ] {
        let wim = rig.path(name);
        media.make(&wim, &["--compress=none"]);
        rig.add_media(&wim, name);
        if rig.ctl(&["status"]).0 != 0 {
            rig.start();
        }
        wait_for("the media to be seen", || {
            rig.json(&["media", "list"]).to_string().contains(name).then_some(())
        });
        let found = rig.wait_media(name, "invalid");
        assert_eq!(found["problems"][0]["code"], code, "{found:#}");
        insta::assert_snapshot!(name, rig.ctl_ok(&["media", "show", name]));
    }
    let wim = rig.path("old.wim");
    Sample { manager: Some(signed), ..small }.make(&wim, &["--compress=none"]);
    rig.add_media(&wim, "old.wim");
    let found = rig.wait_media("old.wim", "valid");
    assert_eq!(found["warnings"][0]["code"], "boot_manager_2011", "{found:#}");
    assert_eq!(found["boot_image"]["build"], "26100", "{found:#}");
    insta::assert_snapshot!("old.wim", rig.ctl_ok(&["media", "show", "old.wim"]));
}

#[apply(test!)]
#[needs(LOOP)]
fn the_inventory_counts_what_makes_media_difficult() {
    let rig = Rig::started(Setup::default());
    let media = rig.wait_media("win.wim", "valid");
    let _shown = rig.shown();
    insta::assert_snapshot!("win.wim", rig.ctl_ok(&["media", "show", "win.wim"]));
    let sum = run("sha256sum", &[rig.path("inbox/win.wim").to_str().unwrap()]);
    assert_eq!(media["sha256"], sum.split(' ').next().unwrap());
}

/// A second file changes nothing by itself: somebody decides, and that lasts.
#[apply(test!)]
#[needs(LOOP)]
fn new_media_is_pressed_ahead_and_nothing_is_guessed() {
    let setup = Setup::default().set("store.press_ahead", true).set("store.derive", false);
    let rig = Rig::started(setup);
    let first = rig.attached("A", 160, 512);
    rig.wait_pass(&first.serial);
    let wim = rig.path("newer.wim");
    Sample { seed: 2, ..Sample::default() }.make(&wim, &["--compress=XPRESS"]);
    rig.add_media(&wim, "newer.wim");
    wait_for("a second master", || {
        let all = rig.json(&["master", "list"]);
        (all.as_array().unwrap().len() == 2).then_some(())
    });
    let second = rig.drive("B", 160);
    let before = second.checksum();
    second.attach(&[]);
    let refused = rig.wait_verdict(&second.serial);
    assert_eq!(refused["reason"]["code"], "media_ambiguous", "{refused:#}");
    let detail = refused["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains("newer.wim") && detail.contains("win.wim"), "{detail}");
    let status = rig.json(&["status"]);
    assert_eq!(status["no_media"]["code"], "media_ambiguous", "{status:#}");
    rig.ctl_fails(2, &["image", &second.node()]);
    second.assert_untouched(&before);
    // The age of a file decides nothing.
    let touched = File::options().write(true).open(rig.path("inbox/win.wim")).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    drop(touched);
    rig.ctl_ok(&["media", "verify", "win.wim"]);
    rig.wait_refused(&second.serial, "media_ambiguous");
    rig.ctl_ok(&["image", &second.node(), "--media", "win.wim"]);
    assert_eq!(rig.wait_pass(&second.serial)["media"]["name"], "win.wim");
    // What is offered by hand is not pressed ahead, and not taken.
    let third = rig.attached("C", 160, 512);
    rig.wait_refused(&third.serial, "media_ambiguous");
    rig.ctl_ok(&["media", "offer", "win.wim", "by_hand"]);
    rig.wait_state(&third.serial, &["passed"]);
    assert_eq!(rig.wait_pass(&third.serial)["media"]["name"], "newer.wim");
}

/// An offer lasts across a restart, goes with a file that is replaced or copied, and says who has made it.
#[apply(test!)]
#[needs(LOOP)]
fn an_offer_is_kept_with_who_and_when() {
    let offers = toml::Table::from_iter([("Spare.wim".to_owned(), "hidden".into())]);
    let rig = Rig::new(Setup::default().set("media.offers", offers));
    let wim = rig.path("spare.wim");
    Sample { seed: 3, ..Sample::default() }.make(&wim, &["--compress=XPRESS"]);
    rig.add_media(&wim, "spare.wim");
    rig.start_with_media();
    let listed = |all: &[&str]| {
        let media = rig.json(&[&["media", "list"], all].concat());
        let offer = |m: &serde_json::Value| format!("{} {}", m["name"], m["offer"]);
        media.as_array().unwrap().iter().map(offer).collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let checked = |count: usize| {
        wait_for("all media to be checked", || {
            let all = rig.json(&["media", "list", "--all"]);
            let all = all.as_array().unwrap();
            (all.len() == count && all.iter().all(|media| media["state"] == "valid")).then_some(())
        });
    };
    checked(2);
    assert_eq!(listed(&[]), "win.wim automatic");
    assert_eq!(listed(&["--all"]), "spare.wim hidden, win.wim automatic");
    let first = rig.attached("A", 160, 512);
    assert_eq!(rig.wait_pass(&first.serial)["media"]["name"], "win.wim");
    let text = rig.ctl_fails(2, &["image", &first.node(), "--media", "spare.wim"]);
    assert!(text.contains("is hidden"), "{text}");
    let text = rig.ctl_fails(2, &["media", "offer", "wni.wim", "hidden"]);
    assert!(text.contains("no media named"), "{text}");
    rig.ctl_fails(64, &["media", "offer", "win.wim", "sometimes"]);
    rig.ctl_ok(&["media", "offer", "win.wim", "hidden"]);
    rig.ctl_ok(&["media", "offer", "spare.wim", "by_hand"]);
    rig.kill();
    rig.start();
    rig.add_media(&sample(&["--compress=LZX"]), "copy.wim");
    checked(3);
    assert_eq!(listed(&["--all"]), "copy.wim hidden, spare.wim by_hand, win.wim hidden");
    let win = rig.json(&["media", "show", "win.wim"]);
    assert!(win["offered"]["at"].is_string() && win["offered"]["by"].is_string(), "{win:#}");
    let second = rig.attached("B", 160, 512);
    rig.wait_refused(&second.serial, "no_media");
    rig.ctl_ok(&["image", &second.node(), "--media", "spare.wim"]);
}

#[apply(test!)]
#[needs(LOOP)]
fn masters_survive_restarts_and_stay_under_the_budget() {
    let tools = vec!["/usr/sbin", "/usr/bin"];
    let setup = Setup::default().set("tools.search", tools).set("store.derive", false);
    let rig = Rig::started(setup);
    let press = |size: &str| {
        rig.ctl_ok(&["master", "press", "--media", "win.wim", "--size", size]);
    };
    press("160MiB");
    rig.terminate();
    rig.wait_end();
    rig.start();
    rig.wait_media("win.wim", "valid");
    let drive = rig.attached("A", 160, 512);
    rig.wait_pass(&drive.serial);
    let presses = rig.log().matches("pressing a master").count();
    assert_eq!(presses, 1, "the station found its master again");
    rig.terminate();
    rig.wait_end();
    // Room for one and a half.
    rig.set("store.budget", "190MB");
    rig.start();
    rig.wait_media("win.wim", "valid");
    let before = rig.json(&["master", "list"])[0]["id"].clone();
    press("430MiB");
    let after = rig.json(&["master", "list"]);
    assert_eq!(after.as_array().unwrap().len(), 1, "{after:#}");
    assert_ne!(after[0]["id"], before, "the older master went");
    let id = after[0]["id"].as_str().unwrap().to_owned();
    rig.ctl_ok(&["master", "remove", &id]);
    rig.ctl_fails(2, &["master", "remove", &id]);
}

/// A file that is changed in place while it is verified must not be believed half old, half new.
#[apply(test!)]
#[needs(LOOP)]
fn media_replaced_in_place_is_verified_again() {
    let rig = Rig::started(Setup::default());
    let before = rig.wait_media("win.wim", "valid")["sha256"].clone();
    let other = fs::read(sample(&["--compress=XPRESS", "--check"])).unwrap();
    let mut file = File::options().write(true).open(rig.path("inbox/win.wim")).unwrap();
    file.set_len(0).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&other).unwrap();
    drop(file);
    wait_for("the new digest", || {
        let media = &rig.json(&["media", "list"])[0];
        (media["state"] == "valid" && media["sha256"] != before).then_some(())
    });
}
