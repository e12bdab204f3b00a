//! Lists of signers, each signed by those of the list before: so a key is exchanged without a hand on each station.
//!
//! Who may vouch for products may hand that on, and nothing else: each signer that a list adds, takes out or changes needs
//! the signatures of those before who may vouch for all that it may vouch for, as many of them as media would need.

use std::collections::BTreeSet;

use model::digest::Digest;
use model::hint::Hint;
use model::signers::{ListMistake, ListedSigner, SIGNERS_TYPE, SignerList};
use signing::{Envelope, EnvelopeError, KeyError, PublicKey};

use crate::trust::{Signer, Signers};

/// Signers, as they are listed and with their keys.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    listed: Vec<ListedSigner>,
    keys: Vec<PublicKey>,
}

/// Signers of which one cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RosterError {
    #[error("the key of {name} cannot be used")]
    Key {
        name: String,
        #[source]
        source: KeyError,
    },
    #[error("{0} and {1} have the same key")]
    SameKey(String, String),
}

/// Why a list of signers does not take the place of the one before it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SuccessionError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    List(#[from] ListMistake),
    #[error(transparent)]
    Roster(#[from] RosterError),
    #[error("it changes nothing")]
    Nothing,
    #[error("it is list {found}, and the next one is {next}")]
    Number { found: u64, next: u64 },
    #[error(
        "{name} ({products}) is new, other or gone in it, and nobody before may vouch for all of that"
    )]
    Nobody { name: String, products: String },
    #[error(
        "{name} ({products}) is new, other or gone in it, which needs signatures of {needed} of {covering}, and has {found}"
    )]
    TooFew { name: String, products: String, needed: u32, covering: String, found: String },
}

impl Hint for RosterError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Key { source, .. } => source.hint(),
            Self::SameKey(..) => Some("each signer has a key of its own".into()),
        }
    }
}

impl Hint for SuccessionError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Envelope(_) => Some("get the list again from its maker".into()),
            Self::List(mistake) => mistake.hint(),
            Self::Roster(error) => error.hint(),
            Self::Nothing => Some("take it out of the folder".into()),
            Self::Number { .. } => Some("lists follow one another without a gap".into()),
            Self::Nobody { .. } => {
                Some("a signer for all products can hand on any of them; or change media.signers on the station".into())
            }
            Self::TooFew { .. } => {
                Some("have them sign it, too: `prestagectl key cosign LIST --key KEY`".into())
            }
        }
    }
}

impl Roster {
    /// Signers as they are listed.
    ///
    /// # Errors
    /// [`RosterError`] if a key is none, or listed twice.
    pub fn new(listed: Vec<ListedSigner>) -> Result<Self, RosterError> {
        let key = |signer: &ListedSigner| {
            PublicKey::from_pem(signer.key.trim())
                .map_err(|source| RosterError::Key { name: signer.name.clone(), source })
        };
        let keys: Vec<PublicKey> = listed.iter().map(key).collect::<Result<_, _>>()?;
        for (at, key) in keys.iter().enumerate() {
            if let Some(other) = keys[..at].iter().position(|other| other == key) {
                let name = |at: usize| listed[at].name.clone();
                return Err(RosterError::SameKey(name(other), name(at)));
            }
        }
        Ok(Self { listed, keys })
    }

    /// As they are listed.
    pub fn listed(&self) -> &[ListedSigner] {
        &self.listed
    }

    /// A digest of all that counts of them; a key is the same however its PEM is written.
    pub fn digest(&self) -> Digest {
        let both = self.listed.iter().zip(&self.keys);
        let told: Vec<_> = both
            .map(|(signer, key)| (&signer.name, key.id(), &signer.products, signer.threshold))
            .collect();
        Digest::of(&serde_json::to_vec(&told).unwrap_or_default())
    }

    /// The name of each, and of its key.
    pub fn keys(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.listed.iter().zip(&self.keys).map(|(signer, key)| (&*signer.name, key.id()))
    }

    /// To judge manifests by.
    pub fn signers(&self) -> Signers {
        let both = self.listed.iter().zip(&self.keys);
        let signer = |(listed, key): (&ListedSigner, &PublicKey)| Signer {
            name: listed.name.clone(),
            key: key.clone(),
            products: listed.products.iter().filter_map(|p| glob::Pattern::new(p).ok()).collect(),
            threshold: listed.threshold,
        };
        Signers::new(both.map(signer).collect())
    }

