//! The daemon of a factory-floor imaging station: prestaged media onto every drive that is plugged in, verified and
//! recorded.
//!
//! ```text
//! uevent -> Drive -> admit() -> Admitted -> Claim -> job (erase, write, read back, commit) -> Record -> ledger, journal
//! file   -> inbox -> intake -> Media -> press -> Master ---^
//! ```
//!
//! - Owns what puts the crates beside it together: the runner that carries out what the station decides, the HTTP API, the
//!   audit, the workers' main function, the start.
//! - May touch everything, through the crates that own it.
//! - May never decide about a drive (`model::admission`), keep state of its own beside the station's, or open a drive for
//!   writing.
//!
//! Arrows never point back, and between crates Cargo sees to it. ARCHITECTURE.md has the map; a good first stop is the
//! crate `station`, where everything that happens is an event.

pub mod api;
pub mod audit;
pub mod check;
pub mod clock;
pub mod complaint;
pub mod doors;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod log;
mod order_inbox;
pub mod parcels;
mod results;
pub mod runner;
pub mod service;
mod signals;
pub mod signers;
mod socket;
mod station_key;
mod suitability;
mod udev_rules;
pub mod verify;
pub mod worker_main;
