//! What the gate tells others, and that nothing of it is lost, whoever ends or does not answer meanwhile.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::process::{Command, Stdio};

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::harness::broker::{Broker, Listener, RIGHT};
use crate::harness::gate::{GAMES, Gate, for_games, rig, start_gate};
use crate::harness::receiver::{Does, Receiver, secret};
use crate::harness::signed::self_signed;
use crate::harness::{Rig, wait_for};

/// Size of the drives.
const MIB: u64 = 160;

/// A receiver as the configuration names it.
fn hook(name: &str, url: &str, more: &str) -> String {
    format!("[[gate.webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\ntimeout = \"1s\"\n{more}\n")
}

/// Names receivers to the gate, which all know the secret in `secret`.
fn configure(rig: &Rig, hooks: &[String]) {
    let (_, line) = secret(7);
    fs::write(rig.path("secret"), line).unwrap();
    for_games(&rig.path("secret"));
    let at = rig.path("secret").to_str().unwrap().to_owned();
    let text = hooks.concat().replace("timeout", &format!("secret = \"{at}\"\ntimeout"));
    let table: toml::Table = text.parse().unwrap();
    rig.set("gate.webhooks", table["gate"]["webhooks"].clone());
    remember(rig);
}

/// Makes the folder in which the gate remembers.
fn remember(rig: &Rig) {
    fs::DirBuilder::new().mode(0o700).create(rig.path("state")).unwrap();
    chown(rig.path("state"), Some(GAMES), None).unwrap();
    rig.set("gate.state", rig.path("state").to_str().unwrap());
}

/// The place of a receiver as the gate remembers it.
fn remembered(rig: &Rig, name: &str) -> Option<String> {
    fs::read_to_string(rig.path(&format!("state/{name}.json"))).ok()
}

/// What the gate has said so far.
fn gate_log(rig: &Rig) -> String {
    fs::read_to_string(rig.path("gate.log")).unwrap()
}

/// How many entries the log has.
fn size(rig: &Rig) -> u64 {
    rig.json(&["log", "checkpoint"])["entries"].as_u64().unwrap()
}

fn number(event: &Value) -> u64 {
    event["sequence"].as_str().unwrap().parse().unwrap()
}

fn seqs(receiver: &Receiver) -> Vec<u64> {
    receiver.taken().iter().map(number).collect()
}

fn heard(listener: &Listener) -> Vec<u64> {
    listener.heard().iter().map(|heard| number(&heard.event)).collect()
}

/// Waits until a listener has heard everything up to the end of the log.
fn wait_heard(rig: &Rig, listener: &Listener) -> u64 {
    let end = size(rig);
    wait_for("all to be heard", || (heard(listener).last() == Some(&end)).then_some(()));
    end
}

/// Waits until a receiver has taken everything up to the end of the log.
fn wait_all(rig: &Rig, receiver: &Receiver) -> u64 {
    let end = size(rig);
    wait_for("all to be taken", || (seqs(receiver).last() == Some(&end)).then_some(()));
    end
}

fn metric(gate: &Gate, name: &str, receiver: &str) -> f64 {
    let text = gate.get("/metrics").body;
    let start = format!("prestaged_events_{name}{{receiver=\"{receiver}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{start}: {text}")).parse().unwrap()
}

