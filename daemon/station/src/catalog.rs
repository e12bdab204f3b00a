//! The media in the inbox, as the station knows them. The package's runner has them checked.

mod choice;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use model::api::snapshot::{
    FileView, InboxView, MediaState, MediaView, OfferedView, ParcelView, SilentView,
};
use model::code::{FailureCode, FindingCode};
use model::digest::Digest;
use model::failure::{Failure, Finding, Refusal};
use model::media::{Inbox, IntakeOutcome, Media, Stamp};
use model::offer::{Offer, OfferChange, Offered, Offers};
use model::units::Bytes;

use crate::history::History;
pub(crate) use choice::MediaUnavailable;

/// All media in the inbox.
#[derive(Debug, Default)]
pub(crate) struct MediaCatalog {
    entries: BTreeMap<PathBuf, Entry>,
    /// The inbox.
    folder: PathBuf,
    /// To which drives each media is made available.
    offers: Offers,
    /// Whether the inbox has been listed at least once.
    listed: bool,
    /// What else was seen in the inbox.
    inbox: InboxView,
    /// The parcels that were copied into the inbox.
    parcels: Vec<ParcelView>,
    /// The highest sequence of each product that the station has had, and older media that an operator has accepted.
    history: History,
}

impl MediaCatalog {
    /// A catalog of a folder that was not listed yet.
    pub(crate) fn of(folder: PathBuf, offers: Offers, history: History) -> Self {
        Self { folder, offers, history, ..Self::default() }
    }

    /// An operator has accepted media that is older than others were.
    pub(crate) fn accept(&mut self, media: Digest) {
        self.history.accepted.insert(media);
    }

    /// The media of this name, if it has been checked, whether it may be used or not.
    pub(crate) fn checked_media(&self, name: &str) -> Option<Arc<Media>> {
        self.entries.values().find_map(|entry| match &entry.state {
            EntryState::Media(media) if media.name == name => Some(Arc::clone(media)),
            _ => None,
        })
    }
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    /// The stamp of the manifest beside it.
    manifest: Option<Stamp>,
    state: EntryState,
}

impl EntryState {
    /// It waits to be checked.
    const WAITING: Self = Self::Checking { since: None, done: 0.0 };

    /// To which drives its maker has it made available, if the manifest says so.
    fn wished(&self) -> Option<Offer> {
        let Self::Media(media) = self else { return None };
        media.signed.as_ref()?.manifest.offer.as_ref()?.parse().ok()
    }

    /// The digest of the media, once it is known.
    fn sha256(&self) -> Option<Digest> {
        match self {
            Self::Media(media) => Some(media.sha256),
            _ => None,
        }
    }
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
        let Inbox {
            files: listing,
            manifests,
            strangers,
            waiting,
            silent,
            growing,
            ignored,
            trouble,
        } = inbox;
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
        let folder = self.folder.clone();
        self.inbox = InboxView {
            folder,
            waiting,
            silent,
            growing,
            ignored,
            ignored_names,
            parcels: Vec::new(),
            trouble,
        };
        for (path, stamp) in strangers {
            let known = self.entries.get(&path).is_some_and(|entry| entry.stamp == stamp);
            if !known {
                let state = EntryState::Bad(no_wim(&path));
                self.entries.insert(path, Entry { stamp, manifest: None, state });
            }
        }
        let mut check = Vec::new();
        for (path, stamp) in &listing {
            let current = self.entries.get(path).is_some_and(|entry| {
                entry.stamp == *stamp
                    && entry.manifest.as_ref() == manifests.get(path)
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
                let manifest = manifests.get(path).copied();
                let entry = Entry { stamp: *stamp, manifest, state: EntryState::WAITING };
                self.entries.insert(path.clone(), entry);
                check.push((stamp.modified_ns, path.clone()));
            }
        }
        check.sort();
        check.into_iter().map(|(_, path)| path).collect()
    }

    pub(crate) fn inbox_view(&self) -> InboxView {
        InboxView { parcels: self.parcels.clone(), ..self.inbox.clone() }
    }

