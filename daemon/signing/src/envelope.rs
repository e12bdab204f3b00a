//! DSSE (github.com/secure-systems-lab/dsse, 1.0.2): a payload of some type with the signatures of any number of keys. What
//! is signed are the payload's bytes and its type, so nothing need be written the same way twice.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use crate::key::{PublicKey, SecretKey};
use model::digest::Digest;

/// A signed payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

/// The signature of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// The digest of the key's SPKI. It is not signed: it says which key is to be tried.
    keyid: String,
    sig: String,
}

/// What an envelope that was written here begins with.
const HEAD: &[u8] = br#"{"payload":""#;

/// An envelope of which only the payload is wanted; the rest must be there all the same.
#[derive(Deserialize)]
struct Carrier<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(rename = "payloadType", borrow)]
    _payload_type: Cow<'a, str>,
    #[serde(rename = "signatures", borrow)]
    _signatures: Vec<Mark<'a>>,
}

#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(rename = "keyid", borrow)]
    _keyid: Cow<'a, str>,
    #[serde(rename = "sig", borrow)]
    _sig: Cow<'a, str>,
}

/// Bytes that are no envelope, or one that is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON of an envelope.
    #[error("not a signed envelope")]
    Json(#[source] serde_json::Error),
    /// The payload or a signature is not in base64.
    #[error("not a signed envelope: {0} is not in base64")]
    Base64(&'static str),
    /// Something else was signed.
    #[error("what is signed is {found:?}, not {expected:?}")]
    #[expect(missing_docs, reason = "the names say it")]
    Type { found: String, expected: &'static str },
    /// A known key is named whose signature it is not.
    #[error("the signature of key {0} is wrong")]
    Signature(Digest),
}

/// A payload, and the keys that have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The bytes that were signed.
    pub payload: Vec<u8>,
    /// The keys of which right signatures were found; empty if there were none.
    pub signers: BTreeSet<Digest>,
    /// What other keys are named as signers.
    pub unknown: BTreeSet<String>,
}

/// What is signed: the type and the payload, each with its length (DSSE's "pre-authentication encoding").
pub(crate) fn to_be_signed(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (kind, length) = (payload_type.len(), payload.len());
    let head = format!("DSSEv1 {kind} {payload_type} {length} ");
    [head.as_bytes(), payload].concat()
}

fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, EnvelopeError> {
    let mut bytes = Vec::new();
    decode_into(text.as_bytes(), what, &mut bytes)?;
    Ok(bytes)
}

fn decode_into(text: &[u8], what: &'static str, bytes: &mut Vec<u8>) -> Result<(), EnvelopeError> {
    bytes.clear();
    let decoded = STANDARD.decode_vec(text, bytes).or_else(|_| {
        bytes.clear();
        URL_SAFE.decode_vec(text, bytes)
    });
    decoded.map_err(|_| EnvelopeError::Base64(what))
}

impl Envelope {
    /// Signs a payload with each of these keys.
    pub fn sign<'a>(
        payload_type: &str,
        payload: &[u8],
        keys: impl IntoIterator<Item = &'a SecretKey>,
    ) -> Self {
        let message = to_be_signed(payload_type, payload);
        let signature = |key: &SecretKey| Signature {
            keyid: key.public().id().to_string(),
            sig: STANDARD.encode(key.sign(&message)),
        };
        Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: keys.into_iter().map(signature).collect(),
        }
    }

    /// Adds the signature of another key, in place of an earlier one of the same key. Who signs must have looked at what
    /// is signed.
    ///
    /// # Errors
    /// [`EnvelopeError::Base64`]
    pub fn add(&mut self, key: &SecretKey) -> Result<(), EnvelopeError> {
        let payload = self.unverified_payload()?;
        let Self { signatures, .. } = Self::sign(&self.payload_type, &payload, [key]);
        self.signatures.retain(|old| signatures.iter().all(|new| new.keyid != old.keyid));
        self.signatures.extend(signatures);
        Ok(())
    }

    /// Reads an envelope. Nothing in it is verified then.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the bytes are none.
    pub fn parse(data: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = serde_json::from_slice(data).map_err(EnvelopeError::Json)?;
        envelope.unverified_payload()?;
        Ok(envelope)
    }

    /// The payload of an envelope, whoever wrote it ([`Self::parse`], [`Self::unverified_payload`]), in place of what is in
    /// `payload`: for looking at many, of which nothing else is kept.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the bytes are none.
    pub fn payload_of(data: &[u8], payload: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        // As they are written here, the payload comes first: so it need not be read as a string before it is decoded. What is
        // in base64 has neither a quote nor an escape, so the string ends there, and the rest is an envelope's without it.
        if let Some(text) = data.strip_prefix(HEAD)
            && let Some(end) = memchr::memchr(b'"', text)
            && decode_into(&text[..end], "the payload", payload).is_ok()
        {
            let rest = [HEAD, &text[end..]].concat();
            let _: Carrier<'_> = serde_json::from_slice(&rest).map_err(EnvelopeError::Json)?;
            return Ok(());
        }
        let carrier: Carrier<'_> = serde_json::from_slice(data).map_err(EnvelopeError::Json)?;
        decode_into(carrier.payload.as_bytes(), "the payload", payload)
    }

    /// The keys that are named as signers; nothing of that is verified.
    pub fn key_ids(&self) -> Vec<&str> {
        self.signatures.iter().map(|signature| &*signature.keyid).collect()
    }

    /// The envelope as a file of one line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The payload as it stands there, whoever wrote it: for looking at it, and for finding out who should have signed it.
    ///
    /// # Errors
    /// [`EnvelopeError::Base64`]
    pub fn unverified_payload(&self) -> Result<Vec<u8>, EnvelopeError> {
        decode(&self.payload, "the payload")
    }

    /// Checks the signatures by these keys. What keys sign that are not among them is not looked at; a signature in the
    /// name of one of them must be right, so that no byte changes unnoticed because enough others have signed.
    ///
    /// # Errors
    /// [`EnvelopeError`] if a signature is wrong, or something else was signed.
    pub fn verify<'a>(
        &self,
        payload_type: &'static str,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<Verified, EnvelopeError> {
        if self.payload_type != payload_type {
            let found = self.payload_type.clone();
            return Err(EnvelopeError::Type { found, expected: payload_type });
        }
        let payload = self.unverified_payload()?;
        let message = to_be_signed(payload_type, &payload);
        let keys: Vec<(Digest, &PublicKey)> = keys.into_iter().map(|key| (key.id(), key)).collect();
        let mut verified = Verified { payload, signers: BTreeSet::new(), unknown: BTreeSet::new() };
        for Signature { keyid, sig } in &self.signatures {
            let sig = decode(sig, "a signature")?;
            let named = keys.iter().find(|(id, _)| id.to_string() == *keyid);
            match named {
                Some((id, key)) if key.has_signed(&message, &sig) => {
                    verified.signers.insert(*id);
                }
                Some((id, _)) => return Err(EnvelopeError::Signature(*id)),
                None => {
                    verified.unknown.insert(keyid.clone());
                }
            }
        }
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "http://example.com/HelloWorld";

    fn keys() -> [SecretKey; 3] {
        [(); 3].map(|()| SecretKey::generate().unwrap())
    }

    /// The examples of the specification, and of its tests.
    #[test]
    fn what_is_signed_is_as_published() {
        let published = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(to_be_signed(TYPE, b"hello world"), published);
        assert_eq!(to_be_signed("", b""), b"DSSEv1 0  0 ");
        assert_eq!(
            to_be_signed("application/\u{e9}", b"\0 1"),
            b"DSSEv1 14 application/\xc3\xa9 3 \0 1"
        );
    }

    /// Type and payload cannot be cut differently.
    #[test]
    fn lengths_are_signed() {
        assert_ne!(to_be_signed("a 1 b", b"c"), to_be_signed("a", b"b 1 c"));
    }

    #[test]
    fn each_signature_counts_once_and_strangers_do_not() {
        let keys = keys();
        let [a, b, c] = keys.each_ref().map(SecretKey::public);
        let envelope = Envelope::sign(TYPE, b"hello", [&keys[0], &keys[1], &keys[0]]);
        let envelope = Envelope::parse(&envelope.to_bytes()).unwrap();
        let found = |keys: &[&PublicKey]| {
            let verified = envelope.verify(TYPE, keys.iter().copied()).unwrap();
            assert_eq!(verified.payload, b"hello");
            (verified.signers, verified.unknown.len())
        };
        assert_eq!(found(&[&a, &b, &c]), ([a.id(), b.id()].into(), 0));
        assert_eq!(found(&[&b, &c]), ([b.id()].into(), 1));
        assert_eq!(found(&[&c]), ([].into(), 2));
        let other = envelope.verify("text/plain", [&a]);
        assert!(matches!(other, Err(EnvelopeError::Type { .. })), "{other:?}");
    }

    #[test]
    fn another_key_signs_later_and_each_once() {
        let keys = keys();
        let public = keys.each_ref().map(SecretKey::public);
        let mut envelope = Envelope::sign(TYPE, b"hello", &keys[..1]);
        for key in [&keys[1], &keys[1], &keys[0]] {
            envelope.add(key).unwrap();
        }
        assert_eq!(envelope.signatures.len(), 2);
        let verified = envelope.verify(TYPE, &public).unwrap();
        assert_eq!(verified.signers, [public[0].id(), public[1].id()].into());
    }

    /// A signature that is right for another payload is wrong, also beside one that is right.
    #[test]
    fn a_signature_of_something_else_is_wrong() {
        let keys = keys();
        let public = keys.each_ref().map(SecretKey::public);
        let mut envelope = Envelope::sign(TYPE, b"hello", &keys[..2]);
        let other = Envelope::sign(TYPE, b"other", &keys[1..2]);
        envelope.signatures[1] = other.signatures[0].clone();
        let wrong = envelope.verify(TYPE, &public).unwrap_err();
        assert!(matches!(wrong, EnvelopeError::Signature(id) if id == public[1].id()), "{wrong}");
    }

    #[test]
    fn what_is_no_envelope_is_told() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"payload":"*","payloadType":"a","signatures":[]}"#,
            r#"{"payload":"YQ","payloadType":"a","signatures":[]}"#,
            r#"{"payload":"YR==","payloadType":"a","signatures":[]}"#,
        ] {
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{text}");
            assert!(Envelope::payload_of(text.as_bytes(), &mut Vec::new()).is_err(), "{text}");
        }
        let safe = r#"{"payload":"_-8=","payloadType":"a","signatures":[]}"#;
        assert_eq!(
            Envelope::parse(safe.as_bytes()).unwrap().unverified_payload().unwrap(),
            [255, 239]
        );
    }

    proptest! {
        /// Whatever bit is flipped in the file, what was signed is not told as signed.
        #[test]
        fn no_flipped_bit_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let key = SecretKey::from_pem("-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
").unwrap();
            let public = key.public();
            let bytes = Envelope::sign(TYPE, b"the payload", [&key]).to_bytes();
            let mut flipped = bytes[..bytes.len() - 1].to_vec();
            let at = at.index(flipped.len());
            flipped[at] ^= 1 << bit;
            let mut payload = Vec::new();
            let looked_at = Envelope::payload_of(&flipped, &mut payload).ok().map(|()| payload);
            let read = Envelope::parse(&flipped).and_then(|e| e.unverified_payload());
            prop_assert_eq!(looked_at, read.ok(), "both ways of reading it agree");
            let verified = Envelope::parse(&flipped).and_then(|e| e.verify(TYPE, [&public]));
            prop_assert!(!verified.is_ok_and(|verified| verified.signers.contains(&public.id())));
        }
    }
}
