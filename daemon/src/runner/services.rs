//! The parts of the daemon that effects are carried out with.

use std::sync::Arc;

use drives::usage::Host;
use imaging::Replicator;
use masters::store::Store;
use media::tools::Tools;
use media::worker::pool::Workers;
use model::admission::Overwrite;
use model::job::Limits;
use record::ledger::Ledger;
use record::writer::RecordWriter;

/// What effects are carried out with. Clones share everything.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Services {
    pub store: Arc<Store>,
    pub ledger: Ledger,
    /// Writes records that no drive's thread waits for.
    pub writer: RecordWriter,
    pub replicator: Arc<Replicator>,
    pub workers: Workers,
    pub tools: Tools,
    pub host: Host,
    pub limits: Limits,
    /// What may be overwritten: only where that depends on it is a drive's content looked at.
    pub overwrite: Overwrite,
    /// Index of the image that is applied.
    pub image: u32,
    /// Whether media must bring boot files.
    pub boot: bool,
}
