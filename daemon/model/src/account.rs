//! Who runs a process or owns a file, by number.

/// A user's number and that of its own group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}
