//! A log on a database in memory, and everything that can be done to it.

use rusqlite::Connection;
use serde_json::Value;

use super::*;
use crate::ledger;

const LEDGER: Uuid = Uuid::from_u128(0x1234);
const RECORD: &str = include_str!("../../../model/src/schema1.json");

/// A key that stays the same.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_pem(
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
    )
    .unwrap()
}

/// Makes the new log of a database one that an older program has begun: without a seal.
pub(crate) fn unsealed(db: &mut Connection) {
    let entry: Vec<u8> =
        db.query_row("SELECT entry FROM log WHERE seq = 1", [], |row| row.get(0)).unwrap();
    let payload = signing::Envelope::parse(&entry).unwrap().unverified_payload().unwrap();
    let statement::Content::Event(mut event) = statement::read(&payload).unwrap().content else {
        panic!("another entry");
    };
    assert_eq!(event.detail.as_object_mut().unwrap().remove("is_sealed"), Some(true.into()));
    db.execute_batch(
        "DROP TRIGGER log_is_never_cut; DELETE FROM log; DELETE FROM log_head; DELETE FROM seal",
    )
    .unwrap();
    let id: String = db.query_row("SELECT id FROM ledger", [], |row| row.get(0)).unwrap();
    let log = Log::open(db, id.parse().unwrap(), Arc::new(key())).unwrap();
    let transaction = db.transaction().unwrap();
    log.append(Tip::default(), &transaction, Said::Happened(event)).unwrap();
    transaction.commit().unwrap();
}

struct Kept {
    db: Connection,
    log: Log,
}

/// The record of this job, as text. Its verdict, serial number and GUID are its own.
fn record(number: u64, verdict: &str) -> (Record, String) {
    let mut value: Value = serde_json::from_str(RECORD).unwrap();
    value["job"] = Uuid::from_u128(number.into()).to_string().into();
    value["serial"] = format!("SERIAL{number}").into();
    value["verdict"] = verdict.into();
    value["identity"]["disk_guid"] = Uuid::from_u128(u128::from(number) + 100).to_string().into();
    if verdict != "passed" {
        value["reason"] = serde_json::json!({"code": "operator_stop", "detail": "text"});
    }
    let record: Record = serde_json::from_value(value).unwrap();
    let text = serde_json::to_string(&record).unwrap();
    (record, text)
}

/// An empty ledger with this log's name.
fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(ledger::TABLES).unwrap();
    db.execute_batch(TABLES).unwrap();
    let sql = "CREATE TABLE ledger (id TEXT NOT NULL) STRICT";
    db.execute_batch(sql).unwrap();
    db.execute("INSERT INTO ledger (id) VALUES (?1)", [LEDGER.to_string()]).unwrap();
    db
}

fn why() -> Begin {
    let (at, operator) = (jiff::Timestamp::UNIX_EPOCH, None);
    Begin { at, operator, reason: None, found: None }
}

fn begun(db: &mut Connection, key: Arc<SecretKey>) -> Log {
    let transaction = db.transaction().unwrap();
    let log = begin(&transaction, key, why()).unwrap();
    transaction.commit().unwrap();
    log
}

/// Writes the row of a closed record.
fn put(db: &Connection, number: u64, verdict: &str) -> (Record, String) {
    let (record, text) = record(number, verdict);
    let sql = "INSERT OR REPLACE INTO records (job, boot, diskseq, serial, disk_guid, verdict, opened, record)
        VALUES (?1, 'boot', ?2, ?3, ?4, ?5, ?6, ?7)";
    let guid = record.identity.as_ref().map(|identity| identity.disk_guid.to_string());
    let number = i64::try_from(number).unwrap();
    let serial = record.serial.as_ref().map(|serial| serial.as_str().to_owned());
    let (job, opened) = (record.job.to_string(), format!("{:.3}", record.opened));
    db.execute(sql, params![job, number, serial, guid, verdict, opened, text]).unwrap();
    (record, text)
}

impl Kept {
    /// A log that was begun when two records were there, one of them open; then five drives, one of them refused first and
    /// imaged then; an event among them.
    fn new() -> Self {
        let mut db = database();
        put(&db, 10, "passed");
        put(&db, 11, "stopped");
        put(&db, 12, "refused");
        db.execute_batch("UPDATE records SET verdict = NULL WHERE verdict = 'stopped'").unwrap();
        let key = Arc::new(SecretKey::generate().unwrap());
        let mut kept = Self { log: begun(&mut db, key), db };
        for (number, verdict) in [
            (1, "passed"),
            (2, "refused"),
            (3, "failed"),
            (2, "passed"),
            (4, "stopped"),
            (5, "refused"),
        ] {
            kept.close(number, verdict);
            if number == 3 {
                let (at, detail) = (jiff::Timestamp::UNIX_EPOCH, Value::Null);
                let event = Event { kind: "armed".into(), at, operator: None, detail };
                kept.append(Said::Happened(event));
            }
        }
        assert_eq!(kept.log.tip.edge.size(), 8);
        kept
    }

