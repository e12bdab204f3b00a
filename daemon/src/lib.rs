//! A factory-floor imaging station: prestaged media onto every drive that is plugged in, verified and recorded.
//!
//! ```text
//! uevent -> Drive -> admit() -> Admitted -> Claim -> job (erase, write, read back, commit) -> Record -> ledger, journal
//! file   -> inbox -> intake -> Media -> press -> Master ---^
//! ```
//!
//! Arrows never point back. ARCHITECTURE.md has the map of the modules and what each may touch; a good first stop is
//! [`station`], where everything that happens is an event, then [`admission`], [`target`] and
//! [`replicate`], where drives are judged, held and written.

pub mod account;
pub mod admission;
pub mod api;
pub mod audit;
pub mod bcd;
pub mod buffer;
pub mod cli;
pub mod config;
pub mod digest;
pub(crate) mod direct;
pub mod drive;
#[doc(hidden)]
pub mod fuzzing;
pub mod gpt_table;
pub mod hotplug;
pub mod identity;
pub mod job;
pub mod layout;
pub mod master;
pub mod media;
pub mod press;
pub mod record;
pub mod replicate;
pub mod service;
pub mod station;
pub mod sys;
pub mod target;
pub mod task;
pub mod tools;
pub mod units;
pub mod wim;
pub mod worker;
