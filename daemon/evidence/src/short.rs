//! The short form of a record: what fits into a code that a phone reads from paper. It says of which drive, with which
//! verdict and when, names the record by its digest, and is signed by the station.
//!
//! As bytes: the format (1), the verdict, the time in milliseconds (8 bytes, the highest first), the record's digest (32),
//! the serial number in UTF-8, and the Ed25519 signature (64) of all before it, as DSSE signs a payload. As text:
//! `PRESTAGED:` and the bytes in base32 (RFC 4648, without padding), which codes hold as alphanumerics. With a serial number
//! of 24 bytes that is 130 bytes, and 218 characters.

use jiff::Timestamp;
use model::digest::Digest;
use model::record::Record;
use model::verdict::Verdict;
use signing::{PublicKey, SecretKey, detached};

/// The type under which it is signed.
const PAYLOAD_TYPE: &str = "application/vnd.prestaged.short.v1";
/// How the text begins.
pub const PREFIX: &str = "PRESTAGED:";
const FORMAT: u8 = 1;
const VERDICTS: [Verdict; 4] =
    [Verdict::Passed, Verdict::Failed, Verdict::Refused, Verdict::Stopped];
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Format, verdict, time and digest.
const HEAD: usize = 2 + 8 + 32;
const SIGNATURE: usize = 64;

/// What the short form of a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// The serial number of the drive.
    pub serial: String,
    /// What became of it.
    pub verdict: Verdict,
    /// When the record was closed, to the millisecond.
    pub closed: Timestamp,
    /// The digest of the record's JSON, as the ledger has it.
    pub record: Digest,
}

/// A text that is no short form of a record, or was not signed by the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShortError {
    /// Not the form of one.
    #[error("not the short form of a record")]
    Text,
    /// Signed by another key, or changed.
    #[error("not signed by this key")]
    Signature,
}

impl Short {
    /// The short form of a closed record with a serial number, whose JSON has this digest.
    pub fn of(record: &Record, digest: Digest) -> Option<Self> {
        let serial = record.serial.as_ref()?.as_str().to_owned();
        let closed = Timestamp::from_millisecond(record.closed?.as_millisecond()).ok()?;
        Some(Self { serial, verdict: record.verdict?, closed, record: digest })
    }

    /// The signed text.
    pub fn sign(&self, key: &SecretKey) -> String {
        let mut bytes = self.bytes();
        bytes.extend(detached::sign(PAYLOAD_TYPE, &bytes, key));
        format!("{PREFIX}{}", base32(&bytes))
    }

    fn bytes(&self) -> Vec<u8> {
        let verdict = VERDICTS.iter().position(|verdict| *verdict == self.verdict);
        let verdict = verdict.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX);
        let time = self.closed.as_millisecond().to_be_bytes();
        [&[FORMAT, verdict][..], &time, &self.record.0, self.serial.as_bytes()].concat()
    }

    /// Reads what this key has signed.
    ///
    /// # Errors
    /// [`ShortError`]
    pub fn open(text: &str, key: &PublicKey) -> Result<Self, ShortError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(ShortError::Text)?;
        let bytes = from_base32(text).ok_or(ShortError::Text)?;
        let at = bytes.len().checked_sub(SIGNATURE).ok_or(ShortError::Text)?;
        let (signed, signature) = bytes.split_at(at);
        if !detached::is_signed(PAYLOAD_TYPE, signed, signature, key) {
            return Err(ShortError::Signature);
        }
        Self::parse(signed).ok_or(ShortError::Text)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, serial) = bytes.split_at_checked(HEAD)?;
        let (time, digest) = (head.get(2..10)?, head.get(10..)?);
        let closed = Timestamp::from_millisecond(i64::from_be_bytes(time.try_into().ok()?)).ok()?;
        let verdict = *VERDICTS.get(usize::from(*head.get(1)?))?;
        let serial = std::str::from_utf8(serial).ok()?.to_owned();
        let record = Digest(digest.try_into().ok()?);
        (head.first() == Some(&FORMAT)).then_some(Self { serial, verdict, closed, record })
    }
}

fn base32(bytes: &[u8]) -> String {
    let digit = |bits: u32| char::from(ALPHABET[usize::try_from(bits & 31).unwrap_or_default()]);
    let (mut text, mut held, mut count) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(digit(held >> count));
        }
        held &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(digit(held << (5 - count)));
    }
    text
}

/// The bytes; `None` if no bytes are written so.
fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut count) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.bytes() {
        let digit = ALPHABET.iter().position(|own| *own == letter)?;
        held = held << 5 | u32::try_from(digit).ok()?;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(held >> count & 0xff).ok()?);
        }
        held &= (1 << count) - 1;
    }
    (base32(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> SecretKey {
        SecretKey::from_pem(
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
        )
        .unwrap()
    }

    fn short() -> Short {
        let text = include_str!("../../model/src/schema1.json");
        let record: Record = serde_json::from_str(text).unwrap();
        Short::of(&record, Digest::of(text.as_bytes())).unwrap()
    }

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base32_is_as_the_standard_has_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap(), bytes.as_bytes());
        }
        for wrong in ["M", "MZ", "my", "MY======", "M1"] {
            assert!(from_base32(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_was_signed_is_read() {
        let (key, short) = (key(), Short { serial: "S".repeat(24), ..short() });
        let text = short.sign(&key);
        assert_eq!(text.len(), PREFIX.len() + 208, "130 bytes");
        assert_eq!(Short::open(&text, &key.public()), Ok(short.clone()));
        let other = SecretKey::generate().unwrap().public();
        assert_eq!(Short::open(&text, &other), Err(ShortError::Signature));
        for wrong in ["", PREFIX, &text[..40], &text.to_lowercase(), "PRESTAGED:MY"] {
            assert_eq!(Short::open(wrong, &key.public()), Err(ShortError::Text), "{wrong}");
        }
        for verdict in VERDICTS {
            let short = Short { verdict, serial: "Δίσκος 7".into(), ..short.clone() };
            assert_eq!(Short::open(&short.sign(&key), &key.public()), Ok(short));
        }
    }

    proptest! {
        /// Whatever character is changed, it is not what the station has signed.
        #[test]
        fn no_changed_character_goes_unnoticed(at in any::<prop::sample::Index>(), to in 0..32_usize) {
            let (key, short) = (key(), short());
            let mut text = short.sign(&key).into_bytes();
            let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
            prop_assume!(text[at] != ALPHABET[to]);
            text[at] = ALPHABET[to];
            prop_assert!(Short::open(&String::from_utf8(text).unwrap(), &key.public()).is_err());
        }
    }
}
