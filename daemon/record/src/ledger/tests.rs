//! The ledger by itself, in folders of its own.

use model::code::ReasonCode;
use model::drive::Bay;
use model::failure::{Reason, Refusal};
use model::hint::Hint as _;
use model::verdict::Verdict;

use super::*;

mod proven;
mod sealed;
mod verifying;

fn record() -> Record {
    serde_json::from_str(include_str!("../../../model/src/schema1.json")).unwrap()
}

fn open(path: &Path, boot: &str) -> Result<Ledger, LedgerError> {
    Ledger::open(&Location::new(path, crate::log::tests::key()), boot)
}

fn all(ledger: &Ledger, filter: &Filter) -> Vec<Record> {
    ledger.all(filter).unwrap().into_iter().map(Result::unwrap).collect()
}

fn open_record() -> Record {
    Record { verdict: None, closed: None, job: Uuid::now_v7(), ..record() }
}

#[test]
fn an_open_record_is_closed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "boot-1").unwrap();
    let opened = open_record();
    ledger.put(&opened).unwrap();
    drop(ledger);
    let ledger = open(&path, "boot-1").unwrap();
    assert_eq!(ledger.close_interrupted().unwrap().len(), 1);
    assert_eq!(ledger.close_interrupted().unwrap().len(), 0);
    let records = all(&ledger, &Filter::default());
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].verdict, Some(Verdict::Stopped));
    assert_eq!(records[0].reason.as_ref().unwrap().code, ReasonCode::StationInterrupted);
    assert_eq!(ledger.of_insertion(opened.diskseq).unwrap().len(), 1);
    let refused = |record: Record, code| record.refused(Refusal::new(code, "x"), Timestamp::now());
    ledger.put(&refused(opened.clone(), ReasonCode::InUse)).unwrap();
    let records = all(&ledger, &Filter::default());
    assert_eq!(records[0].verdict, Some(Verdict::Stopped), "a late refusal changes nothing");
    ledger.put(&refused(open_record(), ReasonCode::InUse)).unwrap();
    let both = ledger.of_insertion(opened.diskseq).unwrap();
    let verdicts: Vec<_> = both.iter().map(|record| record.verdict).collect();
    assert_eq!(verdicts, [Some(Verdict::Stopped), Some(Verdict::Refused)], "oldest first");
    drop(ledger);
    let rebooted = open(&path, "boot-2").unwrap();
    assert!(rebooted.of_insertion(opened.diskseq).unwrap().is_empty());
    assert!(rebooted.of_disk(&record().identity.unwrap().disk_guid).unwrap().is_some());
}

/// Attachment counts start anew with every boot, so another drive may have the count of one whose record is closed.
#[test]
fn a_record_that_is_closed_in_the_next_boot_belongs_to_no_drive_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let opened = open_record();
    open(&path, "boot-1").unwrap().put(&opened).unwrap();
    let ledger = open(&path, "boot-2").unwrap();
    assert_eq!(ledger.close_interrupted().unwrap().len(), 1);
    assert!(ledger.of_insertion(opened.diskseq).unwrap().is_empty());
}

/// A station that another program keeps from its ledger is started again.
#[test]
fn a_lock_of_others_passes() {
    let of = |code| LedgerError::Open {
        path: PathBuf::from("/l.db"),
        source: rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None),
    };
    let busy = of(rusqlite::ffi::SQLITE_BUSY);
    assert!(busy.is_passing() && busy.hint().unwrap().contains("locked"));
    let full = of(rusqlite::ffi::SQLITE_FULL);
    assert!(!full.is_passing() && full.hint().unwrap().contains("free space"));
}

#[test]
fn records_are_found_and_ordered() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("l.db"), "b").unwrap();
    for serial in ["A", "B'; DROP TABLE records; --", "A"] {
        let serial = Serial::new(serial);
        ledger.put(&Record { serial, job: Uuid::now_v7(), ..record() }).unwrap();
    }
    let find = |serial: &str| {
        let filter = Filter { serial: Some(serial.into()), ..Filter::default() };
        all(&ledger, &filter).len()
    };
    assert_eq!((find("A"), find("B'; DROP TABLE records; --"), find("C")), (2, 1, 0));
    let filter = Filter { verdict: Some(Verdict::Failed), ..Filter::default() };
    assert!(all(&ledger, &filter).is_empty());
}

