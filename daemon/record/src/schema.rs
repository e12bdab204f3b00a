//! The ledger's tables, and what the database does by itself: triggers, views and indexes. Who can write to the file can
//! change these, too, and a trigger that does something else would write rows in the station's name. So they are compared
//! with what this program makes.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::ledger::{INDEXES, TABLES};
use crate::log::{self, seal};
use crate::{labels, offers, orders, products, results};

/// Makes what a new ledger, or one of an older program, lacks. Older programs do not mind it.
pub(crate) fn complete(db: &Connection) -> rusqlite::Result<()> {
    let all = [
        INDEXES,
        offers::TABLE,
        products::TABLES,
        orders::TABLES,
        labels::TABLES,
        results::TABLE,
        log::TABLES,
        seal::TABLE,
    ];
    all.into_iter().try_for_each(|script| db.execute_batch(script))
}

/// What the database does by itself: kind and text of each, by its name.
type Active = BTreeMap<String, (String, String)>;

fn active(db: &Connection) -> rusqlite::Result<Active> {
    let sql = "SELECT name, type, sql FROM main.sqlite_master
        WHERE type IN ('trigger', 'view', 'index') AND sql IS NOT NULL";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    rows.collect()
}

fn expected() -> rusqlite::Result<Active> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(TABLES)?;
    complete(&db)?;
    active(&db)
}

/// The kind and the name of something that is not as this program makes it: foreign, changed, or gone.
pub(crate) fn foreign(db: &Connection) -> rusqlite::Result<Option<String>> {
    let (found, expected) = (active(db)?, expected()?);
    let differs = |(name, one): &(&String, &(String, String))| {
        found.get(*name) != Some(*one) || expected.get(*name) != Some(*one)
    };
    let one = found.iter().chain(&expected).find(differs);
    Ok(one.map(|(name, (kind, _))| format!("{kind} {name}")))
}

/// Takes away what is foreign, and makes anew what was changed or is gone.
pub(crate) fn mend(db: &Connection) -> rusqlite::Result<()> {
    let expected = expected()?;
    for (name, one) in active(db)? {
        if expected.get(&name) != Some(&one) {
            let (kind, name) = (one.0, name.replace('"', "\"\""));
            db.execute_batch(&format!("DROP {kind} \"{name}\""))?;
        }
    }
    complete(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(TABLES).unwrap();
        complete(&db).unwrap();
        db
    }

    #[test]
    fn whatever_the_database_does_by_itself_is_ours() {
        for (change, what) in [
            ("DROP TRIGGER units_updated", "trigger units_updated"),
            ("DROP INDEX records_by_serial", "index records_by_serial"),
            (
                "DROP TRIGGER units_updated; CREATE TRIGGER units_updated AFTER UPDATE ON units
                 BEGIN UPDATE tallies SET passed = 0; END",
                "trigger units_updated",
            ),
            (
                "CREATE TRIGGER \"a \"\"b\" AFTER INSERT ON records BEGIN DELETE FROM records; END",
                "trigger a \"b",
            ),
            ("CREATE VIEW told AS SELECT * FROM records", "view told"),
            ("CREATE UNIQUE INDEX one ON records (verdict)", "index one"),
        ] {
            let db = ledger();
            assert_eq!(foreign(&db).unwrap(), None);
            db.execute_batch(change).unwrap();
            assert_eq!(foreign(&db).unwrap().as_deref(), Some(what));
            mend(&db).unwrap();
            assert_eq!(foreign(&db).unwrap(), None, "{change}");
        }
        // Tables of others do nothing, nor does what SQLite makes for itself.
        let db = ledger();
        db.execute_batch("CREATE TABLE notes (text TEXT UNIQUE); ANALYZE").unwrap();
        assert_eq!(foreign(&db).unwrap(), None);
    }
}
