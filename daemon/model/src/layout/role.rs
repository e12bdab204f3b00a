//! The roles of partitions, and what follows from a role: type GUID, attributes, file system, name, label.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The purpose of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// EFI system partition, FAT32.
    Esp,
    /// Microsoft reserved partition, no file system.
    Msr,
    /// The volume that the prestaged media is applied to, NTFS.
    Windows,
    /// Windows recovery tools, an empty NTFS volume.
    Recovery,
}

impl std::fmt::Display for Role {
    /// The word used in the configuration.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Esp => "esp",
            Self::Msr => "msr",
            Self::Windows => "windows",
            Self::Recovery => "recovery",
        })
    }
}

impl Role {
    /// The role of a partition with this type GUID.
    pub fn of(type_guid: Uuid) -> Option<Self> {
        let all = [Self::Esp, Self::Msr, Self::Windows, Self::Recovery];
        all.into_iter().find(|role| role.type_guid() == type_guid)
    }

    /// The GPT type GUID (Microsoft, `PARTITION_INFORMATION_GPT`; UEFI 2.10, table 5-7).
    pub fn type_guid(self) -> Uuid {
        match self {
            Self::Esp => Uuid::from_u128(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B),
            Self::Msr => Uuid::from_u128(0xE3C9E316_0B5C_4DB8_817D_F92DF00215AE),
            Self::Windows => Uuid::from_u128(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7),
            Self::Recovery => Uuid::from_u128(0xDE94BBA4_06D1_4D40_A16A_BFD50179D6AC),
        }
    }

    /// GPT attribute bits. Those of the recovery partition say that the platform requires it and that it gets no drive
    /// letter.
    pub fn attributes(self) -> Attributes {
        Attributes(match self {
            Self::Recovery => 0x8000_0000_0000_0001,
            Self::Esp | Self::Msr | Self::Windows => 0,
        })
    }

    /// The file system of the partition, if it has one.
    pub fn file_system(self) -> Option<FileSystem> {
        match self {
            Self::Esp => Some(FileSystem::Fat32),
            Self::Msr => None,
            Self::Windows | Self::Recovery => Some(FileSystem::Ntfs),
        }
    }

    /// The partition name that Windows Setup writes.
    pub fn gpt_name(self) -> &'static str {
        match self {
            Self::Esp => "EFI system partition",
            Self::Msr => "Microsoft reserved partition",
            Self::Windows | Self::Recovery => "Basic data partition",
        }
    }

    /// Default volume label; empty if there is no file system.
    pub fn label(self) -> &'static str {
        match self {
            Self::Esp => "SYSTEM",
            Self::Msr => "",
            Self::Windows => "Windows",
            Self::Recovery => "Recovery",
        }
    }
}

/// A file system that the station makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum FileSystem {
    Fat32,
    Ntfs,
}

/// GPT attribute bits; written as text in hexadecimal: `0x8000000000000001`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Attributes(pub u64);

impl TryFrom<String> for Attributes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bits = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        bits.map(Self).ok_or_else(|| {
            format!(
                "{text:?} is not a hexadecimal number of 64 bits such as \"0x8000000000000001\""
            )
        })
    }
}

impl From<Attributes> for String {
    fn from(bits: Attributes) -> String {
        format!("{:#x}", bits.0)
    }
}
