//! Why media is not in the inbox.

use std::io;

use model::code::FailureCode;
use model::digest::Digest;
use model::hint::Hint;
use model::parcel::{MANIFEST, Product};
use model::units::Bytes;

use crate::index::IndexError;
use crate::source::SourceError;
use crate::staging::StagingError;
use crate::trust::Distrust;

/// What is missing of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Incomplete {
    pub pieces: usize,
    pub bytes: Bytes,
    /// The first of the pieces.
    pub first: String,
    pub cause: String,
}

/// Why media is not in the inbox. Pieces that came are kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ReceiveError {
    #[error("the parcel cannot be read")]
    Source(#[from] SourceError),
    #[error("the manifest is not believed")]
    Distrust(#[from] Distrust),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("{name} is in the inbox, and is not this media")]
    NameTaken { name: String },
    #[error("{name} is in the inbox as {found}, which is later")]
    Older { name: String, found: String },
    #[error("{name} is in the inbox as {found}; this parcel is of {product}")]
    OtherProduct { name: String, found: String, product: Product },
    #[error("another program takes in the same parcel")]
    Busy,
    #[error("the inbox needs room for {needed} bytes more, and has {room}")]
    Room { needed: u64, room: u64 },
    #[error("{0} in the inbox belongs to somebody else, or others may change it")]
    Foreign(String),
    #[error("{piece} is not what the index says{others}")]
    Damaged { piece: String, others: String },
    #[error(
        "{name} with SHA-256 {sha256} is not in the inbox, and {pieces} pieces are in it alone"
    )]
    BaseMissing { name: String, sha256: Digest, pieces: usize },
    #[error("{} of its bytes are missing, from {} on: {}", .0.bytes.0, .0.first, .0.cause)]
    Incomplete(Incomplete),
    #[error("the pieces are right, and the file that they make is not; it was packed wrong")]
    Contradiction,
    #[error("cannot {doing}")]
    System {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Hint for ReceiveError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Distrust(error) => return error.hint(),
            Self::Source(SourceError::Missing { name }) if name == MANIFEST => {
                "name the folder, or the address, in which manifest.json lies; if it was there, put it there again"
            }
            Self::Source(_) | Self::Incomplete(_) => {
                "put the parcel there again, and run the same command: it goes on where it was cut"
            }
            Self::Index(_) | Self::Damaged { .. } => {
                "get the part again from the maker, and run the same command: all other pieces are kept"
            }
            Self::NameTaken { .. } => {
                "take it out of the inbox, or name the media otherwise and pack it anew"
            }
            Self::Older { .. } => {
                "the parcel is not needed, and can be removed; nothing was changed"
            }
            Self::OtherProduct { .. } => {
                "if it is to be media of this product, take away the manifest beside it, and run the same command"
            }
            Self::Busy => "wait for it",
            Self::Room { .. } => "make room on the inbox's file system, and run the same command",
            Self::Foreign(_) => "take it away",
            Self::BaseMissing { .. } => {
                "put it into the inbox, or get a parcel that was packed without --against"
            }
            Self::Contradiction => "have it packed again",
            Self::System { .. } => return None,
        };
        Some(hint.into())
    }
}

impl ReceiveError {
    /// The code of what has gone wrong.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Source(_) | Self::Incomplete(_) => FailureCode::ParcelIncomplete,
            Self::Distrust(Distrust::Unknown { .. } | Distrust::TooFew { .. }) => {
                FailureCode::SignerUnknown
            }
            Self::Distrust(Distrust::Envelope(_) | Distrust::Manifest(_))
            | Self::Index(_)
            | Self::Damaged { .. }
            | Self::Contradiction => FailureCode::ParcelDamaged,
            Self::BaseMissing { .. } => FailureCode::BaseMissing,
            Self::NameTaken { .. }
            | Self::Older { .. }
            | Self::OtherProduct { .. }
            | Self::Busy
            | Self::Room { .. }
            | Self::Foreign(_)
            | Self::System { .. } => FailureCode::InboxError,
        }
    }
}

impl From<StagingError> for ReceiveError {
    fn from(error: StagingError) -> Self {
        match error {
            StagingError::Busy => Self::Busy,
            StagingError::Room { needed, room } => Self::Room { needed: needed.0, room: room.0 },
            StagingError::Foreign(name) => Self::Foreign(name),
            StagingError::System(doing, source) => Self::System { doing, source },
        }
    }
}
