//! Signed lists of signers: a key is exchanged on every station by copying a file there.

use std::fs;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::trust::{problems, signers, trusting};
use super::{Desk, ctl};
use crate::evidence::happened;
use crate::harness::{Rig, told, wait_for};

/// Writes a file with signers, each with the key of a name, and has it signed as a list.
fn list(desk: &Desk, to: &str, number: u64, signers: &[&str], keys: &[&str]) -> (i32, String) {
    let table = |name: &&str| format!("[[media.signers]]\nname = {name:?}\nkey = \"{name}.pub\"\n");
    fs::write(desk.path("signers.toml"), signers.iter().map(table).collect::<String>()).unwrap();
    let mut command = ctl();
    command.args(["key", "list", &desk.text("signers.toml"), "--number", &number.to_string()]);
    command.args(keys.iter().flat_map(|key| ["--key".to_owned(), desk.text(key)]));
    told(command.args(["--out", to]))
}

/// Which keys are trusted, as the log says it.
fn followed(rig: &Rig) -> Vec<u64> {
    let all = happened(rig);
    let changes = all.iter().filter(|event| event["kind"] == "signers_changed");
    changes.map(|event| event["detail"]["number"].as_u64().unwrap()).collect()
}

#[apply(test!)]
#[needs(LOOP)]
fn a_key_is_exchanged_by_a_signed_list() {
    let desk = Desk::new();
    ["fresh", "stranger"].iter().for_each(|name| desk.key(name));
    let rig = trusting(&desk);
    let folder = rig.path("lists");
    fs::create_dir(&folder).unwrap();
    rig.set("media.signer_lists", folder.to_str().unwrap());
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let check = || told(rig.command().arg("--check"));
    let (code, text) = check();
    assert!(code == 0 && text.contains("signers   maker (key "), "{text}");

    // A stranger's list is not followed, nor is one that has no signature of those before, or leaves one out.
    for (name, number, keys, why) in [
        ("stranger.json", 1, &["stranger"][..], "needs signatures of 1 of maker, and has none"),
        ("fresh.json", 1, &["fresh"], "needs signatures of 1 of maker, and has none"),
        ("later.json", 2, &["maker"], "it is list 2, and the next one is 1"),
        ("same.json", 1, &["stranger"], "it changes nothing"),
    ] {
        let signers = if name == "same.json" { ["maker"] } else { ["fresh"] };
        assert_eq!(list(&desk, &at(name), number, &signers, keys).0, 0);
        let (code, text) = check();
        assert!(code == 78 && text.contains(why) && text.contains(name), "{text}");
        fs::remove_file(at(name)).unwrap();
    }
    fs::write(at("text.json"), "no list").unwrap();
    let (code, text) = check();
    assert!(code == 78 && text.contains("text.json is not signed"), "{text}");
    fs::remove_file(at("text.json")).unwrap();

    // The maker hands its place on; the list may have come over by way of somebody who signs, too.
    let (code, text) = list(&desk, &at("1.json"), 1, &["fresh"], &["stranger"]);
    assert!(code == 0 && text.contains("list 1 of signers, fresh; 1 signature"), "{text}");
    assert_eq!(list(&desk, &at("1.json"), 1, &["fresh"], &["maker"]).0, 2, "it is there already");
    let (code, text) =
        told(ctl().args(["key", "cosign", &at("1.json"), "--key", &desk.text("maker")]));
    assert!(code == 0 && text.contains("2 signatures"), "{text}");
    let (code, text) = check();
    assert!(code == 0 && text.contains("signers   fresh (key "), "{text}");
    assert!(text.contains(") (list 1)\n"), "{text}");
    rig.start();
    let status = rig.json(&["status"]);
    assert_eq!(
        (&status["signer_list"], &status["signers"][0]["name"]),
        (&1.into(), &"fresh".into())
    );
    let parcel = desk.pack("win11-7.wim", 7, &[]);
    let text = rig.ctl_fails(2, &["media", "receive", parcel.to_str().unwrap()]);
    assert!(text.contains("nobody who is listed for win11"), "{text}");
    rig.add_media(&desk.path("win11-7.wim"), "win11-7.wim");
    let beside = rig.path("inbox/win11-7.wim.manifest.json");
    fs::copy(parcel.join("manifest.json"), &beside).unwrap();
    wait_for("media of the key that was given up", || {
        let all = rig.json(&["media", "list"]);
        let media = all.as_array().unwrap().iter().find(|m| m["name"] == "win11-7.wim")?;
        (media["state"] == "invalid" && problems(media) == ["signer_unknown"]).then_some(())
    });
    rig.ctl_ok(&["media", "sign", beside.to_str().unwrap(), "--key", &desk.text("fresh")]);
    let media = wait_for("media that is signed anew", || {
        let all = rig.json(&["media", "list"]);
        let media = all.as_array().unwrap().iter().find(|m| m["name"] == "win11-7.wim")?;
        (media["state"] == "valid").then(|| media.clone())
    });
    assert_eq!(media["signed"]["by"], serde_json::json!(["fresh"]), "the maker's counts no more");
    assert_eq!(followed(&rig), [1]);

    // A list that is gone, or is another one now, does not bring the old key back, also not by a longer way.
    rig.terminate();
    assert!(rig.wait_end());
    fs::rename(at("1.json"), rig.path("aside")).unwrap();
    let refused = |why: &str| {
        for (code, text) in [told(&mut rig.command()), check()] {
            assert!(code == 78 && text.contains(why), "{text}");
        }
    };
    refused("list 1 of signers was in force, and 0 is the last that is there");
    assert_eq!(list(&desk, &at("1.json"), 1, &["stranger"], &["maker"]).0, 0);
    refused("another list 1 of signers was in force");
    assert_eq!(list(&desk, &at("2.json"), 2, &["maker"], &["stranger"]).0, 0);
    refused("another list 1 of signers was in force");
    fs::remove_file(at("2.json")).unwrap();
    fs::rename(rig.path("aside"), at("1.json")).unwrap();
    assert_eq!(list(&desk, &at("2.json"), 2, &["fresh", "stranger"], &["fresh"]).0, 0);
    rig.start();
    wait_for("both lists in the log", || (followed(&rig) == [1, 2]).then_some(()));
    rig.wait_media("win11-7.wim", "valid");
    // Whoever changes the configuration's signers begins anew, and the log has it.
    rig.terminate();
    assert!(rig.wait_end());
    fs::remove_file(at("1.json")).unwrap();
    fs::remove_file(at("2.json")).unwrap();
    let stranger = fs::read_to_string(desk.path("stranger.pub")).unwrap();
    rig.set("media.signers", signers(&[("stranger", &stranger, 1)]));
    rig.start();
    wait_for("the new beginning", || (followed(&rig) == [1, 2, 0]).then_some(()));
    let value: Value = rig.json(&["status"]);
    assert!(value.get("signer_list").is_none(), "{value}");
}
