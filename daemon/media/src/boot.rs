//! What the media brings for the first start, and what about it will go wrong later. Runs in the intake worker.
//!
//! Boot manager, BCD and boot.wim are unpacked to a folder of their own and looked at one by one.

use std::fs;
use std::path::{Path, PathBuf};

use formats::{bcd, pe};
use model::code::FindingCode as Code;
use model::digest::Digest;
use model::drive::printable;
use model::failure::Finding;
use model::media::{BootImage, Inventory};
use model::units::Bytes;

use crate::caseless;
use crate::wim::{Flow, Wim};

/// Where boot managers are looked for, the one that would be used first.
const MANAGERS: [&str; 4] = [
    "\\Windows\\Boot\\EFI\\bootmgfw.efi",
    "\\EFI\\Microsoft\\Boot\\bootmgfw.efi",
    "\\EFI\\Boot\\bootx64.efi",
    "\\EFI\\Boot\\bootaa64.efi",
];
const BCD: &str = "\\EFI\\Microsoft\\Boot\\BCD";
const BOOT_WIM: &str = "\\sources\\boot.wim";
const BOOT_SDI: [&str; 2] = ["\\boot\\boot.sdi", "\\sources\\boot.sdi"];

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) image: Option<BootImage>,
    pub(crate) problems: Vec<Finding>,
    pub(crate) warnings: Vec<Finding>,
}

impl Examined {
    fn problem(&mut self, code: Code, detail: impl Into<String>) {
        self.problems.push(Finding::new(code, detail));
    }

    fn warning(&mut self, code: Code, detail: impl Into<String>) {
        self.warnings.push(Finding::new(code, detail));
    }
}

