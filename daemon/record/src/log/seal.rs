//! The seal over what the log does not repeat: orders and how many drives each has, what operators have said of media, what
//! was seen of products, which insertion a record is about, and records that are open. A drive is begun, cleaned or called
//! passed by what stands there, so a row that another program has written must be seen before anything is done by it.
//!
//! Each row has a code that only the holder of the station's key can compute, and the seal is the code of all of them
//! together, of the order of the records and of the log's checkpoint. It is kept up by the rows that change (triggers of the connection that writes), and
//! written in the transaction that changes them. What it cannot show: that all tables, the log's tail and the seal were put back to what
//! they were at the same checkpoint.

use std::fmt;
use std::sync::Arc;

use evidence::statement::Event;
use jiff::Timestamp;
use model::digest::Digest;
use parking_lot::Mutex;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use signing::SecretKey;

use super::{LogError, Tampered, head};
use crate::schema;

pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS seal (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    code BLOB NOT NULL
) STRICT;
";

/// What an entry is called that says: from here on there is a seal. A new log's first entry says so itself.
pub(crate) const KIND: &str = "tables_sealed";

/// That entry.
pub(crate) fn first(at: Timestamp) -> Event {
    Event { kind: KIND.into(), at, operator: None, detail: serde_json::Value::Null }
}

/// The tables under the seal. Of a closed record, its text is left to the log.
pub(crate) const TABLES: [&str; 12] = [
    "records",
    "offers",
    "products",
    "accepted",
    "clock",
    "orders",
    "order_history",
    "order_files",
    "units",
    "tallies",
    "labels",
    "signer_list",
];
/// Follows the order of the records, in which "the latest" is found. SQLite numbers rows upwards, and may number them anew
/// (VACUUM), so what is sealed is which record follows which.
const ORDER: &str = "
CREATE TEMP TRIGGER order_new AFTER INSERT ON main.records BEGIN
    SELECT seal_new('order',
        (SELECT job FROM records WHERE rowid < new.rowid ORDER BY rowid DESC LIMIT 1), new.job);
END;
CREATE TEMP TRIGGER order_old AFTER DELETE ON main.records BEGIN
    SELECT seal_old('order',
        (SELECT job FROM records WHERE rowid < old.rowid ORDER BY rowid DESC LIMIT 1), old.job);
    SELECT seal_old('order', old.job, next.job), seal_new('order',
        (SELECT job FROM records WHERE rowid < old.rowid ORDER BY rowid DESC LIMIT 1), next.job)
    FROM (SELECT job FROM records WHERE rowid > old.rowid ORDER BY rowid LIMIT 1) AS next;
END;
";
/// The columns of `records` that say whether a record is closed, and what it says.
const VERDICT: usize = 5;
const RECORD: usize = 7;

/// The codes of all rows, added up modulo 2^256. Without the carries, a row that is there twice would cancel itself.
pub(crate) type Sum = [u8; 32];

/// The seal of an open database.
#[derive(Clone)]
pub(crate) struct Seal {
    key: Digest,
    /// `None` if it must be counted anew.
    sum: Arc<Mutex<Option<Sum>>>,
    /// The version of the database, as the connection that writes sees it, when nobody else was known to have changed it.
    version: Arc<Mutex<Option<i64>>>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(crate) fn of(key: &SecretKey) -> Self {
        Self {
            key: key.derived("the seal of the ledger's tables"),
            sum: Arc::default(),
            version: Arc::default(),
        }
    }

