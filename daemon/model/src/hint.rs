//! Errors that may know what would make them right.

use std::error::Error;

/// An error that may know how to mend what it reports. Its `Display` says only what happened, because its cause is
/// printed after it; the hint is printed on a line of its own.
pub trait Hint: Error {
    /// How to mend it, in one or more sentences.
    fn hint(&self) -> Option<String>;
}
