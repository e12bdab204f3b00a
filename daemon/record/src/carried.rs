//! What a copy that takes the ledger's place gets beside its records.

use rusqlite::{Connection, Transaction};

/// The tables beside the records. What the open ledger has in them is the truth; a copy of it may be older.
const TABLES: [&str; 14] = [
    "offers",
    "products",
    "accepted",
    "orders",
    "order_history",
    "units",
    "tallies",
    "results_due",
    "log_head",
    "log_base",
    "seal",
    "clock",
    "order_files",
    "labels",
];

/// Makes a table in a copy what it is in the open ledger.
fn carry_table(former: &Connection, copy: &Transaction<'_>, table: &str) -> rusqlite::Result<()> {
    let mut read = former.prepare(&format!("SELECT * FROM {table}"))?;
    let names: Vec<String> = read.column_names().map(str::to_owned).collect();
    let places: Vec<String> = (1..=names.len()).map(|number| format!("?{number}")).collect();
    let (names, places) = (names.join(", "), places.join(", "));
    copy.execute(&format!("DELETE FROM {table}"), [])?;
    let mut write = copy.prepare(&format!("INSERT INTO {table} ({names}) VALUES ({places})"))?;
    let columns = read.column_count();
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let values: Vec<rusqlite::types::Value> =
            (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        write.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(())
}

/// Adds the entries of the log that a copy lacks. Whether those that it has are the same, the verification tells.
fn carry_log(former: &Connection, copy: &Transaction<'_>) -> rusqlite::Result<()> {
    let last: i64 =
        copy.query_row("SELECT coalesce(max(seq), 0) FROM log", [], |row| row.get(0))?;
    let sql = "SELECT seq, job, entry, leaf FROM log WHERE seq > ?1 ORDER BY seq";
    let mut read = former.prepare(sql)?;
    let mut rows = read.query([last])?;
    let sql = "INSERT INTO log (seq, job, entry, leaf) VALUES (?1, ?2, ?3, ?4)";
    let mut write = copy.prepare(sql)?;
    while let Some(row) = rows.next()? {
        let values: [rusqlite::types::Value; 4] =
            [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        write.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(())
}

/// Makes all of them in a copy what they are in the open ledger.
pub(crate) fn carry(former: &Connection, copy: &Transaction<'_>) -> rusqlite::Result<()> {
    carry_log(former, copy)?;
    TABLES.iter().try_for_each(|table| carry_table(former, copy, table))
}
