//! The types that go over the control socket, in both directions.

pub mod audit;
pub mod command;
pub mod line;
pub mod requests;
pub mod snapshot;