    /// The signers of the list with this number, if enough of these have signed it.
    ///
    /// # Errors
    /// [`SuccessionError`]
    pub fn succeeded_by(
        &self,
        envelope: &Envelope,
        next: u64,
    ) -> Result<(Self, SignerList), SuccessionError> {
        let verified = envelope.verify(SIGNERS_TYPE, &self.keys)?;
        let list = SignerList::parse(&verified.payload)?;
        if list.number != next {
            return Err(SuccessionError::Number { found: list.number, next });
        }
        let after = Self::new(list.signers.clone())?;
        let changes = self.changes(&after);
        if changes.is_empty() {
            return Err(SuccessionError::Nothing);
        }
        for (changed, how) in changes {
            self.allow(changed, how, &verified.signers)?;
        }
        Ok((after, list))
    }

    /// What is not as before. A key is the same however its PEM is written, and the order of a list says nothing.
    fn changes<'a>(&'a self, after: &'a Self) -> Vec<(&'a ListedSigner, How)> {
        let plain = |signer: &ListedSigner| ListedSigner { key: String::new(), ..signer.clone() };
        let only = |one: &'a Self, other: &'a Self| {
            let stays = move |(signer, key): &(&ListedSigner, &PublicKey)| {
                let mut both = other.listed.iter().zip(&other.keys);
                both.any(|(other, other_key)| *key == other_key && plain(signer) == plain(other))
            };
            let both = one.listed.iter().zip(&one.keys);
            both.filter(move |one| !stays(one)).map(|(signer, _)| signer)
        };
        let mut gone: Vec<_> = only(self, after).collect();
        let mut all = Vec::new();
        for new in only(after, self) {
            let same = |old: &&ListedSigner| plain(old) == plain(new);
            match gone.iter().position(same) {
                Some(at) => all.push((gone.remove(at), How::Exchanged)),
                None => all.push((new, How::New)),
            }
        }
        all.extend(gone.into_iter().map(|old| (old, How::Gone)));
        all
    }

    /// Whether those who have signed may make a change.
    fn allow(
        &self,
        changed: &ListedSigner,
        how: How,
        signed: &BTreeSet<Digest>,
    ) -> Result<(), SuccessionError> {
        let concerned = self.listed.iter().filter(|signer| may_meet(signer, changed));
        let most = concerned.map(|signer| signer.threshold).max().unwrap_or(1).max(1);
        // Who asks for more signatures than are needed now asks that of others, too.
        let is_raised = how == How::New && changed.threshold > most;
        let covers = |signer: &ListedSigner| {
            let has_all = changed.products.iter().all(|one| signer.products.contains(one));
            signer.products.is_empty() || !is_raised && !changed.products.is_empty() && has_all
        };
        let both = self.listed.iter().zip(&self.keys);
        let covering: Vec<_> = both.filter(|(signer, _)| covers(signer)).collect();
        let products = match &changed.products[..] {
            [] => "all products".to_owned(),
            products => products.join(", "),
        };
        let name = changed.name.clone();
        if covering.is_empty() {
            return Err(SuccessionError::Nobody { name, products });
        }
        // Another key in the same place lets nobody do more than before. So as many as there are are enough, where media
        // needs signatures of others, too.
        let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
        let needed = match how {
            How::Exchanged => most.min(count(covering.len())),
            How::New | How::Gone => most,
        };
        let names = |those: &[&(&ListedSigner, &PublicKey)]| {
            let names: Vec<&str> = those.iter().map(|(signer, _)| &*signer.name).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let has = |(_, key): &&(&ListedSigner, &PublicKey)| signed.contains(&key.id());
        let found: Vec<_> = covering.iter().filter(has).collect();
        if count(found.len()) < needed {
            let (covering, found) = (names(&covering.iter().collect::<Vec<_>>()), names(&found));
            return Err(SuccessionError::TooFew { name, products, needed, covering, found });
        }
        Ok(())
    }
}

/// How a signer is not as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It has another key, and nothing else is other.
    Exchanged,
    /// It was not there before, or not so.
    New,
    Gone,
}

