//! Which list of signers is in force. A station that has followed a list must not go back to an earlier one because a file is
//! gone: the key that was given up would count again.

use evidence::statement::Event;
use jiff::Timestamp;
use model::digest::Digest;
use rusqlite::{OptionalExtension, params};

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

/// The list of signers in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Digest of the configuration's signers, from which lists follow. With others, lists begin anew.
    pub base: Digest,
    /// The number of the list; 0 for the configuration's signers themselves.
    pub number: u64,
    /// Digest of what is signed as the list; of the configuration's signers where there is none.
    pub list: Digest,
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
    /// Whether it may take the place of what was known.
    ///
    /// # Errors
    /// [`SignersRolledBack`]
    pub fn follows(&self, known: &Self) -> Result<(), SignersRolledBack> {
        if self.base != known.base {
            return Ok(());
        }
        if self.number < known.number {
            return Err(SignersRolledBack::Lower { known: known.number, found: self.number });
        }
        if self.number == known.number && self.list != known.list {
            return Err(SignersRolledBack::Other { number: self.number });
        }
        Ok(())
    }
}

impl Ledger {
    /// The list of signers that was in force last; `None` if there was none.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn signers_in_force(&self) -> Result<Option<InForce>, LedgerError> {
        self.read(|db| {
            let sql = "SELECT base, number, list FROM signer_list";
            let found = db.query_row(sql, [], |row| {
                let digest = |at: usize| -> rusqlite::Result<Digest> {
                    // What is none of the station's follows from nothing, and the seal tells.
                    Ok(row.get::<_, String>(at)?.parse().unwrap_or(Digest([0; 32])))
                };
                let number = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
                Ok(InForce { base: digest(0)?, number, list: digest(2)? })
            });
            found.optional().map_err(querying(self.path(), "read which signers are in force"))
        })
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
        let InForce { base, number, list } = now;
        let detail = serde_json::json!({
            "base": base.to_string(), "number": number, "list": list.to_string(), "signers": signers,
        });
        let (kind, at) = ("signers_changed".to_owned(), Timestamp::now());
        let event = Event { kind, at, operator: None, detail };
        let sql = "INSERT INTO signer_list (only, base, number, list) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (only) DO UPDATE SET base = excluded.base, number = excluded.number,
             list = excluded.list";
        let number = i64::try_from(*number).unwrap_or(i64::MAX);
        self.change_noted("note which signers are in force", |db| {
            db.execute(sql, params![base.to_string(), number, list.to_string()])?;
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
        let of = |base, number, list| InForce { base: digest(base), number, list: digest(list) };
        let names = serde_json::json!(["acme"]);
        ledger.note_signers(&of(1, 0, 1), &names).unwrap();
        ledger.note_signers(&of(1, 2, 2), &names).unwrap();
        let known = ledger.signers_in_force().unwrap().unwrap();
        assert_eq!(known, of(1, 2, 2));
        for (now, expected) in [
            (of(1, 2, 2), Ok(())),
            (of(1, 3, 3), Ok(())),
            (of(1, 2, 9), Err(SignersRolledBack::Other { number: 2 })),
            (of(1, 1, 1), Err(SignersRolledBack::Lower { known: 2, found: 1 })),
            (of(1, 0, 1), Err(SignersRolledBack::Lower { known: 2, found: 0 })),
            (of(5, 0, 5), Ok(())),
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
