//! Partition layouts as an operator writes them, and the exact sectors that they come to on one geometry.
//!
//! The crate `formats` turns a [`Plan`] into bytes. Rules and figures come from Microsoft's UEFI/GPT partition guidance
//! and from measurements with mkfs.fat and mkntfs: partitions are aligned to 1 MiB and stand in the order ESP, MSR,
//! Windows, Recovery; the Windows partition has the attributes 0, because without a drive letter its first start fails;
//! FAT32 needs at least 65,525 clusters.

mod error;
mod extent;
mod grown;
mod role;
mod volume;

pub use error::LayoutError;
pub use extent::Extent;
pub use grown::Moved;
pub use role::{Attributes, FileSystem, Role};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
pub use volume::{FAT32_MIN_CLUSTERS, esp_cluster_sectors, ntfs_bitmap, ntfs_cluster};
use volume::{least_size, most_size};

use crate::boot::BootManagerRule;
use crate::drive::Geometry;
use crate::identity::Identity;
use crate::ranges::Range;
use crate::units::{Bytes, Lba, MIB, SectorSize};

/// Number of entries in a partition table, as every tool writes it (UEFI 2.10, 5.3.1).
pub const GPT_ENTRY_COUNT: u32 = 128;
/// Size of one entry in bytes.
pub const GPT_ENTRY_BYTES: u32 = 128;

/// One partition of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the name says it")]
pub struct Partition {
    /// The purpose, from which the type GUID follows.
    #[serde(rename = "type")]
    pub role: Role,
    pub size: Extent,
    /// GPT name; if absent, the one that Windows gives to a partition of this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Optional: only the file system that belongs to the role is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<FileSystem>,
    /// Volume label; if absent, [`Role::label`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// GPT attribute bits; if absent, [`Role::attributes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
}

impl Partition {
    /// A partition of this size, with everything else as its role suggests.
    pub fn new(role: Role, size: Extent) -> Self {
        Self { role, size, name: None, file_system: None, label: None, attributes: None }
    }
}

/// Whether the station makes the drive bootable from the media's boot files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// The media must have boot files and a BCD; both are put on the ESP.
    #[default]
    Prestaged,
    /// The content is applied as it is.
    None,
}

/// A named layout: partitions in the order in which they stand on the drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Layout {
    pub name: String,
    #[serde(default)]
    pub boot: Boot,
    /// Which boot manager the ESP gets, if the drive is made bootable.
    #[serde(default)]
    pub boot_manager: BootManagerRule,
    pub partitions: Vec<Partition>,
}

impl Default for Layout {
    /// ESP of 300 MiB (valid FAT32 with sectors of 512 and of 4096 bytes), MSR of 16 MiB, Windows, Recovery of 990 MiB.
    fn default() -> Self {
        let fixed = |role, mib| Partition::new(role, Extent::Fixed(Bytes::mib(mib)));
        Self {
            name: "uefi".into(),
            boot: Boot::Prestaged,
            boot_manager: BootManagerRule::Newest,
            partitions: vec![
                fixed(Role::Esp, 300),
                fixed(Role::Msr, 16),
                Partition::new(Role::Windows, Extent::Rest),
                fixed(Role::Recovery, 990),
            ],
        }
    }
}

/// The GUIDs of the disk and of the partitions that a drive's boot configuration must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// GPT disk GUID.
    pub disk: Uuid,
    /// Partition GUID of the ESP, which holds the boot manager.
    pub esp: Uuid,
    /// Partition GUID of the Windows volume, which holds boot.wim and boot.sdi.
    pub windows: Uuid,
}

/// One partition of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct PlannedPartition {
    pub role: Role,
    pub name: String,
    pub attributes: Attributes,
    pub label: String,
    pub first: Lba,
    /// The last sector that belongs to the partition.
    pub last: Lba,
}

impl PlannedPartition {
    /// Byte offset of the partition on the drive.
    pub fn offset(&self, sector: SectorSize) -> Bytes {
        self.first.offset(sector)
    }

    /// Size of the partition.
    pub fn size(&self, sector: SectorSize) -> Bytes {
        Bytes((self.last.0 - self.first.0 + 1) * sector.bytes())
    }

    /// The bytes of the drive that belong to the partition.
    pub fn range(&self, sector: SectorSize) -> Range {
        Range::at(self.offset(sector), self.size(sector))
    }
}

/// A layout computed for one geometry. Invariants: partitions do not overlap, are in order, start and end on whole
/// mebibytes, and lie between the two partition tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Plan {
    pub geometry: Geometry,
    pub partitions: Vec<PlannedPartition>,
}

