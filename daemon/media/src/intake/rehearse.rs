//! Tries what a press will do with the media, and tells what it would refuse.

use std::path::Path;
use std::time::Duration;

use formats::wim_tree::Tree;
use model::api::audit::Difference;
use model::code::FindingCode as Code;
use model::failure::{Finding, chain};
use model::hint::Hint as _;
use model::layout::Boot;
use model::units::Bytes;

use super::bounded::bounded;
use super::{IntakeTask, Part, names};
use crate::caseless::CaselessError;
use crate::press::build::PressError;
use crate::press::esp::EspError;
use crate::press::fits::FitError;
use crate::press::rehearsal::Rehearsal;
use crate::tools::ToolError;
use crate::wim::{Bare, BareError, Wim};

/// A rehearsal that uses so much processor time without a sign of life never ends. libwim gives one every 500 files at least.
const LONGEST: Duration = Duration::from_secs(30);

/// How many entries libwim shows in the image, and what is free for them.
pub(super) struct Shown {
    pub(super) entries: u64,
    /// Whether nothing else is wrong with the media, so that a press is worth a try.
    pub(super) is_sound: bool,
}

/// The problems that a press of complete media would have, and warnings of what it makes of it.
pub(super) fn findings(
    wim: &mut Wim,
    task: &IntakeTask,
    parts: &[Part],
    shown: &Shown,
) -> Vec<Finding> {
    try_all(wim, task, parts, shown).unwrap_or_else(|finding| vec![finding])
}

/// As [`findings`]; an error is the one problem after which nothing more can be tried.
fn try_all(
    wim: &mut Wim,
    task: &IntakeTask,
    parts: &[Part],
    shown: &Shown,
) -> Result<Vec<Finding>, Finding> {
    let folder = std::env::temp_dir();
    check_space(&folder, Rehearsal::room(shown.entries))?;
    let folder = crate::boot::scratch().map_err(|error| no_room(&folder, &error.to_string()))?;
    let at = folder.path();
    let rehearsal = Rehearsal::of(&task.layout, &task.tools, at)
        .map_err(|error| Finding::of(Code::CheckFailed, &error).with_hint_of(&error))?;
    let bare = at.join("bare.wim");
    let Bare { tree, crowded, kept } = match wim.write_bare(task.image, &bare) {
        Ok(bare) => bare,
        // Whatever else is wrong with the media is the reason.
        Err(BareError::Wim(_)) if !shown.is_sound => return Ok(Vec::new()),
        Err(error) => return Err(damaged(&error)),
    };
    let entries = Bytes::of(tree.entries.len()).0;
    let failed = |error: PressError| refused(at, &error);
    check_space(at, Rehearsal::room(entries).saturating_add(kept))?;
    let volume = rehearsal.volume(entries, kept).map_err(failed)?;
    let capitals = volume.capitals().map_err(|error| Finding::of(Code::CheckFailed, &error))?;
    let upcase = |unit: u16| capitals.get(usize::from(unit)).copied().unwrap_or(unit);
    let mut found = names::findings(&tree, upcase);
    let has_problem = |found: &[Finding]| found.iter().any(|finding| !finding.code.is_warning());
    if !has_problem(&found) && entries != shown.entries {
        let detail = format!(
            "the directory tree has {entries} entries, of which libwim shows {}",
            shown.entries
        );
        found.push(Finding::new(Code::WimDamaged, detail).with_hint("make the media anew"));
    }
    if has_problem(&found) || !shown.is_sound {
        return Ok(found);
    }
    let applied = bounded(LONGEST, {
        let (volume, bare, parts) = (volume.clone(), bare.clone(), parts.to_vec());
        move |signs| {
            let signs = signs.clone();
            volume.apply(&bare, &parts, move || signs.give())
        }
    });
    applied.ok_or_else(|| endless(&tree, &crowded))?.map_err(failed)?;
    let report =
        volume.compare(&bare, parts).map_err(|error| Finding::of(Code::CheckFailed, &error))?;
    if let Some(Difference { path, what }) = report.differences.first() {
        let count = Bytes::of(report.differences.len()).0 + report.more_differences;
        let detail = format!(
            "applied, {count} files or folders would differ from the media, first {path}: {what}"
        );
        let hint = "capture the media without it, or with what NTFS can hold";
        return Err(Finding::new(Code::NotApplicable, detail).with_hint(hint));
    }
    if task.layout.boot == Boot::Prestaged {
        rehearsal.fill_esp(wim, task.image).map_err(failed)?;
    }
    Ok(found)
}

