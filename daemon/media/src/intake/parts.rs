//! The parts of a split set: which files beside the first part they are, and which of them is damaged.
//!
//! They say in their headers that they belong to it, by GUID and number. Their names must end in `.swm`, or they would be
//! media of their own.

use std::fs;
use std::path::{Path, PathBuf};

use model::code::FindingCode as Code;
use model::failure::{Finding, chain};

use super::{IntakeError, read_failed};
use crate::wim::{Flow, Info, Wim, WimError};

/// Whether a file is named as parts of a split set are.
pub(super) fn is_part(path: &Path) -> bool {
    has_extension(path, "swm")
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// The files of the set whose first part is at `path`, that one first; in words, if one is missing or cannot be read.
pub(crate) fn all(path: &Path, info: &Info) -> Result<Vec<PathBuf>, String> {
    let others = OtherParts::of(path, info).map_err(|error| chain(&error))?;
    if let Some(problem) = others.missing().into_iter().next() {
        return Err(problem.detail.replace("in the inbox", "beside it"));
    }
    Ok(std::iter::once(path.to_owned()).chain(others.files.into_iter().flatten()).collect())
}

/// The other parts of a set, from the second on.
#[derive(Debug, Default)]
pub(super) struct OtherParts {
    /// `None` stands for a part that is not there.
    pub(super) files: Vec<Option<PathBuf>>,
    /// Files that are parts of the set, but not named so, with their numbers.
    misnamed: Vec<(usize, String)>,
    /// Files that are named as parts, but cannot be read.
    unreadable: Vec<String>,
    /// What an operator should know although the set is complete.
    pub(super) warnings: Vec<Finding>,
}

impl OtherParts {
    /// Finds the other parts of the set whose first part is `first`, in the order of their files' names. Of several files
    /// that are the same part, the first is taken that is not damaged.
    pub(super) fn of(first: &Path, info: &Info) -> Result<Self, IntakeError> {
        let count = usize::from(info.parts).saturating_sub(1);
        let mut found = Self::default();
        let mut candidates: Vec<Vec<PathBuf>> = vec![Vec::new(); count];
        for path in if count == 0 { Vec::new() } else { neighbours(first)? } {
            let Ok(other) = Wim::reopen(&path, |_| Flow::Continue).and_then(|wim| wim.info())
            else {
                if is_part(&path) {
                    found.unreadable.push(name(&path));
                }
                continue;
            };
            if other.guid != info.guid || other.parts != info.parts {
                continue;
            }
            let number = usize::from(other.part);
            match number.checked_sub(2).and_then(|place| candidates.get_mut(place)) {
                Some(files) if is_part(&path) => files.push(path),
                Some(_) => found.misnamed.push((number, name(&path))),
                None => {}
            }
        }
        for (number, mut files) in (2..).zip(candidates) {
            let chosen =
                if files.len() > 1 { found.choose(number, &mut files) } else { files.pop() };
            found.files.push(chosen);
        }
        Ok(found)
    }

    /// Chooses one of several files that are the same part, and warns of the others.
    fn choose(&mut self, number: usize, files: &mut Vec<PathBuf>) -> Option<PathBuf> {
        let (sound, damaged): (Vec<_>, Vec<_>) =
            files.drain(..).partition(|file| verify(file).is_ok());
        let mut rest = sound.into_iter().chain(damaged.iter().cloned());
        let chosen = rest.next()?;
        let others: Vec<String> = rest
            .map(|file| {
                let state = if damaged.contains(&file) { ", which is damaged" } else { "" };
                format!("{}{state}", name(&file))
            })
            .collect();
        let detail = format!(
            "part {number} is there more than once: {} is used, not {}",
            name(&chosen),
            others.join(", ")
        );
        let finding = Finding::new(Code::SplitPartCopies, detail);
        self.warnings.push(finding.with_hint("take the copies out of the inbox"));
        Some(chosen)
    }

    /// A problem that names the parts that are not there.
    pub(super) fn missing(&self) -> Option<Finding> {
        let parts = (2_usize..).zip(&self.files);
        let missing: Vec<usize> = parts.filter(|(_, p)| p.is_none()).map(|(n, _)| n).collect();
        if missing.is_empty() {
            return None;
        }
        let numbers: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let mut detail =
            format!("part {} of {} is not in the inbox", listed(&numbers), self.files.len() + 1);
        let misnamed = self.misnamed.iter().filter(|(number, _)| missing.contains(number));
        let misnamed: Vec<String> =
            misnamed.map(|(number, name)| format!("{name} is part {number}")).collect();
        let mut hint = "copy all parts into the inbox, with names that end in .swm";
        if !misnamed.is_empty() {
            detail = format!("{detail} under a name that ends in .swm: {}", listed(&misnamed));
            hint = "rename the parts from the second on so that their names end in .swm";
        }
        if !self.unreadable.is_empty() {
            detail = format!("{detail}; no part can be read in {}", listed(&self.unreadable));
        }
        Some(Finding::new(Code::SplitPartMissing, detail).with_hint(hint))
    }
}

/// More of the same are counted, not named.
const LISTED: usize = 16;

fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(LISTED);
    let named = all[..all.len() - more].join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// The WIM files beside the first part, by name.
fn neighbours(first: &Path) -> Result<Vec<PathBuf>, IntakeError> {
    let folder = first.parent().unwrap_or(Path::new("."));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(read_failed(folder))? {
        let path = entry.map_err(read_failed(folder))?.path();
        let named = is_part(&path) || has_extension(&path, "wim");
        // Opening a FIFO would wait for a writer.
        if path != first && named && fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Verifies the blobs of one part.
fn verify(path: &Path) -> Result<(), WimError> {
    Wim::open(path, |_| Flow::Continue)?.verify()
}

/// The error of the first part that is damaged by itself, from the second on: libwim's own error names the first part of the
/// set only, which alone cannot be verified.
pub(super) fn culprit(parts: &[impl AsRef<Path>]) -> Option<WimError> {
    parts.iter().skip(1).find_map(|part| verify(part.as_ref()).err())
}
