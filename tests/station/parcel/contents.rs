//! What a manifest says of the media's contents: found by the maker's program, again by others, and by intake.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use macro_rules_attribute::apply;
use serde_json::Value;

use super::trust::trusting;
use super::{Desk, ctl};
use crate::harness::sample::run;
use crate::harness::told;

/// What was signed.
fn payload(manifest: &Path) -> Value {
    let envelope: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let text = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Signs a payload anew, by OpenSSL with the maker's key.
fn resigned(desk: &Desk, manifest: &Path, payload: &Value) {
    let mut envelope: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let (text, kind) = (payload.to_string(), envelope["payloadType"].as_str().unwrap().to_owned());
    let message = format!("DSSEv1 {} {kind} {} {text}", kind.len(), text.len());
    fs::write(desk.path("message"), message).unwrap();
    let files = ["-in", &desk.text("message"), "-out", &desk.text("signature")];
    let key = ["pkeyutl", "-sign", "-rawin", "-inkey", &desk.text("maker")];
    run("openssl", &[&key[..], &files[..]].concat());
    envelope["payload"] = STANDARD.encode(text).into();
    envelope["signatures"][0]["sig"] =
        STANDARD.encode(fs::read(desk.path("signature")).unwrap()).into();
    fs::write(manifest, envelope.to_string()).unwrap();
}

#[apply(test!)]
#[needs(LOOP)]
fn a_manifest_says_what_the_media_holds() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    let (media, unpacked) = (desk.text("win11-7.wim"), desk.text("unpacked"));
    let signed = payload(&parcel.join("manifest.json"));
    // Others find the same: the boot image by its bytes, each package by the command that the manual names.
    let into = format!("--dest-dir={unpacked}");
    let cache = "/_SMSTaskSequence/Packages";
    let extract = ["extract", &media, "1", "/sources/boot.wim", cache, &into, "--no-acls"];
    run("wimlib-imagex", &extract);
    let boot = run("sha256sum", &[&format!("{unpacked}/boot.wim")]);
    assert!(boot.starts_with(signed["boot_image"]["sha256"].as_str().unwrap()), "{signed:#}");
    let packages = signed["packages"].as_array().unwrap();
    let ids: Vec<_> = packages.iter().map(|package| package["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["PRE00001", "PRE00002"]);
    for (id, package) in ids.iter().zip(packages) {
        let list = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha1sum | sha256sum";
        let mut command = Command::new("sh");
        command.args(["-c", list]).current_dir(format!("{unpacked}/Packages/{id}"));
        let (code, sum) = told(&mut command);
        let expected = package["sha256_of_list"].as_str().unwrap();
        assert!(code == 0 && sum.starts_with(expected), "{package:#}: {sum}");
    }
    assert_eq!(signed["image"]["index"], 1);
    // A station finds them as they were signed, or says what it has found otherwise.
    let rig = trusting(&desk);
    let beside = rig.path("inbox/win11-7.wim.manifest.json");
    fs::copy(parcel.join("manifest.json"), &beside).unwrap();
    rig.add_media(&desk.path("win11-7.wim"), "win11-7.wim");
    rig.start();
    rig.wait_media("win11-7.wim", "valid");
    let text = rig.ctl_ok(&["media", "show", "win11-7.wim"]);
    assert!(text.contains("the same as intake has found"), "{text}");
    assert!(text.contains(signed["packages"][0]["sha256_of_list"].as_str().unwrap()), "{text}");
    let mut lie = signed.clone();
    lie["packages"][0]["id"] = "PRE00009".into();
    lie["boot_image"]["sha256"] = signed["file"]["sha256"].clone();
    resigned(&desk, &beside, &lie);
    rig.ctl_ok(&["media", "verify", "win11-7.wim"]);
    let differences = crate::harness::wait_for("differences", || {
        let media = rig.wait_media("win11-7.wim", "valid");
        media["signed"]["differences"].as_array().cloned()
    });
    let told: Vec<_> = differences.iter().map(|sentence| sentence.as_str().unwrap()).collect();
    let begins = ["boot image: ", "package PRE00001: none is", "package PRE00009: "];
    assert!(
        told.len() == 3 && told.iter().zip(begins).all(|(told, begin)| told.starts_with(begin)),
        "{told:?}"
    );
    assert!(rig.ctl_ok(&["media", "show", "win11-7.wim"]).contains("package PRE00009: "));
}

/// What the media holds cannot be told, so nothing is signed.
#[apply(test!)]
fn media_that_cannot_be_read_is_not_packed() {
    let desk = Desk::new();
    fs::write(desk.path("odd.wim"), {
        // The table of blobs and the images' XML are gone.
        let mut data = fs::read(desk.path("win11-7.wim")).unwrap();
        data.truncate(data.len() / 2);
        data
    })
    .unwrap();
    let mut command = ctl();
    command.args(["media", "pack", "--product", "win11", "--sequence", "1"]);
    command.args(["--key", &desk.text("maker"), "--to", &desk.text("")]).arg(desk.path("odd.wim"));
    let (code, text) = told(&mut command);
    assert!(code == 1 && text.contains("odd.wim"), "{text}");
    // Neither is there an image that it lacks.
    let mut other = ctl();
    other.args(["media", "pack", "--product", "win11", "--sequence", "1", "--image", "2"]);
    other
        .args(["--key", &desk.text("maker"), "--to", &desk.text("")])
        .arg(desk.path("win11-7.wim"));
    let (code, text) = told(&mut other);
    assert!(code == 1 && text.contains("win11-7.wim"), "{text}");
    let left: Vec<_> = fs::read_dir(desk.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("parcel") || name.contains("prestaged"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