/// The problem with media whose press would never end. libwim does not tell which file it writes.
fn endless(tree: &Tree, crowded: &[usize]) -> Finding {
    let detail = match crowded {
        [] => "libntfs-3g comes to no end with its files and folders".to_owned(),
        [first, rest @ ..] => {
            let path = tree.path(*first);
            let others = match rest.len() {
                0 => String::new(),
                count => format!(" or of {count} more files that have streams or an object ID"),
            };
            format!("libntfs-3g comes to no end when it writes the streams of {path}{others}")
        }
    };
    let hint = "capture the media without the named streams or the object ID of that file";
    Finding::new(Code::NotApplicable, detail).with_hint(hint)
}

/// Fails if more than half of the free space in `folder` would be taken. The station's ledger may lie on the same file
/// system.
fn check_space(folder: &Path, needed: Bytes) -> Result<(), Finding> {
    let free = free(folder);
    if needed.0 <= free / 2 {
        return Ok(());
    }
    let detail = format!(
        "to try a press takes {} bytes, and of {free} free ones half may be used",
        needed.0
    );
    Err(no_room(folder, &detail))
}

fn free(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize))
}

fn no_room(folder: &Path, why: &str) -> Finding {
    let at = folder.display();
    let detail = format!("cannot try a press in {at}: {why}");
    Finding::new(Code::UnpackFailed, detail).with_hint(format!("make room in {at}"))
}

fn damaged(error: &BareError) -> Finding {
    let code = match error {
        BareError::File(_) => Code::UnpackFailed,
        BareError::Wim(_) | BareError::Tree(_) => Code::WimDamaged,
    };
    Finding::of(code, error)
}

/// With fewer free bytes than this, whatever failed is due to that.
const NEARLY_FULL: u64 = 1 << 20;

/// The problem with media of which a press refuses something. What libwim says of it names the file and the reason.
fn refused(folder: &Path, error: &PressError) -> Finding {
    if free(folder) < NEARLY_FULL {
        return no_room(folder, &chain(error));
    }
    let finding = match error {
        PressError::Esp(EspError::Fit(fit @ FitError::Full { .. })) => {
            Finding::of(Code::EspTooSmall, fit)
        }
        PressError::Esp(EspError::Fit(
            fit @ (FitError::Name(_) | FitError::Clash(..) | FitError::Lost(_)),
        )) => Finding::of(Code::EspNamesInvalid, fit),
        PressError::Esp(EspError::Folder(folder @ CaselessError::Name(_))) => {
            Finding::of(Code::EspNamesInvalid, folder)
        }
        PressError::Wim(wim) if wim.said().is_some() => {
            let said = wim.said().unwrap_or_default();
            let hint = "capture the media without it, or with what NTFS can hold";
            return Finding::new(Code::NotApplicable, said).with_hint(hint);
        }
        PressError::Tool(ToolError::Failed { command, status, stderr }) => {
            let name = command.split(' ').next().and_then(|path| path.rsplit('/').next());
            let detail = format!("{} failed ({status}): {stderr}", name.unwrap_or(command));
            Finding::new(Code::NotApplicable, detail)
        }
        other => Finding::of(Code::NotApplicable, other),
    };
    // Where it was tried says nothing to anybody.
    let detail = finding.detail.replace(&format!("{}/", folder.display()), "");
    let finding = Finding { detail, ..finding };
    match error.hint() {
        Some(hint) => finding.with_hint(hint),
        None => finding,
    }
}
