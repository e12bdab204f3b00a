//! The first entry of a log. A ledger that has records already, or had another log, begins one with what was closed before:
//! these records stand in `log_base`, and the entry vouches that none of them has changed since.

use std::sync::Arc;

use evidence::statement::Event;
use evidence::tree::{self, Edge};
use jiff::Timestamp;
use model::digest::Digest;
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use signing::SecretKey;
use uuid::Uuid;

use super::{Log, LogError, Said, TABLES, Tip, head};

/// What a log's first entry is called.
pub(crate) const KIND: &str = "log_begun";

/// Why a log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// When.
    pub at: Timestamp,
    /// Who has decided it; `None` for the station itself.
    pub operator: Option<String>,
    /// In the operator's words.
    pub reason: Option<String>,
    /// What was wrong with the log before.
    pub found: Option<String>,
}

impl Begin {
    /// The station has a ledger without a log.
    pub(crate) fn of_station() -> Self {
        Self { at: Timestamp::now(), operator: None, reason: None, found: None }
    }
}

/// What the first entry says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The key of the log.
    key: String,
    /// How many records were closed before, and the root over them.
    pub(super) records: u64,
    pub(super) records_root: Digest,
    /// Whether there is a seal over the other tables ([`super::seal`]).
    #[serde(default)]
    pub(super) is_sealed: bool,
    /// The log before.
    former: Option<Former>,
    /// All logs that were set aside so far. Older programs did not say so.
    #[serde(default)]
    pub(super) kept: Option<Vec<Kept>>,
    reason: Option<String>,
    found: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Former {
    ledger: Uuid,
    /// Its last checkpoint, as it was found.
    checkpoint: Option<String>,
}

/// A log that was set aside, as it is kept.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    table: String,
    entries: u64,
    root: Digest,
}

/// The logs that were set aside.
pub(super) fn kept(db: &Connection) -> Result<Vec<Kept>, LogError> {
    let of = |table: String| {
        let (entries, root) = entries(db, &table)?;
        Ok(Kept { table, entries, root })
    };
    tables(db)?.into_iter().map(of).collect()
}

/// The tables of the logs that were set aside.
fn tables(db: &Connection) -> Result<Vec<String>, LogError> {
    // Named by the ledger that they were of: 32 digits. Others may have a table with such a name, too.
    let sql = format!(
        "SELECT own.name FROM sqlite_master AS own WHERE type = 'table' AND own.name GLOB 'log_{}' AND 3 =
             (SELECT count(*) FROM pragma_table_info(own.name) AS c WHERE c.name IN ('seq', 'job', 'entry'))
         ORDER BY own.name",
        "[0-9a-f]".repeat(32)
    );
    let mut statement = db.prepare(&sql)?;
    let tables = statement.query_map([], |row| row.get::<_, String>(0))?;
    Ok(tables.collect::<Result<_, _>>()?)
}

/// The table of a log that was set aside and has an entry about a job.
pub(super) fn former_with(db: &Connection, job: Uuid) -> Result<Option<String>, LogError> {
    for table in tables(db)? {
        let sql = format!("SELECT count(*) > 0 FROM {table} WHERE job = ?1");
        if db.query_row(&sql, [job.to_string()], |row| row.get(0))? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// How many entries a log has, and the root over them.
fn entries(db: &Connection, table: &str) -> Result<(u64, Digest), LogError> {
    let mut statement = db.prepare(&format!("SELECT entry FROM {table} ORDER BY seq"))?;
    let leaves = statement
        .query_map([], |row| Ok(tree::leaf(row.get_ref(0)?.as_blob().unwrap_or_default())))?;
    let edge = leaves.collect::<Result<Edge, _>>()?;
    Ok((edge.size(), edge.root()))
}

/// A row of `log_base`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) job: String,
    pub(super) verdict: String,
    /// Of the row in `records`.
    pub(super) digest: Digest,
}

/// The columns of `records` that [`Before::of`] reads.
pub(super) const COLUMNS: &str = "job, verdict, serial, disk_guid, opened, record";

impl Before {
    /// A row of `records`.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let all: [Option<String>; 6] = std::array::from_fn(|at| row.get(at).unwrap_or_default());
        let digest = Digest::of(&serde_json::to_vec(&all).unwrap_or_default());
        let [job, verdict, ..] = all.map(Option::unwrap_or_default);
        Ok(Self { job, verdict, digest })
    }

    fn leaf(&self) -> Digest {
        tree::leaf(format!("{} {} {}", self.job, self.verdict, self.digest).as_bytes())
    }
}

