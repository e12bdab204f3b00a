//! The second matrix: what a station, its drives and its neighbours did to make it erase what is not its own, pass what
//! is not right, or lose a record.
//!
//! Each row is one case: what is tried, what is right, and what the station did before. [`Case::saw`] fails where it
//! does anything else than what is right, and prints the row.

mod chain;
mod content;
mod deep;
mod exchanged;
mod kills;
mod large;
mod meanwhile;
mod neighbours;
mod promises;
mod record;
mod remains;
mod rot;
mod rows;
mod users;

use std::io::Write as _;

/// A row of the matrix.
pub(crate) struct Case {
    /// The line of the list of promises that it belongs to: `A.1`.
    pub(crate) line: &'static str,
    /// What is tried.
    pub(crate) tried: &'static str,
    /// What a station must make of it: `refused not_blank`.
    pub(crate) right: &'static str,
    /// What one made of it before.
    pub(crate) before: &'static str,
}

impl Case {
    /// Compares what was seen with what is right, and prints the row for whoever reads the tests' output.
    #[track_caller]
    pub(crate) fn saw(&self, now: &str) {
        let Self { line, tried, right, before } = self;
        assert_eq!(now, *right, "{line} {tried}");
        let _ =
            writeln!(std::io::stderr(), "trust {line:<5} {tried:<60} {now:<32} before: {before}");
    }
}
