//! Which list of signers is in force. A station that has followed a list must not go back to an earlier one because a file is
//! gone: the key that was given up would count again.

use std::path::Path;

use evidence::statement::Event;
use jiff::Timestamp;
use model::digest::Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS signer_list (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    base TEXT NOT NULL,
    number INTEGER NOT NULL,
    list TEXT NOT NULL
) STRICT;
";

/// The lists that are followed, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Digest of the configuration's signers, from which lists follow. With others, lists begin anew.
    pub base: Digest,
    /// Of each list what is signed, as a digest. The last is in force; if there is none, the configuration's signers are.
    pub lists: Vec<Digest>,
}

/// The list that was in force last, by the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    base: Digest,
    /// 0 for the configuration's signers themselves.
    number: u64,
    list: Digest,
}

/// Signers that would take the place of later ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SignersRolledBack {
    #[error("list {known} of signers was in force, and {found} is the last that is there")]
    Lower { known: u64, found: u64 },
    #[error("another list {number} of signers was in force")]
    Other { number: u64 },
}

impl InForce {
    /// The number of the list in force; 0 for the configuration's signers.
    pub fn number(&self) -> u64 {
        u64::try_from(self.lists.len()).unwrap_or(u64::MAX)
    }

    /// As the ledger keeps it.
    fn known(&self) -> Known {
        let list = self.lists.last().copied().unwrap_or(self.base);
        Known { base: self.base, number: self.number(), list }
    }

    /// Whether the ledger has it so.
    pub fn is(&self, known: &Known) -> bool {
        self.known() == *known
    }

    /// The number of the list that was in force, if lists begin anew because the configuration has other signers now. Keys
    /// that were given up since count again if they are among those.
    pub fn begins_anew(&self, known: &Known) -> Option<u64> {
        (self.base != known.base && known.number > 0).then_some(known.number)
    }

    /// Whether it goes on from what was known: the list that was in force is among those that are followed. A key that was
    /// given up could sign others in its place.
    ///
    /// # Errors
    /// [`SignersRolledBack`]
    pub fn follows(&self, known: &Known) -> Result<(), SignersRolledBack> {
        let Known { base, number, list } = *known;
        if self.base != base || number == 0 {
            return Ok(());
        }
        let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
        match self.lists.get(at) {
            Some(found) if *found == list => Ok(()),
            Some(_) => Err(SignersRolledBack::Other { number }),
            None => Err(SignersRolledBack::Lower { known: number, found: self.number() }),
        }
    }
}

fn read(db: &Connection) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT base, number, list FROM signer_list";
    let found = db.query_row(sql, [], |row| {
        let digest = |at: usize| -> rusqlite::Result<Digest> {
            // What is none of the station's follows from nothing, and the seal tells.
            Ok(row.get::<_, String>(at)?.parse().unwrap_or(Digest([0; 32])))
        };
        let number = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        Ok(Known { base: digest(0)?, number, list: digest(2)? })
    });
    found.optional()
}

/// The list that was in force last by the ledger in this file, as far as it can be read without opening it as a station does.
pub fn peek(path: &Path) -> Option<Known> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    read(&db).ok().flatten()
}

impl Ledger {
    /// The list of signers that was in force last; `None` if there was none.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn signers_in_force(&self) -> Result<Option<Known>, LedgerError> {
        self.read(|db| read(db).map_err(querying(self.path(), "read which signers are in force")))
    }

    /// Notes which list of signers is in force now, and in the log who they are.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn note_signers(
        &self,
        now: &InForce,
        signers: &serde_json::Value,
    ) -> Result<(), LedgerError> {
        let Known { base, number, list } = now.known();
        let (base, list) = (base.to_string(), list.to_string());
        let detail = serde_json::json!({
            "base": base, "number": number, "list": list, "signers": signers,
        });
        let (kind, at) = ("signers_changed".to_owned(), Timestamp::now());
        let event = Event { kind, at, operator: None, detail };
        let sql = "INSERT INTO signer_list (only, base, number, list) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (only) DO UPDATE SET base = excluded.base, number = excluded.number,
             list = excluded.list";
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.change_noted("note which signers are in force", |db| {
            db.execute(sql, params![base, number, list])?;
            Ok(((), vec![event]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Location;

    #[test]
    fn a_later_list_stays_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let place = Location::new(&folder.path().join("l.db"), crate::log::tests::key());
        let ledger = Ledger::open(&place, "boot").unwrap();
        assert_eq!(ledger.signers_in_force().unwrap(), None);
        let digest = |byte: u8| Digest([byte; 32]);
        let of = |base, lists: &[u8]| InForce {
            base: digest(base),
            lists: lists.iter().map(|byte| digest(*byte)).collect(),
        };
        let names = serde_json::json!(["acme"]);
        ledger.note_signers(&of(1, &[]), &names).unwrap();
        of(1, &[7]).follows(&ledger.signers_in_force().unwrap().unwrap()).unwrap();
        ledger.note_signers(&of(1, &[3, 2]), &names).unwrap();
        let known = ledger.signers_in_force().unwrap().unwrap();
        assert_eq!(peek(&place.path), Some(known));
        for (now, expected) in [
            (of(1, &[3, 2]), Ok(())),
            (of(1, &[3, 2, 4]), Ok(())),
            // Signed by a key that was given up.
            (of(1, &[9, 9, 4]), Err(SignersRolledBack::Other { number: 2 })),
            (of(1, &[3, 9]), Err(SignersRolledBack::Other { number: 2 })),
            (of(1, &[3]), Err(SignersRolledBack::Lower { known: 2, found: 1 })),
            (of(1, &[]), Err(SignersRolledBack::Lower { known: 2, found: 0 })),
            (of(5, &[]), Ok(())),
        ] {
            assert_eq!(now.follows(&known), expected);
        }
        ledger.verify().unwrap();
        ledger.finish();
        drop(ledger);
        let sql = "UPDATE signer_list SET number = 1";
        rusqlite::Connection::open(&place.path).unwrap().execute_batch(sql).unwrap();
        assert!(Ledger::open(&place, "boot").unwrap().tampered().is_some());
    }
}
