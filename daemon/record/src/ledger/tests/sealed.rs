//! What another program writes beside the log.

use evidence::statement::{self, Content, Event};

use super::*;
use crate::log::tests::unsealed;

/// A station begins, cleans and shows drives by what stands in these tables, so a row that another program has written must
/// not be believed.
#[test]
fn what_stands_beside_the_log_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let passed = Record { job: Uuid::now_v7(), ..record() };
    let refusal = Refusal::new(ReasonCode::InUse, "x");
    let refused = open_record().refused(refusal, Timestamp::now());
    let set_up = || {
        for ending in ["", "-wal", "-shm", "-counterfoil", "-counterfoil-checkpoint"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
        let ledger = open(&path, "boot-1").unwrap();
        ledger.put(&open_record()).unwrap();
        ledger.put(&passed).unwrap();
        ledger.put(&refused).unwrap();
        let product = "p".parse().unwrap();
        ledger.note_product(&product, 7, Timestamp::now()).unwrap();
        let media = model::digest::Digest::of(b"x");
        ledger.note_accepted(media, (&product, 6), "why", "me").unwrap();
        ledger.finish();
    };
    let copy =
        "INSERT INTO records SELECT 'j', boot, diskseq, serial, disk_guid, NULL, opened, record
        FROM records WHERE verdict = 'passed'";
    for (sql, whole) in [
        ("", true),
        ("UPDATE geometries SET size = 1", true),
        (copy, false),
        ("UPDATE records SET diskseq = diskseq + 1 WHERE verdict = 'passed'", false),
        ("UPDATE records SET boot = 'boot-2'", false),
        ("UPDATE records SET record = replace(record, 'S', 'T') WHERE verdict IS NULL", false),
        ("UPDATE records SET verdict = NULL, serial = 'GHOST' WHERE verdict = 'refused'", false),
        ("DELETE FROM records WHERE verdict IS NULL", false),
        ("DELETE FROM products", false),
        ("UPDATE products SET sequence = 1", false),
        ("DELETE FROM accepted", false),
        (
            "INSERT INTO accepted SELECT 'aa', product, sequence, reason, operator, at FROM accepted",
            false,
        ),
        ("UPDATE clock SET latest = ''", false),
        ("INSERT INTO orders VALUES ('PO-1', 'm', '{}', '{}', 'open', NULL, NULL)", false),
        ("INSERT INTO units VALUES ('PO-1', 'm', 's', 1, 0, 1, NULL, NULL)", false),
        ("INSERT INTO tallies VALUES ('PO-1', 'm', 9, 0)", false),
        ("INSERT INTO offers VALUES (1, 'm', NULL, 'hidden', 'me', 0, '')", false),
        ("INSERT INTO signer_list VALUES (1, '', 0, '')", false),
        ("DELETE FROM seal", false),
        ("UPDATE seal SET code = zeroblob(32)", false),
    ] {
        set_up();
        let _ = Connection::open(&path).unwrap().execute_batch(sql);
        let ledger = open(&path, "boot-1").unwrap();
        assert_eq!(ledger.tampered().is_none(), whole, "{sql}");
        if whole {
            assert_eq!(ledger.close_interrupted().unwrap().len(), 1, "{sql}");
            ledger.verify().unwrap();
            continue;
        }
        assert!(ledger.close_interrupted().unwrap().is_empty(), "nothing is done by it: {sql}");
        ledger.acknowledge("jo".into(), "known".into()).unwrap();
        ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
        ledger.verify().unwrap();
        drop(ledger);
        assert!(open(&path, "boot-3").unwrap().tampered().is_none(), "{sql}");
    }
    // The log that was set aside is kept, as it is, and so is the one before it.
    let spoil = |sql: &str| {
        let db = Connection::open(&path).unwrap();
        let last = "SELECT name FROM sqlite_master WHERE name LIKE 'log\\_%' ESCAPE '\\' AND length(name) > 20
            ORDER BY rowid";
        let name: String = db.query_row(last, [], |row| row.get(0)).unwrap();
        db.execute_batch(&sql.replace("KEPT", &name)).unwrap();
    };
    for sql in [
        "DELETE FROM KEPT WHERE seq = 2",
        "UPDATE KEPT SET entry = x'00' WHERE seq = 3",
        "DROP TABLE KEPT",
    ] {
        spoil(sql);
        let ledger = open(&path, "boot-3").unwrap();
        assert!(ledger.tampered().is_some(), "{sql}");
        ledger.acknowledge("jo".into(), "known".into()).unwrap();
        ledger.verify().unwrap();
    }
}

