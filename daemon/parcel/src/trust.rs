//! Who may vouch for media, and whether enough of them do.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;
use signing::{Envelope, EnvelopeError, PublicKey};

use model::digest::Digest;
use model::hint::Hint;
use model::parcel::{MANIFEST_TYPE, ManifestError, ParcelManifest, Product};

/// Somebody whose signature counts.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Signer {
    pub name: String,
    pub key: PublicKey,
    /// The products that it may vouch for; all if empty.
    pub products: Vec<Pattern>,
    /// How many of those who may vouch for one of these products must do so.
    pub threshold: u32,
}

/// All whose signatures count. If there are none, no signature is asked for.
#[derive(Clone, Debug, Default)]
pub struct Signers(Vec<Signer>);

/// A manifest, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Vouched {
    pub manifest: ParcelManifest,
    /// Their names; empty if nobody was asked for.
    pub by: BTreeSet<String>,
}

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// It was changed, or is none.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// What was signed is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Nobody has signed it who may vouch for this product.
    #[error("nobody who is listed for {product} has signed it; it names {keys}")]
    #[expect(missing_docs, reason = "the names say it")]
    Unknown { product: Product, keys: String },
    /// Not enough have.
    #[error("{product} needs signatures of {needed} signers, and has {found}")]
    #[expect(missing_docs, reason = "the names say it")]
    TooFew { product: Product, needed: u32, found: String },
}

impl Hint for Distrust {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Envelope(_) => Some("get the parcel again from its maker".into()),
            Self::Manifest(error) => error.hint(),
            Self::Unknown { .. } => Some(
                "have it signed by one who is listed (`prestagectl media sign`); or, if its maker is to be trusted, list the \
                 maker's public key in media.signers, or in the next list of signers"
                    .into(),
            ),
            Self::TooFew { .. } => Some("have it signed by the others, too".into()),
        }
    }
}

impl Signer {
    fn covers(&self, product: &Product) -> bool {
        self.products.is_empty() || self.products.iter().any(|p| p.matches(product.as_str()))
    }
}

impl Signers {
    /// These signers.
    pub fn new(signers: Vec<Signer>) -> Self {
        Self(signers)
    }

    /// Whether no signature is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signatures of a manifest. A key that is listed under several names counts once.
    ///
    /// # Errors
    /// [`Distrust`]
    pub fn judge(&self, envelope: &Envelope) -> Result<Vouched, Distrust> {
        let verified = envelope.verify(MANIFEST_TYPE, self.0.iter().map(|signer| &signer.key))?;
        let manifest = ParcelManifest::parse(&verified.payload)?;
        if self.is_empty() {
            return Ok(Vouched { manifest, by: BTreeSet::new() });
        }
        let product = &manifest.product;
        let covering = self.0.iter().filter(|signer| signer.covers(product));
        let needed = covering.clone().map(|signer| signer.threshold).max().unwrap_or(1).max(1);
        let right = covering.filter(|signer| verified.signers.contains(&signer.key.id()));
        let right: BTreeMap<Digest, String> =
            right.map(|signer| (signer.key.id(), signer.name.clone())).collect();
        if right.is_empty() {
            let short = |key: &str| key.get(..16).unwrap_or(key).to_owned();
            let known = verified.signers.iter().map(|id| short(&id.to_string()));
            let keys: Vec<String> =
                known.chain(verified.unknown.iter().map(|key| short(key))).collect();
            let keys = match &keys[..] {
                [] => "no key".to_owned(),
                keys => format!("key {}", keys.join(", ")),
            };
            return Err(Distrust::Unknown { product: product.clone(), keys });
        }
        let names: Vec<String> = right.values().cloned().collect();
        if u32::try_from(right.len()).unwrap_or(u32::MAX) < needed {
            let (product, found) = (product.clone(), names.join(", "));
            return Err(Distrust::TooFew { product, needed, found });
        }
        Ok(Vouched { manifest, by: names.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use signing::SecretKey;

    use super::*;
    use model::parcel::{Contents, FileClaim, IndexClaim};
    use model::units::Bytes;

    fn signed(keys: &[&SecretKey]) -> Envelope {
        let manifest = ParcelManifest {
            product: "acme-win11".parse().unwrap(),
            sequence: 1,
            version: None,
            created: jiff::Timestamp::UNIX_EPOCH,
            not_before: None,
            expires: None,
            offer: None,
            file: FileClaim { name: "a.wim".into(), sha256: Digest::of(b""), size_bytes: Bytes(0) },
            guid: String::new(),
            images: 1,
            contents: Contents::default(),
            index: IndexClaim { sha256: Digest::of(b""), pieces: 0 },
            packs: Vec::new(),
            bases: Vec::new(),
            made_by: String::new(),
        };
        let payload = serde_json::to_vec(&manifest).unwrap();
        Envelope::sign(MANIFEST_TYPE, &payload, keys.iter().copied())
    }

    fn signer(name: &str, key: &SecretKey, products: &[&str], threshold: u32) -> Signer {
        let products = products.iter().map(|p| Pattern::new(p).unwrap()).collect();
        Signer { name: name.into(), key: key.public(), products, threshold }
    }

    #[test]
    fn as_many_as_needed_of_those_who_may() {
        let keys = [(); 3].map(|()| SecretKey::generate().unwrap());
        let [a, b, c] = keys.each_ref();
        let told = |signers: Vec<Signer>, keys: &[&SecretKey]| match Signers::new(signers)
            .judge(&signed(keys))
        {
            Ok(vouched) => vouched.by.into_iter().collect::<Vec<_>>().join("+"),
            Err(Distrust::Unknown { .. }) => "unknown".into(),
            Err(Distrust::TooFew { needed, found, .. }) => format!("{found} of {needed}"),
            Err(other) => other.to_string(),
        };
        let one = || vec![signer("a", a, &[], 1), signer("b", b, &["acme-*"], 1)];
        assert_eq!(told(Vec::new(), &[]), "", "nobody is asked for");
        assert_eq!(told(one(), &[]), "unknown");
        assert_eq!(told(one(), &[c]), "unknown");
        assert_eq!(told(one(), &[b]), "b");
        assert_eq!(told(one(), &[a, b, c]), "a+b");
        let two =
            || vec![signer("a", a, &[], 2), signer("b", b, &[], 1), signer("c", c, &["x"], 1)];
        assert_eq!(told(two(), &[a]), "a of 2");
        assert_eq!(told(two(), &[a, a]), "a of 2", "one key counts once");
        assert_eq!(told(two(), &[a, c]), "a of 2", "c may not vouch for this product");
        assert_eq!(told(two(), &[a, b]), "a+b");
        assert_eq!(
            told(vec![signer("a", a, &[], 2), signer("again", a, &[], 2)], &[a]),
            "again of 2"
        );
        assert_eq!(told(vec![signer("x", a, &["x*"], 1)], &[a]), "unknown");
        let other = Envelope::sign("text/plain", b"{}", [a]);
        assert!(matches!(Signers::new(one()).judge(&other), Err(Distrust::Envelope(_))));
        let none = Envelope::sign(MANIFEST_TYPE, b"{}", [a]);
        assert!(matches!(Signers::new(one()).judge(&none), Err(Distrust::Manifest(_))));
    }
}
