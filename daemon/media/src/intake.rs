//! Intake: reading a WIM from end to end before it is believed. Runs in a child process.
//!
//! In one pass over the files the SHA-256 is computed while libwim, beside it, checks the integrity table
//! and decompresses every blob to compare its SHA-1. The directory tree then tells what the media
//! holds and what would go wrong later.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
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
use model::media::{Image, IntakeOutcome, Inventory, LISTED, Media, MediaFile, Stamp};
use model::units::Bytes;

use crate::boot;
use crate::wim::{Entry, Flow, Info, Phase, Progress, Wim, WimError};
use crate::worker::Work;
use crate::worker::protocol::{Reporter, emit};

/// What an intake worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct IntakeTask {
    /// The file.
    pub path: PathBuf,
    /// Index of the image that will be applied.
    pub image: u32,
    /// Whether a layout in use needs boot files and BCD.
    pub boot: bool,
}

#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error(transparent)]
    Wim(#[from] WimError),
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} was changed while it was being verified")]
    Changed(PathBuf),
}

impl Work for IntakeTask {
    const NAME: &'static str = "intake";
    type Output = IntakeOutcome;

    /// Reads and verifies a file. Fails as `media_changed` if it must be done again, as `media_unreadable` or
    /// `wim_damaged` if the file is no good.
    fn perform(self) -> Result<IntakeOutcome, Failure> {
        intake(&self).map_err(|error| {
            let code = match &error {
                IntakeError::Changed(_) => FailureCode::MediaChanged,
                IntakeError::Read { .. } => FailureCode::MediaUnreadable,
                IntakeError::Wim(_) => FailureCode::WimDamaged,
            };
            let failure = Failure::of(code, &error);
            match &error {
                IntakeError::Read { source, .. }
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    let user = rustix::process::geteuid().as_raw();
                    let hint = format!("let user {user} (tools.user) read it and its folder");
                    failure.with_hint(hint)
                }
                _ => failure,
            }
        })
    }
}

fn intake(task: &IntakeTask) -> Result<IntakeOutcome, IntakeError> {
    let before = stamp_of(&task.path)?;
    let mut reporter = Reporter::default();
    let mut wim = Wim::open(&task.path, move |progress: Progress| {
        if progress.phase == Phase::Begin {
            return Flow::Stop;
        }
        report(&mut reporter, progress);
        Flow::Continue
    })?;
    let info = wim.info()?;
    if info.part > 1 {
        return Ok(IntakeOutcome::LaterPart);
    }
    let mut problems = Vec::new();
    if info.write_in_progress {
        let detail = "its header says that its writer has not finished; write it again";
        problems.push(Finding::new(Code::WimUnfinished, detail));
    }
    let others = other_parts(&task.path, &info, &mut problems)?;
    let mut stamps = vec![before];
    for path in &others {
        stamps.push(stamp_of(path)?);
    }
    let paths: Vec<PathBuf> = std::iter::once(task.path.clone()).chain(others).collect();
    let whole = problems.is_empty();
    if whole {
        wim.reference(&paths[1..])?;
    }
    let (files, sha256) = thread::scope(|scope| {
        // Dropped at the end of the scope, also by a panic.
        let (_reading, ended) = mpsc::channel();
        scope.spawn(|| stop_if_withdrawn(&paths, &stamps, ended));
        let hashing = scope.spawn(|| hash(&paths, &stamps));
        if whole && let Err(error) = wim.verify() {
            problems.push(Finding::new(Code::WimDamaged, error.to_string()));
        }
        match hashing.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;

    let images = images(&wim, &info);
    let mut inventory = Inventory::default();
    let mut warnings = Vec::new();
    let mut boot_image = None;
    if task.image == 0 || task.image > info.images {
        let detail = format!("it has {} images, none with index {}", info.images, task.image);
        problems.push(Finding::new(Code::ImageMissing, detail));
    } else {
        match take_inventory(&mut wim, task.image) {
            Ok((counted, missing, misnamed)) => {
                inventory = counted;
                if missing > 0 && whole {
                    let detail = format!("the contents of {missing} files are not in the WIM");
                    problems.push(Finding::new(Code::WimIncomplete, detail));
                }
                if misnamed > 0 {
                    let detail = format!(
                        "{misnamed} files or folders have names that Windows does not allow, with a slash, a backslash, a colon or a control character; capture the media without them"
                    );
                    problems.push(Finding::new(Code::NamesInvalid, detail));
                }
                if inventory.encrypted > 0 {
                    let detail = format!(
                        "{} files are encrypted with EFS, which cannot be restored; capture the media without them",
                        inventory.encrypted
                    );
                    problems.push(Finding::new(Code::EncryptedFiles, detail));
                }
                if task.boot {
                    let found = boot::examine(&mut wim, task.image, &inventory);
                    boot_image = found.image;
                    problems.extend(found.problems);
                    warnings.extend(found.warnings);
                }
                warnings.extend(boot::losses(&mut wim, task.image));
            }
            Err(error) => problems.push(Finding::new(Code::WimDamaged, error.to_string())),
        }
    }
    for file in &files {
        if stamp_of(&file.path)? != file.stamp {
            return Err(IntakeError::Changed(file.path.clone()));
        }
    }
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
        inventory,
        boot_image,
        problems,
        warnings,
    })))
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

