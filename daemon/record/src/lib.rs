//! Records that must not be lost: the ledger, and the journal's copy of it.
//!
//! - Owns the SQLite database with its signed log ([`log`]), what the station remembers of it elsewhere, the thread that
//!   tries again until the database takes a record, and the open record of a job ([`open`]), which is closed exactly once.
//! - May touch the ledger's files and its counterfoils, and the journal through `tracing`.
//! - May never open a drive, change a verdict, let a refusal replace what was done to a drive, or build upon a ledger that
//!   somebody else has changed.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "writes the ledger's own files; knows no drive")]

mod backup;
mod carried;
mod connection;
mod counterfoil;
mod database;
mod error;
pub mod file;
pub mod journal;
mod labels;
mod lately;
pub mod ledger;
mod location;
pub mod log;
mod offers;
pub mod open;
pub mod orders;
mod products;
mod relocation;
pub mod results;
mod room;
mod rows;
mod running;
mod schema;
pub mod signer_list;
pub mod writer;
