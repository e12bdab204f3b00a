//! The parts of the daemon that carry out effects.

use std::sync::Arc;

use drives::usage::Host;
use imaging::Replicator;
use masters::store::Store;
use media::tools::Tools;
use media::worker::pool::Workers;
use model::admission::{BlankCheck, Overwrite};
use model::job::Limits;
use model::layout::Layout;
use model::old_data::OldDataPolicy;
use model::orders::{Articles, Order, Standing};
use parcel::Signers;
use record::ledger::{Ledger, LedgerError};
use record::orders::AlsoClosed;
use record::writer::RecordWriter;

use crate::clock::Clock;
use crate::health::HealthReader;

/// The parts of the daemon that carry out effects, and their settings. Clones share the parts.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Services {
    pub store: Arc<Store>,
    pub ledger: Ledger,
    /// Writes the records that no job's thread has to wait for.
    pub writer: RecordWriter,
    pub replicator: Arc<Replicator>,
    pub workers: Workers,
    pub tools: Tools,
    pub host: Host,
    pub limits: Limits,
    pub old_data: OldDataPolicy,
    /// What may be overwritten. If that is anything, only drives that have passed before are looked at.
    pub overwrite: Overwrite,
    /// How closely a drive that seems blank is looked at.
    pub blank_check: BlankCheck,
    /// Whose signatures media needs.
    pub signers: Arc<Signers>,
    pub clock: Clock,
    /// Asks drives for their health, if they shall be asked.
    pub health: HealthReader,
    /// Whether masters are derived from others of the same media.
    pub derive: bool,
    /// Index of the image that is applied.
    pub image: u32,
    /// The layout that drives get.
    pub layout: Layout,
    /// What drives of orders become.
    pub articles: Articles,
}

impl Services {
    /// The orders that are not closed, with how they stand.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot be read.
    pub fn open_orders(&self) -> Result<Vec<(Order, Standing)>, LedgerError> {
        open_orders(&self.ledger, &self.articles)
    }
}

/// The same, before there are services.
///
/// # Errors
/// [`LedgerError`] if they cannot be read.
pub fn open_orders(
    ledger: &Ledger,
    articles: &Articles,
) -> Result<Vec<(Order, Standing)>, LedgerError> {
    let all = ledger.orders(AlsoClosed::No, &|order| articles.of(order))?;
    Ok(all.into_iter().map(|known| (known.order, known.standing)).collect())
}