/// Ends the process as soon as a file is not there any more as it was. A few megabytes of WIM can truly hold
/// terabytes of zeros, and libwim says nothing until a blob is done; no length of time is too long for all real
/// media. So an operator who does not want to wait takes the file out of the inbox.
fn stop_if_withdrawn(paths: &[PathBuf], stamps: &[Stamp], ended: Receiver<()>) {
    while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let changed = |(path, before): (&PathBuf, &Stamp)| {
            let same = stamp_of(path).is_ok_and(|now| now == *before);
            (!same).then(|| IntakeError::Changed(path.clone()))
        };
        if let Some(error) = paths.iter().zip(stamps).find_map(changed) {
            emit(&Line::Failed(Failure::of(FailureCode::MediaChanged, &error)));
            std::process::exit(1);
        }
    }
}

/// Finds the other parts of a split set: files beside the first one that say they belong to it. Names do not
/// count, only the GUID and the part numbers in the headers.
fn other_parts(
    first: &Path,
    info: &Info,
    problems: &mut Vec<Finding>,
) -> Result<Vec<PathBuf>, IntakeError> {
    let mut parts: Vec<Option<PathBuf>> = vec![None; usize::from(info.parts).saturating_sub(1)];
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let folder = first.parent().unwrap_or(Path::new("."));
    for entry in fs::read_dir(folder).map_err(read_failed(folder))? {
        let path = entry.map_err(read_failed(folder))?.path();
        // Opening a FIFO would wait for a writer.
        let plain = fs::metadata(&path).is_ok_and(|meta| meta.is_file());
        if path == first
            || !plain
            || !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("swm"))
        {
            continue;
        }
        let Ok(other) = Wim::open(&path, |_| Flow::Continue).and_then(|wim| wim.info()) else {
            continue;
        };
        let place = usize::from(other.part).checked_sub(2);
        if other.guid == info.guid
            && other.parts == info.parts
            && let Some(slot) = place.and_then(|place| parts.get_mut(place))
        {
            *slot = Some(path);
        }
    }
    let missing: Vec<String> =
        (2_usize..).zip(&parts).filter(|(_, p)| p.is_none()).map(|(n, _)| n.to_string()).collect();
    if !missing.is_empty() {
        let more = missing.len().saturating_sub(LISTED_PARTS);
        let mut named = missing[..missing.len() - more].join(", ");
        if more > 0 {
            named = format!("{named} and {more} more");
        }
        let detail = format!("part {named} of {} is not in the inbox; copy all parts", info.parts);
        problems.push(Finding::new(Code::SplitPartMissing, detail));
    }
    Ok(parts.into_iter().flatten().collect())
}