/// A receiver that fails in every way gets everything in the end, in order and once in effect; nobody waits for it.
#[apply(test!)]
#[needs(ROOT, LOOP)]
fn nothing_is_lost_whoever_ends() {
    let (rig, port) = rig(&[]);
    let (known, _) = secret(7);
    let mes = Receiver::new(Does::Answer(500), known.clone());
    let records = Receiver::new(Does::Take, known.clone());
    let private = Receiver::new(Does::Take, known.clone());
    let moved = Receiver::new(Does::SendTo(format!("http://127.0.0.1:{}/", private.port)), known);
    let at = |receiver: &Receiver| format!("http://127.0.0.1:{}/in", receiver.port);
    configure(
        &rig,
        &[
            hook("mes", &at(&mes), ""),
            hook("records", &at(&records), "events = [\"record.*\"]\nhistory = true"),
            hook("moved", &at(&moved), ""),
        ],
    );
    rig.start_with_media();
    let gate = start_gate(&rig, port);
    wait_for("places to be remembered", || remembered(&rig, "mes").and(remembered(&rig, "moved")));
    let before = size(&rig);

    // It answers 500, and another one is told all the same.
    let drive = rig.attached("A", MIB, 512);
    rig.wait_pass(&drive.serial);
    wait_for("the record", || records.taken().first().cloned());
    wait_for("a failure", || (mes.asked() > 1).then_some(()));
    assert!(metric(&gate, "pending", "mes") >= 1.0 && metric(&gate, "failed_total", "mes") >= 1.0);
    assert!(metric(&gate, "failing_seconds", "mes") > 0.0);
    assert_eq!(metric(&gate, "failing_seconds", "records"), 0.0);
    assert_eq!(gate.get("/healthz").status, 200);
    // It hangs, and the gate is killed while it waits.
    mes.does(Does::Hang);
    let asked = mes.asked();
    rig.ctl_ok(&["disarm"]);
    wait_for("it to hang", || (mes.asked() > asked).then_some(()));
    drop(gate);
    rig.ctl_ok(&["arm"]);
    mes.does(Does::Close);
    let gate = start_gate(&rig, port);
    let asked = mes.asked();
    wait_for("it to close", || (mes.asked() > asked).then_some(()));
    // The daemon is killed, and nothing is asked for in vain.
    rig.kill();
    mes.does(Does::Take);
    rig.start();
    rig.ctl_ok(&["disarm"]);
    let end = wait_all(&rig, &mes);
    // The gate ends between two of many events.
    for _ in 0..3 {
        rig.ctl_ok(&["arm"]);
        rig.ctl_ok(&["disarm"]);
    }
    wait_for("some of them", || (seqs(&mes).last() > Some(&end)).then_some(()));
    drop(gate);
    let gate = start_gate(&rig, port);
    let end = wait_all(&rig, &mes);
    let expected: Vec<u64> = (before + 1..=end).collect();
    assert_eq!(seqs(&mes), expected, "in order, without a gap, each once in effect");
    assert_eq!(mes.forged(), 0);
    assert_eq!(metric(&gate, "failing_seconds", "mes"), 0.0);

    // What an event says.
    let event = mes.taken().into_iter().find(|event| event["type"] == "prestaged.record.closed.v1");
    let event = event.unwrap();
    let record = &rig.records(&drive.serial)[0];
    assert_eq!(&event["data"], record);
    assert_eq!((&event["subject"], &event["time"]), (&json!(drive.serial), &record["closed"]));
    assert_eq!(event["source"], format!("/stations/{}", rig.name));
    let ledger = &rig.json(&["log", "checkpoint"])["ledger"];
    let id = format!(
        "{}:{}",
        ledger.as_str().unwrap(),
        event["sequence"].as_str().unwrap().trim_start_matches('0')
    );
    assert_eq!(event["id"], id);
    let kinds: Vec<Value> = records.taken().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["prestaged.record.closed.v1"], "it wants nothing else");
    assert!(mes.taken().iter().any(|event| event["type"] == "prestaged.disarmed.v1"));

    // Nobody is sent elsewhere.
    assert!(moved.asked() > 0 && private.asked() == 0, "{} {}", moved.asked(), private.asked());
    let log = gate_log(&rig);
    assert!(log.contains("moved has not taken entry") && log.contains("not followed"), "{log}");

    // A secret that the receiver does not know is noticed there, and nothing is taken until it is right again.
    let (_, other) = secret(8);
    fs::write(rig.path("secret"), other).unwrap();
    rig.ctl_ok(&["arm"]);
    wait_for("a wrong signature", || (mes.forged() > 0).then_some(()));
    assert_eq!(seqs(&mes).last(), Some(&end));
    let (_, right) = secret(7);
    fs::write(rig.path("secret"), right).unwrap();
    wait_all(&rig, &mes);
}

