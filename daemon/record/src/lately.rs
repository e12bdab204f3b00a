//! The last jobs, for views that tell a bad bay from a bad drive.

use model::record::Record;

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// So many jobs are read: ten for each of a hundred bays.
const MOST: u32 = 1000;

impl Ledger {
    /// The closed records of the last jobs, the oldest first; rows that hold none are left out.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn last_jobs(&self) -> Result<Vec<Record>, LedgerError> {
        self.read(|db| {
            let failed = querying(self.path(), "read the last jobs");
            let sql =
                "SELECT job, record FROM records WHERE verdict IN ('passed', 'failed', 'stopped')
                       ORDER BY rowid DESC LIMIT ?1";
            let mut statement = db.prepare_cached(sql).map_err(&failed)?;
            let rows = statement.query_map([MOST], |row| Ok(self.parse(row, [0, 1])));
            let rows =
                rows.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(&failed)?;
            Ok(rows.into_iter().rev().flatten().collect())
        })
    }
}