/// Whether there may be a product that both may vouch for. Patterns whose beginnings differ before the first wildcard have
/// none in common.
fn may_meet(one: &ListedSigner, other: &ListedSigner) -> bool {
    let beginning = |text: &str| text.split(['*', '?', '[']).next().unwrap_or_default().to_owned();
    let meet = |(a, b): (String, String)| a.starts_with(&*b) || b.starts_with(&*a);
    let all = one.products.is_empty() || other.products.is_empty();
    let pairs = one
        .products
        .iter()
        .flat_map(|a| other.products.iter().map(move |b| (a.as_str(), b.as_str())));
    all || pairs.map(|(a, b)| (beginning(a), beginning(b))).any(meet)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use signing::SecretKey;

    use super::*;

    fn listed(name: &str, key: &SecretKey, products: &[&str], threshold: u32) -> ListedSigner {
        let products = products.iter().map(|&product| product.to_owned()).collect();
        ListedSigner { name: name.into(), key: key.public().to_pem(), products, threshold }
    }

    fn signed(number: u64, signers: Vec<ListedSigner>, keys: &[&SecretKey]) -> Envelope {
        let created = Timestamp::UNIX_EPOCH;
        let list = SignerList { number, created, reason: None, signers };
        let payload = serde_json::to_vec(&list).unwrap();
        Envelope::sign(SIGNERS_TYPE, &payload, keys.iter().copied())
    }

    fn told(found: Result<(Roster, SignerList), SuccessionError>) -> String {
        match found {
            Ok((roster, _)) => {
                let names: Vec<&str> = roster.listed().iter().map(|s| &*s.name).collect();
                names.join("+")
            }
            Err(SuccessionError::TooFew { name, needed, found, .. }) => {
                format!("{name}: {found} of {needed}")
            }
            Err(SuccessionError::Nobody { name, .. }) => format!("{name}: nobody"),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn who_may_vouch_may_hand_it_on_and_nothing_else() {
        let keys = [(); 4].map(|()| SecretKey::generate().unwrap());
        let [a, b, c, d] = keys.each_ref();
        let before =
            Roster::new(vec![listed("a", a, &[], 1), listed("b", b, &["acme-*", "x"], 1)]).unwrap();
        let next = |signers: Vec<ListedSigner>, keys: &[&SecretKey]| {
            told(before.succeeded_by(&signed(1, signers, keys), 1))
        };
        let all = |key| listed("a", key, &[], 1);
        let acme = |key| listed("b", key, &["acme-*", "x"], 1);
        assert_eq!(next(vec![all(a), acme(b)], &[a]), "it changes nothing");
        assert_eq!(next(vec![acme(b), all(a)], &[a, b]), "it changes nothing");
        assert_eq!(next(vec![all(c), acme(b)], &[a]), "a+b", "its own key is exchanged");
        assert_eq!(next(vec![all(c), acme(b)], &[c]), "a: none of 1");
        assert_eq!(next(vec![all(c), acme(b)], &[b]), "a: none of 1", "not for all products");
        assert_eq!(next(vec![all(a), acme(c)], &[b]), "a+b");
        assert_eq!(next(vec![all(a), acme(c)], &[a]), "a+b", "for all products is for these");
        assert_eq!(next(vec![all(a)], &[b]), "a", "it gives up");
        assert_eq!(next(vec![acme(b)], &[b]), "a: none of 1");
        assert_eq!(next(vec![all(a), acme(b), listed("c", c, &["x"], 1)], &[b]), "a+b+c");
        assert_eq!(next(vec![all(a), acme(b), listed("c", c, &["*"], 1)], &[b]), "c: none of 1");
        assert_eq!(next(vec![all(a), acme(b), listed("c", c, &[], 1)], &[b]), "c: none of 1");
        assert_eq!(next(vec![all(a), listed("b", b, &["acme-*"], 1)], &[b]), "a+b");
        assert_eq!(next(vec![all(a), listed("b", b, &["acme-*", "y"], 1)], &[b]), "b: none of 1");
        assert_eq!(
            next(vec![all(a), listed("other", b, &["acme-*", "x"], 1)], &[d]),
            "other: none of 1"
        );
        // Forged, of another number, of another kind, or not to be used.
        assert!(told(before.succeeded_by(&signed(2, vec![all(a)], &[a]), 1)).contains("list 2"));
        assert!(next(Vec::new(), &[a]).contains("nobody"));
        assert!(next(vec![all(a), listed("b", a, &[], 1)], &[a]).contains("same key"));
        assert!(next(vec![listed("a", a, &[], 2)], &[a]).contains("cannot be met"));
        let document = |envelope: &Envelope| -> serde_json::Value {
            serde_json::from_slice(&envelope.to_bytes()).unwrap()
        };
        let mut forged = document(&signed(1, vec![all(c)], &[a]));
        forged["payload"] = document(&signed(1, vec![all(d)], &[d]))["payload"].take();
        let forged = Envelope::parse(forged.to_string().as_bytes()).unwrap();
        assert!(told(before.succeeded_by(&forged, 1)).contains("wrong"));
        let other = Envelope::sign("text/plain", b"{}", [a]);
        assert!(matches!(before.succeeded_by(&other, 1), Err(SuccessionError::Envelope(_))));
    }

    #[test]
    fn as_many_as_media_would_need() {
        let keys = [(); 4].map(|()| SecretKey::generate().unwrap());
        let [a, b, c, d] = keys.each_ref();
        let both = |second: &SecretKey| vec![listed("a", a, &[], 2), listed("b", second, &[], 1)];
        let before = Roster::new(both(b)).unwrap();
        let next = |signers: Vec<ListedSigner>, keys: &[&SecretKey]| {
            told(before.succeeded_by(&signed(1, signers, keys), 1))
        };
        assert_eq!(next(both(c), &[a]), "b: a of 2");
        assert_eq!(next(both(c), &[a, a, c, d]), "b: a of 2", "new keys do not count");
        assert_eq!(next(both(c), &[a, b]), "a+b");
        // The key that was exchanged counts no more.
        let (after, _) = before.succeeded_by(&signed(1, both(c), &[a, b]), 1).unwrap();
        assert_eq!(told(after.succeeded_by(&signed(2, both(d), &[a, b]), 2)), "b: a of 2");
        assert_eq!(told(after.succeeded_by(&signed(2, both(d), &[a, c]), 2)), "a+b");
        // One who may vouch for more products does not make up a second signature for these.
        let wider = vec![listed("a", a, &["acme-*"], 1), listed("b", b, &["acme-win"], 2)];
        let wider = Roster::new(wider).unwrap();
        let list = |keys: &[&SecretKey]| {
            let third = listed("c", c, &["acme-*"], 1);
            signed(1, [wider.listed(), &[third]].concat(), keys)
        };
        assert_eq!(told(wider.succeeded_by(&list(&[a]), 1)), "c: a of 2");
        let apart = vec![listed("a", a, &["acme-*"], 1), listed("b", b, &["other-*"], 2)];
        let apart = Roster::new([apart, vec![listed("d", d, &["other-*"], 1)]].concat()).unwrap();
        let third = listed("c", c, &["acme-*"], 1);
        let list = signed(1, [apart.listed(), &[third]].concat(), &[a]);
        assert_eq!(told(apart.succeeded_by(&list, 1)), "a+b+d+c");
        // Who may vouch for some products does not ask for more signatures than others do.
        let limited = Roster::new(vec![listed("a", a, &[], 1), listed("b", b, &["x"], 1)]).unwrap();
        let raised = || {
            let third = listed("c", c, &["x"], 1);
            vec![listed("a", a, &[], 1), listed("b", b, &["x"], 2), third]
        };
        assert_eq!(told(limited.succeeded_by(&signed(1, raised(), &[b]), 1)), "b: none of 1");
        assert_eq!(told(limited.succeeded_by(&signed(1, raised(), &[a]), 1)), "a+b+c");
        // A key is exchanged where media needs signatures of others, too; nothing else is, without them.
        let several =
            vec![listed("a", a, &[], 1), listed("b", b, &["x"], 2), listed("c", c, &["x"], 1)];
        let several = Roster::new(several).unwrap();
        let fresh = |products: &[&str]| {
            let mut all = several.listed().to_vec();
            all[0] = listed("a", d, products, 1);
            all
        };
        assert_eq!(told(several.succeeded_by(&signed(1, fresh(&[]), &[a]), 1)), "a+b+c");
        assert_eq!(told(several.succeeded_by(&signed(1, fresh(&["x"]), &[a]), 1)), "a: a of 2");
        // Nobody before may vouch for all products.
        let narrow = Roster::new(vec![listed("b", b, &["x"], 1)]).unwrap();
        let list = signed(1, vec![listed("b", b, &["x"], 1), listed("c", c, &[], 1)], &[b]);
        assert_eq!(told(narrow.succeeded_by(&list, 1)), "c: nobody");
    }
}
