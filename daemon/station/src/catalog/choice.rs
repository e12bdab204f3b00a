//! Which media a drive gets, and why it gets none.

use std::sync::Arc;

use model::api::snapshot::{MediaState, MediaView};
use model::code::{FindingCode, ReasonCode};
use model::failure::Refusal;
use model::media::Media;
use model::offer::Offer;

use super::MediaCatalog;

/// Why there is no media for a drive.
#[derive(Debug, Clone)]
pub(crate) enum MediaUnavailable {
    /// The media will be known soon: the inbox is being read, or media is being verified.
    Undecided,
    /// There is no media for the drive.
    Missing(Refusal),
}

impl MediaUnavailable {
    /// Why there is no media, if that is decided.
    pub(crate) fn missing(self) -> Option<Refusal> {
        match self {
            Self::Undecided => None,
            Self::Missing(refusal) => Some(refusal),
        }
    }

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

impl MediaCatalog {
    pub(crate) fn offer(&self, media: &Media) -> Offer {
        self.offered(&media.name, Some(media.sha256)).offer
    }

    /// The media for a drive: the one that was named, else the one that is offered automatically. Several of those are
    /// none: nothing about the files decides between them, so that no file that is copied, touched or damaged changes by
    /// itself which media drives get.
    pub(crate) fn choose(&self, named: Option<&str>) -> Result<Arc<Media>, MediaUnavailable> {
        let Some(name) = named else { return self.automatic() };
        let media = self.named(name)?;
        if self.offer(&media) == Offer::Hidden {
            let detail = format!("media {name} is hidden: only an order that names it gets it");
            let refusal = Refusal::new(ReasonCode::NoMedia, detail);
            let hint = format!("`prestagectl media offer {name} by_hand` makes it available");
            return Err(MediaUnavailable::Missing(refusal.with_hint(hint)));
        }
        Ok(media)
    }

    /// The media of this name, to whatever drives it is offered.
    pub(crate) fn named(&self, name: &str) -> Result<Arc<Media>, MediaUnavailable> {
        if let Some(media) = self.valid().into_iter().find(|media| media.name == name) {
            return Ok(media);
        }
        let views = self.views(&|_| None);
        let view = views.iter().find(|view| view.name == name);
        if !self.listed || view.is_some_and(|view| view.state == MediaState::Checking) {
            return Err(MediaUnavailable::Undecided);
        }
        Err(MediaUnavailable::Missing(view.map_or_else(|| self.missing(name), unusable)))
    }

    /// The one media that is offered automatically. While any such file is being verified nothing is decided: what drives
    /// get must not depend on which file was verified first, such as after a start.
    fn automatic(&self) -> Result<Arc<Media>, MediaUnavailable> {
        let offered = |view: &MediaView| view.offer == Offer::Automatic;
        let views: Vec<MediaView> = self.views(&|_| None).into_iter().filter(offered).collect();
        if !self.listed || views.iter().any(|view| view.state == MediaState::Checking) {
            return Err(MediaUnavailable::Undecided);
        }
        let mut valid = self.valid();
        valid.retain(|media| self.offer(media) == Offer::Automatic);
        // The same content under two names is one media.
        let first = valid.first().map(|media| media.sha256);
        let names: Vec<&str> = valid.iter().map(|media| &*media.name).collect();
        let several = valid.iter().any(|media| Some(media.sha256) != first);
        Err(MediaUnavailable::Missing(match (valid.first(), several) {
            (Some(media), false) => return Ok(Arc::clone(media)),
            (_, true) => ambiguous(&names),
            (None, false) => match views.iter().find(|view| view.state == MediaState::Invalid) {
                Some(view) => unusable(view),
                None => self.nothing_offered(),
            },
        }))
    }

    fn missing(&self, name: &str) -> Refusal {
        let detail = format!("no media named {name:?} is in the inbox");
        let views = self.views(&|_| None);
        let shown = views.iter().filter(|view| view.offer != Offer::Hidden);
        let names: Vec<&str> = shown.map(|view| &*view.name).collect();
        Refusal::new(ReasonCode::NoMedia, detail).with_hint(match &names[..] {
            [] => "the inbox is empty; copy a prestaged WIM there".to_owned(),
            names => format!("media in the inbox: {}", names.join(", ")),
        })
    }

