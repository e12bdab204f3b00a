//! Which record of a drive is proven, and when there is nothing to prove.

use std::time::Duration;

use super::*;
use crate::log::Sought;

const SERIAL: &str = "S4EVNX0M";

/// What is told of a drive: the verdict that is proven, and the code of a refusal since.
fn told(ledger: &Ledger) -> String {
    match ledger.proven(&Serial::new(SERIAL).unwrap()).unwrap() {
        Sought::Proven(proven) => {
            let since = proven.since.and_then(|record| record.reason);
            let since = since.map(|reason| format!(", then {}", reason.code));
            format!("{}{}", proven.record.verdict.unwrap(), since.unwrap_or_default())
        }
        Sought::Running(_) => "running".into(),
        Sought::Former { record, log } => {
            let log = log.map(|table| table.starts_with("log_").to_string());
            format!("{} before the log, kept: {log:?}", record.verdict.unwrap())
        }
        Sought::Unknown { aside } => format!("unknown, {} aside", aside.len()),
    }
}

/// The latest record on which something was done counts. What was said of the drive since then is not kept quiet.
#[test]
fn the_latest_record_is_proven_and_what_came_since_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let location = Location::new(&path, crate::log::tests::key());
    let ledger = open(&path, "boot-1").unwrap();
    assert_eq!(told(&ledger), "unknown, 0 aside");
    let close = |verdict| {
        let job = Uuid::now_v7();
        ledger.put(&Record { job, verdict: Some(verdict), ..record() }).unwrap();
    };
    let refuse = |code| {
        let refusal = Refusal::new(code, "x");
        ledger.put(&open_record().refused(refusal, Timestamp::now())).unwrap();
    };
    refuse(ReasonCode::Health);
    assert_eq!(told(&ledger), "refused");
    close(Verdict::Passed);
    assert_eq!(told(&ledger), "passed", "what came before is over");
    // That a drive which has passed is plugged in once more says nothing about it.
    refuse(ReasonCode::AlreadyPassed);
    refuse(ReasonCode::NoOrder);
    assert_eq!(told(&ledger), "passed");
    refuse(ReasonCode::Health);
    refuse(ReasonCode::AlreadyPassed);
    assert_eq!(told(&ledger), "passed, then health");
    close(Verdict::Failed);
    assert_eq!(told(&ledger), "failed", "no PASS for a drive that has failed since");
    close(Verdict::Passed);
    // It is imaged once more: what it was is over.
    let running = open_record();
    ledger.put(&running).unwrap();
    assert_eq!(told(&ledger), "running");
    ledger.put(&Record { verdict: Some(Verdict::Stopped), ..running }).unwrap();
    assert_eq!(told(&ledger), "stopped");
    close(Verdict::Passed);
    ledger.finish();
    drop(ledger);

    // A log that was set aside still has it, and the new one cannot prove it; nor does a refusal count instead.
    Connection::open(&path).unwrap().execute_batch("DELETE FROM seal").unwrap();
    let ledger = open(&path, "boot-2").unwrap();
    ledger.acknowledge("jo".into(), "known".into()).unwrap();
    let former = "passed before the log, kept: Some(\"true\")";
    assert_eq!(told(&ledger), former);
    let refusal = Refusal::new(ReasonCode::Health, "x");
    ledger.put(&open_record().refused(refusal, Timestamp::now())).unwrap();
    assert_eq!(told(&ledger), former);
    ledger.finish();
    drop(ledger);

    // The whole ledger is set aside.
    let now = Timestamp::now();
    for (aside, at) in [(1, now), (2, now + Duration::from_secs(1))] {
        let file = Ledger::set_aside(&location, at).unwrap().unwrap();
        let ledger = open(&path, "boot-3").unwrap();
        assert_eq!(told(&ledger), format!("unknown, {aside} aside"));
        let Sought::Unknown { aside } = ledger.proven(&Serial::new(SERIAL).unwrap()).unwrap()
        else {
            panic!("it is not there");
        };
        assert_eq!(aside[0], file, "the latest first");
        ledger.finish();
    }
}
