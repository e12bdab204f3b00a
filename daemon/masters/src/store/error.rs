//! Why the store, or a master in it, cannot be used.

use std::io;
use std::path::PathBuf;

use model::code::FailureCode;
use model::hint::Hint;
use model::manifest::{Chunk, MasterId};
use model::units::Bytes;

/// A store, or a master in it, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StoreError {
    /// `path` is the store's folder, or a file or folder in it.
    #[error("store {path}: cannot {doing}")]
    Io {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("store {0}: another prestaged uses it")]
    Locked(PathBuf),
    /// The folder has no marker and holds other things: these, by their paths in the folder.
    #[error("store {path}: the folder is not a store of prestaged: it holds {}", some(others))]
    NotOurs { path: PathBuf, others: Vec<PathBuf> },
    /// `path` is where a master must go.
    #[error("store: {path} is in the way of a master, and prestaged did not make it")]
    InTheWay { path: PathBuf },
    /// `chunk` is the first whose digest differs.
    #[error("master {id} is damaged: its {} are not what was pressed", chunk.range())]
    Damaged { id: MasterId, chunk: Chunk },
    /// The press has left something else than an image file of its own.
    #[error("{path}, left by the press, cannot be taken over: it {what}")]
    NotTaken { path: PathBuf, what: String },
    /// The manifest or the image is missing, cut off, or contradicts itself.
    #[error("master {id} is damaged")]
    Unreadable {
        id: MasterId,
        #[source]
        source: io::Error,
    },
    #[error("master {id} is derived, and its base has gone meanwhile")]
    Baseless { id: MasterId },
    /// `needed` is an estimate.
    #[error("store {path}: {free} are free, a master needs about {needed}")]
    Full { path: PathBuf, free: Bytes, needed: Bytes },
    /// `needed` is an estimate; `used` is held by masters that must not be removed.
    #[error(
        "a master of {needed} does not fit the store's budget of {budget}: masters in use hold {used}"
    )]
    Budget { needed: Bytes, budget: Bytes, used: Bytes },
}

/// The first of many paths, in words.
fn some(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().take(3).map(|path| path.display().to_string()).collect();
    let more = paths.len() - shown.len();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

impl StoreError {
    /// The code under which the failure is reported.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                FailureCode::StoreFull
            }
            Self::Io { .. } | Self::Locked(_) | Self::NotOurs { .. } | Self::InTheWay { .. } => {
                FailureCode::StoreError
            }
            Self::Damaged { .. } | Self::Unreadable { .. } | Self::Baseless { .. } => {
                FailureCode::MasterDamaged
            }
            Self::Budget { .. } => FailureCode::StoreBudget,
            Self::Full { .. } => FailureCode::StoreFull,
            Self::NotTaken { .. } => FailureCode::PressFailed,
        }
    }
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { .. } => {
                "check that the folder exists, is writable and has space (store.path)"
            }
            Self::Locked(_) => {
                "end the other one; a second station beside it needs a socket, a store, a ledger and bays of its own"
            }
            Self::NotOurs { .. } => {
                "name a folder that is empty or does not exist yet (store.path); nothing was changed in this one"
            }
            Self::InTheWay { .. } => "move it out of the store's folder (store.path)",
            Self::Full { .. } => {
                "make room, or move the store to a larger file system (store.path)"
            }
            Self::Budget { .. } => "raise store.budget, or wait until running drives are done",
            Self::NotTaken { .. } => {
                "find out which process of the user tools.user has put it there; nothing of it was used"
            }
            // The station presses such a master anew by itself.
            Self::Damaged { .. } | Self::Unreadable { .. } | Self::Baseless { .. } => return None,
        };
        Some(hint.into())
    }
}