    /// Why drives get no media that nobody has named.
    fn nothing_offered(&self) -> Refusal {
        let views = self.views(&|_| None);
        let shown = views.iter().filter(|view| view.offer != Offer::Hidden);
        let names: Vec<&str> = shown.map(|view| &*view.name).collect();
        if let [first, ..] = &names[..] {
            let detail = format!("no media is offered automatically; by hand: {}", listed(&names));
            let refusal = Refusal::new(ReasonCode::NoMedia, detail);
            return refusal.with_hint(format!(
                "name one (`prestagectl image DEVICE --media {first}`), or `prestagectl media offer {first} automatic`"
            ));
        }
        let at = match self.folder.as_os_str().is_empty() {
            true => String::new(),
            false => format!(" {}", self.folder.display()),
        };
        let detail = match views.is_empty() {
            true => format!("no media is in the inbox{at}"),
            false => format!("no media in the inbox{at} is offered to drives without an order"),
        };
        Refusal::new(ReasonCode::NoMedia, detail).with_hint(match views.is_empty() {
            true => "copy a prestaged WIM there",
            false => "see `prestagectl media list --all`",
        })
    }
}

/// How many names are told.
const NAMED: usize = 8;

/// Names in a sentence.
fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn ambiguous(names: &[&str]) -> Refusal {
    let detail = format!(
        "{} media are offered automatically, and nothing decides between them: {}",
        names.len(),
        listed(names)
    );
    let hint = "`prestagectl media offer NAME by_hand` for all but one, or take them out of the inbox; \
                `prestagectl image DEVICE --media NAME` names one for one drive";
    Refusal::new(ReasonCode::MediaAmbiguous, detail).with_hint(hint)
}

/// Why media that has a problem is not used.
fn unusable(view: &MediaView) -> Refusal {
    let why: Vec<&str> = view.problems.iter().map(|problem| problem.detail.as_str()).collect();
    let detail = format!("media {} is not usable: {}", view.name, why.join("; "));
    let hints: Vec<&str> = view.problems.iter().filter_map(|p| p.hint.as_deref()).collect();
    // What is wrong with who vouches for it has codes of its own.
    let code = match view.problems.first().map(|problem| problem.code) {
        Some(FindingCode::MediaUnsigned) => ReasonCode::MediaUnsigned,
        Some(FindingCode::SignerUnknown) => ReasonCode::SignerUnknown,
        Some(FindingCode::MediaRollback) => ReasonCode::MediaRollback,
        _ => ReasonCode::MediaInvalid,
    };
    let refusal = Refusal::new(code, detail);
    match &hints[..] {
        [] => refusal,
        _ => refusal.with_hint(hints.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use jiff::Timestamp;
    use model::code::FailureCode;
    use model::digest::Digest;
    use model::failure::Failure;
    use model::media::{IntakeOutcome, Stamp};
    use model::offer::{OfferChange, Offers};

    use super::*;
    use crate::tests::{STAMP, media};

    /// What a drive gets: the name of the media, or the code of the refusal.
    fn told(catalog: &MediaCatalog, name: Option<&str>) -> String {
        match catalog.choose(name) {
            Ok(media) => media.name.clone(),
            Err(MediaUnavailable::Undecided) => "undecided".into(),
            Err(MediaUnavailable::Missing(refusal)) => refusal.code.to_string(),
        }
    }

    fn path(name: &str) -> PathBuf {
        PathBuf::from("/inbox").join(name)
    }

    /// An inbox with these files, each of the age of its place.
    fn with(names: &[&str]) -> MediaCatalog {
        let mut catalog = MediaCatalog::default();
        let file = |(at, name): (i64, &&str)| (path(name), Stamp { modified_ns: at, ..STAMP });
        let listing: HashMap<_, _> = (1..).zip(names).map(file).collect();
        assert_eq!(catalog.update(listing.into()).len(), names.len());
        catalog
    }

    fn valid(catalog: &mut MediaCatalog, name: &str, content: u8) {
        let media = Media { name: name.into(), sha256: Digest([content; 32]), ..media() };
        catalog.checked(&path(name), Ok(IntakeOutcome::Media(Box::new(media))));
    }

    fn offer(catalog: &mut MediaCatalog, name: &str, offer: Offer) {
        let sha256 = catalog.known(name).unwrap();
        let (media, at) = (name.to_owned(), Timestamp::UNIX_EPOCH);
        catalog.take_offer(OfferChange { media, sha256, offer, by: "anna".into(), uid: 1, at });
    }

    #[test]
    fn the_age_of_a_file_decides_nothing() {
        assert_eq!(told(&MediaCatalog::default(), None), "undecided", "the inbox is not listed");
        for names in [["a.wim", "b.wim"], ["b.wim", "a.wim"]] {
            let mut catalog = with(&names);
            assert_eq!(told(&catalog, Some("a.wim")), "undecided", "it is being verified");
            valid(&mut catalog, names[0], 1);
            assert_eq!(told(&catalog, None), "undecided", "whichever is verified first");
            assert_eq!(told(&catalog, Some(names[0])), names[0], "somebody has named it");
            valid(&mut catalog, names[1], 2);
            assert_eq!(told(&catalog, None), "media_ambiguous");
            offer(&mut catalog, "b.wim", Offer::ByHand);
            assert_eq!(told(&catalog, None), "a.wim");
            assert_eq!(told(&catalog, Some("b.wim")), "b.wim");
            offer(&mut catalog, "b.wim", Offer::Hidden);
            assert_eq!(
                (told(&catalog, None), told(&catalog, Some("b.wim"))),
                ("a.wim".into(), "no_media".into())
            );
            assert_eq!(catalog.named("b.wim").unwrap().name, "b.wim");
            offer(&mut catalog, "a.wim", Offer::ByHand);
            assert_eq!(told(&catalog, None), "no_media");
            assert_eq!(told(&catalog, Some("none.wim")), "no_media");
        }
    }

    #[test]
    fn one_content_under_two_names_is_one_media() {
        let mut catalog = with(&["b.wim", "a.wim"]);
        valid(&mut catalog, "b.wim", 1);
        valid(&mut catalog, "a.wim", 1);
        assert_eq!(told(&catalog, None), "a.wim");
    }

    #[test]
    fn a_copy_is_not_more_available_than_the_file_that_the_configuration_names() {
        let mut catalog = with(&["b.wim", "a.wim", "other.wim"]);
        let configured = [("b.wim".to_owned(), Offer::Hidden), ("other.wim".into(), Offer::ByHand)];
        catalog.offers = Offers::configured(Offer::Automatic, configured.into());
        valid(&mut catalog, "b.wim", 1);
        valid(&mut catalog, "other.wim", 2);
        assert_eq!(told(&catalog, None), "undecided", "it may be a copy");
        valid(&mut catalog, "a.wim", 1);
        assert_eq!(
            (&*told(&catalog, None), &*told(&catalog, Some("a.wim"))),
            ("no_media", "no_media")
        );
        offer(&mut catalog, "a.wim", Offer::Automatic);
        assert_eq!(told(&catalog, None), "a.wim", "somebody has said so, of the content");
        offer(&mut catalog, "a.wim", Offer::Hidden);
    }

    /// A file that cannot be used changes nothing about the one that can; without one, it is the reason.
    #[test]
    fn what_is_not_usable_takes_no_part() {
        let mut catalog = with(&["good.wim", "bad.wim"]);
        catalog.checked(&path("bad.wim"), Err(Failure::new(FailureCode::MediaUnreadable, "x")));
        valid(&mut catalog, "good.wim", 1);
        assert_eq!(told(&catalog, None), "good.wim");
        assert_eq!(told(&catalog, Some("bad.wim")), "media_invalid");
        offer(&mut catalog, "good.wim", Offer::ByHand);
        assert_eq!(told(&catalog, None), "media_invalid");
        offer(&mut catalog, "bad.wim", Offer::Hidden);
        assert_eq!(told(&catalog, None), "no_media");
    }
}