    fn append(&mut self, said: Said<'_>) {
        let transaction = self.db.transaction().unwrap();
        let tip = self.log.append(self.log.tip().clone(), &transaction, said).unwrap();
        transaction.commit().unwrap();
        self.log.advance(tip);
    }

    fn close(&mut self, number: u64, verdict: &str) {
        let (record, text) = put(&self.db, number, verdict);
        self.append(Said::Closed(&record, &text));
    }

    fn found(&self, known: Option<&Checkpoint>) -> Result<Checkpoint, Tampered> {
        let known: Vec<Checkpoint> = known.into_iter().cloned().collect();
        let whole = verify(&self.db, LEDGER, &self.log.public_key(), &known).unwrap()?;
        Ok(whole.checkpoint.unwrap())
    }

    fn head(&self) -> Checkpoint {
        self.found(None).unwrap()
    }

    /// What is changed past the triggers, as whoever has the file can.
    fn tamper(&self, sql: &str) {
        for trigger in ["log_is_never_changed", "log_is_never_cut", "log_has_no_gap"] {
            self.db.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        self.db.execute_batch(sql).unwrap();
    }
}

#[test]
fn a_log_that_nobody_touched_is_whole() {
    let mut kept = Kept::new();
    let before = kept.head();
    assert_eq!((before.size, before.origin.as_str()), (8, &*origin(LEDGER)));
    kept.close(6, "passed");
    assert_eq!(kept.found(Some(&before)).unwrap().size, 9);
    // Taken up again from the database alone.
    kept.log = Log::open(&kept.db, LEDGER, Arc::clone(&kept.log.key)).unwrap();
    kept.close(7, "failed");
    assert_eq!(kept.found(Some(&before)).unwrap().size, 10);
    // An open record, and a refused one that is imaged after all, are as they should be.
    kept.db
        .execute_batch(
            "INSERT INTO records SELECT '9', boot, 9, serial, disk_guid, NULL, opened, record FROM records LIMIT 1;
             UPDATE records SET verdict = NULL WHERE verdict = 'refused'",
        )
        .unwrap();
    kept.found(None).unwrap();
    // What was open when the log was begun is closed, and what was refused then is imaged.
    kept.close(11, "stopped");
    kept.close(12, "passed");
    assert_eq!(kept.found(None).unwrap().size, 12);
}

/// A ledger whose log cannot be mended begins another one, of another name; what was there is kept and vouched for as it was
/// found.
#[test]
fn a_log_is_begun_anew() {
    let mut kept = Kept::new();
    kept.tamper(
        "DELETE FROM log WHERE seq = 4; UPDATE records SET serial = 'X' WHERE serial = 'SERIAL3'",
    );
    let former = kept.log.tip().note().map(str::to_owned);
    kept.log = begun(&mut kept.db, Arc::clone(&kept.log.key));
    let ledger: String = kept.db.query_row("SELECT id FROM ledger", [], |row| row.get(0)).unwrap();
    let ledger: Uuid = ledger.parse().unwrap();
    assert_ne!(ledger, LEDGER);
    kept.close(20, "passed");
    let found = || verify(&kept.db, ledger, &kept.log.public_key(), &[]).unwrap();
    assert_eq!(found().unwrap().checkpoint.unwrap().size, 2);
    let sql = format!("SELECT count(*) FROM log_{}", LEDGER.simple());
    let kept_entries: i64 = kept.db.query_row(&sql, [], |row| row.get(0)).unwrap();
    assert_eq!(kept_entries, 7);
    let entry: Vec<u8> =
        kept.db.query_row("SELECT entry FROM log WHERE seq = 1", [], |row| row.get(0)).unwrap();
    let payload = signing::Envelope::parse(&entry).unwrap().unverified_payload().unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    let detail = &statement["predicate"]["event"]["detail"];
    assert_eq!(detail["former"]["checkpoint"].as_str(), former.as_deref());
    assert_eq!(detail["records"], 7);
    kept.db.execute_batch("UPDATE records SET serial = 'Y' WHERE serial = 'X'").unwrap();
    assert!(matches!(found(), Err(Tampered::Record(_))), "{:?}", found());
}

/// What somebody else has put at the end of the log is not built upon.
#[test]
fn nothing_is_added_to_a_log_that_another_has_written() {
    let mut kept = Kept::new();
    kept.tamper("UPDATE log_head SET checkpoint = checkpoint || ' '");
    let tip = kept.log.tip().clone();
    let (record, text) = record(9, "passed");
    let transaction = kept.db.transaction().unwrap();
    let error = kept.log.append(tip, &transaction, Said::Closed(&record, &text)).unwrap_err();
    assert!(matches!(error, LogError::Tampered(Tampered::Head)), "{error}");
}

/// What SQLite itself refuses.
#[test]
fn the_log_only_grows() {
    let kept = Kept::new();
    for sql in [
        "DELETE FROM log WHERE seq = 8",
        "UPDATE log SET job = '1' WHERE seq = 1",
        "INSERT INTO log SELECT 10, job, entry, leaf FROM log WHERE seq = 1",
        "INSERT INTO log SELECT 1, job, entry, leaf FROM log WHERE seq = 1",
        "INSERT INTO log SELECT NULL, job, entry, leaf FROM log WHERE seq = 1",
    ] {
        let error = kept.db.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("entries of the log"), "{sql}: {error}");
    }
    kept.head();
}

