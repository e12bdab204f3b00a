//! Changes of orders, each with who, when and why.

use evidence::statement::Event;
use model::code::DenialCode as Code;
use model::failure::Denial;
use model::orders::{Article, Order, OrderAct, OrderChange, OrderState};
use model::words::plural;
use rusqlite::{OptionalExtension, Transaction, params};

use super::later::later_job;
use super::{articles, state, tally};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// What came of a change.
pub type Changed = Result<(), Denial>;

/// A row of the table of orders.
struct Known {
    order: Order,
    added: Order,
    state: OrderState,
}

impl Ledger {
    /// Changes orders, all of them or none. `article` is what drives of an order become now.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be written; a [`Denial`] inside if an order does not allow its change.
    pub fn change_orders(
        &self,
        changes: &[OrderChange],
        article: &dyn Fn(&Order) -> Option<Article>,
    ) -> Result<Changed, LedgerError> {
        let made = self.change_noted("change an order", |transaction| {
            let mut events = Vec::new();
            for change in changes {
                match make(transaction, change, article)? {
                    Ok(event) => events.extend(event),
                    Err(denial) => return Err(Undone(denial).into()),
                }
            }
            Ok(((), events))
        });
        match made {
            Ok(()) => Ok(Ok(())),
            Err(LedgerError::Query {
                source: rusqlite::Error::ToSqlConversionFailure(error),
                ..
            }) if error.is::<Undone>() => {
                match error.downcast::<Undone>() {
                    Ok(undone) => Ok(Err(undone.0)),
                    // It was one a moment ago.
                    Err(_) => Ok(Err(Denial::new(Code::InternalError, "an order was not changed"))),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Ends a transaction without a trace.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Undone(Denial);

impl From<Undone> for rusqlite::Error {
    fn from(undone: Undone) -> Self {
        Self::ToSqlConversionFailure(Box::new(undone))
    }
}

fn known(transaction: &Transaction<'_>, number: &str) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT definition, state, added FROM orders WHERE number = ?1";
    let found = transaction
        .query_row(sql, [number], |row| {
            Ok((row.get::<_, String>(0)?, state(row, 1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    Ok(found.and_then(|(definition, state, added)| {
        let read = |text: &str| serde_json::from_str(text).ok();
        Some(Known { order: read(&definition)?, added: read(&added)?, state })
    }))
}

fn make(
    transaction: &Transaction<'_>,
    change: &OrderChange,
    article: &dyn Fn(&Order) -> Option<Article>,
) -> rusqlite::Result<Result<Option<Event>, Denial>> {
    let number = &change.number;
    let denied = |code, what: String| Ok(Err(Denial::new(code, what)));
    let before = known(transaction, number)?;
    let mut detail = None;
    if let OrderAct::AddByFile(order) = &change.act
        && !is_news(transaction, order, before.as_ref())?
    {
        return Ok(Ok(None));
    }
    match (&change.act, before) {
        (OrderAct::Add(order), Some(before)) if before.added == **order => return Ok(Ok(None)),
        (
            OrderAct::Add(_) | OrderAct::AddByFile(_),
            Some(Known { state: OrderState::Closed, .. }),
        ) => {
            let what = format!("order {number} is closed; a new one needs a number of its own");
            return denied(Code::OrderUnchangeable, what);
        }
        (OrderAct::Add(order) | OrderAct::AddByFile(order), before) => {
            detail = Some(format!("quantity {}, media {}", order.quantity, order.media));
            let state = before.map_or(OrderState::Open, |before| before.state);
            put(transaction, order, order, state)?;
            close_below(transaction, change, order)?;
        }
        (_, None) => {
            let denial = Denial::new(Code::NoSuchOrder, format!("there is no order {number}"));
            return Ok(Err(denial.with_hint("see `prestagectl order list`")));
        }
        (act, Some(Known { state: OrderState::Closed, .. })) => {
            let what = format!("order {number} is closed; {} is not possible", act.word());
            return denied(Code::OrderUnchangeable, what);
        }
        (OrderAct::Hold, Some(_)) => set(transaction, change, OrderState::Held)?,
        (OrderAct::Resume, Some(_)) => {
            let sql = "UPDATE orders SET state = 'open', reason = NULL WHERE number = ?1";
            transaction.execute(sql, [number])?;
        }
        (OrderAct::Close, Some(_)) => set(transaction, change, OrderState::Closed)?,
        (OrderAct::Quantity(quantity), Some(Known { order, added, state })) => {
            detail = Some(format!("{} to {quantity}", order.quantity));
            let first_article = order.first_article.min(*quantity);
            let order = Order { quantity: *quantity, first_article, ..order };
            put(transaction, &order, &added, state)?;
            close_below(transaction, change, &order)?;
        }
        (OrderAct::Release(serial), Some(_)) => {
            let sql =
                "UPDATE units SET failures = 0 WHERE number = ?1 AND serial = ?2 AND failures > 0";
            if transaction.execute(sql, [number, serial])? == 0 {
                let what = format!("{serial} has not failed for order {number}");
                return denied(Code::OrderUnchangeable, what);
            }
            detail = Some(serial.clone());
        }
        (OrderAct::Approve, Some(Known { order, .. })) => {
            let first = order.first_article;
            let Some(article) = article(&order).filter(|_| first > 0) else {
                let what = format!("order {number} asks for no first articles");
                return denied(Code::OrderUnchangeable, what);
            };
            let (units, running) = first_articles(transaction, number, &article)?;
            if running > 0 || articles(transaction, number, &article)? < first {
                let first = plural(first, "first article", "first articles");
                let what = format!(
                    "{} of {first} of order {number} passed, and {running} in work",
                    units.len()
                );
                return denied(Code::OrderUnchangeable, what);
            }
            for serial in &units {
                let media = order.media.to_string();
                if later_job(transaction, serial, number, &media)?.is_some() {
                    let what = format!(
                        "{serial}, a first article of order {number}, has been imaged again since it passed, and has not \
                         passed for this order then"
                    );
                    return denied(Code::OrderUnchangeable, what);
                }
            }
            let sql = "UPDATE orders SET approved = ?2 WHERE number = ?1";
            transaction.execute(sql, [number, &article.0])?;
            detail = Some(units.join(", "));
        }
    }
    transaction.execute(
        "INSERT INTO order_history (number, act, reason, detail, by, uid, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            number,
            change.act.word(),
            change.reason,
            detail,
            change.by.to_string(),
            change.by.uid,
            format!("{:.3}", change.at)
        ],
    )?;
    let said = serde_json::json!({
        "number": number, "reason": change.reason, "detail": detail, "uid": change.by.uid,
    });
    Ok(Ok(Some(Event {
        kind: format!("order_{}", change.act.word()),
        at: change.at,
        operator: Some(change.by.to_string()),
        detail: said,
    })))
}

/// Whether a file says of an order what it has not said before; notes what it says.
fn is_news(
    transaction: &Transaction<'_>,
    order: &Order,
    before: Option<&Known>,
) -> rusqlite::Result<bool> {
    let text = text(order)?;
    let sql = "SELECT definition FROM order_files WHERE number = ?1";
    let said: Option<String> =
        transaction.query_row(sql, [&order.number], |row| row.get(0)).optional()?;
    let sql = "INSERT INTO order_files (number, definition) VALUES (?1, ?2)
        ON CONFLICT (number) DO UPDATE SET definition = excluded.definition";
    transaction.execute(sql, [&order.number, &text])?;
    Ok(match said {
        Some(said) => said != text,
        // Of a ledger that is older than this table.
        None => before.is_none_or(|before| before.added != *order),
    })
}

/// Closes an order that is for fewer drives than have passed.
fn close_below(
    transaction: &Transaction<'_>,
    change: &OrderChange,
    order: &Order,
) -> rusqlite::Result<()> {
    let (passed, _) = tally(transaction, &order.number, &order.media.to_string())?;
    if order.quantity < passed { set(transaction, change, OrderState::Closed) } else { Ok(()) }
}

fn text(order: &Order) -> rusqlite::Result<String> {
    serde_json::to_string(order)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn put(
    transaction: &Transaction<'_>,
    order: &Order,
    added: &Order,
    state: OrderState,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO orders (number, media, definition, added, state)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (number) DO UPDATE SET media = excluded.media,
               definition = excluded.definition, added = excluded.added";
    transaction
        .execute(
            sql,
            params![
                order.number,
                order.media.to_string(),
                text(order)?,
                text(added)?,
                state.to_string()
            ],
        )
        .map(|_| ())
}

fn set(
    transaction: &Transaction<'_>,
    change: &OrderChange,
    state: OrderState,
) -> rusqlite::Result<()> {
    let sql = "UPDATE orders SET state = ?2, reason = ?3 WHERE number = ?1";
    transaction.execute(sql, params![change.number, state.to_string(), change.reason]).map(|_| ())
}

/// The serial numbers of the first articles that have passed, and how many run.
fn first_articles(
    transaction: &Transaction<'_>,
    number: &str,
    article: &Article,
) -> rusqlite::Result<(Vec<String>, usize)> {
    let sql = "SELECT serial, passed FROM units
               WHERE number = ?1 AND article = ?2 AND (passed OR running IS NOT NULL)";
    let mut statement = transaction.prepare(sql)?;
    let rows = statement.query_map([number, &article.0], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
    })?;
    let all: Vec<(String, bool)> = rows.collect::<Result<_, _>>()?;
    let running = all.iter().filter(|(_, passed)| !passed).count();
    Ok((all.into_iter().filter(|(_, passed)| *passed).map(|(serial, _)| serial).collect(), running))
}
