//! Offers: to which drives media is made available. Nothing else decides which media a drive gets, least of all the age of
//! a file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray};

use crate::digest::Digest;

/// To which drives media is made available, the narrowest first.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    VariantArray,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Offer {
    /// Only to those of an order that names it; lists leave it out unless they are asked for all.
    Hidden,
    /// To those for which somebody names it, or whose order does.
    ByHand,
    /// To every admitted drive.
    #[default]
    Automatic,
}

/// What an operator has said of media: one row of the ledger's history of offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OfferChange {
    /// The name of the media.
    pub media: String,
    /// Its digest; absent if it was not known yet.
    pub sha256: Option<Digest>,
    pub offer: Offer,
    /// Who has said it.
    pub by: String,
    pub uid: u32,
    pub at: Timestamp,
}

/// All that was said of media.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// The offer of media of which nothing was said.
    pub usual: Offer,
    /// What the configuration says, by name.
    pub configured: BTreeMap<String, Offer>,
    /// The last that an operator has said, by name and by digest.
    by_name: BTreeMap<String, OfferChange>,
    by_digest: BTreeMap<Digest, OfferChange>,
}

/// The offer of one media, and who has made it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered<'a> {
    /// To which drives it is made available.
    pub offer: Offer,
    /// The operator's word for it; absent if the configuration decides.
    pub said: Option<&'a OfferChange>,
}

impl Offers {
    /// What the configuration says: of all media, and of some by name.
    pub fn configured(usual: Offer, configured: BTreeMap<String, Offer>) -> Self {
        Self { usual, configured, ..Self::default() }
    }

    /// Takes up what an operator has said; it counts in place of anything that was said before.
    pub fn take(&mut self, change: OfferChange) {
        if let Some(sha256) = change.sha256 {
            self.by_digest.insert(sha256, change.clone());
        }
        self.by_name.insert(change.media.clone(), change);
    }

    /// The offer of media with this name and content. An operator's word counts more than the configuration. It goes with
    /// the name, so that it stays when the file is replaced, and with the content, so that it stays when the file is renamed
    /// or copied; where that is not the same, the narrower one counts.
    pub fn of(&self, name: &str, sha256: Option<Digest>) -> Offered<'_> {
        let named = alike(&self.by_name, name, |change| change.offer);
        let same = sha256.and_then(|sha256| self.by_digest.get(&sha256));
        let said = named.into_iter().chain(same).min_by_key(|change| change.offer);
        let configured = || alike(&self.configured, name, |offer| *offer).copied();
        match said {
            Some(change) => Offered { offer: change.offer, said },
            None => Offered { offer: configured().unwrap_or(self.usual), said },
        }
    }
}

/// What is said of a name, or else the narrowest of what is said of names that differ from it in upper and lower case: a
/// renamed file must not become more available than it was.
fn alike<'a, T>(
    all: &'a BTreeMap<String, T>,
    name: &str,
    offer: impl Fn(&T) -> Offer,
) -> Option<&'a T> {
    let lower = name.to_lowercase();
    let alike = || all.iter().filter(|(other, _)| other.to_lowercase() == lower);
    all.get(name).or_else(|| alike().map(|(_, said)| said).min_by_key(|said| offer(said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(media: &str, digest: Option<u8>, offer: Offer) -> OfferChange {
        let sha256 = digest.map(|byte| Digest([byte; 32]));
        let at = Timestamp::UNIX_EPOCH;
        OfferChange { media: media.into(), sha256, offer, by: "anna".into(), uid: 1000, at }
    }

    #[test]
    fn an_operators_word_goes_with_the_name_and_with_the_content() {
        let configured = BTreeMap::from([
            ("Old.wim".to_owned(), Offer::ByHand),
            ("OLD.wim".to_owned(), Offer::Hidden),
        ]);
        let mut offers = Offers::configured(Offer::Automatic, configured);
        let one = Some(Digest([1; 32]));
        let of = |offers: &Offers, name, digest| offers.of(name, digest).offer;
        assert_eq!(of(&offers, "new.wim", one), Offer::Automatic);
        assert_eq!(of(&offers, "Old.wim", one), Offer::ByHand);
        assert_eq!(of(&offers, "old.wim", None), Offer::Hidden, "the narrowest of those alike");
        offers.take(said("new.wim", Some(1), Offer::ByHand));
        assert_eq!(of(&offers, "new.wim", Some(Digest([2; 32]))), Offer::ByHand, "replaced");
        assert_eq!(of(&offers, "copy.wim", one), Offer::ByHand, "copied");
        assert_eq!(of(&offers, "NEW.WIM", None), Offer::ByHand, "renamed");
        offers.take(said("copy.wim", Some(1), Offer::Automatic));
        assert_eq!(of(&offers, "copy.wim", one), Offer::Automatic);
        assert_eq!(of(&offers, "new.wim", one), Offer::ByHand, "its name was said to be by hand");
        offers.take(said("new.wim", None, Offer::Hidden));
        assert_eq!(of(&offers, "new.wim", one), Offer::Hidden);
        offers.take(said("Old.wim", None, Offer::Automatic));
        let last = offers.of("Old.wim", None);
        assert_eq!(last.offer, Offer::Automatic, "more than the configuration");
        assert_eq!(last.said.unwrap().by, "anna");
    }
}
