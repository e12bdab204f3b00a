//! What has been done since to drives that count for an order. A drive counts once it has passed, whatever comes later; who
//! ships the order must be told which of its drives are not as they passed.

use model::api::orders::LaterJob;
use model::digest::Digest;
use model::drive::Serial;
use rusqlite::{Connection, OptionalExtension};

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// The latest job on a drive with this serial number, unless that was a pass for this order and its media. A drive that was
/// refused is as it was.
pub(super) fn later_job(
    db: &Connection,
    serial: &str,
    number: &str,
    media: &str,
) -> rusqlite::Result<Option<LaterJob>> {
    let sql = "SELECT job, verdict, record ->> '$.order', record ->> '$.media.sha256',
                      record ->> '$.media.name'
               FROM (SELECT job, verdict, CASE WHEN json_valid(record) THEN record END AS record
                     FROM records WHERE serial = ?1 AND verdict IS NOT 'refused'
                     ORDER BY rowid DESC LIMIT 1)";
    let found = db.prepare_cached(sql)?.query_row([serial], |row| {
        let (verdict, order): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
        let applied: Option<String> = row.get(3)?;
        let is_as_passed = verdict.as_deref() == Some("passed")
            && order.as_deref() == Some(number)
            && applied.as_deref() == Some(media);
        let job: String = row.get(0)?;
        let known = job.parse().ok().zip(Serial::new(serial));
        Ok(known.filter(|_| !is_as_passed).map(|(job, serial)| LaterJob {
            serial,
            job,
            verdict: verdict.and_then(|verdict| verdict.parse().ok()),
            order,
            media: row.get(4).ok(),
        }))
    });
    found.optional().map(Option::flatten)
}

/// The drives that count for an order, by serial number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those that are as they passed.
    pub to_ship: Vec<Serial>,
    /// The latest job on each of the others.
    pub not_as_passed: Vec<LaterJob>,
}

impl Ledger {
    /// The drives that have passed for an order, with what has been done to them since.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn counted(&self, number: &str, media: Digest) -> Result<Counted, LedgerError> {
        let media = media.to_string();
        self.read(|db| {
            let read = || -> rusqlite::Result<Counted> {
                let sql = "SELECT serial FROM units
                           WHERE number = ?1 AND media = ?2 AND passed ORDER BY serial";
                let mut statement = db.prepare_cached(sql)?;
                let mut rows = statement.query([number, &media])?;
                let mut all = Counted::default();
                while let Some(row) = rows.next()? {
                    let serial: String = row.get(0)?;
                    match later_job(db, &serial, number, &media)? {
                        Some(later) => all.not_as_passed.push(later),
                        None => all.to_ship.extend(Serial::new(&serial)),
                    }
                }
                Ok(all)
            };
            read().map_err(querying(self.path(), "read what was done to an order's drives since"))
        })
    }
}