/// Who takes the seal away does not make it a ledger of an older program, which had none.
#[test]
fn a_seal_that_the_log_tells_of_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "boot-1").unwrap();
    ledger.put(&record()).unwrap();
    let (event, head) = (crate::log::seal::first(Timestamp::now()), ledger.checkpoint());
    assert_eq!(event.kind, "tables_sealed");
    ledger.happened(event).unwrap();
    assert_ne!(ledger.checkpoint(), head);
    ledger.verify().unwrap();
    ledger.finish();
    drop(ledger);
    Connection::open(&path).unwrap().execute_batch("DELETE FROM seal").unwrap();
    assert!(open(&path, "boot-1").unwrap().tampered().is_some(), "it is known to have had one");
}

/// Older programs had no seal: their ledger gets one when it is opened, which the log tells once, and from then on it counts.
#[test]
fn a_ledger_of_an_older_program_is_sealed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let older = || {
        for ending in ["", "-wal", "-shm", "-counterfoil", "-counterfoil-checkpoint"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
        open(&path, "boot-1").unwrap().finish();
        for ending in ["-counterfoil", "-counterfoil-checkpoint"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
        unsealed(&mut Connection::open(&path).unwrap());
    };
    let kinds = |ledger: &Ledger| -> Vec<String> {
        let kind = |(_, entry): &(u64, Vec<u8>)| {
            let payload = signing::Envelope::parse(entry).unwrap().unverified_payload().unwrap();
            match statement::read(&payload).unwrap().content {
                Content::Event(Event { kind, .. }) => kind,
                Content::Record(_) => "record".into(),
            }
        };
        ledger.entries(0, 9).unwrap().entries.iter().map(kind).collect()
    };
    let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    older();
    let sealed = ["log_begun", "tables_sealed"];
    for _ in 0..2 {
        let ledger = open(&path, "boot-1").unwrap();
        assert!(ledger.tampered().is_none());
        assert_eq!(kinds(&ledger), sealed);
        ledger.verify().unwrap();
        ledger.finish();
    }
    for sql in ["DELETE FROM seal", "UPDATE clock SET latest = ''"] {
        older();
        let ledger = open(&path, "boot-1").unwrap();
        ledger.put(&record()).unwrap();
        ledger.finish();
        drop(ledger);
        change(sql);
        assert!(open(&path, "boot-1").unwrap().tampered().is_some(), "{sql}");
    }
    // A seal that is there counts, whether or not the log tells of one.
    older();
    change("INSERT INTO seal VALUES (1, zeroblob(32))");
    let ledger = open(&path, "boot-1").unwrap();
    assert!(ledger.tampered().is_some());
    assert_eq!(kinds(&ledger), ["log_begun"], "nothing is sealed then");
}

/// What another program writes while the station runs is found before anything is built upon it.
#[test]
fn what_others_write_meanwhile_is_not_built_upon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "boot-1").unwrap();
    let passed = || Record { job: Uuid::now_v7(), ..record() };
    ledger.put(&passed()).unwrap();
    let other = Connection::open(&path).unwrap();
    let change = |sql: &str| other.execute_batch(sql).unwrap();
    // What does no harm: others' tables, and what changes no row.
    for sql in ["CREATE TABLE notes (text); INSERT INTO notes VALUES ('x')", "VACUUM", "ANALYZE"] {
        change(sql);
        ledger.put(&passed()).unwrap();
        ledger.check().unwrap();
    }
    let tallied = "INSERT INTO tallies VALUES ('PO-1', 'm', 9, 0)";
    for (sql, found) in [
        (tallied, "another program has written to its tables"),
        ("UPDATE records SET serial = 'X'", "is not what the log says"),
        ("CREATE TRIGGER more AFTER INSERT ON units BEGIN DELETE FROM units; END", "trigger more"),
        ("DELETE FROM seal", "another program has written to its tables"),
    ] {
        change(sql);
        let error = ledger.check().unwrap_err();
        assert!(chain(&error).contains(found), "{sql}: {error}");
        ledger.acknowledge("jo".into(), "known".into()).unwrap();
        ledger.check().unwrap();
        // Also without a look at it before.
        let again =
            if sql == tallied { "UPDATE clock SET latest = 'x'" } else { "DELETE FROM seal" };
        change(again);
        let written = ledger.put(&passed());
        assert!(matches!(written, Err(LedgerError::Tampered { .. })), "{sql}: {written:?}");
        ledger.acknowledge("jo".into(), "known".into()).unwrap();
        ledger.put(&passed()).unwrap();
    }
    // Tables, seal and all put back to what they were when fewer had passed.
    let (sum, code) = (ledger.0.database.lock().seal.sum(), "SELECT hex(code) FROM seal");
    let code = |db: &Connection| db.query_row(code, [], |row| row.get::<_, String>(0)).unwrap();
    let before = code(&other);
    ledger
        .change("count", |db| db.execute("INSERT INTO tallies VALUES ('PO-1', 'm', 1, 0)", []))
        .unwrap();
    assert_ne!((ledger.0.database.lock().seal.sum(), code(&other)), (sum, before.clone()));
    change(&format!("DELETE FROM tallies; UPDATE seal SET code = x'{before}'"));
    assert!(ledger.check().unwrap_err().code() == ReasonCode::LedgerTampered);
}