#[test]
fn a_serial_that_comes_late_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("l.db"), "b").unwrap();
    let nameless = Record { serial: None, ..open_record() };
    let refusal = Refusal::new(ReasonCode::NoSerial, "x");
    ledger.put(&nameless.clone().refused(refusal, Timestamp::now())).unwrap();
    ledger.put(&Record { serial: Serial::new("LATE"), ..nameless }).unwrap();
    let filter = Filter { serial: Some("LATE".into()), ..Filter::default() };
    assert_eq!(all(&ledger, &filter).len(), 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
fn a_file_that_is_no_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    std::fs::write(&path, "not a database, but long enough to be mistaken for one").unwrap();
    let error = open(&path, "b").unwrap_err();
    assert!(error.to_string().contains("ledger.db"), "{error}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"not a"), "nothing is lost");
}

/// A verdict that changes no row is an error, and the row keeps its own.
#[test]
fn nothing_changes_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("l.db"), "b").unwrap();
    let opened = open_record();
    ledger.put(&opened).unwrap();
    assert_eq!(ledger.close_interrupted().unwrap().len(), 1);
    let passed = Record { verdict: Some(Verdict::Passed), ..opened };
    let error = ledger.put(&passed).unwrap_err();
    assert!(matches!(error, LedgerError::Closed { verdict: Verdict::Stopped, .. }), "{error}");
}

#[test]
fn pages_have_every_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("l.db"), "b").unwrap();
    let jobs: Vec<Uuid> = (0..600).map(|_| Uuid::now_v7()).collect();
    for job in &jobs {
        ledger.put(&Record { job: *job, ..record() }).unwrap();
    }
    let found: Vec<Uuid> = all(&ledger, &Filter::default()).iter().map(|r| r.job).collect();
    assert_eq!(found, jobs);
    let page = ledger.page(&Filter::default(), Place::default()).unwrap();
    assert!(page.next.is_some() && page.rows.len() < jobs.len());
}

#[test]
fn records_are_found_by_time_bay_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("l.db"), "b").unwrap();
    let time = |second: i64| Timestamp::from_second(second).unwrap();
    let jobs: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
    for (number, job) in (0..).zip(&jobs) {
        let bay = Bay(if number % 2 == 0 { "bay \"3\"" } else { "bay 4" }.into());
        ledger.put(&Record { job: *job, bay, opened: time(1000 + number), ..record() }).unwrap();
    }
    let found = |filter: Filter| -> Vec<usize> {
        let all = all(&ledger, &filter);
        all.iter().map(|r| jobs.iter().position(|job| *job == r.job).unwrap()).collect()
    };
    let none = Filter::default;
    let (since, until) = (Some(time(1002)), Some(time(1004)));
    assert_eq!(found(Filter { since, ..none() }), [2, 3, 4, 5]);
    assert_eq!(found(Filter { until, ..none() }), [0, 1, 2, 3], "before, and not at");
    assert_eq!(found(Filter { since, until, ..none() }), [2, 3]);
    let bay = Some("bay \"3\"".to_owned());
    assert_eq!(found(Filter { bay: bay.clone(), ..none() }), [0, 2, 4]);
    // From a place on.
    let after = |place| ledger.page(&none(), place).unwrap().rows.len();
    assert_eq!(after(ledger.place_of(jobs[3]).unwrap().unwrap()), 2);
    assert!(ledger.place_of(Uuid::now_v7()).unwrap().is_none());
    let last = |filter: &Filter, count| {
        let place = ledger.before_last(filter, count).unwrap();
        ledger.page(filter, place).unwrap().rows.len()
    };
    assert_eq!([0, 1, 4, 6, 100].map(|count| last(&none(), count)), [0, 1, 4, 6, 6]);
    let of_bay = Filter { bay, ..none() };
    assert_eq!([1, 2, 9].map(|count| last(&of_bay, count)), [1, 2, 3]);
    assert_eq!(last(&Filter { serial: Some("nobody".into()), ..none() }, 3), 0);
}

/// Whoever reads the ledger for a long time holds nobody up.
#[test]
fn who_reads_for_long_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let ledger = open(&path, "b").unwrap();
    ledger.put(&open_record()).unwrap();
    let reader = Connection::open(&path).unwrap();
    let read = reader.unchecked_transaction().unwrap();
    let count = || read.query_row("SELECT count(*) FROM records", [], |r| r.get::<_, i64>(0));
    assert_eq!(count().unwrap(), 1);
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        ledger.put(&open_record()).unwrap();
        ledger.check().unwrap();
    }
    let patience = crate::connection::PATIENCE;
    assert!(begun.elapsed() < patience, "nothing has waited for the reader");
    assert_eq!(count().unwrap(), 1, "it goes on reading what there was");
    drop(read);
    ledger.check().unwrap();
    assert_eq!(crate::connection::log_length(&path), 0, "all is in the one file then");
}

