//! `media create` and `media split`: media is made by a worker, which is the daemon's program, and no daemon runs.
//!
//! The worker may write into one folder, which lies hidden beside the result. What it has made there gets its name by a
//! rename, here, when everything about it is right. A later run clears what a killed one has left.

mod folder;
mod worker;

use std::path::{Path, PathBuf};

use config::recipe;
use model::composition::{Create, Created, Extent, Parts, Product, RESULT, Split};
use model::failure::chain;
use model::units::Bytes;
use model::words::plural;

use super::arguments::{CreateArguments, SplitArguments};
use super::output::{Output, narrow};
use super::{CommandError, exit, usage};
pub(super) use folder::WorkFolder;
pub(super) use worker::{Ends, Run};

/// Makes media by a recipe.
pub(super) async fn create(out: &Output, arguments: &CreateArguments) -> Result<u8, CommandError> {
    let CreateArguments { recipe, out: target, check, replace, by } = arguments;
    let parts = recipe::load(recipe).map_err(|error| CommandError::of(exit::USAGE, &error))?;
    let target = absolute(target)?;
    if !check && !replace {
        refuse_existing(&target, "name another file, or give --replace")?;
    }
    let ends = worker::Ends::watched()?;
    let folder = WorkFolder::beside(&target)?;
    let extent = if *check { Extent::Check } else { Extent::Whole };
    let search = config::Tools::default().search;
    let task = Create { parts, folder: folder.path().to_owned(), search, extent };
    let name = name_of(&target);
    let program = by.program.as_deref();
    let run = Run { program, task: "create", name: &name, doing: "making", bar: !out.json };
    let created: Created = run.of(&task, Some(ends)).await?;
    if *check {
        out.print(&created, |terminal| narrow(&checked(&created, &target), terminal));
        return Ok(exit::DONE);
    }
    folder.give(&folder.path().join(RESULT), &target, *replace)?;
    out.print(&created, |terminal| made(&created, &target, terminal));
    Ok(exit::DONE)
}

/// Splits media into parts.
pub(super) async fn split(out: &Output, arguments: &SplitArguments) -> Result<u8, CommandError> {
    let SplitArguments { file, out: target, size, by } = arguments;
    let (wim, target) = (absolute(file)?, absolute(target)?);
    let stem = target.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let named = target.extension().is_some_and(|extension| extension == "swm");
    let Some(stem) = stem.filter(|_| named) else {
        return Err(usage("the first part's name must end in .swm: --out /media/stick/media.swm"));
    };
    let ends = worker::Ends::watched()?;
    let folder = WorkFolder::beside(&target)?;
    let place = target.parent().unwrap_or(Path::new("/")).to_owned();
    let another = "name another file with --out, or remove this one";
    refuse_existing(&target, another)?;
    let task = Split { wim, folder: folder.path().to_owned(), stem, size: *size };
    let name = name_of(&target);
    let program = by.program.as_deref();
    let run = Run { program, task: "split", name: &name, doing: "splitting into", bar: !out.json };
    let parts: Parts = run.of(&task, Some(ends)).await?;
    parts.files.iter().try_for_each(|part| refuse_existing(&place.join(part), another))?;
    // The first part last: without it the others are no media.
    for part in parts.files.iter().rev() {
        folder.give(&folder.path().join(part), &place.join(part), false)?;
    }
    out.print(&parts, |_| {
        let count = plural(parts.files.len(), "part", "parts");
        format!("{count} in {}, {}: {}", place.display(), parts.size_bytes, parts.files.join(", "))
    });
    Ok(exit::DONE)
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| usage(format!("{}: {error}", path.display())))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn refuse_existing(target: &Path, hint: &str) -> Result<(), CommandError> {
    if target.symlink_metadata().is_err() {
        return Ok(());
    }
    let text = format!("{} is there already; nothing was written", target.display());
    Err(CommandError::new(exit::REFUSED, text).with_hint(hint))
}

fn product(created: &Created) -> &'static str {
    match created.product {
        Product::Recomposed => {
            "recomposed: its first start goes on with the site of Configuration Manager"
        }
        Product::StandAlone => {
            "stand-alone: its first start runs its boot image, without Configuration Manager"
        }
    }
}

/// What a check says of media that could be made.
fn checked(created: &Created, target: &Path) -> String {
    let mut text = format!(
        "{} can be made, with {} more, {}; it needs up to {} there\n",
        name_of(target),
        plural(created.added_files, "file", "files"),
        created.added_bytes,
        created.needed_bytes
    );
    text += &format!("{}\n", product(created));
    let lines = created.replaced.iter().map(|path| format!("{path} gives way"));
    lines.chain(created.notes.iter().cloned()).for_each(|line| text += &format!("{line}\n"));
    text.trim_end().to_owned()
}

/// What is said of media that was made.
fn made(created: &Created, target: &Path, terminal: Option<usize>) -> String {
    let digest = created.sha256.map(|digest| digest.to_string()).unwrap_or_default();
    let Bytes(bytes) = created.size_bytes;
    let mut lines = vec![
        format!("{} is made and verified: {bytes} bytes", target.display()),
        format!("SHA-256 {digest}"),
        product(created).to_owned(),
        format!("{} added, {}", plural(created.added_files, "file", "files"), created.added_bytes),
    ];
    lines.extend(created.packages.iter().map(|package| {
        let files = plural(package.files, "file", "files");
        format!("{} {}: {files}, {}", package.kind, package.id, package.bytes)
    }));
    lines.extend(created.replaced.iter().map(|path| format!("{path} gave way to what was added")));
    lines.extend(created.notes.iter().cloned());
    lines.extend(created.warnings.iter().map(|warning| format!("warning: {}", warning.sentence())));
    let lines: Vec<String> = lines.iter().map(|line| narrow(line, terminal)).collect();
    lines.join("\n")
}

/// An error of the system about a path.
fn failed(doing: &str, path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::new(exit::FAILED, format!("cannot {doing} {}: {}", path.display(), chain(error)))
}
