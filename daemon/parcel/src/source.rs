//! Where a parcel comes from.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use model::units::Bytes;

/// A part of a parcel that cannot be read. `name` is the part's.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SourceError {
    /// It is not there, now.
    #[error("there is no {name} in the parcel")]
    Missing { name: String },
    /// Not even the folder is there, now.
    #[error("there is no folder {path}")]
    NoFolder { path: PathBuf },
    /// It is there, and longer than it may be.
    #[error("{name} is longer than that of any parcel")]
    Long { name: String },
    /// The system or the network does not give it.
    #[error("cannot read {name}")]
    Read {
        name: String,
        #[source]
        source: io::Error,
    },
}

/// Gives the parts of a parcel.
pub trait Source {
    /// A whole part of at most so many bytes.
    ///
    /// # Errors
    /// [`SourceError`]
    fn whole(&self, name: &str, most: Bytes) -> Result<Vec<u8>, SourceError>;

    /// So many bytes of a part, from some place on. The reader may end early, or fail.
    ///
    /// # Errors
    /// [`SourceError`]
    fn part(
        &self,
        name: &str,
        from: Bytes,
        length: Bytes,
    ) -> Result<Box<dyn Read + '_>, SourceError>;
}

/// A parcel in a folder, such as on a stick.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The parcel in this folder.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn open(&self, name: &str) -> Result<File, SourceError> {
        open_file(&self.0.join(name)).map_err(|source| match failed(name, source) {
            SourceError::Missing { .. } if !self.0.is_dir() => {
                SourceError::NoFolder { path: self.0.clone() }
            }
            error => error,
        })
    }
}

/// Opens a file for reading, and nothing else: a FIFO would wait for a writer.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::NotFound, "it is no ordinary file")),
    }
}

/// A new file in the place of what a program that was killed has left there. A link there goes, and is never followed: others
/// may write to the folder, and what it leads to may be a drive.
///
/// # Errors
/// If what is there cannot be removed, or the file cannot be made.
pub fn fresh_file(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).open(path),
    }
}

fn failed(name: &str, source: io::Error) -> SourceError {
    let name = name.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { name },
        _ => SourceError::Read { name, source },
    }
}

impl Source for Folder {
    fn whole(&self, name: &str, most: Bytes) -> Result<Vec<u8>, SourceError> {
        let file = self.open(name)?;
        let mut data = Vec::new();
        let read = file.take(most.0.saturating_add(1)).read_to_end(&mut data);
        read.map_err(|source| failed(name, source))?;
        match Bytes::of(data.len()) > most {
            true => Err(SourceError::Long { name: name.into() }),
            false => Ok(data),
        }
    }

    fn part(
        &self,
        name: &str,
        from: Bytes,
        length: Bytes,
    ) -> Result<Box<dyn Read + '_>, SourceError> {
        let mut file = self.open(name)?;
        file.seek(SeekFrom::Start(from.0)).map_err(|source| failed(name, source))?;
        Ok(Box::new(file.take(length.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_told_from_a_part_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let whole = |path: &Path| Folder::new(path).whole("manifest.json", Bytes(1)).unwrap_err();
        let told = whole(folder.path()).to_string();
        assert_eq!(told, "there is no manifest.json in the parcel");
        let missing = folder.path().join("acme.parcel");
        let told = whole(&missing).to_string();
        assert_eq!(told, format!("there is no folder {}", missing.display()));
    }
}