/// A backup is a ledger of its own, as it was at one moment, whatever is written meanwhile.
#[test]
#[expect(clippy::disallowed_methods, reason = "files of the test's own")]
fn a_backup_is_whole_while_records_come() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("l.db"), "b").unwrap();
    for _ in 0..40 {
        ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
    }
    // What a killed station has left is no obstacle.
    std::fs::write(folder.path().join("l.db-backup"), "half").unwrap();
    let copies: Vec<std::fs::File> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..40 {
                ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
                ledger.check().unwrap();
            }
        });
        let copies = (0..4).map(|_| ledger.backup().unwrap()).collect();
        writer.join().unwrap();
        copies
    });
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("backup")), "{names:?}");
    let everything = all(&ledger, &Filter::default());
    for (number, mut copy) in copies.into_iter().enumerate() {
        let own = tempfile::tempdir().unwrap();
        let path = own.path().join("copy.db");
        std::io::copy(&mut copy, &mut std::fs::File::create(&path).unwrap()).unwrap();
        let copy = open(&path, "b").unwrap();
        assert!(copy.tampered().is_none(), "copy {number}: {:?}", copy.tampered());
        let records = all(&copy, &Filter::default());
        assert!((40..=80).contains(&records.len()), "copy {number}");
        assert_eq!(records, everything[..records.len()], "copy {number}");
        copy.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
    }
}

#[test]
fn one_ledger_at_a_time_and_not_without_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let ledger = open(&path, "b").unwrap();
    assert!(matches!(open(&path, "b"), Err(LedgerError::Locked { .. })));
    ledger.put(&open_record()).unwrap();
    ledger.finish();
    drop(ledger);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(open(&path, "b"), Err(LedgerError::Missing { rows: 1, .. })));
    assert_eq!(
        Ledger::set_aside(&Location::new(&path, crate::log::tests::key()), Timestamp::now())
            .unwrap(),
        None
    );
    open(&path, "b").unwrap();
    let folder = folder.path();
    assert!(matches!(open(folder, "b"), Err(LedgerError::NotAFile { .. })));
}

/// A path that is wrong changes nothing there.
#[test]
#[expect(clippy::disallowed_methods, reason = "files of the test's own")]
fn what_is_another_program_s_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    for (name, content) in [
        ("a database", "CREATE TABLE bookmarks (url TEXT);"),
        ("one with a version", "CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = 1;"),
        ("one with a table of that name", "CREATE TABLE records (song TEXT);"),
    ] {
        let _ = std::fs::remove_file(&path);
        rusqlite::Connection::open(&path).unwrap().execute_batch(content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = open(&path, "b").unwrap_err();
        assert!(matches!(error, LedgerError::Foreign { .. }), "{name}: {error}");
        assert!(std::fs::read(&path).unwrap() == before, "{name}");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{name}");
    }
    std::fs::write(&path, "not a database, but long enough to be mistaken for one").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    open(&path, "b").unwrap_err();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let beside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "nothing is put beside it: {beside:?}");
}

#[test]
fn sequences_only_rise_and_survive() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::new(&folder.path().join("ledger.db"), crate::log::tests::key());
    let ledger = Ledger::open(&location, "boot").unwrap();
    let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
    let late: Timestamp = "2199-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(ledger.latest().unwrap(), Timestamp::UNIX_EPOCH);
    for (product, sequence, created) in
        [(&a, 7, late), (&a, 6, Timestamp::UNIX_EPOCH), (&b, 1, Timestamp::UNIX_EPOCH)]
    {
        ledger.note_product(product, sequence, created).unwrap();
    }
    let media = model::digest::Digest::of(b"x");
    ledger.note_accepted(media, (&a, 6), "why", "me").unwrap();
    ledger.finish();
    drop(ledger);
    let ledger = Ledger::open(&location, "boot").unwrap();
    assert_eq!(ledger.sequences().unwrap(), [(a, 7), (b, 1)].into());
    assert_eq!(ledger.accepted().unwrap(), [media]);
    assert_eq!(ledger.latest().unwrap(), late);
}

