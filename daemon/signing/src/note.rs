//! Signed notes: text with signatures below it, which people can read and any tool can check (c2sp.org/signed-note).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::digest::Digest;

use crate::key::{PublicKey, SecretKey};

/// What each signature's line begins with: an em dash.
const DASH: &str = "\u{2014} ";
/// The kind of signature in a key's ID.
const ED25519: u8 = 1;
/// How many signatures a note may have; the standard asks for as many at least.
const MOST: usize = 16;

/// A text that is no note, or was not signed by the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a note.
    #[error("not a signed note")]
    NotANote,
    /// No signature is in this key's name.
    #[error("not signed by this key")]
    Unsigned,
    /// A signature in this key's name is wrong.
    #[error("the signature is wrong")]
    Signature,
}

/// Signs a text, which ends with the end of a line, in the name of the key: one word.
pub fn sign(text: &str, name: &str, key: &SecretKey) -> String {
    let signed = [&id(name, &key.public())[..], &key.sign(text.as_bytes())].concat();
    format!("{text}\n{DASH}{name} {}\n", STANDARD.encode(signed))
}

/// The text of a note that this key has signed in this name. Signatures of others are not looked at.
///
/// # Errors
/// [`NoteError`]
pub fn open<'a>(note: &'a str, name: &str, key: &PublicKey) -> Result<&'a str, NoteError> {
    let blank = note.rfind("\n\n").ok_or(NoteError::NotANote)?;
    let (text, signatures) = (&note[..=blank], &note[blank + 2..]);
    let is_plain = note.chars().all(|letter| letter == '\n' || letter >= ' ');
    if !is_plain || !note.ends_with('\n') || signatures.lines().count() > MOST {
        return Err(NoteError::NotANote);
    }
    let id = id(name, key);
    let mut signed = false;
    for line in signatures.lines() {
        let line = line.strip_prefix(DASH).ok_or(NoteError::NotANote)?;
        let (by, signature) = line.split_once(' ').ok_or(NoteError::NotANote)?;
        let signature = STANDARD.decode(signature).map_err(|_| NoteError::NotANote)?;
        let (by_id, signature) = signature.split_at_checked(id.len()).ok_or(NoteError::NotANote)?;
        if by == name && by_id == id {
            if !key.has_signed(text.as_bytes(), signature) {
                return Err(NoteError::Signature);
            }
            signed = true;
        }
    }
    if signed { Ok(text) } else { Err(NoteError::Unsigned) }
}

/// By which signatures in a note are told apart.
fn id(name: &str, key: &PublicKey) -> [u8; 4] {
    let named = [name.as_bytes(), b"\n", &[ED25519], &key.bytes()].concat();
    let [a, b, c, d, ..] = Digest::of(&named).0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let [key, other] = [(); 2].map(|()| SecretKey::generate().unwrap());
        let text = "first\n\nsecond \u{e8}\n";
        let note = sign(text, "station", &key);
        assert_eq!(open(&note, "station", &key.public()), Ok(text));
        assert_eq!(open(&note, "another", &key.public()), Err(NoteError::Unsigned));
        assert_eq!(open(&note, "station", &other.public()), Err(NoteError::Unsigned));
        let changed = note.replacen("first", "worst", 1);
        assert_eq!(open(&changed, "station", &key.public()), Err(NoteError::Signature));
        // A second signature, of somebody who is not known here.
        let line = sign(text, "witness", &other);
        let both = format!("{note}{}", line.rsplit_once("\n\n").unwrap().1);
        assert_eq!(open(&both, "station", &key.public()), Ok(text));
        assert_eq!(open(&both, "witness", &other.public()), Ok(text));
    }

    #[test]
    fn what_is_no_note_is_told() {
        let key = SecretKey::generate().unwrap();
        let note = sign("text\n", "station", &key);
        for wrong in [
            "",
            "\n\n",
            "text\n",
            "text\n\nstation AAAA\n",
            "text\n\n\u{2014} station\n",
            "text\n\n\u{2014} station AA\n",
            &note[..note.len() - 1],
            &note.replace("text", "te\txt"),
            &format!("text\n\n{}", note.rsplit_once("\n\n").unwrap().1.repeat(17)),
        ] {
            assert!(open(wrong, "station", &key.public()).is_err(), "{wrong:?}");
        }
    }
}
