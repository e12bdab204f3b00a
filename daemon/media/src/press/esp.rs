//! Lays out the files of the EFI system partition.
//!
//! These are the files that bcdboot copies for UEFI (facts from Microsoft's documentation and the BCD-SYS project):
//! `\Windows\Boot\EFI`, `Fonts` and `Resources` go to `\EFI\Microsoft\Boot`. The boot manager goes to
//! `\EFI\BOOT`, under the name for its machine (`BOOTX64.EFI`), as well, because a station cannot write into the NVRAM of a computer that it never sees. The
//! BCD is the media's own. `boot.wim` and `boot.sdi` stay on the Windows volume: the first start looks for its
//! configuration on the volume from which boot.wim was read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use formats::bcd::{self, BcdError};
use model::boot::BootManagerRule;
use model::hint::Hint;
use model::layout::Places;

use super::fits::FitError;
use crate::boot::sources::{BCD, BOOT_MANAGER};
use crate::boot::{Chosen, choose};
use crate::caseless::{CaselessError, find, make, merge};
use crate::tools::{self, ToolError};
use crate::wim::{Wim, WimError};

/// Boot files that are missing or cannot be laid out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EspError {
    #[error("the media has no {0}")]
    Missing(&'static str),
    /// The media's BCD cannot be used.
    #[error(transparent)]
    Bcd(#[from] BcdError),
    /// hivexsh could not edit the BCD.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// libwim could not extract the boot files.
    #[error(transparent)]
    Wim(#[from] WimError),
    /// The files could not be written to the staging folder.
    #[error(transparent)]
    Folder(#[from] CaselessError),
    /// The files do not fit onto the partition.
    #[error(transparent)]
    Fit(#[from] FitError),
}

impl Hint for EspError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some(
                "make the media anew with its boot files, or set boot = \"none\" in the layout"
                    .into(),
            ),
            Self::Bcd(error) => error.hint(),
            Self::Tool(error) => error.hint(),
            Self::Wim(error) => error.hint(),
            Self::Folder(error) => error.hint(),
            Self::Fit(error) => error.hint(),
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CaselessError {
    let path = path.to_owned();
    move |source| CaselessError::Io { path, source }
}

/// Lays out the files of the ESP below `work`, and returns the folder whose contents are to be copied onto it.
///
/// # Errors
/// [`EspError::Missing`] if there is no boot manager or no BCD.
pub fn lay_out(
    wim: &mut Wim,
    image: u32,
    work: &Path,
    rule: BootManagerRule,
) -> Result<PathBuf, EspError> {
    let [managers, raw, out] = ["managers", "media", "esp"].map(|name| work.join(name));
    for folder in [&managers, &raw, &out] {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let Some(Chosen { origin, machine }) = choose(wim, image, &managers, rule) else {
        return Err(EspError::Missing("boot manager that could be taken"));
    };
    for source in origin.sources() {
        if !wim.has(image, source.from) {
            continue;
        }
        wim.extract_paths(image, &raw, &[source.from])?;
        if let Some(found) = find(&raw, &source.from[1..].replace('\\', "/"))? {
            merge(&found, &make(&out, source.to)?, &|name| source.name(name))?;
        }
    }
    if find(&out, BCD)?.is_none() {
        return Err(EspError::Missing("\\EFI\\Microsoft\\Boot\\BCD"));
    }
    // The boot manager lies at both places: where firmware finds it by its name, and where Windows looks for it.
    let chosen = find(&managers, &origin.path()[1..].replace('\\', "/"))?;
    let chosen = chosen.ok_or(EspError::Missing("boot manager"))?;
    let data = fs::read(&chosen).map_err(at(&chosen))?;
    for place in [BOOT_MANAGER.to_owned(), format!("EFI/BOOT/{}", machine.fallback_name())] {
        let (folder, name) = place.rsplit_once('/').unwrap_or(("", &place));
        let folder = make(&out, folder)?;
        let place = find(&folder, name)?.unwrap_or_else(|| folder.join(name));
        fs::write(&place, &data).map_err(at(&place))?;
    }
    Ok(out)
}

/// Makes the BCD below `contents` name the partitions in `places`, then reads it again and checks that it does.
///
/// # Errors
/// [`EspError::Bcd`] if the BCD cannot be used.
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
