//! The media in the inbox, as the station knows them. The package's runner has them checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::api::snapshot::{FileView, MediaState, MediaView};
use model::code::{FailureCode, FindingCode, ReasonCode};
use model::digest::Digest;
use model::failure::{Failure, Finding, Refusal};
use model::media::{IntakeOutcome, Listing, Media, Stamp};
use model::units::Bytes;

/// All media in the inbox.
#[derive(Debug, Default)]
pub(crate) struct MediaCatalog {
    entries: BTreeMap<PathBuf, Entry>,
    /// Whether the inbox has been listed at least once.
    listed: bool,
}

/// Why there is no media for a drive.
#[derive(Debug, Clone)]
pub(crate) enum MediaUnavailable {
    /// The media will be known soon: the inbox is being read, or media is being verified.
    Undecided,
    /// There is no media for the drive.
    Missing(Refusal),
}

impl MediaUnavailable {
    /// The refusal of a request that does not wait until the media is known.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Undecided => {
                Refusal::new(ReasonCode::NoMedia, "the media is still being verified")
            }
            Self::Missing(refusal) => refusal,
        }
    }
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    state: EntryState,
}

#[derive(Debug)]
enum EntryState {
    /// It is being checked; this part is done, 0 to 1.
    Checking(f64),
    Media(Arc<Media>),
    /// The check has failed, for example because the file cannot be opened.
    Bad(Finding),
    /// A later part of a split set; the entry of the first part stands for the set.
    LaterPart,
}

impl MediaCatalog {
    /// Takes up the current files of the inbox; returns those to be checked.
    pub(crate) fn update(&mut self, listing: &Listing) -> Vec<PathBuf> {
        self.listed = true;
        self.entries.retain(|path, _| listing.contains_key(path));
        let mut check = Vec::new();
        for (path, stamp) in listing {
            let current = self.entries.get(path).is_some_and(|entry| {
                entry.stamp == *stamp
                    && match &entry.state {
                        // If one part of a set has changed, the set has.
                        EntryState::Media(media) => media
                            .files
                            .iter()
                            .all(|file| listing.get(&file.path) == Some(&file.stamp)),
                        _ => true,
                    }
            });
            if !current {
                let entry = Entry { stamp: *stamp, state: EntryState::Checking(0.0) };
                self.entries.insert(path.clone(), entry);
                check.push(path.clone());
            }
        }
        check.sort();
        check
    }

    /// Marks a media as being checked again; returns its path. `None` if there is no media of this name.
    pub(crate) fn recheck(&mut self, name: &str) -> Option<PathBuf> {
        let (path, entry) = self.entries.iter_mut().find(|(path, _)| file_name(path) == name)?;
        entry.state = EntryState::Checking(0.0);
        Some(path.clone())
    }

    pub(crate) fn progress(&mut self, path: &Path, fraction: f64) {
        if let Some(Entry { state: EntryState::Checking(done), .. }) = self.entries.get_mut(path) {
            *done = fraction;
        }
    }

    /// Takes up the result of a check; returns files that must be checked again because of it.
    pub(crate) fn checked(
        &mut self,
        path: &Path,
        result: Result<IntakeOutcome, Failure>,
    ) -> Vec<PathBuf> {
        let Some(entry) = self.entries.get_mut(path) else { return Vec::new() };
        match result {
            Ok(IntakeOutcome::Media(media)) => entry.state = EntryState::Media(Arc::from(media)),
            Ok(IntakeOutcome::LaterPart) => {
                entry.state = EntryState::LaterPart;
                return self.recheck_incomplete();
            }
            Err(failure) if failure.code == FailureCode::MediaChanged => {
                entry.state = EntryState::Checking(0.0);
                return vec![path.to_owned()];
            }
            Err(failure) => entry.state = EntryState::Bad(finding(failure)),
        }
        Vec::new()
    }

    /// After a part of a set has come: marks the sets that lacked one as being checked again, and returns their paths.
    fn recheck_incomplete(&mut self) -> Vec<PathBuf> {
        let lacks_part = |media: &Media| {
            media.problems.iter().any(|problem| problem.code == FindingCode::SplitPartMissing)
        };
        let mut again = Vec::new();
        for (path, entry) in &mut self.entries {
            if matches!(&entry.state, EntryState::Media(media) if lacks_part(media)) {
                entry.state = EntryState::Checking(0.0);
                again.push(path.clone());
            }
        }
        again
    }

