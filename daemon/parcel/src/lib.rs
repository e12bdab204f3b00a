//! Media as parcels: cut into pieces, signed, sent in any way, and put together again.
//!
//! - Owns the parts of a parcel but for its manifest, which is [`model::parcel`]'s: index, packs, and the list of what a
//!   receiver has. Packs media, and takes parcels in: each piece is verified alone before it is kept.
//! - May touch the files and folders that its caller names, with the caller's rights; where a parcel comes from is a
//!   [`Source`], which may be a network.
//! - May never put a file into an inbox that is not, to its last byte, what a manifest says, nor open a drive. It reads
//!   WIMs no further than to their tables of blobs, and needs no libwim.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "writes parcels and media, and knows no drive")]

mod cut;
mod have;
mod index;
mod pack;
mod receive;
mod source;
mod staging;
mod succession;
#[cfg(test)]
mod tests;
mod trust;
mod whole;

pub use cut::{Cut, WimError};
pub use have::{Have, HaveError, HaveFile};
pub use index::{Index, IndexError, Piece, Place};
pub use pack::{Order, PackError, Packed, SignError, Unsigned, sign};
pub use receive::{Incomplete, ReceiveError, Received, Receiver};
pub use source::{Folder, Source, SourceError, fresh_file};
pub use succession::{Roster, RosterError, SuccessionError};
pub use trust::{Distrust, Signer, Signers, Vouched};
