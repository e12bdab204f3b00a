//! What proves a record to somebody else: its entry, and the way from it to the root of the latest checkpoint.

use std::fs;
use std::path::PathBuf;

use evidence::check::{self, Checked};
use evidence::proof::Proof;
use evidence::short::Short;
use evidence::tree;
use model::code::ReasonCode;
use model::digest::Digest;
use model::drive::Serial;
use model::meaning::Trouble;
use model::record::Record;
use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use super::{LogError, begin, head};
use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// A record with what proves it.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The record.
    pub record: Record,
    /// Its entry in the log, byte for byte.
    pub entry: Vec<u8>,
    /// The proof that the log has it, as text.
    pub proof: String,
    /// The short form of the record, signed; `None` if the entry is not what the station has signed, or has no serial number.
    pub short: Option<String>,
    /// The latest refusal of the drive since then that says something about the drive itself.
    pub since: Option<Record>,
}

/// What there is to prove of a drive.
#[derive(Clone, Debug)]
pub enum Sought {
    /// Its record, with what proves it.
    Proven(Box<Proven>),
    /// This job is not over: what was true of the drive before is true no longer, and what it becomes is not known.
    Running(Uuid),
    /// Its record was closed before the log was begun, so this log cannot prove it.
    Former {
        /// That record.
        record: Box<Record>,
        /// The table with the log that was set aside and has it; `None` if none has.
        log: Option<String>,
    },
    /// The ledger has no record of it.
    Unknown {
        /// Ledgers that were set aside, the latest first.
        aside: Vec<PathBuf>,
    },
}

/// A record of a drive, as it stands in the ledger; with the number of its entry, and the entry, if the log has one.
type Row = (Result<Record, LedgerError>, Option<i64>, Option<Vec<u8>>);

impl Ledger {
    /// The latest record of a drive on which something was done, with its proof. A refusal after that changes nothing about
    /// the drive, so it is told beside.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn proven(&self, serial: &Serial) -> Result<Sought, LedgerError> {
        self.verified()?;
        let sought = self.read(|db| {
            let failed = querying(self.path(), "read its log");
            let of_log = |source| {
                let path = self.path().to_owned();
                LedgerError::Log { path, doing: "prove a record", source }
            };
            let reading = db.unchecked_transaction().map_err(&failed)?;
            let sql = "SELECT job FROM records WHERE serial = ?1 AND verdict IS NULL
                ORDER BY rowid DESC LIMIT 1";
            let running = reading.query_row(sql, [serial.as_str()], |row| row.get::<_, String>(0));
            if let Some(job) = running.optional().map_err(&failed)? {
                return Ok(Sought::Running(job.parse().unwrap_or_default()));
            }
            // What the log does not have is older than all that it has.
            let sql =
                "SELECT records.job, record, seq, entry FROM records LEFT JOIN log USING (job)
                WHERE serial = ?1 AND verdict IS NOT NULL
                ORDER BY verdict IS 'refused', seq DESC, records.rowid DESC LIMIT 1";
            let found = reading.query_row(sql, [serial.as_str()], |row| {
                Ok::<Row, _>((self.parse(row, [0, 1]), row.get(2)?, row.get(3)?))
            });
            let Some((record, seq, entry)) = found.optional().map_err(&failed)? else {
                return Ok(Sought::Unknown { aside: self.set_aside_beside() });
            };
            let record = record?;
            let (Some(seq), Some(entry)) = (seq, entry) else {
                let log = begin::former_with(&reading, record.job).map_err(of_log)?;
                return Ok(Sought::Former { record: Box::new(record), log });
            };
            let Some(proof) = proof(&reading, seq).map_err(of_log)? else {
                return Ok(Sought::Former { record: Box::new(record), log: None });
            };
            let sql = "SELECT records.job, record FROM records JOIN log USING (job)
                WHERE serial = ?1 AND verdict = 'refused' AND seq > ?2 ORDER BY seq DESC";
            let mut statement = reading.prepare(sql).map_err(&failed)?;
            let refusals = statement
                .query_map((serial.as_str(), seq), |row| Ok(self.parse(row, [0, 1])))
                .map_err(&failed)?;
            let refusals: Vec<Record> =
                refusals.map(|row| row.map_err(&failed)?).collect::<Result<_, _>>()?;
            let since = refusals.into_iter().find(is_about_the_drive);
            let proven = Proven { record, entry, proof, short: None, since };
            Ok(Sought::Proven(Box::new(proven)))
        })?;
        Ok(match sought {
            Sought::Proven(mut proven) => {
                proven.short = self.short(&proven);
                Sought::Proven(proven)
            }
            other => other,
        })
    }

    /// The ledgers that [`Ledger::set_aside`] has left beside this one.
    fn set_aside_beside(&self) -> Vec<PathBuf> {
        let path = self.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".";
        let is_one = |file: &PathBuf| {
            let found = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let time = found.strip_prefix(&name).unwrap_or_default();
            time.len() == "20270630T170000Z".len()
                && time.bytes().all(|byte| byte.is_ascii_digit() || b"TZ".contains(&byte))
        };
        let files = path.parent().and_then(|folder| fs::read_dir(folder).ok());
        let files = files.into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
        let mut aside: Vec<PathBuf> = files.filter(is_one).collect();
        aside.sort_by(|a, b| b.cmp(a));
        aside
    }

    /// Signs the short form of a record, if its entry is proven: whoever changes the database must not get a signature.
    fn short(&self, Proven { entry, proof, .. }: &Proven) -> Option<String> {
        let database = self.0.database.lock();
        let key = database.log.key();
        let Checked { record, digest, .. } =
            check::check(entry, &key.public(), Some(proof), None).ok()?;
        Short::of(&record, digest).map(|short| short.sign(key))
    }
}

/// Whether a refusal was the drive's fault, and not that of a bay, an order or what was asked for.
fn is_about_the_drive(refused: &Record) -> bool {
    refused.reason.as_ref().is_some_and(|reason| {
        reason.code == ReasonCode::Health || reason.code.at_the_rack().trouble == Trouble::Drive
    })
}

/// The proof that an entry is in the log; `None` if it is not.
fn proof(db: &Connection, seq: i64) -> Result<Option<String>, LogError> {
    let mut statement = db.prepare("SELECT leaf FROM log ORDER BY seq")?;
    let leaves: Vec<Digest> = statement
        .query_map([], |row| row.get::<_, [u8; 32]>(0).map(Digest))?
        .collect::<Result<_, _>>()?;
    let index = u64::try_from(seq - 1).unwrap_or(u64::MAX);
    let (Some(path), Some(checkpoint)) = (tree::path(&leaves, index), head(db)?) else {
        return Ok(None);
    };
    Ok(Some(Proof { index, path, checkpoint }.text()))
}