/// A table that was changed may lack what every start reads.
#[test]
fn a_ledger_that_cannot_be_read_any_more_says_that_it_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let spoilt = |sql: &str| {
        for ending in ["", "-wal", "-shm", "-counterfoil", "-counterfoil-checkpoint"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
        let ledger = open(&path, "boot-1").unwrap();
        ledger.put(&record()).unwrap();
        ledger.finish();
        drop(ledger);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    };
    for (sql, table) in [
        ("ALTER TABLE orders DROP COLUMN reason", "table orders"),
        ("DROP TABLE log_base; CREATE TABLE log_base (job TEXT)", "table log_base"),
        ("DROP TABLE log; CREATE TABLE log (seq INTEGER PRIMARY KEY, job TEXT)", "table log"),
        ("DROP TABLE units; CREATE TABLE units (number TEXT)", "table units"),
        ("DROP TABLE seal; CREATE TABLE seal (x)", "table seal"),
    ] {
        spoilt(sql);
        let error = match open(&path, "boot-2") {
            Err(error) => error,
            Ok(ledger) => {
                assert_eq!(ledger.tampered().unwrap().code(), ReasonCode::LedgerTampered, "{sql}");
                ledger.acknowledge("jo".into(), "known".into()).unwrap_err()
            }
        };
        assert_eq!(error.code(), ReasonCode::LedgerTampered, "{sql}: {error}");
        assert!(chain(&error).contains(table), "{sql}: {error}");
        assert!(error.hint().unwrap().contains("backup"), "{sql}");
    }
    // What can be read, or counted anew, can be acknowledged.
    spoilt("INSERT INTO tallies VALUES ('PO-1', 'm', -1, -7)");
    let ledger = open(&path, "boot-2").unwrap();
    assert!(ledger.tampered().is_some());
    ledger.acknowledge("jo".into(), "known".into()).unwrap();
    ledger.finish();
    drop(ledger);
    assert!(open(&path, "boot-2").unwrap().tampered().is_none());
    // Nor does a table that only seems to be a log which was set aside.
    spoilt("CREATE TABLE log_0123456789abcdef0123456789abcdef (x)");
    assert!(open(&path, "boot-2").unwrap().tampered().is_none());
}

