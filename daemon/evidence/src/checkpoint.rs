//! A log's checkpoint: how many entries it has and what their root is, signed. The text is that of C2SP's tlog-checkpoint, in
//! a signed note (c2sp.org/tlog-checkpoint, c2sp.org/signed-note), so that other tools read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::digest::Digest;
use signing::note::{self, NoteError};
use signing::{PublicKey, SecretKey};

/// What a log was at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is. One word: it is also the name of the key in the note.
    pub origin: String,
    /// How many entries it had.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

/// A text that is no checkpoint of a log, or not one that the key has signed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not signed, or not by this key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Signed, but not the text of a checkpoint.
    #[error("not a checkpoint of a log")]
    Text,
}

impl Checkpoint {
    /// The checkpoint as a signed note.
    pub fn sign(&self, key: &SecretKey) -> String {
        note::sign(&self.text(), &self.origin, key)
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads a signed note. The log signs in its own name: the note must have a right signature of this key under the origin
    /// that the text names.
    ///
    /// # Errors
    /// [`CheckpointError`]
    pub fn open(note: &str, key: &PublicKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::unverified(note)?;
        note::open(note, &checkpoint.origin, key)?;
        Ok(checkpoint)
    }

    /// What a note says, whoever wrote it.
    ///
    /// # Errors
    /// [`CheckpointError::Text`]
    pub fn unverified(note: &str) -> Result<Self, CheckpointError> {
        let mut lines = note.lines();
        let mut next = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Text);
        let (origin, size, root) = (next()?.to_owned(), next()?, next()?);
        let size = number(size).ok_or(CheckpointError::Text)?;
        let root = digest(root).ok_or(CheckpointError::Text)?;
        // Lines that extend a checkpoint are not ours, and nobody would look at them.
        match lines.next() {
            Some("") => Ok(Self { origin, size, root }),
            _ => Err(CheckpointError::Text),
        }
    }
}

/// A number as these formats have it: no sign, no leading zero.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// A digest in base64.
pub(crate) fn digest(text: &str) -> Option<Digest> {
    STANDARD.decode(text).ok()?.try_into().ok().map(Digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "example.com/log".into(), size: 12, root: Digest::of(b"root") }
    }

    #[test]
    fn what_was_signed_is_read() {
        let key = SecretKey::generate().unwrap();
        let note = checkpoint().sign(&key);
        assert_eq!(Checkpoint::open(&note, &key.public()).unwrap(), checkpoint());
        let other = SecretKey::generate().unwrap().public();
        assert!(matches!(Checkpoint::open(&note, &other), Err(CheckpointError::Note(_))));
    }

    /// Whatever letter is changed, the note is none of this log any more.
    #[test]
    fn no_letter_can_be_changed() {
        let key = SecretKey::generate().unwrap();
        let note = checkpoint().sign(&key);
        for (at, letter) in note.char_indices() {
            let other = if letter == 'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &note[..at], &note[at + letter.len_utf8()..]);
            let opened = Checkpoint::open(&changed, &key.public());
            assert!(opened.is_err(), "{at} {letter:?}: {opened:?}");
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_told() {
        let root = STANDARD.encode(Digest::of(b"").0);
        for text in [
            String::new(),
            "a\n".into(),
            format!("a\n01\n{root}\n\n"),
            format!("a\n+1\n{root}\n\n"),
            format!("a\n-1\n{root}\n\n"),
            "a\n1\nAAAA\n\n".into(),
            format!("a\n1\n{root}\nmore\n\n"),
            format!("a\n1\n{root}\n"),
            format!("\n1\n{root}\n\n"),
        ] {
            assert!(Checkpoint::unverified(&text).is_err(), "{text:?}");
        }
    }
}
