//! The boot sector of a FAT32 volume.

use model::layout::FAT32_MIN_CLUSTERS;
use model::units::Bytes;

/// A boot sector that is not that of a sound FAT32 volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a FAT32 volume: {0}")]
pub struct FatError(String);

/// What a FAT32 boot sector says (Microsoft FAT specification 1.03, pages 9 to 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fat32 {
    /// Bytes per sector.
    pub sector: u64,
    /// Bytes per cluster.
    pub cluster: u64,
    /// Byte offset of the first table.
    pub table: u64,
    /// Byte offset of cluster 2.
    pub data: u64,
    /// Number of clusters.
    pub clusters: u64,
}

impl Fat32 {
    /// Reads a boot sector.
    ///
    /// # Errors
    /// [`FatError`] if it is not that of a valid FAT32 volume of at most `size` bytes.
    pub fn parse(boot: &[u8; 512], size: Bytes) -> Result<Self, FatError> {
        let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let long = |at: usize| short(at) | short(at + 2) << 16;
        let bad = |text: String| Err(FatError(text));
        let (sector, per_cluster) = (short(11), u64::from(boot[13]));
        if boot[510..] != [0x55, 0xaa] || !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return bad("no boot sector".into());
        }
        if !per_cluster.is_power_of_two() || short(22) != 0 {
            return bad("not a FAT32 boot sector".into());
        }
        let (reserved, tables, table_sectors) = (short(14), u64::from(boot[16]), long(36));
        let data = reserved + tables * table_sectors;
        let total = long(32);
        let Some(data_sectors) = total.checked_sub(data) else {
            return bad(format!("{total} sectors cannot hold {data} of tables"));
        };
        let clusters = data_sectors / per_cluster;
        if clusters < FAT32_MIN_CLUSTERS {
            return bad(format!("{clusters} clusters, {FAT32_MIN_CLUSTERS} are the least"));
        }
        if total * sector > size.0 || table_sectors * sector < (clusters + 2) * 4 {
            return bad("its sizes contradict each other".into());
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
