//! What operators have said of media: to which drives it is made available. Every change is kept, with who and when.

use evidence::statement::Event;
use jiff::Timestamp;
use model::offer::{Offer, OfferChange};
use rusqlite::params;

use crate::connection::querying;
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// The table; its rows are never changed.
pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS offers (
    seq INTEGER PRIMARY KEY,
    media TEXT NOT NULL,
    sha256 TEXT,
    offer TEXT NOT NULL,
    by TEXT NOT NULL,
    uid INTEGER NOT NULL,
    at TEXT NOT NULL
) STRICT;
";

impl Ledger {
    /// Keeps what an operator has said of media, durably.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be written.
    pub fn note_offer(&self, change: &OfferChange) -> Result<(), LedgerError> {
        let OfferChange { media, sha256, offer, by, uid, at } = change;
        let detail =
            serde_json::json!({ "media": media, "sha256": sha256, "offer": offer, "uid": uid });
        let (kind, operator) = ("offer_changed".to_owned(), Some(by.clone()));
        let event = Event { kind, at: *at, operator, detail };
        self.change_noted("note an offer", |db| {
            db.execute(
                "INSERT INTO offers (media, sha256, offer, by, uid, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    media,
                    sha256.map(|digest| digest.to_string()),
                    offer.to_string(),
                    by,
                    uid,
                    format!("{at:.3}")
                ],
            )
            .map(|_| ((), vec![event]))
        })
    }

    /// All that was said of media, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] if it cannot be read.
    pub fn offers(&self) -> Result<Vec<OfferChange>, LedgerError> {
        self.read(|db| {
            let failed = querying(self.path(), "read the offers");
            let sql = "SELECT media, sha256, offer, by, uid, at FROM offers ORDER BY seq";
            let mut statement = db.prepare(sql).map_err(&failed)?;
            let mut rows = statement.query([]).map_err(&failed)?;
            let mut all = Vec::new();
            while let Some(row) = rows.next().map_err(&failed)? {
                let text = |column| row.get::<_, String>(column).map_err(&failed);
                let sha256: Option<String> = row.get(1).map_err(&failed)?;
                all.push(OfferChange {
                    media: text(0)?,
                    sha256: sha256.and_then(|text| text.parse().ok()),
                    // What a newer program has written is not known here: nobody gets the media by itself.
                    offer: text(2)?.parse().unwrap_or(Offer::Hidden),
                    by: text(3)?,
                    uid: row.get(4).map_err(&failed)?,
                    at: text(5)?.parse().unwrap_or(Timestamp::UNIX_EPOCH),
                });
            }
            Ok(all)
        })
    }
}
