//! What Prometheus says of the gate's metrics and of the alerts that come with them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use macro_rules_attribute::apply;

use crate::harness::gate::{rig, start_gate};
use crate::harness::looks::{everything, station};
use crate::harness::teller::Teller;
use crate::harness::{told, wait_for};

const MONITORING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gate/monitoring");

/// Its own checker has no complaint, and each alert comes when it should and not before.
#[apply(test!)]
#[needs(ROOT, PROMTOOL)]
fn prometheus_has_no_complaint() {
    let (rig, port) = rig(&[]);
    let daemon = Teller::new(&rig.path("view.sock"));
    daemon.tell(&station(24, &everything()));
    let gate = start_gate(&rig, port);
    let metrics = wait_for("metrics of the station", || {
        let answer = gate.get("/metrics");
        answer.body.contains("prestaged_armed 1").then_some(answer)
    });
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(metrics.body.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    for (verb, file) in [("check", "prestaged.rules.yml"), ("test", "prestaged.rules.test.yml")] {
        let file = format!("{MONITORING}/{file}");
        let (code, said) = told(Command::new("promtool").args([verb, "rules", &file]));
        assert_eq!(code, 0, "{said}");
    }
}
