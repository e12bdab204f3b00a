//! Records that must not be lost: the ledger, and the journal's copy of it.
//!
//! - Owns the SQLite database, the thread that tries again until the database takes a record, and the open record of a job
//!   ([`open`]), which is closed exactly once.
//! - May touch the ledger's file, and the journal through `tracing`.
//! - May never open a drive, change a verdict, or let a refusal replace what was done to a drive.

#![forbid(unsafe_code)]

pub mod journal;
pub mod ledger;
pub mod open;
pub mod writer;
