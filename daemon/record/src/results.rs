//! Which closed records still have to be handed on to the folder of results. A record is due in the transaction that closes
//! it, so that none is forgotten, whatever happens to the folder or the station.

use rusqlite::{Transaction, params};
use uuid::Uuid;

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// The table.
pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS results_due (
    seq INTEGER PRIMARY KEY,
    job TEXT NOT NULL
) STRICT;
";

/// Notes that the record of a job was closed.
pub(crate) fn note(transaction: &Transaction<'_>, job: &str) -> rusqlite::Result<()> {
    transaction.execute("INSERT INTO results_due (job) VALUES (?1)", [job]).map(|_| ())
}

/// A record that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Due {
    pub seq: i64,
    pub job: Uuid,
}

impl Ledger {
    /// The records that are due, the first of them.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot be read.
    pub fn results_due(&self) -> Result<Vec<Due>, LedgerError> {
        self.read(|db| {
            let read = || -> rusqlite::Result<Vec<Due>> {
                let sql = "SELECT seq, job FROM results_due ORDER BY seq LIMIT 64";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map([], |row| {
                    let job: String = row.get(1)?;
                    Ok(Due { seq: row.get(0)?, job: job.parse().unwrap_or_default() })
                })?;
                rows.collect()
            };
            read().map_err(querying(self.path(), "read which results are due"))
        })
    }

    /// Notes that this one was handed on.
    ///
    /// # Errors
    /// [`LedgerError`] if that cannot be written.
    pub fn result_done(&self, due: Due) -> Result<(), LedgerError> {
        let sql = "DELETE FROM results_due WHERE seq = ?1";
        self.change("note a result", |db| db.execute(sql, params![due.seq]).map(|_| ()))
    }
}