/// A scratch folder that goes away with its value.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Looks at everything the first start needs.
pub(crate) fn examine(wim: &mut Wim, image: u32, inventory: &Inventory) -> Examined {
    let mut found = Examined::default();
    let folder = std::env::temp_dir();
    // The station's ledger may lie on the same file system: what claims to be endless must not fill it.
    let files = MANAGERS.iter().chain([&BCD, &BOOT_WIM]);
    let needed = files.map(|path| wim.size(image, path)).fold(0, u64::saturating_add);
    let free = rustix::fs::statvfs(&folder).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
    if needed > free / 2 {
        let at = folder.display();
        let detail = format!(
            "the boot files take {needed} bytes in {at}, where {free} are free, of which half may be used"
        );
        found.problem(Code::UnpackFailed, detail);
        return found;
    }
    let path = folder.join(format!("prestaged-intake-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    if let Err(error) = fs::create_dir(&path) {
        found.problem(Code::UnpackFailed, format!("cannot unpack to {}: {error}", path.display()));
        return found;
    }
    let scratch = Scratch(path);
    let mut unpack = |path: &str| -> Result<PathBuf, String> {
        wim.extract_paths(image, &scratch.0, &[path]).map_err(|error| error.to_string())?;
        let below = path[1..].replace('\\', "/");
        let place = caseless::find(&scratch.0, &below).map_err(|error| error.to_string())?;
        place.ok_or_else(|| format!("{path} was not unpacked"))
    };
    let mut machine = None;
    match MANAGERS.iter().find_map(|path| unpack(path).ok()).map(fs::read) {
        Some(Ok(program)) => {
            machine = pe::machine(&program);
            judge_signer(&program, &mut found);
        }
        Some(Err(error)) => found.problem(Code::BootFilesMissing, error.to_string()),
        None => {
            let detail = format!("no boot manager: none of {}", MANAGERS.join(", "));
            found.problem(Code::BootFilesMissing, detail);
        }
    }
    match unpack(BCD) {
        Err(_) => {
            found.problem(Code::BcdMissing, format!("no boot configuration: {BCD} is missing"))
        }
        Ok(path) => {
            let data = fs::read(&path).map_err(|error| error.to_string());
            let usable = data.and_then(|data| bcd::check_usable(&data).map_err(|e| e.to_string()));
            if let Err(detail) = usable {
                found.problem(Code::BcdInvalid, detail);
            }
        }
    }
    match unpack(BOOT_WIM).map(|path| read_boot_image(&path)) {
        Err(_) if inventory.boot_wim_bytes.is_none() => {
            found.problem(Code::BootImageMissing, format!("no boot image: {BOOT_WIM} is missing"));
        }
        Err(detail) | Ok(Err(detail)) => found.problem(Code::BootImageDamaged, detail),
        Ok(Ok(None)) => {
            let detail = "boot.wim is no WIM file; nothing could be checked about it";
            found.warning(Code::BootImageUnknown, detail);
        }
        Ok(Ok(Some(boot_image))) => {
            judge_architecture(&boot_image, machine, &mut found);
            found.image = Some(boot_image);
        }
    }
    if !BOOT_SDI.iter().any(|path| wim.has(image, path)) {
        let detail = "no \\boot\\boot.sdi; the boot image cannot be started without one";
        found.warning(Code::BootSdiMissing, detail);
    }
    found
}

/// Extended attributes, which cannot be restored. Windows keeps hints of its own in them, so their loss is no reason to
/// refuse media, but it is one to know.
pub(crate) fn losses(wim: &mut Wim, image: u32) -> Option<Finding> {
    let name = format!("prestaged-losses-{}", std::process::id());
    let scratch = Scratch(std::env::temp_dir().join(name));
    let _ = fs::remove_dir_all(&scratch.0);
    fs::create_dir(&scratch.0).ok()?;
    let losses = wim.losses(image, &scratch.0.join("messages"));
    let lost = losses.into_iter().find(|line| line.starts_with("extended attributes"))?;
    let detail = format!("{lost} cannot be restored: libwim leaves them out");
    Some(Finding::new(Code::ExtendedAttributes, detail))
}

/// What the customer compares with the boot image of the deployed task sequence: they must be the same.
/// `None` if the file is no WIM at all.
fn read_boot_image(path: &Path) -> Result<Option<BootImage>, String> {
    let data = fs::read(path).map_err(|error| error.to_string())?;
    if !data.starts_with(b"MSWIM\0\0\0") {
        return Ok(None);
    }
    let wim = Wim::open(path, |_| Flow::Continue).map_err(|error| error.to_string())?;
    let info = wim.info().map_err(|error| error.to_string())?;
    let index = info.boot_index.max(1);
    let text = |name: &str| wim.property(index, name).and_then(|t| printable(&t));
    let number = |name: &str| text(name).and_then(|t| t.parse::<u32>().ok());
    Ok(Some(BootImage {
        name: text("NAME").unwrap_or_default(),
        // WINDOWS/ARCH is PROCESSOR_ARCHITECTURE_* of winnt.h.
        architecture: number("WINDOWS/ARCH").map(|arch| match arch {
            0 => "x86".to_owned(),
            9 => "amd64".to_owned(),
            12 => "arm64".to_owned(),
            other => format!("unknown ({other})"),
        }),
        build: text("WINDOWS/VERSION/BUILD"),
        sha256: Digest::of(&data),
        size_bytes: Bytes::of(data.len()),
    }))
}

fn judge_architecture(image: &BootImage, machine: Option<u16>, found: &mut Examined) {
    let Some(architecture) = &image.architecture else {
        let detail = "boot.wim does not say for which architecture it is";
        found.warning(Code::BootImageArchitectureUnknown, detail);
        return;
    };
    let manager = match machine {
        Some(pe::MACHINE_AMD64) => "amd64",
        Some(pe::MACHINE_ARM64) => "arm64",
        Some(pe::MACHINE_X86) => "x86",
        _ => return,
    };
    if architecture != manager {
        let detail = format!(
            "boot.wim is for {architecture}, the boot manager for {manager}; make the media with a boot image of the same architecture"
        );
        found.problem(Code::BootImageArchitecture, detail);
    }
}

fn judge_signer(program: &[u8], found: &mut Examined) {
    if pe::is_signed_2011_only(program) {
        let detail = "the boot manager is signed by the certificate of 2011 only, which expires in 2026; computers that trust only that of 2023 will not start it";
        found.warning(Code::BootManager2011, detail);
    }
}