/// Everything that somebody with the file and without the key can do to it.
#[test]
fn nothing_is_changed_unseen() {
    let first = "(SELECT job FROM records ORDER BY rowid LIMIT 1)";
    let ways = [
        ("DELETE FROM log WHERE seq = 1".to_owned(), "entry 1 of the log is missing"),
        ("DELETE FROM log WHERE seq = 4".into(), "entry 4 of the log is missing"),
        ("DELETE FROM log WHERE seq = 8".into(), "and its checkpoint says 8"),
        ("DELETE FROM log".into(), "has 0 entries"),
        ("DELETE FROM log; DELETE FROM log_head".into(), "closed, and the log does not know"),
        ("DELETE FROM log_head".into(), "has no checkpoint"),
        ("DELETE FROM log WHERE seq = 4; UPDATE log SET seq = seq - 1 WHERE seq > 4".into(), "entry 4 of the log does not follow"),
        ("UPDATE log SET seq = -1 WHERE seq = 2; UPDATE log SET seq = 2 WHERE seq = 3; UPDATE log SET seq = 3 WHERE seq = -1".into(), "does not follow"),
        ("UPDATE log SET entry = (SELECT entry FROM log WHERE seq = 1) WHERE seq = 2".into(), "entry 2 of the log is not what was written"),
        ("UPDATE log SET entry = (SELECT entry FROM log WHERE seq = 1), leaf = (SELECT leaf FROM log WHERE seq = 1) WHERE seq = 2".into(), "does not follow"),
        ("UPDATE log SET entry = x'00' WHERE seq = 3".into(), "entry 3 of the log is not"),
        ("UPDATE log SET leaf = zeroblob(32) WHERE seq = 3".into(), "entry 3 of the log is not"),
        ("UPDATE log SET job = NULL WHERE seq = 2".into(), "another job"),
        ("UPDATE log SET job = (SELECT job FROM log WHERE seq = 3) WHERE seq = 2".into(), "another job"),
        ("INSERT INTO log SELECT 9, job, entry, leaf FROM log WHERE seq = 1".into(), "entry 9 of the log does not follow"),
        ("UPDATE log_head SET checkpoint = replace(checkpoint, char(10) || '8' || char(10), char(10) || '7' || char(10))".into(), "checkpoint is not the station's"),
        ("UPDATE log_head SET checkpoint = ''".into(), "checkpoint is not the station's"),
        (format!("DELETE FROM records WHERE job = {first}"), "is gone"),
        ("DELETE FROM records WHERE rowid = (SELECT max(rowid) FROM records)".into(), "is gone"),
        ("DELETE FROM records".into(), "is gone"),
        ("UPDATE records SET verdict = 'passed' WHERE verdict = 'failed'".into(), "is not what the log says"),
        ("UPDATE records SET record = replace(record, '\"failed\"', '\"passed\"')".into(), "is not what the log says"),
        ("UPDATE records SET verdict = 'passed', record = replace(replace(record, '\"failed\"', '\"passed\"'), 'operator_stop', 'x') WHERE verdict = 'failed'".into(), "is not what the log says"),
        ("UPDATE records SET serial = 'SERIAL9' WHERE serial = 'SERIAL3'".into(), "is not what the log says"),
        ("UPDATE records SET serial = NULL WHERE serial = 'SERIAL3'".into(), "is not what the log says"),
        ("UPDATE records SET record = replace(record, 'SERIAL3', 'SERIAL9')".into(), "is not what the log says"),
        ("UPDATE records SET disk_guid = NULL WHERE verdict = 'passed'".into(), "is not what the log says"),
        ("UPDATE records SET opened = '2020-01-01T00:00:00.000Z'".into(), "is not what the log says"),
        ("UPDATE records SET verdict = NULL WHERE verdict = 'failed'".into(), "is not what the log says"),
        ("UPDATE records SET verdict = NULL WHERE verdict = 'passed'".into(), "is not what the log says"),
        ("UPDATE records SET record = record || ' '".into(), "is not what the log says"),
        (format!("UPDATE records SET job = '00000000-0000-0000-0000-0000000000ff' WHERE job = {first}"), "is gone"),
        (format!("INSERT INTO records SELECT '00000000-0000-0000-0000-0000000000ff', boot, 7, serial, disk_guid, verdict, opened, record FROM records WHERE job = {first}"), "the log does not know of it"),
        ("UPDATE records SET record = (SELECT record FROM records WHERE serial = 'SERIAL1') WHERE serial = 'SERIAL3'".into(), "is not what the log says"),
        // What was closed before the log was begun.
        ("DELETE FROM records WHERE serial = 'SERIAL10'".into(), "is gone"),
        ("UPDATE records SET serial = 'X' WHERE serial = 'SERIAL10'".into(), "is not what the log says"),
        ("UPDATE records SET verdict = NULL WHERE serial = 'SERIAL10'".into(), "is not what the log says"),
        ("UPDATE records SET verdict = 'passed' WHERE serial = 'SERIAL12'".into(), "is not what the log says"),
        ("DELETE FROM log_base; DELETE FROM records WHERE serial = 'SERIAL10'".into(), "not those that it vouches for"),
        ("INSERT INTO log_base SELECT 'x', verdict, digest FROM log_base LIMIT 1".into(), "not those that it vouches for"),
        ("UPDATE log_base SET verdict = 'refused'".into(), "not those that it vouches for"),
        ("UPDATE log_base SET digest = zeroblob(32)".into(), "not those that it vouches for"),
        // One that was open then, closed by somebody else.
        ("UPDATE records SET verdict = 'passed' WHERE serial = 'SERIAL11'".into(), "the log does not know of it"),
    ];
    for (sql, expected) in ways {
        let kept = Kept::new();
        kept.tamper(&sql);
        let found = kept.found(None);
        let told = found.as_ref().map_or_else(ToString::to_string, |head| format!("{head:?}"));
        assert!(told.contains(expected), "{sql}: {told}");
    }
}