/// A change of `sqlite_master` by which SQLite takes the pages of one table or index for another's.
fn swapped(with: &str, own: &str) -> String {
    format!(
        "CREATE TEMP TABLE pages AS SELECT name, rootpage FROM sqlite_master;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM pages WHERE pages.name =
             CASE sqlite_master.name WHEN '{own}' THEN '{with}' ELSE '{own}' END)
         WHERE name IN ('{own}', '{with}');
         PRAGMA writable_schema = RESET;"
    )
}

/// Whoever can write pages can make rows stand where nobody finds them, or change their order.
#[test]
fn rows_are_found_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let set_up = || {
        for ending in ["", "-wal", "-shm", "-counterfoil", "-counterfoil-checkpoint"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
        let ledger = open(&path, "boot-1").unwrap();
        for verdict in [Verdict::Passed, Verdict::Stopped, Verdict::Failed] {
            let (job, verdict) = (Uuid::now_v7(), Some(verdict));
            ledger.put(&Record { job, verdict, ..record() }).unwrap();
        }
        let counted = |db: &Transaction<'_>| {
            db.execute_batch(
                "INSERT INTO units VALUES ('A', 'm', 's', 1, 0, 1, NULL, NULL);
                 INSERT INTO units VALUES ('B', 'm', 's', 1, 0, 1, NULL, NULL);
                 INSERT INTO units VALUES ('C', 'm', 's', 1, 0, 1, NULL, NULL);",
            )
        };
        ledger.change("count", counted).unwrap();
        ledger
    };
    let reversed = "CREATE TABLE other (number TEXT, media TEXT, passed INTEGER, running INTEGER,
            PRIMARY KEY (number DESC, media)) STRICT, WITHOUT ROWID;
        INSERT INTO other SELECT * FROM tallies;";
    let lacking = "CREATE TABLE other (job TEXT); CREATE INDEX less ON other (job);";
    for (sql, found) in [
        (reversed.to_owned() + &swapped("other", "tallies"), "does not find all"),
        (lacking.to_owned() + &swapped("less", "log_by_job"), "does not find all"),
        (lacking.to_owned() + &swapped("less", "records_by_serial"), "does not find all"),
        ("UPDATE records SET rowid = -rowid".into(), "another program has written to its tables"),
    ] {
        set_up().finish();
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        let ledger = open(&path, "boot-1").unwrap();
        let error = ledger.tampered().unwrap_or_else(|| panic!("{sql}"));
        assert!(chain(&error).contains(found), "{sql}: {error}");
        // Indexes are made anew; a table whose own pages are in disorder cannot be.
        if let Err(error) = ledger.acknowledge("jo".into(), "known".into()) {
            assert!(sql.starts_with(reversed), "{sql}: {}", chain(&error));
            assert!(error.hint().unwrap().contains("a backup"), "{error:?}");
            continue;
        }
        ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
        ledger.verify().unwrap();
    }
    // While it is open, what gives places away.
    let ledger = set_up();
    Connection::open(&path)
        .unwrap()
        .execute_batch(&(reversed.to_owned() + &swapped("other", "tallies")))
        .unwrap();
    let put = ledger.put(&Record { job: Uuid::now_v7(), ..record() });
    assert!(matches!(put, Err(LedgerError::Tampered { .. })), "{put:?}");
    // The order is kept, whatever SQLite numbers anew; an open row that is taken back leaves none.
    let ledger = set_up();
    ledger
        .change("spoil", |db| {
            db.execute("DELETE FROM records WHERE verdict = 'stopped'", [])?;
            db.execute("UPDATE records SET rowid = rowid + 7 WHERE verdict = 'failed'", [])
        })
        .unwrap();
    ledger.verify().unwrap_err();
    let ledger = set_up();
    let open_one = open_record();
    ledger.put(&open_one).unwrap();
    let (location, job) = (ledger.0.location.clone(), open_one.job.to_string());
    ledger.0.database.lock().take_back(&location, &job);
    ledger.put(&open_record()).unwrap();
    ledger.verify().unwrap();
    Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap();
    ledger.check().unwrap();
    ledger.verify().unwrap();
}

