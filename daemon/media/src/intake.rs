//! Intake reads a WIM from end to end before anything in it is believed. Runs in a child process.
//!
//! One thread computes the SHA-256 of the files; at the same time libwim checks the integrity table and decompresses
//! every blob to compare its SHA-1. The directory tree then shows what the media holds and what would go wrong later.

mod bounded;
mod lost;
pub(crate) mod names;
pub(crate) mod packages;
pub(crate) mod parts;
mod rehearse;
mod tree;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use masters::stamp;
use model::api::line::Line;
use model::code::{FailureCode, FindingCode as Code};
use model::digest::Digest;
use model::drive::printable;
use model::failure::{Failure, Finding};
use model::hint::Hint;
use model::layout::{Boot, Layout};
use model::media::{BootImage, Image, IntakeOutcome, Inventory, LISTED, Media, MediaFile, Stamp};
use model::units::Bytes;

use crate::boot;
use crate::tools::Tools;
use crate::wim::{Flow, Info, Phase, Progress, Wim, WimError};
use crate::worker::domain::Reach;
use crate::worker::protocol::{Reporter, emit};
use crate::worker::{Given, Work};
use parts::{OtherParts, culprit, is_part};
use rehearse::Shown;
use tree::Tree;

/// The task of an intake worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct IntakeTask {
    /// The WIM, or the first part of a split set.
    pub path: PathBuf,
    /// Index of the image that will be applied, from 1.
    pub image: u32,
    /// The layout that drives get.
    pub layout: Layout,
    /// The programs that a press runs.
    pub tools: Tools,
}

#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} was changed while it was being verified")]
    Changed(PathBuf),
}

impl IntakeError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Changed(_) => FailureCode::MediaChanged,
            Self::Read { .. } => FailureCode::MediaUnreadable,
            Self::Wim(_) => FailureCode::WimDamaged,
        }
    }
}

impl Hint for IntakeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Wim(error) => error.hint(),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                let user = rustix::process::geteuid().as_raw();
                Some(format!(
                    "let user {user} (tools.user) read it and its folder, then `prestagectl media verify NAME`"
                ))
            }
            Self::Read { .. } | Self::Changed(_) => None,
        }
    }
}

impl Work for IntakeTask {
    const NAME: &'static str = "intake";
    const NEEDS_SCRATCH: bool = true;
    const PATIENCE: Duration = Duration::from_secs(60);
    const IDLE: FailureCode = FailureCode::MediaUnreadable;
    type Output = IntakeOutcome;

    /// The inbox, because parts of a split set lie beside the first one, and where its links lead.
    fn reach(&self) -> Reach {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let links = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| {
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            link && is_part(&entry.path())
        });
        let links: Vec<PathBuf> = links.map(|entry| entry.path()).collect();
        Reach {
            run: self.tools.of_a_press(),
            ..Reach::to_read(links.iter().map(PathBuf::as_path).chain([self.path.as_path()]))
        }
    }

    /// Reads and verifies the media. Fails as `media_changed` if it must be verified again, as `media_unreadable` or
    /// `wim_damaged` if the file cannot be used at all.
    fn perform(self, _: Given) -> Result<IntakeOutcome, Failure> {
        intake(&self).map_err(|error| Failure::of(error.code(), &error).with_hint_of(&error))
    }
}

/// One file of the media, with its stamp from before it was read.
#[derive(Clone)]
struct Part {
    path: PathBuf,
    stamp: Stamp,
}

impl Part {
    fn at(path: &Path) -> Result<Self, IntakeError> {
        Ok(Self { path: path.to_owned(), stamp: stamp_of(path)? })
    }
}

