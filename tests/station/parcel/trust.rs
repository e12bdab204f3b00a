//! Who vouches for media, and what a station makes of it.

use std::fs;

use macro_rules_attribute::apply;
use serde_json::Value;

use super::Desk;
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, told};

/// A desk whose maker a station trusts.
pub(super) fn trusting(desk: &Desk) -> Rig {
    let rig = Rig::new(Setup::default());
    let key = fs::read_to_string(desk.path("maker.pub")).unwrap();
    rig.set("media.signers", signers(&[("maker", &key, 1)]));
    rig
}

pub(super) fn signers(all: &[(&str, &str, i64)]) -> toml::Value {
    let table = |(name, key, threshold): &(&str, &str, i64)| {
        let mut table = toml::Table::new();
        table.insert("name".into(), (*name).into());
        table.insert("key".into(), (*key).into());
        table.insert("threshold".into(), (*threshold).into());
        toml::Value::Table(table)
    };
    toml::Value::Array(all.iter().map(table).collect())
}

/// The codes of what is wrong with media.
pub(super) fn problems(media: &Value) -> Vec<&str> {
    media["problems"].as_array().unwrap().iter().map(|p| p["code"].as_str().unwrap()).collect()
}

/// As soon as somebody is listed, only what they vouch for is used, and the daemon is asked whom to trust.
#[apply(test!)]
#[needs(LOOP)]
fn only_media_that_somebody_vouches_for_is_used() {
    let desk = Desk::new();
    let parcel = desk.pack("win11-7.wim", 7, &["--expires", "2099-06-30", "--version", "June"]);
    let rig = trusting(&desk);
    rig.add_media(&desk.path("win11-7.wim"), "win11-7.wim");
    rig.start();
    assert_eq!(problems(&rig.wait_media("win11-7.wim", "invalid")), ["media_unsigned"]);
    let drive = rig.attached("A", 160, 512);
    rig.wait_refused(&drive.serial, "media_unsigned");
    // A manifest that comes later counts; one of a stranger does not, nor does that of other media.
    let beside = rig.path("inbox/win11-7.wim.manifest.json");
    let again = |code: &str| {
        crate::harness::wait_for(&format!("media with {code}"), || {
            let all = rig.json(&["media", "list"]);
            let media = all.as_array().unwrap().iter().find(|m| m["name"] == "win11-7.wim")?;
            (media["state"] == "invalid" && problems(media) == [code]).then_some(())
        });
    };
    let good = fs::read(parcel.join("manifest.json")).unwrap();
    let mut envelope: Value = serde_json::from_slice(&good).unwrap();
    envelope["signatures"] = Value::Array(Vec::new());
    fs::write(&beside, envelope.to_string()).unwrap();
    again("signer_unknown");
    rig.wait_refused(&drive.serial, "signer_unknown");
    fs::write(&beside, "{}").unwrap();
    again("media_unsigned");
    fs::write(&beside, &good).unwrap();
    rig.wait_state(&drive.serial, &["passed"]);
    let text = rig.ctl_ok(&["media", "show", "win11-7.wim"]);
    for part in [
        "win11 7, version June",
        "signed by",
        "maker, on 20",
        "to 2099-06-30",
        "the same as intake",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!rig.ctl_ok(&["status"]).contains("manifest.json"), "it is not told as ignored");
    // The parcel of a stranger is refused before anything of it is written.
    desk.key("stranger");
    fs::remove_dir_all(&parcel).unwrap();
    fs::rename(desk.path("stranger"), desk.path("maker")).unwrap();
    desk.pack("win11-7.wim", 8, &[]);
    let text = rig.ctl_fails(2, &["--json", "media", "receive", parcel.to_str().unwrap()]);
    assert!(text.contains("signer_unknown"), "{text}");
}

/// Dates are the maker's, and the clock does not go back behind what was signed.
#[apply(test!)]
#[needs(LOOP)]
fn signed_dates_count() {
    let desk = Desk::new();
    let rig = trusting(&desk);
    // What is kept by hand would end the media; what is signed counts instead.
    let mut expires = toml::Table::new();
    expires.insert("win11-7.wim".into(), "2020-01-01".into());
    rig.set("media.expires", expires);
    rig.start();
    let drive = rig.attached("A", 160, 512);
    for (dates, code) in [
        (["--expires", "2020-01-01"], "media_expired"),
        (["--not-before", "2099-01-01"], "media_not_yet_valid"),
    ] {
        let parcel = desk.pack("win11-7.wim", 7, &dates);
        rig.ctl_ok(&["media", "receive", parcel.to_str().unwrap()]);
        rig.wait_refused(&drive.serial, code);
        fs::remove_dir_all(parcel).unwrap();
        fs::remove_file(rig.path("inbox/win11-7.wim")).unwrap();
        rig.wait_refused(&drive.serial, "no_media");
    }
    let parcel = desk.pack("win11-7.wim", 7, &["--expires", "2099-01-01"]);
    rig.ctl_ok(&["media", "receive", parcel.to_str().unwrap()]);
    rig.wait_state(&drive.serial, &["passed"]);
}

