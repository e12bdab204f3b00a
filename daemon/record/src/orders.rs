//! Orders in the ledger: what they say, their history, and the places that their drives have.
//!
//! A place is reserved in the transaction that opens a record, and settled in the one that closes it, so no crash, no
//! restart and no race of two bays gives a place away twice. What counts is a row of `units` for each serial number; the
//! sums in `tallies` are kept by triggers, so that counting takes no time.

mod changes;
mod later;
mod reads;
#[cfg(test)]
mod tests;

use model::code::ReasonCode;
use model::failure::Refusal;
use model::orders::{Article, Order, OrderPlace, OrderState, Standing, Unit, objection};
use model::record::Record;
use model::verdict::Verdict;
use rusqlite::{OptionalExtension, Row, Transaction, params};

pub use changes::Changed;
pub use later::Counted;
pub use reads::{AlsoClosed, KnownOrder};

use crate::error::LedgerError;
use crate::ledger::Ledger;

/// The tables. `added` is the definition as it was added last, and `order_files` has it as a file had it last: a file that
/// lies where it lay changes nothing, whatever an operator has added or changed since. `units` has a row for each serial number of an order and its media.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS orders (
    number TEXT PRIMARY KEY,
    media TEXT NOT NULL,
    definition TEXT NOT NULL,
    added TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    approved TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS order_history (
    seq INTEGER PRIMARY KEY,
    number TEXT NOT NULL,
    act TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    by TEXT NOT NULL,
    uid INTEGER NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS order_files (
    number TEXT PRIMARY KEY,
    definition TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS order_history_by_number ON order_history (number);
CREATE TABLE IF NOT EXISTS units (
    number TEXT NOT NULL,
    media TEXT NOT NULL,
    serial TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    passed INTEGER NOT NULL DEFAULT 0,
    running TEXT,
    article TEXT,
    PRIMARY KEY (number, media, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS units_running ON units (running) WHERE running IS NOT NULL;
CREATE INDEX IF NOT EXISTS units_by_serial ON units (serial);
CREATE INDEX IF NOT EXISTS units_by_article ON units (number, article);
CREATE TABLE IF NOT EXISTS tallies (
    number TEXT NOT NULL,
    media TEXT NOT NULL,
    passed INTEGER NOT NULL,
    running INTEGER NOT NULL,
    PRIMARY KEY (number, media)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS units_inserted AFTER INSERT ON units BEGIN
    INSERT INTO tallies (number, media, passed, running)
    VALUES (new.number, new.media, new.passed, new.passed = 0 AND new.running IS NOT NULL)
    ON CONFLICT (number, media) DO UPDATE SET passed = passed + excluded.passed,
        running = running + excluded.running;
END;
CREATE TRIGGER IF NOT EXISTS units_updated AFTER UPDATE ON units BEGIN
    UPDATE tallies SET passed = passed + new.passed - old.passed,
        running = running + (new.passed = 0 AND new.running IS NOT NULL)
            - (old.passed = 0 AND old.running IS NOT NULL)
    WHERE number = new.number AND media = new.media;
END;
CREATE TRIGGER IF NOT EXISTS units_deleted AFTER DELETE ON units BEGIN
    UPDATE tallies SET passed = passed - old.passed,
        running = running - (old.passed = 0 AND old.running IS NOT NULL)
    WHERE number = old.number AND media = old.media;
END;
";

/// Reserves a place for a job in its order; returns the number of the attempt. The outer error is the database's.
pub(crate) fn reserve(
    transaction: &Transaction<'_>,
    place: &OrderPlace,
    record: &Record,
) -> rusqlite::Result<Result<u32, Refusal>> {
    let OrderPlace { number, article, now } = place;
    let found = transaction
        .query_row(
            "SELECT definition, state, reason, approved FROM orders WHERE number = ?1",
            [number],
            |row| Ok((row.get::<_, String>(0)?, state(row, 1)?, row.get(2)?, row.get(3)?)),
        )
        .optional()?;
    let unknown = || Refusal::new(ReasonCode::NoOrder, format!("there is no order {number}"));
    let Some((definition, state, reason, approved)) = found else { return Ok(Err(unknown())) };
    let Ok(order) = serde_json::from_str::<Order>(&definition) else { return Ok(Err(unknown())) };
    let media = order.media.to_string();
    let changed = || {
        let detail = format!("order {number} has got other media");
        Refusal::new(ReasonCode::NoOrder, detail).with_hint("retry the drive")
    };
    if record.media.as_ref().is_none_or(|of_job| of_job.sha256 != order.media) {
        return Ok(Err(changed()));
    }
    let Some(serial) = record.serial.as_ref().map(|serial| serial.as_str()) else {
        let detail = "a drive without a serial number counts for no order";
        return Ok(Err(Refusal::new(ReasonCode::NoSerial, detail)));
    };
    let (passed, running) = tally(transaction, number, &media)?;
    let articles = articles(transaction, number, article)?;
    let standing = Standing { state, reason, passed, running, articles, approved };
    let unit = transaction
        .query_row(
            "SELECT attempts, failures, passed, running FROM units
             WHERE number = ?1 AND media = ?2 AND serial = ?3",
            [number.as_str(), &media, serial],
            |row| {
                let unit =
                    Unit { attempts: row.get(0)?, failures: row.get(1)?, passed: row.get(2)? };
                Ok((unit, row.get::<_, Option<String>>(3)?))
            },
        )
        .optional()?;
    let (unit, other) = unit.unwrap_or_default();
    if other.is_some() {
        let detail = format!("a drive with this serial number is being imaged for order {number}");
        return Ok(Err(Refusal::new(ReasonCode::DuplicateSerial, detail)));
    }
    if let Some(refusal) = objection(&order, &standing, unit, article, *now) {
        return Ok(Err(refusal));
    }
    transaction.execute(
        "INSERT INTO units (number, media, serial, attempts, running, article)
         VALUES (?1, ?2, ?3, 1, ?4, ?5)
         ON CONFLICT (number, media, serial) DO UPDATE SET attempts = attempts + 1,
             running = excluded.running,
             article = CASE WHEN passed THEN article ELSE excluded.article END",
        params![number, media, serial, record.job.to_string(), article.0],
    )?;
    Ok(Ok(unit.attempts + 1))
}

/// Settles the place of a job whose record is closed, if it has one.
pub(crate) fn settle(
    transaction: &Transaction<'_>,
    job: &str,
    verdict: Verdict,
    reason: Option<ReasonCode>,
) -> rusqlite::Result<()> {
    let failed = verdict == Verdict::Failed && reason.is_none_or(ReasonCode::is_of_drive);
    transaction
        .execute(
            "UPDATE units SET running = NULL, passed = max(passed, ?2), failures = failures + ?3
             WHERE running = ?1",
            params![job, verdict == Verdict::Passed, failed],
        )
        .map(|_| ())
}

/// Gives back the place of a job that does not begin.
pub(crate) fn give_back(db: &rusqlite::Connection, job: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE units SET running = NULL, attempts = attempts - 1 WHERE running = ?1";
    db.execute(sql, [job]).map(|_| ())
}

/// How many have passed, and how many others run.
fn tally(db: &rusqlite::Connection, number: &str, media: &str) -> rusqlite::Result<(u32, u32)> {
    let sql = "SELECT passed, running FROM tallies WHERE number = ?1 AND media = ?2";
    let found = db
        .prepare_cached(sql)?
        .query_row([number, media], |row| Ok((tallied(row, 0)?, tallied(row, 1)?)))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// A number of a tally. One that no triggers have made, which the seal tells of, counts as none.
fn tallied(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(u32::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

/// Makes the tallies of what stands in `units`, whatever somebody has made of them.
pub(crate) fn count_anew(db: &Transaction<'_>) -> rusqlite::Result<()> {
    db.execute_batch(
        "DELETE FROM tallies;
         INSERT INTO tallies (number, media, passed, running)
         SELECT number, media, sum(passed), sum(passed = 0 AND running IS NOT NULL)
         FROM units GROUP BY number, media",
    )
}

/// How many drives of this kind have passed or run.
fn articles(db: &rusqlite::Connection, number: &str, article: &Article) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM units
               WHERE number = ?1 AND article = ?2 AND (passed OR running IS NOT NULL)";
    db.prepare_cached(sql)?.query_row([number, &article.0], |row| row.get(0))
}

/// What a newer program has written is not known here, so no drive is begun.
fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<OrderState> {
    Ok(row.get::<_, String>(column)?.parse().unwrap_or(OrderState::Held))
}

impl Ledger {
    /// Opens the record of a job and reserves its place in its order, in one transaction; returns the record as it is in
    /// the ledger, with the number of the attempt.
    ///
    /// # Errors
    /// [`LedgerError::Order`] if the order has no place for it, or another [`LedgerError`] if the record cannot be
    /// written. Then nothing may be written to the drive.
    pub fn open_job(&self, record: Record, place: &OrderPlace) -> Result<Record, LedgerError> {
        let record = self.store(record, Some(place))?;
        crate::journal::record(&record, None);
        Ok(record)
    }
}
