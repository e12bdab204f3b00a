//! The proof that an entry is in a log, to be checked without the log: its place, the digests beside its way to the root, and
//! the checkpoint whose root that is. The text is C2SP's (c2sp.org/tlog-proof@v1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::digest::Digest;
use signing::PublicKey;

use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::tree;

const FIRST: &str = "c2sp.org/tlog-proof@v1";
/// No log has more entries than this many levels hold.
const LEVELS: usize = 64;

/// The proof that an entry is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The entry's place, counted from 0.
    pub index: u64,
    /// The digests beside the way to the root, the entry's neighbour first.
    pub path: Vec<Digest>,
    /// The signed note with the checkpoint.
    pub checkpoint: String,
}

/// A text that proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Not a proof.
    #[error("not a proof of a log: {0}")]
    Text(&'static str),
    /// The checkpoint is not the log's.
    #[error("the proof's checkpoint is not of this log")]
    Checkpoint(#[source] CheckpointError),
    /// The way does not lead from this entry to this root.
    #[error("the proof is not of this entry: its path does not lead to the root of the checkpoint")]
    Path,
}

impl Proof {
    /// The proof as a file.
    pub fn text(&self) -> String {
        let mut text = format!("{FIRST}\nindex {}\n", self.index);
        for digest in &self.path {
            text += &STANDARD.encode(digest.0);
            text.push('\n');
        }
        text.push('\n');
        text + &self.checkpoint
    }

    /// Reads a proof. Nothing is verified then.
    ///
    /// # Errors
    /// [`ProofError::Text`]
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Text("cut off"))?;
        let mut lines = head.lines();
        if lines.next() != Some(FIRST) {
            return Err(ProofError::Text("it does not begin as one"));
        }
        // What else the log has to say is not signed, so nobody goes by it.
        let mut lines = lines.peekable();
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(checkpoint::number).ok_or(ProofError::Text("no place"))?;
        let path: Option<Vec<Digest>> = lines.map(checkpoint::digest).collect();
        let path = path.ok_or(ProofError::Text("a line is no digest"))?;
        if path.len() > LEVELS {
            return Err(ProofError::Text("the path is too long"));
        }
        Ok(Self { index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that the entry is in the log whose key this is, and tells the checkpoint in which it is.
    ///
    /// # Errors
    /// [`ProofError`]
    pub fn verify(&self, entry: &[u8], key: &PublicKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key).map_err(ProofError::Checkpoint)?;
        let root = tree::root_by(tree::leaf(entry), self.index, checkpoint.size, &self.path);
        match root {
            Some(root) if root == checkpoint.root => Ok(checkpoint),
            _ => Err(ProofError::Path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use signing::SecretKey;

    fn log(key: &SecretKey, size: u64, index: u64) -> (Vec<u8>, Proof) {
        let entries: Vec<Vec<u8>> =
            (0..size).map(|at| format!("entry {at}").into_bytes()).collect();
        let leaves: Vec<Digest> = entries.iter().map(|entry| tree::leaf(entry)).collect();
        let root = leaves.iter().copied().collect::<tree::Edge>().root();
        let checkpoint = Checkpoint { origin: "example.com/log".into(), size, root }.sign(key);
        let path = tree::path(&leaves, index).unwrap();
        let entry = entries[usize::try_from(index).unwrap()].clone();
        (entry, Proof { index, path, checkpoint })
    }

    #[test]
    fn a_proof_is_of_one_entry_in_one_log() {
        let [key, other] = [(); 2].map(|()| SecretKey::generate().unwrap());
        for (size, index) in [(1, 0), (2, 1), (7, 6), (100, 41)] {
            let (entry, proof) = log(&key, size, index);
            let proof = Proof::parse(&proof.text()).unwrap();
            assert_eq!(proof.verify(&entry, &key.public()).unwrap().size, size);
            assert!(matches!(proof.verify(b"other", &key.public()), Err(ProofError::Path)));
            let wrong = proof.verify(&entry, &other.public());
            assert!(matches!(wrong, Err(ProofError::Checkpoint(_))), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_proof_is_told() {
        for text in [
            "",
            "c2sp.org/tlog-proof@v1\n\n",
            "c2sp.org/tlog-proof@v2\nindex 0\n\n",
            "c2sp.org/tlog-proof@v1\nindex 00\n\n",
            "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n",
            "c2sp.org/tlog-proof@v1\nindex 0",
        ] {
            assert!(Proof::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// Whatever byte of the file is changed, it proves nothing, or it is the same proof.
        #[test]
        fn no_changed_byte_goes_unnoticed(at in any::<prop::sample::Index>(), with in 32..127_u8) {
            let key = SecretKey::generate().unwrap();
            let (entry, proof) = log(&key, 9, 3);
            let mut text = proof.text().into_bytes();
            let at = at.index(text.len());
            text[at] = with;
            let Ok(text) = String::from_utf8(text) else { return Ok(()) };
            if let Ok(changed) = Proof::parse(&text) {
                let verified = changed.verify(&entry, &key.public());
                prop_assert!(verified.is_err() || changed == proof, "{text}");
            }
        }
    }
}