/// Older media is a step back, also after a restart, until an operator says why it may be used.
#[apply(test!)]
#[needs(LOOP)]
fn older_media_is_refused_until_it_is_accepted() {
    let desk = Desk::new();
    let rig = trusting(&desk);
    rig.start();
    let new = desk.pack("win11-7.wim", 7, &[]);
    rig.ctl_ok(&["media", "receive", new.to_str().unwrap()]);
    rig.wait_media("win11-7.wim", "valid");
    fs::remove_file(rig.path("inbox/win11-7.wim")).unwrap();
    fs::remove_dir_all(&new).unwrap();
    let old = desk.pack("win11-7.wim", 6, &[]);
    rig.ctl_ok(&["media", "receive", old.to_str().unwrap()]);
    assert_eq!(problems(&rig.wait_media("win11-7.wim", "invalid")), ["media_rollback"]);
    rig.terminate();
    assert!(rig.wait_end());
    rig.start();
    assert_eq!(problems(&rig.wait_media("win11-7.wim", "invalid")), ["media_rollback"]);
    let drive = rig.attached("A", 160, 512);
    rig.wait_refused(&drive.serial, "media_rollback");
    rig.ctl_fails(64, &["media", "accept", "win11-7.wim", "--reason", " "]);
    rig.ctl_fails(2, &["media", "accept", "other.wim", "--reason", "x"]);
    rig.ctl_ok(&["media", "accept", "win11-7.wim", "--reason", "7 does not boot on model X"]);
    rig.wait_state(&drive.serial, &["passed"]);
    let sql = "SELECT product, sequence, reason FROM accepted";
    let found = run("sqlite3", &[rig.path("ledger.db").to_str().unwrap(), sql]);
    assert_eq!(found.trim(), "win11|6|7 does not boot on model X");
}

/// Two must sign where two are asked for, and a wrong key in the configuration is told with its line.
#[apply(test!)]
#[needs(LOOP)]
fn as_many_sign_as_are_asked_for() {
    let desk = Desk::new();
    desk.key("second");
    let rig = Rig::new(Setup::default());
    let key = |name: &str| fs::read_to_string(desk.path(&format!("{name}.pub"))).unwrap();
    let check = |list: toml::Value| {
        rig.set("media.signers", list);
        told(rig.command().arg("--check"))
    };
    let (code, text) = check(signers(&[("maker", &key("maker"), 2)]));
    assert!(code == 78 && text.contains("threshold: 2 of 1 signers cannot be met"), "{text}");
    let (code, text) = check(signers(&[("maker", &desk.text("maker"), 1)]));
    assert!(code == 78 && text.contains("this is a secret key"), "{text}");
    let (code, text) = check(signers(&[("maker", "/nowhere.pub", 1)]));
    assert!(code == 78 && text.contains("[[media.signers]] key: cannot read"), "{text}");
    let (code, text) = check(signers(&[("a", &key("maker"), 1), ("b", &key("maker"), 1)]));
    assert!(code == 78 && text.contains("a and b have the same key"), "{text}");
    let both = [("maker", &*desk.text("maker.pub"), 2), ("second", &key("second"), 1)];
    rig.set("media.signers", signers(&both));
    rig.start();
    let parcel = desk.pack("win11-7.wim", 7, &["--offer", "by_hand"]);
    let text = rig.ctl_fails(2, &["media", "receive", parcel.to_str().unwrap()]);
    assert!(text.contains("needs signatures of 2 signers, and has maker"), "{text}");
    let sign = ["media", "sign", parcel.to_str().unwrap(), "--key", &desk.text("second")];
    assert!(rig.ctl_ok(&sign).contains("signed: win11 7"));
    rig.ctl_ok(&["media", "receive", parcel.to_str().unwrap()]);
    let media = rig.wait_media("win11-7.wim", "valid");
    assert_eq!(media["signed"]["by"], serde_json::json!(["maker", "second"]));
    // The maker's word makes it narrower, and the operator's counts more.
    assert_eq!(media["offer"], "by_hand");
    rig.ctl_ok(&["media", "offer", "win11-7.wim", "automatic"]);
    assert_eq!(rig.wait_media("win11-7.wim", "valid")["offer"], "automatic");
}
