//! Examines the files that the media brings for the first start: are they there, and will they work? Runs in the intake
//! worker.
//!
//! Boot manager, BCD and boot.wim are unpacked into a folder of their own and examined one by one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use formats::{bcd, pe};
use model::code::FindingCode as Code;
use model::digest::Digest;
use model::drive::printable;
use model::failure::{Finding, chain};
use model::media::{BootImage, Inventory};
use model::units::Bytes;
use tempfile::TempDir;

use crate::caseless;
use crate::wim::{self, Flow, Wim};

/// The paths at which a boot manager may lie. A press uses the first that exists.
const MANAGERS: [&str; 4] = [
    "\\Windows\\Boot\\EFI\\bootmgfw.efi",
    "\\EFI\\Microsoft\\Boot\\bootmgfw.efi",
    "\\EFI\\Boot\\bootx64.efi",
    "\\EFI\\Boot\\bootaa64.efi",
];
const BCD: &str = "\\EFI\\Microsoft\\Boot\\BCD";
const BOOT_WIM: &str = "\\sources\\boot.wim";
const BOOT_SDI: [&str; 2] = ["\\boot\\boot.sdi", "\\sources\\boot.sdi"];

/// What was found out about the boot files.
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

/// A scratch folder, with a name that nobody can know beforehand; removed when dropped.
fn scratch() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("prestaged-intake-").tempdir()
}

/// Examines every file that the first start needs.
pub(crate) fn examine(wim: &mut Wim, image: u32, inventory: &Inventory) -> Examined {
    let mut found = Examined::default();
    let folder = std::env::temp_dir();
    if let Err(problem) = check_space(wim, image, &folder) {
        found.problems.push(problem);
        return found;
    }
    let scratch = match scratch() {
        Ok(scratch) => scratch,
        Err(error) => {
            let detail = format!("cannot unpack to {}: {error}", folder.display());
            found.problem(Code::UnpackFailed, detail);
            return found;
        }
    };
    let mut unpack = |path: &str| unpack(wim, image, scratch.path(), path);
    let manager = MANAGERS.iter().find_map(|path| unpack(path).ok());
    let machine = judge_manager(manager.as_deref(), &mut found);
    judge_bcd(unpack(BCD).ok().as_deref(), &mut found);
    match unpack(BOOT_WIM).map(|path| read_boot_image(&path)) {
        Err(_) if inventory.boot_wim_bytes.is_none() => {
            found.problem(Code::BootImageMissing, format!("no boot image: {BOOT_WIM} is missing"));
        }
        Err(detail) | Ok(Err(detail)) => found.problem(Code::BootImageDamaged, detail),
        Ok(Ok(None)) => {
            let detail = "boot.wim is not a WIM file; nothing about it was checked";
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

/// Fails if the boot files would take more than half of the free space in `folder`. The station's ledger may lie on the
/// same file system, and a file that claims to be endless must not fill it.
fn check_space(wim: &mut Wim, image: u32, folder: &Path) -> Result<(), Finding> {
    let files = MANAGERS.iter().chain([&BCD, &BOOT_WIM]);
    let needed = files.map(|path| wim.size(image, path)).fold(0, u64::saturating_add);
    let free = rustix::fs::statvfs(folder).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
    if needed <= free / 2 {
        return Ok(());
    }
    let at = folder.display();
    let detail = format!(
        "the boot files take {needed} bytes in {at}, where {free} are free, of which half may be used"
    );
    Err(Finding::new(Code::UnpackFailed, detail).with_hint(format!("make room in {at}")))
}

/// Unpacks a file of the media into `folder` and returns its path there, or an error in words.
fn unpack(wim: &mut Wim, image: u32, folder: &Path, path: &str) -> Result<PathBuf, String> {
    wim.extract_paths(image, folder, &[path]).map_err(|error| chain(&error))?;
    let below = path[1..].replace('\\', "/");
    let place = caseless::find(folder, &below).map_err(|error| chain(&error))?;
    place.ok_or_else(|| format!("{path} was not unpacked"))
}

/// Judges the unpacked boot manager, and returns the machine that it is for.
fn judge_manager(path: Option<&Path>, found: &mut Examined) -> Option<u16> {
    let Some(path) = path else {
        let detail = format!("no boot manager: none of {}", MANAGERS.join(", "));
        found.problem(Code::BootFilesMissing, detail);
        return None;
    };
    match fs::read(path) {
        Ok(program) => {
            judge_signer(&program, found);
            pe::machine(&program)
        }
        Err(error) => {
            let detail = format!("cannot read the unpacked boot manager: {error}");
            found.problem(Code::BootFilesMissing, detail);
            None
        }
    }
}

/// Judges the unpacked BCD.
fn judge_bcd(path: Option<&Path>, found: &mut Examined) {
    let Some(path) = path else {
        let detail = format!("no boot configuration: {BCD} is missing");
        return found.problem(Code::BcdMissing, detail);
    };
    match fs::read(path) {
        Ok(data) => {
            if let Err(error) = bcd::check_usable(&data) {
                let finding = Finding::of(Code::BcdInvalid, &error);
                found.problems.push(finding.with_hint_of(&error));
            }
        }
        Err(error) => {
            found.problem(Code::BcdInvalid, format!("cannot read the unpacked BCD: {error}"));
        }
    }
}

/// A warning if the media has extended attributes, which cannot be restored. Windows keeps only hints of its own in
/// them, so their loss is no reason to refuse the media, but an operator should know of it.
pub(crate) fn losses(wim: &mut Wim, image: u32) -> Option<Finding> {
    let scratch = scratch().ok()?;
    let losses = wim.losses(image, &scratch.path().join("messages"));
    let lost = losses.into_iter().find(|line| line.starts_with("extended attributes"))?;
    let detail = format!("{lost} cannot be restored: libwim leaves them out");
    Some(Finding::new(Code::ExtendedAttributes, detail))
}

/// Describes the unpacked boot.wim, so that the customer can compare it with the boot image of the deployed task
/// sequence: both must be the same. `None` if the file is not a WIM; an error, in words, if it cannot be read.
fn read_boot_image(path: &Path) -> Result<Option<BootImage>, String> {
    let data =
        fs::read(path).map_err(|error| format!("cannot read the unpacked boot.wim: {error}"))?;
    if !data.starts_with(wim::MAGIC) {
        return Ok(None);
    }
    let wim = Wim::open(path, |_| Flow::Continue).map_err(|error| chain(&error))?;
    let info = wim.info().map_err(|error| chain(&error))?;
    let index = info.boot_index.max(1);
    let text = |name: &str| wim.property(index, name).and_then(|t| printable(&t));
    let number = |name: &str| text(name).and_then(|t| t.parse::<u32>().ok());
    Ok(Some(BootImage {
        name: text("NAME").unwrap_or_default(),
        // WINDOWS/ARCH is one of PROCESSOR_ARCHITECTURE_* (winnt.h).
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
        let detail = format!("boot.wim is for {architecture}, the boot manager for {manager}");
        let hint = "make the media with a boot image of the same architecture";
        found.problems.push(Finding::new(Code::BootImageArchitecture, detail).with_hint(hint));
    }
}

fn judge_signer(program: &[u8], found: &mut Examined) {
    if pe::is_signed_2011_only(program) {
        let detail = "the boot manager is signed by the certificate of 2011 only, which expires in 2026; computers that trust only that of 2023 will not start it";
        let hint = "make the media with a boot manager that is signed by the certificate of 2023";
        found.warnings.push(Finding::new(Code::BootManager2011, detail).with_hint(hint));
    }
}
