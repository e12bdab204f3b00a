//! What the station has had of each product: older media is a step back, which an attacker could force on a station with
//! media that was right once.

use std::collections::BTreeSet;

use model::code::FindingCode;
use model::digest::Digest;
use model::failure::Finding;
use model::media::Media;
use model::parcel::{ParcelManifest, Sequences};

/// The highest sequence of each product, and what an operator has accepted all the same.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The highest sequences seen.
    pub highest: Sequences,
    /// Older media that may be used.
    pub accepted: BTreeSet<Digest>,
}

/// The manifest of media, if somebody whom the station trusts vouches for it.
pub fn vouched(media: &Media) -> Option<&ParcelManifest> {
    let signed = media.signed.as_ref().filter(|signed| !signed.by.is_empty())?;
    media.problems.is_empty().then_some(&signed.manifest)
}

impl History {
    /// Takes up the sequence of media that was found good.
    pub(crate) fn note(&mut self, media: &Media) {
        let Some(manifest) = vouched(media) else { return };
        let highest = self.highest.entry(manifest.product.clone()).or_default();
        *highest = (*highest).max(manifest.sequence);
    }

    /// A problem if later media of the same product has been seen.
    pub(crate) fn rollback(&self, media: &Media) -> Option<Finding> {
        let ParcelManifest { product, sequence, .. } = vouched(media)?;
        let highest = self.highest.get(product).filter(|highest| *highest > sequence)?;
        if self.accepted.contains(&media.sha256) {
            return None;
        }
        let detail = format!("it is {product} {sequence}, and the station has had {highest}");
        let hint = format!(
            "use {product} {highest} or later; `prestagectl media accept {} --reason TEXT` lets this one be used",
            media.name
        );
        Some(Finding::new(FindingCode::MediaRollback, detail).with_hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::media::Signed;
    use model::parcel::{Contents, FileClaim, IndexClaim};
    use model::units::Bytes;

    use super::*;
    use crate::tests::media;

    pub(crate) fn signed(sequence: u64, by: &[&str]) -> Media {
        let sha256 = Digest::of(&sequence.to_le_bytes());
        let manifest = ParcelManifest {
            product: "win11".parse().unwrap(),
            sequence,
            version: None,
            created: Timestamp::UNIX_EPOCH,
            not_before: None,
            expires: None,
            offer: None,
            file: FileClaim { name: "a.wim".into(), sha256, size_bytes: Bytes(1) },
            guid: String::new(),
            images: 1,
            contents: Contents::default(),
            index: IndexClaim { sha256, pieces: 1 },
            packs: Vec::new(),
            bases: Vec::new(),
            made_by: String::new(),
        };
        let by = by.iter().map(|name| (*name).to_owned()).collect();
        Media { sha256, signed: Some(Signed { manifest, by, differences: Vec::new() }), ..media() }
    }

    #[test]
    fn older_media_is_a_step_back_until_it_is_accepted() {
        let mut history = History::default();
        let [old, new] = [6, 7].map(|sequence| signed(sequence, &["maker"]));
        history.note(&old);
        assert_eq!(history.rollback(&old), None);
        // What nobody vouches for, or is not good, moves nothing.
        history.note(&signed(9, &[]));
        let problem = Finding::new(FindingCode::WimDamaged, "x");
        history.note(&Media { problems: vec![problem], ..signed(9, &["maker"]) });
        assert_eq!(history.rollback(&old), None);
        history.note(&new);
        assert_eq!(history.rollback(&new), None);
        assert_eq!(history.rollback(&old).unwrap().code, FindingCode::MediaRollback);
        assert_eq!(history.rollback(&media()), None, "what is not signed has no sequence");
        history.accepted.insert(old.sha256);
        assert_eq!(history.rollback(&old), None);
    }
}
