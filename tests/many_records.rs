//! A ledger of many records, and what it takes to write and ask one: `many-records LEDGER KEY COUNT`. Prints JSON.
//!
//! Records are opened and closed one after the other as jobs do it, each in a transaction of its own, so on a disk that
//! takes its time.

#![expect(clippy::print_stdout, reason = "a tool of scripts/bench")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use model::drive::Serial;
use model::record::{Record, job_id};
use model::verdict::Verdict;
use record::ledger::{Ledger, Location};
use signing::SecretKey;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [ledger, key, count] = words.as_slice() else {
        anyhow::bail!("many-records LEDGER KEY COUNT");
    };
    let count: u64 = count.parse().context("COUNT")?;
    let key = SecretKey::from_pem(&fs::read_to_string(key)?)?;
    let ledger = Ledger::open(&Location::new(Path::new(ledger), key), "boot")?;
    let like: Record = serde_json::from_str(include_str!("../daemon/model/src/schema1.json"))?;
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    for number in 0..count {
        let now = Timestamp::now();
        let record = Record {
            job: job_id(now),
            serial: Serial::new(&format!("SERIAL{number:08}")),
            opened: now,
            closed: None,
            verdict: None,
            ..like.clone()
        };
        let before = Instant::now();
        ledger.put(&record)?;
        opened.push(before.elapsed());
        let record =
            Record { verdict: Some(Verdict::Passed), closed: Some(now), reason: None, ..record };
        let before = Instant::now();
        ledger.put(&record)?;
        closed.push(before.elapsed());
        if number % 1000 == 999 {
            ledger.check()?;
        }
    }
    let made = begun.elapsed();
    let mut asked = Vec::new();
    for number in (0..count).step_by(usize::try_from(count / 1000).unwrap_or(0).max(1)) {
        let serial = Serial::new(&format!("SERIAL{number:08}")).context("a serial number")?;
        let before = Instant::now();
        anyhow::ensure!(ledger.imagings(&serial)?.len() == 1, "one record each");
        asked.push(before.elapsed());
    }
    ledger.finish();
    let figures = serde_json::json!({
        "made_s": made.as_secs_f64(),
        "open_ms": median(&mut opened),
        "close_ms": median(&mut closed),
        "already_passed_ms": median(&mut asked),
    });
    println!("{figures}");
    Ok(())
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
