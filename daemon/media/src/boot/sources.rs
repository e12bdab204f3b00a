//! Where boot files lie in media, and where they go on the EFI system partition.

use formats::pe::Machine;

/// The path of the boot manager on the ESP.
pub(crate) const BOOT_MANAGER: &str = "EFI/Microsoft/Boot/bootmgfw.efi";
/// The path of the BCD, in the media and on the ESP.
pub(crate) const BCD: &str = "EFI/Microsoft/Boot/BCD";

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
