//! The ledger's log from outside: what somebody else can check, and what is done to a ledger that somebody has changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use macro_rules_attribute::apply;
use model::api::schema::Document;
use serde_json::Value;

use crate::harness::needs::POPPLER;
use crate::harness::sample::run;
use crate::harness::{Rig, Setup, schema, told, wait_for};

/// RFC 6962 in another language, and DSSE: prints the record's verdict if the certificate proves it. The signatures are left
/// to OpenSSL.
const CHECK: &str = r#"
import base64, hashlib, json, sys
certificate = json.load(open(sys.argv[1]))
envelope = certificate["envelope"]
keys = ["payload", "payloadType", "signatures"]
signatures = [{"keyid": one["keyid"], "sig": one["sig"]} for one in envelope["signatures"]]
fixed = {"payload": envelope["payload"], "payloadType": envelope["payloadType"], "signatures": signatures}
entry = json.dumps(fixed, separators=(",", ":")).encode() + b"\n"
head, note = certificate["tlog_proof"].split("\n\n", 1)
lines = head.split("\n")
assert lines[0] == "c2sp.org/tlog-proof@v1", lines
index = int(lines[1].removeprefix("index "))
path = [base64.b64decode(line) for line in lines[2:]]
text, signed = note.split("\n\n", 1)
origin, size, root = text.split("\n")[:3]
size, root = int(size), base64.b64decode(root)
sha = lambda data: hashlib.sha256(data).digest()
def subtree(index, size, path):
    if size == 1:
        assert not path
        return sha(b"\0" + entry)
    left = 1 << (size - 1).bit_length() - 1
    beside = path[-1]
    if index < left:
        return sha(b"\1" + subtree(index, left, path[:-1]) + beside)
    return sha(b"\1" + beside + subtree(index - left, size - left, path[:-1]))
assert subtree(index, size, path) == root, "another root"
payload = base64.b64decode(envelope["payload"])
kind = envelope["payloadType"]
open(sys.argv[2], "wb").write(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload))
open(sys.argv[3], "wb").write(base64.b64decode(signatures[0]["sig"]))
open(sys.argv[4], "wb").write(text.encode() + b"\n")
open(sys.argv[5], "wb").write(base64.b64decode(signed.split(" ")[2])[4:])
statement = json.loads(payload)
assert statement["predicate"]["log"]["seq"] == index + 1
assert origin == "prestaged/" + statement["predicate"]["log"]["ledger"]
print(statement["predicate"]["record"]["verdict"])
"#;

/// What is proven without any program of ours.
fn proven(rig: &Rig, certificate: &str, key: &str) -> (i32, String) {
    let path = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    let (message, signature, note, signed) =
        (path("message"), path("signature"), path("note"), path("signed"));
    let mut python = Command::new("python3");
    python.args(["-c", CHECK, certificate, &message, &signature, &note, &signed]);
    let (code, verdict) = told(&mut python);
    for (message, signature) in [(&message, &signature), (&note, &signed)] {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin"]);
        let (checked, text) = told(openssl.args(["-in", message, "-sigfile", signature]));
        if checked != 0 {
            return (checked, text);
        }
    }
    (code, verdict.trim().to_owned())
}

fn change(rig: &Rig, sql: &str) {
    let ledger = rig.path("ledger.db");
    run("sqlite3", &["-cmd", ".timeout 10000", ledger.to_str().unwrap(), sql]);
}