/// Whoever makes another key, or begins a log anew, has none of the station's.
#[test]
fn another_key_and_an_older_log_are_seen() {
    let (kept, other) = (Kept::new(), SecretKey::generate().unwrap());
    let found = verify(&kept.db, LEDGER, &other.public(), &[]).unwrap();
    assert!(matches!(found, Err(Tampered::Key)), "{found:?}");
    let found = verify(&kept.db, Uuid::from_u128(1), &kept.log.public_key(), &[]).unwrap();
    assert!(matches!(found, Err(Tampered::Chain(1))), "{found:?}");
    // An older copy of the database is whole in itself; only what is known outside tells.
    let mut grown = Kept::new();
    let before = grown.head();
    grown.close(6, "failed");
    let after = grown.head();
    let old = Kept { db: kept.db, log: kept.log };
    assert!(matches!(old.found(Some(&before)), Err(Tampered::Forked(8))), "another log");
    assert!(matches!(old.found(Some(&after)), Err(Tampered::Shorter { found: 8, known: 9 })));
}

/// The processor time of this process in seconds: what counts where others want the processors, too.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    std::time::Duration::try_from(time).unwrap().as_secs_f64()
}

/// How long it takes to verify a long log, and how much memory: `PRESTAGED_ENTRIES=1000000 cargo test --release -p
/// prestaged-record a_long_log -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, no check"]
#[expect(clippy::print_stdout, reason = "a measurement")]
fn a_long_log() {
    let entries = std::env::var("PRESTAGED_ENTRIES").ok().and_then(|text| text.parse().ok());
    let entries: u64 = entries.unwrap_or(100_000);
    let mut db = database();
    let mut log = begun(&mut db, Arc::new(key()));
    let transaction = db.transaction().unwrap();
    for number in 0..entries {
        let (record, text) = put(&transaction, number, "passed");
        let said = Said::Closed(&record, &text);
        log.advance(log.append(log.tip().clone(), &transaction, said).unwrap());
    }
    transaction.commit().unwrap();
    let (begun, before) = (std::time::Instant::now(), processor_time());
    verify(&db, LEDGER, &log.public_key(), &[]).unwrap().unwrap();
    let (took, spent) = (begun.elapsed().as_secs_f64(), processor_time() - before);
    println!("{entries} entries verified in {took:.2} s, with {spent:.2} s of processor time");
    let begun = std::time::Instant::now();
    let again = Log::open(&db, LEDGER, Arc::clone(&log.key)).unwrap();
    assert_eq!(again.tip().note(), log.tip().note());
    println!("taken up again in {:.2} s", begun.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}