/// The latest time is that of any record, not of the last one, and it stays known when that record is changed.
#[test]
fn the_latest_time_does_not_go_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let late: Timestamp = "2199-01-02T03:04:05Z".parse().unwrap();
    let refused = |opened| {
        let record = Record { opened, job: Uuid::from_u128(9), ..open_record() };
        record.refused(Refusal::new(ReasonCode::NoMedia, "x"), opened)
    };
    let ledger = open(&path, "boot-1").unwrap();
    ledger.put(&refused(late)).unwrap();
    ledger.put(&refused(record().opened)).unwrap();
    ledger.put(&open_record()).unwrap();
    assert_eq!(ledger.latest().unwrap(), late);
    drop(ledger);
    assert_eq!(open(&path, "boot-2").unwrap().latest().unwrap(), late);
}

/// What somebody does to the database while no station has it open, and what is known outside of it.
#[test]
fn a_ledger_that_somebody_has_changed_is_not_built_upon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let passed = Record { job: Uuid::now_v7(), ..record() };
    let failed = Record { job: Uuid::now_v7(), verdict: Some(Verdict::Failed), ..record() };
    let set_up = || {
        for ending in ["", "-wal", "-shm", "-counterfoil", "-counterfoil-checkpoint"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
        let ledger = open(&path, "boot-1").unwrap();
        ledger.put(&passed).unwrap();
        ledger.put(&failed).unwrap();
        ledger.finish();
    };
    let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let drop_triggers = "DROP TRIGGER log_is_never_cut; DROP TRIGGER log_is_never_changed;";
    let rollback = "DELETE FROM log WHERE seq = 3; DELETE FROM records WHERE verdict = 'failed';";
    for (sql, found) in [
        ("UPDATE records SET verdict = 'passed'", "is not what the log says"),
        (&*format!("{drop_triggers} {rollback}"), "its checkpoint says 3"),
        (
            &*format!("{drop_triggers} DELETE FROM log; DELETE FROM log_head"),
            "has 0 entries, and had 3",
        ),
        ("UPDATE ledger SET id = '00000000-0000-0000-0000-000000000001'", "does not follow"),
        (
            "DROP TRIGGER units_updated; CREATE TRIGGER units_updated AFTER UPDATE ON units
             BEGIN UPDATE tallies SET passed = 0; END",
            "do something else by itself: trigger units_updated",
        ),
    ] {
        set_up();
        change(sql);
        let Ok(ledger) = open(&path, "boot-2") else { continue };
        let error = ledger.tampered().unwrap_or_else(|| panic!("{sql}"));
        assert!(chain(&error).contains(found), "{sql}: {error}");
        assert_eq!(error.code(), ReasonCode::LedgerTampered);
        assert!(error.hint().unwrap().len() <= 94, "one line of prestagectl");
        assert!(matches!(ledger.put(&open_record()), Err(LedgerError::Tampered { .. })), "{sql}");
        assert!(matches!(ledger.check(), Err(LedgerError::Tampered { .. })), "{sql}");
        // All can still be read, and a person may say that it is to go on.
        assert!(!all(&ledger, &Filter::default()).is_empty());
        ledger.acknowledge("jo".into(), "restored by hand".into()).unwrap();
        ledger.put(&open_record()).unwrap();
        drop(ledger);
        assert!(open(&path, "boot-3").unwrap().tampered().is_none(), "{sql}");
    }
}

/// The log goes on from a copy that takes the ledger's place, if it is one; from one that was changed it does not.
#[test]
fn a_copy_in_the_ledger_s_place_has_the_log_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let copy = folder.path().join("copy.db");
    for (sql, whole) in [
        ("", true),
        ("UPDATE records SET serial = 'X'", true),
        ("UPDATE records SET verdict = 'failed'", false),
    ] {
        let ledger = open(&path, "boot-1").unwrap();
        ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
        ledger.check().unwrap();
        fs::copy(&path, &copy).unwrap();
        ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
        Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
        fs::rename(&copy, &path).unwrap();
        // What the copy lacks, and what is changed in it, is put right from what is open.
        let put = ledger.put(&Record { job: Uuid::now_v7(), ..record() });
        assert_eq!(put.is_ok(), whole, "{sql}: {put:?}");
        if !whole {
            assert!(matches!(put, Err(LedgerError::Tampered { .. })), "{put:?}");
            continue;
        }
        assert_eq!(all(&ledger, &Filter::default()).len() % 3, 0);
        ledger.finish();
        drop(ledger);
        let again = open(&path, "boot-2").unwrap();
        assert!(again.tampered().is_none(), "{sql}: {:?}", again.tampered());
    }
}