impl Plan {
    /// The partition with this role and its index; a layout has at most one of each role.
    pub fn find(&self, role: Role) -> Option<(usize, &PlannedPartition)> {
        self.partitions.iter().enumerate().find(|(_, p)| p.role == role)
    }

    /// The GUIDs that the BCD of a drive with this identity must name; `None` if the plan has no ESP.
    pub fn places(&self, identity: &Identity) -> Option<Places> {
        let guid = |role| {
            let (index, _) = self.find(role)?;
            identity.partitions.get(index).map(|own| own.guid)
        };
        let (esp, windows) = (guid(Role::Esp)?, guid(Role::Windows)?);
        Some(Places { disk: identity.disk, esp, windows })
    }

    /// Size of the protective MBR and the primary GPT at the start of the drive.
    pub fn primary_table(geometry: Geometry) -> Bytes {
        let entries = Bytes(u64::from(GPT_ENTRY_COUNT * GPT_ENTRY_BYTES));
        Bytes(2 * geometry.sector.bytes() + entries.align_up(geometry.sector.bytes()).0)
    }

    /// The bytes of the drive that hold the protective MBR and the primary GPT.
    pub fn primary_range(&self) -> Range {
        Range::at(Bytes(0), Self::primary_table(self.geometry))
    }

    /// The bytes of the drive that hold the backup GPT.
    pub fn backup_range(&self) -> Range {
        let size = self.geometry.size;
        Range::new(size - Self::backup_table(self.geometry), size)
    }

    /// Size of the backup GPT at the end of the drive.
    pub fn backup_table(geometry: Geometry) -> Bytes {
        Bytes(Self::primary_table(geometry).0 - geometry.sector.bytes())
    }
}

impl Layout {
    /// Checks what does not depend on a drive.
    ///
    /// # Errors
    /// [`LayoutError`] names the layout and the partition.
    pub fn check(&self) -> Result<(), LayoutError> {
        let layout = || self.name.clone();
        let order = [Role::Esp, Role::Msr, Role::Windows, Role::Recovery];
        let place = |role| order.iter().position(|r| *r == role);
        for pair in self.partitions.windows(2) {
            if pair[0].role == pair[1].role {
                return Err(LayoutError::Twice { layout: layout(), role: pair[0].role });
            }
            if place(pair[0].role) > place(pair[1].role) {
                return Err(LayoutError::Order(layout()));
            }
        }
        let has = |role| self.partitions.iter().any(|p| p.role == role);
        if !has(Role::Windows) {
            let why = "to which the media is applied";
            return Err(LayoutError::Missing { layout: layout(), role: Role::Windows, why });
        }
        if self.boot == Boot::Prestaged && !has(Role::Esp) {
            let why = "to which boot = \"prestaged\" writes the boot files";
            return Err(LayoutError::Missing { layout: layout(), role: Role::Esp, why });
        }
        let count = self.partitions.iter().filter(|p| p.size == Extent::Rest).count();
        if count != 1 {
            return Err(LayoutError::Rest { layout: layout(), count });
        }
        for partition in &self.partitions {
            self.check_label(partition)?;
            self.check_extras(partition)?;
            if let Extent::Fixed(size) = partition.size {
                let least = least_size(partition.role, SectorSize::B512);
                if size < least {
                    let (size, least) = (size.0, least.0);
                    let role = partition.role;
                    return Err(LayoutError::Small { layout: layout(), role, size, least });
                }
                self.check_most(partition.role, size)?;
            }
        }
        Ok(())
    }

    fn check_most(&self, role: Role, size: Bytes) -> Result<(), LayoutError> {
        let most = most_size(role);
        if size <= most {
            return Ok(());
        }
        let (layout, size, most) = (self.name.clone(), size.0, most.0);
        Err(LayoutError::Large { layout, role, size, most })
    }

