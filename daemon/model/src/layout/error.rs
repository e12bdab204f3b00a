//! Why a layout cannot be used.

use super::Role;
use crate::hint::Hint;
use crate::units::Bytes;
use crate::units::MIB;

/// A layout that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it; sizes are in bytes")]
pub enum LayoutError {
    #[error("layout {layout:?} has more than one {role} partition")]
    Twice { layout: String, role: Role },
    #[error("layout {layout:?} has no {role} partition, {why}")]
    Missing { layout: String, role: Role, why: &'static str },
    #[error("layout {0:?} has its partitions in another order than Windows expects")]
    Order(String),
    #[error("layout {layout:?} has {count} partitions with size \"rest\", and needs exactly one")]
    Rest { layout: String, count: usize },
    #[error(
        "layout {layout:?}: the {role} partition has {size} bytes; with these sectors, its file system needs {least}"
    )]
    Small { layout: String, role: Role, size: u64, least: u64 },
    #[error(
        "layout {layout:?}: the {role} partition would have {size} bytes; its file system has at most {most}"
    )]
    Large { layout: String, role: Role, size: u64, most: u64 },
    #[error("layout {layout:?}: the {role} partition cannot have the label {label:?}")]
    Label {
        layout: String,
        role: Role,
        label: String,
        /// Longest allowed, in characters.
        most: usize,
    },
    #[error("layout {layout:?}: the {role} partition cannot have the name {name:?}")]
    Name { layout: String, role: Role, name: String },
    #[error("layout {layout:?}: the {role} partition cannot have that file system")]
    FileSystem { layout: String, role: Role },
    #[error(
        "layout {layout:?}: bit 63 of the {role} partition's attributes takes the drive letter away, without which \
         Windows does not start"
    )]
    DriveLetter { layout: String, role: Role },
    /// `arithmetic` shows how `needed` adds up.
    #[error("layout {layout:?} needs {} ({arithmetic}), the drive has {}", Bytes(*needed), Bytes(*size))]
    DriveTooSmall { layout: String, needed: u64, arithmetic: String, size: u64 },
}

impl Hint for LayoutError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Twice { .. } => "a layout has each type of partition at most once".into(),
            Self::Missing { role: Role::Esp, .. } => {
                "add { type = \"esp\", size = \"300MiB\" }, or set boot = \"none\"".into()
            }
            Self::Missing { role, .. } => format!("add {{ type = \"{role}\", size = \"rest\" }}"),
            Self::Order(_) => "put them in the order esp, msr, windows, recovery".into(),
            Self::Rest { .. } => {
                "one partition takes what the others leave, usually windows; give the others sizes"
                    .into()
            }
            Self::Small { least, .. } => {
                format!("set its size to \"{}MiB\" or more", least.div_ceil(MIB.0))
            }
            Self::Large { most, .. } => {
                format!("set its size to \"{}MiB\" or less", most / MIB.0)
            }
            Self::Label { role: Role::Msr, .. } => "it has no file system; leave label out".into(),
            Self::Label { role: Role::Esp, most, .. } => {
                format!("a label has at most {most} characters of A-Z, a-z, 0-9, _, - and blank")
            }
            Self::Label { most, .. } => {
                format!("a label has at most {most} characters and no control characters")
            }
            Self::Name { .. } => {
                "a name has at most 36 characters and no control characters".into()
            }
            Self::FileSystem { role, .. } => match role {
                Role::Esp => "leave file_system out, or write \"fat32\"".into(),
                Role::Msr => "leave file_system out".into(),
                Role::Windows | Role::Recovery => "leave file_system out, or write \"ntfs\"".into(),
            },
            Self::DriveLetter { .. } => "clear bit 63, or leave attributes out".into(),
            Self::DriveTooSmall { .. } => return None,
        })
    }
}
