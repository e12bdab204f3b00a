//! Whether the files laid out for the EFI system partition fit onto it, and whether FAT can hold their names.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use fatfs::{Dir, FileSystem, FsOptions, ReadWriteSeek};
use formats::fat32::Fat32;
use model::hint::Hint;
use model::layout::esp_cluster_sectors;
use model::units::{Bytes, SectorSize};

use super::fat_names;

/// What does not fit.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// `largest` are the largest files with their sizes, `enough` is a size of the partition that would do.
    #[error("the boot files take {} bytes on the EFI system partition, which has room for {}; the largest are {}", needed.0, room.0, largest.join(", "))]
    Full { needed: Bytes, room: Bytes, largest: Vec<String>, enough: Bytes },
    #[error("FAT, the file system of the EFI system partition, cannot hold the name {0:?}")]
    Name(String),
    #[error(
        "readers of FAT, the file system of the EFI system partition, may take {0:?} and {1:?} in one folder for one name"
    )]
    Clash(String, String),
    #[error("mcopy cannot write the name {0:?} onto the EFI system partition")]
    Lost(String),
    #[error("cannot read the boot files")]
    Read(#[from] io::Error),
}

impl Hint for FitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Full { enough, .. } => Some(format!(
                "set the size of the esp partition in [[layout]] to {} MiB or more, or capture the media without the largest",
                enough.0 >> 20
            )),
            Self::Clash(..) => Some("capture the media with only one of them".into()),
            Self::Name(_) | Self::Lost(_) => Some("capture the media without it".into()),
            Self::Read(_) => None,
        }
    }
}

/// Bytes of an entry in a folder, and units of a long name that each further entry holds.
const SLOT: (u64, u64) = (32, 13);

/// How many of the largest files are named.
const NAMED: usize = 3;
/// A table entry of FAT32, of which there are two, and what lies before the tables.
const TABLES: (u64, u64) = (2 * 4, 32 << 10);

/// Checks that all files below `folder` can be copied onto a volume of this size.
///
/// # Errors
/// [`FitError::Name`] or [`FitError::Clash`] for the first name, else [`FitError::Full`].
pub(super) fn check_before(folder: &Path, volume: &Fat32) -> Result<(), FitError> {
    let needed = room_for(folder, volume.cluster)?;
    let room = Bytes(volume.clusters * volume.cluster);
    if needed <= room {
        return Ok(());
    }
    let mut files = Vec::new();
    list(folder, "", &mut files)?;
    files.sort();
    let largest = files.iter().rev().take(NAMED);
    let largest: Vec<String> =
        largest.map(|(size, path)| format!("{path} ({size} bytes)")).collect();
    Err(FitError::Full { needed, room, largest, enough: enough(folder)? })
}

/// The size of an EFI system partition, in whole mebibytes, onto which everything below `folder` fits. The larger of the
/// cluster sizes that it may have is taken, as it is the one that wastes more.
fn enough(folder: &Path) -> Result<Bytes, FitError> {
    let mut size = Bytes(0);
    for mib in [1, 1 << 20] {
        let sector = SectorSize::B512;
        let cluster = esp_cluster_sectors(Bytes::mib(mib), sector) * sector.bytes();
        let data = room_for(folder, cluster)?.0;
        let (each, before) = TABLES;
        size = size.max(Bytes(data + data / cluster * each + before).align_up(1 << 20));
    }
    Ok(size)
}

/// Every file below a folder, by its path on the volume.
fn list(folder: &Path, at: &str, files: &mut Vec<(u64, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{at}\\{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &path, files)?;
        } else {
            files.push((entry.metadata()?.len(), path));
        }
    }
    Ok(())
}

/// The clusters that a folder takes with everything in it.
fn room_for(folder: &Path, cluster: u64) -> Result<Bytes, FitError> {
    let (size, units) = SLOT;
    // "." and "..", and the label in the root.
    let mut own = 2 * size;
    let mut total = 0_u64;
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let shown = || FitError::Name(name.to_string_lossy().into_owned());
        let name = name.to_str().filter(|name| fat_names::is_kept(name)).ok_or_else(shown)?;
        names.push(name.to_owned());
        let length = Bytes::of(name.encode_utf16().count()).0;
        own += size * (1 + length.div_ceil(units));
        let below = if entry.file_type()?.is_dir() {
            room_for(&entry.path(), cluster)?
        } else {
            Bytes(entry.metadata()?.len()).align_up(cluster)
        };
        total = total.saturating_add(below.0);
    }
    names.sort();
    if let Some((first, second)) = fat_names::clash(&names) {
        return Err(FitError::Clash(first.to_owned(), second.to_owned()));
    }
    Ok(Bytes(total.saturating_add(Bytes(own).align_up(cluster).0)))
}

/// Checks that a volume has every file that stands below `folder`, under its name and with its length, and no other: mcopy
/// replaces what it cannot write.
///
/// # Errors
/// [`FitError::Lost`] for the first name that is missing.
pub(super) fn check_after(folder: &Path, volume: &Path) -> Result<(), FitError> {
    let volume =
        FileSystem::new(File::open(volume)?, FsOptions::new().update_accessed_date(false))?;
    check_names(folder, &volume.root_dir())
}

fn check_names<T: ReadWriteSeek>(folder: &Path, copy: &Dir<'_, T>) -> Result<(), FitError> {
    let copies: Vec<_> = copy.iter().collect::<io::Result<_>>()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = fat_names::folded(&name);
        let same = copies.iter().find(|copy| fat_names::folded(&copy.file_name()) == wanted);
        let length = entry.metadata()?.len();
        match same {
            Some(copy) if copy.is_dir() => check_names(&entry.path(), &copy.to_dir())?,
            Some(copy) if copy.len() == length => {}
            Some(_) | None => return Err(FitError::Lost(name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("EFI")).unwrap();
        fs::write(folder.path().join("EFI/a"), [0; 513]).unwrap();
        fs::write(folder.path().join("EFI/empty"), []).unwrap();
        let volume = |clusters| Fat32 { sector: 512, cluster: 512, table: 0, data: 0, clusters };
        // Two folders, and a file of two clusters.
        assert!(check_before(folder.path(), &volume(4)).is_ok());
        let error = check_before(folder.path(), &volume(3)).unwrap_err();
        assert!(error.to_string().contains("take 2048 bytes"), "{error}");
    }
}
