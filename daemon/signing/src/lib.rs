//! Who vouches for what: Ed25519 keys that OpenSSL reads, signed envelopes (DSSE), and signed notes.
//!
//! - Owns keys and signatures. What is signed is a payload of some type, byte by byte; what the bytes say is the caller's.
//! - May touch nothing but the system's random numbers, for a new key. Who has a key in a file brings its text.
//! - May never hand out a payload as verified of which no signature was checked, nor print a secret key.

#![forbid(unsafe_code)]

pub mod detached;
mod envelope;
mod key;
pub mod note;

pub use envelope::{Envelope, EnvelopeError, Verified};
pub use key::{KeyError, PublicKey, SecretKey};
