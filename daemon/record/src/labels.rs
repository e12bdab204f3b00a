//! How often the label of each record was printed. It lies in the ledger's database, because a second label that does not say
//! that it is a copy may end up on another drive.

use evidence::statement::Event;
use rusqlite::params;
use uuid::Uuid;

use crate::error::LedgerError;
use crate::ledger::Ledger;

pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS labels (
    job TEXT PRIMARY KEY,
    printed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

impl Ledger {
    /// Notes that the label of a record is printed, and tells how often that was so before; `None` if there is no such closed
    /// record.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn note_label(&self, job: Uuid, event: Event) -> Result<Option<u32>, LedgerError> {
        let job = job.to_string();
        self.change_noted("note a label", |db| {
            let known = "SELECT count(*) FROM records WHERE job = ?1 AND verdict IS NOT NULL";
            if db.query_row(known, [&job], |row| row.get::<_, i64>(0))? == 0 {
                return Ok((None, Vec::new()));
            }
            let sql = "INSERT INTO labels (job, printed) VALUES (?1, 1)
                 ON CONFLICT (job) DO UPDATE SET printed = printed + 1 RETURNING printed - 1";
            let before: u32 = db.query_row(sql, params![job], |row| row.get(0))?;
            Ok((Some(before), vec![event]))
        })
    }
}
