//! The media in the inbox as the station knows them. Pure state; intake happens elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::snapshot::{FileView, MediaState, MediaView};
use crate::admission::{Code, Refusal};
use crate::master::store::Stamp;
use crate::media::inbox::Listing;
use crate::media::intake::Outcome;
use crate::media::{Finding, Media};
use crate::units::Bytes;
use crate::worker::Failure;

/// All media.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    entries: BTreeMap<PathBuf, Entry>,
    /// Whether the inbox has been listed at least once.
    listed: bool,
}

/// Why there is no media for a drive.
#[derive(Debug, Clone)]
pub(super) enum Lacking {
    /// It will be known soon: the inbox is being read, or media is being verified.
    Undecided,
    /// There is none.
    Media(Refusal),
}

impl Lacking {
    /// As a refusal, for whoever does not wait.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Undecided => Refusal::new(Code::NoMedia, "the media is still being verified"),
            Self::Media(refusal) => refusal,
        }
    }
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    state: Known,
}

#[derive(Debug)]
enum Known {
    Checking(f64),
    Media(Arc<Media>),
    /// Could not even be opened.
    Bad(Finding),
    /// Part of a split set, told of by its first part.
    LaterPart,
}

impl Shelf {
    /// Takes in what the inbox holds now; returns the files to be checked.
    pub(super) fn update(&mut self, listing: &Listing) -> Vec<PathBuf> {
        self.listed = true;
        self.entries.retain(|path, _| listing.contains_key(path));
        let mut check = Vec::new();
        for (path, stamp) in listing {
            let current = self.entries.get(path).is_some_and(|entry| {
                entry.stamp == *stamp
                    && match &entry.state {
                        // A set is as good as each of its parts.
                        Known::Media(media) => media
                            .files
                            .iter()
                            .all(|file| listing.get(&file.path) == Some(&file.stamp)),
                        _ => true,
                    }
            });
            if !current {
                let entry = Entry { stamp: *stamp, state: Known::Checking(0.0) };
                self.entries.insert(path.clone(), entry);
                check.push(path.clone());
            }
        }
        check.sort();
        check
    }

    /// Marks one media for another check; returns its path. `None` if there is no such media.
    pub(super) fn recheck(&mut self, name: &str) -> Option<PathBuf> {
        let (path, entry) = self.entries.iter_mut().find(|(path, _)| file_name(path) == name)?;
        entry.state = Known::Checking(0.0);
        Some(path.clone())
    }

    pub(super) fn progress(&mut self, path: &Path, fraction: f64) {
        if let Some(Entry { state: Known::Checking(done), .. }) = self.entries.get_mut(path) {
            *done = fraction;
        }
    }

    /// Takes in the result of a check; returns files that must be checked again because of it.
    pub(super) fn checked(
        &mut self,
        path: &Path,
        result: Result<Outcome, Failure>,
    ) -> Vec<PathBuf> {
        let Some(entry) = self.entries.get_mut(path) else { return Vec::new() };
        match result {
            Ok(Outcome::Media(media)) => entry.state = Known::Media(Arc::from(media)),
            Ok(Outcome::LaterPart) => {
                entry.state = Known::LaterPart;
                return self.recheck_incomplete();
            }
            Err(failure) if failure.code == "media_changed" => {
                entry.state = Known::Checking(0.0);
                return vec![path.to_owned()];
            }
            Err(Failure { code, detail }) => entry.state = Known::Bad(Finding { code, detail }),
        }
        Vec::new()
    }

    /// A part has come: sets that lacked one may be whole now.
    fn recheck_incomplete(&mut self) -> Vec<PathBuf> {
        let lacks_part = |media: &Media| {
            media.problems.iter().any(|problem| problem.code == "split_part_missing")
        };
        let mut again = Vec::new();
        for (path, entry) in &mut self.entries {
            if matches!(&entry.state, Known::Media(media) if lacks_part(media)) {
                entry.state = Known::Checking(0.0);
                again.push(path.clone());
            }
        }
        again
    }

    /// Valid media, the newest first.
    pub(super) fn valid(&self) -> Vec<Arc<Media>> {
        let mut valid: Vec<(Stamp, Arc<Media>)> = self
            .entries
            .values()
            .filter_map(|entry| match &entry.state {
                Known::Media(media) if media.problems.is_empty() => {
                    Some((entry.stamp, Arc::clone(media)))
                }
                _ => None,
            })
            .collect();
        valid.sort_by(|a, b| (b.0.modified_ns(), &b.1.name).cmp(&(a.0.modified_ns(), &a.1.name)));
        valid.into_iter().map(|(_, media)| media).collect()
    }

    /// The media for a drive: the one wished for, else the newest valid one.
    pub(super) fn choose(&self, wish: Option<&str>) -> Result<Arc<Media>, Lacking> {
        let none = |detail: String| Lacking::Media(Refusal::new(Code::NoMedia, detail));
        let valid = self.valid();
        let found = match wish {
            Some(name) => valid.into_iter().find(|media| media.name == name),
            None => valid.into_iter().next(),
        };
        if let Some(media) = found {
            return Ok(media);
        }
        let mut others = self.views();
        others.retain(|view| wish.is_none_or(|name| view.name == name));
        if !self.listed || others.iter().any(|view| view.state == MediaState::Checking) {
            return Err(Lacking::Undecided);
        }
        match (others.iter().find(|view| view.state == MediaState::Invalid), wish) {
            (Some(view), _) => {
                let why: Vec<&str> = view.problems.iter().map(|p| p.detail.as_str()).collect();
                let detail = format!("media {} is not usable: {}", view.name, why.join("; "));
                Err(Lacking::Media(Refusal::new(Code::MediaInvalid, detail)))
            }
            (None, Some(name)) => Err(none(format!("no media named {name:?} is in the inbox"))),
            (None, None) => {
                Err(none("no media is in the inbox; copy a prestaged WIM there".into()))
            }
        }
    }

    /// Whether any check is running.
    pub(super) fn is_checking(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.state, Known::Checking(_)))
    }

    pub(super) fn views(&self) -> Vec<MediaView> {
        self.entries.iter().filter_map(|(path, entry)| view(path, entry)).collect()
    }
}

fn file_name(path: &Path) -> String {
    // Names are shown on terminals and in logs: no control characters.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.replace(char::is_control, "?")
}

fn view(path: &Path, entry: &Entry) -> Option<MediaView> {
    let mut view = MediaView {
        name: file_name(path),
        state: MediaState::Checking,
        percent: None,
        sha256: None,
        size_bytes: Bytes(entry.stamp.size()),
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
        Known::LaterPart => return None,
        Known::Checking(done) => view.percent = Some(done * 100.0),
        Known::Bad(problem) => {
            view.state = MediaState::Invalid;
            view.problems = vec![problem.clone()];
        }
        Known::Media(media) => {
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
