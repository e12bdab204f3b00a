//! What everything else speaks of: drives, layouts, masters, media, jobs and records, and the decisions about them.
//!
//! - Owns the types that cross the seams between the other crates, the codes and their names, and [`admission`], which
//!   alone makes an [`admission::Admitted`].
//! - May touch nothing: values in, values out. Times are arguments; random numbers are drawn for identities and for names
//!   of jobs.
//! - May never do I/O, read a clock, start a thread or depend on another crate of the workspace. Its `.clippy.toml`
//!   forbids what the standard library offers for that.
//!
//! `unsafe` stands in [`digest`] alone, for two SHA-256 messages at once.

pub mod account;
pub mod admission;
pub mod advice;
pub mod api;
pub mod boot;
pub mod code;
pub mod composition;
pub mod digest;
pub mod drive;
pub mod failure;
pub mod health;
pub mod hint;
pub mod identity;
pub mod job;
pub mod label;
pub mod lamp;
pub mod layout;
pub mod manifest;
pub mod meaning;
pub mod media;
pub mod naming;
pub mod now;
pub mod offer;
pub mod old_data;
pub mod operator;
pub mod orders;
pub mod parcel;
pub mod ranges;
pub mod record;
pub mod scan;
pub mod signers;
pub mod units;
pub mod verdict;
pub mod words;
