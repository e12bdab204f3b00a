//! What proves a record to somebody else: its entry, and the way from it to the root of the latest checkpoint.

use evidence::check::{self, Checked};
use evidence::proof::Proof;
use evidence::short::Short;
use evidence::tree;
use model::digest::Digest;
use model::drive::Serial;
use model::record::Record;
use rusqlite::{Connection, OptionalExtension as _};

use super::{LogError, head};
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
}

impl Ledger {
    /// The latest record of a drive on which something was done, with its proof. A refusal after that changes nothing about
    /// the drive, so it is not meant; `None` if the log has no such record.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read.
    pub fn proven(&self, serial: &Serial) -> Result<Option<Proven>, LedgerError> {
        let proven = self.read(|db| {
            let failed = querying(self.path(), "read its log");
            let reading = db.unchecked_transaction().map_err(&failed)?;
            let sql = "SELECT records.job, record, seq, entry FROM records JOIN log USING (job)
                WHERE serial = ?1 AND verdict IS NOT NULL
                ORDER BY verdict IS 'refused', seq DESC LIMIT 1";
            let found = reading.query_row(sql, [serial.as_str()], |row| {
                Ok((self.parse(row, [0, 1]), row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?))
            });
            let Some((record, seq, entry)) = found.optional().map_err(&failed)? else {
                return Ok(None);
            };
            let proof = proof(&reading, seq).map_err(|source| LedgerError::Log {
                path: self.path().to_owned(),
                doing: "prove a record",
                source,
            })?;
            let short = None;
            let proven = |proof| record.map(|record| Proven { record, entry, proof, short });
            proof.map(proven).transpose()
        })?;
        Ok(proven.map(|proven| Proven { short: self.short(&proven), ..proven }))
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
