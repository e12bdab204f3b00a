//! Examines the files that the media brings for the first start: are they there, are they what they must be, and will
//! the first start work? Runs in the intake worker.
//!
//! Boot managers, BCD and boot images are unpacked into a folder of their own and examined one by one. What a computer
//! will do with them is followed in the BCD ([`formats::bcd`]).

mod image;
mod manager;
pub(crate) mod sources;
mod start;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use formats::bcd::Start;
use formats::pe::Machine;
pub(crate) use manager::Chosen;
use model::boot::BootManagerRule;
use model::code::FindingCode as Code;
use model::failure::{Finding, chain};
use model::media::BootImage;
use tempfile::TempDir;

use crate::caseless;
use crate::wim::{Entry, Thing, Wim};
use sources::{Origin, SOURCES, Source};

const BCD: &str = "\\EFI\\Microsoft\\Boot\\BCD";
/// The boot image that is examined where the BCD does not tell which.
const BOOT_WIM: &str = "\\sources\\boot.wim";
/// Boot managers and boot configurations are smaller by far.
const LARGEST: u64 = 64 << 20;

/// What was found out about the boot files.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) image: Option<BootImage>,
    /// What a computer will do with them, in words.
    pub(crate) first_start: Vec<String>,
    /// The first sentence of that.
    boot_manager: Option<String>,
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
pub(crate) fn scratch() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("prestaged-intake-").tempdir()
}

/// Examines every file that the first start needs.
pub(crate) fn examine(wim: &mut Wim, image: u32, rule: BootManagerRule) -> Examined {
    let mut found = Examined::default();
    let scratch = match scratch() {
        Ok(scratch) => scratch,
        Err(error) => {
            let folder = std::env::temp_dir();
            let detail = format!("cannot unpack to {}: {error}", folder.display());
            found.problem(Code::UnpackFailed, detail);
            return found;
        }
    };
    let mut media = Unpacker { wim, image, folder: scratch.path() };
    if let Err(problem) = check_space(&mut media) {
        found.problems.push(problem);
        return found;
    }
    judge_reparse_points(&mut media, &mut found);
    let machine = manager::judge(&mut media, rule, &mut found).map(|chosen| chosen.machine);
    let start = read_bcd(&mut media, &mut found);
    start::follow(&mut media, start.as_ref(), machine, &mut found);
    found
}

/// The boot manager that drives get of this media; `None` if it has none that could be taken. `folder` is for unpacked
/// files.
pub(crate) fn choose(
    wim: &mut Wim,
    image: u32,
    folder: &Path,
    rule: BootManagerRule,
) -> Option<Chosen> {
    let mut found = Examined::default();
    manager::judge(&mut Unpacker { wim, image, folder }, rule, &mut found)
}

/// An image of media, and the folder into which its files are unpacked.
struct Unpacker<'a> {
    wim: &'a mut Wim,
    image: u32,
    folder: &'a Path,
}

/// A file that could not be unpacked.
enum NotUnpacked {
    /// The media has no file there.
    Missing,
    /// In words.
    Failed(Finding),
}

impl Unpacker<'_> {
    fn thing(&mut self, path: &str) -> Option<Thing> {
        let found = self.wim.thing(self.image, path);
        found.or_else(|| {
            let long = self.wim.long(self.image, path)?;
            self.wim.thing(self.image, &long)
        })
    }

    /// Unpacks a file and returns its path.
    fn unpack(&mut self, path: &str) -> Result<PathBuf, NotUnpacked> {
        let Some(Thing::File(size)) = self.thing(path) else { return Err(NotUnpacked::Missing) };
        let long =
            if self.wim.has(self.image, path) { None } else { self.wim.long(self.image, path) };
        let path = long.as_deref().unwrap_or(path);
        let at = format!("{}/", self.folder.display());
        let failed = |words: String| {
            NotUnpacked::Failed(Finding::new(Code::UnpackFailed, words.replace(&at, "")))
        };
        check_room(path, size, self.folder).map_err(NotUnpacked::Failed)?;
        self.wim
            .extract_paths(self.image, self.folder, &[path])
            .map_err(|error| failed(chain(&error)))?;
        let below = path[1..].replace('\\', "/");
        let place = caseless::find(self.folder, &below).map_err(|error| failed(chain(&error)))?;
        place.ok_or_else(|| failed(format!("{path} was not unpacked")))
    }

    /// The bytes of a file that is small, as such files are. A file that is not has this problem.
    fn read(&mut self, path: &str, code: Code) -> Result<Vec<u8>, Finding> {
        let problem = |words: String| Finding::new(code, format!("{path} cannot be used: {words}"));
        if let Some(Thing::File(size @ LARGEST..)) = self.thing(path) {
            return Err(problem(format!("it has {size} bytes, more than any such file")));
        }
        match self.unpack(path) {
            Ok(place) => fs::read(place).map_err(|error| problem(error.to_string())),
            Err(NotUnpacked::Missing) => Err(problem("it is no file".into())),
            Err(NotUnpacked::Failed(finding)) => Err(finding),
        }
    }
}

