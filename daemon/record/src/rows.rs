//! Reading the ledger page by page, so that memory does not grow with it.

use jiff::Timestamp;
use model::record::Record;
use model::verdict::Verdict;
use rusqlite::OptionalExtension as _;
use rusqlite::types::Value;
use uuid::Uuid;

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// How many rows are read at once.
const PAGE: u32 = 256;

/// Which records to list: those that match every field that is set.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Filter {
    pub serial: Option<String>,
    /// Records opened at this time or later.
    pub since: Option<Timestamp>,
    /// Records opened before this time.
    pub until: Option<Timestamp>,
    pub verdict: Option<Verdict>,
    /// Records of this order.
    pub order: Option<String>,
    /// Records of drives in this bay.
    pub bay: Option<String>,
}

/// The place after the last row of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(i64);

/// Some records, and where to go on.
#[derive(Debug)]
pub struct Page {
    /// Each is a record, or the reason why a row holds none.
    pub rows: Vec<Result<Record, LedgerError>>,
    /// Absent at the end.
    pub next: Option<Place>,
}

/// The condition of a query, and its values.
struct Condition {
    text: String,
    values: Vec<Value>,
}

impl Condition {
    fn new() -> Self {
        Self { text: "WHERE 1".into(), values: Vec::new() }
    }

    fn and(&mut self, term: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.text += &format!(" AND {term} ?{}", self.values.len());
    }
}

impl Filter {
    /// The rows that match and are in a place after this one.
    fn condition(&self, after: Place) -> Condition {
        let mut condition = Condition::new();
        condition.and("rowid >", after.0);
        if let Some(serial) = &self.serial {
            condition.and("serial =", serial.clone());
        }
        if let Some(verdict) = self.verdict {
            condition.and("verdict =", verdict.to_string());
        }
        for (field, value) in [("order", &self.order), ("bay", &self.bay)] {
            // A row that holds no record has neither.
            let of = format!(
                "CASE WHEN json_valid(record) THEN json_extract(record, '$.{field}') END ="
            );
            if let Some(value) = value {
                condition.and(&of, value.clone());
            }
        }
        // The column has milliseconds; the rest is compared later.
        if let Some(since) = self.since {
            condition.and("opened >=", format!("{since:.3}"));
        }
        if let Some(until) = self.until {
            condition.and("opened <=", format!("{until:.3}"));
        }
        condition
    }

    fn has_time_of(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.opened >= since)
            && self.until.is_none_or(|until| record.opened < until)
    }
}

impl Ledger {
    /// The place of the record of a job; `None` if there is none.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn place_of(&self, job: Uuid) -> Result<Option<Place>, LedgerError> {
        self.read(|db| {
            let sql = "SELECT rowid FROM records WHERE job = ?1";
            let found = db.query_row(sql, [job.to_string()], |row| row.get(0)).optional();
            Ok(found.map_err(querying(self.path(), "read the records"))?.map(Place))
        })
    }

    /// The place after which the last so many records that match lie.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn before_last(&self, filter: &Filter, count: u64) -> Result<Place, LedgerError> {
        let Condition { text, mut values } = filter.condition(Place::default());
        values.push(Value::from(i64::try_from(count).unwrap_or(i64::MAX)));
        let limit = values.len();
        let sql = format!(
            "SELECT coalesce(min(place), 9223372036854775807) - 1 FROM
             (SELECT rowid AS place FROM records {text} ORDER BY rowid DESC LIMIT ?{limit})"
        );
        self.read(|db| {
            let found = db.query_row(&sql, rusqlite::params_from_iter(values), |row| row.get(0));
            found.map(Place).map_err(querying(self.path(), "read the records"))
        })
    }

    /// The next records that match, after this place, in the order in which they were opened, whatever the clock said. A
    /// page may have fewer rows than another, or none, and not be the last.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn page(&self, filter: &Filter, after: Place) -> Result<Page, LedgerError> {
        let mut condition = filter.condition(after);
        condition.values.push(Value::from(i64::from(PAGE)));
        let Condition { text, values } = condition;
        let limit = values.len();
        let sql =
            format!("SELECT rowid, job, record FROM records {text} ORDER BY rowid LIMIT ?{limit}");
        self.read(|db| {
            let failed = querying(self.path(), "read the records");
            let mut statement = db.prepare_cached(&sql).map_err(&failed)?;
            let mut found = statement.query(rusqlite::params_from_iter(values)).map_err(&failed)?;
            let (mut rows, mut last, mut count) = (Vec::new(), after, 0);
            while let Some(row) = found.next().map_err(&failed)? {
                count += 1;
                last = Place(row.get(0).map_err(&failed)?);
                rows.push(self.parse(row, [1, 2]));
            }
            rows.retain(|row| row.as_ref().map_or(true, |record| filter.has_time_of(record)));
            Ok(Page { rows, next: (count == PAGE).then_some(last) })
        })
    }

    /// All records that match, in memory, and the rows that hold none.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn all(&self, filter: &Filter) -> Result<Vec<Result<Record, LedgerError>>, LedgerError> {
        let (mut all, mut place) = (Vec::new(), Some(Place::default()));
        while let Some(after) = place {
            let page = self.page(filter, after)?;
            all.extend(page.rows);
            place = page.next;
        }
        Ok(all)
    }
}