/// The rows of `log_base`, and how many they are with the root over them.
pub(super) fn base(db: &Connection) -> Result<(u64, Digest), LogError> {
    let mut statement = db.prepare("SELECT job, verdict, digest FROM log_base ORDER BY job")?;
    let rows = statement.query_map([], |row| {
        // One of another length is not what was written; the root tells.
        let digest = Digest(row.get::<_, Vec<u8>>(2)?.try_into().unwrap_or_default());
        Ok(Before { job: row.get(0)?, verdict: row.get(1)?, digest }.leaf())
    })?;
    let edge = rows.collect::<Result<Edge, _>>()?;
    Ok((edge.size(), edge.root()))
}

/// Begins a log. One that is there is kept under another name; the new one is of another ledger then, so that no key ever
/// signs two logs of one name.
pub(crate) fn begin(
    db: &Transaction<'_>,
    key: Arc<SecretKey>,
    why: Begin,
) -> Result<Log, LogError> {
    let id: String = db.query_row("SELECT id FROM ledger", [], |row| row.get(0))?;
    let mut ledger: Uuid = id.parse().unwrap_or_default();
    let has_log: bool = db.query_row("SELECT count(*) > 0 FROM log", [], |row| row.get(0))?;
    let checkpoint = head(db)?;
    let former = (has_log || checkpoint.is_some()).then_some(Former { ledger, checkpoint });
    if former.is_some() {
        let fresh = Uuid::new_v4();
        // Somebody may have given the ledger the name of a log that was set aside.
        let own = ledger.simple().to_string();
        let is_taken = db.table_exists(Some("main"), &format!("log_{own}"))?;
        let name = if is_taken { Uuid::new_v4().simple().to_string() } else { own };
        db.execute_batch(&format!(
            "DROP INDEX IF EXISTS log_by_job;
             DROP TRIGGER IF EXISTS log_is_never_changed;
             DROP TRIGGER IF EXISTS log_is_never_cut;
             DROP TRIGGER IF EXISTS log_has_no_gap;
             ALTER TABLE log RENAME TO log_{name};
             DELETE FROM log_head;
             UPDATE ledger SET id = '{fresh}';
             {TABLES}"
        ))?;
        ledger = fresh;
    }
    db.execute("DELETE FROM log_base", [])?;
    {
        let sql = format!("SELECT {COLUMNS} FROM records WHERE verdict IS NOT NULL");
        let mut statement = db.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let sql = "INSERT INTO log_base (job, verdict, digest) VALUES (?1, ?2, ?3)";
        let mut insert = db.prepare(sql)?;
        while let Some(row) = rows.next()? {
            let Before { job, verdict, digest } = Before::of(row)?;
            insert.execute(params![job, verdict, digest.0])?;
        }
    }
    let (records, records_root) = base(db)?;
    let Begin { at, operator, reason, found } = why;
    let key_text = key.public().to_pem();
    let is_sealed = true;
    let kept = Some(kept(db)?);
    let begun =
        Begun { key: key_text, records, records_root, is_sealed, former, kept, reason, found };
    let detail = serde_json::to_value(begun).unwrap_or_default();
    let mut log = Log { key, ledger, tip: Tip::default() };
    let event = Event { kind: KIND.into(), at, operator, detail };
    let tip = log.append(Tip::default(), db, Said::Happened(event))?;
    log.advance(tip);
    Ok(log)
}
