//! The account that runs a process or owns a file.

/// The numbers of a user and of that user's primary group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}
