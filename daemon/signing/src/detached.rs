//! Signatures that stand beside what they sign, where there is no room for an envelope. What is signed is what an envelope
//! would sign, so nothing that was signed as one type is taken for another.

use crate::envelope::to_be_signed;
use crate::key::{PublicKey, SecretKey};

/// Signs a payload of some type.
pub fn sign(payload_type: &str, payload: &[u8], key: &SecretKey) -> [u8; 64] {
    key.sign(&to_be_signed(payload_type, payload))
}

/// Whether this key has signed the payload as this type.
pub fn is_signed(payload_type: &str, payload: &[u8], signature: &[u8], key: &PublicKey) -> bool {
    key.has_signed(&to_be_signed(payload_type, payload), signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_as_one_type_is_not_another() {
        let [key, other] = [(); 2].map(|()| SecretKey::generate().unwrap());
        let signature = sign("a", b"payload", &key);
        assert!(is_signed("a", b"payload", &signature, &key.public()));
        assert!(!is_signed("b", b"payload", &signature, &key.public()));
        assert!(!is_signed("a", b"payloa", &signature, &key.public()));
        assert!(!is_signed("a", b"payload", &signature, &other.public()));
        assert!(!is_signed("a", b"payload", &signature[1..], &key.public()));
    }
}