/// Fails if a file would take more than half of the free space in `folder`. The station's ledger may lie on the same file
/// system, and a file that claims to be endless must not fill it.
fn check_room(path: &str, needed: u64, folder: &Path) -> Result<(), Finding> {
    let free = rustix::fs::statvfs(folder).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
    if needed <= free / 2 {
        return Ok(());
    }
    let at = std::env::temp_dir();
    let at = at.display();
    let detail = format!(
        "{path} takes {needed} bytes in {at}, where {free} are free, of which half may be used"
    );
    Err(Finding::new(Code::UnpackFailed, detail).with_hint(format!("make room in {at}")))
}

/// Fails if there is no room for the files that media is known to have.
fn check_space(media: &mut Unpacker<'_>) -> Result<(), Finding> {
    let managers = Origin::ALL.iter().map(|origin| origin.path());
    for path in managers.chain([BCD.to_owned(), BOOT_WIM.to_owned()]) {
        if let Some(Thing::File(size)) = media.thing(&path) {
            check_room(&path, size, media.folder)?;
        }
    }
    Ok(())
}

/// The tag of files that Windows has compressed (CompactOS, `compact /exe`).
const WOF: u32 = 0x8000_0017;

/// Boot files must be plain files. Of what Windows has compressed, or put elsewhere, the ESP would get zeros.
fn judge_reparse_points(media: &mut Unpacker<'_>, found: &mut Examined) {
    let (mut first, mut others) = (None, 0);
    for Source { from: source, .. } in SOURCES {
        media.wim.below(media.image, source, |entry: &Entry<'_>| {
            let Thing::Reparse(tag) = Thing::of(entry) else { return };
            if first.is_none() {
                first = Some((entry.path.replace('/', "\\"), tag));
            } else {
                others += 1;
            }
        });
    }
    found.problems.extend(first.map(|(path, tag)| behind_reparse_point(&path, tag, others)));
}

/// The problem that a boot file is a reparse point, and so many others as well.
fn behind_reparse_point(path: &str, tag: u32, others: u64) -> Finding {
    let others = match others {
        0 => String::new(),
        count => format!(", and so are {count} others of the boot files"),
    };
    let (what, hint) = match tag {
        WOF => (
            "compressed by Windows (CompactOS, WOF)".into(),
            "uncompress the boot files before the media is captured: `compact /u /exe`, or `Compact.exe /CompactOS:never`",
        ),
        tag => (
            format!("a reparse point ({tag:#x})"),
            "capture the media with plain files in their place",
        ),
    };
    let detail = format!("{path} is {what}, so its contents cannot be laid out{others}");
    Finding::new(Code::BootFilesCompressed, detail).with_hint(hint)
}

/// Reads the BCD.
fn read_bcd(media: &mut Unpacker<'_>, found: &mut Examined) -> Option<Start> {
    match media.thing(BCD) {
        Some(Thing::File(_)) => {}
        // It was told of among the reparse points.
        Some(Thing::Reparse(WOF)) => return None,
        Some(Thing::Folder | Thing::Reparse(_)) | None => {
            let detail = format!("no boot configuration: {BCD} is missing");
            let hint =
                "make the media with its boot configuration, or set boot = \"none\" in the layout";
            found.problems.push(Finding::new(Code::BcdMissing, detail).with_hint(hint));
            return None;
        }
    }
    let data = match media.read(BCD, Code::BcdInvalid) {
        Ok(data) => data,
        Err(problem) => {
            found.problems.push(problem);
            return None;
        }
    };
    match Start::of(&data) {
        Ok(start) => Some(start),
        Err(error) => {
            found.problems.push(Finding::of(Code::BcdInvalid, &error).with_hint_of(&error));
            None
        }
    }
}

/// A warning if the media has extended attributes, which cannot be restored. Windows keeps only hints of its own in
/// them, so their loss is no reason to refuse the media, but an operator should know of it.
pub(crate) fn losses(wim: &mut Wim, image: u32) -> Option<Finding> {
    let scratch = scratch().ok()?;
    let losses = wim.losses(image, &scratch.path().join("no-volume"));
    let lost = losses.into_iter().find(|line| line.starts_with("extended attributes"))?;
    let detail = format!("{lost} cannot be restored: libwim leaves them out");
    Some(Finding::new(Code::ExtendedAttributes, detail))
}

/// The machine of a boot manager, if it is known, and a boot image must fit each other.
fn judge_architecture(image: &BootImage, machine: Option<Machine>, found: &mut Examined) {
    let Some(architecture) = &image.architecture else {
        let detail = "boot.wim does not say for which architecture it is";
        found.warning(Code::BootImageArchitectureUnknown, detail);
        return;
    };
    let Some(manager) = machine.map(Machine::architecture) else { return };
    if architecture != manager {
        let detail = format!("boot.wim is for {architecture}, the boot manager for {manager}");
        let hint = "make the media with a boot image of the same architecture";
        found.problems.push(Finding::new(Code::BootImageArchitecture, detail).with_hint(hint));
    }
}
