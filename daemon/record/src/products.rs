//! What the station has had of each product, and which older media an operator has accepted. It lies in the ledger's
//! database, because it must not be forgotten either, but is no record of a drive.

use evidence::statement::Event;
use jiff::Timestamp;
use model::digest::Digest;
use model::parcel::{Product, Sequences};
use rusqlite::params;

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// The tables. `clock` has the latest time at which a record was opened, whatever became of the record. Ledgers of older
/// programs have none, and those programs do not mind them.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS products (
    product TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    created TEXT NOT NULL,
    seen TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS accepted (
    sha256 TEXT NOT NULL,
    product TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    operator TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS clock (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    latest TEXT NOT NULL
) STRICT;
INSERT OR IGNORE INTO clock (only, latest) SELECT 1, coalesce(max(opened), '') FROM records;
CREATE TRIGGER IF NOT EXISTS clock_at_new_records AFTER INSERT ON records
BEGIN UPDATE clock SET latest = max(latest, NEW.opened); END;
CREATE TRIGGER IF NOT EXISTS clock_at_changed_records AFTER UPDATE OF opened ON records
BEGIN UPDATE clock SET latest = max(latest, NEW.opened); END;
";

impl Ledger {
    /// Notes that media of a product has been seen, which was signed at some time. A lower sequence, and an earlier time,
    /// change nothing.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn note_product(
        &self,
        product: &Product,
        sequence: u64,
        created: Timestamp,
    ) -> Result<(), LedgerError> {
        let sql = "INSERT INTO products (product, sequence, created, seen) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (product) DO UPDATE SET sequence = max(sequence, excluded.sequence),
             created = max(created, excluded.created), seen = excluded.seen";
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let [created, seen] = [created, Timestamp::now()].map(|at| format!("{at:.3}"));
        self.change("note a product", |db| {
            db.execute(sql, params![product.as_str(), sequence, created, seen]).map(|_| ())
        })
    }

    /// Notes that an operator has accepted media that is older than others were, and why.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn note_accepted(
        &self,
        media: Digest,
        (product, sequence): (&Product, u64),
        reason: &str,
        operator: &str,
    ) -> Result<(), LedgerError> {
        let sql = "INSERT INTO accepted (sha256, product, sequence, reason, operator, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        let (media, now) = (media.to_string(), Timestamp::now());
        let detail = serde_json::json!({
            "media": media, "product": product.as_str(), "sequence": sequence, "reason": reason,
        });
        let (kind, by) = ("media_accepted".to_owned(), Some(operator.to_owned()));
        let event = Event { kind, at: now, operator: by, detail };
        let at = format!("{now:.3}");
        self.change_noted("note what was accepted", |db| {
            let values = params![media, product.as_str(), sequence, reason, operator, at];
            db.execute(sql, values).map(|_| ((), vec![event]))
        })
    }

    /// The highest sequence of each product that was noted.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot be read.
    pub fn sequences(&self) -> Result<Sequences, LedgerError> {
        self.read(|db| {
            let failed = querying(self.path(), "read the products");
            let sql = "SELECT product, sequence FROM products";
            let mut statement = db.prepare(sql).map_err(&failed)?;
            let rows = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
                .map_err(&failed)?;
            let mut all = Sequences::new();
            for row in rows {
                let (product, sequence) = row.map_err(&failed)?;
                if let (Ok(product), Ok(sequence)) = (product.parse(), u64::try_from(sequence)) {
                    all.insert(product, sequence);
                }
            }
            Ok(all)
        })
    }

    /// The digests of media that operators have accepted.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot be read.
    pub fn accepted(&self) -> Result<Vec<Digest>, LedgerError> {
        self.texts("SELECT sha256 FROM accepted")
            .map(|texts| texts.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// The latest time that the ledger knows of: no clock is right that shows an earlier one.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn latest(&self) -> Result<Timestamp, LedgerError> {
        let sql = "SELECT latest FROM clock
             UNION ALL SELECT max(created) FROM products
             UNION ALL SELECT max(seen) FROM products";
        let times = self.texts(sql)?;
        let times = times.iter().filter_map(|text| text.parse().ok());
        Ok(times.max().unwrap_or(Timestamp::UNIX_EPOCH))
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>, LedgerError> {
        self.read(|db| {
            let failed = querying(self.path(), "read the products");
            let mut statement = db.prepare(sql).map_err(&failed)?;
            let rows =
                statement.query_map([], |row| row.get::<_, Option<String>>(0)).map_err(&failed)?;
            let rows: Result<Vec<_>, _> = rows.collect();
            Ok(rows.map_err(&failed)?.into_iter().flatten().collect())
        })
    }
}
