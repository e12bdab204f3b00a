//! How small and how large the file systems of partitions can be, and how large their clusters are.

use super::Role;
use crate::units::{Bytes, MIB, SectorSize};

/// The least number of clusters of a FAT32 volume. Every driver takes a volume with fewer for FAT16 (Microsoft FAT
/// specification 1.03, page 14); mkfs.fat makes one all the same, with a warning.
pub const FAT32_MIN_CLUSTERS: u64 = 65_525;

/// The largest FAT32 volume that Windows formats ("Maximum Sizes on FAT32 Volumes" in Microsoft's resource kit). No ESP
/// needs more, and with 4096 bytes a cluster it is far from what FAT32 can count.
const FAT32_MAX: Bytes = Bytes(32 << 30);

/// The clusters of an NTFS volume are counted with 32 bits.
const NTFS_CLUSTERS: u64 = 1 << 32;

/// The largest clusters that every NTFS driver reads. Windows 10 has larger ones, for volumes that no drive needs yet.
const NTFS_MAX_CLUSTER: u64 = 64 << 10;

/// Least size of an NTFS volume. mkntfs needs 1 MiB, journal and MFT some more.
pub(super) const NTFS_MIN: Bytes = Bytes::mib(16);

/// Sectors per cluster on an ESP of this size. Clusters have 4096 bytes if the ESP then has enough of them for FAT32,
/// and one sector otherwise.
pub fn esp_cluster_sectors(size: Bytes, sector: SectorSize) -> u64 {
    match sector {
        SectorSize::B512 if size >= Bytes::mib(260) => 8,
        SectorSize::B512 | SectorSize::B4096 => 1,
    }
}

/// Bytes in a cluster of an NTFS volume of this size: 4096, and as much more as it takes to count the clusters with 32
/// bits, so 8192 from 16 TiB on. Windows' own format does the same ("Default cluster size for NTFS" at Microsoft).
pub fn ntfs_cluster(size: Bytes) -> Bytes {
    let mut cluster = 4096;
    while size.0 / cluster >= NTFS_CLUSTERS && cluster < NTFS_MAX_CLUSTER {
        cluster *= 2;
    }
    Bytes(cluster)
}

/// Size of the bitmap of an NTFS volume of this size, which has a bit for each cluster.
pub fn ntfs_bitmap(size: Bytes) -> Bytes {
    Bytes(size.0 / ntfs_cluster(size).0 / 8)
}

/// The least size of a partition of this role.
pub(super) fn least_size(role: Role, sector: SectorSize) -> Bytes {
    match role {
        // Two file allocation tables with an entry of 4 bytes for each cluster, and 32 reserved sectors.
        Role::Esp => {
            let cluster = sector.bytes();
            let clusters = FAT32_MIN_CLUSTERS + 2;
            let table = Bytes(clusters * 4).align_up(sector.bytes()).0;
            Bytes(clusters * cluster + 2 * table + 32 * sector.bytes()).align_up(MIB.0)
        }
        Role::Msr => MIB,
        Role::Windows | Role::Recovery => NTFS_MIN,
    }
}

/// The largest size of a partition of this role, in whole mebibytes. An NTFS volume of 256 TiB would have one cluster of
/// 64 KiB more than 32 bits can count.
pub(super) fn most_size(role: Role) -> Bytes {
    match role {
        Role::Esp => FAT32_MAX,
        Role::Msr => Bytes(u64::MAX).align_down(MIB.0),
        Role::Windows | Role::Recovery => Bytes(NTFS_CLUSTERS * NTFS_MAX_CLUSTER) - MIB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microsoft's table of default cluster sizes, at its edges.
    #[test]
    fn clusters_grow_as_windows_lets_them() {
        const TIB: u64 = 1 << 40;
        let cluster = |size| ntfs_cluster(Bytes(size)).0;
        assert_eq!(cluster(16 << 20), 4 << 10);
        for (from, kib) in [(16 * TIB, 8), (32 * TIB, 16), (64 * TIB, 32), (128 * TIB, 64)] {
            assert_eq!(cluster(from), kib << 10);
            assert_eq!(cluster(from - MIB.0), kib << 9);
        }
        let most = most_size(Role::Windows).0;
        assert!(most / cluster(most) < NTFS_CLUSTERS);
    }
}