impl AsRef<Path> for Part {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

fn intake(task: &IntakeTask) -> Result<IntakeOutcome, IntakeError> {
    let first = Part::at(&task.path)?;
    let mut wim = open(&task.path)?;
    let info = wim.info()?;
    if info.part > 1 {
        return Ok(IntakeOutcome::LaterPart);
    }
    let mut problems = Vec::new();
    problems.extend(unfinished(&info));
    let others = OtherParts::of(&task.path, &info)?;
    problems.extend(others.missing());
    let mut parts = vec![first];
    for path in others.files.iter().flatten() {
        parts.push(Part::at(path)?);
    }

    let _watch = Watch::over(&parts);
    // libwim can verify neither an unfinished WIM nor a set that lacks a part.
    let complete = problems.is_empty();
    if complete {
        wim.reference(&parts[1..]).map_err(|error| culprit(&parts).unwrap_or(error))?;
    }
    let Read { files, sha256, damage } = read(&mut wim, &parts, complete)?;
    problems.extend(damage);

    let images = images(&wim, &info);
    let contents = Contents::of(&mut wim, task, &info, complete);
    problems.extend(contents.problems);
    let mut warnings = others.warnings;
    warnings.extend(contents.warnings);
    if complete && let Some(entries) = contents.entries {
        let shown = Shown { entries, is_sound: problems.is_empty() };
        let found = rehearse::findings(&mut wim, task, &parts, &shown).into_iter();
        let (odd, wrong): (Vec<_>, Vec<_>) = found.partition(|finding| finding.code.is_warning());
        warnings.extend(odd);
        problems.extend(wrong);
    }
    check_unchanged(&files)?;
    let name = task.path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.replace(char::is_control, "?");
    Ok(IntakeOutcome::Media(Box::new(Media {
        name,
        size_bytes: Bytes(files.iter().map(|file| file.size.0).sum()),
        files,
        sha256,
        guid: info.guid,
        compression: info.compression,
        integrity_table: info.integrity_table,
        images,
        image: task.image,
        inventory: contents.inventory,
        boot_image: contents.boot_image,
        first_start: contents.first_start,
        problems,
        warnings,
        // The station checks signatures itself, after this worker has ended.
        signed: None,
    })))
}

/// Opens the WIM so that its progress is reported, and so that [`Wim::losses`] stops before it extracts anything.
fn open(path: &Path) -> Result<Wim, WimError> {
    let mut reporter = Reporter::default();
    Wim::open(path, move |progress: Progress| {
        if progress.phase == Phase::Begin {
            return Flow::Stop;
        }
        report(&mut reporter, progress);
        Flow::Continue
    })
}

#[expect(clippy::cast_precision_loss, reason = "a progress bar has a hundred steps")]
fn report(reporter: &mut Reporter, progress: Progress) {
    let fraction = progress.done as f64 / progress.total.max(1) as f64;
    if progress.phase == Phase::Verify {
        reporter.report("verifying", 0.1 + 0.9 * fraction);
    } else {
        reporter.report("verifying", 0.1 * fraction);
    }
}

fn read_failed(path: &Path) -> impl FnOnce(io::Error) -> IntakeError {
    let path = path.to_owned();
    move |source| IntakeError::Read { path, source }
}

fn stamp_of(path: &Path) -> Result<Stamp, IntakeError> {
    File::open(path).and_then(|file| stamp::of(&file)).map_err(read_failed(path))
}

/// A problem if the header says that the WIM's writer has not finished.
fn unfinished(info: &Info) -> Option<Finding> {
    let detail = "the file's header says that its writer has not finished";
    let finding = Finding::new(Code::WimUnfinished, detail).with_hint("write the file again");
    info.write_in_progress.then_some(finding)
}

/// What reading all files of the media gave.
struct Read {
    files: Vec<MediaFile>,
    /// SHA-256 of all files together.
    sha256: Digest,
    /// What libwim found damaged.
    damage: Option<Finding>,
}

/// Hashes the files while libwim verifies them, if the set is `complete`.
fn read(wim: &mut Wim, parts: &[Part], complete: bool) -> Result<Read, IntakeError> {
    thread::scope(|scope| {
        let hashing = scope.spawn(|| hash(parts));
        let verified = if complete { wim.verify() } else { Ok(()) };
        let damage = verified.err().map(|error| {
            let error = culprit(parts).unwrap_or(error);
            Finding::of(Code::WimDamaged, &error)
                .with_hint("copy the file again; if that does not help, make the media anew")
        });
        match hashing.join() {
            Ok(result) => result.map(|(files, sha256)| Read { files, sha256, damage }),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Ends the process as soon as a file is gone or changed, until it is dropped. A few megabytes of WIM can truly hold terabytes of zeros, and
/// libwim reports nothing until a blob is done; no time limit is long enough for all real media. So an operator who
/// does not want to wait takes the file out of the inbox.
struct Watch {
    _running: Sender<()>,
}

impl Watch {
    fn over(parts: &[Part]) -> Self {
        let (running, ended) = mpsc::channel();
        let parts = parts.to_vec();
        thread::spawn(move || stop_if_withdrawn(&parts, &ended));
        Self { _running: running }
    }
}

fn stop_if_withdrawn(parts: &[Part], ended: &Receiver<()>) {
    while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let same = |part: &&Part| stamp_of(&part.path).is_ok_and(|now| now == part.stamp);
        if let Some(part) = parts.iter().find(|part| !same(part)) {
            let error = IntakeError::Changed(part.path.clone());
            emit(&Line::Failed(Failure::of(FailureCode::MediaChanged, &error)));
            std::process::exit(1);
        }
    }
}

/// The SHA-256 of each file and of all files' bytes one after the other. Reads each file once.
fn hash(parts: &[Part]) -> Result<(Vec<MediaFile>, Digest), IntakeError> {
    let mut all = Sha256::new();
    let mut files = Vec::new();
    let mut buffer = vec![0_u8; 1 << 20];
    for Part { path, stamp } in parts {
        let mut file = File::open(path).map_err(read_failed(path))?;
        let mut own = Sha256::new();
        let mut size = 0;
        loop {
            let count = file.read(&mut buffer).map_err(read_failed(path))?;
            if count == 0 {
                break;
            }
            if parts.len() > 1 {
                own.update(&buffer[..count]);
            }
            all.update(&buffer[..count]);
            size += Bytes::of(count).0;
        }
        let own = if parts.len() > 1 { own } else { all.clone() };
        let sha256 = Digest(own.finalize().into());
        files.push(MediaFile { path: path.clone(), stamp: *stamp, size: Bytes(size), sha256 });
    }
    Ok((files, Digest(all.finalize().into())))
}

/// Fails if a file is not the one that was hashed any more.
fn check_unchanged(files: &[MediaFile]) -> Result<(), IntakeError> {
    for file in files {
        if stamp_of(&file.path)? != file.stamp {
            return Err(IntakeError::Changed(file.path.clone()));
        }
    }
    Ok(())
}

/// Texts from the XML are shown up to this many characters.
const SHOWN: usize = 256;

/// A text of the WIM's XML about an image, as it is shown.
pub(crate) fn text(wim: &Wim, image: u32, name: &str) -> String {
    let text = wim.property(image, name).and_then(|text| printable(&text));
    text.map(|text| text.chars().take(SHOWN).collect()).unwrap_or_default()
}

/// What the WIM's XML says about its images, the first [`LISTED`] of them.
fn images(wim: &Wim, info: &Info) -> Vec<Image> {
    let number = |image, name: &str| -> u64 {
        wim.property(image, name).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let text = |image, name: &str| text(wim, image, name);
    (1..=info.images.min(LISTED))
        .map(|index| Image {
            index,
            name: text(index, "NAME"),
            description: text(index, "DESCRIPTION"),
            directories: number(index, "DIRCOUNT"),
            files: number(index, "FILECOUNT"),
            bytes: Bytes(number(index, "TOTALBYTES")),
        })
        .collect()
}

/// What the image to be applied holds, and what would go wrong with it.
#[derive(Default)]
struct Contents {
    /// How many entries libwim shows; `None` if it shows no tree.
    entries: Option<u64>,
    inventory: Inventory,
    boot_image: Option<BootImage>,
    first_start: Vec<String>,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Contents {
    fn of(wim: &mut Wim, task: &IntakeTask, info: &Info, complete: bool) -> Self {
        if task.image == 0 || task.image > info.images {
            let detail = format!("it has {} images, none with index {}", info.images, task.image);
            return Self::unknown(
                Finding::new(Code::ImageMissing, detail)
                    .with_hint("set media.image to the index of an image in it"),
            );
        }
        let tree = match Tree::of(wim, task.image) {
            Ok(tree) => tree,
            Err(error) => {
                let finding = Finding::of(Code::WimDamaged, &error).with_hint_of(&error);
                return Self::unknown(finding);
            }
        };
        let mut contents = Self { problems: tree.problems(complete), ..Self::default() };
        let mut of_boot_files = Vec::new();
        // What is in a part that is not there would seem to be missing from the media.
        if task.layout.boot == Boot::Prestaged && complete {
            let found = boot::examine(wim, task.image, task.layout.boot_manager);
            contents.boot_image = found.image;
            contents.first_start = found.first_start;
            contents.problems.extend(found.problems);
            of_boot_files = found.warnings;
        }
        contents.warnings.extend(tree.miscounted(wim, task.image));
        contents.warnings.extend(tree.losses());
        contents.warnings.extend(boot::losses(wim, task.image));
        contents.entries = Some(tree.entries());
        contents.warnings.extend(tree.warning());
        contents.warnings.extend(of_boot_files);
        contents.inventory = tree.inventory;
        contents
    }

    /// Nothing is known of the image, because of this problem.
    fn unknown(problem: Finding) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}
