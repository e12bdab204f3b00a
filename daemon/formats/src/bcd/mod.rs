//! The boot configuration (BCD): a registry hive by which the boot manager decides what it starts.
//!
//! [`Start::of`] follows a BCD as the boot manager would: which entries it starts, in which order, from which ramdisk and
//! by which loader. [`Start::walk`] looks each file up in the media and tells the walk in words.
//!
//! The BCD of media made for a single partition names `[boot]`. On a drive with a separate ESP, that is the wrong
//! volume. So the device elements of the boot manager, of the entries that it starts and of their ramdisk options are set
//! to the drive's own partitions, whatever they were before, as bcdedit does with `partition=` and `ramdisk=`. The hive
//! is read with nt-hive and changed by hivexsh, with a script that this module writes.
//!
//! [`generate`] makes a BCD from nothing, for media that is made here.
//!
//! Byte layouts: ntloader's `bcd.h` and the BCD-SYS project's scripts, which agree; elements and objects: Microsoft's
//! BCD WMI provider documentation.

mod device;
#[cfg(test)]
mod fixture;
mod generate;
mod hive;
mod patch;
mod start;
mod store;
#[cfg(test)]
mod tests;
mod walk;

use model::hint::Hint;
use nt_hive::NtHiveError;

pub use generate::{BOOT_SDI, BOOT_WIM, generate};
pub use patch::{check, script};
pub use start::{Start, Started, Turn};
pub use walk::{Lacking, Lookup, Place, Walk};

/// A boot configuration that cannot be used. An entry is called by its [`Turn`], because people know no GUIDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BcdError {
    #[error("the BCD is not a sound registry hive: {0}")]
    Hive(String),
    /// Some changes are still in the hive's log and not in the hive.
    #[error("the BCD was not closed cleanly")]
    Dirty,
    #[error("the BCD is larger than any boot configuration: {0}")]
    TooLarge(&'static str),
    #[error("the BCD has no {0}")]
    Missing(&'static str),
    #[error("the BCD names no default entry among its {0} loaders")]
    NoDefault(usize),
    #[error("the BCD does not have {0} that it names")]
    NoEntry(Turn),
    #[error("{turn} is {kind}, not an operating system loader")]
    NotLoader { turn: Turn, kind: String },
    #[error("{turn} starts no ramdisk: its device is {device}")]
    NoRamdisk { turn: Turn, device: String },
    #[error("{0} names no loader")]
    NoLoader(Turn),
    #[error("{turn} starts {path}, which is no UEFI program")]
    NotEfi { turn: Turn, path: String },
    #[error("the BCD has no ramdisk options for {0}, and so no boot.sdi")]
    NoOptions(Turn),
    #[error("the ramdisk options of {0} name no boot.sdi")]
    NoSdi(Turn),
    /// An element of a drive's BCD names other partitions.
    #[error(
        "element {element:08x} of object {{{object}}} in the drive's BCD does not name the drive's own partitions"
    )]
    Wrong { object: uuid::Uuid, element: u32 },
}

impl Hint for BcdError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Dirty => "open it once with bcdedit, and make the media anew",
            Self::NoDefault(_) | Self::NoEntry(_) => {
                "name an entry that is there with `bcdedit /store BCD /default {…}`"
            }
            Self::NotLoader { .. } => {
                "take the entry out of the boot sequence, or make a loader of the boot image the default"
            }
            Self::NoRamdisk { .. } => {
                "set device and osdevice of the entry to ramdisk=[boot]\\sources\\boot.wim,{ramdiskoptions} with bcdedit"
            }
            Self::NoLoader(_) | Self::NotEfi { .. } => {
                "set the path of the entry to \\windows\\system32\\boot\\winload.efi with bcdedit; a BCD for BIOS serves no UEFI"
            }
            Self::NoOptions(_) | Self::NoSdi(_) => {
                "set ramdisksdidevice and ramdisksdipath of {ramdiskoptions} with bcdedit"
            }
            Self::Hive(_) | Self::TooLarge(_) => {
                "make the media anew with a BCD that `bcdedit /store BCD /enum all` can read"
            }
            Self::Missing(_) => {
                "make the media anew with the BCD of its boot image: boot manager, loader and ramdisk options"
            }
            Self::Wrong { .. } => return None,
        };
        Some(hint.into())
    }
}

impl From<NtHiveError> for BcdError {
    fn from(error: NtHiveError) -> Self {
        match error {
            NtHiveError::SequenceNumberMismatch { .. } => Self::Dirty,
            other => Self::Hive(other.to_string()),
        }
    }
}
