//! Checks that the media's files are still those that were verified.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use masters::stamp;
use model::hint::Hint;
use model::media::MediaFile;

/// A media file that is not the one that was verified.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MediaChanged {
    #[error("media {path} cannot be read any more")]
    Gone {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("media {0} was changed after it was verified")]
    Changed(PathBuf),
}

impl Hint for MediaChanged {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Gone { .. } => Some("copy the file into the inbox again".into()),
            Self::Changed(_) => Some("wait until the station has verified it again".into()),
        }
    }
}

/// Checks by inode, size and times that a file is still the one that was verified.
///
/// # Errors
/// [`MediaChanged`] names the file.
pub fn check_unchanged(file: &MediaFile) -> Result<(), MediaChanged> {
    match File::open(&file.path).and_then(|open| stamp::of(&open)) {
        Ok(stamp) if stamp == file.stamp => Ok(()),
        Ok(_) => Err(MediaChanged::Changed(file.path.clone())),
        Err(source) => Err(MediaChanged::Gone { path: file.path.clone(), source }),
    }
}
