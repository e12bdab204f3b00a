//! A log that is not verified yet: nothing is written, and what an earlier station has left open waits.

use std::time::{Duration, Instant};

use super::*;

/// A ledger with an open record, opened as if verifying its log took long.
fn unverified(path: &Path, spoil: &str) -> (Ledger, Record) {
    let ledger = open(path, "boot-1").unwrap();
    let opened = open_record();
    ledger.put(&opened).unwrap();
    ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
    ledger.finish();
    drop(ledger);
    Connection::open(path).unwrap().execute_batch(spoil).unwrap();
    let ledger = open(path, "boot-1").unwrap();
    {
        let mut database = ledger.0.database.lock();
        (database.is_verified, database.tampered) = (false, None);
        database.seal.set(None);
    }
    ledger.0.unverified.store(true, Ordering::Relaxed);
    (ledger, opened)
}

/// What keeps the ledger from being used, once all is verified.
fn verified_later(ledger: &Ledger) -> Result<(), LedgerError> {
    ledger.verify_first(Duration::ZERO).unwrap();
    let begun = Instant::now();
    loop {
        match ledger.check() {
            Err(LedgerError::Verifying { .. }) => assert!(begun.elapsed().as_secs() < 60),
            settled => return settled,
        }
        std::thread::yield_now();
    }
}

#[test]
fn nothing_is_written_before_the_log_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let (ledger, opened) = unverified(&path, "");
    let waits = |result: Result<(), LedgerError>| match result {
        Err(error @ LedgerError::Verifying { .. }) => error.code() == ReasonCode::LedgerUnavailable,
        other => panic!("{other:?}"),
    };
    assert!(waits(ledger.put(&open_record())) && waits(ledger.check()));
    assert!(waits(ledger.distrust().map_or(Ok(()), Err)) && waits(ledger.takes_writes()));
    assert!(waits(ledger.verify().map(drop)), "it is being done");
    assert!(waits(ledger.of_insertion(opened.diskseq).map(drop)), "nothing is decided by it");
    assert!(waits(ledger.proven(opened.serial.as_ref().unwrap()).map(drop)), "nor proven");
    assert!(ledger.close_interrupted().unwrap().is_empty());
    assert_eq!(ledger.of_job(opened.job).unwrap().unwrap().verdict, None);
    // Nothing of it is tampering, which somebody could acknowledge.
    ledger.acknowledge("jo".into(), "why".into()).unwrap();
    assert!(waits(ledger.check()));

    verified_later(&ledger).unwrap();
    assert_eq!(ledger.of_job(opened.job).unwrap().unwrap().verdict, Some(Verdict::Stopped));
    ledger.put(&open_record()).unwrap();
    ledger.verify().unwrap();
    ledger.finish();
    drop(ledger);
    assert!(open(&path, "boot-2").unwrap().tampered().is_none(), "its seal was kept up");
}

#[test]
fn what_somebody_has_done_is_found_later_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let (ledger, opened) =
        unverified(&path, "UPDATE records SET serial = 'X' WHERE verdict IS NOT NULL");
    assert!(ledger.close_interrupted().unwrap().is_empty());
    let found = verified_later(&ledger).unwrap_err();
    assert!(matches!(found, LedgerError::Tampered { .. }), "{found}");
    assert_eq!(ledger.of_job(opened.job).unwrap().unwrap().verdict, None);
    ledger.acknowledge("jo".into(), "why".into()).unwrap();
    assert_eq!(ledger.of_job(opened.job).unwrap().unwrap().verdict, Some(Verdict::Stopped));
    ledger.check().unwrap();
}

/// Whoever asks for records to be written tells the station what has come of it.
#[test]
fn the_station_is_told_how_it_ends() {
    for (spoil, expected) in [
        ("", None),
        (
            "UPDATE records SET serial = 'X' WHERE verdict IS NOT NULL",
            Some(ReasonCode::LedgerTampered),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, _) = unverified(&folder.path().join("ledger.db"), spoil);
        ledger.close_interrupted().unwrap();
        let (report, told) = std::sync::mpsc::channel();
        let writer =
            crate::writer::RecordWriter::start(ledger.clone(), move |trouble: Option<Refusal>| {
                let _ = report.send(trouble.map(|refusal| refusal.code));
            });
        let writer = writer.unwrap();
        ledger.verify_first(Duration::ZERO).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(expected), "{spoil}");
        drop(writer);
    }
}