/// SHA-256 of each file and of all together, reading each once.
fn hash(paths: &[PathBuf], stamps: &[Stamp]) -> Result<(Vec<MediaFile>, Digest), IntakeError> {
    let mut all = Sha256::new();
    let mut files = Vec::new();
    let mut buffer = vec![0_u8; 1 << 20];
    for (path, stamp) in paths.iter().zip(stamps) {
        let mut file = File::open(path).map_err(read_failed(path))?;
        let mut own = Sha256::new();
        let mut size = 0;
        loop {
            let count = file.read(&mut buffer).map_err(read_failed(path))?;
            if count == 0 {
                break;
            }
            if paths.len() > 1 {
                own.update(&buffer[..count]);
            }
            all.update(&buffer[..count]);
            size += Bytes::of(count).0;
        }
        let own = if paths.len() > 1 { own } else { all.clone() };
        let sha256 = Digest(own.finalize().into());
        files.push(MediaFile { path: path.clone(), stamp: *stamp, size: Bytes(size), sha256 });
    }
    Ok((files, Digest(all.finalize().into())))
}

/// More missing parts than this are counted, not named.
const LISTED_PARTS: usize = 16;
/// Texts from the XML are shown up to this many characters.
const SHOWN: usize = 256;

fn images(wim: &Wim, info: &Info) -> Vec<Image> {
    let number = |image, name: &str| -> u64 {
        wim.property(image, name).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let text = |image, name: &str| {
        let text = wim.property(image, name).and_then(|t| printable(&t));
        text.map(|text| text.chars().take(SHOWN).collect()).unwrap_or_default()
    };
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

const ATTRIBUTE_DIRECTORY: u32 = 0x10;
const ATTRIBUTE_REPARSE: u32 = 0x400;
const ATTRIBUTE_ENCRYPTED: u32 = 0x4000;

/// A file of up to this size may live inside its MFT record and take no cluster.
const RESIDENT: u64 = 700;
/// An MFT record.
const RECORD: u64 = 1024;
/// A cluster.
const CLUSTER: u64 = 4096;

/// What Windows allows in no name. libwim leaves a file with a slash in its name out when it applies an image; the
/// others nothing on the drive could open.
fn is_never_in_names(letter: char) -> bool {
    letter < ' ' || matches!(letter, '/' | '\\' | ':')
}

/// Counts what an image holds, the streams whose blobs are missing, and the names that cannot be.
fn take_inventory(wim: &mut Wim, image: u32) -> Result<(Inventory, u64, u64), WimError> {
    let mut found = Inventory::default();
    let (mut missing, mut misnamed) = (0, 0);
    let mut seen = HashSet::new();
    wim.entries(image, |entry: &Entry<'_>| {
        let depth = entry.path.matches('/').count();
        let listed = |names: &Vec<String>| Bytes::of(names.len()).0 < LISTED.into();
        let shown = || entry.name.replace(char::is_control, "?");
        if depth == 1 && !entry.name.is_empty() && listed(&found.root) {
            found.root.push(shown());
        }
        misnamed += u64::from(entry.name.contains(is_never_in_names));
        let lower = entry.path.to_lowercase();
        if let Some(package) = lower.strip_prefix("/_smstasksequence/packages/")
            && !package.contains('/')
            && listed(&found.packages)
        {
            found.packages.push(shown());
        }
        if lower == "/sources/boot.wim" {
            found.boot_wim_bytes = entry.streams.first().map(|s| Bytes(s.size));
        }
        found.short_names += u64::from(entry.short_name.is_some());
        if entry.links > 1 && !seen.insert(entry.link_group) {
            found.extra_links += 1;
            return;
        }
        if entry.attributes & ATTRIBUTE_DIRECTORY != 0 {
            found.directories += 1;
        } else {
            found.files += 1;
        }
        found.reparse_points += u64::from(entry.attributes & ATTRIBUTE_REPARSE != 0);
        found.encrypted += u64::from(entry.attributes & ATTRIBUTE_ENCRYPTED != 0);
        found.secured += u64::from(!entry.security.is_empty());
        found.least_bytes.0 = found.least_bytes.0.saturating_add(RECORD);
        for stream in &entry.streams {
            found.named_streams += u64::from(!stream.name.is_empty());
            missing += u64::from(stream.missing);
            // Sparse and NTFS-compressed files take less; what they take is not known beforehand.
            let dense = entry.attributes & 0xa00 == 0;
            if dense && stream.size > RESIDENT {
                let room = Bytes(stream.size).align_up(CLUSTER);
                found.least_bytes.0 = found.least_bytes.0.saturating_add(room.0);
            }
        }
    })?;
    Ok((found, missing, misnamed))
}