/// Others may keep tables of their own beside the ledger's, with all that belongs to these.
#[test]
fn tables_of_others_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "boot-1").unwrap();
    ledger.put(&record()).unwrap();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE notes (job TEXT REFERENCES records (job), seq INTEGER REFERENCES log (seq), text TEXT,
                 key TEXT REFERENCES seal (code));
             CREATE UNIQUE INDEX notes_by_job ON notes (job);
             INSERT INTO notes SELECT job, 1, 'x', NULL FROM records;",
        )
        .unwrap();
    for _ in 0..2 {
        ledger.put(&Record { job: Uuid::now_v7(), ..record() }).unwrap();
        ledger.check().unwrap();
        ledger.verify().unwrap();
    }
    ledger.finish();
    drop(ledger);
    let ledger = open(&path, "boot-2").unwrap();
    assert!(ledger.tampered().is_none(), "{:?}", ledger.tampered());
    // Not even what somebody has changed stays so for them.
    other.execute_batch("UPDATE clock SET latest = 'x'; DELETE FROM seal").unwrap();
    ledger.check().unwrap_err();
    ledger.acknowledge("jo".into(), "known".into()).unwrap();
    // Nor does a name that a log has which was set aside.
    let sql = "SELECT substr(name, 5) FROM sqlite_master WHERE name GLOB 'log_[0-9a-f]*' AND length(name) = 36";
    let name: String = other.query_row(sql, [], |row| row.get(0)).unwrap();
    let name: Uuid = name.parse().unwrap();
    ledger.finish();
    drop(ledger);
    other.execute("UPDATE ledger SET id = ?1", [name.to_string()]).unwrap();
    for ending in ["-counterfoil", "-counterfoil-checkpoint"] {
        let _ = fs::remove_file(beside(&path, ending));
    }
    let ledger = open(&path, "boot-2").unwrap();
    assert!(ledger.tampered().is_some());
    ledger.acknowledge("jo".into(), "known".into()).unwrap();
    ledger.verify().unwrap();
}

/// A job that runs has its verdict still to come, whatever somebody makes of its open record, and an operator of that.
#[test]
fn a_running_job_s_record_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "boot-1").unwrap();
    ledger.put(&record()).unwrap();
    let other = Connection::open(&path).unwrap();
    for sql in [
        "UPDATE records SET verdict = 'passed' WHERE verdict IS NULL",
        "UPDATE records SET verdict = 'failed', record = 'x', serial = NULL WHERE verdict IS NULL",
        "DELETE FROM records WHERE verdict IS NULL",
    ] {
        let running = open_record();
        ledger.put(&running).unwrap();
        other.execute_batch(sql).unwrap();
        let error = ledger.check().unwrap_err();
        assert_eq!(error.code(), ReasonCode::LedgerTampered, "{sql}: {error}");
        let reason = Reason::new(ReasonCode::Mismatch, "x");
        let failed = running.clone().closed_with(Verdict::Failed, reason, Timestamp::now());
        assert!(matches!(ledger.put(&failed), Err(LedgerError::Tampered { .. })), "{sql}");
        ledger.acknowledge("jo".into(), "known".into()).unwrap();
        ledger.put(&failed).unwrap();
        let kept = ledger.of_job(running.job).unwrap().unwrap();
        assert_eq!(kept.verdict, Some(Verdict::Failed), "{sql}");
        ledger.verify().unwrap();
    }
    // One that is closed stays closed.
    ledger.acknowledge("jo".into(), "known".into()).unwrap();
    let passed = all(&ledger, &Filter::default()).remove(0);
    assert_eq!(passed.verdict, Some(Verdict::Passed));
}