    /// All valid media, the newest first.
    pub(crate) fn valid(&self) -> Vec<Arc<Media>> {
        let mut valid: Vec<(Stamp, Arc<Media>)> = self
            .entries
            .values()
            .filter_map(|entry| match &entry.state {
                EntryState::Media(media) if media.problems.is_empty() => {
                    Some((entry.stamp, Arc::clone(media)))
                }
                _ => None,
            })
            .collect();
        valid.sort_by(|a, b| (b.0.modified_ns, &b.1.name).cmp(&(a.0.modified_ns, &a.1.name)));
        valid.into_iter().map(|(_, media)| media).collect()
    }

    /// The valid media with this digest.
    pub(crate) fn valid_with(&self, sha256: Digest) -> Option<Arc<Media>> {
        self.valid().into_iter().find(|media| media.sha256 == sha256)
    }

    /// The media for a drive: the requested one, else the newest valid one.
    pub(crate) fn choose(&self, requested: Option<&str>) -> Result<Arc<Media>, MediaUnavailable> {
        let missing = |refusal| Err(MediaUnavailable::Missing(refusal));
        let fits = |media: &Arc<Media>| requested.is_none_or(|name| media.name == name);
        if let Some(media) = self.valid().into_iter().find(fits) {
            return Ok(media);
        }
        let mut others = self.views();
        others.retain(|view| requested.is_none_or(|name| view.name == name));
        if !self.listed || others.iter().any(|view| view.state == MediaState::Checking) {
            return Err(MediaUnavailable::Undecided);
        }
        match (others.iter().find(|view| view.state == MediaState::Invalid), requested) {
            (Some(view), _) => {
                let why: Vec<&str> = view.problems.iter().map(|p| p.detail.as_str()).collect();
                let detail = format!("media {} is not usable: {}", view.name, why.join("; "));
                let hints: Vec<&str> =
                    view.problems.iter().filter_map(|p| p.hint.as_deref()).collect();
                let refusal = Refusal::new(ReasonCode::MediaInvalid, detail);
                missing(match &hints[..] {
                    [] => refusal,
                    _ => refusal.with_hint(hints.join("; ")),
                })
            }
            (None, Some(name)) => {
                let detail = format!("no media named {name:?} is in the inbox");
                let refusal = Refusal::new(ReasonCode::NoMedia, detail);
                missing(refusal.with_hint("see `prestagectl media list`"))
            }
            (None, None) => {
                let refusal = Refusal::new(ReasonCode::NoMedia, "no media is in the inbox");
                missing(refusal.with_hint("copy a prestaged WIM there"))
            }
        }
    }

    /// Whether a check is running.
    pub(crate) fn is_checking(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.state, EntryState::Checking(_)))
    }

    pub(crate) fn views(&self) -> Vec<MediaView> {
        self.entries.iter().filter_map(|(path, entry)| view(path, entry)).collect()
    }
}

/// The failure of a check as a problem of the media.
fn finding(failure: Failure) -> Finding {
    let code = match failure.code {
        FailureCode::MediaUnreadable => FindingCode::MediaUnreadable,
        FailureCode::WimDamaged => FindingCode::WimDamaged,
        _ => FindingCode::CheckFailed,
    };
    Finding { code, detail: failure.detail, hint: failure.hint }
}

fn file_name(path: &Path) -> String {
    // The name is shown on terminals and in logs, so it must not have control characters.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.replace(char::is_control, "?")
}

fn view(path: &Path, entry: &Entry) -> Option<MediaView> {
    let mut view = MediaView {
        name: file_name(path),
        state: MediaState::Checking,
        percent: None,
        sha256: None,
        size_bytes: Bytes(entry.stamp.size),
        files: Vec::new(),
        compression: None,
        integrity_table: None,
        images: Vec::new(),
        image: 0,
        inventory: None,
        boot_image: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    match &entry.state {
        EntryState::LaterPart => return None,
        EntryState::Checking(done) => view.percent = Some(done * 100.0),
        EntryState::Bad(problem) => {
            view.state = MediaState::Invalid;
            view.problems = vec![problem.clone()];
        }
        EntryState::Media(media) => {
            view.state =
                if media.problems.is_empty() { MediaState::Valid } else { MediaState::Invalid };
            view.sha256 = Some(media.sha256);
            view.size_bytes = media.size_bytes;
            view.files = media
                .files
                .iter()
                .map(|file| FileView { name: file_name(&file.path), sha256: file.sha256 })
                .collect();
            view.compression = Some(media.compression.clone());
            view.integrity_table = Some(media.integrity_table);
            view.images = media.images.clone();
            view.image = media.image;
            view.inventory = Some(media.inventory.clone());
            view.boot_image = media.boot_image.clone();
            view.problems = media.problems.clone();
            view.warnings = media.warnings.clone();
        }
    }
    Some(view)
}
