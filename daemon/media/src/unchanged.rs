//! Whether the media's files are still those that were verified.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use masters::stamp;
use model::media::MediaFile;

/// A media file that is not the one that was verified.
#[derive(Debug, thiserror::Error)]
pub enum MediaChanged {
    /// Gone, or not readable any more.
    #[error("media {path} cannot be read any more")]
    #[expect(missing_docs, reason = "the names say it")]
    Gone {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another file, or other contents.
    #[error("media {0} was changed after it was verified; it is verified again")]
    Changed(PathBuf),
}

/// Checks that a file is still the one that was verified, by inode, size and times.
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
