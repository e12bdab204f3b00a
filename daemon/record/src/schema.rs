//! The ledger's tables, and what the database does by itself: triggers, views and indexes. Who can write to the file can
//! change these, too, and a trigger that does something else would write rows in the station's name; a table may drop rows
//! by itself (`ON CONFLICT IGNORE`). So all of them are compared with what this program makes.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use crate::connection::opening;
use crate::error::LedgerError;
use crate::ledger::{INDEXES, TABLES};
use crate::log::{self, seal};
use crate::{labels, offers, orders, products, results, signer_list};

/// Makes what a new ledger, or one of an older program, lacks. Older programs do not mind it.
pub(crate) fn complete(db: &Connection) -> rusqlite::Result<()> {
    let all = [
        INDEXES,
        offers::TABLE,
        products::TABLES,
        signer_list::TABLE,
        orders::TABLES,
        labels::TABLES,
        results::TABLE,
        log::TABLES,
        seal::TABLE,
    ];
    all.into_iter().try_for_each(|script| db.execute_batch(script))
}

/// Something that a database has. A trigger may be called as a table is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    name: String,
    kind: String,
    text: String,
}

/// All that a database has. What SQLite makes for itself has no text, and is left out.
fn parts(db: &Connection) -> rusqlite::Result<BTreeSet<Part>> {
    let sql = "SELECT name, type, sql FROM main.sqlite_master WHERE sql IS NOT NULL";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Part { name: row.get(0)?, kind: row.get(1)?, text: row.get(2)? })
    })?;
    rows.collect()
}

fn expected() -> rusqlite::Result<BTreeSet<Part>> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(TABLES)?;
    complete(&db)?;
    parts(&db)
}

/// The kind and the name of something that is not as this program makes it: foreign, changed, or gone. Tables of others, and
/// indexes on these, do nothing by themselves.
pub(crate) fn foreign(db: &Connection) -> rusqlite::Result<Option<String>> {
    let (found, expected) = (parts(db)?, expected()?);
    let own_indexes = own_indexes(db, &expected)?;
    let is_others = |one: &Part| {
        let is_known = expected.iter().any(|own| own.name == one.name);
        let is_beside = match &*one.kind {
            "table" => true,
            "index" => !own_indexes.contains(&one.name),
            _ => false,
        };
        is_beside && !is_known
    };
    let one = found.symmetric_difference(&expected).find(|one| !is_others(one));
    Ok(one.map(|Part { name, kind, .. }| format!("{kind} {name}")))
}

/// The names of the indexes that SQLite keeps up for the tables of this program, whatever their rows in `sqlite_master` say.
fn own_indexes(db: &Connection, expected: &BTreeSet<Part>) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = db.prepare("SELECT name FROM pragma_index_list(?1)")?;
    let mut all = BTreeSet::new();
    for table in expected.iter().filter(|one| one.kind == "table") {
        for name in statement.query_map([&table.name], |row| row.get(0))? {
            all.insert(name?);
        }
    }
    Ok(all)
}

/// What SQLite says of tables whose rows are not in their order, or not all in their indexes; `None` if all are. Somebody can
/// bring that about, so that a row which stands there is not found.
pub(crate) fn unsound(db: &Connection, tables: &[&str]) -> rusqlite::Result<Option<String>> {
    for table in tables {
        let sql = format!("PRAGMA main.integrity_check({table})");
        // It is done before the first row.
        let said: String = db.query_row(&sql, [], |row| row.get(0))?;
        if said != "ok" {
            return Ok(Some(said));
        }
    }
    Ok(None)
}

/// Whether the tables are as this program makes them, so that it can use them.
///
/// # Errors
/// [`LedgerError::Changed`] names what is not.
pub(crate) fn check(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    let found = foreign(db).map_err(opening(path))?;
    found.map_or(Ok(()), |found| {
        let found = format!("{found} is not as prestaged makes it");
        Err(LedgerError::Changed { path: path.to_owned(), found })
    })
}

/// What keeps the ledger from being used: that somebody has changed its tables if so, else this error.
pub(crate) fn blame(db: &Connection, path: &Path, error: LedgerError) -> LedgerError {
    check(db, path).err().unwrap_or(error)
}

/// The tables in which something is looked up by which drives are judged, or the log is verified.
pub(crate) fn looked_up() -> Vec<&'static str> {
    seal::TABLES.into_iter().chain(["log", "log_base"]).collect()
}

/// Takes away triggers, views and indexes that are foreign, and makes anew which of them were changed or are gone. A table
/// that was changed stays so.
pub(crate) fn mend(db: &Connection) -> rusqlite::Result<()> {
    let expected = expected()?;
    for one in parts(db)?.difference(&expected) {
        let Part { name, kind, .. } = one;
        if kind.eq_ignore_ascii_case("table") {
            continue;
        }
        if kind == "index" {
            db.execute_batch(&format!("DROP INDEX \"{}\"", name.replace('"', "\"\"")))?;
        } else {
            // SQLite runs a trigger whose kind is written in capitals, and does not drop it.
            db.execute_batch("PRAGMA writable_schema = ON")?;
            let sql = "DELETE FROM main.sqlite_master WHERE name = ?1 AND type = ?2";
            let gone = db.execute(sql, [name, kind]);
            db.execute_batch("PRAGMA writable_schema = RESET")?;
            gone?;
        }
    }
    complete(db)?;
    // From the tables, whatever somebody has put into their place.
    db.execute_batch("REINDEX")
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
            (
                "CREATE TRIGGER records AFTER INSERT ON offers BEGIN DELETE FROM records; END",
                "trigger records",
            ),
            ("CREATE VIEW told AS SELECT * FROM records", "view told"),
            ("CREATE UNIQUE INDEX one ON records (verdict)", "index one"),
            (
                "CREATE TRIGGER loud AFTER INSERT ON records BEGIN DELETE FROM records; END;
                 PRAGMA writable_schema = ON; UPDATE sqlite_master SET type = 'TRIGGER' WHERE name = 'loud';
                 PRAGMA writable_schema = RESET",
                "TRIGGER loud",
            ),
        ] {
            let db = ledger();
            assert_eq!(foreign(&db).unwrap(), None);
            db.execute_batch(change).unwrap();
            assert_eq!(foreign(&db).unwrap().as_deref(), Some(what));
            mend(&db).unwrap();
            assert_eq!(foreign(&db).unwrap(), None, "{change}");
            db.execute_batch("SELECT job FROM records").unwrap();
        }
        // A table that drops rows is not mended.
        let db = ledger();
        db.execute_batch(
            "DROP TABLE units; CREATE TABLE units (number TEXT, media TEXT, serial TEXT, attempts INTEGER, failures INTEGER,
                passed INTEGER, running TEXT, article TEXT, UNIQUE (number) ON CONFLICT IGNORE)",
        )
        .unwrap();
        mend(&db).unwrap();
        assert_eq!(foreign(&db).unwrap().as_deref(), Some("table units"));
        // Tables of others do nothing, nor does what SQLite makes for itself.
        let db = ledger();
        db.execute_batch("CREATE TABLE notes (text TEXT UNIQUE); ANALYZE").unwrap();
        assert_eq!(foreign(&db).unwrap(), None);
    }
}