    /// Follows what is changed through a connection from now on. Its triggers are not in the database: other programs that
    /// write to it neither run them nor need them.
    pub(crate) fn watch(&self, db: &Connection) -> rusqlite::Result<()> {
        *self.version.lock() = Some(version(db)?);
        for (name, change) in [("seal_new", add as fn(&mut Sum, Digest)), ("seal_old", subtract)] {
            let (key, sum) = (self.key, Arc::clone(&self.sum));
            db.create_scalar_function(name, -1, FunctionFlags::SQLITE_UTF8, move |context| {
                let table = context.get_raw(0).as_str()?;
                let values: Vec<_> = (1..context.len()).map(|at| context.get_raw(at)).collect();
                if let Some(sum) = sum.lock().as_mut() {
                    change(sum, row(key, table, &values));
                }
                Ok(rusqlite::types::Null)
            })?;
        }
        TABLES.iter().try_for_each(|table| {
            let columns = db.prepare(&format!("SELECT * FROM {table} LIMIT 0"))?;
            let told = |of: &str| {
                let names = columns.column_names();
                let values: Vec<String> = names.map(|name| format!("{of}.{name}")).collect();
                format!("SELECT seal_{of}('{table}', {});", values.join(", "))
            };
            let (old, new) = (told("old"), told("new"));
            db.execute_batch(&format!(
                "CREATE TEMP TRIGGER {table}_sealed_new AFTER INSERT ON main.{table} BEGIN {new} END;
                 CREATE TEMP TRIGGER {table}_sealed_old AFTER DELETE ON main.{table} BEGIN {old} END;
                 CREATE TEMP TRIGGER {table}_sealed_changed AFTER UPDATE ON main.{table}
                 BEGIN {old} {new} END;"
            ))
        })?;
        db.execute_batch(ORDER)
    }

    /// The sum as it is now, to come back to if a transaction is not committed.
    pub(crate) fn sum(&self) -> Option<Sum> {
        *self.sum.lock()
    }

    pub(crate) fn set(&self, sum: Option<Sum>) {
        *self.sum.lock() = sum;
    }

    /// If another program has changed the database since it was last looked, compares the tables with what they should be.
    /// The first thing in a transaction: nothing is built upon a row that somebody else has written. Records that are
    /// closed, and the log, are compared by [`verify`](super::verify) alone.
    pub(crate) fn check_others(&self, db: &Connection) -> Result<Result<(), Tampered>, LogError> {
        let (now, sum) = (version(db)?, self.sum());
        if sum.is_none() || *self.version.lock() == Some(now) {
            return Ok(Ok(()));
        }
        // The records are many, and nothing is given away by them.
        let tables: Vec<_> = TABLES.into_iter().filter(|table| *table != "records").collect();
        if let Some(said) = schema::unsound(db, &tables)? {
            return Ok(Err(Tampered::Unsound(said)));
        }
        Ok(match self.check(db, true)? {
            Ok((found, _)) if Some(found) == sum => {
                *self.version.lock() = Some(now);
                Ok(())
            }
            Ok(_) => Err(Tampered::Seal),
            Err(tampered) => Err(tampered),
        })
    }

    /// Writes the seal: the last thing in a transaction.
    pub(crate) fn write(&self, to: &Transaction<'_>) -> Result<(), LogError> {
        let counted = self.sum().map_or_else(|| count(to, self.key), Ok)?;
        self.set(Some(counted));
        let sql = "INSERT INTO seal (only, code) VALUES (1, ?1)
            ON CONFLICT (only) DO UPDATE SET code = excluded.code";
        to.prepare_cached(sql)?.execute(params![self.code(counted, head(to)?).0])?;
        Ok(())
    }

    /// Compares the tables with the seal, and what the database has with what the station has made. Returns the sum of the
    /// tables, and whether there is a seal at all. There need be none if the log does not say that there is.
    pub(crate) fn check(
        &self,
        db: &Connection,
        is_sealed: bool,
    ) -> Result<Result<(Sum, bool), Tampered>, LogError> {
        let sum = count(db, self.key)?;
        let code = db.query_row("SELECT code FROM seal", [], |row| row.get::<_, Vec<u8>>(0));
        Ok(match code.optional()? {
            Some(code) if code == self.code(sum, head(db)?).0 => own(db)?.map(|()| (sum, true)),
            None if !is_sealed => own(db)?.map(|()| (sum, false)),
            _ => Err(Tampered::Seal),
        })
    }

    fn code(&self, sum: Sum, head: Option<String>) -> Digest {
        let head = Digest::of(head.unwrap_or_default().as_bytes());
        keyed(self.key, &[sum, head.0].concat())
    }
}