/// The kinds of the log's events, in their order.
fn events(rig: &Rig) -> Vec<String> {
    happened(rig).iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

/// What has happened, by the log.
pub(crate) fn happened(rig: &Rig) -> Vec<Value> {
    let ledger = rig.path("ledger.db");
    let sql = "SELECT json_extract(entry, '$.payload') FROM log WHERE job IS NULL ORDER BY seq";
    let payloads = run("sqlite3", &[ledger.to_str().unwrap(), sql]);
    let event = |line: &str| {
        let mut base64 = Command::new("base64");
        let file = rig.path("payload");
        fs::write(&file, line).unwrap();
        let (_, text) = told(base64.arg("-d").arg(&file));
        let mut statement: Value = serde_json::from_str(&text).unwrap();
        statement["predicate"]["event"].take()
    };
    payloads.lines().map(event).collect()
}

#[apply(test!)]
#[needs(LOOP)]
fn a_record_is_proven_to_somebody_else_and_a_changed_ledger_is_found_out() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let path = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    let mode = fs::metadata(rig.path("station.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the key is nobody else's");

    // A certificate, checked by prestagectl, and by OpenSSL and another implementation of the tree.
    let view = rig.json(&["log", "checkpoint"]);
    schema::assert_is(Document::Checkpoint, &view);
    fs::write(rig.path("station.pub"), view["key"].as_str().unwrap()).unwrap();
    let (key, file) = (path("station.pub"), path("certificate.json"));
    let pdf = path("certificate.pdf");
    // Any font will do.
    let fonts = POPPLER.missing().is_none();
    if fonts {
        rig.ctl_ok(&["certificate", &drive.serial, "--json", &file, "--pdf", &pdf]);
        assert!(fs::read(&pdf).unwrap().starts_with(b"%PDF-"));
    } else {
        rig.ctl_ok(&["certificate", &drive.serial, "--json", &file]);
    }
    let certificate: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    schema::assert_is(Document::Certificate, &certificate);
    assert_eq!(certificate["record"], record);
    let verified = rig.json(&["verify-record", &file, "--key", &key, "--require", "passed"]);
    assert_eq!(verified["record"], record, "{verified:#}");
    assert!(verified["proven_in"]["size"].as_u64().unwrap() >= 2, "{verified:#}");
    rig.ctl_fails(1, &["verify-record", &file, "--key", &key, "--require", "failed"]);
    assert_eq!(proven(&rig, &file, &key), (0, "passed".to_owned()));
    // The short form, as it is on paper.
    let short = path("short");
    fs::write(&short, certificate["short"].as_str().unwrap()).unwrap();
    rig.ctl_fails(3, &["verify-record", &short, "--key", &key, "--require", "passed"]);
    let alone = ["verify-record", &short, "--key", &key, "--require", "passed", "--signature-only"];
    let told = rig.json(&alone);
    assert_eq!(told["serial"], record["serial"], "{told:#}");
    // Neither of them takes one that was changed.
    let text = fs::read_to_string(&file).unwrap();
    let payload = certificate["envelope"]["payload"].as_str().unwrap();
    let other = path("other.json");
    fs::write(&other, text.replace(payload, &payload.replacen("ey", "ez", 1))).unwrap();
    rig.ctl_fails(1, &["verify-record", &other, "--key", &key]);
    assert_ne!(proven(&rig, &other, &key).0, 0);
    rig.ctl_fails(2, &["certificate", "NOBODY", "--json"]);

    // What operators do is in the log.
    rig.ctl_ok(&["disarm"]);
    rig.ctl_ok(&["media", "offer", "win.wim", "by_hand"]);
    rig.ctl_ok(&["arm"]);
    assert_eq!(events(&rig), ["log_begun", "disarmed", "offer_changed", "armed"]);
    let whole = rig.json(&["log", "verify"]);
    schema::assert_is(Document::LogVerified, &whole);
    assert_eq!((&whole["entries"], &whole["records"]), (&5.into(), &1.into()), "{whole:#}");

    // A label that was printed before says so, whoever prints it.
    let label = ["certificate", &drive.serial, "--label", "zpl"];
    let first = rig.ctl_ok(&label);
    assert!(first.contains("^FDPASS^FS") && !first.contains("COPY"), "{first}");
    assert!(rig.ctl_ok(&label).contains("^FDCOPY^FS"));
    assert_eq!(events(&rig)[4..], ["label_printed", "label_printed"]);

    // Somebody changes a record while the station runs.
    change(&rig, "UPDATE records SET serial = 'X'");
    let error = rig.ctl_fails(1, &["log", "verify"]);
    assert!(error.contains("is not what the log says"), "{error}");
    let status = wait_for("the station to be disarmed", || {
        let status = rig.json(&["status"]);
        (status["armed"] == false).then_some(status)
    });
    assert_eq!(status["ledger"]["code"], "ledger_tampered", "{status:#}");
    let error = rig.ctl_fails(1, &["arm"]);
    assert!(error.contains("log acknowledge"), "{error}");
    let second = rig.drive("B", 160);
    let before = second.checksum();
    second.attach(&[]);
    rig.wait_refused(&second.serial, "ledger_tampered");
    // It is found again at the next start, and by nothing but a person's word forgotten.
    rig.terminate();
    assert!(rig.wait_end());
    rig.start();
    assert_eq!(rig.json(&["status"])["ledger"]["code"], "ledger_tampered");
    rig.wait_refused(&second.serial, "ledger_tampered");
    second.assert_untouched(&before);
    change(&rig, &format!("UPDATE records SET serial = '{}'", drive.serial));
    rig.ctl_fails(64, &["log", "acknowledge"]);
    rig.ctl_ok(&["log", "acknowledge", "--reason", "a test"]);
    wait_for("the ledger to be used", || rig.json(&["status"])["ledger"].is_null().then_some(()));
    assert_eq!(rig.json(&["status"])["armed"], false, "it is armed by a person alone");
    rig.ctl_ok(&["arm"]);
    rig.ctl_ok(&["image", &second.serial, "--media", "win.wim"]);
    rig.ctl_ok(&["log", "verify"]);
    // The former log's certificate is still signed by the same key.
    rig.ctl_ok(&["verify-record", &file, "--key", &key, "--require", "passed"]);
    // A station with another key does not go on by itself.
    rig.terminate();
    assert!(rig.wait_end());
    fs::remove_file(rig.path("station.key")).unwrap();
    rig.start();
    let trouble = rig.json(&["status"])["ledger"].clone();
    assert_eq!(trouble["code"], "ledger_tampered", "{trouble:#}");
    assert!(trouble["detail"].as_str().unwrap().contains("another key"), "{trouble:#}");
}

/// A ledger that was put back from a backup is noticed, also where no record is missing, and is gone on with only when
/// somebody says so.
#[apply(test!)]
#[needs(LOOP)]
fn a_restored_backup_is_noticed() {
    let rig = Rig::started(Setup::default());
    let drive = rig.attached("A", 160, 512);
    let record = rig.wait_pass(&drive.serial);
    let backup = rig.path("backup.db");
    let name = backup.to_str().unwrap();
    rig.ctl_ok(&["ledger", "backup", name]);
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is nobody else's");
    assert_eq!(run("sqlite3", &[name, "PRAGMA integrity_check"]).trim(), "ok");
    let before = fs::read(&backup).unwrap();
    rig.ctl_fails(2, &["ledger", "backup", name]);
    assert_eq!(fs::read(&backup).unwrap(), before, "nothing is overwritten");
    // Paged, filtered and in each form.
    let bay = record["bay"].as_str().unwrap();
    let line =
        rig.ctl_ok(&["records", "--lines", "--bay", bay, "--until", "2100-01-01", "--limit", "1"]);
    assert_eq!(serde_json::from_str::<Value>(line.trim()).unwrap(), record);
    let job = record["job"].as_str().unwrap();
    assert_eq!(rig.ctl_ok(&["records", "--lines", "--after", job]), "");
    assert_eq!(rig.ctl_ok(&["records", "--csv", "--until", "2001-01-01"]).lines().count(), 1);
    rig.ctl_fails(2, &["records", "--after", "01989a3c-5a7e-7c3f-9d11-0242ac120002"]);
    // Nothing but what operators did is missing in it.
    rig.ctl_ok(&["disarm"]);
    rig.terminate();
    assert!(rig.wait_end());
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(rig.path(&format!("ledger.db{ending}")));
    }
    fs::copy(&backup, rig.path("ledger.db")).unwrap();
    rig.start();
    let found = rig.ctl_fails(1, &["log", "verify"]);
    assert!(found.contains("entries, and had"), "{found}");
    let next = rig.attached("B", 160, 512);
    rig.wait_refused(&next.serial, "ledger_tampered");
    rig.ctl_ok(&[
        "log",
        "acknowledge",
        "--reason",
        "the disk was replaced; restored from last night",
    ]);
    assert_eq!(events(&rig)[0], "log_begun");
    assert_eq!(rig.records(&drive.serial), [record]);
    rig.ctl_ok(&["log", "verify"]);
}

/// Whoever can write to the ledger does not get more drives than were ordered, also while the station runs.
#[apply(test!)]
#[needs(LOOP)]
fn a_count_that_somebody_else_puts_back_gives_no_place() {
    let rig = Rig::started(Setup::default().set("media.offer", "by_hand"));
    let sha256 = rig.json(&["media", "show", "win.wim"])["sha256"].as_str().unwrap().to_owned();
    let order = rig.path("PO-1.toml");
    fs::write(&order, format!("number = \"PO-1\"\nmedia = \"{sha256}\"\nquantity = 1\n")).unwrap();
    rig.ctl_ok(&["order", "add", order.to_str().unwrap()]);
    rig.wait_pass(&rig.attached("A", 160, 512).serial);
    let drive = rig.drive("B", 160);
    let before = drive.checksum();
    change(&rig, "UPDATE tallies SET passed = 0");
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "ledger_tampered");
    rig.ctl_ok(&["log", "acknowledge", "--reason", "a test"]);
    // It is counted anew from the serial numbers.
    rig.ctl_ok(&["arm"]);
    rig.wait_refused(&drive.serial, "order_complete");
    drive.assert_untouched(&before);
}
