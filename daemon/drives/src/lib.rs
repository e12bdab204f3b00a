//! Drives as the kernel shows them: noticed, looked at, held exclusively, written and read.
//!
//! - Owns the udev monitor, the facts about who uses a drive and what it holds, and [`claim::Claim`], the exclusive hold
//!   of one drive.
//! - May touch /proc, /sys, udev and block devices. [`claim`] is the one place of the program that opens a drive for
//!   writing: clippy forbids the functions that could, and outside of tests only `claim` expects one of them.
//! - May never decide whether a drive may be written: a claim is made from an [`Admitted`](model::admission::Admitted),
//!   and it uses that up. It knows neither masters nor records.
//!
//! `unsafe` stands in [`sys`] alone.

pub mod buffer;
pub mod claim;
pub mod content;
pub mod direct;
#[cfg(test)]
mod machines;
pub mod medium;
#[cfg(feature = "testing")]
pub mod memory;
pub mod sys;
mod tally;
mod transport;
pub mod udev_rules;
pub mod usage;
pub mod watch;