/// A number that is another one when another connection has committed something
/// (<https://www.sqlite.org/pragma.html#pragma_data_version>).
fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// Whether all that the database does by itself is the station's.
fn own(db: &Connection) -> rusqlite::Result<Result<(), Tampered>> {
    Ok(schema::foreign(db)?.map_or(Ok(()), |found| Err(Tampered::Schema(found))))
}

/// What only the holder of the key can compute. The inner digest has one length, so nothing can be appended.
fn keyed(key: Digest, data: &[u8]) -> Digest {
    let inner = Digest::of(&[&key.0[..], data].concat());
    Digest::of(&[key.0, inner.0].concat())
}

/// The sum over all rows, and over the order of the records.
fn count(db: &Connection, key: Digest) -> rusqlite::Result<Sum> {
    let mut sum = Sum::default();
    let mut in_order = db.prepare("SELECT job FROM records ORDER BY rowid")?;
    let mut jobs = in_order.query([])?;
    let mut before: Option<Vec<u8>> = None;
    while let Some(found) = jobs.next()? {
        let job = found.get_ref(0)?.as_str()?;
        let previous = before.as_deref().map_or(ValueRef::Null, ValueRef::Text);
        add(&mut sum, row(key, "order", &[previous, ValueRef::Text(job.as_bytes())]));
        before = Some(job.as_bytes().to_vec());
    }
    for table in TABLES {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            let values = (0..columns).map(|at| found.get_ref(at));
            add(&mut sum, row(key, table, &values.collect::<Result<Vec<_>, _>>()?));
        }
    }
    Ok(sum)
}

fn add(sum: &mut Sum, code: Digest) {
    let mut carry = false;
    for (byte, other) in sum.iter_mut().zip(code.0) {
        let (added, over) = byte.overflowing_add(other);
        let (carried, more) = added.overflowing_add(carry.into());
        (*byte, carry) = (carried, over || more);
    }
}

fn subtract(sum: &mut Sum, code: Digest) {
    let mut borrow = false;
    for (byte, other) in sum.iter_mut().zip(code.0) {
        let (less, under) = byte.overflowing_sub(other);
        let (borrowed, more) = less.overflowing_sub(borrow.into());
        (*byte, borrow) = (borrowed, under || more);
    }
}

/// The code of a row.
fn row(key: Digest, table: &str, values: &[ValueRef<'_>]) -> Digest {
    let is_closed = table == "records" && values.get(VERDICT) != Some(&ValueRef::Null);
    let mut data = table.as_bytes().to_vec();
    for (at, value) in values.iter().enumerate() {
        let (kind, bytes) = match value {
            _ if is_closed && at == RECORD => (b'c', Vec::new()),
            ValueRef::Null => (b'n', Vec::new()),
            ValueRef::Integer(number) => (b'i', number.to_le_bytes().to_vec()),
            ValueRef::Real(number) => (b'r', number.to_le_bytes().to_vec()),
            ValueRef::Text(text) => (b't', text.to_vec()),
            ValueRef::Blob(blob) => (b'b', blob.to_vec()),
        };
        data.push(kind);
        data.extend(bytes.len().to_le_bytes());
        data.extend(bytes);
    }
    keyed(key, &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_taken_out_as_it_was_put_in() {
        let codes: Vec<Digest> = (0_u8..9).map(|n| Digest::of(&[n])).collect();
        let mut sum = Sum::default();
        codes.iter().for_each(|code| add(&mut sum, *code));
        codes.iter().rev().for_each(|code| subtract(&mut sum, *code));
        assert_eq!(sum, Sum::default());
        add(&mut sum, codes[0]);
        add(&mut sum, codes[0]);
        assert_ne!(sum, Sum::default(), "a row that is there twice counts twice");
        let mut most = [0xff; 32];
        let mut one = Digest([0; 32]);
        one.0[0] = 1;
        add(&mut most, one);
        assert_eq!(most, Sum::default());
        subtract(&mut most, one);
        assert_eq!(most, [0xff; 32]);
    }
}
