//! What the ledger knows of orders.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::drive::Serial;
use model::orders::{Article, HistoryEntry, Order, Standing, Unit};
use rusqlite::OptionalExtension;

use super::{articles, state, tally};
use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// An order with how it stands.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct KnownOrder {
    pub order: Order,
    pub standing: Standing,
}

impl Ledger {
    /// All orders, by number; without those that are closed unless they are asked for. `article` is what drives of an order
    /// become now.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot be read.
    pub fn orders(
        &self,
        also_closed: AlsoClosed,
        article: &dyn Fn(&Order) -> Option<Article>,
    ) -> Result<Vec<KnownOrder>, LedgerError> {
        self.read(|db| {
            let read = || -> rusqlite::Result<Vec<KnownOrder>> {
                let sql = "SELECT definition, state, reason, approved FROM orders
                           WHERE ?1 OR state <> 'closed' ORDER BY number";
                let mut statement = db.prepare_cached(sql)?;
                let mut rows = statement.query([also_closed == AlsoClosed::Yes])?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    let definition: String = row.get(0)?;
                    // What a newer program has written cannot be followed here.
                    let Ok(order) = serde_json::from_str::<Order>(&definition) else { continue };
                    let (passed, running) = tally(db, &order.number, &order.media.to_string())?;
                    let articles = match article(&order).filter(|_| order.first_article > 0) {
                        Some(article) => articles(db, &order.number, &article)?,
                        None => 0,
                    };
                    let standing = Standing {
                        state: state(row, 1)?,
                        reason: row.get(2)?,
                        passed,
                        running,
                        articles,
                        approved: row.get(3)?,
                    };
                    all.push(KnownOrder { order, standing });
                }
                Ok(all)
            };
            read().map_err(querying(self.path(), "read the orders"))
        })
    }

    /// How one order stands now; `None` if there is no such order.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn standing(
        &self,
        number: &str,
        article: Option<&Article>,
    ) -> Result<Option<Standing>, LedgerError> {
        self.verified()?;
        self.read(|db| {
            let read = || -> rusqlite::Result<Option<Standing>> {
                let sql = "SELECT media, state, reason, approved FROM orders WHERE number = ?1";
                let mut statement = db.prepare_cached(sql)?;
                let found = statement.query_row([number], |row| {
                    Ok((row.get::<_, String>(0)?, state(row, 1)?, row.get(2)?, row.get(3)?))
                });
                let Some((media, state, reason, approved)) = found.optional()? else {
                    return Ok(None);
                };
                let (passed, running) = tally(db, number, &media)?;
                let articles = article.map_or(Ok(0), |article| articles(db, number, article))?;
                Ok(Some(Standing { state, reason, passed, running, articles, approved }))
            };
            read().map_err(querying(self.path(), "read how an order stands"))
        })
    }

    /// How a serial number stands in each order that it has had a job for, with the order's media.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn units(&self, serial: &Serial) -> Result<BTreeMap<String, Unit>, LedgerError> {
        self.verified()?;
        self.read(|db| {
            let read = || -> rusqlite::Result<BTreeMap<String, Unit>> {
                let sql = "SELECT units.number, attempts, failures, passed FROM units
                           JOIN orders ON orders.number = units.number AND orders.media = units.media
                           WHERE serial = ?1";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map([serial.as_str()], |row| {
                    let unit =
                        Unit { attempts: row.get(1)?, failures: row.get(2)?, passed: row.get(3)? };
                    Ok((row.get::<_, String>(0)?, unit))
                })?;
                rows.collect()
            };
            read().map_err(querying(self.path(), "read the units of a drive"))
        })
    }

    /// The history of an order, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn order_history(&self, number: &str) -> Result<Vec<HistoryEntry>, LedgerError> {
        self.read(|db| {
            let read = || -> rusqlite::Result<Vec<HistoryEntry>> {
                let sql = "SELECT act, reason, detail, by, at FROM order_history
                           WHERE number = ?1 ORDER BY seq";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map([number], |row| {
                    let at: String = row.get(4)?;
                    Ok(HistoryEntry {
                        act: row.get(0)?,
                        reason: row.get(1)?,
                        detail: row.get(2)?,
                        by: row.get(3)?,
                        at: at.parse().unwrap_or(Timestamp::UNIX_EPOCH),
                    })
                })?;
                rows.collect()
            };
            read().map_err(querying(self.path(), "read the history of an order"))
        })
    }
}

/// Whether orders are listed that are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AlsoClosed {
    Yes,
    No,
}
