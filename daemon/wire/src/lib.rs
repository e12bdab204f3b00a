//! HTTP between the parts of a station.
//!
//! - Owns the client of the daemon's sockets, what tells whether the daemon's news is new, and the connection that ends when its other end takes nothing.
//! - May touch the sockets that it is given.
//! - May never know what a request means, nor keep an answer.

#![forbid(unsafe_code)]

pub mod client;
pub mod feed;
pub mod patient;
