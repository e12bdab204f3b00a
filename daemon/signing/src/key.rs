//! Ed25519 keys, in the files that OpenSSL writes and reads: PKCS#8 for secret keys, SPKI for public ones, both as PEM
//! (RFC 8410).

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    KeypairBytes,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use model::digest::Digest;
use model::hint::Hint;

/// Text that is no key, or a system without random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither PKCS#8 nor Ed25519.
    #[error("not an Ed25519 secret key in PEM")]
    NotSecret,
    /// Neither SPKI nor Ed25519.
    #[error("not an Ed25519 public key in PEM")]
    NotPublic,
    /// A secret key where a public one belongs.
    #[error("this is a secret key; a public key belongs here")]
    SecretForPublic,
    /// The system gives none.
    #[error("the system gives no random numbers")]
    Random,
}

impl Hint for KeyError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotSecret => "make one with `prestagectl key new --name NAME FILE`",
            Self::NotPublic => {
                "`openssl pkey -in SECRET -pubout` prints the public key of a secret one"
            }
            Self::SecretForPublic => {
                "take it away from there; `openssl pkey -in SECRET -pubout` prints its public key"
            }
            Self::Random => return None,
        };
        Some(hint.into())
    }
}

/// A key that signs.
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl SecretKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`KeyError::Random`] if the system gives no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| KeyError::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a secret key from PEM.
    ///
    /// # Errors
    /// [`KeyError::NotSecret`]
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(text).map(Self).map_err(|_| KeyError::NotSecret)
    }

    /// The key as PEM. Without the public key in it, which OpenSSL 3.0 does not read (RFC 5958, version 2).
    ///
    /// # Errors
    /// [`KeyError::NotSecret`] if it cannot be encoded; no key is known of which that is so.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = bytes.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::NotSecret)?;
        Ok(pem.to_string())
    }

    /// The key that others know it by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// A secret that comes of this key, for one purpose: whoever has it can neither sign nor make out another.
    pub fn derived(&self, purpose: &str) -> Digest {
        Digest::of(&[self.0.as_bytes(), purpose.as_bytes()].concat())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// A key that tells whether something was signed by the secret key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key from PEM.
    ///
    /// # Errors
    /// [`KeyError`] if it is none. A weak one, which more than one message may fit, is none either.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if SigningKey::from_pkcs8_pem(text).is_ok() {
            return Err(KeyError::SecretForPublic);
        }
        let key = VerifyingKey::from_public_key_pem(text).map_err(|_| KeyError::NotPublic)?;
        if key.is_weak() { Err(KeyError::NotPublic) } else { Ok(Self(key)) }
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// The digest of its SPKI, by which signatures name it.
    pub fn id(&self) -> Digest {
        let spki = self.0.to_public_key_der().map(|der| der.as_bytes().to_vec());
        Digest::of(&spki.unwrap_or_default())
    }

    /// The key as RFC 8032 has it.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.
    const SECRET: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

    #[test]
    fn keys_are_as_the_standard_has_them() {
        let secret = SecretKey::from_pem(SECRET).unwrap();
        assert_eq!(secret.to_pem().unwrap(), SECRET);
        assert_eq!(secret.public().to_pem(), PUBLIC);
        assert_eq!(secret.public(), PublicKey::from_pem(PUBLIC).unwrap());
        assert!(!format!("{secret:?}").contains("1NRy"), "{secret:?}");
    }

    #[test]
    fn what_is_no_key_is_told() {
        for text in ["", "key", PUBLIC, &SECRET.replace("MC4C", "MC4D")] {
            assert_eq!(SecretKey::from_pem(text).unwrap_err(), KeyError::NotSecret, "{text}");
        }
        assert_eq!(PublicKey::from_pem("").unwrap_err(), KeyError::NotPublic);
        assert_eq!(PublicKey::from_pem(SECRET).unwrap_err(), KeyError::SecretForPublic);
        // A point of small order.
        let weak = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
-----END PUBLIC KEY-----
";
        assert_eq!(PublicKey::from_pem(weak).unwrap_err(), KeyError::NotPublic);
    }

    #[test]
    fn new_keys_differ() {
        let keys = [(); 2].map(|()| SecretKey::generate().unwrap().public().id());
        assert_ne!(keys[0], keys[1]);
    }
}
