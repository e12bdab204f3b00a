//! Whether the files laid out for the EFI system partition fit onto it, and whether FAT can hold their names.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use fatfs::{Dir, FileSystem, FsOptions, ReadWriteSeek};
use formats::fat32::Fat32;
use model::hint::Hint;
use model::units::Bytes;

/// What does not fit.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    #[error("the boot files take {} bytes on the EFI system partition, which has room for {}", needed.0, room.0)]
    Full { needed: Bytes, room: Bytes },
    #[error("FAT, the file system of the EFI system partition, cannot hold the name {0:?}")]
    Name(String),
    #[error("cannot read the boot files")]
    Read(#[from] io::Error),
}

impl Hint for FitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Full { .. } => Some(
                "give the layout a larger EFI system partition, or capture the media with less below \\EFI"
                    .into(),
            ),
            Self::Name(_) => Some("capture the media without it".into()),
            Self::Read(_) => None,
        }
    }
}

/// The longest name on a FAT volume, in units of UTF-16 (Microsoft FAT specification 1.03, page 27).
const LONGEST: usize = 255;
/// Bytes of an entry in a folder, and units of a long name that each further entry holds.
const SLOT: (u64, u64) = (32, 13);

/// Names of devices, which are no names of files on FAT, whatever follows a dot.
const DEVICES: [&str; 5] = ["CON", "PRN", "AUX", "NUL", "CLOCK$"];

/// Whether FAT holds a name as it is: Windows cuts dots and spaces off its end, and allows some characters in none.
fn is_kept(name: &str) -> bool {
    let never = |letter: char| letter < ' ' || "\"*/:<>?\\|\u{7f}".contains(letter);
    let stem = name.split('.').next().unwrap_or_default();
    !name.contains(never)
        && !name.ends_with(['.', ' '])
        && name.encode_utf16().count() <= LONGEST
        && !DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device))
}

/// Checks that all files below `folder` can be copied onto a volume.
///
/// # Errors
/// [`FitError::Name`] for the first name, else [`FitError::Full`].
pub(super) fn check_before(folder: &Path, volume: &Fat32) -> Result<(), FitError> {
    let needed = room_for(folder, volume.cluster)?;
    let room = Bytes(volume.clusters * volume.cluster);
    if needed > room { Err(FitError::Full { needed, room }) } else { Ok(()) }
}

/// The clusters that a folder takes with everything in it.
fn room_for(folder: &Path, cluster: u64) -> Result<Bytes, FitError> {
    let (size, units) = SLOT;
    // "." and "..", and the label in the root.
    let mut own = 2 * size;
    let mut total = 0_u64;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let shown = || FitError::Name(name.to_string_lossy().into_owned());
        let name = name.to_str().filter(|name| is_kept(name)).ok_or_else(shown)?;
        let length = Bytes::of(name.encode_utf16().count()).0;
        own += size * (1 + length.div_ceil(units));
        let below = if entry.file_type()?.is_dir() {
            room_for(&entry.path(), cluster)?
        } else {
            Bytes(entry.metadata()?.len()).align_up(cluster)
        };
        total = total.saturating_add(below.0);
    }
    Ok(Bytes(total.saturating_add(Bytes(own).align_up(cluster).0)))
}

/// Checks that a volume has every name that stands below `folder`: mcopy replaces what it cannot write.
///
/// # Errors
/// [`FitError::Name`] for the first name that is missing.
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
        let same = copies.iter().find(|copy| copy.file_name().eq_ignore_ascii_case(&name));
        match same {
            None => return Err(FitError::Name(name)),
            Some(copy) if copy.is_dir() => check_names(&entry.path(), &copy.to_dir())?,
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_change_on_fat_are_told() {
        for name in ["BOOTX64.EFI", "a long name.txt", "ünïcödé", "x.y.z", ".hidden", "console"]
        {
            assert!(is_kept(name), "{name}");
        }
        for name in
            ["a:b", "what?", "star*", "dot.", "space ", "tab\t", "con", "NUL.txt", &"n".repeat(256)]
        {
            assert!(!is_kept(name), "{name}");
        }
    }

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