    fn check_label(&self, partition: &Partition) -> Result<(), LayoutError> {
        let Some(label) = &partition.label else { return Ok(()) };
        let role = partition.role;
        // FAT: 11 characters of the OEM set; NTFS: 32 UTF-16 units (mkntfs -L).
        let (most, plain) = match role {
            Role::Esp => {
                (11, label.bytes().all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b)))
            }
            Role::Msr => (0, label.is_empty()),
            Role::Windows | Role::Recovery => (32, !label.chars().any(char::is_control)),
        };
        if !plain || label.encode_utf16().count() > most {
            let (layout, label) = (self.name.clone(), label.clone());
            return Err(LayoutError::Label { layout, role, label, most });
        }
        Ok(())
    }

    fn check_extras(&self, partition: &Partition) -> Result<(), LayoutError> {
        let (layout, role) = (self.name.clone(), partition.role);
        if let Some(name) = &partition.name
            && (name.encode_utf16().count() > 36 || name.chars().any(char::is_control))
        {
            return Err(LayoutError::Name { layout, role, name: name.clone() });
        }
        if partition.file_system.is_some_and(|asked| Some(asked) != role.file_system()) {
            return Err(LayoutError::FileSystem { layout, role });
        }
        // Bits 48 to 63 belong to the partition type, here Microsoft's basic data partition. Bit 63 takes the drive
        // letter away, and without it the first start finds neither boot image nor configuration (error 0x80070490).
        const NO_DRIVE_LETTER: u64 = 1 << 63;
        if role == Role::Windows
            && partition.attributes.is_some_and(|bits| bits.0 & NO_DRIVE_LETTER != 0)
        {
            return Err(LayoutError::DriveLetter { layout, role });
        }
        Ok(())
    }

    /// Least size of a drive for this layout with `content` bytes on the Windows volume, and the sum in words. It is a
    /// lower bound: a smaller drive certainly does not suffice.
    pub fn least_drive(&self, content: Bytes, sector: SectorSize) -> (Bytes, String) {
        let mut total = 2 * MIB.0;
        let mut terms = vec![format!("{} tables", Bytes(total))];
        for partition in &self.partitions {
            let least = least_size(partition.role, sector);
            let least = if partition.role == Role::Windows { least.max(content) } else { least };
            let size = match partition.size {
                Extent::Fixed(size) => size,
                Extent::Rest => least,
            };
            let size = size.align_up(MIB.0);
            terms.push(format!("{size} {}", partition.role));
            total = total.saturating_add(size.0);
        }
        (Bytes(total), terms.join(" + "))
    }

    /// Largest size of a drive for this layout, and the sum in words: beyond it the partition that takes the rest
    /// would be too large for its file system.
    pub fn largest_drive(&self) -> (Bytes, String) {
        let mut total = 2 * MIB.0;
        let mut terms = vec![format!("{} tables", Bytes(total))];
        for partition in &self.partitions {
            let size = match partition.size {
                Extent::Fixed(size) => size.align_up(MIB.0),
                Extent::Rest => most_size(partition.role),
            };
            terms.push(format!("{size} {}", partition.role));
            total = total.saturating_add(size.0);
        }
        (Bytes(total), terms.join(" + "))
    }

    /// Computes the sectors of every partition for one geometry.
    ///
    /// # Errors
    /// [`LayoutError::DriveTooSmall`] with the sum, [`LayoutError::Small`] if a partition is too small for its file
    /// system with sectors of this size, [`LayoutError::Large`] if one is too large for it.
    pub fn plan(&self, geometry: Geometry) -> Result<Plan, LayoutError> {
        self.check()?;
        let sector = geometry.sector;
        let head = Plan::primary_table(geometry).align_up(MIB.0);
        let tail = Plan::backup_table(geometry).align_up(MIB.0);
        let mut sizes = Vec::with_capacity(self.partitions.len());
        let mut needed = head.0 + tail.0;
        let mut terms = vec![format!("{} tables", head + tail)];
        for partition in &self.partitions {
            let least = least_size(partition.role, sector);
            let size = match partition.size {
                Extent::Fixed(size) => size.align_up(MIB.0),
                Extent::Rest => least,
            };
            if size < least {
                return Err(LayoutError::Small {
                    layout: self.name.clone(),
                    role: partition.role,
                    size: size.0,
                    least: least.0,
                });
            }
            terms.push(format!("{size} {}", partition.role));
            needed = needed.saturating_add(size.0);
            sizes.push(size);
        }
        let usable = geometry.size.align_down(MIB.0);
        let Some(spare) = usable.0.checked_sub(needed) else {
            return Err(LayoutError::DriveTooSmall {
                layout: self.name.clone(),
                needed,
                arithmetic: terms.join(" + "),
                size: geometry.size.0,
            });
        };
        let mut at = head.0;
        let mut partitions = Vec::with_capacity(sizes.len());
        for (partition, size) in self.partitions.iter().zip(sizes) {
            let size = if partition.size == Extent::Rest { size.0 + spare } else { size.0 };
            self.check_most(partition.role, Bytes(size))?;
            let label =
                partition.label.clone().unwrap_or_else(|| partition.role.label().to_owned());
            partitions.push(PlannedPartition {
                role: partition.role,
                name: partition
                    .name
                    .clone()
                    .unwrap_or_else(|| partition.role.gpt_name().to_owned()),
                attributes: partition.attributes.unwrap_or(partition.role.attributes()),
                label,
                first: Lba(at / sector.bytes()),
                last: Lba((at + size) / sector.bytes() - 1),
            });
            at += size;
        }
        Ok(Plan { geometry, partitions })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::volume::NTFS_MIN;
    use super::*;

    fn geometry(size: u64, sector: SectorSize) -> Geometry {
        Geometry { size: Bytes(size), sector }
    }

    proptest! {
        #[test]
        fn plans_are_aligned_ordered_and_inside(
            size in prop_oneof![0_u64..(4 << 40), 0_u64..(255 << 40)],
            large in any::<bool>(),
            esp in 300_u64..2000,
            recovery in 16_u64..3000,
        ) {
            let sector = if large { SectorSize::B4096 } else { SectorSize::B512 };
            let geometry = geometry(size - size % sector.bytes(), sector);
            let mut layout = Layout::default();
            layout.partitions[0].size = Extent::Fixed(Bytes::mib(esp));
            layout.partitions[3].size = Extent::Fixed(Bytes(recovery * 1_000_000));
            prop_assume!(layout.check().is_ok());
            match layout.plan(geometry) {
                Ok(plan) => {
                    let mut end = Plan::primary_table(geometry).0;
                    for partition in &plan.partitions {
                        let offset = partition.offset(sector).0;
                        prop_assert!(offset >= end, "no overlap");
                        prop_assert_eq!(offset % MIB.0, 0);
                        end = offset + partition.size(sector).0;
                        prop_assert_eq!(end % MIB.0, 0);
                    }
                    prop_assert!(end + Plan::backup_table(geometry).0 <= geometry.size.0);
                    let (_, windows) = plan.find(Role::Windows).unwrap();
                    let used: u64 = plan.partitions.iter().map(|p| p.size(sector).0).sum();
                    prop_assert!(geometry.size.0 - used < 4 * MIB.0, "the rest is all used");
                    prop_assert!(windows.size(sector) >= NTFS_MIN);
                }
                Err(LayoutError::DriveTooSmall { needed, size, .. }) => prop_assert!(needed > size - size % MIB.0),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }

    #[test]
    fn the_largest_drive_is_the_largest_that_can_be_planned() {
        for sector in [SectorSize::B512, SectorSize::B4096] {
            let (most, arithmetic) = Layout::default().largest_drive();
            assert!(arithmetic.starts_with("2.1 MB tables + 314.6 MB esp"), "{arithmetic}");
            assert!(Layout::default().plan(geometry(most.0, sector)).is_ok());
            let error = Layout::default().plan(geometry((most + MIB).0, sector)).unwrap_err();
            assert!(matches!(error, LayoutError::Large { role: Role::Windows, .. }), "{error}");
        }
        let mut layout = Layout::default();
        layout.partitions[0].size = Extent::Fixed(Bytes(40 << 30));
        assert!(matches!(layout.check(), Err(LayoutError::Large { role: Role::Esp, .. })));
    }

    #[test]
    fn the_error_shows_the_arithmetic() {
        let error = Layout::default().plan(geometry(1 << 30, SectorSize::B512)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "layout \"uefi\" needs 1.4 GB (2.1 MB tables + 314.6 MB esp + 16.8 MB msr + 16.8 MB windows \
             + 1.0 GB recovery), the drive has 1.1 GB"
        );
    }

    #[test]
    fn esp_below_fat32_is_refused_with_large_sectors() {
        // 256 MiB gives 65,376 clusters of 4096 bytes, which is FAT16 to every reader (measured with mkfs.fat 4.2).
        let mut layout = Layout::default();
        layout.partitions[0].size = Extent::Fixed(Bytes::mib(256));
        assert!(layout.plan(geometry(8 << 30, SectorSize::B512)).is_ok());
        let error = layout.plan(geometry(8 << 30, SectorSize::B4096)).unwrap_err();
        assert!(matches!(error, LayoutError::Small { role: Role::Esp, .. }), "{error}");
    }

    #[test]
    fn contradictory_layouts_are_refused() {
        let mut twice = Layout::default();
        twice.partitions[3].size = Extent::Rest;
        assert!(matches!(twice.check(), Err(LayoutError::Rest { count: 2, .. })));
        let mut order = Layout::default();
        order.partitions.swap(0, 1);
        assert!(matches!(order.check(), Err(LayoutError::Order(_))));
        let mut bare = Layout::default();
        bare.partitions.retain(|p| p.role != Role::Windows);
        assert!(matches!(bare.check(), Err(LayoutError::Missing { role: Role::Windows, .. })));
        let mut label = Layout::default();
        label.partitions[0].label = Some("much too long".into());
        assert!(matches!(label.check(), Err(LayoutError::Label { .. })));
    }
}
