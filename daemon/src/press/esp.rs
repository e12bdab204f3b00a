//! What goes onto the EFI system partition.
//!
//! bcdboot's file set for UEFI (facts from Microsoft's documentation and the BCD-SYS project): `\Windows\Boot\EFI`,
//! `Fonts` and `Resources` go to `\EFI\Microsoft\Boot`, and the boot manager once more to
//! `\EFI\BOOT\BOOTX64.EFI`, because a station cannot write the NVRAM of a computer it never sees. The
//! BCD is the media's own. `boot.wim` and `boot.sdi` stay on the Windows volume: the first start looks
//! for its configuration on the volume that boot.wim came from.
//!
//! WIM paths have no case, folders here do: names are matched without regard to ASCII case.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bcd::{self, BcdError, Places};
use crate::tools::{self, ToolError};
use crate::wim::{Wim, WimError};

/// Boot files that are missing or cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// The media lacks something.
    #[error("the media has no {0}")]
    Missing(&'static str),
    /// Two sources disagree whether a name is a folder.
    #[error("{0} is a folder in one place of the media and a file in another")]
    Clash(String),
    /// The media's boot configuration cannot be used.
    #[error(transparent)]
    Bcd(#[from] BcdError),
    /// The boot configuration could not be edited.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// libwim could not extract.
    #[error(transparent)]
    Wim(#[from] WimError),
    /// The staging folder.
    #[error("lay out the boot files in {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> EspError {
    let path = path.to_owned();
    move |source| EspError::Io { path, source }
}

/// Boot manager, as Windows calls it.
pub const BOOT_MANAGER: &str = "EFI/Microsoft/Boot/bootmgfw.efi";
/// Boot configuration, as the media and the ESP call it.
pub const BCD: &str = "EFI/Microsoft/Boot/BCD";

/// Lays out the contents of the ESP below `work` and returns the folder whose contents are to be copied.
///
/// # Errors
/// [`EspError::Missing`] if there is no boot manager or no BCD.
pub fn lay_out(wim: &mut Wim, image: u32, work: &Path) -> Result<PathBuf, EspError> {
    let (raw, out) = (work.join("media"), work.join("esp"));
    for folder in [&raw, &out] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let sources = [
        ("\\EFI", "EFI"),
        ("\\Windows\\Boot\\EFI", "EFI/Microsoft/Boot"),
        ("\\Windows\\Boot\\Fonts", "EFI/Microsoft/Boot/Fonts"),
        ("\\Windows\\Boot\\Resources", "EFI/Microsoft/Boot/Resources"),
    ];
    for (source, target) in sources {
        if !wim.has(image, source) {
            continue;
        }
        wim.extract_paths(image, &raw, &[source])?;
        if let Some(found) = find(&raw, &source[1..].replace('\\', "/"))? {
            merge(&found, &make(&out, target)?)?;
        }
    }
    if find(&out, BCD)?.is_none() {
        return Err(EspError::Missing("\\EFI\\Microsoft\\Boot\\BCD"));
    }
    let fallback = make(&out, "EFI/BOOT")?;
    if let Some(manager) = find(&out, BOOT_MANAGER)? {
        let data = fs::read(&manager).map_err(at(&manager))?;
        let name = fallback_name(&data);
        let place = find(&fallback, name)?.unwrap_or_else(|| fallback.join(name));
        fs::write(&place, data).map_err(at(&place))?;
    } else if find(&fallback, "BOOTX64.EFI")?.is_none()
        && find(&fallback, "BOOTAA64.EFI")?.is_none()
    {
        return Err(EspError::Missing(
            "boot manager: \\Windows\\Boot\\EFI\\bootmgfw.efi or one below \\EFI",
        ));
    }
    Ok(out)
}

/// Makes the BCD below `contents` name these partitions, and reads it again to see that it does.
///
/// # Errors
/// [`EspError::Bcd`] if it cannot be used.
pub fn set_places(contents: &Path, hivexsh: &Path, places: &Places) -> Result<(), EspError> {
    let path = find(contents, BCD)?.ok_or(EspError::Missing("\\EFI\\Microsoft\\Boot\\BCD"))?;
    let script = bcd::script(&fs::read(&path).map_err(at(&path))?, places)?;
    let script_path = contents.with_extension("hivexsh");
    fs::write(&script_path, script).map_err(at(&script_path))?;
    tools::run(
        hivexsh,
        &["-w".as_ref(), "-f".as_ref(), script_path.as_os_str(), path.as_os_str()],
    )?;
    Ok(bcd::check(&fs::read(&path).map_err(at(&path))?, places)?)
}

/// The name under which firmware finds a boot manager without NVRAM entry (UEFI 2.10, 3.5.1.1), by the machine
/// field of its PE header.
fn fallback_name(program: &[u8]) -> &'static str {
    if machine(program) == Some(MACHINE_ARM64) { "BOOTAA64.EFI" } else { "BOOTX64.EFI" }
}

/// `IMAGE_FILE_MACHINE_AMD64`
pub const MACHINE_AMD64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_ARM64`
pub const MACHINE_ARM64: u16 = 0xaa64;
/// `IMAGE_FILE_MACHINE_I386`
pub const MACHINE_X86: u16 = 0x014c;

/// The machine a program is for (PE format, COFF file header); `None` if it is no program.
pub fn machine(program: &[u8]) -> Option<u16> {
    let start = u32::from_le_bytes(program.get(0x3c..0x40)?.try_into().ok()?);
    let header = program.get(usize::try_from(start).ok()?..)?;
    let machine = header.get(4..6)?.try_into().ok()?;
    header.starts_with(b"PE\0\0").then(|| u16::from_le_bytes(machine))
}

/// The entry of `folder` with this name, whatever its case. Links do not count: media can hold one that leads anywhere
/// on the station, and what it names would be read in the media's stead.
fn entry(folder: &Path, name: &str) -> Result<Option<PathBuf>, EspError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at(folder))?,
    };
    for found in entries {
        let found = found.map_err(at(folder))?;
        if found.file_type().map_err(at(folder))?.is_symlink() {
            continue;
        }
        if found.file_name().to_string_lossy().eq_ignore_ascii_case(name) {
            return Ok(Some(found.path()));
        }
    }
    Ok(None)
}

/// The file or folder at a path below `root`, whatever its case.
pub(crate) fn find(root: &Path, path: &str) -> Result<Option<PathBuf>, EspError> {
    let mut place = root.to_owned();
    for name in path.split('/') {
        match entry(&place, name)? {
            Some(next) => place = next,
            None => return Ok(None),
        }
    }
    Ok(Some(place))
}

/// The folder at a path below `root`, created where it is missing.
fn make(root: &Path, path: &str) -> Result<PathBuf, EspError> {
    let mut place = root.to_owned();
    for name in path.split('/') {
        place = match entry(&place, name)? {
            Some(next) => next,
            None => {
                let next = place.join(name);
                fs::create_dir(&next).map_err(at(&next))?;
                next
            }
        };
        if !place.is_dir() {
            return Err(EspError::Clash(path.into()));
        }
    }
    Ok(place)
}

/// Copies the contents of one folder over another. Links are not followed: boot files are plain files, and a
/// link in a media file could point anywhere on the station.
fn merge(from: &Path, to: &Path) -> Result<(), EspError> {
    for found in fs::read_dir(from).map_err(at(from))? {
        let found = found.map_err(at(from))?;
        let kind = found.file_type().map_err(at(&found.path()))?;
        let name = found.file_name().to_string_lossy().into_owned();
        let place = entry(to, &name)?.unwrap_or_else(|| to.join(&name));
        if kind.is_dir() {
            merge(&found.path(), &make(to, &name)?)?;
        } else if kind.is_file() {
            if place.is_dir() {
                return Err(EspError::Clash(name));
            }
            fs::copy(found.path(), &place).map_err(at(&place))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_ignores_case_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(from.join("MICROSOFT/boot")).unwrap();
        fs::create_dir_all(to.join("Microsoft/Boot")).unwrap();
        fs::write(to.join("Microsoft/Boot/bcd"), "old").unwrap();
        fs::write(from.join("MICROSOFT/boot/BCD"), "new").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        merge(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("Microsoft/Boot/bcd")).unwrap(), b"new");
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        assert_eq!(find(&from, "link").unwrap(), None);
        assert_eq!(
            find(&to, "microsoft/BOOT/Bcd").unwrap().unwrap(),
            to.join("Microsoft/Boot/bcd")
        );
    }

    #[test]
    fn the_fallback_name_follows_the_machine() {
        let mut program = vec![0_u8; 0x100];
        program[0x3c] = 0x80;
        program[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(fallback_name(&program), "BOOTX64.EFI");
        program[0x84..0x86].copy_from_slice(&[0x64, 0xaa]);
        assert_eq!(fallback_name(&program), "BOOTAA64.EFI");
        assert_eq!(fallback_name(b"MZ"), "BOOTX64.EFI");
    }
}
