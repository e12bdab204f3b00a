//! The types that go over the control socket, in both directions.

pub mod answers;
pub mod audit;
pub mod command;
pub mod evidence;
pub mod line;
pub mod openapi;
pub mod orders;
pub mod requests;
pub mod routes;
pub mod scanned;
pub mod schema;
pub mod snapshot;
pub mod verify;
