//! Proof that outlives the station: what is said of a drive is signed, stands in a log that only grows, and can be checked
//! on any machine.
//!
//! - Owns the log's mathematics ([`tree`]), what is signed of it ([`checkpoint`]), the proof that an entry is in it
//!   ([`proof`]), what an entry says ([`statement`]), the short form of a record for paper ([`short`]), and the check of all
//!   that without a station ([`check`]).
//! - May touch nothing: bytes and keys come from the caller.
//! - May never call something proven of which a digest or a signature was not computed.

#![forbid(unsafe_code)]

pub mod check;
pub mod checkpoint;
pub mod proof;
pub mod short;
pub mod statement;
pub mod tree;
