//! The boot sector of a FAT32 volume.

use model::layout::FAT32_MIN_CLUSTERS;
use model::units::Bytes;

/// The bytes are not the boot sector of a sound FAT32 volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a FAT32 volume: {0}")]
pub struct FatError(String);

/// The contents of a FAT32 boot sector (Microsoft FAT specification 1.03, pages 9 to 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fat32 {
    /// Size of a sector in bytes.
    pub sector: u64,
    /// Size of a cluster in bytes.
    pub cluster: u64,
    /// Byte offset of the first file allocation table on the volume.
    pub table: u64,
    /// Byte offset of cluster 2, the first one, on the volume.
    pub data: u64,
    /// Number of clusters.
    pub clusters: u64,
}

impl Fat32 {
    /// Reads a boot sector.
    ///
    /// # Errors
    /// [`FatError`] if the bytes are not the boot sector of a sound FAT32 volume of at most `size` bytes.
    pub fn parse(boot: &[u8; 512], size: Bytes) -> Result<Self, FatError> {
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| short(at) | short(at + 2) << 16;
        let bad = |text: String| Err(FatError(text));
        let (sector, per_cluster) = (short(11), u64::from(boot[13]));
        if boot[510..] != [0x55, 0xaa] || !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return bad("its first sector is no boot sector".into());
        }
        if !per_cluster.is_power_of_two() || short(22) != 0 {
            return bad("its boot sector is not that of FAT32".into());
        }
        let (reserved, tables, table_sectors) = (short(14), u64::from(boot[16]), long(36));
        let data = reserved + tables * table_sectors;
        let total = long(32);
        let Some(data_sectors) = total.checked_sub(data) else {
            return bad(format!("it has {total} sectors, but its tables need {data}"));
        };
        let clusters = data_sectors / per_cluster;
        if clusters < FAT32_MIN_CLUSTERS {
            return bad(format!("it has {clusters} clusters, but needs {FAT32_MIN_CLUSTERS}"));
        }
        if total * sector > size.0 || table_sectors * sector < (clusters + 2) * 4 {
            return bad("the sizes in its boot sector contradict each other".into());
        }
        Ok(Self {
            sector,
            cluster: per_cluster * sector,
            table: reserved * sector,
            data: data * sector,
            clusters,
        })
    }
}
