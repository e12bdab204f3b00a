//! Layouts that cannot be, with the arithmetic.

use super::Role;

/// A layout that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The same role twice.
    #[error("layout {layout:?}: more than one {role} partition; each type may appear once")]
    Twice {
        /// Layout name.
        layout: String,
        /// The repeated role.
        role: Role,
    },
    /// A partition that is required is missing.
    #[error("layout {layout:?}: no {role} partition; {why}")]
    Missing {
        /// Layout name.
        layout: String,
        /// The missing role.
        role: Role,
        /// Why it is needed.
        why: &'static str,
    },
    /// Partitions in an order Windows does not expect.
    #[error("layout {0:?}: the order must be esp, msr, windows, recovery")]
    Order(String),
    /// No partition, or two, take the rest.
    #[error("layout {layout:?}: {count} partitions have size \"rest\"; exactly one must")]
    Rest {
        /// Layout name.
        layout: String,
        /// How many do.
        count: usize,
    },
    /// A partition too small for its file system.
    #[error(
        "layout {layout:?}: the {role} partition of {size} bytes is too small for its file system with these sectors; at least {least} are needed"
    )]
    Small {
        /// Layout name.
        layout: String,
        /// The role.
        role: Role,
        /// Asked for.
        size: u64,
        /// Least that works.
        least: u64,
    },
    /// A label the file system cannot hold.
    #[error(
        "layout {layout:?}: label {label:?} of {role} is longer than {most} or holds a character the file system forbids"
    )]
    Label {
        /// Layout name.
        layout: String,
        /// The role.
        role: Role,
        /// The label.
        label: String,
        /// Longest allowed, in characters.
        most: usize,
    },
    /// A name, file system or attribute that cannot be.
    #[error("layout {layout:?}, {role}: {what}")]
    Extra {
        /// Layout name.
        layout: String,
        /// The role.
        role: Role,
        /// What is wrong.
        what: String,
    },
    /// The drive is too small; the text shows the arithmetic.
    #[error("layout {layout:?} needs {needed} bytes ({arithmetic}), the drive has {size}")]
    DriveTooSmall {
        /// Layout name.
        layout: String,
        /// Least drive size in bytes.
        needed: u64,
        /// How it adds up.
        arithmetic: String,
        /// The drive's size in bytes.
        size: u64,
    },
}
