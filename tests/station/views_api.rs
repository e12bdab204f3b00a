//! The gate's API as it describes itself, by OpenAPI.

use std::fs;
use std::process::Command;

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::harness::gate::{rig, start_gate};
use crate::harness::{told, wait_for};

/// Size of the drives.
const MIB: u64 = 160;

/// What is described is there with its methods and no others, and answers as it says; nothing else is there.
#[apply(test!)]
#[needs(ROOT, LOOP)]
fn the_gate_serves_what_it_describes() {
    let (rig, port) = rig(&[]);
    rig.start_with_media();
    let drive = rig.attached("A", MIB, 512);
    let record = rig.wait_pass(&drive.serial);
    let gate = start_gate(&rig, port);
    wait_for("data", || (gate.get("/healthz").status == 200).then_some(()));
    let served = gate.get("/openapi.json");
    assert_eq!(served.header("content-type"), Some("application/json"));
    let document: Value = serde_json::from_str(&served.body).unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_prestaged-gate")).arg("openapi").output();
    assert_eq!(document, serde_json::from_slice::<Value>(&printed.unwrap().stdout).unwrap());
    let mut good = 0;
    for (path, entry) in document["paths"].as_object().unwrap() {
        let at = path
            .replace("{name}", if path.starts_with("/bay") { "left" } else { "win.wim" })
            .replace("{act}", if path.starts_with("/station") { "disarm" } else { "hold" })
            .replace("{job}", record["job"].as_str().unwrap())
            .replace("{serial}", &drive.serial)
            .replace("{number}", "4711");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let described = entry.get(method.to_lowercase());
            // These never end.
            if described.is_some() && ["/live", "/v1/events"].contains(&path.as_str()) {
                continue;
            }
            let answer = gate.ask(method, &at, &[], "");
            assert_eq!(answer.status == 405, described.is_none(), "{method} {at}: {answer:?}");
            let Some(described) = described else { continue };
            let status = answer.status.to_string();
            let response = &described["responses"][&status];
            assert!(response.is_object(), "{method} {at} answers {status}");
            good += u32::from(answer.status == 200);
            if let Some(kinds) = response["content"].as_object() {
                let kind = answer.header("content-type").unwrap_or_default();
                let kind = kind.split(';').next().unwrap();
                assert!(kinds.contains_key(kind), "{method} {at}: {status} {kind}");
            }
        }
    }
    assert!(good > 15, "only {good} are answered");
    // The daemon's writing part is not there, nor is another version.
    for path in ["/v1/arm", "/v1/image", "/v1/log/verify", "/v2/status"] {
        assert_eq!(gate.get(path).status, 404, "{path}");
        assert!(document["paths"].get(path).is_none(), "{path}");
    }
    // Who wants an array gets one, and who wants lines gets these.
    let array = gate.ask("GET", "/v1/records", &["accept: application/json"], "");
    assert!(array.body.contains("[{"), "{array:?}");
    let lines = gate.ask("GET", "/v1/records", &["accept: application/x-ndjson"], "");
    assert!(lines.body.contains("{\"record\":{"), "{lines:?}");
}

/// The documents are what OpenAPI says, and no input of schemathesis' gets what is not described.
#[apply(test!)]
#[needs(ROOT, LOOP, SCHEMATHESIS, LONG)]
fn schemathesis_finds_nothing() {
    let keys = [("gate.guests", "nobody".into()), ("gate.operate", true.into())];
    let (rig, port) = rig(&keys);
    rig.start_with_media();
    let drive = rig.attached("A", MIB, 512);
    let record = rig.wait_pass(&drive.serial);
    let gate = start_gate(&rig, port);
    let cookie = gate.sign_in("adam").replace("cookie: ", "Cookie: ");
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    let served = gate.ask("GET", "/openapi.json", &[&cookie], "").body;
    fs::write(at("gate.json"), served).unwrap();
    let daemon = rig.ctl_ok(&["schema", "openapi"]);
    fs::write(at("daemon.json"), daemon).unwrap();
    for file in ["gate.json", "daemon.json"] {
        let (code, said) = told(Command::new("openapi-spec-validator").arg(at(file)));
        assert_eq!(code, 0, "{file}: {said}");
    }
    // A wrong confirmation, and what does not go together, no schema can tell.
    let untold = "[[operations]]\ninclude-path-regex = \"^/(bay|station)/|^/v1/records$\"\n\
        checks.positive_data_acceptance.enabled = false\n";
    fs::write(at("any.toml"), untold).unwrap();
    // Values that are there, or it would only ever see what is not.
    let job = record["job"].as_str().unwrap();
    let known = format!("[parameters]\njob = \"{job}\"\nserial = \"{}\"\n", drive.serial);
    fs::write(at("known.toml"), format!("{known}\"path.name\" = \"left\"\n{untold}")).unwrap();
    for config in ["any.toml", "known.toml"] {
        let mut command = Command::new("schemathesis");
        command
            .args(["--config-file", &at(config), "run", &at("gate.json")])
            .args(["--url", &format!("http://localhost:{port}")])
            // These never end, and that one ends the session.
            .args(["--exclude-path", "/live", "--exclude-path", "/v1/events"])
            .args(["--exclude-path", "/logout", "-H", &cookie, "--max-examples", "40"])
            .args(["--generation-database", "none", "--seed", "1", "--no-color"])
            .args(["--continue-on-failure", "--max-redirects", "0"])
            // The cookie goes along with every request, so what a request without one gets is `ignored_auth`'s to find.
            .args(["--generation-with-security-parameters", "false"])
            .current_dir(rig.path(""));
        let (code, said) = told(&mut command);
        assert_eq!(code, 0, "{said}");
    }
    // The station has gone through it.
    assert_eq!(gate.ask("GET", "/healthz", &[], "").status, 200);
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}