/// The receiver is who its certificate says, by those who vouch for it and nobody else.
#[apply(test!)]
#[needs(ROOT)]
fn a_receiver_must_have_the_right_certificate() {
    let (rig, port) = rig(&[]);
    let at = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    self_signed(&at("key.pem"), &at("cert.pem"));
    let script = "import http.server, ssl, sys\n\
        class Taking(http.server.BaseHTTPRequestHandler):\n \
        def do_POST(self):\n  \
        self.rfile.read(int(self.headers['content-length']))\n  \
        open(sys.argv[3], 'a').write(self.path + '\\n')\n  \
        self.send_response(204)\n  \
        self.end_headers()\n\
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Taking)\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain(sys.argv[1], sys.argv[2])\n\
        server.socket = context.wrap_socket(server.socket, server_side=True)\n\
        open(sys.argv[4] + '.new', 'w').write(str(server.server_port))\n\
        import os; os.rename(sys.argv[4] + '.new', sys.argv[4])\n\
        server.serve_forever()\n";
    let mut server = Command::new("python3")
        .args(["-c", script, &at("cert.pem"), &at("key.pem"), &at("asked"), &at("port")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let there: u16 =
        wait_for("the receiver", || fs::read_to_string(at("port")).ok()).parse().unwrap();
    let url = |path: &str| format!("https://localhost:{there}/{path}");
    let ca = format!("ca = \"{}\"\nhistory = true", at("cert.pem"));
    let other = format!("https://127.0.0.1:{there}/other-name");
    configure(
        &rig,
        &[
            hook("known", &url("known"), &ca),
            hook("unknown", &url("unknown"), "history = true"),
            hook("other", &other, &ca),
        ],
    );
    rig.start();
    let gate = start_gate(&rig, port);
    let asked = || fs::read_to_string(at("asked")).unwrap_or_default();
    wait_for("an event", || (!asked().is_empty()).then_some(()));
    wait_for("the others to be refused", || {
        let log = gate_log(&rig);
        (log.contains("unknown has not taken") && log.contains("other has not taken")).then_some(())
    });
    assert!(!asked().contains("unknown") && !asked().contains("other-name"), "{}", asked());
    drop(gate);
    server.kill().unwrap();
    server.wait().unwrap();
}

/// What would not work is told before the gate begins.
#[apply(test!)]
#[needs(ROOT)]
fn a_receiver_that_cannot_be_told_anything_is_a_mistake() {
    let (rig, _) = rig(&[]);
    configure(&rig, &[hook("mes", "http://127.0.0.1:1/", "")]);
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_prestaged-gate"))
            .arg("--config")
            .arg(rig.path("prestaged.toml"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (text, told) in [("whsec_short\n", "line 1: not whsec_"), ("", "holds no secret")] {
        fs::write(rig.path("secret"), text).unwrap();
        let (code, said) = run();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(told) && said.contains("hint: make one"), "{said}");
    }
    fs::write(rig.path("secret"), secret(7).1).unwrap();
    fs::remove_dir_all(rig.path("state")).unwrap();
    let (code, said) = run();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("cannot be remembered") && said.contains("gate.state"), "{said}");
}

/// A broker as the configuration names it.
fn at_broker(name: &str, broker: &Broker, lines: &str) -> String {
    format!(
        "[[gate.brokers]]\nname = \"{name}\"\nurl = \"mqtts://localhost:{}\"\ntimeout = \"2s\"\n\
         topic = \"plant/prestaged\"\n{lines}\n",
        broker.port
    )
}

fn configure_brokers(rig: &Rig, brokers: &[String]) {
    let table: toml::Table = brokers.concat().parse().unwrap();
    rig.set("gate.brokers", table["gate"]["brokers"].clone());
    remember(rig);
}

/// Several entries of the log.
fn happen(rig: &Rig) {
    for verb in ["disarm", "arm", "disarm", "arm"] {
        rig.ctl_ok(&[verb]);
    }
}

/// Who listens at a broker hears everything, in order and once in effect, whoever ends and whatever the broker refuses.
#[apply(test!)]
#[needs(ROOT, MOSQUITTO)]
fn nothing_is_lost_at_a_broker() {
    let (rig, port) = rig(&[]);
    let broker = Broker::new(&rig.path("broker"));
    broker.start("");
    let listener = Listener::new(&broker, "plant/prestaged");
    let password = |text: &str| {
        fs::write(rig.path("password"), format!("{text}\n")).unwrap();
        for_games(&rig.path("password"));
    };
    password(RIGHT);
    let file = rig.path("password").to_str().unwrap().to_owned();
    let user =
        format!("user = \"rack\"\npassword = \"{file}\"\nca = \"{}\"", broker.at("broker.pem"));
    configure_brokers(&rig, &[at_broker("plant", &broker, &user)]);
    rig.start();
    let gate = start_gate(&rig, port);
    wait_for("a place to be remembered", || remembered(&rig, "plant"));
    let before = size(&rig);
    happen(&rig);
    let end = wait_heard(&rig, &listener);
    assert_eq!(metric(&gate, "failing_seconds", "plant"), 0.0);
    let first = &listener.heard()[0];
    assert_eq!(first.topic, "plant/prestaged/disarmed");
    assert_eq!(first.kind, "application/cloudevents+json; charset=utf-8");
    assert!(!first.is_retained);
    assert_eq!(first.event["type"], "prestaged.disarmed.v1");
    assert_eq!(first.event["source"], format!("/stations/{}", rig.name));
    let known = fs::read_to_string(broker.at("log")).unwrap();
    assert!(known.contains(&format!(" as prestaged-gate.{}.plant ", rig.name)), "{known}");

    // It is killed, and comes back with another password for us.
    let place = wait_for("the place", || {
        remembered(&rig, "plant").filter(|place| place.contains(&format!("\"seq\":{end}}}")))
    });
    broker.kill();
    happen(&rig);
    wait_for("failures", || (metric(&gate, "failed_total", "plant") >= 1.0).then_some(()));
    assert!(metric(&gate, "failing_seconds", "plant") > 0.0);
    assert!(metric(&gate, "pending", "plant") >= 1.0);
    password("wrong");
    broker.start("");
    let refused = "the broker does not let us in: not authorized (0x87)";
    wait_for("us to be refused", || gate_log(&rig).contains(refused).then_some(()));
    assert_eq!((heard(&listener).last(), remembered(&rig, "plant")), (Some(&end), Some(place)));
    password(RIGHT);
    wait_heard(&rig, &listener);
    wait_for("all to be well", || (metric(&gate, "failing_seconds", "plant") == 0.0).then_some(()));

    // The gate ends between two of many events.
    let end = size(&rig);
    happen(&rig);
    wait_for("some of them", || (heard(&listener).last() > Some(&end)).then_some(()));
    drop(gate);
    happen(&rig);
    let gate = start_gate(&rig, port);
    wait_heard(&rig, &listener);

    // What it never takes stays the next.
    broker.kill();
    broker.start("max_packet_size 300\n");
    rig.ctl_ok(&["disarm"]);
    let told = "until somebody mends this: the packet has";
    wait_for("the size to be told", || gate_log(&rig).contains(told).then_some(()));
    assert!(gate_log(&rig).contains("at most 300"), "{}", gate_log(&rig));
    broker.kill();
    broker.start("");
    let end = wait_heard(&rig, &listener);
    let expected: Vec<u64> = (before + 1..=end).collect();
    assert_eq!(heard(&listener), expected, "in order, without a gap, each once in effect");
    drop(gate);
}

/// Both ends of a connection to a broker know by certificates who the other is.
#[apply(test!)]
#[needs(ROOT, MOSQUITTO)]
fn a_broker_knows_the_gate_by_its_certificate() {
    let (rig, port) = rig(&[]);
    let broker = Broker::new(&rig.path("broker"));
    let (ca, certificate, key) =
        (broker.at("broker.pem"), broker.at("own.pem"), broker.at("own.key"));
    for_games(certificate.as_ref());
    for_games(key.as_ref());
    broker.start(&format!(
        "cafile {certificate}\nrequire_certificate true\nuse_identity_as_username true\n"
    ));
    let listener = Listener::new(&broker, "plant/prestaged");
    let own = format!("certificate = \"{certificate}\"\nkey = \"{key}\"\nhistory = true\n");
    let known = format!("ca = \"{ca}\"\n");
    configure_brokers(
        &rig,
        &[
            at_broker("known", &broker, &format!("{own}{known}")),
            at_broker("stranger", &broker, &own),
            at_broker("nobody", &broker, &format!("history = true\n{known}")),
        ],
    );
    rig.start();
    let gate = start_gate(&rig, port);
    wait_heard(&rig, &listener);
    wait_for("the others to be refused", || {
        let log = gate_log(&rig);
        (log.contains("stranger has not taken") && log.contains("nobody has not taken"))
            .then_some(())
    });
    for name in ["stranger", "nobody"] {
        assert_eq!(metric(&gate, "sent_total", name), 0.0, "{name}");
    }
    assert_eq!(metric(&gate, "failed_total", "known"), 0.0);
}
