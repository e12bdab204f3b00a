//! What other programs read: each document against its schema, each error in one shape, each route.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use macro_rules_attribute::apply;
use model::advice;
use model::api::routes::{Method, Route};
use model::api::schema::Document;
use serde_json::{Value, json};
use strum::VariantArray as _;

use crate::harness::{Rig, Setup, schema};

/// The first document on standard output, whatever the exit code.
fn printed(rig: &Rig, arguments: &[&str]) -> (i32, Value) {
    let output = rig.prestagectl().arg("--json").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&text);
    let document = document.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"));
    (output.status.code().unwrap(), document)
}

/// Asks the daemon; returns the status and the body, which is JSON.
fn ask(rig: &Rig, method: Method, path: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(rig.path("control.sock")).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = match head.contains("chunked") {
        true => body.split("\r\n").skip(1).step_by(2).collect::<String>(),
        false => body.to_owned(),
    };
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

#[apply(test!)]
#[needs(LOOP)]
fn every_document_is_as_its_schema_says() {
    let careful = Setup::default().disarmed().set("admission.overwrite", "blank_or_ours");
    let rig = Rig::started(careful);
    let drive = rig.attached("A", 160, 512);
    rig.wait_refused(&drive.serial, "not_armed");
    let node = drive.node();
    let consent = ["image", &node, "--overwrite", "--reason", "returned lease"];
    let is = |document, code, arguments: &[&str]| {
        let (found, value) = printed(&rig, arguments);
        assert_eq!(found, code, "{arguments:?}: {value:#}");
        schema::assert_is(document, &value);
        value
    };
    is(Document::Unrecorded, 2, &consent);
    is(Document::Armed, 0, &["arm"]);
    is(Document::Record, 0, &consent);
    let audit = is(Document::Audit, 0, &["audit", &node]);
    assert_eq!((&audit["verdict"], &audit["outcome"]), (&"same".into(), &"same".into()));
    for (document, arguments) in [
        (Document::Status, &["status"][..]),
        (Document::Records, &["records"]),
        (Document::MediaList, &["media", "list"]),
        (Document::Media, &["media", "show", "win.wim"]),
        (Document::Masters, &["master", "list"]),
        (Document::Drives, &["drives"]),
        (Document::Explanation, &["explain", "too_small"]),
        (Document::Codes, &["explain"]),
        (Document::Armed, &["disarm"]),
    ] {
        is(document, 0, arguments);
    }
    // The schemas can fail: a field less, a field more, a value of another kind.
    let (_, record) = printed(&rig, &["records", "--serial", &drive.serial]);
    let spoilt = |spoil: &dyn Fn(&mut Value)| {
        let mut record = record.clone();
        spoil(&mut record[0]);
        schema::is(Document::Records, &record)
    };
    assert!(spoilt(&|_| {}));
    assert!(!spoilt(&|one| drop(one.as_object_mut().unwrap().remove("verdict"))));
    assert!(!spoilt(&|one| one["verdcit"] = json!("passed")));
    assert!(!spoilt(&|one| one["verdict"] = json!("pass")));
    assert!(!spoilt(&|one| one["size_bytes"] = json!("160 MiB")));
    assert!(!spoilt(&|one| one["media"]["sha256"] = json!(null)));
}

#[apply(test!)]
#[needs(LOOP)]
fn every_error_has_one_shape() {
    let rig = Rig::new(Setup::default());
    let known = advice::all();
    let wrong = |code: i32, name: &str, arguments: &[&str]| {
        let (found, value) = printed(&rig, arguments);
        schema::assert_is(Document::Error, &value);
        let error = &value["error"];
        assert_eq!((found, &error["exit"]), (code, &code.into()), "{arguments:?}: {value:#}");
        assert_eq!(error["code"], name, "{arguments:?}: {value:#}");
        assert!(known.iter().any(|entry| entry.code == name), "{name} can be explained");
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{value:#}");
        let detail = error["detail"].as_str().unwrap();
        for debug in ["Os {", "Error(", "Some(", "os error", "\n"] {
            assert!(!detail.contains(debug), "{detail}");
        }
    };
    wrong(69, "unavailable", &["status"]);
    rig.start();
    for (code, name, arguments) in [
        (64, "usage", &["imagine"][..]),
        (64, "usage", &["image"]),
        (64, "usage", &["image", "/dev/x", "--overwrite"]),
        (64, "usage", &["records", "--since", "some day"]),
        (64, "usage", &["records", "--verdict", "maybe"]),
        (64, "usage", &["master", "press", "--media", "a.wim", "--size", "1000"]),
        (64, "usage", &["explain", "no_such_code"]),
        (64, "usage", &["schema", "no-such-schema"]),
        (2, "no_such_drive", &["image", "/dev/no-such-drive"]),
        (2, "no_such_drive", &["audit", "nowhere"]),
        (2, "no_such_drive", &["drives", "nowhere"]),
        (2, "no_such_drive", &["stop", "nowhere"]),
        (2, "no_media", &["media", "show", "no.wim"]),
        (2, "no_media", &["media", "verify", "no.wim"]),
        (2, "no_such_master", &["master", "remove", "nothing"]),
    ] {
        wrong(code, name, arguments);
    }
}

/// Each route of the manual is there, takes its method and no other, and tells mistakes in the form of the schema.
#[apply(test!)]
#[needs(LOOP)]
fn every_route_of_the_manual_is_one_of_the_daemon() {
    let rig = Rig::new(Setup::default().disarmed());
    rig.start();
    for route in Route::VARIANTS {
        let path = route.path().replace("{drive}", "nowhere").replace("{name}", "no.wim");
        let path = path.replace("{id}", "nothing").replace("{job}", "nothing");
        for method in [Method::Get, Method::Post, Method::Delete] {
            let own = |other: &Route| other.path() == route.path() && other.method() == method;
            let is_own = Route::VARIANTS.iter().any(own);
            // One never ends, and one gives a database.
            if is_own && [Route::Events, Route::BackUpLedger].contains(route) {
                continue;
            }
            let (status, body) = ask(&rig, method, &path, "{\"unknown\": 1}");
            if status >= 400 {
                schema::assert_is(Document::Denial, &body);
            }
            assert_eq!(body["code"] == "wrong_method", !is_own, "{method} {path}: {body}");
            assert_ne!(body["code"], "no_such_path", "{method} {path}");
        }
    }
    let (status, body) = ask(&rig, Method::Get, "/v1/nowhere", "");
    assert_eq!((status, &body["code"]), (404, &"no_such_path".into()));
    let (status, body) =
        ask(&rig, Method::Post, "/v1/image", r#"{"device": "x", "overwrite": " "}"#);
    assert_eq!((status, &body["code"]), (400, &"bad_request".into()), "{body}");
    let (_, body) = ask(&rig, Method::Get, "/v1/status", "");
    schema::assert_is(Document::Status, &body);
    let (_, body) = ask(&rig, Method::Get, "/v1/records", "");
    schema::assert_is(Document::Records, &body);
    // The log from any place on, and where it ends.
    let (_, whole) = ask(&rig, Method::Get, "/v1/log", "");
    schema::assert_is(Document::LogPage, &whole);
    let entries = whole["entries"].as_array().unwrap();
    assert_eq!(whole["size"], entries.len());
    assert_eq!(entries[0]["said"]["event"]["kind"], "log_begun", "{whole:#}");
    let (_, end) = ask(&rig, Method::Get, "/v1/log?limit=0", "");
    assert_eq!((&end["size"], &end["entries"]), (&whole["size"], &json!([])));
    let (_, last) = ask(&rig, Method::Get, &format!("/v1/log?after={}", entries.len() - 1), "");
    assert_eq!(last["entries"], json!([entries.last().unwrap()]));
    let (_, none) = ask(&rig, Method::Get, "/v1/log?after=18446744073709551615", "");
    assert_eq!(none["entries"], json!([]));
    let (status, body) = ask(&rig, Method::Get, "/v1/log?after=x", "");
    assert_eq!((status, &body["code"]), (400, &"bad_request".into()), "{body}");
}
