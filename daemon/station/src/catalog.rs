//! The media in the inbox, as the station knows them. The package's runner has them checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use model::api::snapshot::{FileView, InboxView, MediaState, MediaView, SilentView};
use model::code::{FailureCode, FindingCode, ReasonCode};
use model::digest::Digest;
use model::failure::{Failure, Finding, Refusal};
use model::media::{Inbox, IntakeOutcome, Media, Stamp};
use model::units::Bytes;

/// All media in the inbox.
#[derive(Debug, Default)]
pub(crate) struct MediaCatalog {
    entries: BTreeMap<PathBuf, Entry>,
    /// The inbox.
    folder: PathBuf,
    /// Whether the inbox has been listed at least once.
    listed: bool,
    /// What else was seen in the inbox.
    inbox: InboxView,
}

/// Why there is no media for a drive.
#[derive(Debug, Clone)]
pub(crate) enum MediaUnavailable {
    /// The media will be known soon: the inbox is being read, or media is being verified.
    Undecided,
    /// There is no media for the drive.
    Missing(Refusal),
}

impl MediaCatalog {
    /// A catalog of a folder that was not listed yet.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self { folder, ..Self::default() }
    }
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

impl EntryState {
    /// It waits to be checked.
    const WAITING: Self = Self::Checking { since: None, done: 0.0 };
}

#[derive(Debug)]
enum EntryState {
    /// It is being checked since then, or waits for that; this part is done, 0 to 1.
    Checking {
        since: Option<Timestamp>,
        done: f64,
    },
    Media(Arc<Media>),
    /// The check has failed, for example because the file cannot be opened.
    Bad(Finding),
    /// A later part of a split set; the entry of the first part stands for the set.
    LaterPart,
}

impl MediaCatalog {
    /// Takes up the current files of the inbox; returns those to be checked, the oldest first.
    pub(crate) fn update(&mut self, inbox: Inbox) -> Vec<PathBuf> {
        let Inbox { files: listing, strangers, waiting, silent, growing, ignored, trouble } = inbox;
        self.listed = true;
        self.entries.retain(|path, _| listing.contains_key(path) || strangers.contains_key(path));
        let silent = silent.into_iter();
        let silent = silent.map(|(path, since)| SilentView { name: file_name(&path), since });
        let (ignored, ignored_names) = ignored;
        let silent = silent.collect();
        if let Some(trouble) = &trouble
            && self.inbox.trouble.is_none()
        {
            tracing::error!("cannot read the inbox: {trouble}");
        }
        self.inbox = InboxView { waiting, silent, growing, ignored, ignored_names, trouble };
        for (path, stamp) in strangers {
            let known = self.entries.get(&path).is_some_and(|entry| entry.stamp == stamp);
            if !known {
                let state = EntryState::Bad(no_wim(&path));
                self.entries.insert(path, Entry { stamp, state });
            }
        }
        let mut check = Vec::new();
        for (path, stamp) in &listing {
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
                let entry = Entry { stamp: *stamp, state: EntryState::WAITING };
                self.entries.insert(path.clone(), entry);
                check.push((stamp.modified_ns, path.clone()));
            }
        }
        check.sort();
        check.into_iter().map(|(_, path)| path).collect()
    }

    pub(crate) fn inbox_view(&self) -> InboxView {
        self.inbox.clone()
    }

    /// The check of a file has begun.
    pub(crate) fn began(&mut self, path: &Path, now: Timestamp) {
        if let Some(Entry { state: EntryState::Checking { since, .. }, .. }) =
            self.entries.get_mut(path)
        {
            *since = Some(now);
        }
    }

    /// Marks a media as being checked again; returns its path. `None` if there is no media of this name.
    pub(crate) fn recheck(&mut self, name: &str) -> Option<PathBuf> {
        let (path, entry) = self.entries.iter_mut().find(|(path, _)| file_name(path) == name)?;
        entry.state = EntryState::WAITING;
        Some(path.clone())
    }

    pub(crate) fn progress(&mut self, path: &Path, fraction: f64) {
        if let Some(Entry { state: EntryState::Checking { done, .. }, .. }) =
            self.entries.get_mut(path)
        {
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
                entry.state = EntryState::WAITING;
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
                entry.state = EntryState::WAITING;
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
            // What comes now gets the newest, so it waits until newer media is known to be good or bad.
            return match requested.is_none() && self.is_checking_newer(&media) {
                true => Err(MediaUnavailable::Undecided),
                false => Ok(media),
            };
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
                let names: Vec<String> = self.views().into_iter().map(|view| view.name).collect();
                missing(refusal.with_hint(match &names[..] {
                    [] => "the inbox is empty; copy a prestaged WIM there".to_owned(),
                    names => format!("media in the inbox: {}", names.join(", ")),
                }))
            }
            (None, None) => {
                let detail = match self.folder.as_os_str().is_empty() {
                    true => "no media is in the inbox".to_owned(),
                    false => format!("no media is in the inbox {}", self.folder.display()),
                };
                let refusal = Refusal::new(ReasonCode::NoMedia, detail);
                missing(refusal.with_hint("copy a prestaged WIM there"))
            }
        }
    }

    /// Whether media that is newer than this is still being checked.
    fn is_checking_newer(&self, media: &Media) -> bool {
        let own = media.files.first().and_then(|file| self.entries.get(&file.path));
        let Some(own) = own.map(|entry| entry.stamp.modified_ns) else { return false };
        self.entries.values().any(|entry| {
            matches!(entry.state, EntryState::Checking { .. }) && entry.stamp.modified_ns > own
        })
    }

    /// Whether a check is running.
    pub(crate) fn is_checking(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.state, EntryState::Checking { .. }))
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

