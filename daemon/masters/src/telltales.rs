//! Finds the places of a master that change when its volumes are used, so that a drive can be recognised later as being
//! as we left it without reading all of it.
//!
//! On NTFS these are the records of all files, the copy of the first of them, the cluster bitmap, the head of the journal
//! and the names in the root folder. Whoever creates, renames, deletes, enlarges or rewrites a file changes a record,
//! and so does whoever sets the volume's dirty flag. An EFI system partition is small, so everything on it counts.

use ntfs::{KnownNtfsFileRecordNumber as Known, Ntfs, NtfsAttributeType, NtfsReadSeek};
use std::io::SeekFrom;

use model::layout::{Plan, PlannedPartition, Role};
use model::manifest::{Keeps, Telltale};
use model::ranges::{Range, RangeSet};
use model::units::{Bytes, MIB};

use crate::allocation::{MapError, Slice, fat_allocated};
use crate::layers::ReadAt;

/// The telltale places of all volumes, in the order of the partitions.
///
/// # Errors
/// [`MapError`] if a file system in the image cannot be read.
pub fn find(image: &dyn ReadAt, plan: &Plan) -> Result<Vec<Telltale>, MapError> {
    let mut all = Vec::new();
    for partition in &plan.partitions {
        let own = partition.range(plan.geometry.sector);
        let mut slice = Slice::new(image, own.start, own.length());
        let places = match partition.role {
            Role::Msr => Vec::new(),
            Role::Esp => {
                let mut files = Vec::new();
                fat_allocated(&mut slice, &mut files)?;
                vec![(Keeps::Files, files)]
            }
            Role::Windows | Role::Recovery => of_ntfs(&mut slice, partition, own.start)?,
        };
        for (keeps, ranges) in places {
            let ranges: RangeSet = ranges.into_iter().collect();
            all.extend(ranges.ranges().iter().map(|range| Telltale {
                offset: range.start,
                length: range.length(),
                role: partition.role,
                keeps,
            }));
        }
    }
    Ok(all)
}

/// Checks that every volume has telltales, each within its partition: without, a drive that was used would look unused.
///
/// # Errors
/// [`MapError::Telltales`] names the partition.
pub fn check(telltales: &[Telltale], plan: &Plan) -> Result<(), MapError> {
    for partition in &plan.partitions {
        let role = partition.role;
        let range = partition.range(plan.geometry.sector);
        let own = || telltales.iter().filter(|telltale| telltale.role == role);
        let least = match role {
            Role::Msr => None,
            Role::Esp => Some(Keeps::Files),
            Role::Windows | Role::Recovery => Some(Keeps::FileTable),
        };
        let told = least.is_none_or(|keeps| own().any(|telltale| telltale.keeps == keeps));
        let fits = |telltale: &Telltale| {
            let end = telltale.offset.0.checked_add(telltale.length.0);
            end.is_some_and(|end| end <= range.end.0) && telltale.offset >= range.start
        };
        if !told || !own().all(fits) {
            return Err(MapError::Telltales { role });
        }
    }
    Ok(())
}

/// The parts of an NTFS volume: a file, one of its attributes, and how much of it counts.
const PARTS: [(Known, NtfsAttributeType, Option<Bytes>, Keeps); 6] = [
    (Known::MFT, NtfsAttributeType::Data, None, Keeps::FileTable),
    (Known::MFT, NtfsAttributeType::Bitmap, None, Keeps::FileTable),
    (Known::MFTMirr, NtfsAttributeType::Data, None, Keeps::Mirror),
    // Every mount by Windows writes its first two pages; the rest is filled in turn from there.
    (Known::LogFile, NtfsAttributeType::Data, Some(MIB), Keeps::Journal),
    (Known::RootDirectory, NtfsAttributeType::IndexAllocation, None, Keeps::RootFolder),
    (Known::Bitmap, NtfsAttributeType::Data, None, Keeps::Bitmap),
];

fn of_ntfs(
    slice: &mut Slice<'_>,
    partition: &PlannedPartition,
    start: Bytes,
) -> Result<Vec<(Keeps, Vec<Range>)>, MapError> {
    let failed = |source| MapError::Ntfs { role: partition.role, source };
    let ntfs = Ntfs::new(slice).map_err(failed)?;
    let step = u64::from(ntfs.cluster_size());
    let mut places = Vec::new();
    for (file, kind, limit, keeps) in PARTS {
        let file = ntfs.file(slice, file as u64).map_err(failed)?;
        let mut attributes = file.attributes();
        while let Some(item) = attributes.next(slice) {
            let item = item.map_err(failed)?;
            let attribute = item.to_attribute().map_err(failed)?;
            // What is resident lies in the file table.
            if attribute.ty().map_err(failed)? != kind || attribute.is_resident() {
                continue;
            }
            let mut value = attribute.value(slice).map_err(failed)?;
            let end = limit.map_or(value.len(), |limit| limit.0.min(value.len()));
            let mut ranges = Vec::new();
            for at in (0..end).step_by(Bytes(step).as_usize()) {
                // One byte into the cluster: at its edge the position may be the end of the run before.
                value.seek(slice, SeekFrom::Start(at + 1)).map_err(failed)?;
                if let Some(position) = value.data_position().value() {
                    ranges.push(Range::at(start + Bytes(position.get() - 1), Bytes(step)));
                }
            }
            places.push((keeps, ranges));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use model::drive::Geometry;
    use model::layout::Layout;
    use model::units::SectorSize;

    use super::*;

    #[test]
    fn every_volume_must_have_telltales_of_its_own() {
        let geometry = Geometry { size: Bytes(8 << 30), sector: SectorSize::B512 };
        let plan = Layout::default().plan(geometry).unwrap();
        let tell = |role, keeps| {
            let (_, partition) = plan.find(role).unwrap();
            let offset = partition.offset(SectorSize::B512);
            Telltale { offset, length: Bytes(4096), role, keeps }
        };
        let good = [
            tell(Role::Esp, Keeps::Files),
            tell(Role::Windows, Keeps::FileTable),
            tell(Role::Recovery, Keeps::FileTable),
        ];
        assert!(check(&good, &plan).is_ok());
        for missing in 0..good.len() {
            let mut some = good.to_vec();
            some.remove(missing);
            assert!(check(&some, &plan).is_err());
        }
        let mut stray = good;
        stray[1].offset = Bytes(0);
        assert!(check(&stray, &plan).is_err());
        stray[1] = Telltale { length: Bytes(u64::MAX), ..good[1] };
        assert!(check(&stray, &plan).is_err());
    }
}