    pub(crate) fn take_parcels(&mut self, parcels: Vec<ParcelView>) {
        self.parcels = parcels;
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
            Ok(IntakeOutcome::Media(media)) => {
                self.history.note(&media);
                entry.state = EntryState::Media(Arc::from(media));
            }
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

    /// All valid media, by name.
    pub(crate) fn valid(&self) -> Vec<Arc<Media>> {
        let valid = self.entries.values().filter_map(|entry| match &entry.state {
            EntryState::Media(media)
                if media.problems.is_empty() && self.history.rollback(media).is_none() =>
            {
                Some(Arc::clone(media))
            }
            _ => None,
        });
        valid.collect()
    }

    /// The valid media with this digest.
    pub(crate) fn valid_with(&self, sha256: Digest) -> Option<Arc<Media>> {
        self.valid().into_iter().find(|media| media.sha256 == sha256)
    }

    /// To which drives media is made available, and who has said so. Where nobody has, the narrowest counts that the
    /// configuration, or a manifest, says of any file with the same content: a copy must not be more available than the file
    /// whose name the configuration has.
    fn offered(&self, name: &str, sha256: Option<Digest>) -> Offered<'_> {
        let own = self.offers.of(name, sha256);
        if own.said.is_some() || sha256.is_none() {
            return own;
        }
        let same = self.entries.iter().filter(|(_, entry)| entry.state.sha256() == sha256);
        let offered = |(path, entry): (&PathBuf, &Entry)| {
            let offered = self.offers.of(&file_name(path), sha256);
            let wished = entry.state.wished().unwrap_or(offered.offer);
            Offered { offer: offered.offer.min(wished), ..offered }
        };
        same.map(offered).chain([own]).min_by_key(|offered| offered.offer).unwrap_or(own)
    }

    /// Takes up what an operator has said of media.
    pub(crate) fn take_offer(&mut self, change: OfferChange) {
        self.offers.take(change);
    }

    /// Whether media of this name is in the inbox; its digest, if that is known.
    pub(crate) fn known(&self, name: &str) -> Option<Option<Digest>> {
        let (_, entry) = self.entries.iter().find(|(path, _)| file_name(path) == name)?;
        (!matches!(entry.state, EntryState::LaterPart)).then(|| entry.state.sha256())
    }

    /// Whether it is not known yet what is in the inbox.
    pub(crate) fn is_being_read(&self) -> bool {
        !self.listed || self.is_checking()
    }

    /// Whether a check is running.
    pub(crate) fn is_checking(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry.state, EntryState::Checking { .. }))
    }

    /// The media as views show it; `dated` says why one is not used on this day.
    pub(crate) fn views(&self, dated: &dyn Fn(&Media) -> Option<Refusal>) -> Vec<MediaView> {
        let view = |(path, entry): (&PathBuf, &Entry)| {
            let mut view = view(path, entry)?;
            if let EntryState::Media(media) = &entry.state {
                if let Some(rollback) = self.history.rollback(media) {
                    view.state = MediaState::Invalid;
                    view.problems.push(rollback);
                }
                view.refused = dated(media);
            }
            let offered = self.offered(&view.name, view.sha256);
            view.offer = offered.offer;
            view.offered =
                offered.said.map(|said| OfferedView { by: said.by.clone(), at: said.at });
            Some(view)
        };
        self.entries.iter().filter_map(view).collect()
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
        refused: None,
        // Filled in by the catalog.
        // Filled in by the station, which knows the configuration.
        last_day: None,
        offer: Offer::default(),
        offered: None,
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
        signed: None,
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
            view.signed.clone_from(&media.signed);
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
    use crate::tests::STAMP;

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
            let views = catalog.views(&|_| None);
            let names = views.into_iter().filter(|view| view.state == state).map(|view| view.name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(states(&catalog, MediaState::Invalid), ["text.wim"]);
        let view = catalog.inbox_view();
        assert_eq!((view.waiting, &*view.silent[0].name), (7, "link.wim"));
        let began = Timestamp::from_second(5).unwrap();
        catalog.began(&path("b.wim"), began);
        let since: Vec<_> =
            catalog.views(&|_| None).iter().map(|view| view.checking_since).collect();
        assert_eq!(since, [None, Some(began), None, None]);
        assert!(catalog.update(inbox).is_empty(), "nothing has changed");
    }
}
