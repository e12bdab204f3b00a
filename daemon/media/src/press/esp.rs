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
use formats::pe::Machine;
use model::boot::BootManagerRule;
use model::hint::Hint;
use model::layout::Places;

use super::fits::FitError;
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

/// The path of the boot manager on the ESP.
pub const BOOT_MANAGER: &str = "EFI/Microsoft/Boot/bootmgfw.efi";
/// The path of the BCD, in the media and on the ESP.
pub const BCD: &str = "EFI/Microsoft/Boot/BCD";

/// Where in media a boot manager can lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// With the Windows that is applied.
    Windows,
    /// With it, too: since 2024 Windows has the boot files that are signed by the certificate of 2023 beside the others.
    WindowsEx,
    /// Where the BCD lies.
    Microsoft,
    /// Where firmware of this machine finds a program by its name.
    Fallback(Machine),
}

impl Origin {
    /// All of them; of two that are as good, the earlier one is taken.
    pub(crate) const ALL: [Self; 7] = [
        Self::Windows,
        Self::WindowsEx,
        Self::Microsoft,
        Self::Fallback(Machine::Amd64),
        Self::Fallback(Machine::Arm64),
        Self::Fallback(Machine::X86),
        Self::Fallback(Machine::Arm),
    ];

    /// The boot manager's path in the media.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Windows => "\\Windows\\Boot\\EFI\\bootmgfw.efi".into(),
            Self::WindowsEx => "\\Windows\\Boot\\EFI_EX\\bootmgfw_EX.efi".into(),
            Self::Microsoft => "\\EFI\\Microsoft\\Boot\\bootmgfw.efi".into(),
            Self::Fallback(machine) => {
                format!("\\EFI\\Boot\\{}", machine.fallback_name().to_lowercase())
            }
        }
    }

    /// The folders that are laid out; of files for one place, that of the later folder is taken. The boot files of the
    /// chosen boot manager win.
    pub(crate) fn sources(self) -> Vec<Source> {
        let [own, windows, windows_ex, fonts, fonts_ex, resources] = SOURCES;
        match self {
            Self::Windows => vec![own, windows, fonts, resources],
            Self::WindowsEx => vec![own, windows, windows_ex, fonts, fonts_ex, resources],
            Self::Microsoft | Self::Fallback(_) => vec![windows, fonts, resources, own],
        }
    }
}

/// A folder of the media with boot files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path in the media.
    pub(crate) from: &'static str,
    /// Where on the ESP its files go.
    pub(crate) to: &'static str,
    /// Whether only files are taken whose names end in `_EX`, and without that.
    pub(crate) is_ex: bool,
}

impl Source {
    const fn new(from: &'static str, to: &'static str, is_ex: bool) -> Self {
        Self { from, to, is_ex }
    }

    /// The name on the ESP of a file with this name; `None` if it is left out.
    pub(crate) fn name(self, name: &str) -> Option<String> {
        if !self.is_ex {
            return Some(name.to_owned());
        }
        let (stem, extension) = name.rsplit_once('.')?;
        let end = stem.len().checked_sub(3)?;
        let ends = stem.get(end..)?.eq_ignore_ascii_case("_EX");
        ends.then(|| format!("{}.{extension}", &stem[..end]))
    }
}

/// Every folder of the media with boot files.
pub(crate) const SOURCES: [Source; 6] = [
    Source::new("\\EFI", "EFI", false),
    Source::new("\\Windows\\Boot\\EFI", "EFI/Microsoft/Boot", false),
    Source::new("\\Windows\\Boot\\EFI_EX", "EFI/Microsoft/Boot", true),
    Source::new("\\Windows\\Boot\\Fonts", "EFI/Microsoft/Boot/Fonts", false),
    Source::new("\\Windows\\Boot\\Fonts_EX", "EFI/Microsoft/Boot/Fonts", true),
    Source::new("\\Windows\\Boot\\Resources", "EFI/Microsoft/Boot/Resources", false),
];

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