/// What is said of a file that does not begin as a WIM does, in the words of intake, which need not read it.
fn no_wim(path: &Path) -> Finding {
    let detail = format!("{} is not a WIM file", file_name(path));
    let hint = "replace the file with prestaged media, or take it out of the inbox";
    Finding::new(FindingCode::WimDamaged, detail).with_hint(hint)
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
        current: false,
        percent: None,
        checking_since: None,
        sha256: None,
        size_bytes: Bytes(entry.stamp.size),
        files: Vec::new(),
        compression: None,
        integrity_table: None,
        images: Vec::new(),
        image: 0,
        inventory: None,
        boot_image: None,
        first_start: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    match &entry.state {
        EntryState::LaterPart => return None,
        EntryState::Checking { since, done } => {
            view.percent = Some(done * 100.0);
            view.checking_since = *since;
        }
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
            view.first_start.clone_from(&media.first_start);
            view.problems = media.problems.clone();
            view.warnings = media.warnings.clone();
        }
    }
    Some(view)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::tests::{STAMP, media};

    /// With several media, the newest valid one; with a name, that one or the reason why not.
    #[test]
    fn media_are_chosen_by_name_or_by_age() {
        let mut catalog = MediaCatalog::default();
        let unavailable = |catalog: &MediaCatalog, name| match catalog.choose(name) {
            Ok(media) => media.name.clone(),
            Err(MediaUnavailable::Undecided) => "undecided".into(),
            Err(MediaUnavailable::Missing(refusal)) => refusal.code.to_string(),
        };
        assert_eq!(unavailable(&catalog, None), "undecided", "the inbox has not been listed");
        let path = |name: &str| PathBuf::from("/inbox").join(name);
        let stamp = |at| Stamp { modified_ns: at, ..STAMP };
        let listing = [("old.wim", 1), ("new.wim", 2), ("bad.wim", 3)];
        let listing = HashMap::from(listing.map(|(name, at)| (path(name), stamp(at))));
        assert_eq!(catalog.update(listing.clone().into()).len(), 3);
        assert_eq!(unavailable(&catalog, Some("new.wim")), "undecided", "it is being verified");
        for name in ["old.wim", "new.wim"] {
            let media = Media { name: name.into(), ..media() };
            catalog.checked(&path(name), Ok(IntakeOutcome::Media(Box::new(media))));
        }
        let failure = Failure::new(FailureCode::MediaUnreadable, "x");
        catalog.checked(&path("bad.wim"), Err(failure));
        assert_eq!(unavailable(&catalog, None), "new.wim");
        assert_eq!(unavailable(&catalog, Some("old.wim")), "old.wim");
        assert_eq!(unavailable(&catalog, Some("bad.wim")), "media_invalid");
        assert_eq!(unavailable(&catalog, Some("none.wim")), "no_media");
        assert_eq!(
            catalog.update(listing.clone().into()),
            Vec::<PathBuf>::new(),
            "nothing has changed"
        );
    }

    #[test]
    fn the_oldest_are_checked_first_and_what_is_no_wim_never() {
        let mut catalog = MediaCatalog::default();
        let path = |name: &str| PathBuf::from("/inbox").join(name);
        let stamp = |at| Stamp { modified_ns: at, ..STAMP };
        let files = HashMap::from([("a.wim", 3), ("b.wim", 1), ("c.wim", 2)]);
        let files: HashMap<_, _> = files.into_iter().map(|(n, at)| (path(n), stamp(at))).collect();
        let inbox = Inbox {
            files,
            strangers: HashMap::from([(path("text.wim"), stamp(0))]),
            waiting: 7,
            silent: BTreeMap::from([(path("link.wim"), Timestamp::UNIX_EPOCH)]),
            growing: vec!["big.wim".into()],
            ..Inbox::default()
        };
        let checked = catalog.update(inbox.clone());
        assert_eq!(checked, ["b.wim", "c.wim", "a.wim"].map(path));
        let states = |catalog: &MediaCatalog, state| {
            let views = catalog.views();
            let names = views.into_iter().filter(|view| view.state == state).map(|view| view.name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(states(&catalog, MediaState::Invalid), ["text.wim"]);
        let view = catalog.inbox_view();
        assert_eq!((view.waiting, &*view.silent[0].name), (7, "link.wim"));
        let began = Timestamp::from_second(5).unwrap();
        catalog.began(&path("b.wim"), began);
        let since: Vec<_> = catalog.views().iter().map(|view| view.checking_since).collect();
        assert_eq!(since, [None, Some(began), None, None]);
        assert!(catalog.update(inbox).is_empty(), "nothing has changed");
    }
}
